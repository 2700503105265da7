/*
 * bpe_order.c - which tokens come about, and when: the ground of encoding in linear time
 *
 * BPE merges, again and again, the pair of neighbours of the lowest rank, the leftmost first.  Call
 * a token's origin the merge that completes it when its bytes are encoded alone, and a vocabulary
 * proper when in every such run ranks only rise, as training leaves it.  Then any run can be seen
 * as passes, one a rank, and
 *
 *   t1 .. tn is the encoding of its bytes  if and only if  for each i  t_i t_i+1 is that of its own.
 *
 * Proof.  By induction over the passes: while no merge has crossed the edge of a t_i, what happens
 * inside it is what happens when it is encoded alone, since a merge looks at its two symbols only,
 * and in runs of one symbol (where leftmost first matters) an uncrossed edge leaves both sides as
 * if the run began there.  So the first merge across an edge i, i+1 would happen in t_i t_i+1 alone
 * as well, and the other way round.  ds_bpe_stays_apart() decides that for two tokens.
 *
 * Proper is checked, not believed, rank by rank.  A merge is the origin of its result when both
 * parts have theirs at lower ranks, nothing crosses between them before, and no earlier merge is.
 * The only other way a merge could fire is out of order: one of its parts is completed at a rank
 * above its own.  Then the result must have had its origin by that time, so that this never
 * happens; where it had not, the vocabulary is not proper and long pieces take the slow way.
 * (Merges of tiktoken vocabularies as converted for Hugging Face are full of such dead ones.)
 */
#include "token/bpe_vocab.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

static void set_symbols(const struct ds_bpe *bpe, struct ds_bpe_order *order)
{
	for (uint32_t id = 0; id < bpe->n_tokens; id++) {
		order->origin[id].rank = DS_NO_RANK;
		order->origin[id].len = ds_token_len(bpe, id);
	}
	if (bpe->flags & DS_BPE_BYTE_ENCODED) {
		for (unsigned b = 0; b < 256; b++)
			if (bpe->byte_token[b] != DS_NO_TOKEN)
				order->origin[bpe->byte_token[b]].rank = 0;
		return;
	}
	for (uint32_t id = 0; id < bpe->n_tokens; id++) {
		const uint8_t *p = bpe->bytes + bpe->start[id];
		uint32_t len = ds_token_len(bpe, id), cp;

		if (len && ds_utf8_decode(p, p + len, &cp) == len &&
		    ds_bpe_find(bpe, p, len) == id)
			order->origin[id].rank = 0;
	}
}

static void set_origins(const struct ds_bpe *bpe, struct ds_bpe_order *order)
{
	struct ds_bpe_origin *origin = order->origin;
	bool early = false;

	for (uint32_t k = 0; k < bpe->n_rules; k++) {
		const struct ds_bpe_rule *rule = &bpe->rule[k];
		struct ds_bpe_origin *result = &origin[rule->result];

		if (result->rank != DS_NO_RANK)
			continue;
		if (origin[rule->left].rank == DS_NO_RANK ||
		    origin[rule->right].rank == DS_NO_RANK) {
			early = true;
		} else if (ds_bpe_stays_apart(bpe, origin, rule->left, rule->right, k + 1)) {
			result->rank = k + 1;
			result->left = rule->left;
			result->right = rule->right;
		}
	}
	order->proper = true;
	for (uint32_t k = 0; early && k < bpe->n_rules; k++) {
		const struct ds_bpe_rule *rule = &bpe->rule[k];
		uint32_t left = origin[rule->left].rank, right = origin[rule->right].rank;
		uint32_t complete = left > right ? left : right;

		/* DS_NO_RANK, above all: a part that never is */
		if (complete != DS_NO_RANK && complete > k + 1 &&
		    origin[rule->result].rank > complete)
			order->proper = false;
	}
}

struct long_token {
	uint32_t len, id;
};

