/*
 * weights.h - tensors by name, checked, whatever file they come from
 */
#ifndef DS_MODEL_WEIGHTS_H
#define DS_MODEL_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/linear.h"
#include "quant/quant.h"

struct ds_weights {
	const char *path; /* for messages */
	const struct ds_gguf_tensor *(*find)(const void *source, const char *name);
	const void *source;
	/* digest of what was taken so far: the fingerprint of the model grows here */
	struct XXH3_state_s *digest;
};

/* Into the fingerprint. */
void ds_weights_digest(struct ds_weights *weights, const void *bytes, size_t n);

/*
 * The tensor of that name with dimensions dim0 (contiguous) and dim1 (1: a vector), of a type that
 * can be decoded; DS_EFORMAT or DS_EUNSUPPORTED otherwise.  Type and data enter the fingerprint.
 */
enum ds_status ds_weights_tensor(struct ds_weights *weights, const char *name, uint64_t dim0,
				 uint64_t dim1, const struct ds_gguf_tensor **tensor_ret,
				 struct ds_err *err);
/*
 * The same as a matrix of dim1 rows, of a type that lib/kern multiplies by.  Of the data only
 * samples enter the fingerprint, so that opening a model does not read it all.
 */
enum ds_status ds_weights_matrix(struct ds_weights *weights, const char *name, uint64_t dim0,
				 uint64_t dim1, struct ds_matrix *matrix_ret, struct ds_err *err);
/* The same of dim[2] matrices behind each other, as one of dim[1] dim[2] rows. */
enum ds_status ds_weights_stack(struct ds_weights *weights, const char *name, const uint64_t dim[3],
				struct ds_matrix *matrix_ret, struct ds_err *err);
/* The tensor, decoded to out [dim1][dim0]; a value that is not finite is refused. */
enum ds_status ds_weights_load(struct ds_weights *weights, const char *name, uint64_t dim0,
			       uint64_t dim1, float *out, struct ds_err *err);
/* Decode a tensor that ds_weights_tensor() gave: values in row order, all finite. */
enum ds_status ds_weights_decode(const struct ds_weights *weights,
				 const struct ds_gguf_tensor *tensor, float *out,
				 struct ds_err *err);

#endif
