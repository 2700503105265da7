/*
 * rows.h - the functions of a kernel table, over the v16 of the vec_*.h included before
 *
 * The order of every operation is written here and nowhere else: sums run over 16 lanes (value i in
 * lane i mod 16), ascending, and v16_sum() adds the lanes; gemm sums ascend over k in one lane.
 */
#ifndef DS_KERN_ROWS_H
#define DS_KERN_ROWS_H

#include <math.h>
#include <string.h>

#include "kern/kern.h"

#define L DS_KERN_LANES
#define INLINE static inline __attribute__((always_inline))

/* n < 16 values, fill in the other lanes */
static inline struct v16 load_tail(const float *p, size_t n, float fill)
{
	float t[L];

	for (unsigned i = 0; i < L; i++)
		t[i] = i < n ? p[i] : fill;
	return v16_load(t);
}

static inline void store_tail(float *p, struct v16 v, size_t n)
{
	float t[L];

	v16_store(t, v);
	memcpy(p, t, n * sizeof *p);
}

/*
 * e^x for x in [-87, 88], clamped there.  x = n ln 2 + r; e^r = 1 + r + r^2 p(r), p fitted for the
 * relative error on |r| <= ln 2 / 2 (3e-9 before rounding).
 */
static inline struct v16 exp16(struct v16 x)
{
	struct v16 n, r, p;

	x = v16_min(v16_max(x, v16_set(-87)), v16_set(88));
	n = v16_round(v16_mul(x, v16_set(1.44269504f)));
	r = v16_fma(n, v16_set(-0.693145752f), x); /* ln 2 in two parts; n times the first is exact */
	r = v16_fma(n, v16_set(-1.42860677e-6f), r);
	p = v16_set(0.001381460140953663f);
	p = v16_fma(p, r, v16_set(0.008368711065705633f));
	p = v16_fma(p, r, v16_set(0.04166838761321342f));
	p = v16_fma(p, r, v16_set(0.1666652067648445f));
	p = v16_fma(p, r, v16_set(0.4999999345043303f));
	p = v16_fma(v16_mul(r, r), p, r);
	return v16_mul(v16_add(p, v16_set(1)), v16_exp2i(n));
}

/*
 * x Phi(x).  For t = |x|, Phi(-t) = exp(-q(t)) / 2 with q(t) = -ln erfc(t / sqrt 2), fitted on
 * [0, 5.75] for the error of sqrt(Phi) (8e-9) and above the true q beyond, where Phi < 1e-8.
 */
static inline struct v16 gelu16(struct v16 x)
{
	static const float c[] = {
		2.4929536103869192e-08f, -6.968266192577309e-07f, 8.438554584610278e-06f,
		-5.6519948794579224e-05f, 0.00020179626039966563f, -8.91408399960205e-06f,
		-0.004812047508332233f, 0.03635149555010674f, 0.318306000202857f,
		0.7978848750584095f};
	struct v16 t = v16_min(v16_abs(x), v16_set(16)), q = v16_set(c[0]), tail;

	for (unsigned i = 1; i < sizeof c / sizeof *c; i++)
		q = v16_fma(q, t, v16_set(c[i]));
	q = v16_mul(q, t);
	tail = v16_mul(x, v16_mul(exp16(v16_sub(v16_set(0), q)), v16_set(0.5f)));
	return v16_if_negative(x, tail, v16_sub(x, tail));
}

static void row_gelu(float *x, size_t n)
{
	size_t i = 0;

	for (; i + L <= n; i += L)
		v16_store(x + i, gelu16(v16_load(x + i)));
	if (i < n)
		store_tail(x + i, gelu16(load_tail(x + i, n - i, 0)), n - i);
}

static float row_sum(const float *x, size_t n)
{
	struct v16 s = v16_set(0);
	size_t i = 0;

	for (; i + L <= n; i += L)
		s = v16_add(s, v16_load(x + i));
	if (i < n)
		s = v16_add(s, load_tail(x + i, n - i, 0));
	return v16_sum(s);
}

static float row_dot(const float *a, const float *b, size_t n)
{
	struct v16 s = v16_set(0);
	size_t i = 0;

	for (; i + L <= n; i += L)
		s = v16_fma(v16_load(a + i), v16_load(b + i), s);
	if (i < n)
		s = v16_fma(load_tail(a + i, n - i, 0), load_tail(b + i, n - i, 0), s);
	return v16_sum(s);
}

