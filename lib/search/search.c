/* search.c - candidates by meaning and by words, and their fusion */
#include "search/search.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * The fused score is a weighted mean of the cosine and the share of BM25.  The weight is what
 * served best both on manual pages (scripts/bench-retrieval) and on questions with marked answers.
 */
#define MEANING_WEIGHT 0.2f

struct scores {
	float *meaning, *words; /* [n_passages] of the current segment */
	size_t cap;
};

/* A heap of the best hits by one criterion, the worst on top. */
struct heap {
	struct ds_search_hit *hit; /* [cap] */
	size_t n, cap;
};

static int before(const struct ds_search_hit *a, const struct ds_search_hit *b)
{
	if (a->score != b->score)
		return a->score > b->score;
	if (a->segment != b->segment)
		return a->segment < b->segment;
	return a->passage < b->passage;
}

static void sift_down(struct heap *h, size_t i)
{
	for (;;) {
		size_t worst = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < h->n; child++)
			if (before(&h->hit[worst], &h->hit[child]))
				worst = child;
		if (worst == i)
			return;
		struct ds_search_hit swap = h->hit[i];

		h->hit[i] = h->hit[worst];
		h->hit[worst] = swap;
		i = worst;
	}
}

static void offer(struct heap *h, const struct ds_search_hit *hit)
{
	size_t i;

	if (h->n == h->cap) {
		if (h->cap == 0 || !before(hit, &h->hit[0]))
			return;
		h->hit[0] = *hit;
		sift_down(h, 0);
		return;
	}
	i = h->n++;
	h->hit[i] = *hit;
	while (i > 0 && before(&h->hit[(i - 1) / 2], &h->hit[i])) {
		struct ds_search_hit swap = h->hit[i];

		h->hit[i] = h->hit[(i - 1) / 2];
		h->hit[(i - 1) / 2] = swap;
		i = (i - 1) / 2;
	}
}

static void offer_as(struct heap *h, const struct ds_search_hit *hit, float score)
{
	struct ds_search_hit scored = *hit;

	scored.score = score;
	offer(h, &scored);
}

static enum ds_status scores_reserve(struct scores *s, size_t n, struct ds_err *err)
{
	size_t cap = s->cap;

	DS_TRY(ds_grow(&s->meaning, &cap, n, sizeof *s->meaning, err));
	DS_TRY(ds_grow(&s->words, &s->cap, n, sizeof *s->words, err));
	if (n == 0)
		return DS_OK; /* the arrays may be NULL */
	memset(s->meaning, 0, n * sizeof *s->meaning);
	memset(s->words, 0, n * sizeof *s->words);
	return DS_OK;
}

static enum ds_status score_segment(const struct ds_search_segment *segment,
				    const struct ds_search_query *query,
				    const struct ds_words_query *words, struct scores *s,
				    struct ds_err *err)
{
	DS_TRY(scores_reserve(s, segment->n_passages, err));
	if (query->mode != DS_SEARCH_WORDS && segment->vectors)
		DS_TRY(ds_vectors_score(segment->vectors, query->kern, query->vector, s->meaning,
					err));
	if (query->mode != DS_SEARCH_MEANING && segment->words)
		return ds_words_score(words, segment->words, s->words, err);
	return DS_OK;
}

/* heaps: by meaning, by words */
static enum ds_status scan(const struct ds_search_collection *all,
			   const struct ds_search_query *query,
			   const struct ds_words_query *words, struct heap heaps[2],
			   struct ds_err *err)
{
	enum ds_status st = DS_OK;
	struct scores s = {0};

	for (size_t i = 0; i < all->n && st == DS_OK; i++) {
		const struct ds_search_segment *segment = &all->segment[i];

		st = score_segment(segment, query, words, &s, err);
		for (uint32_t p = 0; st == DS_OK && p < segment->n_passages; p++) {
			struct ds_search_hit hit = {.segment = (uint32_t)i,
						    .passage = p,
						    .meaning = s.meaning[p],
						    .words = s.words[p]};

			if (query->mode != DS_SEARCH_WORDS && segment->vectors)
				offer_as(&heaps[0], &hit, hit.meaning);
			if (hit.words > 0)
				offer_as(&heaps[1], &hit, hit.words);
		}
	}
	free(s.meaning);
	free(s.words);
	return st;
}

static int compare_hits(const void *a, const void *b)
{
	return before(b, a) - before(a, b);
}

