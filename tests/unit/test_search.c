/* test_search.c - terms, the index of words against a naive BM25, vectors, fusion */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/search.h"

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed % n);
}

/* Two texts that have the same terms. */
static const struct {
	const char *a, *b;
} same_terms[] = {
	{"The Dogs", "the dog"},
	{"berries, classes; buses", "berry classe BUSES"},
	{"status glass us", "status glass us"},
	{"ds_chunk_next", "ds chunk next"},
	{"Stra\xC3\x9F" "e", "STRASSE"},
	{"caf\xC3\xA9", "Cafe"},
	{"\xD0\x9F\xD1\x80\xD0\xB8", "\xD0\xBF\xD1\x80\xD0\xB8"},
	{"\xEF\xBC\xA1\xEF\xBC\xA2", "ab"}, /* full-width letters */
	{"x \xFF\xFE y", "x y"},
};

static void split(struct ds_terms *terms, const char *text)
{
	struct ds_err err;

	ck_assert_int_eq(ds_terms_split(terms, text, strlen(text), &err), DS_OK);
}

START_TEST(test_terms)
{
	struct ds_terms a = {0}, b = {0};

	split(&a, same_terms[_i].a);
	split(&b, same_terms[_i].b);
	ck_assert_uint_eq(a.n, b.n);
	ck_assert_uint_gt(a.n, 0);
	ck_assert_mem_eq(a.hash, b.hash, a.n * sizeof *a.hash);
	ds_terms_fini(&a);
	ds_terms_fini(&b);
}
END_TEST

START_TEST(test_dense_scripts_give_pairs)
{
	struct ds_terms all = {0}, one = {0}, pair = {0};

	split(&all, "\xE5\x8C\x97\xE4\xBA\xAC\xE5\xA4\xA7\xE5\xAD\xA6"); /* four characters */
	split(&pair, "\xE4\xBA\xAC\xE5\xA4\xA7");			   /* the middle two */
	split(&one, "\xE5\x8C\x97");
	ck_assert_uint_eq(all.n, 3);
	ck_assert_uint_eq(pair.n, 1);
	ck_assert_uint_eq(one.n, 1);
	ck_assert_uint_eq(all.hash[1], pair.hash[0]);
	ds_terms_fini(&all);
	ds_terms_fini(&one);
	ds_terms_fini(&pair);
}
END_TEST

#define PASSAGES 300
#define TERMS 40

static char passage[PASSAGES][400];
static int count[PASSAGES][TERMS], length[PASSAGES];

/* Passages of words w0 .. w39, some of them frequent. */
static void make_passages(void)
{
	memset(count, 0, sizeof count);
	for (int i = 0; i < PASSAGES; i++) {
		char *p = passage[i];

		length[i] = (int)draw(60);
		*p = '\0';
		for (int j = 0; j < length[i]; j++) {
			uint32_t t = draw(1 + draw(TERMS));

			count[i][t]++;
			p += sprintf(p, "w%u ", t);
		}
	}
}

static double naive(int i, const int *terms, int n)
{
	double total = 0, sum = 0, best = 0;

	for (int j = 0; j < PASSAGES; j++)
		total += length[j];
	for (int t = 0; t < n; t++) {
		double with = 0, idf, tf = count[i][terms[t]];

		for (int j = 0; j < PASSAGES; j++)
			with += count[j][terms[t]] > 0;
		idf = log(1 + (PASSAGES - with + 0.5) / (with + 0.5));
		best += idf * 2.2;
		sum += idf * tf * 2.2 /
		       (tf + 1.2 * (0.25 + 0.75 * length[i] / (total / PASSAGES)));
	}
	return sum / best;
}

/* The passages as n segments: in memory, or with an index that is left in buf. */
struct segments {
	struct ds_words_builder builder[PASSAGES];
	struct ds_buf buf[PASSAGES];
	struct ds_words words[PASSAGES];
	struct ds_search_segment segment[PASSAGES];
	struct ds_search_collection all;
};

