/* base64.c - bytes in JSON */
#include "frame/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum ds_status ds_base64_put(const void *bytes, size_t n, struct ds_buf *text, struct ds_err *err)
{
	const uint8_t *p = bytes;
	uint8_t *out;

	DS_TRY(ds_buf_reserve(text, (n + 2) / 3 * 4, err));
	out = text->data + text->len;
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			     (left > 2 ? p[i + 2] : 0);

		*out++ = (uint8_t)alphabet[v >> 18];
		*out++ = (uint8_t)alphabet[v >> 12 & 63];
		*out++ = left > 1 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
		*out++ = left > 2 ? (uint8_t)alphabet[v & 63] : '=';
	}
	text->len = (size_t)(out - text->data);
	return DS_OK;
}

static int digit(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

enum ds_status ds_base64_get(const char *text, size_t n, struct ds_buf *bytes, struct ds_err *err)
{
	size_t padding = 0;
	uint8_t *out;

	if (n % 4)
		return ds_fail(err, DS_EFORMAT, "base64 of %zu characters, not a multiple of 4", n);
	while (padding < 2 && n && text[n - 1 - padding] == '=')
		padding++;
	DS_TRY(ds_buf_reserve(bytes, n / 4 * 3, err));
	out = bytes->data + bytes->len;
	for (size_t i = 0; i < n; i += 4) {
		size_t equals = i + 4 == n ? padding : 0;
		uint32_t v = 0;

		for (size_t j = 0; j < 4; j++) {
			int d = j < 4 - equals ? digit(text[i + j]) : 0;

			if (d < 0)
				return ds_fail(err, DS_EFORMAT, "no base64 at character %zu",
					       i + j);
			v = v << 6 | (uint32_t)d;
		}
		if ((equals == 1 && v & 0xFF) || (equals == 2 && v & 0xFFFF))
			return ds_fail(err, DS_EFORMAT, "base64 with bits behind its end");
		*out++ = (uint8_t)(v >> 16);
		*out++ = (uint8_t)(v >> 8);
		*out++ = (uint8_t)v;
	}
	bytes->len = (size_t)(out - bytes->data) - padding;
	return DS_OK;
}
