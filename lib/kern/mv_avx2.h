/* mv_avx2.h - vectors of matvec.inc in AVX2 registers */
#ifndef DS_KERN_MV_AVX2_H
#define DS_KERN_MV_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define MV_ROWS 8 /* rows of a step: floats of a vector */
#define VI __m256i
#define VF __m256

/* 16 bytes each of rows p and p + stride, one a 128-bit lane */
static inline VI vi_rows(const uint8_t *p, size_t stride)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
				       _mm_loadu_si128((const __m128i *)(p + stride)), 1);
}

/* 16 bytes in every lane */
static inline VI vi_same(const void *p)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
}

static inline VI vi_set8(int x)
{
	return _mm256_set1_epi8((char)x);
}

static inline VI vi_set32(int x)
{
	return _mm256_set1_epi32(x);
}

static inline VI vi_and(VI a, VI b)
{
	return _mm256_and_si256(a, b);
}

static inline VI vi_or(VI a, VI b)
{
	return _mm256_or_si256(a, b);
}

static inline VI vi_add32(VI a, VI b)
{
	return _mm256_add_epi32(a, b);
}

static inline VI vi_srl32(VI a, unsigned n)
{
	return _mm256_srli_epi32(a, (int)n);
}

static inline VI vi_sll32(VI a, unsigned n)
{
	return _mm256_slli_epi32(a, (int)n);
}

static inline VI vi_sra32(VI a, unsigned n)
{
	return _mm256_srai_epi32(a, (int)n);
}

static inline VI vi_unpacklo32(VI a, VI b)
{
	return _mm256_unpacklo_epi32(a, b);
}

static inline VI vi_unpackhi32(VI a, VI b)
{
	return _mm256_unpackhi_epi32(a, b);
}

static inline VI vi_unpacklo64(VI a, VI b)
{
	return _mm256_unpacklo_epi64(a, b);
}

static inline VI vi_unpackhi64(VI a, VI b)
{
	return _mm256_unpackhi_epi64(a, b);
}

/* bytes of each lane chosen by index */
static inline VI vi_shuffle(VI a, VI index)
{
	return _mm256_shuffle_epi8(a, index);
}

/* q with 16 added to the bytes where mask and bits share a bit (one bit a byte of mask) */
static inline VI vi_add16_where(VI q, VI bits, VI mask)
{
	VI clear = _mm256_cmpeq_epi8(_mm256_and_si256(bits, mask), _mm256_setzero_si256());

	return _mm256_add_epi8(q, _mm256_andnot_si256(clear, _mm256_set1_epi8(16)));
}

/* sums of 4 products u a, u below 64 */
static inline VI vi_dot(VI u, VI a)
{
	return _mm256_madd_epi16(_mm256_maddubs_epi16(u, a), _mm256_set1_epi16(1));
}

/* sums of 4 products u0 a0 + u1 a1, u below 64: at most 4 * 63 * 127 in 16 bits */
static inline VI vi_dot2(VI u0, VI a0, VI u1, VI a1)
{
	return _mm256_madd_epi16(
		_mm256_add_epi16(_mm256_maddubs_epi16(u0, a0), _mm256_maddubs_epi16(u1, a1)),
		_mm256_set1_epi16(1));
}

#define VI_I8_OFFSET 0
/* |q| times a with q's sign: pairs are at most 2 * 128 * 127 */
static inline VI vi_dot_i8(VI q, VI a)
{
	return vi_dot(_mm256_abs_epi8(q), _mm256_sign_epi8(a, q));
}

static inline VI vi_dot2_i8(VI q0, VI a0, VI q1, VI a1)
{
	return _mm256_add_epi32(vi_dot_i8(q0, a0), vi_dot_i8(q1, a1));
}

static inline VF vf_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

static inline void vf_store(float *p, VF v)
{
	_mm256_storeu_ps(p, v);
}

static inline VF vf_set(float x)
{
	return _mm256_set1_ps(x);
}

static inline VF vf_mul(VF a, VF b)
{
	return _mm256_mul_ps(a, b);
}

/* a b + c, rounded once */
static inline VF vf_fma(VF a, VF b, VF c)
{
	return _mm256_fmadd_ps(a, b, c);
}

static inline VF vf_negate(VF a)
{
	return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f));
}

static inline VF vf_int(VI a)
{
	return _mm256_cvtepi32_ps(a);
}

static inline VF vf_bits(VI a)
{
	return _mm256_castsi256_ps(a);
}

/* the low 16 bits of each 32 as a half-precision number */
static inline VF vf_half(VI a)
{
	a = _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF));
	a = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 0x08);
	return _mm256_cvtph_ps(_mm256_castsi256_si128(a));
}

#endif
