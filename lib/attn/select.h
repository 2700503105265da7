/*
 * select.h - the policies by which every query and head chooses for itself (internal to lib/attn)
 *
 * A choice is among the tokens before the query's page, as one mask for each block of 16.  These
 * are recipes to compare with: they look at every key, and take longer than to attend to all.
 */
#ifndef DS_ATTN_SELECT_H
#define DS_ATTN_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kern/attn8.h"
#include "kern/kern.h"
#include "kv/kv.h"

/* Scores of one row: token t of block b has score[(16 b + t) ld]. */
struct ds_attn_scores {
	const float *score;
	size_t ld, n_block;
};

/*
 * Of the tokens in the masks [n_block] keep the k of the highest score, of equal ones the earlier;
 * returns how many there are.  work: [16 n_block].
 */
size_t ds_attn_keep_best(const struct ds_attn_scores *s, size_t k, uint16_t *tokens,
			 uint64_t *work);

/* policy_vsa.c: a block with its keys once more rounded, to 4 bits (-7 .. 7) a token. */
struct ds_attn_coarse {
	int8_t *k; /* [dim_k / 4][16][4] */
	float k_scale[16];
	int32_t k_zero[16];
};
/* The block with coarse's keys; dim_k as in the rows to come. */
struct ds_attn8_block ds_attn_coarse_block(struct ds_attn_coarse *coarse,
					   const struct ds_attn8_block *block, size_t dim_k);

#define DS_ATTN_LSH_ROUNDS_MAX 32
/* policy_lsh.c: SimHash (Charikar 2002) of keys less their mean: some rounds of some bits. */
struct ds_attn_lsh {
	const struct ds_kern *kern;
	unsigned rounds, bits;
	struct ds_kv_shape shape;
	float *planes;	/* [rounds * bits][dim_k] */
	uint16_t *code; /* [n_layer][n_head][tokens of whole pages][rounds] */
	size_t *n_page; /* [n_layer] that are hashed */
};
enum ds_status ds_attn_lsh_new(struct ds_attn_lsh **lsh_ret, const struct ds_kern *kern,
			       const struct ds_kv_shape *shape, const unsigned rounds_bits[2],
			       struct ds_err *err);
void ds_attn_lsh_free(struct ds_attn_lsh *lsh);
size_t ds_attn_lsh_bytes(const struct ds_attn_lsh *lsh);
/* Hash a rounded page of a layer and head; work: [2 dim_k]. */
void ds_attn_lsh_page(const struct ds_attn_lsh *lsh, const struct ds_kv *kv, uint32_t layer,
		      uint32_t head, size_t page, float *work);
/* Codes of a vector: [rounds]. */
void ds_attn_lsh_hash(const struct ds_attn_lsh *lsh, const float *x, uint16_t *code);
/* Tokens of n_block blocks that share the code of any round. */
void ds_attn_lsh_match(const struct ds_attn_lsh *lsh, uint32_t layer, uint32_t head,
		       const uint16_t *code, size_t n_block, uint16_t *tokens);

#endif
