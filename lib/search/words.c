/* words.c - the index of words: building, reading, BM25 */
#include "search/words.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

#define WORDS_VERSION 1
#define WORDS_HEAD_BYTES 32
#define GROUP_TERMS 32 /* lists between two directory entries: a look-up walks half of them */
#define BM25_K1 1.2
#define BM25_B 0.75

struct ds_posting {
	uint32_t hash, passage, count;
};

static int compare_hash(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Sort and count: hash[0..n) becomes its distinct values, their counts in count. */
static enum ds_status add_postings(struct ds_words_builder *b, struct ds_err *err)
{
	struct ds_terms *t = &b->scratch;

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
	return DS_OK;
}

void ds_words_truncate(struct ds_words_builder *b, size_t n)
{
	if (n < b->n_passages)
		b->n_passages = n;
	while (b->n && b->posting[b->n - 1].passage >= b->n_passages)
		b->n--;
}

void ds_words_builder_fini(struct ds_words_builder *b)
{
	ds_terms_fini(&b->scratch);
	free(b->posting);
	free(b->length);
	*b = (struct ds_words_builder){0};
}

/* Stable radix sort by hash: postings of a term stay in order of passages. */
static enum ds_status sort_postings(struct ds_words_builder *b, struct ds_err *err)
{
	struct ds_posting *other = ds_alloc(b->n, sizeof *other);

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
	b->cap = b->n; /* the arrays may have changed places */
	free(other);
	return DS_OK;
}

static size_t put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

/*
 * One list: the hash's difference from the one before in its group (0 for the first), the number of
 * passages - 1, then for each the difference of passages - 1, shifted left; bit 0 says that the
 * count is more than 1 and follows, less 2.
 */
static enum ds_status put_list(struct ds_buf *buf, const struct ds_posting *list, size_t n,
			       uint32_t before, struct ds_err *err)
{
	uint32_t next = 0;
	uint8_t *p;

	DS_TRY(ds_buf_reserve(buf, 20 + 15 * n, err));
	p = buf->data + buf->len;
	p += put_varint(p, list[0].hash - before);
	p += put_varint(p, n - 1);
	for (size_t i = 0; i < n; i++) {
		int many = list[i].count > 1;

		p += put_varint(p, (uint64_t)(list[i].passage - next) << 1 | (unsigned)many);
		if (many)
			p += put_varint(p, list[i].count - 2);
		next = list[i].passage + 1;
	}
	buf->len = (size_t)(p - buf->data);
	return DS_OK;
}

static enum ds_status put_lists(const struct ds_words_builder *b, struct ds_buf *directory,
				struct ds_buf *lists, uint32_t *n_terms_ret, struct ds_err *err)
{
	uint32_t n_terms = 0, before = 0;

	for (size_t i = 0; i < b->n;) {
		size_t j = i + 1;

		while (j < b->n && b->posting[j].hash == b->posting[i].hash)
			j++;
		if (n_terms++ % GROUP_TERMS == 0) {
			uint32_t entry[2] = {b->posting[i].hash, (uint32_t)lists->len};

			if (lists->len > UINT32_MAX)
				return ds_fail(err, DS_ELIMIT, "word index over 4 GiB");
			DS_TRY(ds_buf_append(directory, entry, sizeof entry, err));
			before = b->posting[i].hash;
		}
		DS_TRY(put_list(lists, b->posting + i, j - i, before, err));
		before = b->posting[i].hash;
		i = j;
	}
	*n_terms_ret = n_terms;
	return DS_OK;
}

static enum ds_status put_lengths(const struct ds_words_builder *b, struct ds_buf *buf,
				  struct ds_err *err)
{
	DS_TRY(ds_buf_reserve(buf, 2 * b->n_passages + 8, err));
	for (size_t i = 0; i < b->n_passages; i++) {
		uint32_t v = b->length[i] < UINT16_MAX ? b->length[i] : UINT16_MAX;

		ds_put_u16(buf->data + buf->len, (uint16_t)v);
		buf->len += 2;
	}
	return DS_OK;
}

static enum ds_status write_index(struct ds_words_builder *b, struct ds_buf *directory,
				  struct ds_buf *lists, struct ds_buf *buf, struct ds_err *err)
{
	uint8_t head[WORDS_HEAD_BYTES] = {WORDS_VERSION};
	uint64_t total = 0;
	uint32_t n_terms = 0;

	DS_TRY(sort_postings(b, err));
	DS_TRY(put_lists(b, directory, lists, &n_terms, err));
	for (size_t i = 0; i < b->n_passages; i++)
		total += b->length[i];
	ds_put_u32(head + 4, (uint32_t)b->n_passages);
	ds_put_u32(head + 8, n_terms);
	ds_put_u32(head + 12, (uint32_t)(directory->len / 8));
	ds_put_u64(head + 16, total);
	ds_put_u64(head + 24, lists->len);
	DS_TRY(ds_buf_append(buf, head, sizeof head, err));
	DS_TRY(ds_buf_append(buf, directory->data, directory->len, err));
	DS_TRY(put_lengths(b, buf, err));
	return ds_buf_append(buf, lists->data, lists->len, err);
}

enum ds_status ds_words_write(struct ds_words_builder *b, struct ds_buf *buf, struct ds_err *err)
{
	struct ds_buf directory = {0}, lists = {0};
	enum ds_status st = write_index(b, &directory, &lists, buf, err);

	ds_buf_fini(&directory);
	ds_buf_fini(&lists);
	b->n = b->n_passages = 0;
	return st;
}

enum ds_status ds_words_open(struct ds_words *w, const void *bytes, size_t n, struct ds_err *err)
{
	const uint8_t *p = bytes;
	uint64_t want;

	*w = (struct ds_words){0};
	if (n < WORDS_HEAD_BYTES)
		return ds_fail(err, DS_ETRUNCATED, "word index of %zu bytes, at least %d expected",
			       n, WORDS_HEAD_BYTES);
	if (p[0] != WORDS_VERSION)
		return ds_fail(err, DS_EUNSUPPORTED, "word index of version %u, %u expected", p[0],
			       WORDS_VERSION);
	w->n_passages = ds_get_u32(p + 4);
	w->n_terms = ds_get_u32(p + 8);
	w->n_groups = ds_get_u32(p + 12);
	w->total_terms = ds_get_u64(p + 16);
	w->lists_len = ds_get_u64(p + 24);
	want = WORDS_HEAD_BYTES + 8 * (uint64_t)w->n_groups + 2 * (uint64_t)w->n_passages;
	if (want > n || w->lists_len != n - want ||
	    w->n_groups != (w->n_terms + (uint64_t)GROUP_TERMS - 1) / GROUP_TERMS)
		return ds_fail(err, DS_EFORMAT, "word index of %zu bytes does not add up", n);
	w->directory = p + WORDS_HEAD_BYTES;
	w->length = w->directory + 8 * (size_t)w->n_groups;
	w->lists = w->length + 2 * (size_t)w->n_passages;
	return DS_OK;
}

static enum ds_status get_varint(struct ds_cursor *cur, uint64_t *v_ret)
{
	uint64_t v = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 42; shift += 7) {
		DS_TRY(ds_cursor_u8(cur, &byte));
		v |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80) {
			*v_ret = v;
			return DS_OK;
		}
	}
	return ds_cursor_fail(cur, DS_EFORMAT, "word index: number too long");
}

