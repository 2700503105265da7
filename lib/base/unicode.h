/*
 * unicode.h - character classes of code points
 *
 * The version is pinned: ids must not change because a system library was updated.
 */
#ifndef DS_BASE_UNICODE_H
#define DS_BASE_UNICODE_H

#include <stdint.h>

enum {
	DS_UC_L = 1,	  /* \p{L} */
	DS_UC_N = 2,	  /* \p{N} */
	DS_UC_M = 4,	  /* \p{M} */
	DS_UC_P = 8,	  /* \p{P} */
	DS_UC_S = 16,	  /* \p{S} */
	DS_UC_SPACE = 32, /* \s: White_Space */
	DS_UC_UPPER = 64, /* Lu and Lt; DS_UC_L is set as well */
	DS_UC_LOWER = 128, /* Ll; DS_UC_L is set as well */
};

extern const char ds_unicode_version[];	    /* "16.0" */
extern const uint8_t ds_unicode_block[];    /* [0x110000 / 128] row of ds_unicode_classes */
extern const uint8_t ds_unicode_classes[];  /* [blocks][128] DS_UC_ bits; the first row is ASCII */

/* DS_UC_ bits of cp; 0 for what is unassigned or no code point. */
static inline unsigned ds_unicode_class(uint32_t cp)
{
	if (cp >= 0x110000)
		return 0;
	return ds_unicode_classes[ds_unicode_block[cp >> 7] * 128u + (cp & 127)];
}

#endif
