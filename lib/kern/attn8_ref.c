/* attn8_ref.c - attention in int8 in plain C, the oracle of the other tables */
#include "kern/vec_ref.h"

#define ATTN8_VECTORS 1
#define ATTN8_KEYS 4
#define ATTN8_FEW_TILE 1

struct n16 {
	int32_t i[16];
};

struct u8x {
	uint8_t b[16][4];
};

struct s8x {
	int8_t b[16][4];
};

#define N16_EACH(expr)                                                                             \
	do {                                                                                       \
		struct n16 r;                                                                      \
		for (unsigned i = 0; i < 16; i++)                                                  \
			r.i[i] = (expr);                                                           \
		return r;                                                                          \
	} while (0)

static inline struct n16 n16_set(int32_t x)
{
	N16_EACH(x);
}

static inline struct n16 n16_load(const int32_t *p)
{
	N16_EACH(p[i]);
}

static inline void n16_store(int32_t *p, struct n16 a)
{
	memcpy(p, a.i, sizeof a.i);
}

static inline struct n16 n16_add(struct n16 a, struct n16 b)
{
	N16_EACH((int32_t)((uint32_t)a.i[i] + (uint32_t)b.i[i]));
}

static inline struct n16 n16_sub(struct n16 a, struct n16 b)
{
	N16_EACH((int32_t)((uint32_t)a.i[i] - (uint32_t)b.i[i]));
}

/* to the nearest, even when halfway */
static inline struct n16 n16_round(struct v16 a)
{
	N16_EACH((int32_t)lrintf(a.f[i]));
}

static inline struct v16 n16_float(struct n16 a)
{
	V16_EACH((float)a.i[i]);
}

/* Four vectors rounded to bytes, side by side: p [16][4]. */
static inline void n16_pack4(uint8_t *p, const struct v16 *a)
{
	for (unsigned i = 0; i < 64; i++)
		p[i] = (uint8_t)lrintf(a[i % 4].f[i / 4]);
}

/* A vector rounded to 16 bytes. */
static inline void n16_pack(uint8_t *p, struct v16 a)
{
	for (unsigned i = 0; i < 16; i++)
		p[i] = (uint8_t)lrintf(a.f[i]);
}

static inline int32_t n16_sum(struct n16 a)
{
	int32_t sum = 0;

	for (unsigned i = 0; i < 16; i++)
		sum += a.i[i];
	return sum;
}

/* 16 times 4 bytes */
static inline struct u8x u8_lanes(const uint8_t *p)
{
	struct u8x a;

	memcpy(&a, p, sizeof a);
	return a;
}

/* the same 4 bytes in all lanes */
static inline struct s8x s8_same(const int8_t *p)
{
	struct s8x a;

	for (unsigned i = 0; i < 16; i++)
		memcpy(a.b[i], p, 4);
	return a;
}

static inline struct u8x u8_same(const uint8_t *p)
{
	struct u8x a;

	for (unsigned i = 0; i < 16; i++)
		memcpy(a.b[i], p, 4);
	return a;
}

static inline struct s8x s8_lanes(const int8_t *p)
{
	struct s8x a;

	memcpy(&a, p, sizeof a);
	return a;
}

/* exact, onto sum: the products of the 4 bytes of a lane */
static inline struct n16 n16_dot(struct n16 sum, struct u8x a, struct s8x b)
{
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 4; j++)
			sum.i[i] += a.b[i][j] * b.b[i][j];
	return sum;
}

/* Nothing is to stay in registers, and inlined all of it takes a compiler long. */
#include "base/loops.h"
#undef INLINE
#define INLINE static inline

#include "kern/attn8.inc"

const struct ds_attn8_kern ds_attn8_ref = ATTN8_TABLE;
