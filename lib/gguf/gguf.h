/*
 * gguf.h - GGUF v2/v3 model files, read through one bounded cursor over a read-only map
 *
 * Source: github.com/ggml-org/ggml/blob/master/docs/gguf.md.  Everything is checked when the file
 * is opened; afterwards borrowed pointers stay valid until ds_gguf_close().
 */
#ifndef DS_GGUF_GGUF_H
#define DS_GGUF_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"

enum ds_gguf_type {
	DS_GGUF_U8, DS_GGUF_I8, DS_GGUF_U16, DS_GGUF_I16, DS_GGUF_U32, DS_GGUF_I32, DS_GGUF_F32,
	DS_GGUF_BOOL, DS_GGUF_STRING, DS_GGUF_ARRAY, DS_GGUF_U64, DS_GGUF_I64, DS_GGUF_F64,
};

struct ds_str {
	const char *s; /* not NUL-terminated */
	size_t len;
};

struct ds_gguf_kv {
	struct ds_str key;
	enum ds_gguf_type type;
	enum ds_gguf_type item_type; /* arrays: of the elements (never ARRAY) */
	uint64_t n;		     /* arrays: elements; else 1 */
	const uint8_t *data;	     /* little-endian values; strings: u64 length + bytes, each */
	size_t data_len;
};

#define DS_GGUF_DIMS_MAX 4

struct ds_gguf_tensor {
	struct ds_str name;
	uint32_t type;			/* ggml type number, see gguf/types.h */
	uint32_t n_dims;
	uint64_t dim[DS_GGUF_DIMS_MAX]; /* dim[0] is contiguous; unused ones are 1 */
	uint64_t offset;		/* of data in the file */
	const uint8_t *data;		/* NULL when the type's size is not known */
	uint64_t bytes;
};

struct ds_gguf {
	struct ds_map map;    /* empty for bytes in memory */
	const uint8_t *data;  /* the whole file */
	size_t len;
	const char *path;     /* for messages */
	uint32_t version;
	uint64_t data_offset; /* of the first tensor byte in the file */
	struct ds_gguf_kv *kv;
	size_t n_kv;
	struct ds_gguf_tensor *tensor;
	size_t n_tensor;
	/* private: indices of kv and tensor sorted by name, [n_kv] and [n_tensor] */
	uint32_t *kv_order, *tensor_order;
};

enum ds_status ds_gguf_open(struct ds_gguf *gguf, const char *path, struct ds_err *err);
/* The same over bytes in memory (tests, fuzzing), which must outlive gguf; so must name, which is
 * for messages. */
enum ds_status ds_gguf_open_memory(struct ds_gguf *gguf, const void *bytes, size_t n,
				   const char *name, struct ds_err *err);
void ds_gguf_close(struct ds_gguf *gguf);

const struct ds_gguf_kv *ds_gguf_find(const struct ds_gguf *gguf, const char *key);
const struct ds_gguf_tensor *ds_gguf_tensor_find(const struct ds_gguf *gguf, const char *name);
/* Typed look-ups; DS_EFORMAT (naming key and file) when absent or of another type.  Integers of
 * any width and sign, and booleans, convert when they fit. */
enum ds_status ds_gguf_u64(const struct ds_gguf *gguf, const char *key, uint64_t *value_ret,
			   struct ds_err *err);
enum ds_status ds_gguf_f64(const struct ds_gguf *gguf, const char *key, double *value_ret,
			   struct ds_err *err);
enum ds_status ds_gguf_str(const struct ds_gguf *gguf, const char *key, struct ds_str *value_ret,
			   struct ds_err *err);
/* Whether the string is exactly the C string s. */
int ds_str_is(struct ds_str str, const char *s);
/* The key as an array of item_type; DS_EFORMAT when absent or another. */
enum ds_status ds_gguf_array(const struct ds_gguf *gguf, const char *key,
			     enum ds_gguf_type item_type, const struct ds_gguf_kv **kv_ret,
			     struct ds_err *err);
/* Where a value lies in the file, for messages. */
uint64_t ds_gguf_offset(const struct ds_gguf *gguf, const struct ds_gguf_kv *kv);
/* Walk an array of strings: *pos_io starts at 0 and advances through kv->data. */
struct ds_str ds_gguf_next_str(const struct ds_gguf_kv *kv, size_t *pos_io);

#endif
