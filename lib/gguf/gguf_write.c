/* gguf_write.c - writing GGUF v3 model files */
#include "gguf/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "gguf/types.h"

#define GGUF_VERSION 3
#define ALIGNMENT 32
#define TENSOR_NAME_BYTES_MAX 64

typedef unsigned long long ull;

void ds_gguf_writer_fini(struct ds_gguf_writer *w)
{
	ds_buf_fini(&w->kv);
	ds_buf_fini(&w->info);
	free(w->tensor_bytes);
	*w = (struct ds_gguf_writer){0};
}

static enum ds_status add_u32(struct ds_buf *buf, uint32_t value, struct ds_err *err)
{
	uint8_t bytes[4];

	ds_put_u32(bytes, value);
	return ds_buf_append(buf, bytes, sizeof bytes, err);
}

static enum ds_status add_u64(struct ds_buf *buf, uint64_t value, struct ds_err *err)
{
	uint8_t bytes[8];

	ds_put_u64(bytes, value);
	return ds_buf_append(buf, bytes, sizeof bytes, err);
}

static enum ds_status add_str(struct ds_buf *buf, struct ds_str str, struct ds_err *err)
{
	DS_TRY(add_u64(buf, str.len, err));
	return ds_buf_append(buf, str.s, str.len, err);
}

static enum ds_status add_key(struct ds_gguf_writer *w, struct ds_str key, enum ds_gguf_type type,
			      struct ds_err *err)
{
	if (w->out)
		return ds_fail(err, DS_EINVAL, "key %.*s comes after the head was written",
			       (int)key.len, key.s);
	DS_TRY(add_str(&w->kv, key, err));
	w->n_kv++;
	return add_u32(&w->kv, type, err);
}

static struct ds_str str_of(const char *s)
{
	return (struct ds_str){s, strlen(s)};
}

enum ds_status ds_gguf_put_str(struct ds_gguf_writer *w, const char *key, const char *value,
			       struct ds_err *err)
{
	DS_TRY(add_key(w, str_of(key), DS_GGUF_STRING, err));
	return add_str(&w->kv, str_of(value), err);
}

enum ds_status ds_gguf_put_u32(struct ds_gguf_writer *w, const char *key, uint32_t value,
			       struct ds_err *err)
{
	DS_TRY(add_key(w, str_of(key), DS_GGUF_U32, err));
	return add_u32(&w->kv, value, err);
}

enum ds_status ds_gguf_put_f32(struct ds_gguf_writer *w, const char *key, float value,
			       struct ds_err *err)
{
	DS_TRY(add_key(w, str_of(key), DS_GGUF_F32, err));
	return ds_buf_append(&w->kv, &value, sizeof value, err);
}

enum ds_status ds_gguf_put_bool(struct ds_gguf_writer *w, const char *key, bool value,
				struct ds_err *err)
{
	uint8_t byte = value;

	DS_TRY(add_key(w, str_of(key), DS_GGUF_BOOL, err));
	return ds_buf_append(&w->kv, &byte, 1, err);
}

static enum ds_status add_array(struct ds_gguf_writer *w, struct ds_str key,
				enum ds_gguf_type item_type, uint64_t n, struct ds_err *err)
{
	DS_TRY(add_key(w, key, DS_GGUF_ARRAY, err));
	DS_TRY(add_u32(&w->kv, item_type, err));
	return add_u64(&w->kv, n, err);
}

enum ds_status ds_gguf_put_strs(struct ds_gguf_writer *w, const char *key,
				const struct ds_str *value, size_t n, struct ds_err *err)
{
	DS_TRY(add_array(w, str_of(key), DS_GGUF_STRING, n, err));
	for (size_t i = 0; i < n; i++)
		DS_TRY(add_str(&w->kv, value[i], err));
	return DS_OK;
}

enum ds_status ds_gguf_put_i32s(struct ds_gguf_writer *w, const char *key, const int32_t *value,
				size_t n, struct ds_err *err)
{
	size_t bytes;

	DS_TRY(ds_mul(n, sizeof *value, &bytes, err));
	DS_TRY(add_array(w, str_of(key), DS_GGUF_I32, n, err));
	return ds_buf_append(&w->kv, value, bytes, err);
}

enum ds_status ds_gguf_put_kv(struct ds_gguf_writer *w, const struct ds_gguf_kv *kv,
			      struct ds_err *err)
{
	if (kv->type == DS_GGUF_ARRAY)
		DS_TRY(add_array(w, kv->key, kv->item_type, kv->n, err));
	else
		DS_TRY(add_key(w, kv->key, kv->type, err));
	return ds_buf_append(&w->kv, kv->data, kv->data_len, err);
}

/* The bytes of a tensor: whole blocks in a row, no overflow. */
static enum ds_status tensor_bytes(const struct ds_gguf_tensor *t, size_t *bytes_ret,
				   struct ds_err *err)
{
	const struct ds_ggml_type *type = ds_ggml_type(t->type);
	size_t bytes;

