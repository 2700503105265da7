/*
 * gguf.c - the GGUF reader: one pass over the bytes checks everything
 *
 * The table sizes a file claims are compared with the bytes it has before memory is taken for
 * them, so that memory stays within a small multiple of the file's metadata.
 */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "gguf/types.h"

#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX ((uint64_t)1 << 20)
#define KEY_BYTES_MAX 65535
#define TENSOR_NAME_BYTES_MAX 64
/* Far beyond any model: what a false count may cost. */
#define ENTRIES_MAX ((uint64_t)1 << 20)
/* Smallest encodings of an entry: name of one byte, type, one value; name, dims, type, offset. */
#define KV_BYTES_MIN 14
#define TENSOR_BYTES_MIN 33

typedef unsigned long long ull;

/* Bytes of a scalar; 0 for strings and arrays. */
static const uint8_t scalar_bytes[] = {
	[DS_GGUF_U8] = 1,    [DS_GGUF_I8] = 1,	[DS_GGUF_U16] = 2, [DS_GGUF_I16] = 2,
	[DS_GGUF_U32] = 4,   [DS_GGUF_I32] = 4, [DS_GGUF_F32] = 4, [DS_GGUF_BOOL] = 1,
	[DS_GGUF_U64] = 8,   [DS_GGUF_I64] = 8, [DS_GGUF_F64] = 8, [DS_GGUF_STRING] = 0,
	[DS_GGUF_ARRAY] = 0,
};

static const char *const type_names[] = {
	"u8",	"i8",	  "u16",   "i16", "u32", "i32", "f32",
	"bool", "string", "array", "u64", "i64", "f64",
};

static enum ds_status read_str(struct ds_cursor *cur, const char *what, uint64_t max,
			       struct ds_str *str_ret)
{
	uint64_t len;
	const uint8_t *bytes;

	DS_TRY(ds_cursor_u64(cur, &len));
	if (len > max) {
		cur->pos -= 8;
		return ds_cursor_fail(cur, DS_EFORMAT, "%s of %llu bytes, at most %llu expected",
				      what, (ull)len, (ull)max);
	}
	DS_TRY(ds_cursor_borrow(cur, len, &bytes));
	*str_ret = (struct ds_str){(const char *)bytes, len};
	return DS_OK;
}

static enum ds_status read_name(struct ds_cursor *cur, const char *what, uint64_t max,
				struct ds_str *name_ret)
{
	size_t start = cur->pos;

	DS_TRY(read_str(cur, what, max, name_ret));
	if (name_ret->len && !memchr(name_ret->s, 0, name_ret->len))
		return DS_OK;
	cur->pos = start;
	return ds_cursor_fail(cur, DS_EFORMAT, name_ret->len ? "%s with a NUL byte" : "empty %s",
			      what);
}

/* The one long walk of opening a file: n strings, each a length and its bytes. */
static enum ds_status skip_strings(struct ds_cursor *cur, uint64_t n)
{
	const uint8_t *p = cur->data + cur->pos, *end = cur->data + cur->len;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t len;

		if (end - p < 8 || (len = ds_get_u64(p)) > (uint64_t)(end - p) - 8) {
			cur->pos = (size_t)(p - cur->data);
			return ds_cursor_fail(cur, DS_ETRUNCATED,
					      "string %llu of %llu does not fit in the file",
					      (ull)i, (ull)n);
		}
		p += 8 + len;
	}
	cur->pos = (size_t)(p - cur->data);
	return DS_OK;
}

static enum ds_status read_type(struct ds_cursor *cur, enum ds_gguf_type *type_ret)
{
	uint32_t type;

	DS_TRY(ds_cursor_u32(cur, &type));
	if (type > DS_GGUF_F64) {
		cur->pos -= 4;
		return ds_cursor_fail(cur, DS_EFORMAT, "value type %u, 0..%d expected", type,
				      DS_GGUF_F64);
	}
	*type_ret = (enum ds_gguf_type)type;
	return DS_OK;
}

static enum ds_status skip_array(struct ds_cursor *cur, struct ds_gguf_kv *kv)
{
	uint64_t bytes;

