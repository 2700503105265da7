/*
 * test_model_carry.c - sessions beyond their context: pages that move, what is kept, the same bytes
 * however a text is read
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/recall.h"
#include "base/half.h"
#include "base/mem.h"
#include "model/lm.h"

#define N_TOKEN 700

static char folder[] = "/tmp/test_model_carry.XXXXXX";
static uint32_t ids[N_TOKEN];

static int make_models(void)
{
	char command[200];

	for (uint32_t i = 0, x = 1; i < N_TOKEN; i++, x = x * 1664525 + 1013904223)
		ids[i] = (x >> 16) % 300;
	snprintf(command, sizeof command,
		 "scripts/gen-model --lm %s llama-freqs llama-mix qwen2-yarn gemma3-f32 "
		 "gemma3-period deepseek2-lite",
		 mkdtemp(folder));
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
	ck_assert_msg(ds_model_open(&model, path, &err) == DS_OK, "%s: %s", name, err.message);
	return model;
}

/* --- pages --------------------------------------------------------------------------------- */

static float noise(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return (float)(*x >> 8) * 0x1p-23f - 1;
}

static const struct ds_rope_config ropes[] = {
	{.dims = 32, .base = 1e4},
	{.dims = 32, .base = 1e6, .pairs = true},
	{.dims = 16, .base = 1e4},
	{.dims = 32,
	 .base = 1e4,
	 .scale = 0.25,
	 .ext_factor = 1,
	 .attn_factor = 1.1,
	 .beta_fast = 32,
	 .beta_slow = 1,
	 .n_context_orig = 128},
};
#define N_ROPE (sizeof ropes / sizeof *ropes)

#define DIM 32

/* Token pos of the page: its key, turned to the position it has. */
static void key_at(const struct ds_rope *rope, const struct ds_kern *kern, size_t name, size_t pos,
		   float *key)
{
	float table[2 * DS_ROPE_DIMS_MAX];
	uint32_t x = (uint32_t)name * 2654435761u + 1;

	for (size_t d = 0; d < DIM; d++)
		key[d] = noise(&x) * 3 + (float)(d % 5);
	ds_rope_table(rope, pos, table);
	ds_rope_apply(rope, kern, table, key, 1, DIM);
}

static float read_key(const struct ds_kv *kv, size_t pos, size_t d, float *slack)
{
	size_t t = pos % DS_KV_PAGE, page = pos / DS_KV_PAGE;
	struct ds_page8 p;
	float key[DIM];

	if (!ds_kv_shape(kv)->recent) {
		const uint16_t *half = ds_kv_page(kv, 0, 0, page);

		*slack = 0.01f;
		return ds_f16_to_f32(half[t / 16 * 16 * DIM + d * 16 + t % 16]);
	}
	p = ds_kv_page8(kv, 0, 0, page);
	/* rounded twice, errors of s / sqrt 12 that are turned: 5 sqrt (2 / (12 span)) s */
	*slack = 0.01f + 0.36f * p.k_scale[t];
	ds_page8_key(&p, DIM, t, key);
	return ds_kv_k_mean(kv, 0, 0, page)[d] + key[d];
}

