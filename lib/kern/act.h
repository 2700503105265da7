/*
 * act.h - the layout of rounded activations, for the kernels of linear.h
 *
 * Tokens lie in tiles of up to 16, all tiles of a batch within one token of the same width.  In a
 * tile of width w the 32 values of a group follow for token after token: [group][w][32], and the
 * figures of a group and token likewise: [group][w].  One token alone is a tile of width 1, so its
 * values are contiguous, [group][32], and its figures [group].
 */
#ifndef DS_KERN_ACT_H
#define DS_KERN_ACT_H

#include <math.h>
#include <string.h>

#include "kern/linear.h"

#define DS_ACT_GROUP 32 /* values rounded together */
#define DS_ACT_TILE 16	/* tokens of a tile at most */

struct ds_act {
	size_t n_max, k_max; /* k_max padded to whole groups */
	size_t n, k;
	size_t n_tile;
	float *x;	  /* [n][k] */
	int8_t *a;	  /* tiles of [group][w][32]: a */
	float *scale;	  /* tiles of [group][w]: s */
	float *scale_sum; /* s A */
	/* -128 A, and the same of the values 0-15 and 16-31 alone */
	int32_t *zero, *zero_lo, *zero_hi;
	void *memory;
};

/* One tile: arrays as in struct ds_act, from its first token on. */
struct ds_act_tile {
	size_t first, width, n_group;
	const int8_t *a;
	const float *scale, *scale_sum;
	const int32_t *zero, *zero_lo, *zero_hi;
};

/* The first token of a tile; of tile n_tile: n. */
static inline size_t ds_act_first(const struct ds_act *act, size_t tile)
{
	size_t width = act->n / act->n_tile, wide = act->n % act->n_tile;

	return tile * width + (tile < wide ? tile : wide);
}

static inline struct ds_act_tile ds_act_tile(const struct ds_act *act, size_t tile)
{
	size_t n_group = act->k / DS_ACT_GROUP, first = ds_act_first(act, tile),
	       at = first * n_group;

	return (struct ds_act_tile){
		.first = first,
		.width = ds_act_first(act, tile + 1) - first,
		.n_group = n_group,
		.a = act->a + at * DS_ACT_GROUP,
		.scale = act->scale + at,
		.scale_sum = act->scale_sum + at,
		.zero = act->zero + at,
		.zero_lo = act->zero_lo + at,
		.zero_hi = act->zero_hi + at,
	};
}

/* Where a token's groups are: the first, and from one group to the next the width of its tile. */
struct ds_act_place {
	size_t at, width;
};

static inline struct ds_act_place ds_act_place(const struct ds_act *act, size_t token)
{
	size_t width = act->n / act->n_tile, wide = act->n % act->n_tile;
	size_t n_group = act->k / DS_ACT_GROUP, first;

	if (token < wide * (width + 1)) {
		width++;
		first = token / width * width;
	} else {
		first = token - (token - wide * (width + 1)) % width;
	}
	return (struct ds_act_place){first * n_group + (token - first), width};
}

/*
 * s of a group and its factor 127 / max from the bits of its largest |x|, which order like the
 * numbers, infinity and NaN above.  A factor of 0: the values are 0, whatever x is.
 */
static inline float ds_act_scale(uint32_t max_bits, float *factor_ret)
{
	float max;

	*factor_ret = 0;
	if (max_bits < 0x0D800000) /* 2^-100 */
		return 0;
	if (max_bits >= 0x7F800000) /* infinity */
		return NAN;
	memcpy(&max, &max_bits, sizeof max);
	*factor_ret = 127 / max;
	return max / 127;
}

/* The figures of a group: lo and hi are the sums of the first and the last 16 values. */
static inline void ds_act_put(struct ds_act *act, size_t at, float scale, int32_t lo, int32_t hi)
{
	act->scale[at] = scale;
	act->scale_sum[at] = scale * (float)(lo + hi);
	act->zero[at] = -128 * (lo + hi);
	act->zero_lo[at] = -128 * lo;
	act->zero_hi[at] = -128 * hi;
}

#endif
