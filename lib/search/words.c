/* words.c - words of passages in memory, BM25 */
#include "search/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"

#define BM25_K1 1.2
#define BM25_B 0.75

static int compare_hash(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Sort and count: hash[0..n) becomes its distinct values, their counts in count. */
static enum ds_status add_postings(struct ds_words_builder *b, struct ds_err *err)
{
	struct ds_terms *t = &b->scratch;

	if (t->n)
		qsort(t->hash, t->n, sizeof *t->hash, compare_hash);
	DS_TRY(ds_grow(&b->posting, &b->cap, b->n + t->n, sizeof *b->posting, err));
	for (size_t i = 0; i < t->n;) {
		size_t j = i + 1;

		while (j < t->n && t->hash[j] == t->hash[i])
			j++;
		b->posting[b->n++] = (struct ds_posting){.hash = t->hash[i],
							 .passage = (uint32_t)b->n_passages,
							 .count = (uint32_t)(j - i)};
		i = j;
	}
	return DS_OK;
}

enum ds_status ds_words_add(struct ds_words_builder *b, const void *text, size_t n,
			    struct ds_err *err)
{
	b->scratch.n = 0;
	DS_TRY(ds_terms_split(&b->scratch, text, n, err));
	DS_TRY(ds_grow(&b->length, &b->cap_length, b->n_passages + 1, sizeof *b->length, err));
	DS_TRY(add_postings(b, err));
	b->length[b->n_passages++] = (uint32_t)b->scratch.n;
	b->bytes += n;
	return DS_OK;
}

void ds_words_truncate(struct ds_words_builder *b, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->posting[i].passage < n)
			b->posting[kept++] = b->posting[i];
	b->n = kept;
	b->sorted = 0;
	b->n_passages = n < b->n_passages ? n : b->n_passages;
	b->bytes = n ? b->bytes : 0;
}

void ds_words_builder_fini(struct ds_words_builder *b)
{
	ds_terms_fini(&b->scratch);
	free(b->posting);
	free(b->length);
	*b = (struct ds_words_builder){0};
}

/* Stable radix sort by hash: postings of a term stay in order of passages. */
enum ds_status ds_words_sort(struct ds_words_builder *b, struct ds_err *err)
{
	struct ds_posting *other;

	if (b->sorted == b->n)
		return DS_OK;
	other = ds_alloc(b->n, sizeof *other);
	if (!other)
		return ds_fail_nomem(err, (uint64_t)b->n * sizeof *other);
	for (unsigned shift = 0; shift < 32; shift += 8) {
		size_t start[257] = {0};
		struct ds_posting *swap;

		for (size_t i = 0; i < b->n; i++)
			start[(b->posting[i].hash >> shift & 0xFF) + 1]++;
		for (size_t i = 0; i < 256; i++)
			start[i + 1] += start[i];
		for (size_t i = 0; i < b->n; i++)
			other[start[b->posting[i].hash >> shift & 0xFF]++] = b->posting[i];
		swap = b->posting;
		b->posting = other;
		other = swap;
	}
	b->cap = b->sorted = b->n; /* the arrays may have changed places */
	free(other);
	return DS_OK;
}

enum ds_status ds_words_see(struct ds_words *w, struct ds_words_builder *b, struct ds_err *err)
{
	DS_TRY(ds_words_sort(b, err));
	*w = (struct ds_words){.n_passages = (uint32_t)b->n_passages,
			       .posting = b->posting,
			       .n_posting = b->n,
			       .length = b->length,
			       .group = 1};
	for (size_t i = 0; i < b->n_passages; i++)
		w->total_terms += b->length[i];
	return DS_OK;
}

/* The postings of a term in memory. */
static const struct ds_posting *find_postings(const struct ds_words *w, uint32_t hash,
					      size_t *n_ret)
{
	size_t low = 0, high = w->n_posting;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (w->posting[mid].hash < hash)
			low = mid + 1;
		else
			high = mid;
	}
	while (high < w->n_posting && w->posting[high].hash == hash)
		high++;
	*n_ret = high - low;
	return w->posting + low;
}

enum ds_status ds_words_query_init(struct ds_words_query *q, const void *text, size_t n,
				   struct ds_err *err)
{
	struct ds_terms terms = {0};
	enum ds_status st = ds_terms_split(&terms, text, n, err);

