/*
 * test_task_generate.c - tasks of language models: prefixes kept, memory out, windows, labels
 *
 * The model is one of scripts/gen-model, made for the run.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/classify.h"
#include "task/generate.h"
#include "task/score.h"

static char folder[] = "/tmp/ds-task.XXXXXX";
static struct ds_model *model;

static struct ds_part part(const char *text)
{
	return (struct ds_part){text, strlen(text)};
}

static enum ds_status collect(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	return ds_buf_append(user, bytes, n, err);
}

/* What an answer needs, opened and closed as a whole. */
static enum ds_status answer(struct ds_reader *r, const struct ds_turn *turn, struct ds_buf *text,
			     struct ds_generated *made, struct ds_err *err)
{
	struct ds_part stop = {"zzzz", 4};
	struct ds_generate_options o = {
		.sampling = ds_sampling_default, .n_max = 12, .stop = &stop, .n_stop = 1};
	struct ds_generator *g;
	enum ds_status st;

	o.sampling.temperature = 0.8f;
	o.sampling.repeat_penalty = 1.1f;
	DS_TRY(ds_generator_new(&g, r, &o, err));
	st = ds_reader_turn(r, turn, err);
	if (st == DS_OK)
		st = ds_generate(g, collect, text, made, err);
	ds_generator_free(g);
	return st;
}

static enum ds_status answer_alone(const struct ds_turn *turn, struct ds_buf *text,
				   struct ds_err *err)
{
	struct ds_reader_options o = {.context = 200};
	struct ds_generated made;
	struct ds_reader r;
	enum ds_status st;

	DS_TRY(ds_reader_open(&r, model, NULL, &o, err));
	st = answer(&r, turn, text, &made, err);
	ds_reader_close(&r);
	return st;
}

START_TEST(test_prefixes)
{
	static const char *const texts[] = {"the cat sat on the mat",
					    "the cat sat on a dog",
					    "the cat sat on the mat",
					    "the cat",
					    "what",
					    "what"};
	struct ds_reader_options o = {.context = 200};
	uint64_t cached = 0;
	struct ds_reader r;
	struct ds_err err;

	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &o, &err), DS_OK);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct ds_turn turn = {.text = {part(texts[i])}, .n_text = 1};
		struct ds_buf kept = {0}, alone = {0};
		struct ds_generated made;

		ck_assert_int_eq(answer(&r, &turn, &kept, &made, &err), DS_OK);
		ck_assert_int_eq(answer_alone(&turn, &alone, &err), DS_OK);
		ck_assert_uint_eq(kept.len, alone.len);
		ck_assert(kept.len == 0 || memcmp(kept.data, alone.data, kept.len) == 0);
		ck_assert_uint_eq(made.prompt_tokens, r.prompt.n);
		ck_assert(i == 0 || r.cached_tokens > cached);
		cached = r.cached_tokens;
		ds_buf_fini(&kept);
		ds_buf_fini(&alone);
	}
	ds_reader_close(&r);
}
END_TEST

static char *repeated(size_t n, const char *end)
{
	static const char line[] = "the cat sat on the mat and looked at a dog\n";
	char *text = malloc(n * strlen(line) + strlen(end) + 1);

	ck_assert_ptr_nonnull(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * strlen(line), line, strlen(line));
	strcpy(text + n * strlen(line), end);
	return text;
}

/* Texts that are read sparsely up to their last tokens, some of them as they come: nothing depends
 * on what was read before. */
START_TEST(test_questions)
{
	static const struct {
		size_t lines;
		const char *end;
	} texts[] = {{18, "who?"}, {22, "where?"}, {22, "what?"}, {15, "who?"}, {22, "where?"}};
	struct ds_attn_policy sparse = {.kind = DS_ATTN_AUTO, .param = {0.1, 2, 2}};
	struct ds_reader_options o = {.context = 1024, .batch = 64, .attn = &sparse};
	struct ds_reader r;
	struct ds_err err;

	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &o, &err), DS_OK);
	for (size_t i = 0; i < 2 * sizeof texts / sizeof *texts; i++) {
		char *text = repeated(texts[i / 2].lines, texts[i / 2].end);
		struct ds_turn turn = {.text = {part(text)}, .n_text = 1}, open = {.n_text = 0};
		struct ds_buf kept = {0}, alone = {0};
		struct ds_generated made;
		struct ds_reader fresh;

		if (i % 2) { /* as it comes */
			ck_assert_int_eq(ds_reader_begin(&r, &open, &err), DS_OK);
			for (size_t at = 0; at < strlen(text); at += 100)
				ck_assert_int_eq(ds_reader_more(&r, text + at,
								strlen(text) - at < 100
									? strlen(text) - at
									: 100,
								at % 300 == 0, &err),
						 DS_OK);
		}
		ck_assert_int_eq(answer(&r, &turn, &kept, &made, &err), DS_OK);
		ck_assert_uint_gt(made.prompt_tokens, 400);
		ck_assert_int_eq(ds_reader_open(&fresh, model, NULL, &o, &err), DS_OK);
		ck_assert_int_eq(answer(&fresh, &turn, &alone, &made, &err), DS_OK);
		ds_reader_close(&fresh);
		ck_assert_uint_eq(kept.len, alone.len);
		ck_assert(kept.len == 0 || memcmp(kept.data, alone.data, kept.len) == 0);
		ds_buf_fini(&kept);
		ds_buf_fini(&alone);
		free(text);
	}
	ck_assert_uint_gt(r.cached_tokens + r.ahead_tokens, 0);
	ds_reader_close(&r);
}
END_TEST

