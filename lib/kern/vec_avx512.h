/* vec_avx512.h - a vector of 16 floats in one AVX-512 register */
#ifndef DS_KERN_VEC_AVX512_H
#define DS_KERN_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

struct v16 {
	__m512 v;
};

/* gemm tile: rows, panels (24 sums, 2 of the panel) */
#define TILE_M 12
#define TILE_P 2
/* at most so many rows by more panels */
#define FEW_M 7
#define FEW_P 4

static inline struct v16 v16_load(const float *p)
{
	return (struct v16){_mm512_loadu_ps(p)};
}

static inline void v16_store(float *p, struct v16 v)
{
	_mm512_storeu_ps(p, v.v);
}

static inline struct v16 v16_set(float x)
{
	return (struct v16){_mm512_set1_ps(x)};
}

static inline struct v16 v16_i8(const int8_t *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)p);

	return (struct v16){_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v))};
}

static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_add_ps(a.v, b.v)};
}

static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_sub_ps(a.v, b.v)};
}

static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_mul_ps(a.v, b.v)};
}

static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_div_ps(a.v, b.v)};
}

static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
	return (struct v16){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_max_ps(a.v, b.v)};
}

static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
	return (struct v16){_mm512_min_ps(a.v, b.v)};
}

static inline struct v16 v16_abs(struct v16 a)
{
	return (struct v16){_mm512_abs_ps(a.v)};
}

static inline unsigned v16_negative(struct v16 a)
{
	return _mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_LT_OQ);
}

static inline struct v16 v16_if_negative(struct v16 a, struct v16 b, struct v16 c)
{
	__mmask16 negative = _mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_LT_OQ);

	return (struct v16){_mm512_mask_blend_ps(negative, c.v, b.v)};
}

static inline struct v16 v16_swap_pairs(struct v16 a)
{
	return (struct v16){_mm512_permute_ps(a.v, 0xB1)};
}

static inline struct v16 v16_keep_lanes(struct v16 a, unsigned from, unsigned to, float fill)
{
	__mmask16 inside = (__mmask16)(((1u << to) - 1) & ~((1u << from) - 1));

	return (struct v16){_mm512_mask_blend_ps(inside, _mm512_set1_ps(fill), a.v)};
}

static inline float v16_greatest(struct v16 a)
{
	__m256 h = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline struct v16 v16_load_half(const uint16_t *p)
{
	return (struct v16){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p))};
}

static inline void v16_store_half(uint16_t *p, struct v16 v)
{
	_mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v.v, _MM_FROUND_TO_NEAREST_INT));
}

static inline struct v16 v16_round(struct v16 a)
{
	return (struct v16){
		_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

static inline struct v16 v16_scale2(struct v16 a, struct v16 n)
{
	return (struct v16){_mm512_scalef_ps(a.v, n.v)};
}

static inline float v16_sum(struct v16 a)
{
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

struct i16x {
	__m256i v;
};

static inline struct i16x i16x_zero(void)
{
	return (struct i16x){_mm256_setzero_si256()};
}

static inline struct i16x i16x_dot(struct i16x s, const int8_t *a, const int8_t *b)
{
	__m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)a));
	__m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b));

	return (struct i16x){_mm256_add_epi32(s.v, _mm256_madd_epi16(x, y))};
}

static inline int32_t i16x_sum(struct i16x s)
{
	__m128i v = _mm_add_epi32(_mm256_castsi256_si128(s.v), _mm256_extracti128_si256(s.v, 1));

	v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4E));
	v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1));
	return _mm_cvtsi128_si32(v);
}

#endif
