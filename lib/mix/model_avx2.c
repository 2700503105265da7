/* model_avx2.c - the step of the mixing coder with AVX2 */
#include <immintrin.h>
#include <string.h>

#include "mix/model.h"

static inline void input8(uint32_t *const *c, uint32_t *v, int16_t *input)
{
	__m256i x = _mm256_set_epi32((int)*c[7], (int)*c[6], (int)*c[5], (int)*c[4], (int)*c[3],
				     (int)*c[2], (int)*c[1], (int)*c[0]);
	__m256i logit = _mm256_srai_epi32(_mm256_slli_epi32(x, 20), 20);
	__m256i lean = _mm256_sub_epi32(_mm256_srli_epi32(x, 20), _mm256_set1_epi32(2048));

	_mm256_store_si256((__m256i *)v, x);
	_mm256_store_si256((__m256i *)input,
			   _mm256_blend_epi16(logit, _mm256_slli_epi32(lean, 16), 0xAA));
}

static inline void mix_inputs(uint32_t *const *chance, uint32_t *v, int16_t *input)
{
	input8(chance, v, input);
	input8(chance + 8, v + 8, input + 16);
}

static inline void learn8(uint32_t *v, __m256i goal, const int16_t *stretch)
{
	__m256i x = _mm256_load_si256((const __m256i *)v), p = _mm256_srli_epi32(x, 12);

	p = _mm256_add_epi32(p, _mm256_srai_epi32(_mm256_sub_epi32(goal, p), RATE_CHANCE));
	__m256i logit = _mm256_i32gather_epi32((const int *)stretch, _mm256_srli_epi32(p, 8), 2);

	logit = _mm256_and_si256(logit, _mm256_set1_epi32(0xFFF));
	_mm256_store_si256((__m256i *)v, _mm256_or_si256(_mm256_slli_epi32(p, 12), logit));
}

static inline void mix_learn(uint32_t *v, unsigned bit, const int16_t *stretch)
{
	__m256i goal = _mm256_set1_epi32(bit ? (1 << 20) - 1 : 0);

	learn8(v, goal, stretch);
	learn8(v + 8, goal, stretch);
}

static inline __m256i products(const int16_t *input, const int16_t *row)
{
	const __m256i *x = (const __m256i *)input, *w = (const __m256i *)row;

	return _mm256_add_epi32(_mm256_madd_epi16(x[0], w[0]), _mm256_madd_epi16(x[1], w[1]));
}

/* Sums of four vectors: each half has a part of each */
static inline __m256i halves(const int16_t *input, int16_t *const *row)
{
	__m256i a = _mm256_hadd_epi32(products(input, row[0]), products(input, row[1]));
	__m256i b = _mm256_hadd_epi32(products(input, row[2]), products(input, row[3]));

	return _mm256_hadd_epi32(a, b);
}

static inline void mix_dots(const int16_t *input, int16_t *const *row, int32_t *logit)
{
	__m256i a = halves(input, row), b = halves(input, row + 4);
	__m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
				       _mm256_permute2x128_si256(a, b, 0x31));
	const __m256i max = _mm256_set1_epi32(DS_MIX_LOGIT_MAX);

	sum = _mm256_min_epi32(_mm256_srai_epi32(sum, 14), max);
	sum = _mm256_max_epi32(sum, _mm256_sub_epi32(_mm256_setzero_si256(), max));
	_mm256_store_si256((__m256i *)logit, sum);
}

static inline int32_t mix_final(const int32_t *logit, const int32_t *weight)
{
	__m256i w = _mm256_srai_epi32(_mm256_load_si256((const __m256i *)weight), 14);
	__m256i sum = _mm256_mullo_epi32(w, _mm256_load_si256((const __m256i *)logit));
	__m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
	return _mm_cvtsi128_si32(half);
}

static inline void mix_train(const int16_t *input, int16_t *const *row, const int32_t *miss)
{
	const __m256i *x = (const __m256i *)input;

	for (int i = 0; i < N_SET; i++) {
		__m256i *w = (__m256i *)row[i], e = _mm256_set1_epi16((int16_t)miss[i]);

		w[0] = _mm256_adds_epi16(w[0], _mm256_mulhrs_epi16(x[0], e));
		w[1] = _mm256_adds_epi16(w[1], _mm256_mulhrs_epi16(x[1], e));
	}
}

#include "mix/model.inc"

const struct ds_mix_kern ds_mix_avx2 = {"avx2", learn, encode, decode};
