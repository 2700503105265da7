/* rope.c - rotary positions: frequencies and tables */
#include "kern/rope.h"

#include <math.h>

#include "base/elementary.h"

#define TWO_PI 6.283185307179586

/* The pair (a real number) that turns so many times within n_context_orig positions. */
static double pair_of_turns(const struct ds_rope_config *c, double turns)
{
	return c->dims * ds_log(c->n_context_orig / (turns * TWO_PI)) / (2 * ds_log(c->base));
}

static double clamp01(double x)
{
	return x < 0 ? 0 : x > 1 ? 1 : x;
}

static enum ds_status check(const struct ds_rope_config *c, double scale, struct ds_err *err)
{
	if (c->dims == 0 || c->dims % 2 || c->dims > DS_ROPE_DIMS_MAX)
		return ds_fail(err, DS_EFORMAT,
			       "rotary positions of %u values: expected an even number up to %d",
			       (unsigned)c->dims, DS_ROPE_DIMS_MAX);
	if (!(c->base > 1 && c->base <= 1e15))
		return ds_fail(err, DS_EFORMAT, "rotary base %g: expected 1 to 1e15", c->base);
	if (!(scale >= 1e-6 && scale <= 1e6))
		return ds_fail(err, DS_EFORMAT, "rotary scale %g: expected 1e-6 to 1e6", scale);
	for (uint32_t i = 0; c->factors && i < c->dims / 2; i++)
		if (!((double)c->factors[i] >= 1e-3 && (double)c->factors[i] <= 1e6))
			return ds_fail(err, DS_EFORMAT,
				       "rotary factor %u is %g: expected 0.001 to 1e6", (unsigned)i,
				       (double)c->factors[i]);
	if (!(fabs(c->attn_factor) <= 1e6))
		return ds_fail(err, DS_EFORMAT, "rotary magnitude %g: expected at most 1e6",
			       c->attn_factor);
	if (c->ext_factor != 0 && !(c->ext_factor > 0 && c->ext_factor <= 1 && c->beta_fast > 0 &&
				    c->beta_slow > 0 && c->n_context_orig > 0))
		return ds_fail(err, DS_EFORMAT,
			       "YaRN with extension %g, turns %g and %g, context %u: expected "
			       "0 to 1 and positive numbers",
			       c->ext_factor, c->beta_fast, c->beta_slow,
			       (unsigned)c->n_context_orig);
	return DS_OK;
}

enum ds_status ds_rope_init(struct ds_rope *rope, const struct ds_rope_config *c,
			    struct ds_err *err)
{
	double scale = c->scale != 0 ? c->scale : 1, low = 0, high = 0;

	DS_TRY(check(c, scale, err));
	rope->dims = c->dims;
	rope->pairs = c->pairs;
	rope->magnitude = c->attn_factor != 0 ? c->attn_factor : 1;
	if (c->ext_factor != 0) {
		low = fmax(0, floor(pair_of_turns(c, c->beta_fast)));
		high = fmin(c->dims - 1, ceil(pair_of_turns(c, c->beta_slow)));
		rope->magnitude *= 1 - 0.1 * ds_log(scale);
	}
	for (uint32_t i = 0; i < c->dims / 2; i++) {
		double mix = 1 - clamp01((i - low) / fmax(0.001, high - low));
		double f = ds_exp(-2.0 * i / c->dims * ds_log(c->base));

		if (c->factors)
			f /= (double)c->factors[i];
		mix *= c->ext_factor;
		rope->frequency[i] = f * (scale * (1 - mix) + mix);
	}
	return DS_OK;
}

static void fill_table(const struct ds_rope *rope, double pos, double magnitude, float *table)
{
	uint32_t half = rope->dims / 2, step = rope->pairs ? 2 : 1, next = rope->pairs ? 1 : half;
	float *cosines = table, *sines = table + rope->dims;

	for (uint32_t i = 0; i < half; i++) {
		double s, c;

		ds_sincos(pos * rope->frequency[i], &s, &c);
		cosines[i * step] = cosines[i * step + next] = (float)(c * magnitude);
		sines[i * step + next] = (float)(s * magnitude);
		sines[i * step] = -sines[i * step + next];
	}
}

void ds_rope_table(const struct ds_rope *rope, size_t pos, float *table)
{
	fill_table(rope, (double)pos, rope->magnitude, table);
}

void ds_rope_back_table(const struct ds_rope *rope, size_t back, float *table)
{
	fill_table(rope, -(double)back, 1, table);
}

void ds_rope_apply(const struct ds_rope *rope, const struct ds_kern *kern, const float *table,
		   float *x, size_t n, size_t stride)
{
	for (size_t i = 0; i < n; i++, x += stride)
		if (rope->pairs)
			kern->rope_pairs(x, table, rope->dims);
		else
			kern->rope_halves(x, table, rope->dims);
}
