/*
 * attn.h - exact causal attention of new tokens over a sequence's pages
 *
 * The written order of one query and head: pages ascending; within a page scores (dot products
 * ascending over the head's values, times scale), the maximum so far, exponentials, their sum over
 * 16 lanes, and the weighted values added in token order after rescaling by the change of the
 * maximum.  Pages begin at multiples of 64 tokens, so the result does not depend on how the
 * sequence was split into calls, nor on threads or instruction set.
 */
#ifndef DS_ATTN_ATTN_H
#define DS_ATTN_ATTN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "kern/kern.h"
#include "kv/kv.h"

struct ds_attn_call {
	const struct ds_kv *kv; /* holds the keys and values of the new tokens already */
	uint32_t layer;
	size_t pos, n;	 /* the new tokens: positions pos .. pos + n - 1 */
	uint32_t n_head; /* query heads; a multiple of the KV heads, neighbours share one */
	const float *q;	 /* [n][q_stride]: n_head * dim_k values each, contiguous heads */
	size_t q_stride;
	float scale;	 /* of the scores */
	uint32_t window; /* a token sees itself and window - 1 before it; 0: all */
	float *out;	 /* [n][out_stride]: n_head * dim_v values */
	size_t out_stride;
};

/* Scratch memory for each thread of pool. */
struct ds_attn;
enum ds_status ds_attn_new(struct ds_attn **attn_ret, const struct ds_kern *kern,
			   struct ds_pool *pool, const struct ds_kv_shape *shape, uint32_t n_head,
			   struct ds_err *err);
void ds_attn_free(struct ds_attn *attn);
void ds_attn_run(struct ds_attn *attn, const struct ds_attn_call *call);

#endif
