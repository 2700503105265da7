/*
 * similar.c - which pieces of a text are alike
 *
 * Shingles are chosen by their hash, so that the same text has the same ones everywhere (Manber,
 * Finding similar files in a large file system, 1994).  Pieces are ordered by joining the two that
 * are most alike, then the next two, and so on, each with the row of pieces that it stands in.
 */
#include "archive/similar.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/mem.h"

#define SHINGLE ((size_t)12)
#define SAMPLE_BITS 5
#define SHARED_MIN 2
#define NEAR_MAX 8  /* pieces a piece may be joined to */
#define LIST_MAX 48 /* in longer lists a piece looks at ASIDE before and after it */
#define ASIDE 8

/* Likeness that neighbours in the text are given, in 1/65536. */
#define NEIGHBOURS 10000

struct posting {
	uint32_t hash, piece;
};

static size_t add_shingles(const struct ds_piece *p, uint32_t piece, struct posting *out)
{
	const uint8_t *t = p->text;
	size_t n = 0;

	for (size_t i = 0; i + SHINGLE <= p->length; i++) {
		uint64_t h = ds_get_u64(t + i) * 0x9E3779B97F4A7C15u;

		h = (h ^ h >> 32 ^ ds_get_u32(t + i + 8)) * 0xD6E8FEB86659FD93u;
		if (h >> (64 - SAMPLE_BITS))
			continue;
		if (out)
			out[n] = (struct posting){(uint32_t)(h >> 16), piece};
		n++;
	}
	return n;
}

struct gathering {
	const struct ds_piece *piece;
	size_t n_pieces;
	size_t *start; /* [n_pieces + 1] of a piece's in posting[] */
	struct posting *posting;
	size_t n;
};

static void count_item(void *arg, size_t index, unsigned thread)
{
	struct gathering *c = arg;

	(void)thread;
	c->start[index + 1] = add_shingles(&c->piece[index], (uint32_t)index, NULL);
}

static void fill_item(void *arg, size_t index, unsigned thread)
{
	struct gathering *c = arg;

	(void)thread;
	add_shingles(&c->piece[index], (uint32_t)index, c->posting + c->start[index]);
}

/* By hash; pieces stay ascending.  Both arrays have n; the result is in a. */
static void sort_postings(struct posting *a, struct posting *b, size_t n)
{
	for (unsigned shift = 0; shift < 32; shift += 8) {
		size_t at[257] = {0};
		struct posting *swap = a;

		for (size_t i = 0; i < n; i++)
			at[(a[i].hash >> shift & 255) + 1]++;
		for (size_t i = 0; i < 256; i++)
			at[i + 1] += at[i];
		for (size_t i = 0; i < n; i++)
			b[at[a[i].hash >> shift & 255]++] = a[i];
		a = b;
		b = swap;
	}
}

/* All postings, sorted, with as much room again behind them. */
static enum ds_status gather(struct gathering *c, struct ds_pool *pool, struct ds_err *err)
{
	c->start = ds_alloc_zero(c->n_pieces + 1, sizeof *c->start);
	if (!c->start)
		return ds_fail_nomem(err, (c->n_pieces + 1) * sizeof *c->start);
	ds_pool_run(pool, c->n_pieces, count_item, c);
	for (size_t i = 0; i < c->n_pieces; i++)
		c->start[i + 1] += c->start[i];
	c->n = c->start[c->n_pieces];
	c->posting = ds_alloc(2 * c->n, sizeof *c->posting);
	if (c->posting) {
		ds_pool_run(pool, c->n_pieces, fill_item, c);
		sort_postings(c->posting, c->posting + c->n, c->n);
	}
	free(c->start);
	return c->posting ? DS_OK : ds_fail_nomem(err, 2 * c->n * sizeof *c->posting);
}

/* Drop what one piece has twice; count sizes. */
static size_t squeeze(struct posting *p, size_t n, uint32_t *size)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (k && p[k - 1].hash == p[i].hash && p[k - 1].piece == p[i].piece)
			continue;
		p[k++] = p[i];
		size[p[i].piece]++;
	}
	return k;
}