static int32_t row_dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
	struct i16x s = i16x_zero();
	size_t i = 0;
	int32_t sum;

	for (; i + L <= n; i += L)
		s = i16x_dot(s, a + i, b + i);
	sum = i16x_sum(s);
	for (; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void row_add(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + L <= n; i += L)
		v16_store(y + i, v16_add(v16_load(y + i), v16_load(x + i)));
	for (; i < n; i++)
		y[i] = y[i] + x[i];
}

/* y = x * factor */
static void row_scale(const float *x, float *y, size_t n, float factor)
{
	size_t i = 0;

	for (; i + L <= n; i += L)
		v16_store(y + i, v16_mul(v16_load(x + i), v16_set(factor)));
	for (; i < n; i++)
		y[i] = x[i] * factor;
}

static float row_normalise(float *x, size_t n)
{
	float square = row_dot(x, x, n);

	if (square > 0)
		row_scale(x, x, n, 1 / sqrtf(square));
	return square;
}

static void row_layernorm(const float *x, const float *gain_bias, float *y, size_t n, float eps)
{
	const float *gain = gain_bias, *bias = gain_bias + n;
	struct v16 mean = v16_set(row_sum(x, n) / (float)n), s = v16_set(0), d, factor;
	size_t i = 0;

	for (; i + L <= n; i += L) {
		d = v16_sub(v16_load(x + i), mean);
		s = v16_fma(d, d, s);
	}
	if (i < n) {
		float m[L];

		v16_store(m, mean);
		d = v16_sub(load_tail(x + i, n - i, m[0]), mean);
		s = v16_fma(d, d, s);
	}
	factor = v16_set(1 / sqrtf(v16_sum(s) / (float)n + eps));
	for (i = 0; i + L <= n; i += L) {
		d = v16_mul(v16_sub(v16_load(x + i), mean), factor);
		v16_store(y + i, v16_fma(d, v16_load(gain + i), v16_load(bias + i)));
	}
	if (i < n) {
		d = v16_mul(v16_sub(load_tail(x + i, n - i, 0), mean), factor);
		d = v16_fma(d, load_tail(gain + i, n - i, 0), load_tail(bias + i, n - i, 0));
		store_tail(y + i, d, n - i);
	}
}

static float row_max(const float *x, size_t n)
{
	float lane[L], max;
	struct v16 m = load_tail(x, n < L ? n : L, -INFINITY);
	size_t i = L;

	for (; i + L <= n; i += L)
		m = v16_max(v16_load(x + i), m);
	if (i < n)
		m = v16_max(load_tail(x + i, n - i, -INFINITY), m);
	v16_store(lane, m);
	max = lane[0];
	for (i = 1; i < L; i++)
		max = lane[i] > max ? lane[i] : max;
	return max;
}

static void row_softmax(float *x, size_t n, float scale)
{
	struct v16 max = v16_set(row_max(x, n)), factor = v16_set(scale);
	size_t i = 0;

	for (; i + L <= n; i += L)
		v16_store(x + i, exp16(v16_mul(v16_sub(v16_load(x + i), max), factor)));
	if (i < n)
		store_tail(x + i,
			   exp16(v16_mul(v16_sub(load_tail(x + i, n - i, 0), max), factor)), n - i);
	row_scale(x, x, n, 1 / row_sum(x, n));
}

/* dims < 128 at a time, their sums in registers */
#define GATHER_VECTORS 8

INLINE void gather_block(float *sum, unsigned vectors, const float *row, size_t stride,
			 const float *scale, const uint32_t *id, size_t n_id)
{
	struct v16 s[GATHER_VECTORS];

#pragma GCC unroll 8
	for (unsigned v = 0; v < vectors; v++)
		s[v] = v16_load(sum + v * L);
	for (size_t t = 0; t < n_id; t++) {
		const float *p = row + id[t] * stride;
		struct v16 factor = v16_set(scale ? scale[id[t]] : 1);

#pragma GCC unroll 8
		for (unsigned v = 0; v < vectors; v++)
			s[v] = v16_fma(factor, v16_load(p + v * L), s[v]);
	}
#pragma GCC unroll 8
	for (unsigned v = 0; v < vectors; v++)
		v16_store(sum + v * L, s[v]);
}

static void row_gather(float *sum, size_t n, const float *rows, const float *scale,
		       const uint32_t *id, size_t n_id)
{
	size_t j = 0;

	for (; j + GATHER_VECTORS * L <= n; j += GATHER_VECTORS * L)
		gather_block(sum + j, GATHER_VECTORS, rows + j, n, scale, id, n_id);
	for (; j + L <= n; j += L)
		gather_block(sum + j, 1, rows + j, n, scale, id, n_id);
	for (; j < n; j++)
		for (size_t t = 0; t < n_id; t++)
			sum[j] = fmaf(scale ? scale[id[t]] : 1, rows[id[t] * n + j], sum[j]);
}

