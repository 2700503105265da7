/*
 * gguf_write.h - writing GGUF v3 model files
 *
 * First every key and every tensor is declared, then ds_gguf_writer_begin() writes the head, then
 * the bytes of the tensors follow in the order of their declaration, in pieces of any size, so a
 * file may be larger than memory.  What the reader would refuse is refused here.
 *
 * Source: github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef DS_GGUF_GGUF_WRITE_H
#define DS_GGUF_GGUF_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "gguf/gguf.h"

struct ds_gguf_writer {
	struct ds_buf kv, info; /* encoded keys, tensor table */
	uint64_t n_kv, n_tensor;
	uint64_t *tensor_bytes; /* [n_tensor] */
	size_t cap_tensor;
	uint64_t data_bytes; /* of all tensors declared, padding included */
	struct ds_out *out;  /* from ds_gguf_writer_begin() on */
	uint64_t at, left;   /* the tensor being written, its bytes still to come */
};

/* A zeroed struct is an empty writer. */
void ds_gguf_writer_fini(struct ds_gguf_writer *w);

enum ds_status ds_gguf_put_str(struct ds_gguf_writer *w, const char *key, const char *value,
			       struct ds_err *err);
enum ds_status ds_gguf_put_u32(struct ds_gguf_writer *w, const char *key, uint32_t value,
			       struct ds_err *err);
enum ds_status ds_gguf_put_f32(struct ds_gguf_writer *w, const char *key, float value,
			       struct ds_err *err);
enum ds_status ds_gguf_put_bool(struct ds_gguf_writer *w, const char *key, bool value,
				struct ds_err *err);
enum ds_status ds_gguf_put_strs(struct ds_gguf_writer *w, const char *key,
				const struct ds_str *value, size_t n, struct ds_err *err);
enum ds_status ds_gguf_put_i32s(struct ds_gguf_writer *w, const char *key, const int32_t *value,
				size_t n, struct ds_err *err);
/* A key as it stands in another file. */
enum ds_status ds_gguf_put_kv(struct ds_gguf_writer *w, const struct ds_gguf_kv *kv,
			      struct ds_err *err);
/* Declare a tensor: its name, type, n_dims and dim are read; dim[0] is in whole blocks. */
enum ds_status ds_gguf_put_tensor(struct ds_gguf_writer *w, const struct ds_gguf_tensor *tensor,
				  struct ds_err *err);

/* Write the head; nothing may be declared afterwards. */
enum ds_status ds_gguf_writer_begin(struct ds_gguf_writer *w, struct ds_out *out,
				    struct ds_err *err);
/* The next n bytes of tensor data, within one tensor. */
enum ds_status ds_gguf_writer_data(struct ds_gguf_writer *w, const void *bytes, size_t n,
				   struct ds_err *err);
/* DS_EINVAL unless every tensor is there in full.  The caller commits out. */
enum ds_status ds_gguf_writer_end(struct ds_gguf_writer *w, struct ds_err *err);

#endif
