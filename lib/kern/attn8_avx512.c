/* attn8_avx512.c - attention in int8 with AVX-512 BW: bytes are opened to 16 bits, as sums of two
 * products of theirs do not fit */
#include "config.h"
#if DS_X86
#include "kern/ints_avx512.h"

#define ATTN8_VECTORS 4
#define ATTN8_KEYS 4
#define ATTN8_FEW_TILE 4

/* bytes 0 and 2 of each lane, bytes 1 and 3 */
struct u8x {
	__m512i even, odd;
};

struct s8x {
	__m512i even, odd;
};

INLINE struct u8x u8_open(__m512i v)
{
	return (struct u8x){_mm512_and_si512(v, _mm512_set1_epi16(0xFF)), _mm512_srli_epi16(v, 8)};
}

INLINE struct s8x s8_open(__m512i v)
{
	return (struct s8x){_mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8),
			    _mm512_srai_epi16(v, 8)};
}

INLINE struct u8x u8_lanes(const uint8_t *p)
{
	return u8_open(_mm512_loadu_si512(p));
}

INLINE struct u8x u8_same(const uint8_t *p)
{
	return u8_open(four_bytes(p));
}

INLINE struct s8x s8_lanes(const int8_t *p)
{
	return s8_open(_mm512_loadu_si512(p));
}

INLINE struct s8x s8_same(const int8_t *p)
{
	return s8_open(four_bytes(p));
}

INLINE struct n16 n16_dot(struct n16 sum, struct u8x a, struct s8x b)
{
	__m512i v = _mm512_add_epi32(sum.v, _mm512_madd_epi16(a.even, b.even));

	return (struct n16){_mm512_add_epi32(v, _mm512_madd_epi16(a.odd, b.odd))};
}

#include "kern/attn8.inc"

const struct ds_attn8_kern ds_attn8_avx512 = ATTN8_TABLE;
#else
typedef int ds_attn8_avx512_unused;
#endif