INLINE void gather_block_i8(float *sum, unsigned vectors, const int8_t *row, size_t stride,
			    const float *scale, const uint32_t *id, size_t n_id)
{
	struct v16 s[GATHER_VECTORS];

#pragma GCC unroll 8
	for (unsigned v = 0; v < vectors; v++)
		s[v] = v16_load(sum + v * L);
	for (size_t t = 0; t < n_id; t++) {
		const int8_t *p = row + id[t] * stride;
		struct v16 factor = v16_set(scale ? scale[id[t]] : 1);

#pragma GCC unroll 8
		for (unsigned v = 0; v < vectors; v++)
			s[v] = v16_fma(factor, v16_i8(p + v * L), s[v]);
	}
#pragma GCC unroll 8
	for (unsigned v = 0; v < vectors; v++)
		v16_store(sum + v * L, s[v]);
}

static void row_gather_i8(float *sum, size_t n, const int8_t *rows, const float *scale,
			  const uint32_t *id, size_t n_id)
{
	size_t j = 0;

	for (; j + GATHER_VECTORS * L <= n; j += GATHER_VECTORS * L)
		gather_block_i8(sum + j, GATHER_VECTORS, rows + j, n, scale, id, n_id);
	for (; j + L <= n; j += L)
		gather_block_i8(sum + j, 1, rows + j, n, scale, id, n_id);
	for (; j < n; j++)
		for (size_t t = 0; t < n_id; t++)
			sum[j] = fmaf(scale ? scale[id[t]] : 1, rows[id[t] * n + j], sum[j]);
}

/* m rows by p panels from row i, panel j on: the sums stay in registers over all of k. */
INLINE void gemm_tile(const struct ds_gemm *g, size_t i, size_t j, unsigned m, unsigned p)
{
	const float *a = g->a + i * g->lda, *w = g->panel + j * g->k * L;
	struct v16 sum[TILE_M][TILE_P];

#pragma GCC unroll 16
	for (unsigned r = 0; r < m; r++)
#pragma GCC unroll 2
		for (unsigned s = 0; s < p; s++)
			sum[r][s] = g->bias ? v16_load(g->bias + (j + s) * L) : v16_set(0);
	for (size_t k = 0; k < g->k; k++) {
		struct v16 b[TILE_P];

#pragma GCC unroll 2
		for (unsigned s = 0; s < p; s++)
			b[s] = v16_load(w + (s * g->k + k) * L);
#pragma GCC unroll 16
		for (unsigned r = 0; r < m; r++) {
			struct v16 x = v16_set(a[r * g->lda + k]);

#pragma GCC unroll 2
			for (unsigned s = 0; s < p; s++)
				sum[r][s] = v16_fma(x, b[s], sum[r][s]);
		}
	}
#pragma GCC unroll 16
	for (unsigned r = 0; r < m; r++)
#pragma GCC unroll 2
		for (unsigned s = 0; s < p; s++)
			v16_store(g->c + (i + r) * g->ldc + (j + s) * L, sum[r][s]);
}

/* The last rows, fewer than TILE_M: halves keep the number of loops small. */
INLINE void gemm_rest(const struct ds_gemm *g, size_t i, size_t j, unsigned p)
{
	for (; i + TILE_M / 2 <= g->m; i += TILE_M / 2)
		gemm_tile(g, i, j, TILE_M / 2, p);
	for (; i + 2 <= g->m; i += 2)
		gemm_tile(g, i, j, 2, p);
	for (; i < g->m; i++)
		gemm_tile(g, i, j, 1, p);
}

static void row_gemm(const struct ds_gemm *g)
{
	size_t panels = ds_kern_pad(g->n) / L, i, j = 0;

	for (; j + TILE_P <= panels; j += TILE_P) {
		for (i = 0; i + TILE_M <= g->m; i += TILE_M)
			gemm_tile(g, i, j, TILE_M, TILE_P);
		gemm_rest(g, i, j, TILE_P);
	}
	for (; j < panels; j++) {
		for (i = 0; i + TILE_M <= g->m; i += TILE_M)
			gemm_tile(g, i, j, TILE_M, 1);
		gemm_rest(g, i, j, 1);
	}
}

#define KERN_TABLE(table_name)                                             \
	{                                                                  \
		.name = table_name, .gemm = row_gemm, .layernorm = row_layernorm, \
		.gelu = row_gelu, .softmax = row_softmax, .add = row_add,  \
		.normalise = row_normalise, .dot = row_dot, .dot_i8 = row_dot_i8, \
		.gather = row_gather, .gather_i8 = row_gather_i8,          \
	}

#endif
