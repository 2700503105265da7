/*
 * test_model_lm_golden.c - logits of tiny models of every architecture, plain and with adapters,
 * against llama.cpp's; adapters: the same bytes however tokens are read, and what is refused
 *
 * The golden values and how they are made: scripts/gen-logits.c.  Ours differ by keys and values in
 * 16 bits and, where weights are quantised, by activations rounded in groups of 32.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/lm.h"

#define N_TOKEN 48
#define N_LOGIT 8
#define VOCAB_MAX 512
#define GOLDEN "tests/golden/lm-logits.txt"

/* Error of a token's logits, of their spread: floats, f16 and bf16 (llama.cpp rounds activations to
 * them), quantised. */
#define EXACT 6e-3
#define NEAR 3e-2
#define COARSE 0.12

static const struct {
	const char *name; /* model, or model+adapter */
	double most;
	int beyond; /* tokens with more: where an expert is on the brink, rounding decides */
} cases[] = {
	{"llama-f32", EXACT, 0},
	{"llama-f16", EXACT, 0},
	{"llama-bf16", NEAR, 0},
	{"llama-freqs", EXACT, 0},
	{"llama-linear", EXACT, 0},
	{"llama-q8_0", COARSE, 0},
	{"llama-q4_0", COARSE, 0},
	{"llama-q4_1", COARSE, 0},
	{"llama-q5", COARSE, 0},
	{"llama-mix", COARSE, 0},
	{"llama-k", COARSE, 0},
	{"qwen2-f32", EXACT, 0},
	{"qwen2-yarn", EXACT, 0},
	{"qwen2-mix", COARSE, 0},
	{"gemma3-f32", EXACT, 0},
	{"gemma3-linear", EXACT, 0},
	{"gemma3-pattern", EXACT, 0},
	{"gemma3-period", EXACT, 0},
	{"gemma3-mix", COARSE, 0},
	{"deepseek2-lite", EXACT, 0},
	{"deepseek2-lite-old", EXACT, 0},
	{"deepseek2-v2", EXACT, 0},
	{"deepseek2-v3", EXACT, 0},
	{"deepseek2-v3-mix", COARSE, 6},
	{"llama-f32+lora-llama", EXACT, 0},
	{"llama-q4_1+lora-llama-q4_1", COARSE, 0},
	{"llama-q8_0+lora-wide", COARSE, 0},
	{"qwen2-f32+lora-qwen2", EXACT, 0},
	{"gemma3-f32+lora-gemma3", EXACT, 0},
	{"deepseek2-v3+lora-deepseek2", EXACT, 0},
};
#define N_CASE (int)(sizeof cases / sizeof *cases)

static char folder[] = "/tmp/test_lm_golden.XXXXXX";
static uint32_t ids[N_TOKEN];

static int make_models(void)
{
	char command[100];

	snprintf(command, sizeof command, "scripts/gen-model --lm %s", mkdtemp(folder));
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

static const char *path_of(const char *name, size_t n)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%.*s.gguf", folder, (int)n, name);
	return path;
}

static struct ds_model *open_model(const char *name)
{
	const char *plus = strchr(name, '+');
	struct ds_model *model;
	struct ds_err err;

	ck_assert_msg(ds_model_open(&model, path_of(name, plus ? (size_t)(plus - name) : 100),
				    &err) == DS_OK,
		      "%s: %s", name, err.message);
	if (plus)
		ck_assert_msg(ds_model_lora_add(model, path_of(plus + 1, 100), 1, &err) == DS_OK,
			      "%s: %s", name, err.message);
	return model;
}

/* Logits of all tokens, read split at a time: [N_TOKEN][vocab], to be freed. */
static float *run(const struct ds_model *model, unsigned threads, uint32_t split)
{
	struct ds_session_options options = {.batch = split};
	uint32_t vocab = ds_model_vocab(model);
	float *out = calloc((size_t)N_TOKEN * vocab, sizeof *out);
	struct ds_pool *pool = NULL;
	struct ds_session *s;
	struct ds_err err;

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	ck_assert_msg(ds_session_new(&s, model, pool, &options, &err) == DS_OK, "%s", err.message);
	for (uint32_t at = 0; at < N_TOKEN; at += split) {
		size_t n = N_TOKEN - at < split ? N_TOKEN - at : split;

		ck_assert_msg(ds_session_read(s, ids + at, n, n, &err) == DS_OK, "%s", err.message);
		ck_assert_int_eq(ds_session_logits(s, 0, n, out + (size_t)at * vocab, &err), DS_OK);
	}
	ds_session_free(s);
	ds_pool_free(pool);
	return out;
}

struct golden {
	int best[N_TOKEN];
	double logit[N_TOKEN][N_LOGIT];
	double spread; /* root of the mean square */
};

