/*
 * test_model_lm_embed.c - embeddings by language models: pooled states of sessions, windows, the
 * same bytes whatever runs them, failing memory
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/kern.h"
#include "model/lm.h"

static const char *const models[] = {"llama-mix", "qwen2-mix", "gemma3-mix"};
#define N_MODEL (int)(sizeof models / sizeof *models)
#define N_TEXT 8

static char folder[] = "/tmp/test_model_lm_embed.XXXXXX";
static char long_text[2600];
static struct ds_part texts[N_TEXT];

static int make_models(void)
{
	static const char words[] = "The quick brown fox, it said: no. ";
	char command[300];
	size_t n = (size_t)snprintf(command, sizeof command, "scripts/gen-model --lm %s",
				    mkdtemp(folder));

	for (int i = 0; i < N_MODEL; i++)
		n += (size_t)snprintf(command + n, sizeof command - n, " %s", models[i]);
	for (size_t i = 0; i < sizeof long_text; i++)
		long_text[i] = words[i * (1 + i / 200) % (sizeof words - 1)];
	for (size_t i = 0; i < N_TEXT; i++)
		texts[i] = (struct ds_part){long_text + 13 * i, i * i * 5};
	return system(command);
}

static int remove_models(void)
{
	char command[100];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static enum ds_status try_open(struct ds_model **model, int i, struct ds_err *err)
{
	char path[100];

	snprintf(path, sizeof path, "%s/%s.gguf", folder, models[i]);
	return ds_model_open(model, path, err);
}

static struct ds_model *open_model(int i, enum ds_pooling pooling)
{
	struct ds_model *model;
	struct ds_err err;

	ck_assert_msg(try_open(&model, i, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_model_set_pooling(model, pooling, &err), DS_OK);
	return model;
}

/* n texts at a time; the caller frees. */
static float *embed(const struct ds_model *model, const struct ds_part *text, size_t n_text,
		    size_t n, unsigned threads)
{
	size_t dims = ds_model_dims(model);
	float *out = calloc(n_text * dims, sizeof *out);
	struct ds_embedder *emb;
	struct ds_pool *pool;
	struct ds_err err;

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_int_eq(ds_embedder_new(&emb, model, pool, &err), DS_OK);
	for (size_t i = 0; i < n_text; i += n)
		ck_assert_int_eq(ds_embed(emb, text + i, n < n_text - i ? n : n_text - i,
					  out + i * dims, &err),
				 DS_OK);
	ds_embedder_free(emb);
	ds_pool_free(pool);
	return out;
}

/* The ids of a text without what is put around it. */
static void tokens_of(const struct ds_model *model, struct ds_part text, struct ds_tokens *tokens)
{
	struct ds_encoder *enc;
	struct ds_err err;

	ck_assert_int_eq(ds_encoder_new(&enc, ds_model_tokenizer(model), &err), DS_OK);
	ck_assert_int_eq(ds_encode(enc, text.bytes, text.len, 0, tokens, &err), DS_OK);
	ds_encoder_free(enc);
}

/* Add the unit vector of a window, weight times, to sum; by sessions that read token by token. */
static void add_window(const struct ds_model *model, enum ds_pooling pooling, const uint32_t *id,
		       size_t n, double *sum)
{
	size_t dims = ds_model_dims(model), n_all = 0;
	uint32_t *all = calloc(n + 8, sizeof *all);
	double *vector = calloc(dims, sizeof *vector), square = 0;
	struct ds_session_options options = {.batch = 3};
	struct ds_session *s;
	struct ds_affix affix;
	struct ds_err err;

	ds_tokenizer_affix(ds_model_tokenizer(model), &affix);
	for (size_t i = 0; i < affix.n_prefix; i++)
		all[n_all++] = affix.prefix[i];
	for (size_t i = 0; i < n; i++)
		all[n_all++] = id[i];
	for (size_t i = 0; i < affix.n_suffix; i++)
		all[n_all++] = affix.suffix[i];
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, &err), DS_OK);
	for (size_t i = 0; i < n_all; i++) {
		const float *state;

		ck_assert_int_eq(ds_session_read(s, all + i, 1, 1, &err), DS_OK);
		state = ds_session_state(s, 0);
		for (size_t j = 0; j < dims; j++)
			vector[j] = (pooling == DS_POOL_LAST ? 0 : vector[j]) + (double)state[j];
	}
	ds_session_free(s);
	for (size_t j = 0; j < dims; j++)
		square += vector[j] * vector[j];
	for (size_t j = 0; j < dims; j++)
		sum[j] += (double)n * vector[j] / sqrt(square);
	free(vector);
	free(all);
}

