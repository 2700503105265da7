/* history.c - text of earlier segments, and what of it blocks refer to */
#include "archive/history.h"

#include <stdlib.h>

#define HISTORY_BYTES ((size_t)64 << 20)

/* Of lists of pieces with a shingle, the newest are looked at. */
#define LIST_MAX 16
/* Text that a writer lets a block refer to, and shingles that a piece must share with it. */
#define REFERENCE_BYTES ((size_t)512 << 10)
#define SHARED_MIN 6

enum ds_status ds_history_add(struct ds_history *h, const uint8_t *text,
			      const struct ds_old_piece *p, struct ds_err *err)
{
	if (h->text.len + p->length > HISTORY_BYTES) {
		size_t n = 0, bytes;

		while (n < h->n && h->piece[n].at < HISTORY_BYTES / 4)
			n++;
		bytes = n < h->n ? h->piece[n].at : h->text.len;
		ds_buf_consume(&h->text, bytes);
		for (size_t i = n; i < h->n; i++) {
			h->piece[i - n] = h->piece[i];
			h->piece[i - n].at -= bytes;
		}
		h->n -= n;
	}
	DS_TRY(ds_grow(&h->piece, &h->cap, h->n + 1, sizeof *h->piece, err));
	h->piece[h->n] = *p;
	h->piece[h->n].at = h->text.len;
	DS_TRY(ds_buf_append(&h->text, text, p->length, err));
	h->n++;
	return DS_OK;
}

void ds_history_fini(struct ds_history *h)
{
	ds_buf_fini(&h->text);
	free(h->piece);
	*h = (struct ds_history){0};
}

struct shared {
	uint32_t n, old; /* shingles; place in the history */
};

/* The search for what blocks refer to. */
struct choice {
	struct ds_layout *l;
	const struct ds_history *h;
	const struct ds_shingles *s;
	uint32_t *wanted; /* [shingles] block + 1 where it is not covered yet */
	uint32_t *count;  /* [history] */
	struct shared *shared;
	size_t n_shared;
	/* of the block: */
	uint64_t open[DS_REFERENCE_BLOCKS_MAX]; /* blocks it refers to */
	size_t n_open, bytes;
};

/* Count the shingles that the block shares with pieces of the history. */
static void count_shared(struct choice *c, size_t b)
{
	const struct ds_shingles *s = c->s;
	const uint32_t own = (uint32_t)s->n_own;

	for (size_t k = c->l->first[b]; k < c->l->first[b + 1]; k++) {
		uint32_t p = c->l->order[k];

		for (uint32_t i = s->first[p]; i < s->first[p + 1]; i++) {
			uint32_t id = s->shingle[i], n = 0;

			if (c->wanted[id] == b + 1)
				continue;
			c->wanted[id] = (uint32_t)b + 1;
			for (uint32_t j = s->list[id + 1]; j-- > s->list[id]; n++) {
				uint32_t old = s->piece[j];

				if (old < own || n == LIST_MAX)
					break;
				if (c->count[old - own]++ == 0)
					c->shared[c->n_shared++].old = old - own;
			}
		}
	}
	for (size_t i = 0; i < c->n_shared; i++) {
		c->shared[i].n = c->count[c->shared[i].old];
		c->count[c->shared[i].old] = 0;
	}
}

/* Most first, then the newest. */
static int by_shared(const void *a, const void *b)
{
	const struct shared *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return x->old < y->old ? 1 : -1;
}

/* Whether there is room for this piece; its block is counted then. */
static int take_room(struct choice *c, const struct ds_old_piece *p)
{
	size_t i = 0;

	if (p->depth >= DS_REFERENCE_DEPTH_MAX || c->bytes + p->length > REFERENCE_BYTES)
		return 0;
	while (i < c->n_open && c->open[i] != p->block)
		i++;
	if (i == DS_REFERENCE_BLOCKS_MAX)
		return 0;
	if (i == c->n_open)
		c->open[c->n_open++] = p->block;
	c->bytes += p->length;
	return 1;
}

