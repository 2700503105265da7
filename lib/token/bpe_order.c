/*
 * bpe_order.c - which tokens come about, and when: the ground of encoding in linear time
 *
 * BPE merges, again and again, the pair of neighbours of the lowest rank, the leftmost first.  Call
 * a token's origin the merge that completes it when its bytes are encoded alone, and a vocabulary
 * proper when in every such run ranks only rise, as training leaves it.  Then any run can be seen
 * as passes, one a rank, and
 *
 *   t1 .. tn is the encoding of its bytes  if and only if  each t_i t_i+1 is that of its own.
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
	memset(order->origin, 0xFF, bpe->n_tokens * sizeof *order->origin);
	if (bpe->flags & DS_BPE_BYTE_ENCODED) {
		for (unsigned b = 0; b < 256; b++)
			if (bpe->byte_token[b] != DS_NO_TOKEN)
				order->origin[bpe->byte_token[b]] = 0;
		return;
	}
	for (uint32_t id = 0; id < bpe->n_tokens; id++) {
		const uint8_t *p = bpe->bytes + bpe->start[id];
		uint32_t len = ds_token_len(bpe, id), cp;

		if (len && ds_utf8_decode(p, p + len, &cp) == len &&
		    ds_bpe_find(bpe, p, len) == id)
			order->origin[id] = 0;
	}
}

/* The merge is an origin: let the searches know the bytes at its joint. */
static void set_joint(const struct ds_bpe *bpe, struct ds_bpe_order *order,
		      const struct ds_bpe_rule *rule, const uint8_t *result)
{
	uint32_t left = ds_token_len(bpe, rule->left), right = ds_token_len(bpe, rule->right);
	const uint8_t *p = result + left;
	uint32_t both = (uint32_t)p[-1] << 8 | p[0];

	if (left >= 3 && right >= 3)
		ds_see(order->joint_heads, ds_joint_hash(p));
	else
		order->joint_bytes[both / 64] |= UINT64_C(1) << (both % 64);
}

static void set_level(struct ds_bpe_order *order, const struct ds_bpe_rule *rule, uint32_t rank)
{
	uint8_t *cell = &order->level[ds_level_cell(rule->left, rule->right)];
	unsigned level = rank >> order->level_shift;

	if (level < *cell)
		*cell = (uint8_t)level;
}

#define AHEAD 24