/* The group whose terms may include hash, by binary search; -1 when it is before the first. */
static int64_t find_group(const struct ds_words *w, uint32_t hash)
{
	int64_t low = 0, high = (int64_t)w->n_groups - 1;

	while (low <= high) {
		int64_t mid = (low + high) / 2;

		if (ds_get_u32(w->directory + 8 * mid) <= hash)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return high;
}

static enum ds_status skip_list(struct ds_cursor *cur, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v;

		DS_TRY(get_varint(cur, &v));
		if (v & 1)
			DS_TRY(get_varint(cur, &v));
	}
	return DS_OK;
}

/* Put cur on the list of hash and its length in *n_ret, 0 when there is none. */
static enum ds_status find_list(const struct ds_words *w, uint32_t hash, struct ds_cursor *cur,
				uint64_t *n_ret)
{
	int64_t group = find_group(w, hash);
	uint64_t terms, at;
	uint32_t offset;

	*n_ret = 0;
	if (group < 0)
		return DS_OK;
	at = ds_get_u32(w->directory + 8 * group);
	offset = ds_get_u32(w->directory + 8 * group + 4);
	if (offset > w->lists_len)
		return ds_cursor_fail(cur, DS_EFORMAT, "word index: offset %u of %zu bytes", offset,
				      w->lists_len);
	cur->pos = offset;
	terms = w->n_terms - (uint64_t)group * GROUP_TERMS;
	for (uint64_t i = 0; i < terms && i < GROUP_TERMS; i++) {
		uint64_t delta, n;

		DS_TRY(get_varint(cur, &delta));
		DS_TRY(get_varint(cur, &n));
		at += delta;
		if (++n > w->n_passages)
			return ds_cursor_fail(cur, DS_EFORMAT, "word index: list of %llu passages",
					      (unsigned long long)n);
		if (at == hash)
			*n_ret = n;
		if (at >= hash)
			return DS_OK;
		DS_TRY(skip_list(cur, n));
	}
	return DS_OK;
}