/* Refer to an old piece where enough of what it shares is not covered. */
static enum ds_status try_piece(struct choice *c, size_t b, uint32_t old, struct ds_err *err)
{
	const struct ds_shingles *s = c->s;
	const uint32_t *id = s->shingle + s->first[s->n_own + old];
	const uint32_t *end = s->shingle + s->first[s->n_own + old + 1];
	struct ds_layout *l = c->l;
	uint32_t n = 0;

	for (const uint32_t *i = id; i < end; i++)
		n += c->wanted[*i] == b + 1;
	if (n < SHARED_MIN || !take_room(c, &c->h->piece[old]))
		return DS_OK;
	for (const uint32_t *i = id; i < end; i++)
		if (c->wanted[*i] == b + 1)
			c->wanted[*i] = 0;
	DS_TRY(ds_grow(&l->reference, &l->cap_references, l->n_references + 1, sizeof *l->reference,
		       err));
	l->reference[l->n_references++] = old;
	return DS_OK;
}

static enum ds_status choose_block(struct choice *c, size_t b, struct ds_err *err)
{
	struct ds_layout *l = c->l;
	const size_t from = l->n_references;

	c->n_shared = c->n_open = c->bytes = 0;
	count_shared(c, b);
	qsort(c->shared, c->n_shared, sizeof *c->shared, by_shared);
	for (size_t i = 0; i < c->n_shared && c->shared[i].n >= SHARED_MIN; i++)
		DS_TRY(try_piece(c, b, c->shared[i].old, err));
	for (size_t i = from, k = l->n_references; i + 1 < k; i++) {
		uint32_t swap = l->reference[--k];

		l->reference[k] = l->reference[i];
		l->reference[i] = swap;
	}
	return DS_OK;
}

enum ds_status ds_references_choose(struct ds_layout *l, const struct ds_history *h,
				    const struct ds_shingles *s, struct ds_err *err)
{
	struct choice c = {
		.l = l,
		.h = h,
		.s = s,
		.wanted = ds_alloc_zero(s->n, sizeof *c.wanted),
		.count = ds_alloc_zero(h->n, sizeof *c.count),
		.shared = ds_alloc(h->n, sizeof *c.shared),
	};
	enum ds_status st = DS_OK;

	if (!c.wanted || !c.count || !c.shared)
		st = ds_fail_nomem(err, s->n * sizeof *c.wanted);
	for (size_t b = 0; st == DS_OK && b < l->n_blocks; b++) {
		l->first_reference[b] = (uint32_t)l->n_references;
		if (b > 0 || !l->has_dictionary)
			st = choose_block(&c, b, err);
	}
	l->first_reference[l->n_blocks] = (uint32_t)l->n_references;
	free(c.wanted);
	free(c.count);
	free(c.shared);
	return st;
}

enum ds_status ds_references_text(const struct ds_layout *l, const struct ds_history *h, size_t b,
				  struct ds_buf *buf, struct ds_err *err)
{
	const uint32_t *place;
	size_t n = ds_references_of(l, b, &place);

	for (size_t i = 0; i < n; i++) {
		const struct ds_old_piece *p = &h->piece[place[i]];

		DS_TRY(ds_buf_append(buf, h->text.data + p->at, p->length, err));
	}
	return DS_OK;
}

void ds_references_drop(struct ds_layout *l, size_t b)
{
	if (l->first_reference[b] < l->first_reference[b + 1])
		l->reference[l->first_reference[b]] = UINT32_MAX;
}

size_t ds_references_of(const struct ds_layout *l, size_t b, const uint32_t **place_ret)
{
	const uint32_t *place = l->reference + l->first_reference[b];
	size_t n = l->first_reference[b + 1] - l->first_reference[b];

	*place_ret = place;
	return n && *place != UINT32_MAX ? n : 0;
}