static void set_origins(const struct ds_bpe *bpe, struct ds_bpe_order *order)
{
	uint64_t *origin = order->origin;
	bool early = false;

	for (uint32_t k = 0; k < bpe->n_rules; k++) {
		const struct ds_bpe_rule *rule = &bpe->rule[k];
		uint32_t result = bpe->result[k];

		if (k + AHEAD < bpe->n_rules) {
			__builtin_prefetch(&origin[rule[AHEAD].left]);
			__builtin_prefetch(&origin[rule[AHEAD].right]);
		}
		if (origin[result] != DS_NO_ORIGIN)
			continue; /* the first way to come about is the only one */
		if (origin[rule->left] == DS_NO_ORIGIN || origin[rule->right] == DS_NO_ORIGIN) {
			early = true;
		} else if (ds_bpe_edges_hold(bpe, order, rule->left, rule->right, k + 1)) {
			origin[result] = (uint64_t)(k + 1) << (2 * DS_BPE_ID_BITS) |
					       (uint64_t)rule->left << DS_BPE_ID_BITS |
					       rule->right;
			set_joint(bpe, order, rule, bpe->bytes + bpe->start[result]);
			set_level(order, rule, k);
		}
	}
	order->proper = true;
	for (uint32_t k = 0; early && k < bpe->n_rules; k++) {
		const struct ds_bpe_rule *rule = &bpe->rule[k];
		uint32_t left = ds_origin_rank(origin[rule->left]);
		uint32_t right = ds_origin_rank(origin[rule->right]);
		uint32_t complete = left > right ? left : right;

		/* that of DS_NO_ORIGIN is above all: a part that never is */
		if (complete != ds_origin_rank(DS_NO_ORIGIN) && complete > k + 1 &&
		    ds_origin_rank(origin[bpe->result[k]]) > complete)
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

/* Tokens over DS_BPE_INLINE bytes, shortest first, so that chains get the longest in front. */
static enum ds_status set_chains(const struct ds_bpe *bpe, struct ds_bpe_order *order,
				 uint32_t n_long, struct ds_err *err)
{
	struct long_token *list = ds_alloc(n_long, sizeof *list);
	uint32_t n = 0;

	if (!list)
		return ds_fail_nomem(err, (uint64_t)n_long * sizeof *list);
	for (uint32_t id = 0; id < bpe->n_tokens; id++)
		if (order->origin[id] != DS_NO_ORIGIN && ds_token_len(bpe, id) > DS_BPE_INLINE)
			list[n++] = (struct long_token){ds_token_len(bpe, id), id};
	qsort(list, n, sizeof *list, by_length);
	for (uint32_t i = 0; i < n; i++) {
		struct ds_key key = ds_key_load(bpe->bytes + bpe->start[list[i].id]);
		uint32_t *first = &order->chain[ds_key_hash(key) & order->chain_mask];

		order->chain_next[list[i].id] = *first;
		*first = list[i].id;
	}
	free(list);
	return DS_OK;
}

static void set_head(const struct ds_bpe *bpe, struct ds_bpe_order *order, uint32_t id)
{
	struct ds_key key = ds_key_load(bpe->bytes + bpe->start[id]);
	uint32_t len = ds_token_len(bpe, id), bit, cp;
	struct ds_bpe_head *head = &order->head[ds_head_hash((uint32_t)key.low)];

	if (len > DS_BPE_INLINE) {
		head->lengths |= 1u << 15;
	} else if (len > 2) {
		head->lengths |= (uint16_t)(1u << (len - 3));
		bit = ds_head_bit(ds_key_hash(ds_key_cut(key, len)));
		head->bits[bit / 16] |= (uint16_t)(1u << (bit % 16));
		if (len == 3 && ds_utf8_decode((const uint8_t *)&key, (const uint8_t *)&key + 3,
					       &cp) == 3 &&
		    cp - DS_HAN_FIRST < DS_HAN_COUNT)
			order->han[cp - DS_HAN_FIRST] = id;
	} else if (len == 2) {
		order->two[key.low & 0xFFFF] = id;
	}
}

static enum ds_status set_heads(const struct ds_bpe *bpe, struct ds_bpe_order *order,
				struct ds_err *err)
{
	uint32_t n_long = 0;

	for (uint32_t id = 0; id < bpe->n_tokens; id++) {
		if (order->origin[id] == DS_NO_ORIGIN)
			continue;
		order->comes_about[id / 64] |= UINT64_C(1) << (id % 64);
		n_long += ds_token_len(bpe, id) > DS_BPE_INLINE;
		set_head(bpe, order, id);
	}
	return set_chains(bpe, order, n_long, err);
}

static enum ds_status allocate(const struct ds_bpe *bpe, struct ds_bpe_order *order,
			       struct ds_err *err)
{
	size_t n = bpe->n_tokens, words = n / 64 + 1, chains = (size_t)bpe->slot_mask + 1;
	size_t heads = (size_t)1 << DS_HEAD_BITS;
	size_t size = heads * sizeof *order->head + (n + words) * 8 + 8192 + DS_SEEN_BYTES +
		      DS_LEVEL_BYTES + (65536 + DS_HAN_COUNT + chains + n) * 4;
	uint8_t *at = ds_alloc_large(size, 1);

	if (!at)
		return ds_fail_nomem(err, size);
	order->region = at;
	order->head = (struct ds_bpe_head *)at;
	order->origin = (uint64_t *)(at += heads * sizeof *order->head);
	order->comes_about = (uint64_t *)(at += n * 8);
	order->joint_bytes = (uint64_t *)(at += words * 8);
	order->joint_heads = (uint64_t *)(at += 8192);
	order->level = at += DS_SEEN_BYTES;
	order->two = (uint32_t *)(at += DS_LEVEL_BYTES);
	order->han = (uint32_t *)(at += 65536 * 4);
	order->chain = (uint32_t *)(at += DS_HAN_COUNT * 4);
	order->chain_next = (uint32_t *)(at + chains * 4);
	order->chain_mask = bpe->slot_mask;
	memset(order->comes_about, 0, words * 8);
	memset(order->joint_bytes, 0, 8192);
	memset(order->joint_heads, 0, DS_SEEN_BYTES);
	memset(order->level, 0xFF, DS_LEVEL_BYTES);
	while (bpe->n_rules >> order->level_shift >= DS_LEVEL_NONE)
		order->level_shift++;
	memset(order->two, 0xFF, 65536 * 4);
	memset(order->han, 0xFF, DS_HAN_COUNT * 4);
	memset(order->chain, 0xFF, chains * 4);
	memset(order->head, 0, heads * sizeof *order->head);
	return DS_OK;
}

static enum ds_status order_make(struct ds_bpe_order **order_ret, const struct ds_bpe *bpe,
				 struct ds_err *err)
{
	struct ds_bpe_order *order = ds_alloc_zero(1, sizeof *order);
	enum ds_status status;

	if (!order)
		return ds_fail_nomem(err, sizeof *order);
	status = allocate(bpe, order, err);
	if (!status) {
		set_symbols(bpe, order);
		set_origins(bpe, order);
		status = set_heads(bpe, order, err);
	}
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
	free(order->region);
	free(order);
}
