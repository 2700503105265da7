/* safetensors.c - tensors of a .safetensors file */
#include "gguf/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

/* The format's own limit. */
#define HEADER_BYTES_MAX ((uint64_t)100000000)

typedef unsigned long long ull;

/* Types of the format; those without a ggml number are described but cannot be decoded. */
#define NO_TYPE UINT32_MAX
static const struct {
	const char *name;
	uint32_t type, bytes;
} dtypes[] = {
	{"F32", 0, 4},	      {"F16", 1, 2},	       {"BF16", 30, 2},		{"I8", 24, 1},
	{"I16", 25, 2},	      {"I32", 26, 4},	       {"I64", 27, 8},		{"F64", 28, 8},
	{"BOOL", NO_TYPE, 1}, {"U8", NO_TYPE, 1},      {"U16", NO_TYPE, 2},	{"U32", NO_TYPE, 4},
	{"U64", NO_TYPE, 8},  {"F8_E4M3", NO_TYPE, 1}, {"F8_E5M2", NO_TYPE, 1},
};

/* Where the header speaks of a name, for messages: its first occurrence in quotes. */
static uint64_t name_offset(const struct ds_safetensors *st, struct ds_str name)
{
	const uint8_t *header = st->data + 8;
	const uint8_t *p = memmem(header, ds_get_u64(st->data), name.s, name.len);

	return p ? (uint64_t)(p - st->data) : 8;
}

static enum ds_status refuse(const struct ds_safetensors *st, const struct ds_gguf_tensor *t,
			     const char *what, struct ds_err *err)
{
	return ds_fail_at(err, DS_EFORMAT, st->path, name_offset(st, t->name), "tensor %.*s: %s",
			  t->name.len > 200 ? 200 : (int)t->name.len, t->name.s, what);
}

/* A JSON integer >= 0. */
static int natural(const json_t *v, uint64_t *value_ret)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return 0;
	*value_ret = (uint64_t)json_integer_value(v);
	return 1;
}

static enum ds_status read_shape(const struct ds_safetensors *st, struct ds_gguf_tensor *t,
				 const json_t *shape, uint64_t *values_ret, struct ds_err *err)
{
	size_t n = json_array_size(shape);

	if (!json_is_array(shape) || n > DS_GGUF_DIMS_MAX)
		return refuse(st, t, "shape is no array of at most 4 sizes", err);
	t->n_dims = n ? (uint32_t)n : 1;
	*values_ret = 1;
	for (size_t i = 0; i < DS_GGUF_DIMS_MAX; i++)
		t->dim[i] = 1;
	for (size_t i = 0; i < n; i++) {
		uint64_t *dim = &t->dim[n - 1 - i];

		if (!natural(json_array_get(shape, i), dim))
			return refuse(st, t, "a size in its shape is no natural number", err);
		if (__builtin_mul_overflow(*values_ret, *dim, values_ret))
			return refuse(st, t, "its size overflows", err);
	}
	return DS_OK;
}

static enum ds_status read_type(const struct ds_safetensors *st, struct ds_gguf_tensor *t,
				const json_t *dtype, uint32_t *bytes_ret, struct ds_err *err)
{
	const char *name = json_string_value(dtype);

	for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++) {
		if (strcmp(name, dtypes[i].name) == 0) {
			t->type = dtypes[i].type;
			*bytes_ret = dtypes[i].bytes;
			return DS_OK;
		}
	}
	return refuse(st, t, "unknown dtype", err);
}

