/*
 * test_task_bench.c - documents of exact length, questions within them, runs compared
 *
 * The model is one of scripts/gen-model, made for the run.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/bench.h"

static char folder[] = "/tmp/ds-bench.XXXXXX";
static struct ds_model *model;
static char text[100000];

static void open_reader(struct ds_reader *r, uint32_t context, bool raw)
{
	struct ds_reader_options o = {.context = context, .raw = raw};
	struct ds_err err;

	ck_assert_int_eq(ds_reader_open(r, model, NULL, &o, &err), DS_OK);
}

static enum ds_status make(struct ds_bench_doc *doc, struct ds_reader *r, size_t bytes,
			   size_t length, struct ds_err *err)
{
	struct ds_tokens tokens = {0};
	enum ds_status st = ds_encode(r->enc, text, bytes, 0, &tokens, err);

	*doc = (struct ds_bench_doc){0};
	if (st == DS_OK)
		st = ds_bench_doc_make(doc, r, &tokens, text, length, err);
	ds_tokens_fini(&tokens);
	return st;
}

static size_t count(const struct ds_buf *b, const char *word)
{
	size_t n = 0;

	for (size_t i = 0; i + strlen(word) <= b->len; i++)
		n += memcmp(b->data + i, word, strlen(word)) == 0;
	return n;
}

/* Every length is met exactly; all of what is asked for is planted once, before the questions. */
START_TEST(test_documents)
{
	static const size_t lengths[] = {1200, 1201, 1500, 2048, 3000};
	struct ds_bench_doc doc;
	struct ds_reader r;
	struct ds_err err;

	open_reader(&r, 4096, _i);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct ds_buf words = {0};
		size_t planted = 0;

		ck_assert_int_eq(make(&doc, &r, strlen(text), lengths[i], &err), DS_OK);
		ck_assert_uint_eq(doc.n, lengths[i]);
		ck_assert_uint_lt(doc.body, doc.n);
		for (size_t k = 0; k < doc.n; k++) {
			planted += doc.planted[k];
			ck_assert(!doc.planted[k] || k < doc.body);
		}
		ck_assert_uint_eq(doc.text_used, doc.n - planted);
		ck_assert_int_eq(ds_decode(r.tok, doc.id, doc.body, 0, &words, &err), DS_OK);
		ck_assert_uint_eq(count(&words, "\nRegister: the "), DS_FACTS);
		ck_assert_uint_eq(count(&words, "Zephyr is 48271.\n"), 1);
		ck_assert_uint_eq(count(&words, "Captain Silva has the registration 34896.\n"), 1);
		ds_buf_fini(&words);
		ds_bench_doc_fini(&doc);
	}
	ds_reader_close(&r);
}
END_TEST

START_TEST(test_limits)
{
	struct ds_bench_doc doc;
	struct ds_reader r;
	struct ds_err err;

	open_reader(&r, 4096, false);
	for (size_t length = 1; length < 900; length += 13) {
		enum ds_status st = make(&doc, &r, strlen(text), length, &err);

		if (st != DS_OK) {
			ck_assert_int_eq(st, DS_ELIMIT);
			ck_assert(strstr(err.message, "too short"));
		}
		ds_bench_doc_fini(&doc);
	}
	ck_assert_int_eq(make(&doc, &r, 1000, 2048, &err), DS_ELIMIT);
	ck_assert(strstr(err.message, "too few for a length of 2048"));
	ds_bench_doc_fini(&doc);
	ck_assert_int_eq(make(&doc, &r, 0, 2048, &err), DS_ELIMIT);
	ds_bench_doc_fini(&doc);
	ds_reader_close(&r);
}
END_TEST

/* A question tells its needle's number at the end, and which tokens are digits. */
START_TEST(test_questions)
{
	struct ds_bench_question q = {0};
	struct ds_reader r;
	struct ds_err err;

	open_reader(&r, 4096, _i);
	for (size_t i = 0; i < DS_NEEDLES; i++) {
		struct ds_buf number = {0};
		unsigned digits = 0;

		ck_assert_int_eq(ds_bench_ask_needle(&q, &r, i, &err), DS_OK);
		for (size_t k = 0; k < q.n; k++) {
			ck_assert(!q.digit[k] || k >= q.n_asked);
			digits += q.digit[k];
		}
		ck_assert_uint_eq(digits, DS_NEEDLE_DIGITS);
		ck_assert_int_eq(ds_decode(r.tok, q.id + q.n_asked, q.n - q.n_asked,
					   DS_ENCODE_CONTINUE, &number, &err),
				 DS_OK);
		for (size_t k = 0; k < number.len; k++)
			ck_assert(number.data[k] == ' ' ||
				  (number.data[k] >= '0' && number.data[k] <= '9'));
		ds_buf_fini(&number);
	}
	ck_assert_int_eq(ds_bench_ask_summary(&q, &r, &err), DS_OK);
	ck_assert_uint_eq(q.n_asked, q.n);
	ds_bench_question_fini(&q);
	ds_reader_close(&r);
}
END_TEST

