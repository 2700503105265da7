/* cursor.c - the one bounded reader of untrusted bytes */
#include "base/cursor.h"

#include <stdarg.h>
#include <stdio.h>

void ds_cursor_init(struct ds_cursor *cur, const void *data, size_t len, struct ds_err *err)
{
	*cur = (struct ds_cursor){.data = data, .len = len, .err = err};
}

enum ds_status ds_cursor_fail(struct ds_cursor *cur, enum ds_status status, const char *format,
			      ...)
{
	char text[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	return ds_fail_at(cur->err, status, cur->path, cur->base + cur->pos, "%s", text);
}

enum ds_status ds_cursor_borrow(struct ds_cursor *cur, uint64_t n, const uint8_t **bytes_ret)
{
	if (n > ds_cursor_left(cur))
		return ds_cursor_fail(cur, DS_ETRUNCATED, "%llu bytes expected, %zu left",
				      (unsigned long long)n, ds_cursor_left(cur));
	*bytes_ret = cur->data + cur->pos;
	cur->pos += n;
	return DS_OK;
}

enum ds_status ds_cursor_skip(struct ds_cursor *cur, uint64_t n)
{
	const uint8_t *unused;

	return ds_cursor_borrow(cur, n, &unused);
}

enum ds_status ds_cursor_u8(struct ds_cursor *cur, uint8_t *value_ret)
{
	const uint8_t *p = NULL;

	DS_TRY(ds_cursor_borrow(cur, 1, &p));
	*value_ret = *p;
	return DS_OK;
}

enum ds_status ds_cursor_u16(struct ds_cursor *cur, uint16_t *value_ret)
{
	const uint8_t *p = NULL;

	DS_TRY(ds_cursor_borrow(cur, 2, &p));
	*value_ret = ds_get_u16(p);
	return DS_OK;
}

enum ds_status ds_cursor_u32(struct ds_cursor *cur, uint32_t *value_ret)
{
	const uint8_t *p = NULL;

	DS_TRY(ds_cursor_borrow(cur, 4, &p));
	*value_ret = ds_get_u32(p);
	return DS_OK;
}

enum ds_status ds_cursor_u64(struct ds_cursor *cur, uint64_t *value_ret)
{
	const uint8_t *p = NULL;

	DS_TRY(ds_cursor_borrow(cur, 8, &p));
	*value_ret = ds_get_u64(p);
	return DS_OK;
}
