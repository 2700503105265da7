/*
 * bpe_search.c - the encoding of a long piece without running the merges
 *
 * By the theorem of bpe_order.c it is the one sequence of tokens of which each two neighbours stay
 * apart.  It is looked for from the left, longest token first; where nothing goes on, the last
 * token is taken back and the position is dead.  Encodings of prefixes are unique, so a position
 * that died once is on no way to the end: every position is tried once, and time is linear.
 *
 * Most text is settled faster by guessing: windows of a few bytes are merged step by step, and of
 * each all tokens but the last are kept.  Within a window neighbours stay apart, as it is encoded
 * alone, so that only the tokens at the stitches are left to check.
 *
 * The idea of the search is that of GitHub's bpe crate (github.com/github/rust-gems, 2024).
 */
#include "token/bpe_encode.h"

#include <assert.h>

#include "base/mem.h"

struct search {
	const struct ds_bpe *bpe;
	const struct ds_bpe_order *order;
	struct ds_validity *validity;
	const uint8_t *start, *end, *readable;
};

struct found {
	uint32_t id;  /* DS_NO_TOKEN: none */
	uint32_t len; /* bytes */
};

static struct found longest_chained(const struct search *search, struct ds_key first16,
				    const uint8_t *p, size_t below)
{
	const struct ds_bpe *bpe = search->bpe;
	const struct ds_bpe_order *order = search->order;
	uint32_t id = order->chain[ds_key_hash(first16) & order->chain_mask];

	for (; id != DS_NO_TOKEN; id = order->chain_next[id]) {
		uint32_t len = ds_token_len(bpe, id);

		if (len < below && !memcmp(p, bpe->bytes + bpe->start[id], len))
			return (struct found){id, len};
	}
	return (struct found){DS_NO_TOKEN, 0};
}

/* The token of the first len (3 to DS_BPE_INLINE) bytes. */
static inline uint32_t exactly(const struct search *search, const struct ds_bpe_head *head,
			       struct ds_key all, uint32_t len)
{
	struct ds_key key = ds_key_cut(all, len);
	uint64_t hash = ds_key_hash(key);
	uint32_t bit = ds_head_bit(hash), id;

	if (!(head->bits[bit / 16] >> (bit % 16) & 1))
		return DS_NO_TOKEN;
	id = ds_bpe_look_short(search->bpe, key, hash);
	return id != DS_NO_TOKEN && ds_comes_about(search->order, id) ? id : DS_NO_TOKEN;
}

/* The longest token that the text at p begins with and that is shorter than below. */
static inline struct found longest(const struct search *search, const uint8_t *p, size_t below)
{
	const struct ds_bpe_order *order = search->order;
	size_t left = (size_t)(search->end - p);
	struct ds_key all;
	uint32_t id;

	if (below > left + 1)
		below = left + 1;
	if (below <= 2)
		return (struct found){below == 2 ? search->bpe->byte_token[*p] : DS_NO_TOKEN, 1};
	all = ds_key_load_end(p, search->readable);
	if (below > 3) {
		const struct ds_bpe_head *head = &order->head[ds_head_hash((uint32_t)all.low)];
		unsigned lengths = head->lengths;

		if ((lengths & 0x8000) && below > DS_BPE_INLINE + 1) {
			struct found found = longest_chained(search, all, p, below);

			if (found.id != DS_NO_TOKEN)
				return found;
		}
		lengths &= below > DS_BPE_INLINE ? 0x1FFFu : (1u << (below - 3)) - 1;
		while (lengths) {
			unsigned top = 31u - (unsigned)__builtin_clz(lengths);

			id = exactly(search, head, all, top + 3);
			if (id != DS_NO_TOKEN)
				return (struct found){id, top + 3};
			lengths ^= 1u << top;
		}
	}
	id = order->two[all.low & 0xFFFF];
	if (id != DS_NO_TOKEN)
		return (struct found){id, 2};
	return (struct found){search->bpe->byte_token[*p], 1};
}