/* Pages moved have the keys of tokens read where they now are. */
START_TEST(test_move)
{
	static const uint32_t pages[] = {0, 3, 4, 7};
	const struct ds_kv_shape shape = {.n_layer = 1,
					  .n_head = 1,
					  .dim_k = DIM,
					  .dim_v = 16,
					  .n_context = 512,
					  .recent = _i % 2 ? 2 : 0};
	const struct ds_kern *kern;
	struct ds_rope rope;
	struct ds_kv *kv;
	float key[DIM], value[16] = {0}, slack;

	ck_assert_int_eq(ds_kern_choose(&kern, NULL), DS_OK);
	ck_assert_int_eq(ds_rope_init(&rope, &ropes[_i / 2], NULL), DS_OK);
	ck_assert_int_eq(ds_kv_new(&kv, &shape, NULL), DS_OK);
	for (size_t pos = 0; pos < 512; pos++) {
		ck_assert_int_eq(ds_kv_reserve(kv, pos + 1, NULL), DS_OK);
		key_at(&rope, kern, pos, pos, key);
		value[0] = (float)(pos % 64);
		ds_kv_put(kv, kern, 0, pos, key, value);
		if (shape.recent && pos % 64 == 63)
			ds_kv_seal(kv, kern, 0, 0, pos / 64);
	}
	ds_kv_move(kv, kern,
		   &(struct ds_kv_move){.page = pages, .n = sizeof pages / 4, .rope = &rope});
	ds_kv_moved(kv, sizeof pages / 4);
	for (size_t pos = 0; pos < 64 * sizeof pages / 4; pos++) {
		key_at(&rope, kern, pages[pos / 64] * (size_t)64 + pos % 64, pos, key);
		for (size_t d = 0; d < DIM; d++) {
			float got = read_key(kv, pos, d, &slack);

			ck_assert_msg(fabsf(got - key[d]) <= slack, "%zu %zu: %g %g", pos, d,
				      (double)got, (double)key[d]);
		}
		if (shape.recent) {
			struct ds_page8 p = ds_kv_page8(kv, 0, 0, pos / 64);
			size_t t = pos % 64;
			int sum = 0;

			for (size_t d = 0; d < DIM; d++)
				sum += p.k[t / 16 * 16 * DIM + d / 4 * 64 + t % 16 * 4 + d % 4];
			ck_assert_int_eq(p.k_zero[t], -128 * sum);
			ck_assert_float_eq_tol((float)p.v[t / 4 * 64 + t % 4] * p.v_scale[t],
					       (float)t, 0.01f);
		}
	}
	ds_kv_free(kv);
}
END_TEST

/* Masses are those of a softmax in double precision, of more queries than are taken at a time. */
START_TEST(test_recall)
{
	enum { PAGES = 5, N = 70 };
	const struct ds_kv_shape shape = {.n_layer = 1,
					  .n_head = 1,
					  .dim_k = DIM,
					  .dim_v = 16,
					  .n_context = 64 * PAGES,
					  .recent = _i ? PAGES : 0};
	const struct ds_kern *kern;
	struct ds_arena mem;
	struct ds_kv *kv;
	uint32_t x = 7;
	double mass[PAGES] = {0}, want[PAGES] = {0};
	float q[N * DIM], value[16] = {0}, slack;

	ds_arena_init(&mem);
	ck_assert_int_eq(ds_kern_choose(&kern, NULL), DS_OK);
	ck_assert_int_eq(ds_kv_new(&kv, &shape, NULL), DS_OK);
	ck_assert_int_eq(ds_kv_reserve(kv, shape.n_context, NULL), DS_OK);
	for (size_t pos = 0; pos < shape.n_context; pos++) {
		float key[DIM];

		for (size_t d = 0; d < DIM; d++)
			key[d] = noise(&x) + (pos / 64 == 3 && d < 8);
		ds_kv_put(kv, kern, 0, pos, key, value);
		if (shape.recent && pos % 64 == 63)
			ds_kv_seal(kv, kern, 0, 0, pos / 64);
	}
	for (size_t i = 0; i < N * DIM; i++)
		q[i] = 2 * noise(&x) + (i % DIM < 8);
	for (size_t i = 0; i < N; i++) {
		double e[64 * PAGES], sum = 0;

		for (size_t pos = 64; pos < shape.n_context; pos++) {
			double s = 0;

			for (size_t d = 0; d < DIM; d++)
				s += (double)q[i * DIM + d] * (double)read_key(kv, pos, d, &slack);
			e[pos] = exp(0.3 * s);
			sum += e[pos];
		}
		for (size_t pos = 64; pos < shape.n_context; pos++)
			want[pos / 64] += e[pos] / sum;
	}
	ds_recall_run(ds_recall_new(&mem, kern, &shape),
		      &(struct ds_recall_call){
			      .kv = kv, .q = q, .n = N, .scale = 0.3f, .first = 1, .end = PAGES},
		      mass);
	for (size_t p = 1; p < PAGES; p++)
		ck_assert_double_eq_tol(mass[p - 1], want[p], 0.02 * want[p]);
	ck_assert_double_gt(mass[2], mass[1] * 2);
	ck_assert_double_eq_tol(mass[0] + mass[1] + mass[2] + mass[3], N, 1e-6);
	ds_arena_fini(&mem);
	ds_kv_free(kv);
}
END_TEST

