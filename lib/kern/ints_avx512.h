/* ints_avx512.h - a vector of 16 int32 in one AVX-512 register, for attn8.inc */
#ifndef DS_KERN_INTS_AVX512_H
#define DS_KERN_INTS_AVX512_H

#include <string.h>

#include "base/loops.h"
#include "kern/vec_avx512.h"

struct n16 {
	__m512i v;
};

INLINE struct n16 n16_set(int32_t x)
{
	return (struct n16){_mm512_set1_epi32(x)};
}

INLINE struct n16 n16_load(const int32_t *p)
{
	return (struct n16){_mm512_loadu_si512(p)};
}

INLINE void n16_store(int32_t *p, struct n16 a)
{
	_mm512_storeu_si512(p, a.v);
}

INLINE struct n16 n16_add(struct n16 a, struct n16 b)
{
	return (struct n16){_mm512_add_epi32(a.v, b.v)};
}

INLINE struct n16 n16_sub(struct n16 a, struct n16 b)
{
	return (struct n16){_mm512_sub_epi32(a.v, b.v)};
}

INLINE struct n16 n16_round(struct v16 a)
{
	return (struct n16){_mm512_cvtps_epi32(a.v)};
}

INLINE struct v16 n16_float(struct n16 a)
{
	return (struct v16){_mm512_cvtepi32_ps(a.v)};
}

INLINE void n16_pack4(uint8_t *p, const struct v16 *a)
{
	const __mmask64 odd = 0xAAAAAAAAAAAAAAAA;
	__m512i a0 = _mm512_cvtps_epi32(a[0].v), a1 = _mm512_cvtps_epi32(a[1].v);
	__m512i a2 = _mm512_cvtps_epi32(a[2].v), a3 = _mm512_cvtps_epi32(a[3].v);

	a0 = _mm512_mask_blend_epi8(odd, a0, _mm512_slli_epi32(a1, 8));
	a2 = _mm512_mask_blend_epi8(odd, a2, _mm512_slli_epi32(a3, 8));
	a0 = _mm512_mask_blend_epi16((__mmask32)odd, a0, _mm512_slli_epi32(a2, 16));
	_mm512_storeu_si512(p, a0);
}

INLINE void n16_pack(uint8_t *p, struct v16 a)
{
	_mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

INLINE int32_t n16_sum(struct n16 a)
{
	return _mm512_reduce_add_epi32(a.v);
}

INLINE __m512i four_bytes(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof v);
	return _mm512_set1_epi32(v);
}

#endif
