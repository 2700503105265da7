/* lanes_avx2.h - 16 dwords in two AVX registers, for opening panels */
#ifndef DS_KERN_LANES_AVX2_H
#define DS_KERN_LANES_AVX2_H

#include <immintrin.h>

#include "kern/vec_avx2.h"

struct d16 {
	__m256i a, b;
};

#define D16_EACH(op, x, ...) ((struct d16){op((x).a, __VA_ARGS__), op((x).b, __VA_ARGS__)})

static inline __m256i d16_two(const uint8_t *const *row, size_t at)
{
	__m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const void *)(row[0] + at)));

	return _mm256_inserti128_si256(v, _mm_loadu_si128((const void *)(row[4] + at)), 1);
}

static inline void d16_eight(const uint8_t *const *row, size_t at, __m256i out[4])
{
	__m256i a = d16_two(row, at), b = d16_two(row + 1, at);
	__m256i c = d16_two(row + 2, at), d = d16_two(row + 3, at);
	__m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);

	out[0] = _mm256_unpacklo_epi64(ab, cd);
	out[1] = _mm256_unpackhi_epi64(ab, cd);
	ab = _mm256_unpackhi_epi32(a, b);
	cd = _mm256_unpackhi_epi32(c, d);
	out[2] = _mm256_unpacklo_epi64(ab, cd);
	out[3] = _mm256_unpackhi_epi64(ab, cd);
}

static inline void d16_rows(const uint8_t *const row[16], size_t at, struct d16 out[4])
{
	__m256i a[4], b[4];

	d16_eight(row, at, a);
	d16_eight(row + 8, at, b);
	for (unsigned i = 0; i < 4; i++)
		out[i] = (struct d16){a[i], b[i]};
}

static inline void d16_store(uint8_t *p, struct d16 x)
{
	_mm256_store_si256((void *)p, x.a);
	_mm256_store_si256((void *)(p + 32), x.b);
}

static inline struct d16 d16_and(struct d16 x, uint32_t y)
{
	return D16_EACH(_mm256_and_si256, x, _mm256_set1_epi32((int32_t)y));
}

static inline struct d16 d16_or(struct d16 x, struct d16 y)
{
	return (struct d16){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}

static inline struct d16 d16_shl(struct d16 x, unsigned n)
{
	return D16_EACH(_mm256_slli_epi32, x, (int)n);
}

static inline struct d16 d16_shr(struct d16 x, unsigned n)
{
	return D16_EACH(_mm256_srli_epi32, x, (int)n);
}

/* arithmetic */
static inline struct d16 d16_sar(struct d16 x, unsigned n)
{
	return D16_EACH(_mm256_srai_epi32, x, (int)n);
}

static inline struct d16 d16_add_bytes(struct d16 x, uint8_t y)
{
	return D16_EACH(_mm256_add_epi8, x, _mm256_set1_epi8((char)y));
}

/* bits 4j .. 4j + 3 of every lane to bit 4 of its four bytes */
static inline struct d16 d16_fifth_bits(struct d16 x, unsigned j)
{
	const __m256i from = _mm256_add_epi8(_mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8,
							      12, 12, 12, 12, 0, 0, 0, 0, 4, 4, 4,
							      4, 8, 8, 8, 8, 12, 12, 12, 12),
					     _mm256_set1_epi8((char)(j / 2)));
	const __m256i bit = _mm256_set1_epi32(j % 2 ? (int32_t)0x80402010 : 0x08040201);
	struct d16 y = D16_EACH(_mm256_shuffle_epi8, x, from);

	y = D16_EACH(_mm256_and_si256, y, bit);
	y = D16_EACH(_mm256_cmpeq_epi8, y, bit);
	return d16_and(y, 0x10101010);
}