	if (!type || !type->block_values)
		return ds_fail(err, DS_EINVAL, "tensor %.*s: unknown type %u", (int)t->name.len,
			       t->name.s, t->type);
	if (t->n_dims < 1 || t->n_dims > DS_GGUF_DIMS_MAX || t->dim[0] % type->block_values)
		return ds_fail(err, DS_EINVAL,
			       "tensor %.*s: %u dimensions of %llu, 1..%d of a multiple of %u "
			       "expected",
			       (int)t->name.len, t->name.s, t->n_dims, (ull)t->dim[0],
			       DS_GGUF_DIMS_MAX, type->block_values);
	DS_TRY(ds_mul(t->dim[0] / type->block_values, type->block_bytes, &bytes, err));
	for (uint32_t i = 1; i < t->n_dims; i++)
		DS_TRY(ds_mul(bytes, t->dim[i], &bytes, err));
	if (bytes == 0 || bytes > PTRDIFF_MAX)
		return ds_fail(err, DS_EINVAL, "tensor %.*s of %llu bytes", (int)t->name.len,
			       t->name.s, (ull)bytes);
	*bytes_ret = bytes;
	return DS_OK;
}

static uint64_t padding(uint64_t n)
{
	return (ALIGNMENT - n % ALIGNMENT) % ALIGNMENT;
}

enum ds_status ds_gguf_put_tensor(struct ds_gguf_writer *w, const struct ds_gguf_tensor *tensor,
				  struct ds_err *err)
{
	size_t bytes = 0;

	if (w->out)
		return ds_fail(err, DS_EINVAL, "tensor %.*s comes after the head was written",
			       (int)tensor->name.len, tensor->name.s);
	if (tensor->name.len < 1 || tensor->name.len > TENSOR_NAME_BYTES_MAX)
		return ds_fail(err, DS_EINVAL, "tensor name of %zu bytes, 1..%d expected",
			       tensor->name.len, TENSOR_NAME_BYTES_MAX);
	DS_TRY(tensor_bytes(tensor, &bytes, err));
	DS_TRY(ds_grow(&w->tensor_bytes, &w->cap_tensor, w->n_tensor + 1, sizeof *w->tensor_bytes,
		       err));
	DS_TRY(add_str(&w->info, tensor->name, err));
	DS_TRY(add_u32(&w->info, tensor->n_dims, err));
	for (uint32_t i = 0; i < tensor->n_dims; i++)
		DS_TRY(add_u64(&w->info, tensor->dim[i], err));
	DS_TRY(add_u32(&w->info, tensor->type, err));
	DS_TRY(add_u64(&w->info, w->data_bytes, err));
	w->tensor_bytes[w->n_tensor++] = bytes;
	w->data_bytes += bytes + padding(bytes);
	return DS_OK;
}

static enum ds_status pad(struct ds_gguf_writer *w, uint64_t n, struct ds_err *err)
{
	static const uint8_t zeros[ALIGNMENT];

	return ds_out_write(w->out, zeros, padding(n), err);
}

enum ds_status ds_gguf_writer_begin(struct ds_gguf_writer *w, struct ds_out *out,
				    struct ds_err *err)
{
	uint8_t head[24] = "GGUF";

	ds_put_u32(head + 4, GGUF_VERSION);
	ds_put_u64(head + 8, w->n_tensor);
	ds_put_u64(head + 16, w->n_kv);
	w->out = out;
	w->at = 0;
	w->left = w->n_tensor ? w->tensor_bytes[0] : 0;
	DS_TRY(ds_out_write(out, head, sizeof head, err));
	DS_TRY(ds_out_write(out, w->kv.data, w->kv.len, err));
	DS_TRY(ds_out_write(out, w->info.data, w->info.len, err));
	return pad(w, sizeof head + w->kv.len + w->info.len, err);
}

enum ds_status ds_gguf_writer_data(struct ds_gguf_writer *w, const void *bytes, size_t n,
				   struct ds_err *err)
{
	if (n > w->left)
		return ds_fail(err, DS_EINVAL, "%zu bytes for tensor %llu, which lacks %llu", n,
			       (ull)w->at, (ull)w->left);
	DS_TRY(ds_out_write(w->out, bytes, n, err));
	w->left -= n;
	if (w->left || n == 0)
		return DS_OK;
	DS_TRY(pad(w, w->tensor_bytes[w->at], err));
	w->at++;
	w->left = w->at < w->n_tensor ? w->tensor_bytes[w->at] : 0;
	return DS_OK;
}

enum ds_status ds_gguf_writer_end(struct ds_gguf_writer *w, struct ds_err *err)
{
	if (w->at == w->n_tensor)
		return DS_OK;
	return ds_fail(err, DS_EINVAL, "tensor %llu of %llu lacks %llu bytes", (ull)w->at,
		       (ull)w->n_tensor, (ull)w->left);
}
