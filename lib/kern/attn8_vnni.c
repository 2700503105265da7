/* attn8_vnni.c - attention in int8 with AVX-512 VNNI */
#include "config.h"
#if DS_X86
#include "kern/ints_avx512.h"

/* 16 sums in registers, 4 vectors of rows: each may go on every fourth cycle, as it takes. */
#define ATTN8_VECTORS 4
#define ATTN8_KEYS 4
#define ATTN8_FEW_TILE 4

struct u8x {
	__m512i v;
};

struct s8x {
	__m512i v;
};

INLINE struct u8x u8_lanes(const uint8_t *p)
{
	return (struct u8x){_mm512_loadu_si512(p)};
}

INLINE struct s8x s8_same(const int8_t *p)
{
	return (struct s8x){four_bytes(p)};
}

INLINE struct u8x u8_same(const uint8_t *p)
{
	return (struct u8x){four_bytes(p)};
}

INLINE struct s8x s8_lanes(const int8_t *p)
{
	return (struct s8x){_mm512_loadu_si512(p)};
}

INLINE struct n16 n16_dot(struct n16 sum, struct u8x a, struct s8x b)
{
	return (struct n16){_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
}

#include "kern/attn8.inc"

const struct ds_attn8_kern ds_attn8_vnni = ATTN8_TABLE;
#else
typedef int ds_attn8_vnni_unused;
#endif