/* Whether left, which ends at p, and right, which begins there, stay two tokens. */
static inline bool stays_apart(const struct search *search, struct found left, struct found right,
			       const uint8_t *p)
{
	const struct ds_bpe_order *order = search->order;
	bool joint = ds_joins_bytes(order, p);
	struct ds_validity *memory;
	uint64_t pair;
	bool apart;

	if (!joint && (left.len < 3 || right.len < 3))
		return true;
	if (!joint && search->readable - p >= 4 && !ds_seen(order->joint_heads, ds_joint_hash(p)))
		return true;
	pair = (uint64_t)left.id << DS_BPE_ID_BITS | right.id;
	memory = &search->validity[ds_pair_hash(pair, (1u << DS_VALIDITY_BITS) - 1)];
	if (memory->key >> 1 == pair + 1) /* + 1: no key is 0 */
		return memory->key & 1;
	apart = ds_bpe_stays_apart(search->bpe, order, left.id, right.id);
	memory->key = (pair + 1) << 1 | apart;
	return apart;
}

size_t ds_bpe_seam(const struct ds_bpe_order *order, struct ds_stretch text)
{
	const uint8_t *p = text.p;

	for (size_t i = 1; i < text.n; i++) {
		/* inside code points there is hardly one, and none where text starts as them */
		if ((p[i] & 0xC0) == 0x80 || ds_joins_bytes(order, p + i))
			continue;
		if (i < 3 || text.n - i < 3)
			return i;
		if (text.readable - (p + i) >= 4 &&
		    !ds_seen(order->joint_heads, ds_joint_hash(p + i)))
			return i;
	}
	return text.n;
}

enum ds_status ds_bpe_search(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
			     struct ds_stretch text, size_t at, size_t *n_ret, struct ds_err *err)
{
	struct search search = {.bpe = bpe, .validity = scratch->validity, .start = text.p,
				.end = text.p + text.n, .readable = text.readable};
	size_t words = text.n / 64 + 1, pos = 0, n = 0;
	struct found last = {DS_NO_TOKEN, 0}, next;
	uint64_t *dead;
	uint32_t *out;

	search.order = atomic_load_explicit(&bpe->order, memory_order_acquire);
	DS_TRY(ds_grow(&scratch->dead, &scratch->cap_dead, words, sizeof *dead, err));
	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, at + text.n, sizeof *out, err));
	dead = scratch->dead;
	out = scratch->id + at;
	memset(dead, 0, words * sizeof *dead);
	next = longest(&search, text.p, SIZE_MAX);
	for (;;) {
		size_t end = pos + next.len;

		assert(next.id != DS_NO_TOKEN);
		if (!(dead[end / 64] >> (end % 64) & 1) &&
		    (!n || stays_apart(&search, last, next, text.p + pos))) {
			__builtin_prefetch(&search.order->origin[next.id]);
			out[n++] = next.id;
			pos = end;
			if (pos == text.n)
				break;
			last = next;
			next = longest(&search, text.p + pos, SIZE_MAX);
			continue;
		}
		next = longest(&search, text.p + pos, next.len);
		if (next.id == DS_NO_TOKEN) {
			dead[pos / 64] |= UINT64_C(1) << (pos % 64);
			assert(n);
			next = last;
			pos -= next.len;
			if (--n)
				last = (struct found){out[n - 1], ds_token_len(bpe, out[n - 1])};
		}
	}
	*n_ret = n;
	return DS_OK;
}

enum ds_status ds_bpe_windows(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
			      struct ds_stretch text, size_t at, size_t *n_ret,
			      struct ds_err *err)
{
	struct search search = {.bpe = bpe, .validity = scratch->validity, .start = text.p,
				.end = text.p + text.n, .readable = text.readable};
	size_t pos = 0, n = 0, steps = 0;

	search.order = atomic_load_explicit(&bpe->order, memory_order_acquire);
	while (pos < text.n) {
		size_t left = text.n - pos, m, keep;
		struct ds_stretch window = {text.p + pos, left < DS_BPE_FEW ? left : DS_BPE_FEW,
					    text.readable};
		const uint32_t *id;

		/* where guesses fail again and again, as in long runs of one symbol, search */
		if (++steps > 4 + pos / 6)
			return ds_bpe_search(bpe, scratch, text, at, n_ret, err);
		DS_TRY(ds_bpe_merge_few(bpe, scratch, window, at + n, &m, err));
		id = scratch->id + at;
		if (n) {
			struct found last = {id[n - 1], ds_token_len(bpe, id[n - 1])};
			struct found next = {id[n], ds_token_len(bpe, id[n])};

			if (!stays_apart(&search, last, next, window.p)) {
				n--; /* begin the window earlier */
				pos -= last.len;
				continue;
			}
		}
		keep = window.n == left || m == 1 ? m : m - 1; /* the last may lack bytes */
		for (; keep; keep--)
			pos += ds_token_len(bpe, id[n++]);
	}
	*n_ret = n;
	return DS_OK;
}