/* A vector by its definition, in windows of the context. */
static void check_vector(const struct ds_model *model, enum ds_pooling pooling, struct ds_part text,
			 const float *got)
{
	size_t dims = ds_model_dims(model), window;
	double *want = calloc(dims, sizeof *want), square = 0;
	struct ds_tokens tokens = {0};
	struct ds_affix affix;

	ds_tokenizer_affix(ds_model_tokenizer(model), &affix);
	window = ds_model_context(model) - affix.n_prefix - affix.n_suffix;
	tokens_of(model, text, &tokens);
	for (size_t at = 0; at < tokens.n; at += window)
		add_window(model, pooling, tokens.id + at,
			   tokens.n - at < window ? tokens.n - at : window, want);
	for (size_t j = 0; j < dims; j++)
		square += want[j] * want[j];
	for (size_t j = 0; j < dims; j++) {
		double value = square > 0 ? want[j] / sqrt(square) : 0;

		ck_assert_double_lt(fabs(value - (double)got[j]), 2e-6);
	}
	free(want);
	ds_tokens_fini(&tokens);
}

START_TEST(test_definition)
{
	for (int p = 0; p < 2; p++) {
		enum ds_pooling pooling = p ? DS_POOL_LAST : DS_POOL_MEAN;
		struct ds_model *model = open_model(_i, pooling);
		float *got = embed(model, texts, N_TEXT, N_TEXT, 2);

		for (size_t i = 0; i < N_TEXT; i += 3)
			check_vector(model, pooling, texts[i], got + i * ds_model_dims(model));
		free(got);
		ds_model_close(model);
	}
}
END_TEST

START_TEST(test_windows)
{
	const struct ds_part all = {long_text, sizeof long_text};
	struct ds_model *model = open_model(0, DS_POOL_MEAN);
	struct ds_tokens tokens = {0};
	float *got;

	tokens_of(model, all, &tokens);
	ck_assert_uint_gt(tokens.n, ds_model_context(model));
	ds_tokens_fini(&tokens);
	got = embed(model, &all, 1, 1, 2);
	check_vector(model, DS_POOL_MEAN, all, got);
	free(got);
	ds_model_close(model);
}
END_TEST

START_TEST(test_same_bytes)
{
	const struct ds_kern *const *table;
	size_t n_table = ds_kern_all(&table);
	float *want = NULL;

	for (unsigned i = 0; i < n_table + 2; i++) {
		struct ds_model *model;
		float *got;

		setenv("DS_CPU", table[i < n_table ? i : n_table - 1]->name, 1);
		model = open_model(_i, DS_POOL_MEAN);
		got = embed(model, texts, N_TEXT, i % 2 ? N_TEXT : 1, 1 + i % 3);
		if (want)
			ck_assert_mem_eq(got, want, N_TEXT * ds_model_dims(model) * sizeof *got);
		free(want);
		want = got;
		ds_model_close(model);
	}
	unsetenv("DS_CPU");
	free(want);
}
END_TEST

START_TEST(test_pooling)
{
	struct ds_model *mean = open_model(0, DS_POOL_MEAN), *last = open_model(0, DS_POOL_LAST),
			*plain, *encoder;
	struct ds_err err;

	ck_assert_int_eq(try_open(&plain, 0, &err), DS_OK);
	ck_assert_uint_eq(ds_model_id(plain), ds_model_id(mean));
	ck_assert_uint_ne(ds_model_id(plain), ds_model_id(last));
	ds_model_close(mean);
	ds_model_close(last);
	ds_model_close(plain);
	ck_assert_int_eq(ds_model_open(&encoder, "tests/fuzz/corpus/fuzz_model/good-bert", &err),
			 DS_OK);
	ck_assert_int_eq(ds_model_set_pooling(encoder, DS_POOL_LAST, &err), DS_EINVAL);
	ck_assert_str_eq(err.message, "the pooling of architecture bert is fixed");
	ds_model_close(encoder);
}
END_TEST

static enum ds_status open_and_embed(struct ds_err *err)
{
	struct ds_embedder *emb;
	struct ds_model *model;
	float out[3 * 512];
	enum ds_status st;

	DS_TRY(try_open(&model, 0, err));
	ck_assert_uint_le(ds_model_dims(model), 512);
	st = ds_embedder_new(&emb, model, NULL, err);
	if (st == DS_OK) {
		st = ds_embed(emb, texts + 1, 3, out, err);
		ds_embedder_free(emb);
	}
	ds_model_close(model);
	return st;
}

START_TEST(test_no_memory)
{
	struct ds_err err;
	enum ds_status st;
	size_t after = 0;

	do {
		ds_alloc_fail_after(after++);
		st = open_and_embed(&err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK && after < 10000);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_lm_embed");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_definition, 0, N_MODEL);
	tcase_add_test(tc, test_windows);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_MODEL);
	tcase_add_test(tc, test_pooling);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
