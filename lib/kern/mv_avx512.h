/* mv_avx512.h - vectors of matvec.inc in AVX-512 registers; with VNNI where that is compiled in */
#ifndef DS_KERN_MV_AVX512_H
#define DS_KERN_MV_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define MV_ROWS 16 /* rows of a step: floats of a vector */
#define VI __m512i
#define VF __m512

/* 16 bytes each of rows p, p + stride .. p + 3 stride, one a 128-bit lane */
static inline VI vi_rows(const uint8_t *p, size_t stride)
{
	const uint8_t *q = p + 2 * stride;
	__m256i lo =
		_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
					_mm_loadu_si128((const __m128i *)(p + stride)), 1);
	__m256i hi =
		_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)q)),
					_mm_loadu_si128((const __m128i *)(q + stride)), 1);

	return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1);
}

/* 16 bytes in every lane */
static inline VI vi_same(const void *p)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
}

static inline VI vi_set8(int x)
{
	return _mm512_set1_epi8((char)x);
}

static inline VI vi_set32(int x)
{
	return _mm512_set1_epi32(x);
}

static inline VI vi_and(VI a, VI b)
{
	return _mm512_and_si512(a, b);
}

static inline VI vi_or(VI a, VI b)
{
	return _mm512_or_si512(a, b);
}

static inline VI vi_add32(VI a, VI b)
{
	return _mm512_add_epi32(a, b);
}

static inline VI vi_srl32(VI a, unsigned n)
{
	return _mm512_srli_epi32(a, n);
}

static inline VI vi_sll32(VI a, unsigned n)
{
	return _mm512_slli_epi32(a, n);
}

static inline VI vi_sra32(VI a, unsigned n)
{
	return _mm512_srai_epi32(a, n);
}

static inline VI vi_unpacklo32(VI a, VI b)
{
	return _mm512_unpacklo_epi32(a, b);
}

static inline VI vi_unpackhi32(VI a, VI b)
{
	return _mm512_unpackhi_epi32(a, b);
}

static inline VI vi_unpacklo64(VI a, VI b)
{
	return _mm512_unpacklo_epi64(a, b);
}

static inline VI vi_unpackhi64(VI a, VI b)
{
	return _mm512_unpackhi_epi64(a, b);
}

/* bytes of each lane chosen by index */
static inline VI vi_shuffle(VI a, VI index)
{
	return _mm512_shuffle_epi8(a, index);
}

/* q with 16 added to the bytes where mask and bits share a bit (one bit a byte of mask) */
static inline VI vi_add16_where(VI q, VI bits, VI mask)
{
	return _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(bits, mask), q, _mm512_set1_epi8(16));
}

#ifdef __AVX512VNNI__
/* sums of 4 products u a, u0 a0 + u1 a1, u below 64 */
static inline VI vi_dot(VI u, VI a)
{
	return _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, a);
}

static inline VI vi_dot2(VI u0, VI a0, VI u1, VI a1)
{
	return _mm512_dpbusd_epi32(vi_dot(u0, a0), u1, a1);
}

/* the same with signed q, but for 128 times the sum of a, if VI_I8_OFFSET */
#define VI_I8_OFFSET 1
static inline VI vi_dot2_i8(VI q0, VI a0, VI q1, VI a1)
{
	const VI flip = _mm512_set1_epi8((char)0x80);

	return vi_dot2(_mm512_xor_si512(q0, flip), a0, _mm512_xor_si512(q1, flip), a1);
}
#else
static inline VI vi_dot(VI u, VI a)
{
	return _mm512_madd_epi16(_mm512_maddubs_epi16(u, a), _mm512_set1_epi16(1));
}

static inline VI vi_dot2(VI u0, VI a0, VI u1, VI a1)
{
	/* at most 4 * 31 * 127: only Q6_K has u up to 63, and it does not come here */
	return _mm512_madd_epi16(
		_mm512_add_epi16(_mm512_maddubs_epi16(u0, a0), _mm512_maddubs_epi16(u1, a1)),
		_mm512_set1_epi16(1));
}

#define VI_I8_OFFSET 0
/* |q| times a with q's sign: pairs are at most 2 * 128 * 127 */
static inline VI vi_dot_i8(VI q, VI a)
{
	a = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(q), _mm512_setzero_si512(), a);
	return vi_dot(_mm512_abs_epi8(q), a);
}

static inline VI vi_dot2_i8(VI q0, VI a0, VI q1, VI a1)
{
	return _mm512_add_epi32(vi_dot_i8(q0, a0), vi_dot_i8(q1, a1));
}
#endif

static inline VF vf_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, VF v)
{
	_mm512_storeu_ps(p, v);
}

static inline VF vf_set(float x)
{
	return _mm512_set1_ps(x);
}

static inline VF vf_mul(VF a, VF b)
{
	return _mm512_mul_ps(a, b);
}

/* a b + c, rounded once */
static inline VF vf_fma(VF a, VF b, VF c)
{
	return _mm512_fmadd_ps(a, b, c);
}

static inline VF vf_negate(VF a)
{
	return _mm512_castsi512_ps(
		_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(INT32_MIN)));
}

static inline VF vf_int(VI a)
{
	return _mm512_cvtepi32_ps(a);
}

static inline VF vf_bits(VI a)
{
	return _mm512_castsi512_ps(a);
}

/* the low 16 bits of each 32 as a half-precision number */
static inline VF vf_half(VI a)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}

#endif
