/*
 * scan.h - runs of ASCII letters, 16 bytes at a time where SSE2 is (every x86-64), else by bytes
 *
 * Both ways give the same result.
 */
#ifndef DS_BASE_SCAN_H
#define DS_BASE_SCAN_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline int ds_is_alpha(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

/* The first byte of [p, end) that is no ASCII letter, or end. */
static inline const uint8_t *ds_skip_alpha(const uint8_t *p, const uint8_t *end)
{
#ifdef __SSE2__
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i x = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
		__m128i alpha = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(25)), x);
		unsigned other = (unsigned)_mm_movemask_epi8(alpha) ^ 0xFFFF;

		if (other)
			return p + __builtin_ctz(other);
		p += 16;
	}
#endif
	while (p < end && ds_is_alpha(*p))
		p++;
	return p;
}

#endif
