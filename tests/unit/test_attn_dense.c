/*
 * test_attn_dense.c - attention, exact and to rounded pages, against a naive one in double, and the
 * same bytes for any split of the sequence, thread count and table
 */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attn.h"
#include "base/half.h"
#include "../kern_guard.h"

/* A layer in the middle of several; what a sequence is made of. */
#define LAYERS 3
#define LAYER 1

struct shape {
	uint32_t n_head, n_kv, dim_k, dim_v, window;
	size_t n;
};

static const struct shape shapes[] = {
	{9, 3, 64, 64, 0, 700},	    /* SmolLM2 */
	{14, 2, 64, 64, 0, 600},    /* Qwen2.5 */
	{4, 1, 256, 256, 512, 700}, /* Gemma 3 */
	{4, 1, 256, 256, 0, 300},   {2, 2, 96, 96, 0, 200},
	{8, 2, 128, 128, 100, 400}, {4, 4, 192, 128, 0, 200}, /* MLA, opened */
	{19, 1, 80, 64, 0, 150},			      /* MLA, absorbed: two parts */
	{3, 1, 16, 16, 1, 130},	    {5, 1, 16, 32, 64, 300},
	{1, 1, 16, 16, 0, 1700},    {3, 3, 32, 16, 70, 600},
};
#define N_SHAPE ((int)(sizeof shapes / sizeof *shapes))

struct sequence {
	struct shape s;
	bool rounded;
	float *q, *k, *v;
};

static struct sequence make(int index)
{
	struct sequence q = {.s = shapes[index % N_SHAPE], .rounded = index >= N_SHAPE};
	const struct shape *s = &q.s;
	size_t n_q = s->n * s->n_head * s->dim_k, n_k = s->n * s->n_kv * s->dim_k;
	size_t n_v = s->n * s->n_kv * s->dim_v;

	seed = 77 + (uint64_t)index;
	q.q = malloc(n_q * sizeof(float));
	q.k = malloc(n_k * sizeof(float));
	q.v = malloc(n_v * sizeof(float));
	for (size_t i = 0; i < n_q; i++)
		q.q[i] = fminf(fmaxf(real(), -1), 1);
	for (size_t i = 0; i < n_k; i++)
		q.k[i] = real();
	for (size_t i = 0; i < n_v; i++)
		q.v[i] = fminf(fmaxf(real(), -1), 1);
	return q;
}

static void drop(struct sequence *q)
{
	free(q->q);
	free(q->k);
	free(q->v);
}

static size_t out_size(const struct shape *s)
{
	return s->n * s->n_head * s->dim_v;
}

static struct ds_kv_shape kv_shape(const struct sequence *seq, size_t step)
{
	const struct shape *s = &seq->s;

	return (struct ds_kv_shape){.n_layer = LAYERS,
				    .n_head = s->n_kv,
				    .dim_k = s->dim_k,
				    .dim_v = s->dim_v,
				    .n_context = (uint32_t)s->n,
				    .recent = seq->rounded ? (uint32_t)(step / DS_KV_PAGE + 2) : 0};
}

/* Tokens from pos on are there: round the pages that are full now. */
static void seal(const struct sequence *seq, struct ds_kv *kv, const struct ds_kern *kern,
		 size_t pos, size_t n)
{
	for (size_t page = pos / DS_KV_PAGE; seq->rounded && page < (pos + n) / DS_KV_PAGE; page++)
		for (uint32_t h = 0; h < seq->s.n_kv; h++)
			ds_kv_seal(kv, kern, LAYER, h, page);
}

