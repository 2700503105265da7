/*
 * test_model_answer.c - the tokens of an answer, which policies read in a way of their own: the
 * same bytes for every split, thread count, and way back; where answers begin and end
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/lm.h"

#define N_TOKEN 520
#define PROMPT 300 /* tokens before the answer, inside of a page */
#define CONTEXT 384

static const struct {
	const char *model;
	struct ds_attn_policy policy;
	bool carry;
} cases[] = {
	{"llama-mix", {DS_ATTN_ANSWER, {0.3}, 0, 0}, false},
	{"qwen2-mix", {DS_ATTN_MASS, {0.5, 4, 4}, 256, 0}, false},
	{"gemma3-mix", {DS_ATTN_AUTO, {0.2, 2, 2}, 0, 0}, false},
	{"llama-k", {DS_ATTN_AUTO, {0.3, 4, 4}, 0, 0}, true},
	{"qwen2-mix", {DS_ATTN_ANSWER, {0.3}, 0, 0}, true},
};
#define N_CASE (int)(sizeof cases / sizeof *cases)

static char folder[] = "/tmp/test_model_answer.XXXXXX";
static uint32_t ids[N_TOKEN];

static int make_models(void)
{
	char command[200];

	snprintf(command, sizeof command,
		 "scripts/gen-model --lm %s llama-mix qwen2-mix gemma3-mix llama-k",
		 mkdtemp(folder));
	for (uint32_t i = 0, x = 7; i < N_TOKEN; i++, x = x * 1664525 + 1013904223)
		ids[i] = (x >> 16) % 300;
	return system(command);
}

static int remove_models(void)
{
	char command[100];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static struct ds_model *open_model(const char *name)
{
	struct ds_model *model;
	struct ds_err err;
	char path[100];

	snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
	ck_assert_msg(ds_model_open(&model, path, &err) == DS_OK, "%s", err.message);
	return model;
}

static struct ds_session *new_session(int i, const struct ds_model *model, struct ds_pool *pool)
{
	static const struct ds_carry carry = {.window = 128, .chosen = 64};
	struct ds_session_options options = {.context = cases[i].carry ? CONTEXT : N_TOKEN,
					     .batch = 128,
					     .attn = &cases[i].policy,
					     .n_attn = 1,
					     .carry = cases[i].carry ? &carry : NULL};
	struct ds_session *s;
	struct ds_err err;

	ck_assert_msg(ds_session_new(&s, model, pool, &options, &err) == DS_OK, "%s", err.message);
	return s;
}

/* Up to token end in calls of split; their states. */
static void read_to(struct ds_session *s, size_t end, size_t split, size_t dims, float *states)
{
	struct ds_err err;
	size_t n;

	for (size_t at = ds_session_tokens(s); at < end; at += n) {
		n = end - at < split ? end - at : split;
		ck_assert_msg(ds_session_read(s, ids + at, n, n, &err) == DS_OK, "%s", err.message);
		for (size_t i = 0; i < n; i++)
			memcpy(states + (at + i) * dims, ds_session_state(s, i),
			       dims * sizeof *states);
	}
}

static float *read_all(int i, const struct ds_model *model, unsigned threads, size_t split)
{
	size_t dims = ds_model_dims(model);
	float *states = calloc(N_TOKEN * dims, sizeof *states);
	struct ds_pool *pool = NULL;
	struct ds_session *s;

	ck_assert_int_eq(ds_pool_new(&pool, threads, NULL), DS_OK);
	s = new_session(i, model, pool);
	read_to(s, PROMPT, split, dims, states);
	ds_session_answer(s);
	read_to(s, N_TOKEN, split, dims, states);
	ds_session_free(s);
	ds_pool_free(pool);
	return states;
}

START_TEST(test_same_bytes)
{
	static const size_t split[] = {128, 1, 37};
	struct ds_model *model = open_model(cases[_i].model);
	size_t bytes = N_TOKEN * ds_model_dims(model) * sizeof(float);
	float *want = read_all(_i, model, 1, 100);

	for (unsigned threads = 1; threads < 4; threads++) {
		float *got = read_all(_i, model, threads, split[threads - 1]);

		ck_assert(memcmp(got, want, bytes) == 0);
		free(got);
	}
	free(want);
	ds_model_close(model);
}
END_TEST

/* Cut back inside of an answer it goes on; cut back to where it began it never was. */
START_TEST(test_way_back)
{
	struct ds_model *model = open_model(cases[_i].model);
	size_t dims = ds_model_dims(model), bytes = N_TOKEN * dims * sizeof(float);
	float *want = read_all(_i, model, 1, 128), *got = calloc(1, bytes);
	struct ds_session *s = new_session(_i, model, NULL);

	read_to(s, PROMPT, 90, dims, got);
	ck_assert_uint_eq(ds_session_prompt(s, SIZE_MAX), PROMPT);
	ds_session_answer(s);
	read_to(s, PROMPT + 40, 90, dims, got);
	ds_session_answer(s); /* no other one */
	ck_assert_uint_eq(ds_session_prompt(s, SIZE_MAX), PROMPT);
	ck_assert_uint_eq(ds_session_truncate(s, PROMPT + 3), PROMPT + 3);
	memset(got + (PROMPT + 3) * dims, 0, bytes - (PROMPT + 3) * dims * sizeof *got);
	read_to(s, N_TOKEN, 50, dims, got);
	ck_assert(memcmp(got, want, bytes) == 0);
	ck_assert_uint_eq(ds_session_prompt(s, SIZE_MAX), PROMPT);
	if (cases[_i].carry) {
		ck_assert_uint_eq(ds_session_truncate(s, PROMPT), 0);
		read_to(s, PROMPT, 90, dims, got);
		ds_session_answer(s);
		read_to(s, N_TOKEN, 50, dims, got);
		ck_assert(memcmp(got, want, bytes) == 0);
	} else {
		ck_assert_uint_eq(ds_session_truncate(s, PROMPT), PROMPT);
		read_to(s, N_TOKEN, 50, dims, got);
		ck_assert_uint_eq(ds_session_prompt(s, SIZE_MAX), N_TOKEN);
		ck_assert(memcmp(got, want, bytes) != 0);
		ck_assert(memcmp(got, want, PROMPT * dims * sizeof *got) == 0);
	}
	ds_session_free(s);
	free(want);
	free(got);
	ds_model_close(model);
}
END_TEST

/* Without such a policy there is no difference. */
START_TEST(test_dense)
{
	struct ds_model *model = open_model("llama-mix");
	size_t dims = ds_model_dims(model), bytes = N_TOKEN * dims * sizeof(float);
	float *want = calloc(1, bytes), *got = calloc(1, bytes);
	struct ds_session_options options = {.context = N_TOKEN};
	struct ds_session *s;

	ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, NULL), DS_OK);
	read_to(s, N_TOKEN, 500, dims, want);
	ds_session_truncate(s, 0);
	read_to(s, PROMPT, 500, dims, got);
	ds_session_answer(s);
	read_to(s, N_TOKEN, 500, dims, got);
	ck_assert_uint_eq(ds_session_prompt(s, SIZE_MAX), N_TOKEN);
	ck_assert(memcmp(got, want, bytes) == 0);
	ds_session_free(s);
	free(want);
	free(got);
	ds_model_close(model);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_answer");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_CASE);
	tcase_add_loop_test(tc, test_way_back, 0, N_CASE);
	tcase_add_test(tc, test_dense);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