static inline struct v16 d16_float(struct d16 x)
{
	return (struct v16){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}

/* the low half of every lane, a half-precision number */
static inline struct v16 d16_half(struct d16 x)
{
	struct d16 low = d16_and(x, 0xFFFF);
	__m256i h = _mm256_permute4x64_epi64(_mm256_packus_epi32(low.a, low.b), 0xD8);

	return (struct v16){_mm256_cvtph_ps(_mm256_castsi256_si128(h)),
			    _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}

/* the lanes taken for floats */
static inline struct v16 d16_bits(struct d16 x)
{
	return (struct v16){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}

/* the largest |x| of two vectors, as bits */
static inline uint32_t d16_largest(struct v16 x, struct v16 y)
{
	struct v16 u = v16_abs(x), v = v16_abs(y);
	__m256i m = _mm256_max_epu32(
		_mm256_max_epu32(_mm256_castps_si256(u.a), _mm256_castps_si256(u.b)),
		_mm256_max_epu32(_mm256_castps_si256(v.a), _mm256_castps_si256(v.b)));
	__m128i h = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));

	h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4E));
	h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0xB1));
	return (uint32_t)_mm_cvtsi128_si32(h);
}

/* x to the nearest int8, stored; their sum */
static inline int32_t d16_store_i8(int8_t *p, struct v16 x)
{
	__m256i a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
	__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);

	_mm_storeu_si128((void *)p, _mm_packs_epi16(_mm256_castsi256_si128(words),
						    _mm256_extracti128_si256(words, 1)));
	return i16x_sum((struct i16x){_mm256_add_epi32(a, b)});
}

static inline struct d16 d16_load(const uint8_t *p)
{
	return (struct d16){_mm256_load_si256((const void *)p),
			    _mm256_load_si256((const void *)(p + 32))};
}

static inline struct d16 d16_set(int32_t v)
{
	return (struct d16){_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}

static inline struct d16 d16_add(struct d16 x, struct d16 y)
{
	return (struct d16){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

static inline struct d16 d16_add_words(struct d16 x, struct d16 y)
{
	return (struct d16){_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)};
}

/* 32 words: sums of two products, w without and x with sign */
static inline struct d16 d16_maddubs(struct d16 w, struct d16 x)
{
	return (struct d16){_mm256_maddubs_epi16(w.a, x.a), _mm256_maddubs_epi16(w.b, x.b)};
}

/* sums of two words */
static inline struct d16 d16_pairs(struct d16 words)
{
	return D16_EACH(_mm256_madd_epi16, words, _mm256_set1_epi16(1));
}

/* Stay as it is here: gcc would turn a running sum into a tree, for which registers do not do. */
static inline void d16_pin(struct d16 *x)
{
	__asm__("" : "+x"(x->a), "+x"(x->b));
}

/* sums of two products of words */
static inline struct d16 d16_madd(struct d16 w, struct d16 x)
{
	return (struct d16){_mm256_madd_epi16(w.a, x.a), _mm256_madd_epi16(w.b, x.b)};
}

/* bytes 0 and 1 of every lane as words, then bytes 2 and 3: they go to the high half of words */
static inline void d16_widen(struct d16 x, struct d16 out[2])
{
	const __m256i lo =
		_mm256_set_epi8(13, -1, 12, -1, 9, -1, 8, -1, 5, -1, 4, -1, 1, -1, 0, -1, 13, -1,
				12, -1, 9, -1, 8, -1, 5, -1, 4, -1, 1, -1, 0, -1);
	const __m256i hi = _mm256_or_si256(lo, _mm256_set1_epi8(2));

	out[0] = D16_EACH(_mm256_shuffle_epi8, x, lo);
	out[1] = D16_EACH(_mm256_shuffle_epi8, x, hi);
	for (unsigned i = 0; i < 2; i++)
		out[i] = D16_EACH(_mm256_srai_epi16, out[i], 8);
}

/* 32 bytes as words */
static inline void d16_widen_row(const int8_t *p, int16_t *to)
{
	for (unsigned i = 0; i < 32; i += 16)
		_mm256_storeu_si256((void *)(to + i),
				    _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + i))));
}

#endif