/* Read the sequence in calls of at most step tokens. */
static void attend(const struct sequence *seq, const struct ds_kern *kern, unsigned threads,
		   size_t step, float *out)
{
	const struct shape *s = &seq->s;
	struct ds_kv_shape shape = kv_shape(seq, step);
	struct ds_pool *pool = NULL;
	struct ds_kv *kv;
	struct ds_attn *attn;

	if (threads > 1)
		ck_assert_int_eq(ds_pool_new(&pool, threads, NULL), DS_OK);
	ck_assert_int_eq(ds_kv_new(&kv, &shape, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_new(&attn, kern, pool, &shape, s->n_head, NULL), DS_OK);
	for (size_t pos = 0; pos < s->n; pos += step) {
		size_t n = s->n - pos < step ? s->n - pos : step;
		struct ds_attn_call call = {.kv = kv, .layer = LAYER, .pos = pos, .n = n};

		ck_assert_int_eq(ds_kv_reserve(kv, pos + n, NULL), DS_OK);
		for (size_t i = pos; i < pos + n; i++)
			ds_kv_put(kv, kern, LAYER, i, seq->k + i * s->n_kv * s->dim_k,
				  seq->v + i * s->n_kv * s->dim_v);
		seal(seq, kv, kern, pos, n);
		call.n_head = s->n_head;
		call.q_stride = s->n_head * s->dim_k;
		call.q = seq->q + pos * call.q_stride;
		call.scale = 1 / sqrtf((float)s->dim_k);
		call.window = s->window;
		call.out_stride = s->n_head * s->dim_v;
		call.out = out + pos * call.out_stride;
		ds_attn_run(attn, &call);
	}
	ds_attn_free(attn);
	ds_kv_free(kv);
	ds_pool_free(pool);
}

static double half(float x)
{
	return (double)ds_f16_to_f32(ds_f32_to_f16(x));
}

/* One query and head, into want [dim_v]. */
static void naive(const struct sequence *seq, size_t pos, uint32_t head, double *want)
{
	const struct shape *s = &seq->s;
	uint32_t kv = head / (s->n_head / s->n_kv);
	size_t first = s->window && pos + 1 > s->window ? pos + 1 - s->window : 0;
	const float *q = seq->q + (pos * s->n_head + head) * s->dim_k;
	double sum = 0, *p = malloc((pos + 1) * sizeof *p), max = -INFINITY;

	for (size_t j = first; j <= pos; j++) {
		p[j] = 0;
		for (size_t d = 0; d < s->dim_k; d++)
			p[j] += (double)q[d] * half(seq->k[(j * s->n_kv + kv) * s->dim_k + d]);
		p[j] /= sqrt(s->dim_k);
		max = fmax(max, p[j]);
	}
	for (size_t j = first; j <= pos; j++)
		sum += p[j] = exp(p[j] - max);
	for (size_t d = 0; d < s->dim_v; d++) {
		want[d] = 0;
		for (size_t j = first; j <= pos; j++)
			want[d] += p[j] / sum * half(seq->v[(j * s->n_kv + kv) * s->dim_v + d]);
	}
	free(p);
}

static const struct ds_kern *best(void)
{
	const struct ds_kern *kern;

	ck_assert_int_eq(ds_kern_choose(&kern, NULL), DS_OK);
	return kern;
}

START_TEST(test_as_naive)
{
	struct sequence seq = make(_i);
	const struct shape *s = &seq.s;
	float *out = malloc(out_size(s) * sizeof *out);
	double *want = malloc(s->dim_v * sizeof *want), worst = 0, squares = 0, off = 0;

	attend(&seq, best(), 1, s->n, out);
	for (size_t pos = 0; pos < s->n; pos += 1 + pos / 20)
		for (uint32_t h = 0; h < s->n_head; h++) {
			naive(&seq, pos, h, want);
			for (uint32_t d = 0; d < s->dim_v; d++) {
				double e = fabs(want[d] -
						(double)out[(pos * s->n_head + h) * s->dim_v + d]);

				worst = fmax(worst, e);
				off += e * e;
				squares += want[d] * want[d];
			}
		}
	if (getenv("VERBOSE"))
		fprintf(stderr, "%d: worst %.2g, mean %.2g\n", _i, worst, sqrt(off / squares));
	/* values up to 1; some keys are far longer than others */
	ck_assert_double_lt(worst, seq.rounded ? 0.1 : 5e-6);
	ck_assert_double_lt(sqrt(off / squares), seq.rounded ? 2e-2 : 1e-6);
	free(out);
	free(want);
	drop(&seq);
}
END_TEST

START_TEST(test_any_split)
{
	static const size_t steps[] = {1, 7, 64, 100, 512};
	struct sequence seq = make(_i);
	size_t bytes = out_size(&seq.s) * sizeof(float);
	float *want = malloc(bytes), *got = malloc(bytes);

	attend(&seq, best(), 1, seq.s.n, want);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (unsigned threads = 1; threads <= 3; threads++) {
			memset(got, 0xFF, bytes);
			attend(&seq, best(), threads, steps[i], got);
			ck_assert_mem_eq(got, want, bytes);
		}
	free(want);
	free(got);
	drop(&seq);
}
END_TEST

START_TEST(test_any_table)
{
	struct sequence seq = make(_i);
	size_t bytes = out_size(&seq.s) * sizeof(float);
	float *want = malloc(bytes), *got = malloc(bytes);
	const struct ds_kern *const *all;
	size_t n = ds_kern_all(&all);

	attend(&seq, ref(), 2, 64, want);
	for (size_t i = 1; i < n; i++) {
		attend(&seq, all[i], 1, 50, got);
		ck_assert_mem_eq(got, want, bytes);
	}
	free(want);
	free(got);
	drop(&seq);
}
END_TEST

/* A sequence cut short and read on is the other sequence. */
START_TEST(test_after_truncation)
{
	struct sequence seq = make(_i);
	const struct shape *s = &seq.s;
	struct ds_kv_shape shape = kv_shape(&seq, s->n);
	size_t k = s->n_kv * s->dim_k, v = s->n_kv * s->dim_v, keep = s->n / 3;
	struct ds_attn_call call = {.layer = LAYER, .n = 1, .n_head = s->n_head};
	float *want = malloc(out_size(s) * sizeof *want), *bad = malloc((k + v) * sizeof *bad);
	struct ds_attn *attn;
	struct ds_kv *kv;

	attend(&seq, best(), 1, s->n, want);
	call.q_stride = s->n_head * s->dim_k;
	call.scale = 1 / sqrtf((float)s->dim_k);
	call.window = s->window;
	call.out_stride = s->n_head * s->dim_v;
	call.out = malloc(call.out_stride * sizeof(float));
	ck_assert_int_eq(ds_kv_new(&kv, &shape, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_new(&attn, best(), NULL, &shape, s->n_head, NULL), DS_OK);
	call.kv = kv;
	for (size_t i = 0; i < k + v; i++)
		bad[i] = NAN;
	ck_assert_int_eq(ds_kv_reserve(kv, s->n, NULL), DS_OK);
	for (size_t i = 0; i < s->n; i++)
		ds_kv_put(kv, best(), LAYER, i, i < keep ? seq.k + i * k : bad,
			  i < keep ? seq.v + i * v : bad + k);
	seal(&seq, kv, best(), 0, keep);
	ck_assert_uint_eq(ds_kv_truncate(kv, keep), keep);
	for (size_t pos = keep; pos < s->n; pos++) {
		ck_assert_int_eq(ds_kv_reserve(kv, pos + 1, NULL), DS_OK);
		ds_kv_put(kv, best(), LAYER, pos, seq.k + pos * k, seq.v + pos * v);
		seal(&seq, kv, best(), pos, 1);
		call.pos = pos;
		call.q = seq.q + pos * call.q_stride;
		ds_attn_run(attn, &call);
		ck_assert_mem_eq(call.out, want + pos * call.out_stride,
				 call.out_stride * sizeof(float));
	}
	ds_attn_free(attn);
	ds_kv_free(kv);
	free(call.out);
	free(want);
	free(bad);
	drop(&seq);
}
END_TEST

START_TEST(test_memory_out)
{
	struct ds_kv_shape shape = {2, 2, 64, 64, 1000, _i ? 3 : 0};
	struct ds_pool *pool;
	struct ds_attn *attn;
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	ck_assert_int_eq(ds_attn_new(&attn, best(), NULL, &shape, 5, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_pool_new(&pool, 2, NULL), DS_OK);
	for (size_t i = 0; st != DS_OK; i++) {
		ck_assert_uint_lt(i, 1000);
		ds_alloc_fail_after(i);
		st = ds_attn_new(&attn, best(), pool, &shape, 6, &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_gt(ds_attn_bytes(attn), 0);
	ds_attn_free(attn);
	ds_attn_free(NULL);
	ds_pool_free(pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_dense");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_as_naive, 0, 2 * N_SHAPE);
	tcase_add_loop_test(tc, test_any_split, 0, 2 * N_SHAPE);
	tcase_add_loop_test(tc, test_any_table, 0, 2 * N_SHAPE);
	tcase_add_loop_test(tc, test_after_truncation, 0, 2 * N_SHAPE);
	tcase_add_loop_test(tc, test_memory_out, 0, 2);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