	DS_TRY(read_type(cur, &kv->item_type));
	DS_TRY(ds_cursor_u64(cur, &kv->n));
	kv->data = cur->data + cur->pos;
	if (kv->item_type == DS_GGUF_ARRAY)
		return ds_cursor_fail(cur, DS_EUNSUPPORTED, "array of arrays in key %.*s",
				      (int)kv->key.len, kv->key.s);
	if (kv->item_type == DS_GGUF_STRING)
		return skip_strings(cur, kv->n);
	if (__builtin_mul_overflow(kv->n, (uint64_t)scalar_bytes[kv->item_type], &bytes) ||
	    bytes > ds_cursor_left(cur))
		return ds_cursor_fail(cur, DS_ETRUNCATED,
				      "array of %llu values does not fit in the file", (ull)kv->n);
	return ds_cursor_skip(cur, bytes);
}

static enum ds_status read_kv(struct ds_cursor *cur, struct ds_gguf_kv *kv)
{
	DS_TRY(read_name(cur, "key", KEY_BYTES_MAX, &kv->key));
	DS_TRY(read_type(cur, &kv->type));
	kv->item_type = kv->type;
	kv->n = 1;
	kv->data = cur->data + cur->pos;
	if (kv->type == DS_GGUF_ARRAY)
		DS_TRY(skip_array(cur, kv));
	else if (kv->type == DS_GGUF_STRING)
		DS_TRY(skip_strings(cur, 1));
	else
		DS_TRY(ds_cursor_skip(cur, scalar_bytes[kv->type]));
	kv->data_len = (size_t)(cur->data + cur->pos - kv->data);
	return DS_OK;
}

