/*
 * linear_ref.c - linear maps in plain C, as linear.h defines them; the oracle of the other tables
 *
 * A group of a panel holds 32 int8 of row after row.
 */
#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "kern/linear_kern.h"
#include "kern/tables.h"

#define R DS_PANEL_ROWS
#define G DS_ACT_GROUP

/* 32 weights: scale and minimum; of Q6_K the scales of the halves. */
struct group {
	int8_t q[G];
	float d, m;
};

static float half_at(const uint8_t *p)
{
	return ds_f16_to_f32(ds_get_u16(p));
}

static void group_q8_0(const uint8_t *row, size_t g, struct group *to)
{
	row += g * 34;
	to->d = half_at(row);
	memcpy(to->q, row + 2, G);
}

static void nibbles(const uint8_t *p, int8_t *q)
{
	for (unsigned j = 0; j < 16; j++) {
		q[j] = p[j] & 15;
		q[j + 16] = (int8_t)(p[j] >> 4);
	}
}

static void fifth_bits(uint32_t high, int8_t *q)
{
	for (unsigned j = 0; j < G; j++)
		q[j] = (int8_t)(q[j] | (high >> j & 1) << 4);
}

static void subtract(int8_t *q, int zero)
{
	for (unsigned j = 0; j < G; j++)
		q[j] = (int8_t)(q[j] - zero);
}

static void group_q4_0(const uint8_t *row, size_t g, struct group *to)
{
	row += g * 18;
	to->d = half_at(row);
	nibbles(row + 2, to->q);
	subtract(to->q, 8);
}

static void group_q4_1(const uint8_t *row, size_t g, struct group *to)
{
	row += g * 20;
	to->d = half_at(row);
	to->m = half_at(row + 2);
	nibbles(row + 4, to->q);
}

static void group_q5_0(const uint8_t *row, size_t g, struct group *to)
{
	row += g * 22;
	to->d = half_at(row);
	nibbles(row + 6, to->q);
	fifth_bits(ds_get_u32(row + 2), to->q);
	subtract(to->q, 16);
}

static void group_q5_1(const uint8_t *row, size_t g, struct group *to)
{
	row += g * 24;
	to->d = half_at(row);
	to->m = half_at(row + 2);
	nibbles(row + 8, to->q);
	fifth_bits(ds_get_u32(row + 4), to->q);
}