static int by_length(const void *a, const void *b)
{
	const struct long_token *x = a, *y = b;

	return x->len != y->len ? (x->len < y->len ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static enum ds_status set_chains(const struct ds_bpe *bpe, struct ds_bpe_order *order,
				 uint32_t n_long, struct ds_err *err)
{
	struct long_token *list = ds_alloc(n_long, sizeof *list);
	uint32_t n = 0, size = 64;

	while (size < n_long * 2)
		size *= 2;
	order->chain_mask = size - 1;
	order->chain = ds_alloc(size, sizeof *order->chain);
	order->chain_next = ds_alloc_zero(bpe->n_tokens, sizeof *order->chain_next);
	if (!list || !order->chain || !order->chain_next) {
		free(list);
		return ds_fail_nomem(err, (uint64_t)bpe->n_tokens * sizeof *order->chain_next);
	}
	memset(order->chain, 0xFF, size * sizeof *order->chain);
	for (uint32_t id = 0; id < bpe->n_tokens; id++)
		if (order->origin[id].rank != DS_NO_RANK && order->origin[id].len > 16)
			list[n++] = (struct long_token){order->origin[id].len, id};
	qsort(list, n, sizeof *list, by_length);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *p = bpe->bytes + bpe->start[list[i].id];
		uint32_t *first = &order->chain[ds_key_hash(ds_key_load(p, 16), 16) &
						order->chain_mask];

		order->chain_next[list[i].id] = *first;
		*first = list[i].id;
	}
	free(list);
	return DS_OK;
}

static enum ds_status set_heads(const struct ds_bpe *bpe, struct ds_bpe_order *order,
				struct ds_err *err)
{
	uint32_t n_long = 0;

	for (uint32_t id = 0; id < bpe->n_tokens; id++) {
		uint32_t len = order->origin[id].len;

		if (order->origin[id].rank == DS_NO_RANK || len < 4)
			continue;
		n_long += len > 16;
		order->head[ds_head_hash(ds_get_u32(bpe->bytes + bpe->start[id]))] |=
			(uint16_t)(1u << (len > 16 ? 15 : len - 4));
	}
	return set_chains(bpe, order, n_long, err);
}

static enum ds_status order_make(struct ds_bpe_order **order_ret, const struct ds_bpe *bpe,
				 struct ds_err *err)
{
	struct ds_bpe_order *order = ds_alloc_zero(1, sizeof *order);
	enum ds_status status;

	if (!order)
		return ds_fail_nomem(err, sizeof *order);
	order->origin = ds_alloc(bpe->n_tokens, sizeof *order->origin);
	order->head = ds_alloc_zero((size_t)1 << DS_HEAD_BITS, sizeof *order->head);
	if (!order->origin || !order->head) {
		ds_bpe_order_free(order);
		return ds_fail_nomem(err, (uint64_t)bpe->n_tokens * sizeof *order->origin);
	}
	set_symbols(bpe, order);
	set_origins(bpe, order);
	status = set_heads(bpe, order, err);
	if (status) {
		ds_bpe_order_free(order);
		return status;
	}
	*order_ret = order;
	return DS_OK;
}

enum ds_status ds_bpe_order_get(const struct ds_bpe_order **order_ret, const struct ds_bpe *bpe,
				struct ds_err *err)
{
	struct ds_bpe *own = (struct ds_bpe *)(uintptr_t)bpe; /* order is all that changes */
	struct ds_bpe_order *order = atomic_load_explicit(&own->order, memory_order_acquire);
	enum ds_status status = DS_OK;

	if (!order) {
		pthread_mutex_lock(&own->lock);
		order = atomic_load(&own->order);
		if (!order) {
			status = order_make(&order, bpe, err);
			if (!status)
				atomic_store_explicit(&own->order, order, memory_order_release);
		}
		pthread_mutex_unlock(&own->lock);
	}
	*order_ret = order;
	return status;
}

void ds_bpe_order_free(struct ds_bpe_order *order)
{
	if (!order)
		return;
	free(order->origin);
	free(order->head);
	free(order->chain);
	free(order->chain_next);
	free(order);
}
