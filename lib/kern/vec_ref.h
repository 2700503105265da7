/* vec_ref.h - a vector of 16 floats in plain C */
#ifndef DS_KERN_VEC_REF_H
#define DS_KERN_VEC_REF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"

struct v16 {
	float f[16];
};

/* no registers to keep vectors in */
#ifndef DS_KERN_ROLLED
#define DS_KERN_ROLLED
#endif

/* gemm tile: rows, panels */
#define TILE_M 4
#define TILE_P 1
/* no rows by more panels */
#define FEW_M 0
#define FEW_P 1

#define V16_EACH(expr)                                                                             \
	do {                                                                                       \
		struct v16 r;                                                                      \
		for (unsigned i = 0; i < 16; i++)                                                  \
			r.f[i] = (expr);                                                           \
		return r;                                                                          \
	} while (0)

static inline struct v16 v16_load(const float *p)
{
	V16_EACH(p[i]);
}

static inline void v16_store(float *p, struct v16 v)
{
	memcpy(p, v.f, sizeof v.f);
}

static inline struct v16 v16_set(float x)
{
	V16_EACH(x);
}

/* 16 int8 as floats */
static inline struct v16 v16_i8(const int8_t *p)
{
	V16_EACH(p[i]);
}

static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] + b.f[i]);
}

static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] - b.f[i]);
}

static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] * b.f[i]);
}

static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] / b.f[i]);
}

/* a * b + c, rounded once */
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
	V16_EACH(fmaf(a.f[i], b.f[i], c.f[i]));
}

/* As x86: the second where they do not compare. */
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] > b.f[i] ? a.f[i] : b.f[i]);
}

static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
	V16_EACH(a.f[i] < b.f[i] ? a.f[i] : b.f[i]);
}

static inline struct v16 v16_abs(struct v16 a)
{
	V16_EACH(fabsf(a.f[i]));
}

/* bit i: lane i is < 0 */
static inline unsigned v16_negative(struct v16 a)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 16; i++)
		bits |= (unsigned)(a.f[i] < 0) << i;
	return bits;
}

/* a < 0 ? b : c */
static inline struct v16 v16_if_negative(struct v16 a, struct v16 b, struct v16 c)
{
	V16_EACH(a.f[i] < 0 ? b.f[i] : c.f[i]);
}

/* lanes 2i and 2i + 1 change places */
static inline struct v16 v16_swap_pairs(struct v16 a)
{
	V16_EACH(a.f[i ^ 1]);
}

/* lanes [from, to) of a, the others fill; from, to <= 16 */
static inline struct v16 v16_keep_lanes(struct v16 a, unsigned from, unsigned to, float fill)
{
	V16_EACH(i >= from && i < to ? a.f[i] : fill);
}

static inline float v16_greatest(struct v16 a)
{
	for (unsigned half = 8; half; half /= 2)
		for (unsigned i = 0; i < half; i++)
			a.f[i] = a.f[i] > a.f[i + half] ? a.f[i] : a.f[i + half];
	return a.f[0];
}

/* 16 half-precision numbers; as x86, NaN comes quiet */
static inline struct v16 v16_load_half(const uint16_t *p)
{
	V16_EACH(ds_f16_to_f32((uint16_t)((p[i] & 0x7FFF) > 0x7C00 ? p[i] | 0x200 : p[i])));
}

/* rounded to the nearest, even when halfway */
static inline void v16_store_half(uint16_t *p, struct v16 v)
{
	for (unsigned i = 0; i < 16; i++)
		p[i] = ds_f32_to_f16(v.f[i]);
}

/* to the nearest integer, even when halfway */
static inline struct v16 v16_round(struct v16 a)
{
	V16_EACH(rintf(a.f[i]));
}

/* a 2^n for integers n in -126..127 */
static inline struct v16 v16_scale2(struct v16 a, struct v16 n)
{
	for (unsigned i = 0; i < 16; i++) {
		uint32_t u = (uint32_t)((int32_t)n.f[i] + 127) << 23;
		float power;

		memcpy(&power, &u, sizeof u);
		a.f[i] = a.f[i] * power;
	}
	return a;
}

/* lanes i and i + 8, then i and i + 4, i + 2, i + 1 */
static inline float v16_sum(struct v16 a)
{
	for (unsigned half = 8; half; half /= 2)
		for (unsigned i = 0; i < half; i++)
			a.f[i] = a.f[i] + a.f[i + half];
	return a.f[0];
}

/* exact sum of products of 16 int8, onto sum */
struct i16x {
	int32_t sum;
};

static inline struct i16x i16x_zero(void)
{
	return (struct i16x){0};
}

static inline struct i16x i16x_dot(struct i16x s, const int8_t *a, const int8_t *b)
{
	for (unsigned i = 0; i < 16; i++)
		s.sum += a[i] * b[i];
	return s;
}

static inline int32_t i16x_sum(struct i16x s)
{
	return s.sum;
}

#endif