/* The postings of shingles in two pieces or more become lists both ways. */
static void link_lists(struct ds_shingles *s, const struct posting *p, size_t n)
{
	size_t used = 0;

	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && p[k].hash == p[i].hash; k++)
			;
		if (k - i < 2)
			continue;
		s->list[s->n++] = (uint32_t)used;
		for (size_t j = i; j < k; j++) {
			s->piece[used++] = p[j].piece;
			s->first[p[j].piece + 1]++;
		}
	}
	s->list[s->n] = (uint32_t)used;
	for (size_t i = 0; i < s->n_pieces; i++)
		s->first[i + 1] += s->first[i];
	for (size_t id = s->n; id-- > 0;)
		for (size_t j = s->list[id + 1]; j-- > s->list[id];)
			s->shingle[--s->first[s->piece[j] + 1]] = (uint32_t)id;
	/* now first[i + 1] is the start of piece i */
	memmove(s->first, s->first + 1, s->n_pieces * sizeof *s->first);
	s->first[s->n_pieces] = (uint32_t)used;
}

enum ds_status ds_shingles_find(struct ds_shingles *s_ret, const struct ds_piece *piece, size_t n,
				size_t n_own, struct ds_pool *pool, struct ds_err *err)
{
	struct ds_shingles s = {.n_own = n_own, .n_pieces = n};
	struct gathering c = {.piece = piece, .n_pieces = n};
	struct posting *p;
	size_t n_postings;

	DS_TRY(gather(&c, pool, err));
	p = c.posting;
	n_postings = c.n;
	s.size = ds_alloc_zero(n, sizeof *s.size);
	if (s.size)
		n_postings = squeeze(p, n_postings, s.size);
	s.first = ds_alloc_zero(n + 1, sizeof *s.first);
	s.shingle = ds_alloc(n_postings, sizeof *s.shingle);
	s.list = ds_alloc(n_postings / 2 + 1, sizeof *s.list);
	s.piece = ds_alloc(n_postings, sizeof *s.piece);
	if (!s.size || !s.first || !s.shingle || !s.list || !s.piece) {
		ds_shingles_fini(&s);
		free(p);
		return ds_fail_nomem(err, n_postings * sizeof *s.piece);
	}
	link_lists(&s, p, n_postings);
	free(p);
	*s_ret = s;
	return DS_OK;
}

void ds_shingles_fini(struct ds_shingles *s)
{
	free(s->first);
	free(s->shingle);
	free(s->list);
	free(s->piece);
	free(s->size);
	*s = (struct ds_shingles){0};
}

struct edge {
	uint32_t score, a, b;
};

/* The search of every piece for those most like it. */
struct near_search {
	const struct ds_shingles *s;
	uint32_t **shared; /* [threads][2 * n_own]: counts, then who has one */
	struct edge *edge; /* [n_own][NEAR_MAX] */
};

/* Put into the NEAR_MAX best of one piece, best first. */
static void keep_best(struct edge *best, struct edge e)
{
	size_t i = NEAR_MAX;

	if (best[NEAR_MAX - 1].score >= e.score)
		return;
	while (i > 1 && best[i - 2].score < e.score) {
		best[i - 1] = best[i - 2];
		i--;
	}
	best[i - 1] = e;
}

/* Where piece a stands in a list. */
static size_t place_in(const uint32_t *list, size_t n, uint32_t a)
{
	size_t low = 0;

	while (n > 1) {
		size_t half = n / 2;

		if (list[low + half] <= a)
			low += half;
		n -= half;
	}
	return low;
}

static void near_item(void *arg, size_t index, unsigned thread)
{
	struct near_search *f = arg;
	const struct ds_shingles *s = f->s;
	uint32_t *shared = f->shared[thread], *who = shared + s->n_own;
	struct edge *best = f->edge + index * NEAR_MAX;
	size_t n_who = 0;

	for (uint32_t i = s->first[index]; i < s->first[index + 1]; i++) {
		const uint32_t *list = s->piece + s->list[s->shingle[i]];
		size_t n = s->list[s->shingle[i] + 1] - s->list[s->shingle[i]], from = 0;

		if (ds_shingle_is_old(s, s->shingle[i]))
			n = place_in(list, n, (uint32_t)s->n_own - 1) + 1;
		if (n > LIST_MAX) {
			size_t at = place_in(list, n, (uint32_t)index);

			from = at > ASIDE ? at - ASIDE : 0;
			n = n - at > ASIDE ? at + ASIDE + 1 : n;
		}
		for (size_t k = from; k < n; k++)
			if (shared[list[k]]++ == 0)
				who[n_who++] = list[k];
	}
	for (size_t k = 0; k < n_who; k++) {
		uint32_t b = who[k], n = shared[b];

		shared[b] = 0;
		if (b == index || n < SHARED_MIN)
			continue;
		n = (uint32_t)(((uint64_t)n << 16) / (s->size[index] + s->size[b] - n));
		keep_best(best, (struct edge){n, (uint32_t)index, b});
	}
}

