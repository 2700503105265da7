/*
 * test_model_embed.c - embeddings do not depend on batches and threads; windows; failing memory
 *
 * The models are those of scripts/gen-model --fuzz; the encoder's context is 8 tokens.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kern/kern.h"
#include "model/model.h"

static const char *const paths[] = {
	"tests/fuzz/corpus/fuzz_model/good-bert", "tests/fuzz/corpus/fuzz_model/good-bert-f16",
	"tests/fuzz/corpus/fuzz_model/good-bert-q8_0", "tests/fuzz/corpus/fuzz_model/good-static",
	"tests/fuzz/corpus/fuzz_model/good-static-q8_0"};
#define N_PATH (int)(sizeof paths / sizeof *paths)
#define N_TEXT 700

static struct ds_model *model;
static struct ds_part texts[N_TEXT];

static void open_model(int i)
{
	struct ds_err err;

	ck_assert_msg(ds_model_open(&model, paths[i], &err) == DS_OK, "%s", err.message);
}

/* Texts of 0..30 words; every one a prefix of the same bytes. */
static void make_texts(void)
{
	static const char words[] =
		"the cat sat. eats the hat, at z the cats sat. the the cat sat. ";
	static char all[4 * sizeof words];

	for (int i = 0; i < 4; i++)
		memcpy(all + (size_t)i * (sizeof words - 1), words, sizeof words - 1);
	for (size_t i = 0; i < N_TEXT; i++)
		texts[i] = (struct ds_part){all, i * 37 % 150};
}

/* n texts at a time by a pool of threads; the caller frees. */
static float *embed(size_t n, unsigned threads)
{
	size_t dims = ds_model_dims(model);
	float *out = calloc(N_TEXT * dims, sizeof *out);
	struct ds_embedder *emb;
	struct ds_pool *pool = NULL;
	struct ds_err err;

	ck_assert_ptr_nonnull(out);
	if (threads)
		ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_int_eq(ds_embedder_new(&emb, model, pool, &err), DS_OK);
	for (size_t i = 0; i < N_TEXT; i += n)
		ck_assert_int_eq(ds_embed(emb, texts + i, n < N_TEXT - i ? n : N_TEXT - i,
					  out + i * dims, &err),
				 DS_OK);
	ck_assert_uint_gt(ds_embedder_tokens(emb), N_TEXT);
	ds_embedder_free(emb);
	ds_pool_free(pool);
	return out;
}

START_TEST(test_same_bytes)
{
	static const struct {
		size_t n;
		unsigned threads;
	} ways[] = {{1, 0}, {N_TEXT, 1}, {N_TEXT, 2}, {N_TEXT, 3}, {7, 2}, {300, 3}};
	float *want;

	open_model(_i);
	make_texts();
	want = embed(N_TEXT, 0);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		float *got = embed(ways[i].n, ways[i].threads);

		ck_assert_mem_eq(got, want, N_TEXT * ds_model_dims(model) * sizeof *got);
		free(got);
	}
	for (size_t i = 0; i < N_TEXT; i++) {
		const float *v = want + i * ds_model_dims(model);
		double square = 0;

		for (size_t j = 0; j < ds_model_dims(model); j++)
			square += (double)v[j] * (double)v[j];
		/* a static model leaves unknown words out: "th" has no token */
		ck_assert(square == 0 ? texts[i].len < 3 : fabs(square - 1) < 1e-5);
	}
	free(want);
	ds_model_close(model);
}
END_TEST

/* Every kernel table that this CPU can run. */
START_TEST(test_same_bytes_cpu)
{
	const struct ds_kern *const *table;
	size_t n = ds_kern_all(&table);
	float *want = NULL;

	make_texts();
	for (size_t i = 0; i < n; i++) {
		float *got;

		setenv("DS_CPU", table[i]->name, 1);
		open_model(_i);
		ck_assert_str_eq(ds_model_kernels(model), table[i]->name);
		got = embed(64, 2);
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

/* 15 words of one token through a context of 8: windows of 6, 6 and 3 between CLS and SEP. */
START_TEST(test_windows)
{
	static const char text[] = "the the the the the the the the the the the the the the the";
	const struct ds_part parts[] = {{text, 59}, {text, 23}, {text, 11}};
	double mix[16], square = 0;
	float out[3 * 16];
	struct ds_embedder *emb;
	struct ds_err err;

	open_model(0);
	ck_assert_uint_eq(ds_model_context(model), 8);
	ck_assert_uint_eq(ds_model_dims(model), 16);
	ck_assert_int_eq(ds_embedder_new(&emb, model, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_embed(emb, parts, 3, out, &err), DS_OK);
	ck_assert_uint_eq(ds_embedder_tokens(emb), 15 + 6 + 3);
	for (size_t i = 0; i < 16; i++) {
		mix[i] = 12 * (double)out[16 + i] + 3 * (double)out[32 + i];
		square += mix[i] * mix[i];
	}
	for (size_t i = 0; i < 16; i++)
		ck_assert_double_lt(fabs(mix[i] / sqrt(square) - (double)out[i]), 1e-6);
	ds_embedder_free(emb);
	ds_model_close(model);
}
END_TEST

START_TEST(test_fingerprint)
{
	uint64_t id[N_PATH];

	for (int i = 0; i < N_PATH; i++) {
		open_model(i);
		id[i] = ds_model_id(model);
		ds_model_close(model);
		open_model(i);
		ck_assert_uint_eq(ds_model_id(model), id[i]);
		ds_model_close(model);
		for (int j = 0; j < i; j++)
			ck_assert_uint_ne(id[i], id[j]);
	}
}
END_TEST

static enum ds_status open_and_embed(const char *path, struct ds_err *err)
{
	struct ds_embedder *emb;
	float out[4 * 64];
	enum ds_status st = ds_model_open(&model, path, err);

	if (st != DS_OK)
		return st;
	st = ds_embedder_new(&emb, model, NULL, err);
	if (st == DS_OK) {
		st = ds_embed(emb, texts + 3, 4, out, err);
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

	make_texts();
	do {
		ds_alloc_fail_after(after++);
		st = open_and_embed(paths[_i], &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK && after < 10000);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_uint_gt(after, 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_embed");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_same_bytes, 0, N_PATH);
	tcase_add_loop_test(tc, test_same_bytes_cpu, 0, N_PATH);
	tcase_add_test(tc, test_windows);
	tcase_add_test(tc, test_fingerprint);
	tcase_add_loop_test(tc, test_no_memory, 0, N_PATH);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
