/* weights.c - tensors by name, checked, whatever file they come from */
#define XXH_STATIC_LINKING_ONLY
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <xxhash.h>

#include "gguf/types.h"

typedef unsigned long long ull;

void ds_weights_digest(struct ds_weights *weights, const void *bytes, size_t n)
{
	XXH3_64bits_update(weights->digest, bytes, n);
}

static enum ds_status refuse(const struct ds_weights *weights, const struct ds_gguf_tensor *tensor,
			     const uint64_t dim[3], struct ds_err *err)
{
	const uint64_t *d = tensor->dim;
	char third[32] = "";

	if (dim[2] != 1)
		snprintf(third, sizeof third, " x %llu", (ull)dim[2]);
	return ds_fail_at(err, DS_EFORMAT, weights->path, tensor->offset,
			  "tensor %.*s has dimensions %llu x %llu x %llu, expected %llu x %llu%s",
			  (int)tensor->name.len, tensor->name.s, (ull)d[0], (ull)d[1],
			  (ull)(d[2] * d[3]), (ull)dim[0], (ull)dim[1], third);
}

/* The tensor of that name and shape, of a type that can be decoded. */
static enum ds_status find_tensor(struct ds_weights *weights, const char *name,
				  const uint64_t dim[3], const struct ds_gguf_tensor **tensor_ret,
				  struct ds_err *err)
{
	const struct ds_gguf_tensor *tensor = weights->find(weights->source, name);

	if (!tensor)
		return ds_fail_at(err, DS_EFORMAT, weights->path, DS_NO_OFFSET,
				  "tensor %s is missing", name);
	if (tensor->dim[0] != dim[0] || tensor->dim[1] != dim[1] || tensor->dim[2] != dim[2] ||
	    tensor->dim[3] != 1)
		return refuse(weights, tensor, dim, err);
	if (!tensor->data || !ds_quant_decoder(tensor->type)) {
		const struct ds_ggml_type *type = ds_ggml_type(tensor->type);

		return ds_fail_at(err, DS_EUNSUPPORTED, weights->path, tensor->offset,
				  "tensor %s is of type %s (%u), which is not read here", name,
				  type ? type->name : "unknown", tensor->type);
	}
	ds_weights_digest(weights, &tensor->type, sizeof tensor->type);
	ds_weights_digest(weights, tensor->dim, sizeof tensor->dim);
	*tensor_ret = tensor;
	return DS_OK;
}

enum ds_status ds_weights_tensor(struct ds_weights *weights, const char *name, uint64_t dim0,
				 uint64_t dim1, const struct ds_gguf_tensor **tensor_ret,
				 struct ds_err *err)
{
	DS_TRY(find_tensor(weights, name, (uint64_t[]){dim0, dim1, 1}, tensor_ret, err));
	ds_weights_digest(weights, (*tensor_ret)->data, (*tensor_ret)->bytes);
	return DS_OK;
}

/* Beginning, middle and end, where other weights of the same shape differ; small ones in full. */
static void digest_samples(struct ds_weights *weights, const uint8_t *data, uint64_t bytes)
{
	const uint64_t small = 65536, n = 1024;

	if (bytes <= small) {
		ds_weights_digest(weights, data, bytes);
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		ds_weights_digest(weights, data + (bytes - n) / 2 * i, n);
}

enum ds_status ds_weights_stack(struct ds_weights *weights, const char *name, const uint64_t dim[3],
				struct ds_matrix *matrix_ret, struct ds_err *err)
{
	const struct ds_gguf_tensor *tensor;
	struct ds_err why;
	enum ds_status st;

	DS_TRY(find_tensor(weights, name, dim, &tensor, err));
	st = ds_matrix_init(matrix_ret, tensor->type, tensor->data, dim[1] * dim[2], dim[0], &why);
	if (st != DS_OK)
		return ds_fail_at(err, st, weights->path, tensor->offset, "tensor %s: %s", name,
				  why.message);
	digest_samples(weights, tensor->data, tensor->bytes);
	return DS_OK;
}

enum ds_status ds_weights_matrix(struct ds_weights *weights, const char *name, uint64_t dim0,
				 uint64_t dim1, struct ds_matrix *matrix_ret, struct ds_err *err)
{
	return ds_weights_stack(weights, name, (uint64_t[]){dim0, dim1, 1}, matrix_ret, err);
}

/* The exponent bits of all values at once: a loop without branches. */
static int all_finite(const float *x, size_t n)
{
	int bad = 0;

	for (size_t i = 0; i < n; i++)
		bad |= !(fabsf(x[i]) <= 3.4028235e38f);
	return !bad;
}

enum ds_status ds_weights_decode(const struct ds_weights *weights,
				 const struct ds_gguf_tensor *tensor, float *out,
				 struct ds_err *err)
{
	size_t n = tensor->dim[0] * tensor->dim[1];

	ds_quant_decoder(tensor->type)(tensor->data, out, n);
	if (!all_finite(out, n))
		return ds_fail_at(err, DS_EFORMAT, weights->path, tensor->offset,
				  "tensor %.*s holds NaN or infinity", (int)tensor->name.len,
				  tensor->name.s);
	return DS_OK;
}

enum ds_status ds_weights_load(struct ds_weights *weights, const char *name, uint64_t dim0,
			       uint64_t dim1, float *out, struct ds_err *err)
{
	const struct ds_gguf_tensor *tensor;

	DS_TRY(ds_weights_tensor(weights, name, dim0, dim1, &tensor, err));
	return ds_weights_decode(weights, tensor, out, err);
}
