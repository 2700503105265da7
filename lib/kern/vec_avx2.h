/* vec_avx2.h - a vector of 16 floats in two AVX registers */
#ifndef DS_KERN_VEC_AVX2_H
#define DS_KERN_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

struct v16 {
	__m256 a, b;
};

/* gemm tile: rows, panels (12 sums, 2 of the panel, 1 of the row) */
#define TILE_M 6
#define TILE_P 1
/* at most so many rows by more panels */
#define FEW_M 2
#define FEW_P 2

#define V16_EACH2(op, x, y) ((struct v16){op((x).a, (y).a), op((x).b, (y).b)})

static inline struct v16 v16_load(const float *p)
{
	return (struct v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void v16_store(float *p, struct v16 v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}

static inline struct v16 v16_set(float x)
{
	return (struct v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline struct v16 v16_i8(const int8_t *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)p);

	return (struct v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
			    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)))};
}

static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_add_ps, a, b);
}

static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_sub_ps, a, b);
}

static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_mul_ps, a, b);
}

static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_div_ps, a, b);
}

static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
	return (struct v16){_mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b)};
}

static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_max_ps, a, b);
}

static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
	return V16_EACH2(_mm256_min_ps, a, b);
}

static inline struct v16 v16_abs(struct v16 a)
{
	__m256 sign = _mm256_set1_ps(-0.0f);

	return (struct v16){_mm256_andnot_ps(sign, a.a), _mm256_andnot_ps(sign, a.b)};
}

static inline unsigned v16_negative(struct v16 a)
{
	__m256 zero = _mm256_setzero_ps();
	int lo = _mm256_movemask_ps(_mm256_cmp_ps(a.a, zero, _CMP_LT_OQ));
	int hi = _mm256_movemask_ps(_mm256_cmp_ps(a.b, zero, _CMP_LT_OQ));

	return (unsigned)lo | (unsigned)hi << 8;
}

static inline struct v16 v16_if_negative(struct v16 a, struct v16 b, struct v16 c)
{
	__m256 zero = _mm256_setzero_ps();

	return (struct v16){_mm256_blendv_ps(c.a, b.a, _mm256_cmp_ps(a.a, zero, _CMP_LT_OQ)),
			    _mm256_blendv_ps(c.b, b.b, _mm256_cmp_ps(a.b, zero, _CMP_LT_OQ))};
}

static inline struct v16 v16_swap_pairs(struct v16 a)
{
	return (struct v16){_mm256_permute_ps(a.a, 0xB1), _mm256_permute_ps(a.b, 0xB1)};
}

static inline __m256 keep_lanes_8(__m256 a, int from, int to, __m256 fill)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane);
	__m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane);

	return _mm256_blendv_ps(fill, a, _mm256_castsi256_ps(_mm256_andnot_si256(before, below)));
}

static inline struct v16 v16_keep_lanes(struct v16 a, unsigned from, unsigned to, float fill)
{
	__m256 f = _mm256_set1_ps(fill);

	return (struct v16){keep_lanes_8(a.a, (int)from, (int)to, f),
			    keep_lanes_8(a.b, (int)from - 8, (int)to - 8, f)};
}

static inline float v16_greatest(struct v16 a)
{
	__m256 h = _mm256_max_ps(a.a, a.b);
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline struct v16 v16_load_half(const uint16_t *p)
{
	return (struct v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
			    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

static inline void v16_store_half(uint16_t *p, struct v16 v)
{
	_mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
	_mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}

static inline struct v16 v16_round(struct v16 a)
{
	return (struct v16){_mm256_round_ps(a.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
			    _mm256_round_ps(a.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

static inline __m256 exp2i_8(__m256 a)
{
	__m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));

	return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}

static inline struct v16 v16_scale2(struct v16 a, struct v16 n)
{
	return (struct v16){_mm256_mul_ps(a.a, exp2i_8(n.a)), _mm256_mul_ps(a.b, exp2i_8(n.b))};
}

static inline float sum_8(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline float v16_sum(struct v16 a)
{
	return sum_8(_mm256_add_ps(a.a, a.b));
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
