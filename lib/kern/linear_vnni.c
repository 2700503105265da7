/*
 * linear_vnni.c - linear maps with AVX-512 VNNI
 *
 * Panels hold q + 128 (types with a minimum: q), so that all sums begin at -128 A or 0.
 */
#include "config.h"
#if DS_X86
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kern/lanes_avx512.h"
#include "kern/tables.h"

#define PANEL_ZERO 128
#include "kern/panel.inc"

#define STEPS (DS_ACT_GROUP / 4)
/* Tokens whose integer sums are made side by side: vpdpbusd takes four cycles, one may start in
 * each. */
#define CHAINS 4

struct chains {
	__m512i lo, hi;
};

INLINE __m512i broadcast(const int8_t *p)
{
	int32_t v;

	memcpy(&v, p, sizeof v);
	return _mm512_set1_epi32(v);
}

/* One group: n tokens from token i of the tile on, of the given width. */
INLINE void group_dot(const __m512i *q, const struct ds_act_tile *t, size_t i, unsigned n,
		      enum form form, __m512i *sum)
{
	const int8_t *a = t->a + i * DS_ACT_GROUP;

	UNROLL
	for (unsigned u = 0; u < n; u++) {
		sum[u] = form == MIN ? _mm512_setzero_si512() : _mm512_set1_epi32(t->zero[i + u]);
	}
	UNROLL
	for (unsigned j = 0; j < STEPS; j++)
		UNROLL
	for (unsigned u = 0; u < n; u++)
		sum[u] = _mm512_dpbusd_epi32(sum[u], q[j], broadcast(a + u * DS_ACT_GROUP + 4 * j));
}

/* The same of the halves of the group: sums begin at those of their own activations. */
INLINE void halves_dot(const __m512i *q, const struct ds_act_tile *t, size_t i, unsigned n,
		       struct chains *sum)
{
	const int8_t *a = t->a + i * DS_ACT_GROUP;

	UNROLL
	for (unsigned u = 0; u < n; u++) {
		sum[u].lo = _mm512_set1_epi32(t->zero_lo[i + u]);
		sum[u].hi = _mm512_set1_epi32(t->zero_hi[i + u]);
	}
	UNROLL
	for (unsigned j = 0; j < STEPS / 2; j++)
		UNROLL
	for (unsigned u = 0; u < n; u++) {
		const int8_t *p = a + u * DS_ACT_GROUP + 4 * j;

		sum[u].lo = _mm512_dpbusd_epi32(sum[u].lo, q[j], broadcast(p));
		sum[u].hi = _mm512_dpbusd_epi32(sum[u].hi, q[j + STEPS / 2], broadcast(p + 16));
	}
}

/* A group of a panel in registers. */
struct weights {
	__m512i q[STEPS];
	__m512 d, m;
};

/* Add a group to the sums y of n tokens, from token i of the tile on. */
INLINE void some_tokens(const struct weights *w, const struct ds_act_tile *t, size_t i, unsigned n,
			enum form form, __m512 *y)
{
	if (form == HALVES) {
		struct chains sum[CHAINS];

		halves_dot(w->q, t, i, n, sum);
		UNROLL
		for (unsigned u = 0; u < n; u++) {
			__m512 lo = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[u].lo), w->d);
			__m512 both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[u].hi), w->m, lo);

			y[u] = _mm512_fmadd_ps(both, _mm512_set1_ps(t->scale[i + u]), y[u]);
		}
	} else {
		__m512i sum[CHAINS];

		group_dot(w->q, t, i, n, form, sum);
		UNROLL
		for (unsigned u = 0; u < n; u++) {
			__m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[u]), w->d);

			y[u] = _mm512_fmadd_ps(v, _mm512_set1_ps(t->scale[i + u]), y[u]);
			if (form == MIN)
				y[u] = _mm512_fmadd_ps(w->m, _mm512_set1_ps(t->scale_sum[i + u]),
						       y[u]);
		}
	}
}

struct out {
	const float *bias;
	float *y;
	size_t ld;
};

INLINE void tile(const struct ds_panel *panel, const struct ds_act_tile *tokens,
		 const struct out *out, unsigned width, enum form form)
{
	struct ds_act_tile t = *tokens;
	__m512 y[DS_ACT_TILE];

	UNROLL
	for (unsigned i = 0; i < width; i++)
		y[i] = _mm512_loadu_ps(out->bias);
	for (size_t g = 0; g < tokens->n_group; g++) {
		const struct ds_panel_group *from = panel->group + g;
		struct weights w = {.d = _mm512_load_ps(from->d), .m = _mm512_load_ps(from->m)};

		UNROLL
		for (unsigned j = 0; j < STEPS; j++)
			w.q[j] = _mm512_load_si512(from->q + j * STEP);
		UNROLL
		for (unsigned i = 0; i < width; i += CHAINS)
			some_tokens(&w, &t, i, width - i < CHAINS ? width - i : CHAINS, form,
				    y + i);
		t.a += width * DS_ACT_GROUP;
		t.scale += width;
		t.scale_sum += width;
		t.zero += width;
		t.zero_lo += width;
		t.zero_hi += width;
	}
	UNROLL
	for (unsigned i = 0; i < width; i++)
		_mm512_storeu_ps(out->y + i * out->ld, y[i]);
}

#define TILE(width)                                                                                \
	static void plain_##width(const struct ds_panel *p, const struct ds_act_tile *t,           \
				  const struct out *out)                                           \
	{                                                                                          \
		tile(p, t, out, width, PLAIN);                                                     \
	}                                                                                          \
	static void min_##width(const struct ds_panel *p, const struct ds_act_tile *t,             \
				const struct out *out)                                             \
	{                                                                                          \
		tile(p, t, out, width, MIN);                                                       \
	}                                                                                          \
	static void halves_##width(const struct ds_panel *p, const struct ds_act_tile *t,          \
				   const struct out *out)                                          \
	{                                                                                          \
		tile(p, t, out, width, HALVES);                                                    \
	}

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)
TILE(15)
TILE(16)

#define ROW(form)                                                                                  \
	{                                                                                          \
		form##_1, form##_2, form##_3, form##_4, form##_5, form##_6, form##_7, form##_8,    \
			form##_9, form##_10, form##_11, form##_12, form##_13, form##_14,           \
			form##_15, form##_16                                                       \
	}

static enum form form_of(uint32_t type)
{
	switch (type) {
	case DS_GGML_Q4_1:
	case DS_GGML_Q5_1:
	case DS_GGML_Q4_K:
	case DS_GGML_Q5_K:
		return MIN;
	case DS_GGML_Q6_K:
		return HALVES;
	default:
		return PLAIN;
	}
}

static void multiply(const struct ds_panel *panel, const struct ds_act_tile *tokens,
		     const float *bias, float *y, size_t ld)
{
	static void (*const tiles[3][DS_ACT_TILE])(
		const struct ds_panel *, const struct ds_act_tile *, const struct out *) = {
		[PLAIN] = ROW(plain), [MIN] = ROW(min), [HALVES] = ROW(halves)};
	struct out out = {bias, y, ld};

	tiles[form_of(panel->type)][tokens->width - 1](panel, tokens, &out);
}

const struct ds_linear_kern ds_linear_vnni = {
	.round = round_token,
	.open = OPEN_ROWS,
	.multiply = multiply,
};
#else
typedef int ds_linear_vnni_unused;
#endif