static void build(struct segments *all, int n, int group_bytes)
{
	struct ds_err err;

	memset(all, 0, sizeof *all);

	for (int s = 0; s < n; s++) {
		struct ds_words_builder *b = &all->builder[s];
		struct ds_words *w = &all->words[s];

		for (int i = PASSAGES * s / n; i < PASSAGES * (s + 1) / n; i++)
			ck_assert_int_eq(ds_words_add(b, passage[i], strlen(passage[i]), &err),
					 DS_OK);
		if (group_bytes) {
			ck_assert_int_eq(ds_words_write(b, (size_t)group_bytes, &all->buf[s],
							&err),
					 DS_OK);
			ck_assert_int_eq(ds_words_open(w, all->buf[s].data, all->buf[s].len, &err),
					 DS_OK);
		} else {
			ck_assert_int_eq(ds_words_see(w, b, &err), DS_OK);
		}
		all->segment[s] = (struct ds_search_segment){.n_passages = w->n_passages,
							     .words = w};
	}
	all->all = (struct ds_search_collection){all->segment, (size_t)n};
}

static void drop(struct segments *all)
{
	for (int s = 0; s < PASSAGES; s++) {
		ds_words_builder_fini(&all->builder[s]);
		ds_buf_fini(&all->buf[s]);
	}
}

static uint32_t hash_of(int term)
{
	struct ds_terms t = {0};
	char text[16];
	uint32_t hash;

	snprintf(text, sizeof text, "w%d", term);
	split(&t, text);
	hash = t.hash[0];
	ds_terms_fini(&t);
	return hash;
}

/* All of a search but what is read from texts. */
static enum ds_status search(const struct ds_search_collection *all, struct ds_search_query *query,
			     size_t want, struct ds_search_hits *hits, struct ds_err *err)
{
	struct ds_words_query words = {0};
	enum ds_status st = DS_OK;

	if (query->mode != DS_SEARCH_MEANING)
		st = ds_search_words(all, query, &words, err);
	if (st == DS_OK)
		st = ds_search(all, query, &words, (struct ds_search_want){want, want}, hits, err);
	if (st == DS_OK)
		ds_search_rank(query->mode, hits);
	ds_words_query_fini(&words);
	return st;
}

static const int terms[] = {3, 17, 39};
static struct ds_search_query three_terms = {.mode = DS_SEARCH_WORDS, .text = "W3 w17 w39 w3",
					     .text_len = 13};