static void list_cursor(struct ds_cursor *cur, const struct ds_words *w, struct ds_err *err)
{
	ds_cursor_init(cur, w->lists, w->lists_len, err);
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
	struct ds_cursor cur;

	list_cursor(&cur, w, err);
	for (size_t i = 0; i < q->n; i++) {
		uint64_t n;

		DS_TRY(find_list(w, q->hash[i], &cur, &n));
		q->found[i] += n;
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

		q->weight[i] = log(1 + (all - with + 0.5) / (with + 0.5));
		q->best += q->weight[i] * (BM25_K1 + 1);
	}
}

static enum ds_status score_list(const struct ds_words *w, struct ds_cursor *cur, uint64_t n,
				 const double weight_mean[2], float *score)
{
	uint64_t passage = 0;

	for (uint64_t i = 0; i < n; i++, passage++) {
		uint64_t v, count = 1;
		double length, tf;

		DS_TRY(get_varint(cur, &v));
		if (v & 1) {
			DS_TRY(get_varint(cur, &count));
			count += 2;
		}
		passage += v >> 1;
		if (passage >= w->n_passages)
			return ds_cursor_fail(cur, DS_EFORMAT, "word index: passage %llu of %u",
					      (unsigned long long)passage, w->n_passages);
		length = ds_get_u16(w->length + 2 * passage);
		tf = (double)count;
		score[passage] += (float)(weight_mean[0] * tf * (BM25_K1 + 1) /
					  (tf + BM25_K1 * (1 - BM25_B +
							   BM25_B * length / weight_mean[1])));
	}
	return DS_OK;
}

enum ds_status ds_words_score(const struct ds_words_query *q, const struct ds_words *w,
			      float *score, struct ds_err *err)
{
	double mean = q->total_terms ? (double)q->total_terms / (double)q->passages : 1;
	struct ds_cursor cur;

	list_cursor(&cur, w, err);
	for (size_t i = 0; i < q->n; i++) {
		double weight_mean[2] = {q->weight[i], mean};
		uint64_t n;

		DS_TRY(find_list(w, q->hash[i], &cur, &n));
		DS_TRY(score_list(w, &cur, n, weight_mean, score));
	}
	return DS_OK;
}

void ds_words_query_fini(struct ds_words_query *q)
{
	free(q->hash);
	free(q->found);
	free(q->weight);
	*q = (struct ds_words_query){0};
}