/* --- sessions ------------------------------------------------------------------------------ */

static const char *const names[] = {"llama-freqs", "llama-mix", "qwen2-yarn", "gemma3-f32"};
#define N_NAME (sizeof names / sizeof *names)

static const struct ds_carry carry = {.window = 100, .chosen = 64};

static const char *const policies[] = {"dense",	       "exact",	    "mass:0.5",
				       "auto:0.8",     "window:80", "topk:70",
				       "stream:64,80", "vsa",	    "lsh"};
#define N_POLICY (sizeof policies / sizeof *policies)

static struct ds_session *new_session(const struct ds_model *model, struct ds_pool *pool,
				      size_t attention)
{
	struct ds_attn_policy policy;
	struct ds_session_options o = {
		.context = 350, .batch = 100, .attn = &policy, .carry = &carry};
	struct ds_session *s;
	struct ds_err err;

	ck_assert_int_eq(ds_attn_policy_parse(&policy, policies[attention], &err), DS_OK);
	policy.break_even = 0;
	ck_assert_msg(ds_session_new(&s, model, pool, &o, &err) == DS_OK, "%s", err.message);
	ck_assert_uint_eq(ds_session_context(s), 320);
	ck_assert(ds_session_carries(s));
	return s;
}

/* Tokens from .. to, in pieces of split; all states wanted or none; the logits of the last. */
static void read_in(struct ds_session *s, size_t to, size_t split, float *logits)
{
	struct ds_err err;
	size_t from = ds_session_tokens(s);

	for (size_t n; from < to; from += n) {
		n = to - from < split ? to - from : split;
		ck_assert_msg(ds_session_read(s, ids + from, n, n <= 100 && from % 2 ? n : 1,
					      &err) == DS_OK,
			      "%s", err.message);
		ck_assert_int_eq(
			ds_session_logits(s, n <= 100 && from % 2 ? n - 1 : 0, 1, logits, &err),
			DS_OK);
	}
}

/* The same bytes for every split, thread count and table; and they depend on what is forgotten. */
START_TEST(test_same)
{
	static const struct {
		size_t split;
		unsigned threads;
		const char *cpu;
	} runs[] = {{512, 1, NULL}, {1, 2, NULL}, {7, 3, NULL}, {64, 1, "ref"}, {700, 2, "avx2"}};
	/* dense and exact with all models, the others with one each */
	size_t both = 2 * N_NAME, i_name = (size_t)_i < both ? (size_t)_i / 2 : _i % N_NAME;
	size_t attention = (size_t)_i < both ? (size_t)_i % 2 : (size_t)_i - both + 2;
	float *want = NULL, *got = NULL;

	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
		struct ds_model *model;
		struct ds_session *s;
		struct ds_pool *pool;
		size_t bytes;

		if (runs[i].cpu)
			setenv("DS_CPU", runs[i].cpu, 1);
		model = open_model(names[i_name]);
		unsetenv("DS_CPU");
		bytes = ds_model_vocab(model) * sizeof(float);
		want = want ? want : malloc(bytes);
		got = got ? got : malloc(bytes);
		ck_assert_int_eq(ds_pool_new(&pool, runs[i].threads, NULL), DS_OK);
		s = new_session(model, pool, attention);
		read_in(s, N_TOKEN, runs[i].split, i ? got : want);
		ck_assert_uint_eq(ds_session_tokens(s), N_TOKEN);
		ck_assert_uint_eq(ds_session_rolls(s), 6); /* at 320, 384, ... 640 */
		if (i)
			ck_assert_mem_eq(got, want, bytes);
		ds_session_free(s);
		ds_pool_free(pool);
		ds_model_close(model);
	}
	free(want);
	free(got);
}
END_TEST

