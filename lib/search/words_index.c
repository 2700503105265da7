/* words_index.c - the index of words: which terms groups of passages have, in few bits */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "search/words.h"

#define INDEX_VERSION 2
#define INDEX_HEAD_BYTES 24
#define RUN_TERMS 64 /* between two places where reading can begin */
#define SPARE_BITS 8 /* of a hash beyond those that tell all terms apart */
#define PASSAGES_MAX ((uint32_t)1 << 20)

/* Bits, the lowest of a byte first. */
struct bit_writer {
	struct ds_buf *buf;
	uint64_t bits;
	unsigned n;
	enum ds_status st;
	struct ds_err *err;
};

static void put_bits(struct bit_writer *b, uint32_t value, unsigned n)
{
	b->bits |= (uint64_t)value << b->n;
	b->n += n;
	for (; b->n >= 8; b->n -= 8, b->bits >>= 8) {
		uint8_t byte = (uint8_t)b->bits;

		if (b->st == DS_OK)
			b->st = ds_buf_append(b->buf, &byte, 1, b->err);
	}
}

static enum ds_status end_bits(struct bit_writer *b)
{
	if (b->n)
		put_bits(b, 0, 8 - b->n);
	return b->st;
}

/* The least k with n <= 2^k. */
static unsigned width(uint64_t n)
{
	return n > 1 ? 64 - (unsigned)__builtin_clzll(n - 1) : 0;
}

static void put_gamma(struct bit_writer *b, uint32_t value)
{
	unsigned k = 31 - (unsigned)__builtin_clz(value);

	put_bits(b, 0, k);
	put_bits(b, 1, 1);
	put_bits(b, value & (uint32_t)(((uint64_t)1 << k) - 1), k);
}

/* x of w possible ones, w > 1. */
static void put_one_of(struct bit_writer *b, uint32_t x, uint64_t w)
{
	unsigned k = width(w);
	uint64_t u = ((uint64_t)1 << k) - w;

	if (x < u) {
		put_bits(b, x, k - 1);
	} else {
		put_bits(b, (uint32_t)((x + u) >> 1), k - 1);
		put_bits(b, (uint32_t)((x + u) & 1), 1);
	}
}

static void put_set(struct bit_writer *b, const uint32_t *set, uint32_t n, uint64_t low,
		    uint64_t end)
{
	uint32_t i = n / 2;

	if (n == 0 || n == end - low)
		return;
	put_one_of(b, (uint32_t)(set[i] - low - i), end - low - n + 1);
	put_set(b, set, i, low, set[i]);
	put_set(b, set + i + 1, n - i - 1, (uint64_t)set[i] + 1, end);
}

/* A term of the index while it is written: where its groups lie. */
struct term {
	uint32_t hash, n_groups, passages;
	size_t first; /* in groups */
};

struct index {
	struct term *term; /* [n] */
	size_t n, cap;
	uint32_t *group;
	size_t n_group, cap_group;
	unsigned hash_bits;
	uint32_t passages_of_group, n_groups;
	struct ds_buf runs, lists;
};

static size_t count_terms(const struct ds_words_builder *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += i == 0 || b->posting[i].hash != b->posting[i - 1].hash;
	return n;
}

/* Groups in order and without repetition: with shortened hashes, lists of two terms may be one. */
static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t make_set(uint32_t *v, size_t n)
{
	uint32_t kept = 0;

	qsort(v, n, sizeof *v, compare_u32);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[i - 1])
			v[kept++] = v[i];
	return kept;
}