static void read_golden(const char *name, struct golden *g)
{
	FILE *f = fopen(GOLDEN, "r");
	char line[200], want[100];
	double squares = 0;

	ck_assert_ptr_nonnull(f);
	snprintf(want, sizeof want, "model %s\n", name);
	do
		ck_assert_msg(fgets(line, sizeof line, f) != NULL, "no %s in " GOLDEN, name);
	while (strcmp(line, want) != 0);
	for (int i = 0; i < N_TOKEN; i++) {
		ck_assert_int_eq(fscanf(f, "%d", &g->best[i]), 1);
		for (int j = 0; j < N_LOGIT; j++) {
			ck_assert_int_eq(fscanf(f, "%lf", &g->logit[i][j]), 1);
			squares += g->logit[i][j] * g->logit[i][j];
		}
	}
	fclose(f);
	g->spread = sqrt(squares / (N_TOKEN * N_LOGIT));
}

static double error_of(const struct golden *g, int token, const float *logits, uint32_t vocab)
{
	double squares = 0;

	for (int j = 0; j < N_LOGIT; j++) {
		double d =
			(double)logits[(uint32_t)(token * 7 + j * 41) % vocab] - g->logit[token][j];

		squares += d * d;
	}
	return sqrt(squares / N_LOGIT) / g->spread;
}

START_TEST(test_golden)
{
	struct ds_model *model = open_model(cases[_i].name);
	uint32_t vocab = ds_model_vocab(model);
	float *logits = run(model, 1, 13);
	double most = 0, sum = 0;
	struct golden g;
	int beyond = 0, best = 0;

	read_golden(cases[_i].name, &g);
	for (int i = 0; i < N_TOKEN; i++) {
		const float *l = logits + (size_t)i * vocab;
		double e = error_of(&g, i, l, vocab);
		uint32_t top = 0;

		for (uint32_t j = 1; j < vocab; j++)
			if (l[j] > l[top])
				top = j;
		best += (int)top == g.best[i];
		beyond += e > cases[_i].most;
		most = fmax(most, e);
		sum += e;
	}
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s: mean %.2g, most %.2g, beyond %d, best %d\n", cases[_i].name,
			sum / N_TOKEN, most, beyond, best);
	ck_assert_msg(beyond <= cases[_i].beyond, "%s: %d tokens beyond, worst %g", cases[_i].name,
		      beyond, most);
	ck_assert_int_ge(best, cases[_i].most <= EXACT ? N_TOKEN - 2 : N_TOKEN - 8);
	free(logits);
	ds_model_close(model);
}
END_TEST

/* The same model with gates and ups of experts as one tensor, and with a layer that predicts
 * further tokens, which is left out. */
START_TEST(test_other_layout)
{
	struct ds_model *a = open_model("deepseek2-v3"), *b = open_model("deepseek2-v3-fused");
	float *p = run(a, 1, 13), *q = run(b, 1, 13);

	ck_assert(memcmp(p, q, N_TOKEN * ds_model_vocab(a) * sizeof *p) == 0);
	free(p);
	free(q);
	ds_model_close(a);
	ds_model_close(b);
}
END_TEST

/* With adapters: the same bytes for every split, thread count and instruction set. */
START_TEST(test_adapter_same_bytes)
{
	static const char *const levels[] = {"ref", "avx2", "avx512", "vnni"};
	const char *name = cases[N_CASE - 1 - _i].name;
	float *want = NULL;
	size_t n;

	for (size_t level = 0; level < sizeof levels / sizeof *levels; level++) {
		struct ds_model *model;

		setenv("DS_CPU", levels[level], 1);
		model = open_model(name);
		n = (size_t)N_TOKEN * ds_model_vocab(model) * sizeof *want;
		for (uint32_t split = 1; split <= N_TOKEN; split += split == 1 ? 6 : 41) {
			float *got = run(model, split % 3 + 1, split);

			if (want)
				ck_assert_msg(memcmp(got, want, n) == 0, "%s: %s, %u at a time",
					      name, levels[level], split);
			else
				want = got;
			if (got != want)
				free(got);
		}
		ds_model_close(model);
	}
	free(want);
}
END_TEST

/* An adapter changes the model's fingerprint, by its scale too; scale 0 leaves the logits. */
START_TEST(test_adapter_scale)
{
	struct ds_model *plain = open_model("llama-f32"), *with = open_model("llama-f32");
	float *a, *b;
	struct ds_err err;
	uint64_t id = ds_model_id(plain);

	ck_assert_int_eq(ds_model_lora_add(with, path_of("lora-llama", 100), 0, &err), DS_OK);
	ck_assert_uint_ne(ds_model_id(with), id);
	id = ds_model_id(with);
	a = run(plain, 1, N_TOKEN);
	b = run(with, 1, N_TOKEN);
	for (size_t i = 0; i < (size_t)N_TOKEN * ds_model_vocab(plain); i++)
		ck_assert(a[i] == b[i]);
	free(b);
	ck_assert_int_eq(ds_model_lora_add(with, path_of("lora-llama", 100), 0.5f, &err), DS_OK);
	ck_assert_uint_ne(ds_model_id(with), id);
	b = run(with, 1, N_TOKEN);
	ck_assert(memcmp(a, b, N_TOKEN * ds_model_vocab(plain) * sizeof *a) != 0);
	free(a);
	free(b);
	ds_model_close(plain);
	ds_model_close(with);
}
END_TEST

