/* attn8_avx2.c - attention in int8 with AVX2: bytes are opened to 16 bits, as sums of two products
 * of theirs do not fit */
#include "config.h"
#if DS_X86
#include <string.h>

#include "base/loops.h"
#include "kern/vec_avx2.h"

#define ATTN8_VECTORS 1
#define ATTN8_KEYS 4
#define ATTN8_FEW_TILE 1

struct n16 {
	__m256i a, b;
};

/* bytes 0 and 2 of each lane, bytes 1 and 3 */
struct opened {
	__m256i even, odd;
};

struct u8x {
	struct opened a, b;
};

struct s8x {
	struct opened a, b;
};

INLINE struct n16 n16_set(int32_t x)
{
	return (struct n16){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

INLINE __m256i ints_8(const void *p)
{
	return _mm256_loadu_si256(p);
}

INLINE struct n16 n16_load(const int32_t *p)
{
	return (struct n16){ints_8(p), ints_8(p + 8)};
}

INLINE void n16_store(int32_t *p, struct n16 a)
{
	_mm256_storeu_si256((__m256i *)(void *)p, a.a);
	_mm256_storeu_si256((__m256i *)(void *)(p + 8), a.b);
}

INLINE struct n16 n16_add(struct n16 a, struct n16 b)
{
	return (struct n16){_mm256_add_epi32(a.a, b.a), _mm256_add_epi32(a.b, b.b)};
}

INLINE struct n16 n16_sub(struct n16 a, struct n16 b)
{
	return (struct n16){_mm256_sub_epi32(a.a, b.a), _mm256_sub_epi32(a.b, b.b)};
}

INLINE struct n16 n16_round(struct v16 a)
{
	return (struct n16){_mm256_cvtps_epi32(a.a), _mm256_cvtps_epi32(a.b)};
}

INLINE struct v16 n16_float(struct n16 a)
{
	return (struct v16){_mm256_cvtepi32_ps(a.a), _mm256_cvtepi32_ps(a.b)};
}

INLINE __m256i pack4_8(__m256i a0, __m256i a1, __m256i a2, __m256i a3)
{
	const __m256i odd = _mm256_set1_epi16((short)0xFF00);

	a0 = _mm256_blendv_epi8(a0, _mm256_slli_epi32(a1, 8), odd);
	a2 = _mm256_blendv_epi8(a2, _mm256_slli_epi32(a3, 8), odd);
	return _mm256_blend_epi16(a0, _mm256_slli_epi32(a2, 16), 0xAA);
}

INLINE void n16_pack4(uint8_t *p, const struct v16 *a)
{
	struct n16 i[4];

	UNROLL
	for (unsigned j = 0; j < 4; j++)
		i[j] = n16_round(a[j]);
	n16_store((int32_t *)(void *)p, (struct n16){pack4_8(i[0].a, i[1].a, i[2].a, i[3].a),
						     pack4_8(i[0].b, i[1].b, i[2].b, i[3].b)});
}

INLINE void n16_pack(uint8_t *p, struct v16 a)
{
	struct n16 i = n16_round(a);
	__m256i low = _mm256_set1_epi32(0xFF), v;

	v = _mm256_packus_epi32(_mm256_and_si256(i.a, low), _mm256_and_si256(i.b, low));
	v = _mm256_permute4x64_epi64(v, 0xD8);
	_mm_storeu_si128((__m128i *)(void *)p,
			 _mm_packus_epi16(_mm256_castsi256_si128(v),
					  _mm256_extracti128_si256(v, 1)));
}

INLINE int32_t n16_sum(struct n16 a)
{
	__m256i v = _mm256_add_epi32(a.a, a.b);
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
	return _mm_cvtsi128_si32(s);
}

INLINE struct opened u8_open(__m256i v)
{
	return (struct opened){_mm256_and_si256(v, _mm256_set1_epi16(0xFF)),
			       _mm256_srli_epi16(v, 8)};
}

INLINE struct opened s8_open(__m256i v)
{
	return (struct opened){_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8),
			       _mm256_srai_epi16(v, 8)};
}

INLINE __m256i four_bytes(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof v);
	return _mm256_set1_epi32(v);
}

INLINE struct u8x u8_lanes(const uint8_t *p)
{
	return (struct u8x){u8_open(ints_8(p)), u8_open(ints_8(p + 32))};
}

INLINE struct u8x u8_same(const uint8_t *p)
{
	struct opened a = u8_open(four_bytes(p));

	return (struct u8x){a, a};
}

INLINE struct s8x s8_lanes(const int8_t *p)
{
	return (struct s8x){s8_open(ints_8(p)), s8_open(ints_8(p + 32))};
}

INLINE struct s8x s8_same(const int8_t *p)
{
	struct opened a = s8_open(four_bytes(p));

	return (struct s8x){a, a};
}

INLINE __m256i dot_8(__m256i sum, struct opened a, struct opened b)
{
	sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a.even, b.even));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(a.odd, b.odd));
}

INLINE struct n16 n16_dot(struct n16 sum, struct u8x a, struct s8x b)
{
	return (struct n16){dot_8(sum.a, a.a, b.a), dot_8(sum.b, a.b, b.b)};
}

#include "kern/attn8.inc"

const struct ds_attn8_kern ds_attn8_avx2 = ATTN8_TABLE;
#else
typedef int ds_attn8_avx2_unused;
#endif