static int str_order(struct ds_str a, struct ds_str b)
{
	int order = memcmp(a.s, b.s, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Keys and tensors are both tables whose rows begin with their name. */
struct names {
	const char *what;
	const void *rows;
	size_t row_bytes, n;
};

static struct ds_str name_of(const struct names *names, uint32_t index)
{
	struct ds_str name;

	memcpy(&name, (const char *)names->rows + index * names->row_bytes, sizeof name);
	return name;
}

static int name_compare(const void *a, const void *b, void *names)
{
	return str_order(name_of(names, *(const uint32_t *)a),
			 name_of(names, *(const uint32_t *)b));
}

static int offset_compare(const void *a, const void *b, void *gguf)
{
	const struct ds_gguf_tensor *tensor = ((const struct ds_gguf *)gguf)->tensor;
	uint64_t x = tensor[*(const uint32_t *)a].offset, y = tensor[*(const uint32_t *)b].offset;

	return (x > y) - (x < y);
}

/* Indices 0..n-1 in the order that compare gives. */
static enum ds_status sorted(size_t n, int (*compare)(const void *, const void *, void *),
			     void *arg, uint32_t **order_ret, struct ds_err *err)
{
	uint32_t *order = ds_alloc(n, sizeof *order);

	if (!order)
		return ds_fail_nomem(err, n * sizeof *order);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof *order, compare, arg);
	*order_ret = order;
	return DS_OK;
}

/* Sort by name; no name may occur twice. */
static enum ds_status index_names(const struct ds_gguf *gguf, struct names names,
				  uint32_t **order_ret, struct ds_err *err)
{
	DS_TRY(sorted(names.n, name_compare, &names, order_ret, err));
	for (size_t i = 1; i < names.n; i++) {
		uint32_t a = (*order_ret)[i - 1], b = (*order_ret)[i];
		struct ds_str name = name_of(&names, a > b ? a : b);

		if (str_order(name_of(&names, a), name_of(&names, b)) == 0)
			return ds_fail_at(err, DS_EFORMAT, gguf->path,
					  (uint64_t)((const uint8_t *)name.s - gguf->data),
					  "%s %.*s occurs twice", names.what,
					  name.len > 200 ? 200 : (int)name.len, name.s);
	}
	return DS_OK;
}

static struct names kv_names(const struct ds_gguf *gguf)
{
	return (struct names){"key", gguf->kv, sizeof *gguf->kv, gguf->n_kv};
}

static struct names tensor_names(const struct ds_gguf *gguf)
{
	return (struct names){"tensor", gguf->tensor, sizeof *gguf->tensor, gguf->n_tensor};
}

/* The row of that name, or n. */
static size_t find(struct names names, const uint32_t *order, const char *name)
{
	struct ds_str want = {name, strlen(name)};
	size_t low = 0, high = names.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = str_order(want, name_of(&names, order[mid]));

		if (c == 0)
			return order[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return names.n;
}

static enum ds_status read_kvs(struct ds_gguf *gguf, struct ds_cursor *cur)
{
	gguf->kv = ds_alloc_zero(gguf->n_kv, sizeof *gguf->kv);
	if (!gguf->kv)
		return ds_fail_nomem(cur->err, gguf->n_kv * sizeof *gguf->kv);
	for (size_t i = 0; i < gguf->n_kv; i++)
		DS_TRY(read_kv(cur, &gguf->kv[i]));
	return index_names(gguf, kv_names(gguf), &gguf->kv_order, cur->err);
}

/* Bytes of the tensor's data; 0 for a type whose layout is not known. */
static enum ds_status tensor_bytes(struct ds_cursor *cur, struct ds_gguf_tensor *t)
{
	const struct ds_ggml_type *type = ds_ggml_type(t->type);
	uint64_t values = 1;

	for (uint32_t i = 0; i < t->n_dims; i++) {
		if (t->dim[i] && !__builtin_mul_overflow(values, t->dim[i], &values))
			continue;
		cur->pos -= 4 + 8 * (size_t)(t->n_dims - i); /* to where the dimension stands */
		return ds_cursor_fail(cur, DS_EFORMAT, "dimension %u of tensor %.*s is %llu, %s", i,
				      (int)t->name.len, t->name.s, (ull)t->dim[i],
				      t->dim[i] ? "their product overflows"
						: "at least 1 expected");
	}
	t->bytes = 0;
	if (!type)
		return DS_OK;
	if (t->dim[0] % type->block_values)
		return ds_cursor_fail(cur, DS_EFORMAT,
				      "tensor %.*s has rows of %llu values, a multiple of %u "
				      "expected for %s",
				      (int)t->name.len, t->name.s, (ull)t->dim[0],
				      type->block_values, type->name);
	if (__builtin_mul_overflow(values / type->block_values, (uint64_t)type->block_bytes,
				   &t->bytes))
		return ds_cursor_fail(cur, DS_EFORMAT,
				      "the size of tensor %.*s, %llu values of type %s, overflows",
				      (int)t->name.len, t->name.s, (ull)values, type->name);
	return DS_OK;
}

static enum ds_status read_tensor(struct ds_cursor *cur, struct ds_gguf_tensor *t)
{
	DS_TRY(read_name(cur, "tensor name", TENSOR_NAME_BYTES_MAX, &t->name));
	DS_TRY(ds_cursor_u32(cur, &t->n_dims));
	if (t->n_dims < 1 || t->n_dims > DS_GGUF_DIMS_MAX) {
		cur->pos -= 4;
		return ds_cursor_fail(cur, DS_EFORMAT,
				      "tensor %.*s has %u dimensions, 1..%d "
				      "expected",
				      (int)t->name.len, t->name.s, t->n_dims, DS_GGUF_DIMS_MAX);
	}
	for (uint32_t i = 0; i < DS_GGUF_DIMS_MAX; i++)
		t->dim[i] = 1;
	for (uint32_t i = 0; i < t->n_dims; i++)
		DS_TRY(ds_cursor_u64(cur, &t->dim[i]));
	DS_TRY(ds_cursor_u32(cur, &t->type));
	DS_TRY(tensor_bytes(cur, t));
	return ds_cursor_u64(cur, &t->offset);
}

/* Offsets in the file are relative to data_offset; make them absolute and check the extent. */
static enum ds_status place_tensor(const struct ds_gguf *gguf, struct ds_gguf_tensor *t,
				   uint64_t alignment, struct ds_err *err)
{
	uint64_t left = gguf->len - gguf->data_offset;
	uint64_t at = (uint64_t)((const uint8_t *)t->name.s - gguf->data);

	if (t->offset % alignment)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, at,
				  "tensor %.*s begins at %llu, a multiple of %llu expected",
				  (int)t->name.len, t->name.s, (ull)t->offset, (ull)alignment);
	if (t->offset > left || t->bytes > left - t->offset)
		return ds_fail_at(err, DS_ETRUNCATED, gguf->path, at,
				  "tensor %.*s (%llu bytes at %llu) ends after the file, "
				  "which has %llu bytes of tensors",
				  (int)t->name.len, t->name.s, (ull)t->bytes, (ull)t->offset,
				  (ull)left);
	t->offset += gguf->data_offset;
	t->data = ds_ggml_type(t->type) ? gguf->data + t->offset : NULL;
	return DS_OK;
}

static enum ds_status refuse_overlap(struct ds_gguf *gguf, struct ds_err *err)
{
	uint32_t *order;
	enum ds_status st = DS_OK;

	DS_TRY(sorted(gguf->n_tensor, offset_compare, gguf, &order, err));
	for (size_t i = 1; i < gguf->n_tensor && st == DS_OK; i++) {
		const struct ds_gguf_tensor *a = &gguf->tensor[order[i - 1]];
		const struct ds_gguf_tensor *b = &gguf->tensor[order[i]];

		if (b->offset - a->offset < a->bytes || b->offset == a->offset)
			st = ds_fail_at(err, DS_EFORMAT, gguf->path, b->offset,
					"tensors %.*s and %.*s overlap", (int)a->name.len,
					a->name.s, (int)b->name.len, b->name.s);
	}
	free(order);
	return st;
}

static enum ds_status read_alignment(const struct ds_gguf *gguf, uint64_t *alignment_ret,
				     struct ds_err *err)
{
	const struct ds_gguf_kv *kv = ds_gguf_find(gguf, "general.alignment");

	*alignment_ret = ALIGNMENT_DEFAULT;
	if (!kv)
		return DS_OK;
	DS_TRY(ds_gguf_u64(gguf, "general.alignment", alignment_ret, err));
	if (*alignment_ret == 0 || *alignment_ret > ALIGNMENT_MAX ||
	    (*alignment_ret & (*alignment_ret - 1)))
		return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, kv),
				  "alignment is %llu, a power of two up to %llu expected",
				  (ull)*alignment_ret, (ull)ALIGNMENT_MAX);
	return DS_OK;
}

