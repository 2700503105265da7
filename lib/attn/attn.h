/*
 * attn.h - causal attention of new tokens over a sequence's pages
 *
 * Exact: the query times scale / ln 2 (one factor, rounded) is multiplied with the keys, ascending
 * over the head's values.  Keys are taken in segments of 512 and pages of 64, ascending, all at
 * multiples of their size.  A segment starts with the maximum -FLT_MAX, no sum and no values; a
 * page raises the maximum to that of its scores, rescales what there is by 2^(old - new), and adds
 * powers of 2 (over 16 lanes) and values in token order, fused.  Segments are joined in ascending
 * order, and the values divided by the sum (struct ds_page_softmax, attn_join and attn_finish in
 * kern.h).  Keys a token does not see add exact zeros.
 *
 * Where the shape has recent pages, a query attends to its own page in that way, and to those
 * before it rounded: the scaled query is rounded, and a list of blocks of 16 keys is taken in
 * segments of 32 (attn8.h), each starting with the maximum -FLT_MAX, no sum and no values.  The
 * list begins with the first page that any token of the query's page sees, so that it does not
 * depend on which of them are asked for.  Segments are joined in ascending order
 * (attn_join_columns), what the own page gave is joined last (attn_join; the other sum counts as
 * lane 0), and the values are divided by the sum.
 *
 * With policies that choose for the tokens of an answer, what a position attends to depends on
 * whether it belongs to the prompt or the answer: where the answer begins is part of the sequence.
 *
 * So the result does not depend on how the sequence was split into calls, nor on threads or
 * instruction set, and one token's work can be shared by threads.
 */
#ifndef DS_ATTN_ATTN_H
#define DS_ATTN_ATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/policy.h"
#include "base/err.h"
#include "base/pool.h"
#include "kern/kern.h"
#include "kv/kv.h"

#define DS_ATTN_SEGMENT 512 /* keys */

struct ds_attn_call {
	/* holds the keys and values of the new tokens already; full pages rounded */
	const struct ds_kv *kv;
	uint32_t layer;
	size_t pos, n;	 /* the new tokens: positions pos .. pos + n - 1 */
	uint32_t n_head; /* query heads; a multiple of the KV heads, neighbours share one */
	const float *q;	 /* [n][q_stride]: n_head * dim_k values each, contiguous heads */
	size_t q_stride;
	float scale;	 /* of the scores */
	uint32_t window; /* a token sees itself and window - 1 before it; 0: all */
	/* the tokens belong to the question at the end of a prompt: with the policies mass and auto
	 * they attend to all keys.  The first of them begins a page. */
	bool question;
	/* the tokens are part of an answer: with the policies mass and auto each chooses by itself
	 * (decode.h); later tokens of the sequence are, too, until it is cut back */
	bool answer;
	/* [pos + n] enum ds_attn_boundary of the sequence's tokens, for policies that look at text
	 * (ds_attn_policy_reads()); or NULL */
	const uint8_t *boundaries;
	float *out; /* [n][out_stride]: n_head * dim_v values */
	size_t out_stride;
};

/* Scratch memory for each thread of pool; n_head as in the calls to come. */
struct ds_attn;
enum ds_status ds_attn_new(struct ds_attn **attn_ret, const struct ds_kern *kern,
			   struct ds_pool *pool, const struct ds_kv_shape *shape, uint32_t n_head,
			   struct ds_err *err);
void ds_attn_free(struct ds_attn *attn);
/* Bytes of scratch memory. */
size_t ds_attn_bytes(const struct ds_attn *attn);
/*
 * Attend as a policy says, before the first call; with shape.recent, unless it is exact.  Calls
 * with a window of their own keep to it.
 */
enum ds_status ds_attn_follow(struct ds_attn *attn, const struct ds_attn_policy *policy,
			      struct ds_err *err);
void ds_attn_run(struct ds_attn *attn, const struct ds_attn_call *call);
/* Tokens from n on will be others than those of calls so far.  Returns the token that the next call
 * has to begin with: n, or the first of its page. */
size_t ds_attn_truncate(struct ds_attn *attn, size_t n);
/*
 * What policies kept of the softmax mass: that of the chosen keys and those of the own page, by
 * that of all keys, for one of 256 queries of a head where keys were chosen.
 */
#define DS_AUDIT_STEPS 1000
struct ds_attn_audit {
	uint64_t rows[DS_AUDIT_STEPS + 1]; /* audited: those that kept i to i + 1 thousandths */
	uint64_t mass;			   /* the sum of what they kept, times DS_AUDIT_ONE */
};
#define DS_AUDIT_ONE 0x1p30 /* sums of whole numbers are the same in any order */
/* Add what was audited so far. */
void ds_attn_audit(const struct ds_attn *attn, struct ds_attn_audit *audit);
/* Pairs of queries and keys so far: those attended to, and all that lie before. */
void ds_attn_pairs(const struct ds_attn *attn, uint64_t *seen_ret, uint64_t *causal_ret);

#endif
