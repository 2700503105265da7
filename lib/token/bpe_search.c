/*
 * bpe_search.c - the encoding of a long piece without running the merges
 *
 * By the theorem of bpe_order.c it is the one sequence of tokens of which each two neighbours stay
 * apart.  It is looked for from the left, longest token first; where nothing goes on, the last
 * token is taken back and the position is dead.  Encodings of prefixes are unique, so a position
 * that died once is on no way to the end: every position is tried once, and time is linear.
 * The idea is that of GitHub's bpe crate (github.com/github/rust-gems, 2024).
 */
#include "token/bpe_encode.h"

#include <assert.h>

#include "base/mem.h"

struct search {
	const struct ds_bpe *bpe;
	const struct ds_bpe_order *order;
	struct ds_validity *validity;
	const uint8_t *end, *readable;
};

static uint32_t longest_chained(const struct search *search, struct ds_key first16,
				const uint8_t *p, size_t below)
{
	const struct ds_bpe *bpe = search->bpe;
	const struct ds_bpe_order *order = search->order;
	uint32_t id = order->chain[ds_key_hash(first16) & order->chain_mask];

	for (; id != DS_NO_TOKEN; id = order->chain_next[id]) {
		uint32_t len = order->origin[id].len;

		if (len < below && !memcmp(p, bpe->bytes + bpe->start[id], len))
			return id;
	}
	return DS_NO_TOKEN;
}

/* The token of the first len (3 to DS_BPE_INLINE) bytes. */
static inline uint32_t exactly(const struct search *search, struct ds_key all, size_t len)
{
	struct ds_key key = ds_key_cut(all, len);
	uint32_t id = ds_bpe_look_short(search->bpe, key, ds_key_hash(key));

	return id != DS_NO_TOKEN && ds_comes_about(search->order, id) ? id : DS_NO_TOKEN;
}

/* The longest token that the text at p begins with and that is shorter than below. */
static inline uint32_t longest(const struct search *search, const uint8_t *p, size_t below)
{
	const struct ds_bpe_order *order = search->order;
	size_t left = (size_t)(search->end - p);
	struct ds_key all;
	uint32_t id, h;

	if (below > left + 1)
		below = left + 1;
	if (below <= 2)
		return below == 2 ? search->bpe->byte_token[*p] : DS_NO_TOKEN;
	all = ds_key_load_end(p, search->readable);
	if (below > 4) {
		unsigned lengths = order->head[ds_head_hash((uint32_t)all.low)];

		if ((lengths & 0x8000) && below > DS_BPE_INLINE + 1) {
			id = longest_chained(search, all, p, below);
			if (id != DS_NO_TOKEN)
				return id;
		}
		lengths &= below > DS_BPE_INLINE ? 0x0FFFu : (1u << (below - 4)) - 1;
		while (lengths) {
			unsigned top = 31u - (unsigned)__builtin_clz(lengths);

			id = exactly(search, all, top + 4);
			if (id != DS_NO_TOKEN)
				return id;
			lengths ^= 1u << top;
		}
	}
	if (below > 3) {
		h = ds_head_hash((uint32_t)all.low & 0xFFFFFF);
		id = order->three[h / 64] >> (h % 64) & 1 ? exactly(search, all, 3) : DS_NO_TOKEN;
		if (id != DS_NO_TOKEN)
			return id;
	}
	id = order->two[all.low & 0xFFFF];
	return id != DS_NO_TOKEN ? id : search->bpe->byte_token[*p];
}

static inline bool stays_apart(const struct search *search, uint32_t left, uint32_t right)
{
	uint64_t pair = (uint64_t)left << DS_BPE_ID_BITS | right;
	struct ds_validity *memory =
		&search->validity[ds_pair_hash(pair, (1u << DS_VALIDITY_BITS) - 1)];
	bool apart;

	/* + 1: no key is 0 */
	if (memory->key >> 1 == pair + 1)
		return memory->key & 1;
	apart = ds_bpe_stays_apart(search->bpe, search->order->origin, left, right, UINT32_MAX);
	memory->key = (pair + 1) << 1 | apart;
	return apart;
}

enum ds_status ds_bpe_search(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
			     struct ds_stretch text, size_t at, size_t *n_ret, struct ds_err *err)
{
	const struct ds_bpe_order *order = atomic_load_explicit(&bpe->order, memory_order_acquire);
	struct search search = {bpe, order, scratch->validity, text.p + text.n, text.readable};
	size_t words = text.n / 64 + 1, pos = 0, n = 0, len;
	uint64_t *dead;
	uint32_t *out, id;

	DS_TRY(ds_grow(&scratch->dead, &scratch->cap_dead, words, sizeof *dead, err));
	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, at + text.n, sizeof *out, err));
	dead = scratch->dead;
	out = scratch->id + at;
	memset(dead, 0, words * sizeof *dead);
	id = longest(&search, text.p, SIZE_MAX);
	while (pos < text.n) {
		assert(id != DS_NO_TOKEN);
		len = order->origin[id].len;
		if (!(dead[(pos + len) / 64] >> ((pos + len) % 64) & 1) &&
		    (!n || stays_apart(&search, out[n - 1], id))) {
			out[n++] = id;
			pos += len;
			id = pos < text.n ? longest(&search, text.p + pos, SIZE_MAX) : id;
			continue;
		}
		id = longest(&search, text.p + pos, len);
		if (id == DS_NO_TOKEN) {
			dead[pos / 64] |= UINT64_C(1) << (pos % 64);
			assert(n);
			id = out[--n];
			pos -= order->origin[id].len;
		}
	}
	*n_ret = n;
	return DS_OK;
}
