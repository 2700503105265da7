/*
 * cursor.h - the one bounded reader of untrusted bytes, and little-endian access
 *
 * A cursor never reads beyond its end: every getter checks and on failure reports the file and the
 * byte offset where more was expected.
 */
#ifndef DS_BASE_CURSOR_H
#define DS_BASE_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct ds_cursor {
	const uint8_t *data;
	size_t pos, len;
	uint64_t base;	  /* offset of data[0] in the file, for messages */
	const char *path; /* for messages; may be NULL */
	struct ds_err *err;
};

void ds_cursor_init(struct ds_cursor *cur, const void *data, size_t len, struct ds_err *err);
enum ds_status ds_cursor_u8(struct ds_cursor *cur, uint8_t *value_ret);
enum ds_status ds_cursor_u16(struct ds_cursor *cur, uint16_t *value_ret);
enum ds_status ds_cursor_u32(struct ds_cursor *cur, uint32_t *value_ret);
enum ds_status ds_cursor_u64(struct ds_cursor *cur, uint64_t *value_ret);
/* *bytes_ret points into the data: n bytes there. */
enum ds_status ds_cursor_borrow(struct ds_cursor *cur, uint64_t n, const uint8_t **bytes_ret);
enum ds_status ds_cursor_skip(struct ds_cursor *cur, uint64_t n);
/* DS_EFORMAT (or another status) at the current position. */
enum ds_status ds_cursor_fail(struct ds_cursor *cur, enum ds_status status, const char *format,
			      ...) __attribute__((format(printf, 3, 4)));

static inline size_t ds_cursor_left(const struct ds_cursor *cur)
{
	return cur->len - cur->pos;
}

/* Unaligned little-endian access; big-endian hosts are refused by configure. */
static inline uint16_t ds_get_u16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t ds_get_u32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint64_t ds_get_u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline void ds_put_u16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void ds_put_u32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void ds_put_u64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
}

#endif