static int by_score(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return (x->b > y->b) - (x->b < y->b);
}

/* Rows of pieces that are joined end to end. */
struct rows {
	uint32_t *up;	/* towards the first of a row */
	uint32_t *next; /* in the row; UINT32_MAX: none */
	uint32_t *last; /* of a row, by its first */
};

static uint32_t row_of(const struct rows *r, uint32_t i)
{
	while (r->up[i] != i)
		i = r->up[i] = r->up[r->up[i]];
	return i;
}

static void join_rows(const struct rows *r, uint32_t a, uint32_t b)
{
	a = row_of(r, a);
	b = row_of(r, b);
	if (a == b)
		return;
	if (a > b) {
		uint32_t swap = a;

		a = b;
		b = swap;
	}
	r->next[r->last[a]] = b;
	r->last[a] = r->last[b];
	r->up[b] = a;
}

static void put_rows(const struct rows *r, size_t n, uint32_t *order)
{
	size_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (r->up[i] != i)
			continue;
		for (uint32_t p = i; p != UINT32_MAX; p = r->next[p])
			order[k++] = p;
	}
}

static enum ds_status join_all(struct edge *edge, size_t n_edges, size_t n, uint32_t *order,
			       struct ds_err *err)
{
	struct rows r = {
		.up = ds_alloc(n, sizeof *r.up),
		.next = ds_alloc(n, sizeof *r.next),
		.last = ds_alloc(n, sizeof *r.last),
	};
	enum ds_status st = DS_OK;

	if (r.up && r.next && r.last) {
		for (uint32_t i = 0; i < n; i++) {
			r.up[i] = r.last[i] = i;
			r.next[i] = UINT32_MAX;
		}
		qsort(edge, n_edges, sizeof *edge, by_score);
		for (size_t i = 0; i < n_edges && edge[i].score; i++)
			join_rows(&r, edge[i].a, edge[i].b);
		put_rows(&r, n, order);
	} else {
		st = ds_fail_nomem(err, 3 * n * sizeof *r.up);
	}
	free(r.up);
	free(r.next);
	free(r.last);
	return st;
}

enum ds_status ds_similar_order(const struct ds_shingles *s, struct ds_pool *pool,
				uint32_t *order_ret, struct ds_err *err)
{
	const size_t n = s->n_own;
	const unsigned threads = ds_pool_threads(pool);
	struct near_search f = {.s = s};
	enum ds_status st = DS_OK;

	f.edge = ds_alloc_zero(n * (NEAR_MAX + 1), sizeof *f.edge);
	f.shared = ds_alloc_zero(threads, sizeof *f.shared);
	if (!f.edge || !f.shared)
		st = ds_fail_nomem(err, n * (NEAR_MAX + 1) * sizeof *f.edge);
	for (unsigned i = 0; st == DS_OK && i < threads; i++) {
		f.shared[i] = ds_alloc_zero(2 * n, sizeof **f.shared);
		if (!f.shared[i])
			st = ds_fail_nomem(err, 2 * n * sizeof **f.shared);
	}
	if (st == DS_OK) {
		ds_pool_run(pool, n, near_item, &f);
		for (size_t i = 1; i < n; i++)
			f.edge[n * NEAR_MAX + i] =
				(struct edge){NEIGHBOURS, (uint32_t)i - 1, (uint32_t)i};
		st = join_all(f.edge, n * (NEAR_MAX + 1), n, order_ret, err);
	}
	for (unsigned i = 0; f.shared && i < threads; i++)
		free(f.shared[i]);
	free(f.shared);
	free(f.edge);
	return st;
}