START_TEST(test_limits)
{
	struct ds_reader_options o = {.context = 20, .raw = true};
	struct ds_turn turn = {.text = {part("")}, .n_text = 1};
	struct ds_buf text = {0};
	struct ds_generated made;
	struct ds_reader r;
	struct ds_err err;

	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &o, &err), DS_OK);
	ck_assert_int_eq(answer(&r, &turn, &text, &made, &err), DS_EINVAL);
	turn.text[0] = part("0123456789 0123456789 0123456789");
	ck_assert_int_eq(answer(&r, &turn, &text, &made, &err), DS_ELIMIT);
	ck_assert(strstr(err.message, "the context holds 20"));
	turn.text[0] = part("ab cd");
	ck_assert_int_eq(answer(&r, &turn, &text, &made, &err), DS_OK);
	ck_assert_uint_le(made.tokens, 12);
	ds_buf_fini(&text);
	ds_reader_close(&r);
}
END_TEST

static enum ds_status refuse(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	(void)user;
	(void)bytes;
	(void)n;
	return ds_fail(err, DS_EIO, "full");
}

/* An answer that could not be written leaves nothing behind for the next. */
START_TEST(test_refused)
{
	struct ds_turn turn = {.text = {part("the cat sat")}, .n_text = 1};
	struct ds_generate_options o = {.sampling = ds_sampling_default, .n_max = 12};
	struct ds_reader_options ro = {.context = 200};
	struct ds_buf first = {0}, second = {0};
	struct ds_generated made;
	struct ds_generator *g;
	struct ds_reader r;
	struct ds_err err;

	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &ro, &err), DS_OK);
	ck_assert_int_eq(ds_generator_new(&g, &r, &o, &err), DS_OK);
	ck_assert_int_eq(ds_reader_turn(&r, &turn, &err), DS_OK);
	ck_assert_int_eq(ds_generate(g, collect, &first, &made, &err), DS_OK);
	ck_assert_int_eq(ds_generate(g, refuse, NULL, &made, &err), DS_EIO);
	ck_assert_int_eq(ds_generate(g, collect, &second, &made, &err), DS_OK);
	ck_assert_uint_eq(first.len, second.len);
	ck_assert_mem_eq(first.data, second.data, first.len);
	ck_assert_uint_gt(ds_generator_totals(g)->tokens, made.tokens);
	ds_buf_fini(&first);
	ds_buf_fini(&second);
	ds_generator_free(g);
	ds_reader_close(&r);
}
END_TEST

static enum ds_status score(const char *text, uint32_t context, struct ds_scores *scores,
			    struct ds_err *err)
{
	struct ds_reader_options o = {.context = context, .raw = true};
	struct ds_part p = part(text);
	struct ds_reader r;
	enum ds_status st;

	DS_TRY(ds_reader_open(&r, model, NULL, &o, err));
	st = ds_score(&r, NULL, &p, DS_WINDOWS_OVERLAP, scores, err);
	ds_reader_close(&r);
	return st;
}

/* Windows of an odd number of tokens, and every length of a text around their edges. */
START_TEST(test_windows)
{
	struct ds_scores s = {0};
	struct ds_err err;
	char text[200];
	size_t n;

	for (n = 0; n < 64; n++) {
		memset(text, '7', n);
		text[n] = '\0';
		ck_assert_int_eq(score(text, 15, &s, &err), DS_OK);
		ck_assert_uint_eq(s.n_scored, s.tokens.n ? s.tokens.n - 1 : 0);
		for (size_t i = 1; i < s.tokens.n; i++)
			ck_assert(s.logprob[i] < 0);
	}
	ck_assert_double_eq_tol(ds_perplexity(s.nll, s.n_scored), exp(s.nll / (double)s.n_scored),
				1e-9 * exp(s.nll / 10));
	ck_assert(isnan(ds_perplexity(0, 0)) && isnan(ds_bits_per_byte(0, 0)));
	ds_scores_fini(&s);
}
END_TEST

