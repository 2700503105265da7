/*
 * test_archive_lm_code.c - text coded by a language model: there and back on every machine; foreign
 * code; texts that cannot be spelled; failing memory
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/lm_code.h"

static const char *const models[] = {"llama-q8_0", "qwen2-mix", "gemma3-mix", "deepseek2-lite-old"};
#define N_MODEL 3 /* that can */
static const char *const levels[] = {"ref", "avx2", "avx512", "vnni"};
static const struct ds_lm_code_rule rule = {.context = 256};
static char folder[] = "/tmp/test_archive_lm_code.XXXXXX";

#define N_JOB 7
#define TEXT_MAX 900
static uint8_t text[N_JOB][TEXT_MAX];
static const size_t length[N_JOB] = {700, 1, 0, 64, 900, 3, 300};

static void make_texts(void)
{
	static const char words[] = "The lease may be ended by either party. Größe, 長い, ";
	uint32_t x = 1;

	for (size_t j = 0; j < N_JOB; j++)
		for (size_t i = 0; i < TEXT_MAX; i++, x = x * 1664525 + 1013904223)
			text[j][i] = (uint8_t)words[(i + j * 7 + (x >> 28)) % (sizeof words - 1)];
	for (size_t i = 0; i < length[6]; i++) /* any bytes */
		text[6][i] = (uint8_t)(i * 37 + (i >> 8));
}

static int make_models(void)
{
	char command[300];

	snprintf(command, sizeof command, "scripts/gen-model --lm %s %s %s %s %s", mkdtemp(folder),
		 models[0], models[1], models[2], models[3]);
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

/* Jobs of the texts, their code in code[], their bytes in to or the texts. */
static void make_jobs(struct ds_lm_job job[N_JOB], struct ds_buf code[N_JOB],
		      uint8_t (*to)[TEXT_MAX])
{
	for (size_t i = 0; i < N_JOB; i++)
		job[i] = (struct ds_lm_job){
			.bytes = to ? to[i] : text[i], .n = length[i], .code = &code[i]};
}

static void encode(const char *name, unsigned threads, struct ds_buf code[N_JOB], bool unfit[N_JOB])
{
	struct ds_model *model = open_model(name);
	struct ds_lm_job job[N_JOB];
	struct ds_lm_code *c;
	struct ds_pool *pool;
	struct ds_err err;

	memset(code, 0, N_JOB * sizeof *code);
	make_jobs(job, code, NULL);
	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_int_eq(ds_lm_code_new(&c, model, pool, &rule, &err), DS_OK);
	ck_assert_int_eq(ds_lm_encode(c, job, N_JOB, &err), DS_OK);
	for (size_t i = 0; i < N_JOB; i++)
		unfit[i] = job[i].unfit;
	ds_lm_code_free(c);
	ds_pool_free(pool);
	ds_model_close(model);
}

/* Those of n jobs from first on. */
static void decode(const char *name, unsigned threads, struct ds_buf code[N_JOB], size_t first,
		   size_t n)
{
	struct ds_model *model = open_model(name);
	uint8_t back[N_JOB][TEXT_MAX];
	struct ds_lm_job job[N_JOB];
	struct ds_lm_code *c;
	struct ds_pool *pool;
	struct ds_err err;

	make_jobs(job, code, back);
	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_int_eq(ds_lm_code_new(&c, model, pool, &rule, &err), DS_OK);
	ck_assert_int_eq(ds_lm_decode(c, job + first, n, &err), DS_OK);
	for (size_t i = first; i < first + n; i++) {
		ck_assert_int_eq(job[i].status, DS_OK);
		ck_assert_mem_eq(back[i], text[i], length[i]);
	}
	ds_lm_code_free(c);
	ds_pool_free(pool);
	ds_model_close(model);
}

static void free_codes(struct ds_buf code[N_JOB])
{
	for (size_t i = 0; i < N_JOB; i++)
		ds_buf_fini(&code[i]);
}

START_TEST(test_there_and_back)
{
	struct ds_buf want[N_JOB];
	bool unfit[N_JOB];

	unsetenv("DS_CPU");
	encode(models[_i], 1, want, unfit);
	for (size_t i = 0; i < N_JOB; i++)
		ck_assert(!unfit[i]);
	ck_assert_uint_eq(want[2].len, 0);
	for (size_t i = 1; i < N_JOB; i++)
		decode(models[_i], 2, want, i, 1);
	for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
		struct ds_buf code[N_JOB];

		setenv("DS_CPU", levels[l], 1);
		decode(models[_i], (unsigned)l + 1, want, 0, N_JOB);
		encode(models[_i], (unsigned)l + 1, code, unfit);
		for (size_t i = 0; i < N_JOB; i++) {
			ck_assert_uint_eq(code[i].len, want[i].len);
			if (want[i].len)
				ck_assert_mem_eq(code[i].data, want[i].data, want[i].len);
		}
		free_codes(code);
	}
	free_codes(want);
}
END_TEST