/* Postings [i, j) are of one term. */
static enum ds_status add_term(struct index *x, const struct ds_words_builder *b, size_t i,
			       size_t j, struct ds_err *err)
{
	struct term *t;
	uint32_t *v;

	DS_TRY(ds_grow(&x->term, &x->cap, x->n + 1, sizeof *x->term, err));
	DS_TRY(ds_grow(&x->group, &x->cap_group, x->n_group + (j - i), sizeof *x->group, err));
	v = x->group + x->n_group;
	for (size_t k = i; k < j; k++)
		v[k - i] = b->posting[k].passage;
	t = &x->term[x->n++];
	t->hash = b->posting[i].hash >> (32 - x->hash_bits);
	t->first = x->n_group;
	t->passages = make_set(v, j - i);
	for (uint32_t k = 0; k < t->passages; k++)
		v[k] /= x->passages_of_group;
	t->n_groups = make_set(v, t->passages);
	x->n_group += t->n_groups;
	return DS_OK;
}

static enum ds_status collect(struct index *x, const struct ds_words_builder *b,
			      struct ds_err *err)
{
	for (size_t i = 0, j; i < b->n; i = j) {
		unsigned shift = 32 - x->hash_bits;

		for (j = i + 1; j < b->n; j++)
			if (b->posting[j].hash >> shift != b->posting[i].hash >> shift)
				break;
		DS_TRY(add_term(x, b, i, j, err));
	}
	return DS_OK;
}

static enum ds_status put_run(struct index *x, const struct term *t, size_t n, uint64_t end,
			      struct ds_err *err)
{
	struct bit_writer b = {.buf = &x->lists, .err = err};
	uint32_t entry[2] = {t[0].hash, (uint32_t)x->lists.len}, hash[RUN_TERMS];

	if (x->lists.len > UINT32_MAX)
		return ds_fail(err, DS_ELIMIT, "word index over 4 GiB");
	DS_TRY(ds_buf_append(&x->runs, entry, sizeof entry, err));
	for (size_t i = 1; i < n; i++)
		hash[i - 1] = t[i].hash;
	put_set(&b, hash, (uint32_t)n - 1, (uint64_t)t[0].hash + 1, end);
	for (size_t i = 0; i < n; i++) {
		put_gamma(&b, t[i].n_groups);
		put_gamma(&b, t[i].passages - t[i].n_groups + 1);
	}
	for (size_t i = 0; i < n; i++)
		put_set(&b, x->group + t[i].first, t[i].n_groups, 0, x->n_groups);
	return end_bits(&b);
}

static enum ds_status write_index(struct ds_words_builder *b, size_t group_bytes,
				  struct index *x, struct ds_buf *buf, struct ds_err *err)
{
	uint8_t head[INDEX_HEAD_BYTES] = {INDEX_VERSION};
	const uint64_t n = b->n_passages;
	uint64_t total = 0, group = b->bytes ? (group_bytes * n + b->bytes / 2) / b->bytes : 1;

	DS_TRY(ds_words_sort(b, err));
	x->hash_bits = width(count_terms(b)) + SPARE_BITS;
	x->hash_bits = x->hash_bits < 32 ? x->hash_bits : 32;
	x->passages_of_group = group < 1 ? 1 : group < UINT16_MAX ? (uint32_t)group : UINT16_MAX;
	x->n_groups = (uint32_t)((n + x->passages_of_group - 1) / x->passages_of_group);
	DS_TRY(collect(x, b, err));
	for (size_t i = 0; i < x->n; i += RUN_TERMS) {
		int last = x->n - i <= RUN_TERMS;

		DS_TRY(put_run(x, x->term + i, last ? x->n - i : RUN_TERMS,
			       last ? (uint64_t)1 << x->hash_bits : x->term[i + RUN_TERMS].hash,
			       err));
	}
	for (size_t i = 0; i < n; i++)
		total += b->length[i];
	head[1] = (uint8_t)x->hash_bits;
	ds_put_u16(head + 2, (uint16_t)x->passages_of_group);
	ds_put_u32(head + 4, (uint32_t)n);
	ds_put_u32(head + 8, (uint32_t)x->n);
	ds_put_u32(head + 12, (uint32_t)x->lists.len);
	ds_put_u64(head + 16, total);
	DS_TRY(ds_buf_append(buf, head, sizeof head, err));
	DS_TRY(ds_buf_append(buf, x->runs.data, x->runs.len, err));
	return ds_buf_append(buf, x->lists.data, x->lists.len, err);
}