static enum ds_status classify(struct ds_label_score *result, struct ds_err *err)
{
	struct ds_part label[] = {{"cat", 3}, {"contract", 8}}, text = part("the cat sat");
	struct ds_classify_options o = {.label = label, .n_label = 2, .calibrate = true};
	struct ds_reader_options ro = {.context = 300};
	struct ds_classifier *c;
	struct ds_reader r;
	enum ds_status st;
	size_t best;

	DS_TRY(ds_reader_open(&r, model, NULL, &ro, err));
	st = ds_classifier_new(&c, &r, &o, err);
	if (st == DS_OK) {
		st = ds_classify(c, &text, result, &best, err);
		if (st == DS_OK)
			ck_assert(result[best].probability >= result[1 - best].probability);
		ds_classifier_free(c);
	}
	ds_reader_close(&r);
	return st;
}

START_TEST(test_calibration)
{
	struct ds_label_score result[2];
	struct ds_part text = part("N/A"), label[] = {{"cat", 3}, {"contract", 8}};
	struct ds_classify_options o = {.label = label, .n_label = 2, .calibrate = true};
	struct ds_reader_options ro = {.context = 300};
	struct ds_classifier *c;
	struct ds_reader r;
	struct ds_err err;
	size_t best;

	ck_assert_int_eq(classify(result, &err), DS_OK);
	ck_assert_double_eq_tol(result[0].probability + result[1].probability, 1, 1e-12);
	/* a document that says nothing leaves all labels alike */
	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &ro, &err), DS_OK);
	ck_assert_int_eq(ds_classifier_new(&c, &r, &o, &err), DS_OK);
	ck_assert_int_eq(ds_classify(c, &text, result, &best, &err), DS_OK);
	ck_assert_double_eq_tol(result[0].probability, 0.5, 1e-12);
	ck_assert_uint_eq(best, 0);
	ds_classifier_free(c);
	ds_reader_close(&r);
}
END_TEST

static enum ds_status try_answer(struct ds_err *err)
{
	struct ds_turn turn = {.text = {part("the cat sat")}, .n_text = 1};
	struct ds_buf text = {0};
	enum ds_status st = answer_alone(&turn, &text, err);

	ds_buf_fini(&text);
	return st;
}

static enum ds_status try_score(struct ds_err *err)
{
	struct ds_scores s = {0};
	enum ds_status st = score("the cat sat on the mat", 8, &s, err);

	ds_scores_fini(&s);
	return st;
}

static enum ds_status try_classify(struct ds_err *err)
{
	struct ds_label_score result[2];

	return classify(result, err);
}

static enum ds_status (*const tasks[])(struct ds_err *err) = {try_answer, try_score, try_classify};

START_TEST(test_allocation_failures)
{
	struct ds_err err;

	for (size_t i = 0;; i++) {
		enum ds_status st;

		ds_alloc_fail_after(i);
		st = tasks[_i](&err);
		ds_alloc_fail_after(SIZE_MAX);
		if (st == DS_OK)
			break;
		ck_assert_int_eq(st, DS_ENOMEM);
		ck_assert_uint_lt(i, 2000);
	}
}
END_TEST

static int make_model(void)
{
	char command[200], path[100];
	struct ds_err err;

	snprintf(command, sizeof command, "scripts/gen-model --lm %s llama-q8_0", mkdtemp(folder));
	if (system(command) != 0)
		return -1;
	snprintf(path, sizeof path, "%s/llama-q8_0.gguf", folder);
	return ds_model_open(&model, path, &err) == DS_OK ? 0 : -1;
}

int main(void)
{
	Suite *suite = suite_create("task_generate");
	TCase *tc = tcase_create("generate");
	SRunner *runner;
	char command[100];
	int failed = 1;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_prefixes);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_questions);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_windows);
	tcase_add_test(tc, test_calibration);
	tcase_add_loop_test(tc, test_allocation_failures, 0, sizeof tasks / sizeof *tasks);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	if (make_model() == 0) {
		srunner_run_all(runner, CK_NORMAL);
		failed = srunner_ntests_failed(runner);
	}
	srunner_free(runner);
	ds_model_close(model);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command) != 0 || failed != 0;
}
