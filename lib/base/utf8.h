/*
 * utf8.h - decoding UTF-8 that may be broken
 *
 * Source: Unicode 15.0, section 3.9, table 3-7 (well-formed byte sequences).
 */
#ifndef DS_BASE_UTF8_H
#define DS_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define DS_UTF8_INVALID 0xFFFFFFFFu

/*
 * Decode the code point at p (p < end).  Returns its length in bytes, 1..4, and the code point in
 * *cp_ret; a byte that starts no well-formed sequence is length 1 and DS_UTF8_INVALID.
 */
static inline unsigned ds_utf8_decode(const uint8_t *p, const uint8_t *end, uint32_t *cp_ret)
{
	uint32_t c = *p;

	if (c < 0x80) {
		*cp_ret = c;
		return 1;
	}
	if (c >= 0xC2 && c <= 0xDF && end - p >= 2 && (p[1] & 0xC0) == 0x80) {
		*cp_ret = (c & 0x1F) << 6 | (p[1] & 0x3F);
		return 2;
	}
	if (c >= 0xE0 && c <= 0xEF && end - p >= 3 && (p[1] & 0xC0) == 0x80 &&
	    (p[2] & 0xC0) == 0x80) {
		uint32_t v = (c & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);

		if (v >= 0x800 && (v < 0xD800 || v > 0xDFFF)) {
			*cp_ret = v;
			return 3;
		}
	}
	if (c >= 0xF0 && c <= 0xF4 && end - p >= 4 && (p[1] & 0xC0) == 0x80 &&
	    (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80) {
		uint32_t v = (c & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
			     (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);

		if (v >= 0x10000 && v <= 0x10FFFF) {
			*cp_ret = v;
			return 4;
		}
	}
	*cp_ret = DS_UTF8_INVALID;
	return 1;
}

/* Write cp (<= 0x10FFFF) to out, which holds 4 bytes; returns the length. */
static inline unsigned ds_utf8_encode(uint32_t cp, uint8_t *out)
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (uint8_t)(0xC0 | cp >> 6);
		out[1] = (uint8_t)(0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(0xE0 | cp >> 12);
		out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
		out[2] = (uint8_t)(0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (uint8_t)(0xF0 | cp >> 18);
	out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3F));
	out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
	out[3] = (uint8_t)(0x80 | (cp & 0x3F));
	return 4;
}

/*
 * The length of the longest prefix of p[0..n) that does not end inside a sequence which more bytes
 * could complete: n, or up to 3 less.  For cutting a stream into buffers.
 */
static inline size_t ds_utf8_whole(const uint8_t *p, size_t n)
{
	size_t back = 0;

	while (back < 3 && back < n && (p[n - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back < n) {
		uint8_t lead = p[n - 1 - back];
		size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;

		if (need > back + 1)
			return n - 1 - back;
	}
	return n;
}

#endif
