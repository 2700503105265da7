/*
 * dictionary.c - the pieces of a segment that are worth having before every block of it
 *
 * Greedy cover: what a piece brings is, for each shingle not covered yet, the number of blocks
 * beyond the first one that hold it, by byte of the piece.  The value of a piece only falls as
 * others are chosen, so that one whose value is still the highest when counted anew is the best
 * (Minoux, Accelerated greedy algorithms, 1978).
 */
#include "archive/dictionary.h"

#include <stdlib.h>

#include "base/mem.h"

#define WORTH_MAX 255

/* A piece is chosen when a byte of it stands for a tenth of one elsewhere or more: one shingle is
 * kept of 32 bytes. */
#define VALUE_MIN ((1 << 16) / 32 / 10)

struct candidate {
	uint64_t value; /* by byte */
	uint32_t piece;
};

struct cover {
	const struct ds_shingles *s;
	const struct ds_piece *piece;
	uint8_t *worth;		/* [shingles] 0: covered, or in one block only */
	struct candidate *heap; /* the best on top */
	size_t n;
};

static uint64_t value_of(const struct cover *c, uint32_t p)
{
	uint64_t sum = 0;

	for (uint32_t i = c->s->first[p]; i < c->s->first[p + 1]; i++)
		sum += c->worth[c->s->shingle[i]];
	return c->piece[p].length ? (sum << 16) / c->piece[p].length : 0;
}

static int is_better(const struct candidate *a, const struct candidate *b)
{
	return a->value != b->value ? a->value > b->value : a->piece < b->piece;
}

static void sink(struct cover *c, size_t i)
{
	for (;;) {
		struct candidate x = c->heap[i];
		size_t k = 2 * i + 1;

		if (k + 1 < c->n && is_better(&c->heap[k + 1], &c->heap[k]))
			k++;
		if (k >= c->n || !is_better(&c->heap[k], &x))
			return;
		c->heap[i] = c->heap[k];
		c->heap[k] = x;
		i = k;
	}
}

/* The blocks of every shingle, when the pieces fill blocks in this order. */
static void count_blocks(const struct cover *c, const uint32_t *order, size_t block_bytes,
			 uint32_t *last)
{
	const struct ds_shingles *s = c->s;
	uint32_t block = 1;
	size_t fill = 0;

	for (size_t k = 0; k < s->n_own; k++) {
		uint32_t p = order[k];

		if (fill + c->piece[p].length > block_bytes) {
			block++;
			fill = 0;
		}
		fill += c->piece[p].length;
		for (uint32_t i = s->first[p]; i < s->first[p + 1]; i++) {
			uint32_t id = s->shingle[i];

			/* what is old blocks refer to */
			if (last[id] == block || ds_shingle_is_old(s, id))
				continue;
			if (last[id] && c->worth[id] < WORTH_MAX)
				c->worth[id]++;
			last[id] = block;
		}
	}
}

static size_t choose(struct cover *c, size_t max_bytes, uint32_t *key)
{
	size_t n = 0, bytes = 0;

	for (size_t i = c->n / 2; i-- > 0;)
		sink(c, i);
	while (c->n && c->heap[0].value >= VALUE_MIN) {
		uint32_t p = c->heap[0].piece;
		uint64_t value = value_of(c, p);

		if (value == c->heap[0].value) {
			if (bytes + c->piece[p].length <= max_bytes) {
				bytes += c->piece[p].length;
				key[n++] = p;
				for (uint32_t i = c->s->first[p]; i < c->s->first[p + 1]; i++)
					c->worth[c->s->shingle[i]] = 0;
			} else if (max_bytes - bytes < 1024) {
				break;
			}
			value = 0;
		}
		c->heap[0].value = value;
		if (!value)
			c->heap[0] = c->heap[--c->n];
		if (c->n)
			sink(c, 0);
	}
	return n;
}

enum ds_status ds_dictionary_choose(const struct ds_shingles *s, const struct ds_piece *piece,
				    const struct ds_key_options *o, uint32_t *key_ret,
				    size_t *n_ret, struct ds_err *err)
{
	struct cover c = {.s = s, .piece = piece};
	uint32_t *last = ds_alloc_zero(s->n, sizeof *last);

	*n_ret = 0;
	c.worth = ds_alloc_zero(s->n, 1);
	c.heap = ds_alloc(s->n_own, sizeof *c.heap);
	if (!last || !c.worth || !c.heap) {
		free(last);
		free(c.worth);
		free(c.heap);
		return ds_fail_nomem(err, s->n_own * sizeof *c.heap);
	}
	count_blocks(&c, o->order, o->block_bytes, last);
	free(last);
	for (uint32_t p = 0; p < s->n_own; p++) {
		struct candidate x = {value_of(&c, p), p};

		if (x.value)
			c.heap[c.n++] = x;
	}
	*n_ret = choose(&c, o->max_bytes, key_ret);
	free(c.worth);
	free(c.heap);
	return DS_OK;
}