static enum ds_status read_tensors(struct ds_gguf *gguf, struct ds_cursor *cur)
{
	uint64_t alignment;

	DS_TRY(read_alignment(gguf, &alignment, cur->err));
	gguf->tensor = ds_alloc_zero(gguf->n_tensor, sizeof *gguf->tensor);
	if (!gguf->tensor)
		return ds_fail_nomem(cur->err, gguf->n_tensor * sizeof *gguf->tensor);
	for (size_t i = 0; i < gguf->n_tensor; i++)
		DS_TRY(read_tensor(cur, &gguf->tensor[i]));
	DS_TRY(index_names(gguf, tensor_names(gguf), &gguf->tensor_order, cur->err));
	gguf->data_offset = (cur->pos + alignment - 1) & ~(alignment - 1);
	if (gguf->data_offset > gguf->len) {
		if (gguf->n_tensor)
			return ds_cursor_fail(cur, DS_ETRUNCATED,
					      "file ends before the tensors at byte %llu",
					      (ull)gguf->data_offset);
		gguf->data_offset = gguf->len;
	}
	for (size_t i = 0; i < gguf->n_tensor; i++)
		DS_TRY(place_tensor(gguf, &gguf->tensor[i], alignment, cur->err));
	return refuse_overlap(gguf, cur->err);
}

/* Before memory is taken for n entries; the count stands at byte at. */
static enum ds_status check_count(struct ds_cursor *cur, const char *what, uint64_t n,
				  size_t entry_bytes_min, size_t at)
{
	bool fits = n <= ds_cursor_left(cur) / entry_bytes_min;

	if (fits && n <= ENTRIES_MAX)
		return DS_OK;
	cur->pos = at;
	if (!fits)
		return ds_cursor_fail(cur, DS_ETRUNCATED, "%llu %s do not fit in the file", (ull)n,
				      what);
	return ds_cursor_fail(cur, DS_ELIMIT, "%llu %s, at most %llu expected", (ull)n, what,
			      (ull)ENTRIES_MAX);
}

