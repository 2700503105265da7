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

/* The passages as n segments; the texts of the indexes are left in buf. */
static void build(struct ds_buf *buf, struct ds_words *words, struct ds_search_segment *segment,
		  int n)
{
	struct ds_words_builder b = {0};
	struct ds_err err;

	for (int s = 0; s < n; s++) {
		for (int i = PASSAGES * s / n; i < PASSAGES * (s + 1) / n; i++)
			ck_assert_int_eq(ds_words_add(&b, passage[i], strlen(passage[i]), &err),
					 DS_OK);
		ck_assert_int_eq(ds_words_write(&b, &buf[s], &err), DS_OK);
		ck_assert_int_eq(ds_words_open(&words[s], buf[s].data, buf[s].len, &err), DS_OK);
		segment[s] = (struct ds_search_segment){.n_passages = words[s].n_passages,
							.words = &words[s]};
	}
	ds_words_builder_fini(&b);
}

START_TEST(test_bm25_is_exact_in_any_segments)
{
	static const int parts[] = {1, 2, 7, PASSAGES};
	static const int terms[] = {3, 17, 39};
	int n = parts[_i];
	struct ds_buf *buf = calloc((size_t)n, sizeof *buf);
	struct ds_words *words = calloc((size_t)n, sizeof *words);
	struct ds_search_segment *segment = calloc((size_t)n, sizeof *segment);
	struct ds_search_collection all = {segment, (size_t)n};
	struct ds_search_query query = {.mode = DS_SEARCH_WORDS, .text = "W3 w17 w39 w3",
					.text_len = 13};
	struct ds_search_hits hits = {0};
	struct ds_err err;
	int with = 0;

	make_passages();
	build(buf, words, segment, n);
	ck_assert_int_eq(ds_search(&all, &query, PASSAGES, &hits, &err), DS_OK);
	for (size_t h = 0; h < hits.n; h++) {
		int i = PASSAGES * (int)hits.hit[h].segment / n + (int)hits.hit[h].passage;

		ck_assert_double_eq_tol(hits.hit[h].score, naive(i, terms, 3), 1e-5);
		if (h)
			ck_assert(hits.hit[h].score <= hits.hit[h - 1].score);
	}
	for (int i = 0; i < PASSAGES; i++)
		with += count[i][3] || count[i][17] || count[i][39];
	ck_assert_uint_eq(hits.n, (size_t)with);
	ck_assert_int_eq(ds_search(&all, &query, 5, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 5);
	for (int s = 0; s < n; s++)
		ds_buf_fini(&buf[s]);
	ds_search_hits_fini(&hits);
	free(buf);
	free(words);
	free(segment);
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
	struct ds_buf buf = {0};
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
	ck_assert_int_eq(ds_words_write(&b, &buf, &err), DS_OK);
	ck_assert_int_eq(ds_words_open(&words, buf.data, buf.len, &err), DS_OK);
	ck_assert_int_eq(ds_search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 4);
	ck_assert_uint_eq(hits.hit[0].passage, 1);
	q.mode = DS_SEARCH_MEANING;
	ck_assert_int_eq(ds_search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.hit[0].passage, 0);
	q.mode = DS_SEARCH_WORDS;
	ck_assert_int_eq(ds_search(&all, &q, 4, &hits, &err), DS_OK);
	ck_assert_uint_eq(hits.n, 2);
	ck_assert_uint_eq(hits.hit[0].passage, 2);
	ds_search_hits_fini(&hits);
	ds_words_builder_fini(&b);
	ds_buf_fini(&buf);
}
END_TEST

/* Every allocation of a search failing in turn: an error, no crash, no leak. */
START_TEST(test_allocation_failures)
{
	struct ds_search_query query = {.mode = DS_SEARCH_WORDS, .text = "w3", .text_len = 2};
	struct ds_buf buf = {0};
	struct ds_words words;
	struct ds_search_segment segment;
	struct ds_search_collection all = {&segment, 1};
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;
	int failures = 0;

	make_passages();
	build(&buf, &words, &segment, 1);
	for (size_t n = 0; st != DS_OK; n++, failures++) {
		struct ds_search_hits hits = {0};

		ds_alloc_fail_after(n);
		st = ds_search(&all, &query, 10, &hits, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ds_search_hits_fini(&hits);
	}
	ck_assert_int_gt(failures, 5);
	ds_buf_fini(&buf);
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
	tcase_add_test(tc, test_allocation_failures);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