/* d sc and -(dmin m) of group j < 8: six bits each in 12 bytes, see lib/quant/quant.c. */
static void scale_min(const uint8_t *block, unsigned j, struct group *to)
{
	const uint8_t *s = block + 4;
	int scale, min;

	if (j < 4) {
		scale = s[j] & 63;
		min = s[j + 4] & 63;
	} else {
		scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		min = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
	to->d = half_at(block) * (float)scale;
	to->m = -(half_at(block + 2) * (float)min);
}

static void group_q4_k(const uint8_t *row, size_t g, struct group *to)
{
	unsigned j = g % 8;
	const uint8_t *block = row + g / 8 * 144, *q = block + 16 + j / 2 * 32;

	scale_min(block, j, to);
	for (unsigned l = 0; l < G; l++)
		to->q[l] = q[l] >> j % 2 * 4 & 15;
}

static void group_q5_k(const uint8_t *row, size_t g, struct group *to)
{
	unsigned j = g % 8;
	const uint8_t *block = row + g / 8 * 176, *q = block + 48 + j / 2 * 32;

	scale_min(block, j, to);
	for (unsigned l = 0; l < G; l++)
		to->q[l] = (int8_t)((q[l] >> j % 2 * 4 & 15) | (block[16 + l] >> j & 1) << 4);
}

static void group_q6_k(const uint8_t *row, size_t g, struct group *to)
{
	unsigned j = g % 8, quarter = j % 4;
	const uint8_t *block = row + g / 8 * 210;
	const uint8_t *low = block + j / 4 * 64 + quarter % 2 * 32,
		      *high = block + 128 + j / 4 * 32;
	float d = half_at(block + 208);

	to->d = d * (float)(int8_t)block[192 + 2 * j];
	to->m = d * (float)(int8_t)block[193 + 2 * j];
	for (unsigned l = 0; l < G; l++) {
		int q = (low[l] >> quarter / 2 * 4 & 15) | (high[l] >> quarter * 2 & 3) << 4;

		to->q[l] = (int8_t)(q - 32);
	}
}

typedef void group_fn(const uint8_t *row, size_t g, struct group *to);

static group_fn *const group_of[DS_LINEAR_TYPES] = {
	[DS_GGML_Q4_0] = group_q4_0, [DS_GGML_Q4_1] = group_q4_1, [DS_GGML_Q5_0] = group_q5_0,
	[DS_GGML_Q5_1] = group_q5_1, [DS_GGML_Q8_0] = group_q8_0, [DS_GGML_Q4_K] = group_q4_k,
	[DS_GGML_Q5_K] = group_q5_k, [DS_GGML_Q6_K] = group_q6_k,
};

static bool has_min(uint32_t type)
{
	return type == DS_GGML_Q4_1 || type == DS_GGML_Q5_1 || type == DS_GGML_Q4_K ||
	       type == DS_GGML_Q5_K;
}

/* n products, n 16 or 32 */
static float dot(const int8_t *q, const int8_t *a, unsigned n)
{
	int32_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += q[i] * a[i];
	return (float)sum;
}

/* One group of one row and token: the written order. */
static float step(uint32_t type, const struct group *w, const int8_t *a, const float *scale,
		  const float *scale_sum, float y)
{
	float sum;

	if (type == DS_GGML_Q6_K) {
		sum = fmaf(dot(w->q + 16, a + 16, 16), w->m, dot(w->q, a, 16) * w->d);
		return fmaf(sum, *scale, y);
	}
	y = fmaf(dot(w->q, a, G) * w->d, *scale, y);
	return has_min(type) ? fmaf(w->m, *scale_sum, y) : y;
}

static void matvec(const struct ds_matrix *w, size_t row0, size_t n_row, const struct ds_act *act,
		   float *y)
{
	for (size_t r = 0; r < n_row; r++) {
		const uint8_t *row = w->data + (row0 + r) * w->row_bytes;

		for (size_t g = 0; g < w->k / G; g++) {
			struct group group;

			group_of[w->type](row, g, &group);
			y[r] = step(w->type, &group, act->a + g * G, act->scale + g,
				    act->scale_sum + g, y[r]);
		}
	}
}

static void open_panel(const struct ds_matrix *w, size_t row0, size_t n_row, struct ds_panel *panel)
{
	for (size_t r = 0; r < R; r++) {
		size_t have = r < n_row ? r : n_row - 1;
		const uint8_t *row = w->data + (row0 + have) * w->row_bytes;

		for (size_t g = 0; g < w->k / G; g++) {
			struct group group = {.d = 0};

			group_of[w->type](row, g, &group);
			memcpy(panel->group[g].q + r * G, group.q, G);
			panel->group[g].d[r] = group.d;
			panel->group[g].m[r] = group.m;
		}
	}
}

static void multiply(const struct ds_panel *panel, const struct ds_act_tile *tile,
		     const float *bias, float *y, size_t ld)
{
	for (size_t t = 0; t < tile->width; t++)
		memcpy(y + t * ld, bias, R * sizeof *y);
	for (size_t g = 0; g < tile->n_group; g++)
		for (size_t r = 0; r < R; r++) {
			struct group group;

			memcpy(group.q, panel->group[g].q + r * G, G);
			group.d = panel->group[g].d[r];
			group.m = panel->group[g].m[r];
			for (size_t t = 0; t < tile->width; t++) {
				size_t at = g * tile->width + t;

				y[t * ld + r] =
					step(panel->type, &group, tile->a + at * G,
					     tile->scale + at, tile->scale_sum + at, y[t * ld + r]);
			}
		}
}

static float weight(const struct ds_matrix *w, const uint8_t *row, size_t i)
{
	uint32_t bits;
	float f;

	if (w->type == DS_GGML_F16)
		return half_at(row + 2 * i);
	bits = w->type == DS_GGML_F32 ? ds_get_u32(row + 4 * i)
				      : (uint32_t)ds_get_u16(row + 2 * i) << 16;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static void float_matvec(const struct ds_matrix *w, size_t row0, size_t n_row,
			 const struct ds_act *act, float *y)
{
	for (size_t r = 0; r < n_row; r++)
		for (size_t i = 0; i < w->k; i++)
			y[r] = fmaf(weight(w, w->data + (row0 + r) * w->row_bytes, i), act->x[i],
				    y[r]);
}

static void float_open(const struct ds_matrix *w, size_t row0, size_t n_row, struct ds_panel *panel)
{
	for (size_t r = 0; r < R; r++)
		for (size_t i = 0; i < w->k; i++)
			panel->f[i * R + r] =
				r < n_row ? weight(w, w->data + (row0 + r) * w->row_bytes, i) : 0;
}

/* The bits of the largest |x|. */
static uint32_t largest(const float *x)
{
	uint32_t max = 0;

	for (unsigned i = 0; i < G; i++) {
		uint32_t u;

		memcpy(&u, x + i, sizeof u);
		u &= 0x7FFFFFFF;
		max = u > max ? u : max;
	}
	return max;
}

static int32_t sum_of(const int8_t *a, unsigned n)
{
	int32_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += a[i];
	return sum;
}

static void round_token(struct ds_act *act, size_t token)
{
	struct ds_act_place place = ds_act_place(act, token);
	const float *x = act->x + token * act->k;
	size_t at = place.at;

	for (size_t g = 0; g < act->k / G; g++, x += G, at += place.width) {
		int8_t *a = act->a + at * G;
		float factor, scale = ds_act_scale(largest(x), &factor);

		for (unsigned i = 0; i < G; i++)
			a[i] = factor == 0 ? 0 : (int8_t)rintf(x[i] * factor);
		ds_act_put(act, at, scale, sum_of(a, G / 2), sum_of(a + G / 2, G / 2));
	}
}

#define INTEGER_TYPES(fn)                                                                          \
	[DS_GGML_Q4_0] = fn, [DS_GGML_Q4_1] = fn, [DS_GGML_Q5_0] = fn, [DS_GGML_Q5_1] = fn,        \
	[DS_GGML_Q8_0] = fn, [DS_GGML_Q4_K] = fn, [DS_GGML_Q5_K] = fn, [DS_GGML_Q6_K] = fn
#define FLOAT_TYPES(fn) [DS_GGML_F32] = fn, [DS_GGML_F16] = fn, [DS_GGML_BF16] = fn

ds_matvec_fn *const ds_matvec_ref[DS_LINEAR_TYPES] = {INTEGER_TYPES(matvec),
						      FLOAT_TYPES(float_matvec)};

const struct ds_linear_kern ds_linear_ref = {
	.round = round_token,
	.open = {INTEGER_TYPES(open_panel), FLOAT_TYPES(float_open)},
	.multiply = multiply,
};