enum ds_status ds_words_write(struct ds_words_builder *b, size_t group_bytes, struct ds_buf *buf,
			      struct ds_err *err)
{
	struct index x = {0};
	enum ds_status st = write_index(b, group_bytes, &x, buf, err);

	free(x.term);
	free(x.group);
	ds_buf_fini(&x.runs);
	ds_buf_fini(&x.lists);
	ds_words_truncate(b, 0);
	return st;
}

static uint32_t n_runs(const struct ds_words *w)
{
	return (uint32_t)(((uint64_t)w->n_terms + RUN_TERMS - 1) / RUN_TERMS);
}

enum ds_status ds_words_open(struct ds_words *w, const void *bytes, size_t n, struct ds_err *err)
{
	const uint8_t *p = bytes;

	*w = (struct ds_words){0};
	if (n < INDEX_HEAD_BYTES)
		return ds_fail(err, DS_ETRUNCATED, "word index of %zu bytes, at least %d expected",
			       n, INDEX_HEAD_BYTES);
	if (p[0] != INDEX_VERSION)
		return ds_fail(err, DS_EUNSUPPORTED, "word index of version %u, %u expected", p[0],
			       INDEX_VERSION);
	w->hash_bits = p[1];
	w->group = ds_get_u16(p + 2);
	w->n_passages = ds_get_u32(p + 4);
	w->n_terms = ds_get_u32(p + 8);
	w->lists_len = ds_get_u32(p + 12);
	w->total_terms = ds_get_u64(p + 16);
	if (w->hash_bits < 1 || w->hash_bits > 32 || w->group < 1 ||
	    w->n_passages > PASSAGES_MAX ||
	    n != INDEX_HEAD_BYTES + 8 * (uint64_t)n_runs(w) + w->lists_len)
		return ds_fail(err, DS_EFORMAT, "word index of %zu bytes does not add up", n);
	w->runs = p + INDEX_HEAD_BYTES;
	w->lists = w->runs + 8 * (size_t)n_runs(w);
	return DS_OK;
}

/* Beyond the end there are zeros, and over is set. */
struct bit_reader {
	const uint8_t *p, *end;
	uint64_t bits;
	unsigned n;
	int over;
};

static uint32_t get_bits(struct bit_reader *b, unsigned n)
{
	uint32_t value;

	while (b->n < n) {
		b->over |= b->p == b->end;
		b->bits |= (uint64_t)(b->p < b->end ? *b->p++ : 0) << b->n;
		b->n += 8;
	}
	value = (uint32_t)(b->bits & (((uint64_t)1 << n) - 1));
	b->bits >>= n;
	b->n -= n;
	return value;
}

/* 0 where there is none. */
static uint32_t get_gamma(struct bit_reader *b)
{
	unsigned k = 0;

	while (!get_bits(b, 1))
		if (++k > 31 || b->over)
			return 0;
	return (uint32_t)1 << k | get_bits(b, k);
}

static uint32_t get_one_of(struct bit_reader *b, uint64_t w)
{
	unsigned k = width(w);
	uint64_t u = ((uint64_t)1 << k) - w, x = get_bits(b, k - 1);

	return (uint32_t)(x < u ? x : (x << 1 | get_bits(b, 1)) - u);
}

/* Always n ascending numbers from low on, below end, whatever the bits; n <= end - low. */
static void get_set(struct bit_reader *b, uint32_t *set, uint32_t n, uint64_t low, uint64_t end)
{
	uint32_t i = n / 2;
	uint64_t middle;

	if (n == 0)
		return;
	if (n == end - low) {
		for (uint32_t k = 0; set && k < n; k++)
			set[k] = (uint32_t)(low + k);
		return;
	}
	middle = low + i + get_one_of(b, end - low - n + 1);
	if (set)
		set[i] = (uint32_t)middle;
	get_set(b, set, i, low, middle);
	get_set(b, set ? set + i + 1 : NULL, n - i - 1, middle + 1, end);
}

