/*
 * follow.h - policies at work: their memory, and what a tile attends to (internal to lib/attn)
 */
#ifndef DS_ATTN_FOLLOW_H
#define DS_ATTN_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/choose.h"
#include "attn/select.h"
#include "attn/tile.h"

/* Rows that choose for themselves are scored so many at a time. */
#define DS_FOLLOW_ROWS 16

/* What a thread chooses with. */
struct ds_follow_desk {
	struct ds_attn_choice choice;
	/* for rows that choose for themselves: */
	float *score, *coarse; /* [blocks of the context][16][16] */
	uint64_t *work;	       /* [blocks][16] */
	uint16_t *tokens;      /* [blocks] of a row */
	float *mass;	       /* [blocks][16] */
	float *vector;	       /* [2 dim_k] */
	float *left;	       /* [16][dim_v] mean values of what rows leave out */
	double *sum;	       /* [2][dim_v] */
};

struct ds_attn_follower {
	struct ds_follow_desk *desk; /* [threads] */
	struct ds_attn_keys keys;
	struct ds_attn_lsh *lsh;
	struct ds_attn_mass *mass;
	struct ds_attn_decode *decode; /* with mass */
};

void ds_follow_free(struct ds_attn_follower *follow);
size_t ds_follow_bytes(const struct ds_attn_follower *follow);
/* The call as the policy has it; what is kept of the text is brought up to its last token. */
const struct ds_attn_call *ds_follow_call(struct ds_attn *attn, const struct ds_attn_call *call);
/* Whether every row chooses for itself, and a whole tile then. */
bool ds_follow_by_row(const struct ds_attn *attn);
void ds_follow_rows(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread);
/* Whether groups of the tile choose by mass (mass.h), and a whole tile then. */
bool ds_follow_by_mass(const struct ds_attn *attn, const struct ds_attn_tile *t);
/* Whether the call's tokens choose one by one (decode.h), or would further on. */
bool ds_follow_by_token(const struct ds_attn *attn, const struct ds_attn_call *call);
/* Whether its tokens attend to all that their window holds. */
bool ds_follow_dense(const struct ds_attn *attn, const struct ds_attn_call *call);
/* What a tile of one row chooses, whose scaled query is q, into tokens [blocks before its page];
 * returns how many. */
size_t ds_follow_row(const struct ds_attn *attn, const struct ds_attn_tile *one, unsigned thread,
		     const float *q, uint16_t *tokens);
/* The choice for a tile's page; and its pairs counted. */
const struct ds_attn_choice *ds_follow_choice(const struct ds_attn *attn,
					      const struct ds_attn_tile *t, unsigned thread);
const struct ds_attn_choice *ds_follow_choose(const struct ds_attn *attn,
					      const struct ds_attn_tile *t, unsigned thread);
void ds_follow_count(const struct ds_attn *attn, uint64_t seen, uint64_t causal);

#endif
