/*
 * test_model_lockstep.c - sequences read together give what each gives alone
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/lm.h"

#define N_SEQUENCE 5
#define N_TOKEN 300

static const char *const models[] = {"llama-mix", "qwen2-mix", "gemma3-mix", "deepseek2-lite-old"};
#define N_MODEL 3 /* that can */
static const char *const levels[] = {"ref", "avx2", "avx512", "vnni"};
/* sequences begin and end at different steps */
static const size_t first[N_SEQUENCE] = {0, 0, 3, 70, 100},
		    length[N_SEQUENCE] = {300, 1, 64, 200, 190};
static char folder[] = "/tmp/test_model_lockstep.XXXXXX";

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

static uint32_t id_of(size_t sequence, size_t i)
{
	uint32_t x = (uint32_t)(sequence * 1000 + i) * 2654435761u;

	return (x >> 16) % 300;
}

/* Logits after every token of a sequence that is alone. */
static float *read_alone(const struct ds_model *model, const struct ds_session_options *o,
			 size_t sequence)
{
	size_t vocab = ds_model_vocab(model), n = length[sequence];
	float *logits = malloc(n * vocab * sizeof *logits);
	uint32_t id[N_TOKEN];
	struct ds_session *s;
	struct ds_err err;

	for (size_t i = 0; i < n; i++)
		id[i] = id_of(sequence, i);
	ck_assert_int_eq(ds_session_new(&s, model, NULL, o, &err), DS_OK);
	for (size_t i = 0, some; i < n; i += some) {
		some = n - i < 50 ? n - i : 50;
		ck_assert_int_eq(ds_session_read(s, id + i, some, some, &err), DS_OK);
		ck_assert_int_eq(ds_session_logits(s, 0, some, logits + i * vocab, &err), DS_OK);
	}
	ds_session_free(s);
	return logits;
}

/* All of them, the later sequences first in a step. */
static void read_together(const struct ds_model *model, const struct ds_session_options *o,
			  unsigned threads, float *const want[N_SEQUENCE])
{
	size_t vocab = ds_model_vocab(model);
	float *logits = malloc(N_SEQUENCE * vocab * sizeof *logits);
	struct ds_lockstep *l;
	struct ds_pool *pool;
	struct ds_err err;

	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_int_eq(ds_lockstep_new(&l, model, pool, o, N_SEQUENCE, &err), DS_OK);
	for (size_t step = 0; step < N_TOKEN; step++) {
		uint32_t which[N_SEQUENCE], id[N_SEQUENCE];
		size_t n = 0;

		for (uint32_t s = N_SEQUENCE; s-- > 0;)
			if (step >= first[s] && step < first[s] + length[s]) {
				which[n] = s;
				id[n++] = id_of(s, step - first[s]);
			}
		ck_assert_int_eq(ds_lockstep_read(l, which, id, n, &err), DS_OK);
		ck_assert_int_eq(ds_lockstep_logits(l, 0, n, logits, &err), DS_OK);
		for (size_t i = 0; i < n; i++) {
			uint32_t s = which[i];

			ck_assert_msg(memcmp(logits + i * vocab,
					     want[s] + (step - first[s]) * vocab,
					     vocab * sizeof *logits) == 0,
				      "step %zu, sequence %u, %u threads", step, s, threads);
		}
	}
	for (size_t s = 0; s < N_SEQUENCE; s++)
		ck_assert_uint_eq(ds_session_tokens(ds_lockstep_session(l, s)), length[s]);
	ds_lockstep_free(l);
	ds_pool_free(pool);
	free(logits);
}

START_TEST(test_same_bytes)
{
	static const struct ds_carry carry = {.window = 64, .chosen = 64};
	static const struct ds_attn_policy window = {.kind = DS_ATTN_WINDOW, .param = {100}};
	static const struct ds_session_options options[] = {
		{.context = N_TOKEN},
		{.context = 256, .carry = &carry},
		{.context = N_TOKEN, .attn = &window},
	};

	for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
		float *want[N_SEQUENCE];
		struct ds_model *model;

		unsetenv("DS_CPU");
		model = open_model(models[_i]);
		for (size_t s = 0; s < N_SEQUENCE; s++)
			want[s] = read_alone(model, &options[o], s);
		ds_model_close(model);
		for (size_t i = o > 0; i < sizeof levels / sizeof *levels; i++) {
			setenv("DS_CPU", levels[i], 1);
			model = open_model(models[_i]);
			read_together(model, &options[o], i == 0 ? 2 : (unsigned)i, want);
			ds_model_close(model);
		}
		for (size_t s = 0; s < N_SEQUENCE; s++)
			free(want[s]);
	}
}
END_TEST