static enum ds_status read_tensor(const struct ds_safetensors *st, struct ds_gguf_tensor *t,
				  const json_t *entry, struct ds_err *err)
{
	const json_t *extent = json_object_get(entry, "data_offsets");
	uint64_t data = 8 + ds_get_u64(st->data), begin, end, values = 0;
	uint32_t value_bytes = 0;

	if (!json_is_object(entry))
		return refuse(st, t, "an object expected", err);
	DS_TRY(read_type(st, t, json_object_get(entry, "dtype"), &value_bytes, err));
	DS_TRY(read_shape(st, t, json_object_get(entry, "shape"), &values, err));
	if (json_array_size(extent) != 2 || !natural(json_array_get(extent, 0), &begin) ||
	    !natural(json_array_get(extent, 1), &end) || begin > end)
		return refuse(st, t, "data_offsets are not two ascending numbers", err);
	if (end > st->len - data)
		return refuse(st, t, "its data ends after the file", err);
	if (__builtin_mul_overflow(values, (uint64_t)value_bytes, &t->bytes) ||
	    t->bytes != end - begin)
		return refuse(st, t, "data_offsets do not match its shape and dtype", err);
	t->offset = data + begin;
	t->data = t->type == NO_TYPE ? NULL : st->data + t->offset;
	return DS_OK;
}

static enum ds_status read_tensors(struct ds_safetensors *st, struct ds_err *err)
{
	const char *name;
	json_t *entry;

	st->tensor = ds_alloc_zero(json_object_size(st->header), sizeof *st->tensor);
	if (!st->tensor)
		return ds_fail_nomem(err, json_object_size(st->header) * sizeof *st->tensor);
	json_object_foreach(st->header, name, entry)
	{
		struct ds_gguf_tensor *t = &st->tensor[st->n_tensor];

		if (strcmp(name, "__metadata__") == 0)
			continue;
		t->name = (struct ds_str){name, strlen(name)};
		DS_TRY(read_tensor(st, t, entry, err));
		st->n_tensor++;
	}
	return DS_OK;
}

static enum ds_status parse(struct ds_safetensors *st, struct ds_err *err)
{
	struct ds_cursor cur;
	json_error_t why;
	const uint8_t *header;
	uint64_t n;

	ds_cursor_init(&cur, st->data, st->len, err);
	cur.path = st->path;
	DS_TRY(ds_cursor_u64(&cur, &n));
	if (n > HEADER_BYTES_MAX || n > ds_cursor_left(&cur)) {
		cur.pos = 0;
		return ds_cursor_fail(&cur, DS_EFORMAT,
				      "not a safetensors file: a header of %llu bytes", (ull)n);
	}
	DS_TRY(ds_cursor_borrow(&cur, n, &header));
	st->header = json_loadb((const char *)header, n, JSON_REJECT_DUPLICATES, &why);
	if (!st->header)
		return ds_fail_at(err, DS_EFORMAT, st->path,
				  8 + (uint64_t)(why.position > 0 ? why.position : 0),
				  "header is not JSON: %s", why.text);
	if (!json_is_object(st->header))
		return ds_fail_at(err, DS_EFORMAT, st->path, 8, "header is no JSON object");
	return read_tensors(st, err);
}

static enum ds_status parse_or_close(struct ds_safetensors *st, struct ds_err *err)
{
	enum ds_status status = parse(st, err);

	if (status != DS_OK)
		ds_safetensors_close(st);
	return status;
}

enum ds_status ds_safetensors_open(struct ds_safetensors *st, const char *path, struct ds_err *err)
{
	*st = (struct ds_safetensors){0};
	DS_TRY(ds_map_open(&st->map, path, err));
	st->data = st->map.data;
	st->len = st->map.len;
	st->path = st->map.path;
	return parse_or_close(st, err);
}

enum ds_status ds_safetensors_open_memory(struct ds_safetensors *st, const void *bytes, size_t n,
					  const char *name, struct ds_err *err)
{
	*st = (struct ds_safetensors){.data = bytes, .len = n, .path = name};
	return parse_or_close(st, err);
}

void ds_safetensors_close(struct ds_safetensors *st)
{
	json_decref(st->header);
	free(st->tensor);
	ds_map_close(&st->map);
	*st = (struct ds_safetensors){0};
}

const struct ds_gguf_tensor *ds_safetensors_find(const struct ds_safetensors *st, const char *name)
{
	for (size_t i = 0; i < st->n_tensor; i++)
		if (ds_str_is(st->tensor[i].name, name))
			return &st->tensor[i];
	return NULL;
}
