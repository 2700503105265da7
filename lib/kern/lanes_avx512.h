/* lanes_avx512.h - 16 dwords in one AVX-512 register, for opening panels */
#ifndef DS_KERN_LANES_AVX512_H
#define DS_KERN_LANES_AVX512_H

#include <immintrin.h>

#include "kern/vec_avx512.h"

struct d16 {
	__m512i v;
};

static inline __m512i d16_four(const uint8_t *const *row, size_t at)
{
	__m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(row[0] + at)));

	v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row[4] + at)), 1);
	v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row[8] + at)), 2);
	return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row[12] + at)), 3);
}

static inline void d16_rows(const uint8_t *const row[16], size_t at, struct d16 out[4])
{
	__m512i a = d16_four(row, at), b = d16_four(row + 1, at);
	__m512i c = d16_four(row + 2, at), d = d16_four(row + 3, at);
	__m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);

	out[0].v = _mm512_unpacklo_epi64(ab, cd);
	out[1].v = _mm512_unpackhi_epi64(ab, cd);
	ab = _mm512_unpackhi_epi32(a, b);
	cd = _mm512_unpackhi_epi32(c, d);
	out[2].v = _mm512_unpacklo_epi64(ab, cd);
	out[3].v = _mm512_unpackhi_epi64(ab, cd);
}

static inline void d16_store(uint8_t *p, struct d16 a)
{
	_mm512_store_si512(p, a.v);
}

static inline struct d16 d16_and(struct d16 a, uint32_t b)
{
	return (struct d16){_mm512_and_si512(a.v, _mm512_set1_epi32((int32_t)b))};
}

static inline struct d16 d16_or(struct d16 a, struct d16 b)
{
	return (struct d16){_mm512_or_si512(a.v, b.v)};
}

static inline struct d16 d16_shl(struct d16 a, unsigned n)
{
	return (struct d16){_mm512_slli_epi32(a.v, n)};
}

static inline struct d16 d16_shr(struct d16 a, unsigned n)
{
	return (struct d16){_mm512_srli_epi32(a.v, n)};
}

/* arithmetic */
static inline struct d16 d16_sar(struct d16 a, unsigned n)
{
	return (struct d16){_mm512_srai_epi32(a.v, n)};
}

static inline struct d16 d16_add_bytes(struct d16 a, uint8_t b)
{
	return (struct d16){_mm512_add_epi8(a.v, _mm512_set1_epi8((char)b))};
}

/* bits 4j .. 4j + 3 of every lane to bit 4 of its four bytes */
static inline struct d16 d16_fifth_bits(struct d16 a, unsigned j)
{
	const __m512i spread = _mm512_setr_epi32(
		0, 0x10, 0x1000, 0x1010, 0x100000, 0x100010, 0x101000, 0x101010, 0x10000000,
		0x10000010, 0x10001000, 0x10001010, 0x10100000, 0x10100010, 0x10101000, 0x10101010);

	return (struct d16){_mm512_permutexvar_epi32(_mm512_srli_epi32(a.v, 4 * j), spread)};
}

static inline struct v16 d16_float(struct d16 a)
{
	return (struct v16){_mm512_cvtepi32_ps(a.v)};
}

/* the low half of every lane, a half-precision number */
static inline struct v16 d16_half(struct d16 a)
{
	return (struct v16){_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))};
}

/* the lanes taken for floats */
static inline struct v16 d16_bits(struct d16 a)
{
	return (struct v16){_mm512_castsi512_ps(a.v)};
}

/* the largest |x| of two vectors, as bits */
static inline uint32_t d16_largest(struct v16 a, struct v16 b)
{
	__m512i m = _mm512_max_epu32(_mm512_castps_si512(v16_abs(a).v),
				     _mm512_castps_si512(v16_abs(b).v));

	return _mm512_reduce_max_epu32(m);
}

/* a to the nearest int8, stored; their sum */
static inline int32_t d16_store_i8(int8_t *p, struct v16 a)
{
	__m512i v = _mm512_cvtps_epi32(a.v);

	_mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(v));
	return _mm512_reduce_add_epi32(v);
}

static inline struct d16 d16_load(const uint8_t *p)
{
	return (struct d16){_mm512_load_si512(p)};
}

static inline struct d16 d16_set(int32_t v)
{
	return (struct d16){_mm512_set1_epi32(v)};
}

static inline struct d16 d16_add(struct d16 a, struct d16 b)
{
	return (struct d16){_mm512_add_epi32(a.v, b.v)};
}

static inline struct d16 d16_add_words(struct d16 a, struct d16 b)
{
	return (struct d16){_mm512_add_epi16(a.v, b.v)};
}

/* 32 words: sums of two products, w without and a with sign */
static inline struct d16 d16_maddubs(struct d16 w, struct d16 a)
{
	return (struct d16){_mm512_maddubs_epi16(w.v, a.v)};
}

/* sums of two words */
static inline struct d16 d16_pairs(struct d16 words)
{
	return (struct d16){_mm512_madd_epi16(words.v, _mm512_set1_epi16(1))};
}

/* Stay as it is here: gcc would turn a running sum into a tree, for which registers do not do. */
static inline void d16_pin(struct d16 *a)
{
	__asm__("" : "+v"(a->v));
}

/* sums of two products of words */
static inline struct d16 d16_madd(struct d16 w, struct d16 a)
{
	return (struct d16){_mm512_madd_epi16(w.v, a.v)};
}

/* bytes 0 and 1 of every lane as words, then bytes 2 and 3: they go to the high half of words */
static inline void d16_widen(struct d16 a, struct d16 out[2])
{
	const __m512i lo = _mm512_set4_epi32(0x0DFF0CFF, 0x09FF08FF, 0x05FF04FF, 0x01FF00FF);
	const __m512i hi = _mm512_or_si512(lo, _mm512_set1_epi8(2));

	out[0].v = _mm512_srai_epi16(_mm512_shuffle_epi8(a.v, lo), 8);
	out[1].v = _mm512_srai_epi16(_mm512_shuffle_epi8(a.v, hi), 8);
}

/* 32 bytes as words */
static inline void d16_widen_row(const int8_t *p, int16_t *to)
{
	_mm512_storeu_si512(to, _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p)));
}

#endif