static int compare_places(const void *a, const void *b)
{
	const struct ds_search_hit *x = a, *y = b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return (x->passage > y->passage) - (x->passage < y->passage);
}

void ds_search_rank(enum ds_search_mode mode, struct ds_search_hits *hits)
{
	size_t n = 0;

	for (size_t i = 0; i < hits->n; i++)
		if (mode != DS_SEARCH_WORDS || hits->hit[i].words > 0)
			hits->hit[n++] = hits->hit[i];
	hits->n = n;
	for (size_t i = 0; i < hits->n; i++) {
		struct ds_search_hit *h = &hits->hit[i];

		h->score = mode == DS_SEARCH_MEANING ? h->meaning
			   : mode == DS_SEARCH_WORDS ? h->words
						     : MEANING_WEIGHT * h->meaning +
							       (1 - MEANING_WEIGHT) * h->words;
	}
	if (hits->n)
		qsort(hits->hit, hits->n, sizeof *hits->hit, compare_hits);
}

/* Both heaps into hits, without the passages that are in both. */
static void unite(struct ds_search_hits *hits, const struct heap heaps[2])
{
	size_t n = 0;

	hits->n = 0;
	for (int h = 0; h < 2; h++) {
		if (heaps[h].n)
			memcpy(hits->hit + hits->n, heaps[h].hit, heaps[h].n * sizeof *hits->hit);
		hits->n += heaps[h].n;
	}
	if (hits->n)
		qsort(hits->hit, hits->n, sizeof *hits->hit, compare_places);
	for (size_t i = 0; i < hits->n; i++)
		if (n == 0 || compare_places(&hits->hit[n - 1], &hits->hit[i]) != 0)
			hits->hit[n++] = hits->hit[i];
	hits->n = n;
}

enum ds_status ds_search_words(const struct ds_search_collection *all,
			       const struct ds_search_query *query, struct ds_words_query *words,
			       struct ds_err *err)
{
	DS_TRY(ds_words_query_init(words, query->text, query->text_len, err));
	for (size_t i = 0; i < all->n; i++)
		if (all->segment[i].words)
			DS_TRY(ds_words_query_count(words, all->segment[i].words, err));
	ds_words_query_weigh(words);
	return DS_OK;
}

/* Heaps by meaning and by words, and room for the union. */
static enum ds_status heaps_init(struct heap heaps[2], struct ds_search_want want,
				 struct ds_search_hits *hits, struct ds_err *err)
{
	const size_t all = want.meaning + want.words;

	heaps[0] = (struct heap){.hit = ds_alloc(all, sizeof *heaps[0].hit), .cap = want.meaning};
	heaps[1] = (struct heap){.cap = want.words};
	if (!heaps[0].hit)
		return ds_fail_nomem(err, all * sizeof *heaps[0].hit);
	heaps[1].hit = heaps[0].hit + want.meaning;
	return ds_grow(&hits->hit, &hits->cap, all, sizeof *hits->hit, err);
}

enum ds_status ds_search(const struct ds_search_collection *all,
			 const struct ds_search_query *query, const struct ds_words_query *words,
			 struct ds_search_want want, struct ds_search_hits *hits,
			 struct ds_err *err)
{
	struct heap heaps[2];
	enum ds_status st = heaps_init(heaps, want, hits, err);

	hits->n = 0;
	if (st == DS_OK)
		st = scan(all, query, words, heaps, err);
	if (st == DS_OK)
		unite(hits, heaps);
	free(heaps[0].hit);
	return st;
}

enum ds_status ds_search_cut(enum ds_search_mode mode, struct ds_search_want want,
			     struct ds_search_hits *hits, struct ds_err *err)
{
	struct heap heaps[2];
	enum ds_status st = heaps_init(heaps, want, hits, err);

	for (size_t i = 0; st == DS_OK && i < hits->n; i++) {
		const struct ds_search_hit *hit = &hits->hit[i];

		if (mode != DS_SEARCH_WORDS)
			offer_as(&heaps[0], hit, hit->meaning);
		if (hit->words > 0)
			offer_as(&heaps[1], hit, hit->words);
	}
	if (st == DS_OK)
		unite(hits, heaps);
	free(heaps[0].hit);
	return st;
}

void ds_search_hits_fini(struct ds_search_hits *hits)
{
	free(hits->hit);
	*hits = (struct ds_search_hits){0};
}
