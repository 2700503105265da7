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
		id[where] = bpe->rule[best].result;
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

/* --- with a heap --------------------------------------------------------------------------- */

#define NONE UINT32_MAX

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
		line->id[i] = line->bpe->rule[rank].result;
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
