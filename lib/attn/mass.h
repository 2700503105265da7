/*
 * mass.h - the policies mass and auto: blocks are chosen by the softmax mass that sampled queries
 * put on them (internal to lib/attn)
 *
 * Every query at a multiple of rule.stride is a sample: it is scored with all keys before its page,
 * in int8, and its mass (what its softmax gives to a block of 16 keys) is known.  The queries from
 * a sample up to the next one are a group.  A group of one head attends to its own page, the first
 * tokens, the last before its page, and the blocks with the most mass of the last samples of the
 * page, its own among them.  So a choice depends on keys and queries at or before it only.
 */
#ifndef DS_ATTN_MASS_H
#define DS_ATTN_MASS_H

#include <stddef.h>
#include <stdint.h>

#include "attn/policy.h"
#include "attn/tile.h"

struct ds_mass_rule {
	uint32_t stride;       /* 1 .. DS_MASS_STRIDE_MAX */
	uint32_t samples;      /* the last so many of the page count */
	uint32_t sinks, local; /* tokens that are always seen; multiples of 16 */
	double share;	       /* of the blocks before the page, or 0: */
	double mass;	       /* what a sample keeps at least */
};
#define DS_MASS_STRIDE_MAX 8

/* Mass of the blocks before a page, to choose a share of them from. */
struct ds_mass_choice {
	double share;
	float *mass;	   /* [n_block] */
	size_t n_block;	   /* those before begin and from end on are chosen */
	size_t begin, end; /* whatever their mass */
	uint32_t *edge;	   /* [n_block] scratch */
};

/* The chosen blocks, ascending, into block [n_block]; returns how many. */
size_t ds_mass_choose(const struct ds_mass_choice *choice, uint32_t *block);

struct ds_attn_mass;
enum ds_status ds_attn_mass_new(struct ds_attn_mass **mass_ret, struct ds_attn *attn,
				const struct ds_attn_policy *policy, struct ds_err *err);
/* Before the tiles of a call, then whole tiles; queries are in the thread's scratch. */
void ds_mass_call(struct ds_attn *attn);
void ds_mass_tile(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread);
void ds_mass_audit(const struct ds_attn_mass *mass, struct ds_attn_audit *audit);

#endif