/* More blocks than are decoded at a time. */
START_TEST(test_many)
{
	enum { N = 150 };
	struct ds_model *model = open_model(models[0]);
	struct ds_lm_job job[N];
	struct ds_buf code[N] = {{0}};
	uint8_t back[N][20];
	struct ds_lm_code *c;
	struct ds_err err;

	ck_assert_int_eq(ds_lm_code_new(&c, model, NULL, &rule, &err), DS_OK);
	for (size_t i = 0; i < N; i++)
		job[i] =
			(struct ds_lm_job){.bytes = text[0] + i, .n = i * 7 % 20, .code = &code[i]};
	ck_assert_int_eq(ds_lm_encode(c, job, N, &err), DS_OK);
	for (size_t i = 0; i < N; i++)
		job[i].bytes = back[i];
	ck_assert_int_eq(ds_lm_decode(c, job, N, &err), DS_OK);
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_eq(job[i].status, DS_OK);
		ck_assert_mem_eq(back[i], text[0] + i, i * 7 % 20);
		ds_buf_fini(&code[i]);
	}
	ds_lm_code_free(c);
	ds_model_close(model);
}
END_TEST

/* A block of two lanes, beside one that is done before. */
START_TEST(test_lanes)
{
	enum { N = 2, BYTES = 17000 };
	static const size_t n[N] = {BYTES, 200};
	struct ds_model *model = open_model(models[0]);
	uint8_t *all = malloc(BYTES), *back = malloc(BYTES);
	struct ds_buf code[N] = {{0}};
	struct ds_lm_job job[N];
	struct ds_lm_code *c;
	struct ds_err err;

	for (size_t i = 0; i < BYTES; i++)
		all[i] = text[i / TEXT_MAX % 2][i * i / 5000 % 600];
	ck_assert_int_eq(ds_lm_code_new(&c, model, NULL, &rule, &err), DS_OK);
	for (size_t i = 0; i < N; i++)
		job[i] = (struct ds_lm_job){.bytes = all, .n = n[i], .code = &code[i]};
	ck_assert_int_eq(ds_lm_encode(c, job, N, &err), DS_OK);
	for (size_t i = 0; i < N; i++) {
		job[i].bytes = back;
		ck_assert_int_eq(ds_lm_decode(c, &job[i], 1, &err), DS_OK);
		ck_assert_int_eq(job[i].status, DS_OK);
		ck_assert_mem_eq(back, all, n[i]);
	}
	for (size_t i = 0; i < N; i++)
		ds_buf_fini(&code[i]);
	free(all);
	free(back);
	ds_lm_code_free(c);
	ds_model_close(model);
}
END_TEST

/* Damage is told, or gives other bytes; the blocks beside it are as they were. */
START_TEST(test_foreign_code)
{
	struct ds_model *model = open_model(models[0]);
	uint8_t back[N_JOB][TEXT_MAX];
	struct ds_lm_job job[N_JOB];
	struct ds_buf code[N_JOB];
	bool unfit[N_JOB];
	struct ds_lm_code *c;
	struct ds_err err;

	encode(models[0], 1, code, unfit);
	ck_assert_int_eq(ds_lm_code_new(&c, model, NULL, &rule, &err), DS_OK);
	make_jobs(job, code, back);
	code[0].len--;
	memset(code[3].data, 0xFF, code[3].len);
	code[4].data[5] ^= 4;
	code[5].len = 0;
	ck_assert_int_eq(ds_buf_append(&code[6], "too long", 8, NULL), DS_OK);
	ck_assert_int_eq(ds_lm_decode(c, job, N_JOB, &err), DS_OK);
	for (size_t i = 0; i < N_JOB; i++) {
		bool same = job[i].status == DS_OK && memcmp(back[i], text[i], length[i]) == 0;

		ck_assert_msg(same == (i == 1 || i == 2), "job %zu", i);
	}
	ck_assert_int_ne(job[6].status, DS_OK);
	free_codes(code);
	ds_lm_code_free(c);
	ds_model_close(model);
}
END_TEST

START_TEST(test_refusals)
{
	struct ds_model *latent = open_model(models[N_MODEL]), *encoder;
	struct ds_buf code = {0};
	struct ds_lm_job job = {.bytes = text[0], .n = 10, .code = &code};
	struct ds_lm_code *c;
	struct ds_err err;

	ck_assert_int_eq(ds_model_open(&encoder, "share/ds-static.gguf", &err), DS_OK);
	ck_assert_int_eq(ds_lm_code_new(&c, encoder, NULL, &rule, &err), DS_EINVAL);
	ck_assert_int_eq(ds_lm_code_new(&c, latent, NULL, &rule, &err), DS_OK);
	ck_assert_int_eq(ds_lm_encode(c, &job, 1, &err), DS_EUNSUPPORTED);
	ds_lm_code_free(c);
	ds_model_close(encoder);
	ds_model_close(latent);
}
END_TEST

START_TEST(test_no_memory)
{
	struct ds_model *model = open_model(models[0]);
	enum ds_status st;
	size_t after = 0;

	do {
		struct ds_buf code = {0};
		struct ds_lm_job job = {.bytes = text[0], .n = 10, .code = &code};
		struct ds_lm_code *c;
		struct ds_err err;
		uint8_t back[10];

		ds_alloc_fail_after(after++);
		st = ds_lm_code_new(&c, model, NULL, &rule, &err);
		if (st == DS_OK) {
			st = ds_lm_encode(c, &job, 1, &err);
			job.bytes = back;
			if (st == DS_OK)
				st = ds_lm_decode(c, &job, 1, &err);
			ds_lm_code_free(c);
		}
		ds_buf_fini(&code);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK && after < 10000);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_uint_gt(after, 20);
	ds_model_close(model);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_lm_code");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	make_texts();
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_there_and_back, 0, N_MODEL);
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_lanes);
	tcase_add_test(tc, test_foreign_code);
	tcase_add_test(tc, test_refusals);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