static enum ds_status read_head(struct ds_gguf *gguf, struct ds_cursor *cur)
{
	const uint8_t *magic;
	uint64_t n_tensor, n_kv;

	if (cur->len < 4 || memcmp(cur->data, "GGUF", 4) != 0)
		return ds_cursor_fail(cur, DS_EFORMAT, "not a GGUF file: \"GGUF\" expected");
	DS_TRY(ds_cursor_borrow(cur, 4, &magic));
	DS_TRY(ds_cursor_u32(cur, &gguf->version));
	if (gguf->version != 2 && gguf->version != 3) {
		cur->pos -= 4;
		return ds_cursor_fail(cur, DS_EUNSUPPORTED, "GGUF version %u%s, 2 or 3 expected",
				      gguf->version,
				      gguf->version & 0xFFFF ? "" : " (a big-endian file)");
	}
	DS_TRY(ds_cursor_u64(cur, &n_tensor));
	DS_TRY(ds_cursor_u64(cur, &n_kv));
	DS_TRY(check_count(cur, "tensors", n_tensor, TENSOR_BYTES_MIN, 8));
	DS_TRY(check_count(cur, "keys", n_kv, KV_BYTES_MIN, 16));
	gguf->n_kv = n_kv;
	gguf->n_tensor = n_tensor;
	return DS_OK;
}

static enum ds_status parse(struct ds_gguf *gguf, struct ds_err *err)
{
	struct ds_cursor cur;

	ds_cursor_init(&cur, gguf->data, gguf->len, err);
	cur.path = gguf->path;
	DS_TRY(read_head(gguf, &cur));
	DS_TRY(read_kvs(gguf, &cur));
	return read_tensors(gguf, &cur);
}

enum ds_status ds_gguf_open(struct ds_gguf *gguf, const char *path, struct ds_err *err)
{
	enum ds_status st;

	*gguf = (struct ds_gguf){0};
	DS_TRY(ds_map_open(&gguf->map, path, err));
	gguf->data = gguf->map.data;
	gguf->len = gguf->map.len;
	gguf->path = gguf->map.path;
	st = parse(gguf, err);
	if (st != DS_OK)
		ds_gguf_close(gguf);
	return st;
}

enum ds_status ds_gguf_open_memory(struct ds_gguf *gguf, const void *bytes, size_t n,
				   const char *name, struct ds_err *err)
{
	enum ds_status st;

	*gguf = (struct ds_gguf){.data = bytes, .len = n, .path = name};
	st = parse(gguf, err);
	if (st != DS_OK)
		ds_gguf_close(gguf);
	return st;
}

void ds_gguf_close(struct ds_gguf *gguf)
{
	free(gguf->kv);
	free(gguf->tensor);
	free(gguf->kv_order);
	free(gguf->tensor_order);
	ds_map_close(&gguf->map);
	*gguf = (struct ds_gguf){0};
}

const struct ds_gguf_kv *ds_gguf_find(const struct ds_gguf *gguf, const char *key)
{
	size_t i = find(kv_names(gguf), gguf->kv_order, key);

	return i < gguf->n_kv ? &gguf->kv[i] : NULL;
}

const struct ds_gguf_tensor *ds_gguf_tensor_find(const struct ds_gguf *gguf, const char *name)
{
	size_t i = find(tensor_names(gguf), gguf->tensor_order, name);

	return i < gguf->n_tensor ? &gguf->tensor[i] : NULL;
}

uint64_t ds_gguf_offset(const struct ds_gguf *gguf, const struct ds_gguf_kv *kv)
{
	return (uint64_t)(kv->data - gguf->data);
}

/* The key, or a refusal that names it. */
static enum ds_status demand(const struct ds_gguf *gguf, const char *key,
			     const struct ds_gguf_kv **kv_ret, struct ds_err *err)
{
	*kv_ret = ds_gguf_find(gguf, key);
	if (!*kv_ret)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET, "key %s is missing",
				  key);
	return DS_OK;
}