	*q = (struct ds_words_query){0};
	if (st != DS_OK) {
		ds_terms_fini(&terms);
		return st;
	}
	if (terms.n)
		qsort(terms.hash, terms.n, sizeof *terms.hash, compare_hash);
	q->hash = terms.hash;
	for (size_t i = 0; i < terms.n; i++)
		if (i == 0 || terms.hash[i] != terms.hash[i - 1])
			q->hash[q->n++] = terms.hash[i];
	q->found = ds_alloc_zero(q->n, sizeof *q->found);
	q->weight = ds_alloc_zero(q->n, sizeof *q->weight);
	if (!q->found || !q->weight) {
		ds_words_query_fini(q);
		return ds_fail_nomem(err, q->n * sizeof *q->weight);
	}
	return DS_OK;
}

enum ds_status ds_words_query_count(struct ds_words_query *q, const struct ds_words *w,
				    struct ds_err *err)
{
	for (size_t i = 0; i < q->n; i++) {
		uint64_t passages;
		uint32_t unused;
		size_t n;

		if (!w->runs) {
			find_postings(w, q->hash[i], &n);
			q->found[i] += n;
		} else {
			DS_TRY(ds_words_find(w, q->hash[i], NULL, &unused, &passages, err));
			q->found[i] += passages;
		}
	}
	q->passages += w->n_passages;
	q->total_terms += w->total_terms;
	return DS_OK;
}

void ds_words_query_weigh(struct ds_words_query *q)
{
	q->best = 0;
	for (size_t i = 0; i < q->n; i++) {
		double with = (double)q->found[i], all = (double)q->passages;

		q->weight[i] = ds_log(1 + (all - with + 0.5) / (with + 0.5));
		q->best += q->weight[i] * (BM25_K1 + 1);
	}
}

/* What a term adds, as a share of the best score; tf: its count in a passage of length terms. */
static float add_term(const struct ds_words_query *q, size_t term, double tf, double length)
{
	double mean = q->total_terms ? (double)q->total_terms / (double)q->passages : 1;

	if (!(q->best > 0))
		return 0;
	return (float)(q->weight[term] * tf * (BM25_K1 + 1) /
		       (tf + BM25_K1 * (1 - BM25_B + BM25_B * length / mean)) / q->best);
}

static enum ds_status score_groups(const struct ds_words_query *q, const struct ds_words *w,
				   uint32_t *groups, float *score, struct ds_err *err)
{
	for (size_t i = 0; i < q->n; i++) {
		float share = q->best > 0 ? (float)(q->weight[i] / q->best) : 0;
		uint64_t passages;
		uint32_t n;

		DS_TRY(ds_words_find(w, q->hash[i], groups, &n, &passages, err));
		for (uint32_t k = 0; k < n; k++) {
			uint32_t first = groups[k] * w->group;

			for (uint32_t p = first; p < w->n_passages && p - first < w->group; p++)
				score[p] += share;
		}
	}
	return DS_OK;
}

enum ds_status ds_words_score(const struct ds_words_query *q, const struct ds_words *w,
			      float *score, struct ds_err *err)
{
	uint32_t *groups;
	enum ds_status st;

	if (w->runs) {
		groups = ds_alloc((size_t)w->n_passages + 1, sizeof *groups);
		st = groups ? score_groups(q, w, groups, score, err)
			    : ds_fail_nomem(err, w->n_passages * sizeof *groups);
		free(groups);
		return st;
	}
	for (size_t i = 0; i < q->n; i++) {
		const struct ds_posting *p;
		size_t n;

		p = find_postings(w, q->hash[i], &n);
		for (size_t k = 0; k < n; k++)
			score[p[k].passage] += add_term(q, i, p[k].count, w->length[p[k].passage]);
	}
	return DS_OK;
}

enum ds_status ds_words_score_text(struct ds_words_query *q, const void *text, size_t n,
				   float *score_ret, struct ds_err *err)
{
	struct ds_terms *terms = &q->scratch;
	float score = 0;

	terms->n = 0;
	DS_TRY(ds_terms_split(terms, text, n, err));
	for (size_t i = 0; i < q->n; i++) {
		uint32_t tf = 0;

		for (size_t k = 0; k < terms->n; k++)
			tf += terms->hash[k] == q->hash[i];
		if (tf)
			score += add_term(q, i, tf, (double)terms->n);
	}
	*score_ret = score;
	return DS_OK;
}

void ds_words_query_fini(struct ds_words_query *q)
{
	free(q->hash);
	free(q->found);
	free(q->weight);
	ds_terms_fini(&q->scratch);
	*q = (struct ds_words_query){0};
}
