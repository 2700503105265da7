/* model_avx2.c - the step of the mixing coder with AVX2 */
#include <immintrin.h>
#include <string.h>

#include "base/loops.h"
#include "mix/model.h"

/* Histories and what stands for them of the others: which chance of each. */
static inline __m128i chances_at(const struct step *st)
{
	uint8_t *const *slot = st->slot;
	uint32_t n = st->nibble;

	return _mm_setr_epi8((char)slot[0][n], (char)slot[1][n], (char)slot[2][n], (char)slot[3][n],
			     (char)slot[4][n], (char)slot[5][n], (char)slot[6][n], (char)slot[7][n],
			     (char)slot[8][n], (char)slot[9][n], (char)slot[10][n],
			     (char)slot[11][n], (char)slot[12][n], (char)st->foreseen[0],
			     (char)st->foreseen[1], (char)st->node);
}

/* Eight chances from the one numbered first on, and their inputs. */
static inline void input8(struct step *st, int first, __m128i at)
{
	const __m256i row = _mm256_setr_epi32(0, 256, 512, 768, 1024, 1280, 1536, 1792);
	__m256i i = _mm256_add_epi32(_mm256_cvtepu8_epi32(at), row);
	__m256i x = _mm256_i32gather_epi32((const int *)st->s->chance[first], i, 4);
	__m256i logit = _mm256_srai_epi32(_mm256_slli_epi32(x, 20), 20);
	__m256i lean = _mm256_sub_epi32(_mm256_srli_epi32(x, 20), _mm256_set1_epi32(2048));

	_mm256_store_si256((__m256i *)(st->v + first), x);
	_mm256_store_si256((__m256i *)(st->input + 2 * first),
			   _mm256_blend_epi16(logit, _mm256_slli_epi32(lean, 16), 0xAA));
}

static inline void mix_inputs(struct step *st)
{
	__m128i at = chances_at(st);
	unsigned empty = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(at, _mm_setzero_si128()));

	st->known = (unsigned)__builtin_popcount(~empty & ((1u << N_KNOWN) - 1));
	_mm_store_si128((__m128i *)st->at, at);
	input8(st, 0, at);
	input8(st, 8, _mm_srli_si128(at, 8));
}

static inline void learn8(uint32_t *v, __m256i goal, const int16_t *stretch)
{
	__m256i x = _mm256_load_si256((const __m256i *)v), p = _mm256_srli_epi32(x, 12);

	p = _mm256_add_epi32(p, _mm256_srai_epi32(_mm256_sub_epi32(goal, p), RATE_CHANCE));
	__m256i logit = _mm256_i32gather_epi32((const int *)stretch, _mm256_srli_epi32(p, 8), 2);

	logit = _mm256_and_si256(logit, _mm256_set1_epi32(0xFFF));
	_mm256_store_si256((__m256i *)v, _mm256_or_si256(_mm256_slli_epi32(p, 12), logit));
}

static inline void mix_learn(struct step *st, unsigned bit)
{
	__m256i goal = _mm256_set1_epi32(bit ? (1 << 20) - 1 : 0);

	learn8(st->v, goal, st->t->stretch);
	learn8(st->v + 8, goal, st->t->stretch);
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

static inline void mix_dots(struct step *st)
{
	__m256i a = halves(st->input, st->row), b = halves(st->input, st->row + 4);
	__m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
				       _mm256_permute2x128_si256(a, b, 0x31));
	const __m256i max = _mm256_set1_epi32(DS_MIX_LOGIT_MAX);

	sum = _mm256_min_epi32(_mm256_srai_epi32(sum, 14), max);
	sum = _mm256_max_epi32(sum, _mm256_sub_epi32(_mm256_setzero_si256(), max));
	_mm256_store_si256((__m256i *)st->logit, sum);
}

static inline int32_t mix_final(const struct step *st)
{
	__m256i w = _mm256_srai_epi32(_mm256_load_si256((const __m256i *)st->final), 14);
	__m256i sum = _mm256_mullo_epi32(w, _mm256_load_si256((const __m256i *)st->logit));
	__m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
	return _mm_cvtsi128_si32(half);
}

/* miss[] of the sets; the weights of the second mixing learn. */
static inline void train_final(struct step *st, int32_t goal, int32_t *miss)
{
	__m256i logit = _mm256_load_si256((const __m256i *)st->logit);
	__m256i i = _mm256_add_epi32(logit, _mm256_set1_epi32(DS_MIX_LOGIT_MAX));
	__m256i p = _mm256_i32gather_epi32((const int *)st->t->squash, i, 2);
	__m256i d = _mm256_sub_epi32(_mm256_set1_epi32(goal),
				     _mm256_and_si256(p, _mm256_set1_epi32(0xFFFF)));
	__m256i *final = (__m256i *)st->final;
	int32_t e = ((goal - (int32_t)st->p_mix) * RATE_FINAL) >> 8;

	d = _mm256_srai_epi32(_mm256_mullo_epi32(d, _mm256_set1_epi32(RATE_MIX)), 10);
	_mm256_store_si256((__m256i *)miss, d);
	d = _mm256_srai_epi32(_mm256_mullo_epi32(logit, _mm256_set1_epi32(e)), 4);
	*final = _mm256_add_epi32(*final, d);
}

static inline void mix_train(struct step *st, int32_t goal)
{
	const __m256i *x = (const __m256i *)st->input;
	int32_t miss[N_SET] __attribute__((aligned(32)));

	train_final(st, goal, miss);
	UNROLL
	for (int i = 0; i < N_SET; i++) {
		__m256i *w = (__m256i *)st->row[i], e = _mm256_set1_epi16((int16_t)miss[i]);

		w[0] = _mm256_adds_epi16(w[0], _mm256_mulhrs_epi16(x[0], e));
		w[1] = _mm256_adds_epi16(w[1], _mm256_mulhrs_epi16(x[1], e));
	}
}

#include "mix/model.inc"

const struct ds_mix_kern ds_mix_avx2 = {"avx2", learn, encode, decode};