/* Cut back, a sequence goes on from there. */
START_TEST(test_cut_back)
{
	static const struct ds_session_options options = {.context = N_TOKEN};
	struct ds_model *model = open_model(models[_i]);
	size_t vocab = ds_model_vocab(model);
	float *want = read_alone(model, &options, 0), *logits = malloc(vocab * sizeof *logits);
	static const uint32_t which[] = {1};
	static const size_t back[] = {299, 250, 191, 64, 3};
	struct ds_lockstep *l;
	struct ds_session *s;
	struct ds_err err;

	ck_assert_int_eq(ds_lockstep_new(&l, model, NULL, &options, 2, &err), DS_OK);
	s = ds_lockstep_session(l, 1);
	for (size_t k = 0; k < sizeof back / sizeof *back; k++) {
		for (size_t i = ds_session_tokens(s); i < N_TOKEN; i++) {
			uint32_t id = id_of(0, i);

			ck_assert_int_eq(ds_lockstep_read(l, which, &id, 1, &err), DS_OK);
			ck_assert_int_eq(ds_lockstep_logits(l, 0, 1, logits, &err), DS_OK);
			ck_assert_mem_eq(logits, want + i * vocab, vocab * sizeof *logits);
		}
		ds_session_truncate(s, back[k]);
		ck_assert_uint_eq(ds_session_tokens(s), back[k]);
	}
	ds_lockstep_free(l);
	free(logits);
	free(want);
	ds_model_close(model);
}
END_TEST

/* What cannot be read leaves the sequences as they were. */
START_TEST(test_refusals)
{
	static const struct ds_session_options options = {.context = 64};
	static const uint32_t which[] = {0, 1};
	struct ds_model *model = open_model(models[0]), *latent = open_model(models[N_MODEL]);
	uint32_t id[] = {1, 1};
	struct ds_lockstep *l;
	struct ds_err err;

	ck_assert_int_eq(ds_lockstep_new(&l, latent, NULL, &options, 2, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_lockstep_new(&l, model, NULL, &options, 0, &err), DS_EINVAL);
	ck_assert_int_eq(ds_lockstep_new(&l, model, NULL, &options, DS_LOCKSTEP_MAX + 1, &err),
			 DS_EINVAL);
	ck_assert_int_eq(ds_lockstep_new(&l, model, NULL, &options, 2, &err), DS_OK);
	ck_assert_int_eq(ds_lockstep_read(l, which, id, 0, &err), DS_OK);
	for (size_t i = 0; i < 63; i++)
		ck_assert_int_eq(ds_lockstep_read(l, which, id, 2, &err), DS_OK);
	id[1] = UINT32_MAX;
	ck_assert_int_eq(ds_lockstep_read(l, which, id, 2, &err), DS_EINVAL);
	id[1] = 1;
	ck_assert_uint_eq(ds_session_tokens(ds_lockstep_session(l, 0)), 63);
	ck_assert_int_eq(ds_lockstep_read(l, which + 1, id, 1, &err), DS_OK);
	ck_assert_int_eq(ds_lockstep_read(l, which, id, 2, &err), DS_ELIMIT);
	ck_assert_uint_eq(ds_session_tokens(ds_lockstep_session(l, 0)), 63);
	ck_assert_uint_eq(ds_session_tokens(ds_lockstep_session(l, 1)), 64);
	ck_assert_int_eq(ds_lockstep_read(l, which, id, 1, &err), DS_OK);
	ds_lockstep_free(l);
	ds_model_close(model);
	ds_model_close(latent);
}
END_TEST

START_TEST(test_no_memory)
{
	static const struct ds_session_options options = {.context = 128};
	static const uint32_t which[] = {0, 1, 2}, id[] = {1, 2, 3};
	struct ds_model *model = open_model(models[0]);
	enum ds_status st;
	size_t after = 0;

	do {
		struct ds_lockstep *l;
		struct ds_err err;

		ds_alloc_fail_after(after++);
		st = ds_lockstep_new(&l, model, NULL, &options, 3, &err);
		if (st == DS_OK) {
			st = ds_lockstep_read(l, which, id, 3, &err);
			ds_lockstep_free(l);
		}
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
	Suite *suite = suite_create("model_lockstep");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_MODEL);
	tcase_add_loop_test(tc, test_cut_back, 0, N_MODEL);
	tcase_add_test(tc, test_refusals);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