START_TEST(test_bm25_is_exact_in_any_segments)
{
	static const int parts[] = {1, 2, 7, PASSAGES};
	static struct segments all;
	struct ds_search_hits hits = {0};
	struct ds_err err;
	int with = 0, n = parts[_i];

	make_passages();
	build(&all, n, 0);
	ck_assert_int_eq(search(&all.all, &three_terms, PASSAGES, &hits, &err), DS_OK);
	for (size_t h = 0; h < hits.n; h++) {
		int i = PASSAGES * (int)hits.hit[h].segment / n + (int)hits.hit[h].passage;

		ck_assert_double_eq_tol(hits.hit[h].score, naive(i, terms, 3), 1e-5);
		if (h)
			ck_assert(hits.hit[h].score <= hits.hit[h - 1].score);
	}
	for (int i = 0; i < PASSAGES; i++)
		with += count[i][3] || count[i][17] || count[i][39];
	ck_assert_uint_eq(hits.n, (size_t)with);
	ck_assert_int_eq(search(&all.all, &three_terms, 5, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 5);
	ds_search_hits_fini(&hits);
	drop(&all);
}
END_TEST

/* An index of groups knows of every passage whose group has a term, and its texts score as the
 * passages in memory do. */
START_TEST(test_index_and_texts_give_the_same)
{
	static const int parts[] = {1, 1, 2, 7, PASSAGES}, bytes[] = {1, 1000, 1000, 400, 1};
	static struct segments memory, index;
	struct ds_words_query q = {0}, q2 = {0};
	static float want[PASSAGES], groups[PASSAGES];
	struct ds_err err;
	int n = parts[_i];

	make_passages();
	build(&memory, n, 0);
	build(&index, n, bytes[_i]);
	ck_assert_int_eq(ds_search_words(&memory.all, &three_terms, &q, &err), DS_OK);
	ck_assert_int_eq(ds_search_words(&index.all, &three_terms, &q2, &err), DS_OK);
	ck_assert_mem_eq(q.found, q2.found, q.n * sizeof *q.found);
	ck_assert_uint_eq(q.passages, q2.passages);
	ck_assert_uint_eq(q.total_terms, q2.total_terms);
	for (int s = 0; s < n; s++) {
		const struct ds_words *w = &index.words[s];
		int first = PASSAGES * s / n;

		memset(want, 0, sizeof want);
		memset(groups, 0, sizeof groups);
		ck_assert_int_eq(ds_words_score(&q, &memory.words[s], want, &err), DS_OK);
		ck_assert_int_eq(ds_words_score(&q, w, groups, &err), DS_OK);
		for (int i = 0; i < (int)w->n_passages; i++) {
			const char *text = passage[first + i];
			int has[3] = {0}, last = i - i % (int)w->group;
			float score, expected = 0;

			ck_assert_int_eq(ds_words_score_text(&q, text, strlen(text), &score, &err),
					 DS_OK);
			ck_assert(score == want[i]);
			for (int k = last; k < last + (int)w->group && k < (int)w->n_passages; k++)
				for (int t = 0; t < 3; t++)
					has[t] |= count[first + k][terms[t]] > 0;
			for (size_t t = 0; t < q.n; t++)
				for (int k = 0; k < 3; k++)
					if (has[k] && q.hash[t] == hash_of(terms[k]))
						expected += (float)(q.weight[t] / q.best);
			ck_assert_float_eq_tol(groups[i], expected, 1e-6f);
		}
	}
	ds_words_query_fini(&q);
	ds_words_query_fini(&q2);
	drop(&memory);
	drop(&index);
}
END_TEST

#define ROWS 77	/* the last block is not full */
#define DIMS 99 /* no multiple of 8, and two windows of the rotation */

static void random_unit(float *x, uint32_t dims)
{
	double squares = 0;

	for (uint32_t d = 0; d < dims; d++) {
		x[d] = (float)draw(2001) - 1000;
		squares += (double)x[d] * x[d];
	}
	for (uint32_t d = 0; d < dims; d++)
		x[d] /= (float)sqrt(squares);
}

static double product(const float *a, const float *b, uint32_t dims)
{
	double sum = 0;

	for (uint32_t d = 0; d < dims; d++)
		sum += (double)a[d] * b[d];
	return sum;
}

START_TEST(test_rotation_and_back)
{
	static const uint32_t dims[] = {1, 2, 3, 64, 99, 240, 384};
	float a[384], b[384], back[384];

	random_unit(a, dims[_i]);
	random_unit(b, dims[_i]);
	memcpy(back, a, sizeof back);
	ds_code_rotate(back, dims[_i]);
	ds_code_rotate_back(back, dims[_i]);
	for (uint32_t d = 0; d < dims[_i]; d++)
		ck_assert_float_eq_tol(back[d], a[d], 1e-6f);
	ds_code_rotate(back, dims[_i]);
	memcpy(a, back, sizeof a);
	memcpy(back, b, sizeof back);
	ds_code_rotate(back, dims[_i]);
	ds_code_rotate_back(a, dims[_i]);
	ck_assert_double_eq_tol(product(back, back, dims[_i]), 1, 1e-5);
}
END_TEST

/* One component alone becomes many of one size: outliers are no trouble. */
START_TEST(test_rotation_spreads)
{
	for (uint32_t i = 0; i < 256; i++) {
		float x[256] = {0};

		x[i] = 1;
		ds_code_rotate(x, 256);
		for (uint32_t d = 0; d < 256; d++)
			ck_assert_float_le(fabsf(x[d]), 0.4f);
	}
}
END_TEST

/* The bytes of one vector are those of the format for good. */
START_TEST(test_code_is_as_specified)
{
	static const uint8_t want[4][8] = {
		{0xD8, 0x03},
		{0x68, 0x01, 0xD8, 0x03},
		{0xB1, 0x01, 0x6E, 0x00, 0xD8, 0x03},
		{0xE8, 0x03, 0x78, 0x01, 0x27, 0x00, 0xD8, 0x03},
	};
	static const uint16_t scale[4] = {0x3D74, 0x3844, 0x35DC, 0x32FB};

	for (unsigned bits = 1; bits <= 4; bits++) {
		float x[10] = {0.5f, -0.25f, 0.125f, 1, -1, 0, 2, 3, -0.75f, 0.0625f};
		uint8_t row[8] = {0};

		ck_assert_uint_eq(ds_code_encode(bits, x, 10, row), scale[bits - 1]);
		ck_assert_mem_eq(row, want[bits - 1], 2 * (size_t)bits);
	}
}
END_TEST

START_TEST(test_vectors)
{
	static const double tolerance[] = {1e-6, 0.35, 0.15, 0.1, 0.05};
	static float rows[ROWS][DIMS], query[DIMS], score[ROWS], first[ROWS];
	static uint8_t code[ROWS][4 * DIMS], block[ROWS * 4 * DIMS], scale[ROWS][2];
	const unsigned bits = (unsigned)_i;
	const size_t row_bytes = ds_code_row_bytes(bits, DIMS);
	const struct ds_kern *const *tables;
	struct ds_vectors v = {.bits = bits, .dims = DIMS, .n = ROWS, .scale = &scale[0][0],
			       .rows = bits ? (void *)block : (void *)rows};
	struct ds_err err;

	for (size_t i = 0; i < ROWS; i++) {
		float spoilt[DIMS];
		uint8_t row[4 * DIMS];
		uint16_t half;

		random_unit(rows[i], DIMS);
		if (!bits)
			continue;
		memcpy(spoilt, rows[i], sizeof spoilt);
		half = ds_code_encode(bits, spoilt, DIMS, row);
		memcpy(scale[i], &half, 2);
		memcpy((uint8_t *)code + i * row_bytes, row, row_bytes);
		ds_code_decode(bits, row, half, DIMS, spoilt);
		ck_assert_double_eq_tol(product(spoilt, rows[i], DIMS), 1, 0.01);
	}
	ds_code_blocks((uint8_t *)code, ROWS, row_bytes, block);
	for (size_t i = 0; i < ROWS; i++) {
		uint8_t row[4 * DIMS];

		ds_code_row(block, ROWS, row_bytes, i, row);
		ck_assert(memcmp(row, (uint8_t *)code + i * row_bytes, row_bytes) == 0);
	}
	memcpy(query, rows[7], sizeof query);
	for (size_t t = 0; t < ds_kern_all(&tables); t++) {
		ck_assert_int_eq(ds_vectors_score(&v, tables[t], query, score, &err), DS_OK);
		for (size_t i = 0; i < ROWS; i++)
			ck_assert_double_eq_tol(score[i], product(rows[i], query, DIMS),
						tolerance[bits]);
		if (t == 0)
			memcpy(first, score, sizeof first);
		else if (bits)
			ck_assert_mem_eq(first, score, sizeof first);
	}
}
END_TEST

START_TEST(test_both_prefers_what_is_best_by_both)
{
	static const float rows[4][2] = {{1, 0}, {0.8f, 0.6f}, {0, 1}, {0.6f, 0.8f}};
	static const char *const texts[] = {"pear", "apple pie", "apple", "plum"};
	static const float query[] = {1, 0};
	struct ds_vectors vectors = {0, 2, 4, NULL, rows};
	struct ds_words_builder b = {0};
	struct ds_words words;
	struct ds_search_segment segment = {4, &vectors, &words};
	struct ds_search_collection all = {&segment, 1};
	const struct ds_kern *const *tables;
	struct ds_search_query q = {.mode = DS_SEARCH_BOTH, .vector = query, .text = "apple",
				    .text_len = 5};
	struct ds_search_hits hits = {0};
	struct ds_err err;

	ds_kern_all(&tables);
	q.kern = tables[0];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(ds_words_add(&b, texts[i], strlen(texts[i]), &err), DS_OK);
	ck_assert_int_eq(ds_words_see(&words, &b, &err), DS_OK);
	ck_assert_int_eq(search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 4);
	ck_assert_uint_eq(hits.hit[0].passage, 1);
	q.mode = DS_SEARCH_MEANING;
	ck_assert_int_eq(search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.hit[0].passage, 0);
	q.mode = DS_SEARCH_WORDS;
	ck_assert_int_eq(search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 2);
	ck_assert_uint_eq(hits.hit[0].passage, 2);
	ds_search_hits_fini(&hits);
	ds_words_builder_fini(&b);
}
END_TEST

/* Every allocation failing in turn: an error, no crash, no leak. */
START_TEST(test_allocation_failures)
{
	static struct segments all;
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;
	int failures = 0;

	make_passages();
	build(&all, 1, 300 * _i);
	for (size_t n = 0; st != DS_OK; n++, failures++) {
		struct ds_search_hits hits = {0};

		ds_alloc_fail_after(n);
		st = search(&all.all, &three_terms, 10, &hits, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ds_search_hits_fini(&hits);
	}
	ck_assert_int_gt(failures, 4);
	drop(&all);
}
END_TEST

START_TEST(test_index_allocation_failures)
{
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	make_passages();
	for (size_t n = 0; st != DS_OK; n++) {
		struct ds_words_builder b = {0};
		struct ds_buf buf = {0};

		ds_alloc_fail_after(n);
		st = DS_OK;
		for (int i = 0; i < 20 && st == DS_OK; i++)
			st = ds_words_add(&b, passage[i], strlen(passage[i]), &err);
		if (st == DS_OK)
			st = ds_words_write(&b, 100, &buf, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ds_words_builder_fini(&b);
		ds_buf_fini(&buf);
	}
}
END_TEST

/* A truncated index, or one with a changed byte: an error, or scores of some kind. */
START_TEST(test_damaged_index)
{
	static struct segments all;
	static float score[PASSAGES];
	struct ds_words_query q = {0};
	struct ds_words w;
	struct ds_err err;

	make_passages();
	build(&all, 1, 300);
	ck_assert_int_eq(ds_search_words(&all.all, &three_terms, &q, &err), DS_OK);
	for (size_t i = 0; i < all.buf[0].len; i++) {
		ck_assert_int_ne(ds_words_open(&w, all.buf[0].data, i, &err), DS_OK);
		all.buf[0].data[i] ^= 0x55;
		if (ds_words_open(&w, all.buf[0].data, all.buf[0].len, &err) == DS_OK &&
		    w.n_passages == PASSAGES)
			(void)ds_words_score(&q, &w, score, &err);
		all.buf[0].data[i] ^= 0x55;
	}
	ds_words_query_fini(&q);
	drop(&all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("search");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, test_terms, 0, sizeof same_terms / sizeof *same_terms);
	tcase_add_test(tc, test_dense_scripts_give_pairs);
	tcase_add_loop_test(tc, test_bm25_is_exact_in_any_segments, 0, 4);
	tcase_add_loop_test(tc, test_rotation_and_back, 0, 7);
	tcase_add_test(tc, test_rotation_spreads);
	tcase_add_test(tc, test_code_is_as_specified);
	tcase_add_loop_test(tc, test_vectors, 0, 5);
	tcase_add_test(tc, test_both_prefers_what_is_best_by_both);
	tcase_add_loop_test(tc, test_allocation_failures, 0, 2);
	tcase_add_test(tc, test_index_allocation_failures);
	tcase_add_test(tc, test_damaged_index);
	tcase_add_loop_test(tc, test_index_and_texts_give_the_same, 0, 5);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