static const struct {
	const char *name;
	enum ds_status status;
	const char *message;
} refusals[] = {
	{"type", DS_EFORMAT, "general.type is model, adapter expected"},
	{"kind", DS_EFORMAT, "adapter.type is lokr, lora expected"},
	{"architecture", DS_EFORMAT, "general.architecture is qwen2, llama expected"},
	{"rank", DS_EFORMAT, "blk.0.attn_q.weight.lora_a is 32 x 4 with a lora_b of 3 x 32"},
	{"dims", DS_EFORMAT, "blk.0.attn_q.weight.lora_a is 48 x 4"},
	{"half", DS_EFORMAT, "blk.0.attn_q.weight has a lora_a and no lora_b"},
	{"other-half", DS_EFORMAT, "tensors with"},
	{"nan", DS_EFORMAT, "blk.0.attn_q.weight.lora_b holds NaN"},
	{"alpha", DS_EFORMAT, "adapter.lora.alpha is inf"},
	{"values", DS_EUNSUPPORTED, "weights of type I8"},
	{"tensor", DS_EFORMAT, "blk.9.attn_q.weight is no tensor of the model"},
	{"suffix", DS_EUNSUPPORTED, "blk.0.attn_norm.weight: NAME.lora_a or NAME.lora_b"},
};

START_TEST(test_adapter_refusals)
{
	struct ds_model *model = open_model("small");
	uint64_t id = ds_model_id(model);
	struct ds_err err;
	char name[60];

	snprintf(name, sizeof name, "bad-lora-%s", refusals[_i].name);
	ck_assert_int_eq(ds_model_lora_add(model, path_of(name, 100), 1, &err),
			 refusals[_i].status);
	ck_assert_msg(strstr(err.message, refusals[_i].message), "%s: %s", name, err.message);
	ck_assert_msg(strstr(err.path, name), "%s: %s", name, err.path);
	ck_assert_uint_eq(ds_model_id(model), id);
	ds_model_close(model);
}
END_TEST

START_TEST(test_adapter_wrong_model)
{
	struct ds_model *model = open_model("llama-k"), *encoder;
	struct ds_err err;

	ck_assert_int_eq(ds_model_lora_add(model, path_of("lora-llama", 100), 1, &err), DS_EFORMAT);
	ck_assert_int_eq(ds_model_lora_add(model, path_of("llama-k", 100), 1, &err), DS_EFORMAT);
	ck_assert_int_eq(ds_model_lora_add(model, path_of("none", 100), 1, &err), DS_EIO);
	ck_assert_int_eq(ds_model_lora_add(model, path_of("lora-llama", 100), INFINITY, &err),
			 DS_EINVAL);
	ds_model_close(model);
	ck_assert_int_eq(ds_model_open(&encoder, "tests/fuzz/corpus/fuzz_model/good-bert", &err),
			 DS_OK);
	ck_assert_int_eq(ds_model_lora_add(encoder, path_of("lora-llama", 100), 1, &err),
			 DS_EINVAL);
	ds_model_close(encoder);
}
END_TEST

static enum ds_status add_and_read(struct ds_err *err)
{
	struct ds_session_options options = {.context = 20};
	struct ds_model *model;
	struct ds_session *s;
	float logits[VOCAB_MAX];
	enum ds_status st = ds_model_open(&model, path_of("deepseek2-v3", 100), err);

	if (st != DS_OK)
		return st;
	st = ds_model_lora_add(model, path_of("lora-deepseek2", 100), 1, err);
	if (st == DS_OK)
		st = ds_session_new(&s, model, NULL, &options, err);
	if (st == DS_OK) {
		st = ds_session_read(s, ids, 20, 1, err);
		if (st == DS_OK)
			st = ds_session_logits(s, 0, 1, logits, err);
		ds_session_free(s);
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
		st = add_and_read(&err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK && after < 10000);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_uint_gt(after, 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_lm_golden");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, test_golden, 0, N_CASE);
	tcase_add_test(tc, test_other_layout);
	tcase_add_loop_test(tc, test_adapter_same_bytes, 0, 6);
	tcase_add_test(tc, test_adapter_scale);
	tcase_add_loop_test(tc, test_adapter_refusals, 0,
			    (int)(sizeof refusals / sizeof *refusals));
	tcase_add_test(tc, test_adapter_wrong_model);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
