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

#include "kern/linear.h"

#define DS_ACT_GROUP 32 /* values rounded together */
#define DS_ACT_TILE 16	/* tokens of a tile at most */

/* Bits of the largest |x| of a group: below 2^-100 it counts as 0, from infinity on the scale is
 * NaN. */
#define DS_ACT_MAX_LEAST 0x0D800000u
#define DS_ACT_MAX_INFINITE 0x7F800000u

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

#endif
