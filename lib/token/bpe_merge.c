/*
 * bpe_merge.c - BPE as it is defined: the lowest rank first, the leftmost of equals
 */
#include "token/bpe_encode.h"

#include "base/mem.h"

enum ds_status ds_bpe_merge_short(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				  struct ds_stretch text, size_t at, size_t *n_ret,
				  struct ds_err *err)
{
	uint32_t id[DS_BPE_SHORT + 1], rank[DS_BPE_SHORT + 1];
	const uint8_t *p = text.p, *end = text.p + text.n;
	size_t n = 0;

	for (unsigned len; p < end; p += len)
		id[n++] = ds_bpe_symbol(bpe, p, end, &len);
	for (size_t i = 0; i + 1 < n; i++)
		rank[i] = n == text.n && (bpe->flags & DS_BPE_BYTE_ENCODED)
				  ? bpe->byte_pair[text.p[i] << 8 | text.p[i + 1]]
				  : ds_bpe_rank(bpe, id[i], id[i + 1]);
	while (n > 1) {
		uint32_t best = DS_NO_RANK;
		size_t where = 0;

		for (size_t i = 0; i + 1 < n; i++) {
			if (rank[i] < best) {
				best = rank[i];
				where = i;
			}
		}
		if (best == DS_NO_RANK)
			break;
		id[where] = bpe->result[best];
		n--;
		for (size_t i = where + 1; i < n; i++) {
			id[i] = id[i + 1];
			rank[i - 1] = rank[i];
		}
		if (where + 1 < n)
			rank[where] = ds_bpe_rank(bpe, id[where], id[where + 1]);
		if (where)
			rank[where - 1] = ds_bpe_rank(bpe, id[where - 1], id[where]);
	}
	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, at + n, sizeof *scratch->id, err));
	for (size_t i = 0; i < n; i++)
		scratch->id[at + i] = id[i];
	*n_ret = n;
	return DS_OK;
}

/* --- a few symbols ------------------------------------------------------------------------- */

/* A pair is its rank above the index of its left symbol: the least is the one to merge. */
struct few {
	uint32_t id[DS_BPE_FEW];
	uint32_t pair[DS_BPE_FEW]; /* NONE: does not merge, or is gone */
	uint8_t next[DS_BPE_FEW], prev[DS_BPE_FEW];
	unsigned n;
};

#define NONE UINT32_MAX

static inline uint32_t few_pair(uint32_t rank, unsigned i)
{
	return rank == DS_NO_RANK ? NONE : rank << DS_FEW_BITS | i;
}

static enum ds_status merge_few(const struct ds_bpe *bpe, struct few *few,
				struct ds_bpe_scratch *scratch, size_t at, size_t *n_ret,
				struct ds_err *err)
{
	unsigned last = few->n - 1, n_out = 0;

	for (unsigned i = 0; i < few->n; i++) {
		few->next[i] = (uint8_t)(i + 1);
		few->prev[i] = (uint8_t)(i - 1);
	}
	for (;;) {
		uint32_t best = NONE;
		unsigned i, j;

		for (unsigned k = 0; k < last; k++)
			best = few->pair[k] < best ? few->pair[k] : best;
		if (best == NONE)
			break;
		i = best & (DS_BPE_FEW - 1);
		j = few->next[i];
		few->id[i] = bpe->result[best >> DS_FEW_BITS];
		few->pair[j] = few->pair[i] = NONE;
		few->next[i] = few->next[j];
		if (few->next[i] < few->n) {
			few->prev[few->next[i]] = (uint8_t)i;
			few->pair[i] = few_pair(
				ds_bpe_rank(bpe, few->id[i], few->id[few->next[i]]), i);
		}
		if (i) {
			j = few->prev[i];
			few->pair[j] = few_pair(ds_bpe_rank(bpe, few->id[j], few->id[i]), j);
		}
	}
	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, at + few->n, sizeof *scratch->id, err));
	for (unsigned i = 0; i < few->n; i = few->next[i])
		scratch->id[at + n_out++] = few->id[i];
	*n_ret = n_out;
	return DS_OK;
}

enum ds_status ds_bpe_merge_few(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				struct ds_stretch text, size_t at, size_t *n_ret,
				struct ds_err *err)
{
	struct few few;

	few.n = (unsigned)text.n;
	for (unsigned i = 0; i < few.n; i++)
		few.id[i] = bpe->byte_token[text.p[i]];
	for (unsigned i = 0; i + 1 < few.n; i++)
		few.pair[i] = few_pair(bpe->byte_pair[text.p[i] << 8 | text.p[i + 1]], i);
	few.pair[few.n - 1] = NONE;
	return merge_few(bpe, &few, scratch, at, n_ret, err);
}

/*
 * Where no merge with a part of less than three bytes joins two characters, every symbol that
 * reaches over an edge is made of whole ones: they may be merged as if text started with them.
 */