/* Back to what is still held, and to what is not. */
START_TEST(test_truncate)
{
	struct ds_model *model = open_model(names[_i / 2]);
	struct ds_session *s = new_session(model, NULL, _i % 2);
	size_t bytes = ds_model_vocab(model) * sizeof(float);
	float *want = malloc(bytes), *got = malloc(bytes);

	read_in(s, 410, 50, want);
	read_in(s, 440, 50, got);
	ck_assert_uint_eq(ds_session_truncate(s, 500), 440);
	ck_assert_uint_eq(ds_session_truncate(s, 390), 390);
	read_in(s, 410, 3, got);
	ck_assert_mem_eq(got, want, bytes);
	ck_assert_uint_eq(ds_session_truncate(s, 384), 384);
	read_in(s, 410, 3, got);
	ck_assert_mem_eq(got, want, bytes);
	ck_assert_uint_eq(ds_session_truncate(s, 383), 0);
	read_in(s, 410, 410, got);
	ck_assert_mem_eq(got, want, bytes);
	/* a bad id after a roll: nothing is read; none is lost */
	ck_assert_int_eq(ds_session_read(s, &(uint32_t){1u << 30}, 1, 1, NULL), DS_EINVAL);
	ck_assert_uint_eq(ds_session_tokens(s), 410);
	ds_session_free(s);
	ds_model_close(model);
	free(want);
	free(got);
}
END_TEST

/* Where layers see no further than the last tokens, what is forgotten is not missed. */
START_TEST(test_window)
{
	static const uint32_t global[] = {1, 3};
	struct ds_model *model = open_model("gemma3-period");
	struct ds_session_options o = {.context = 256, .skip = global, .n_skip = 2};
	struct ds_session *whole, *s;
	size_t n = ds_model_vocab(model);
	float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got), most = 0;
	struct ds_err err;

	ck_assert_int_eq(ds_session_new(&whole, model, NULL,
					&(struct ds_session_options){.skip = global, .n_skip = 2},
					&err),
			 DS_OK);
	o.carry = &carry;
	o.context = 320;
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_OK);
	read_in(whole, 650, 100, want);
	read_in(s, 650, 100, got);
	ck_assert_uint_gt(ds_session_rolls(s), 2);
	for (size_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(got[i] - want[i]) / (1 + fabsf(want[i])));
	ck_assert_float_lt(most, 0.05f);
	ds_session_free(whole);
	ds_session_free(s);
	ds_model_close(model);
	free(want);
	free(got);
}
END_TEST

START_TEST(test_memory)
{
	struct ds_model *model = open_model("llama-freqs");
	struct ds_session *s = new_session(model, NULL, 0);
	float logits[1024];
	struct mallinfo2 before, after;
	struct ds_err err;

	ck_assert_uint_le(ds_model_vocab(model), 1024);
	read_in(s, 400, 64, logits);
	before = mallinfo2();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(ds_session_read(s, ids, N_TOKEN, 0, &err), DS_OK);
	after = mallinfo2();
	ck_assert_uint_eq(before.uordblks + before.hblkhd, after.uordblks + after.hblkhd);
	ck_assert_uint_eq(ds_session_tokens(s), 7400);
	ds_session_free(s);
	ds_model_close(model);
}
END_TEST

START_TEST(test_refusals)
{
	struct ds_model *mla = open_model("deepseek2-lite"), *model = open_model("llama-freqs");
	const struct ds_carry full = {.window = 192, .chosen = 64}, huge = {.window = INT32_MAX};
	struct ds_session_options o = {.context = 320, .carry = &carry};
	struct ds_session *s;
	struct ds_err err;
	enum ds_status st;
	size_t after = 0;

	ck_assert_int_eq(ds_session_new(&s, mla, NULL, &o, &err), DS_EUNSUPPORTED);
	o.carry = &full;
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_EINVAL);
	o.carry = &huge;
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_EINVAL);
	o.context = 63;
	o.carry = &(struct ds_carry){.chosen = DS_CARRY_DEFAULT};
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_EINVAL);
	o.context = 256;
	do {
		ds_alloc_fail_after(after++);
		st = ds_session_new(&s, model, NULL, &o, &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK);
	ds_alloc_fail_after(SIZE_MAX);
	ds_session_free(s);
	ds_model_close(mla);
	ds_model_close(model);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_carry");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_move, 0, 2 * N_ROPE);
	tcase_add_loop_test(tc, test_recall, 0, 2);
	tcase_add_loop_test(tc, test_same, 0, 2 * N_NAME + N_POLICY - 2);
	tcase_add_loop_test(tc, test_truncate, 0, 2 * N_NAME);
	tcase_add_test(tc, test_window);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_refusals);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