static enum ds_status refuse_type(const struct ds_gguf *gguf, const struct ds_gguf_kv *kv,
				  const char *expected, struct ds_err *err)
{
	return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, kv),
			  "key %.*s is of type %s%s, %s expected", (int)kv->key.len, kv->key.s,
			  kv->type == DS_GGUF_ARRAY ? "array of " : "", type_names[kv->item_type],
			  expected);
}

/* An integer of any width, sign-extended to 64 bits; *negative_ret tells its sign. */
static int integer(const struct ds_gguf_kv *kv, uint64_t *value_ret, int *negative_ret)
{
	int64_t s = 0;
	uint64_t u = 0;

	switch (kv->type) {
	case DS_GGUF_U8:
	case DS_GGUF_BOOL:
	case DS_GGUF_U16:
	case DS_GGUF_U32:
	case DS_GGUF_U64:
		memcpy(&u, kv->data, scalar_bytes[kv->type]);
		break;
	case DS_GGUF_I8:
		s = (int8_t)kv->data[0];
		break;
	case DS_GGUF_I16:
		s = (int16_t)ds_get_u16(kv->data);
		break;
	case DS_GGUF_I32:
		s = (int32_t)ds_get_u32(kv->data);
		break;
	case DS_GGUF_I64:
		s = (int64_t)ds_get_u64(kv->data);
		break;
	default:
		return 0;
	}
	*value_ret = u | (uint64_t)s;
	*negative_ret = s < 0;
	return 1;
}

enum ds_status ds_gguf_u64(const struct ds_gguf *gguf, const char *key, uint64_t *value_ret,
			   struct ds_err *err)
{
	const struct ds_gguf_kv *kv;
	int negative;

	DS_TRY(demand(gguf, key, &kv, err));
	if (!integer(kv, value_ret, &negative))
		return refuse_type(gguf, kv, "an integer", err);
	if (negative)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, kv),
				  "key %s is negative", key);
	return DS_OK;
}

enum ds_status ds_gguf_f64(const struct ds_gguf *gguf, const char *key, double *value_ret,
			   struct ds_err *err)
{
	const struct ds_gguf_kv *kv;
	uint64_t value;
	float narrow;
	int negative;

	DS_TRY(demand(gguf, key, &kv, err));
	if (kv->type == DS_GGUF_F64) {
		memcpy(value_ret, kv->data, sizeof *value_ret);
	} else if (kv->type == DS_GGUF_F32) {
		memcpy(&narrow, kv->data, sizeof narrow);
		*value_ret = (double)narrow;
	} else if (integer(kv, &value, &negative)) {
		*value_ret = negative ? (double)(int64_t)value : (double)value;
	} else {
		return refuse_type(gguf, kv, "a number", err);
	}
	return DS_OK;
}

enum ds_status ds_gguf_str(const struct ds_gguf *gguf, const char *key, struct ds_str *value_ret,
			   struct ds_err *err)
{
	const struct ds_gguf_kv *kv;
	size_t pos = 0;

	DS_TRY(demand(gguf, key, &kv, err));
	if (kv->type != DS_GGUF_STRING)
		return refuse_type(gguf, kv, "string", err);
	*value_ret = ds_gguf_next_str(kv, &pos);
	return DS_OK;
}

enum ds_status ds_gguf_array(const struct ds_gguf *gguf, const char *key,
			     enum ds_gguf_type item_type, const struct ds_gguf_kv **kv_ret,
			     struct ds_err *err)
{
	char expected[40] = "array of ";

	DS_TRY(demand(gguf, key, kv_ret, err));
	if ((*kv_ret)->type == DS_GGUF_ARRAY && (*kv_ret)->item_type == item_type)
		return DS_OK;
	strcat(expected, type_names[item_type]);
	return refuse_type(gguf, *kv_ret, expected, err);
}

struct ds_str ds_gguf_next_str(const struct ds_gguf_kv *kv, size_t *pos_io)
{
	const uint8_t *p = kv->data + *pos_io;
	struct ds_str str = {(const char *)p + 8, ds_get_u64(p)};

	*pos_io += 8 + str.len;
	return str;
}

int ds_str_is(struct ds_str str, const char *s)
{
	return strlen(s) == str.len && memcmp(str.s, s, str.len) == 0;
}