enum ds_status ds_bpe_merge_han(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				struct ds_stretch text, size_t at, size_t *n_ret,
				struct ds_err *err)
{
	const struct ds_bpe_order *order = atomic_load_explicit(&bpe->order, memory_order_acquire);
	struct few few;

	*n_ret = 0;
	few.n = (unsigned)text.n / 3;
	for (unsigned i = 0; i < few.n; i++) {
		const uint8_t *p = text.p + 3 * i;
		uint32_t cp;

		if (ds_utf8_decode(p, text.p + text.n, &cp) != 3 ||
		    cp - DS_HAN_FIRST >= DS_HAN_COUNT ||
		    order->han[cp - DS_HAN_FIRST] == DS_NO_TOKEN)
			return DS_OK;
		if (i && ds_joins_bytes(order, p))
			return DS_OK;
		few.id[i] = order->han[cp - DS_HAN_FIRST];
	}
	for (unsigned i = 0; i + 1 < few.n; i++)
		few.pair[i] = few_pair(ds_bpe_rank(bpe, few.id[i], few.id[i + 1]), i);
	few.pair[few.n - 1] = NONE;
	return merge_few(bpe, &few, scratch, at, n_ret, err);
}

/* --- with a heap --------------------------------------------------------------------------- */

struct line {
	const struct ds_bpe *bpe;
	uint32_t *id, *next, *prev; /* a symbol that is gone has id NONE */
	uint64_t *heap;
	size_t n_heap;
};

static void push(struct line *line, uint32_t i)
{
	uint32_t rank;
	uint64_t key;
	size_t at = line->n_heap;

	if (i == NONE || line->next[i] == NONE)
		return;
	rank = ds_bpe_rank(line->bpe, line->id[i], line->id[line->next[i]]);
	if (rank == DS_NO_RANK)
		return;
	key = (uint64_t)rank << 32 | i;
	line->n_heap++;
	for (; at && line->heap[(at - 1) / 2] > key; at = (at - 1) / 2)
		line->heap[at] = line->heap[(at - 1) / 2];
	line->heap[at] = key;
}

static uint64_t pop(struct line *line)
{
	uint64_t top = line->heap[0], last = line->heap[--line->n_heap];
	size_t at = 0;

	for (size_t child; (child = 2 * at + 1) < line->n_heap; at = child) {
		if (child + 1 < line->n_heap && line->heap[child + 1] < line->heap[child])
			child++;
		if (line->heap[child] >= last)
			break;
		line->heap[at] = line->heap[child];
	}
	line->heap[at] = last;
	return top;
}

static void merge_all(struct line *line)
{
	while (line->n_heap) {
		uint64_t top = pop(line);
		uint32_t i = (uint32_t)top, j, rank = (uint32_t)(top >> 32);

		/* what changed since it was pushed is not the pair of that rank any more */
		if (line->id[i] == NONE || (j = line->next[i]) == NONE ||
		    line->bpe->rule[rank].left != line->id[i] ||
		    line->bpe->rule[rank].right != line->id[j])
			continue;
		line->id[i] = line->bpe->result[rank];
		line->id[j] = NONE;
		line->next[i] = line->next[j];
		if (line->next[j] != NONE)
			line->prev[line->next[j]] = i;
		push(line, line->prev[i]);
		push(line, i);
	}
}

enum ds_status ds_bpe_merge_heap(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				 struct ds_stretch text, size_t at, size_t *n_ret,
				 struct ds_err *err)
{
	const uint8_t *p = text.p, *end = text.p + text.n;
	struct line line = {.bpe = bpe};
	size_t n = text.n, n_out = 0;

	if (n >= NONE / 3)
		return ds_fail(err, DS_ELIMIT, "a piece of %zu bytes without a break", n);
	/* a merge pops one and pushes two at most */
	DS_TRY(ds_grow(&scratch->heap, &scratch->cap_heap, 2 * n, sizeof *scratch->heap, err));
	DS_TRY(ds_grow(&scratch->link, &scratch->cap_link, 3 * n, sizeof *scratch->link, err));
	line.id = scratch->link;
	line.next = line.id + n;
	line.prev = line.next + n;
	line.heap = scratch->heap;
	n = 0;
	for (unsigned len; p < end; p += len, n++) {
		line.id[n] = ds_bpe_symbol(bpe, p, end, &len);
		line.next[n] = (uint32_t)n + 1;
		line.prev[n] = (uint32_t)n - 1; /* NONE for the first */
	}
	line.next[n - 1] = NONE;
	for (size_t i = 0; i < n; i++)
		push(&line, (uint32_t)i);
	merge_all(&line);
	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, at + n, sizeof *scratch->id, err));
	for (uint32_t i = 0; i != NONE; i = line.next[i])
		scratch->id[at + n_out++] = line.id[i];
	*n_ret = n_out;
	return DS_OK;
}