static enum ds_status run(struct ds_bench *bench, const struct ds_bench_doc *doc,
			  struct ds_bench_figures first[2], struct ds_err *err)
{
	struct ds_bench_reference reference = {0};
	enum ds_status st = ds_bench_run(bench, doc, &reference, true, &first[0], err);

	if (st == DS_OK)
		st = ds_bench_run(bench, doc, &reference, false, &first[1], err);
	ds_bench_reference_fini(&reference);
	return st;
}

/* What reads in the same way finds the same. */
START_TEST(test_same)
{
	struct ds_bench_figures f[2], sum = {0};
	struct ds_bench bench = {.tasks = 15, .runs = 2};
	struct ds_bench_doc doc;
	struct ds_reader r;
	struct ds_err err;

	open_reader(&r, 1500, false);
	ck_assert_int_eq(make(&doc, &r, strlen(text), 1500, &err), DS_OK);
	bench.reader = &r;
	ck_assert_int_eq(run(&bench, &doc, f, &err), DS_OK);
	ck_assert_uint_eq(f[0].tokens, 1500);
	ck_assert_uint_gt(f[0].scored, 400);
	ck_assert_uint_eq(f[0].scored, f[1].change.n);
	ck_assert_uint_eq(f[0].change.n, 0);
	ck_assert(f[0].nll == f[1].nll);
	ck_assert(ds_bench_change(&f[1].change) == 0 && ds_bench_change_error(&f[1].change) == 0);
	ck_assert_uint_eq(f[1].summary_alike, f[1].summary_tokens);
	ck_assert_uint_eq(f[0].summary_alike, f[0].summary_tokens);
	ck_assert_uint_eq(f[0].needles, DS_NEEDLES);
	ck_assert_uint_eq(f[0].facts, DS_FACTS);
	for (size_t i = 0; i < DS_NEEDLE_DEPTHS; i++) {
		ck_assert_uint_eq(f[0].digits[i], DS_NEEDLE_WORDINGS * DS_NEEDLE_DIGITS);
		ck_assert(f[0].digit_logprob[i] == f[1].digit_logprob[i]);
	}
	ds_bench_add(&sum, &f[0]);
	ds_bench_add(&sum, &f[1]);
	ck_assert_uint_eq(sum.documents, 2);
	ck_assert_uint_eq(sum.scored, 2 * f[0].scored);
	ck_assert_uint_eq(sum.session_bytes, f[0].session_bytes);
	ds_bench_doc_fini(&doc);
	ds_reader_close(&r);
}
END_TEST

START_TEST(test_figures)
{
	static const double length[] = {1000, 2000, 4000}, seconds[] = {3, 12, 48};
	struct ds_bench_change c = {0};

	ck_assert_double_eq_tol(ds_bench_exponent(length, seconds, 3), 2, 1e-12);
	ck_assert(isnan(ds_bench_exponent(length, seconds, 1)));
	for (int i = 0; i < 100; i++) {
		double d = i % 2 ? 0.03 : 0.01;

		c.n++;
		c.sum += d;
		c.squares += d * d;
	}
	ck_assert_double_eq_tol(ds_bench_change(&c), exp(0.02) - 1, 1e-12);
	ck_assert_double_eq_tol(ds_bench_change_error(&c), 0.01 * sqrt(100 / 99.0) / 10 * exp(0.02),
				1e-9);
}
END_TEST

START_TEST(test_memory_out)
{
	struct ds_bench bench = {.tasks = 15};
	struct ds_bench_figures f[2];
	struct ds_bench_doc doc;
	struct ds_reader r;
	struct ds_err err;
	size_t n = 0;

	open_reader(&r, 1200, false);
	for (enum ds_status st = DS_ENOMEM; st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = make(&doc, &r, strlen(text), 1200, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		if (st != DS_OK)
			ds_bench_doc_fini(&doc);
	}
	ck_assert_uint_gt(n, 2);
	bench.reader = &r;
	n = 0;
	for (enum ds_status st = DS_ENOMEM; st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = run(&bench, &doc, f, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	}
	ck_assert_uint_gt(n, 5);
	ds_bench_doc_fini(&doc);
	ds_reader_close(&r);
}
END_TEST

static void open_model(void)
{
	char command[200], path[100];
	struct ds_err err;
	size_t n = 0;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof command, "scripts/gen-model --lm %s llama-long", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(path, sizeof path, "%s/llama-long.gguf", folder);
	ck_assert_int_eq(ds_model_open(&model, path, &err), DS_OK);
	for (int i = 0; n < sizeof text - 200; i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
				      "Line %d tells of the cat that sat on the mat. It was %d "
				      "days after the contract; was it?\n",
				      i, i * 7919 % 1000);
}

static void close_model(void)
{
	char command[100];

	ds_model_close(model);
	snprintf(command, sizeof command, "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

int main(void)
{
	Suite *s = suite_create("task_bench");
	TCase *c = tcase_create("bench");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, test_documents, 0, 2);
	tcase_add_test(c, test_limits);
	tcase_add_loop_test(c, test_questions, 0, 2);
	tcase_add_test(c, test_same);
	tcase_add_test(c, test_figures);
	tcase_add_test(c, test_memory_out);
	tcase_add_unchecked_fixture(c, open_model, close_model);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