/* The run whose terms may include hash, by binary search; -1 when it is before the first. */
static int64_t find_run(const struct ds_words *w, uint32_t hash)
{
	int64_t low = 0, high = (int64_t)n_runs(w) - 1;

	while (low <= high) {
		int64_t mid = (low + high) / 2;

		if (ds_get_u32(w->runs + 8 * mid) <= hash)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return high;
}

static enum ds_status open_run(const struct ds_words *w, uint32_t run, struct bit_reader *b,
			       uint64_t bounds[2], struct ds_err *err)
{
	const uint8_t *entry = w->runs + 8 * (size_t)run;
	uint32_t offset = ds_get_u32(entry + 4);

	bounds[0] = ds_get_u32(entry);
	bounds[1] = run + 1 < n_runs(w) ? ds_get_u32(entry + 8) : (uint64_t)1 << w->hash_bits;
	if (offset > w->lists_len)
		return ds_fail(err, DS_EFORMAT, "word index: offset %u of %u bytes", offset,
			       w->lists_len);
	*b = (struct bit_reader){.p = w->lists + offset, .end = w->lists + w->lists_len};
	return DS_OK;
}

/* The counts of n terms: groups, passages. */
static enum ds_status get_counts(const struct ds_words *w, struct bit_reader *b, uint32_t n,
				 uint32_t counts[][2], struct ds_err *err)
{
	const uint32_t n_groups = (w->n_passages + w->group - 1) / w->group;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t groups = get_gamma(b), more = get_gamma(b);

		if (groups < 1 || groups > n_groups || more < 1 ||
		    more - 1 > w->n_passages - groups || b->over)
			return ds_fail(err, DS_EFORMAT,
				       "word index: a term in %u of %u groups, and %u passages "
				       "more",
				       groups, n_groups, more - 1);
		counts[i][0] = groups;
		counts[i][1] = groups + more - 1;
	}
	return DS_OK;
}

enum ds_status ds_words_find(const struct ds_words *w, uint32_t hash, uint32_t *groups,
			     uint32_t *n_groups_ret, uint64_t *passages_ret, struct ds_err *err)
{
	const uint32_t n_groups = (w->n_passages + w->group - 1) / w->group;
	uint32_t h[RUN_TERMS], counts[RUN_TERMS][2], n, at = 0;
	int64_t run = find_run(w, hash >>= 32 - w->hash_bits);
	struct bit_reader b;
	uint64_t bounds[2];

	*n_groups_ret = 0;
	*passages_ret = 0;
	if (run < 0)
		return DS_OK;
	DS_TRY(open_run(w, (uint32_t)run, &b, bounds, err));
	n = w->n_terms - (uint32_t)run * RUN_TERMS;
	n = n < RUN_TERMS ? n : RUN_TERMS;
	if (bounds[1] < bounds[0] + n)
		return ds_fail(err, DS_EFORMAT, "word index: %u hashes from %llu to %llu", n,
			       (unsigned long long)bounds[0], (unsigned long long)bounds[1]);
	h[0] = (uint32_t)bounds[0];
	get_set(&b, h + 1, n - 1, bounds[0] + 1, bounds[1]);
	DS_TRY(get_counts(w, &b, n, counts, err));
	while (at < n && h[at] != hash)
		at++;
	if (at == n)
		return DS_OK;
	*n_groups_ret = counts[at][0];
	*passages_ret = counts[at][1];
	for (uint32_t i = 0; groups && i <= at && !b.over; i++)
		get_set(&b, i == at ? groups : NULL, counts[i][0], 0, n_groups);
	return b.over ? ds_fail(err, DS_EFORMAT, "word index: its lists end too early") : DS_OK;
}
