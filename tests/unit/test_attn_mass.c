/*
 * test_attn_mass.c - blocks chosen by the mass of samples: the choice itself against a plain one,
 * and the same bytes for any split of the sequence, thread count and table
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attn.h"
#include "attn/mass.h"
#include "../kern_guard.h"

/* A layer that is not the last. */
#define LAYERS 2
#define LAYER 0
#define TOKENS 900
#define DIM 32

struct setup {
	uint32_t n_head, n_kv;
	const char *policy;
	uint32_t break_even;
};

static const struct setup setups[] = {
	{6, 2, "mass:0.3", 0},	 {6, 2, "auto:0.9,1,3", 0},  {7, 1, "mass:0.2", 256},
	{3, 3, "auto:0.7", 500}, {18, 1, "auto:0.5,3,2", 0},
};
#define N_SETUP ((int)(sizeof setups / sizeof *setups))

static float *q, *k, *v;

/* Keys that come back now and then, and queries that look for them. */
static void make(const struct setup *s)
{
	size_t n_q = (size_t)TOKENS * s->n_head * DIM, n_k = (size_t)TOKENS * s->n_kv * DIM;

	seed = 5 + s->n_head;
	q = realloc(q, n_q * sizeof *q);
	k = realloc(k, n_k * sizeof *k);
	v = realloc(v, n_k * sizeof *v);
	for (size_t i = 0; i < n_q; i++)
		q[i] = 2 * fminf(fmaxf(real(), -1), 1) + (float)(i % DIM == i / 40000 % DIM) * 3;
	for (size_t i = 0; i < n_k; i++) {
		k[i] = fminf(fmaxf(real(), -1), 1) + (float)(i % DIM == i / 1100 % DIM) * 4;
		v[i] = fminf(fmaxf(real(), -1), 1);
	}
}

struct reader {
	struct ds_kv *kv;
	struct ds_attn *attn;
	struct ds_pool *pool;
	const struct ds_kern *kern;
	const struct setup *s;
};

static struct reader open_reader(const struct setup *s, const struct ds_kern *kern,
				 unsigned threads, const char *policy)
{
	struct reader r = {.kern = kern, .s = s};
	struct ds_kv_shape shape = {.n_layer = LAYERS,
				    .n_head = s->n_kv,
				    .dim_k = DIM,
				    .dim_v = DIM,
				    .n_context = TOKENS,
				    .recent = 12};
	struct ds_attn_policy p;

	if (threads > 1)
		ck_assert_int_eq(ds_pool_new(&r.pool, threads, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_policy_parse(&p, policy, NULL), DS_OK);
	p.break_even = s->break_even;
	ck_assert_int_eq(ds_kv_new(&r.kv, &shape, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_new(&r.attn, kern, r.pool, &shape, s->n_head, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_follow(r.attn, &p, NULL), DS_OK);
	return r;
}

static void close_reader(struct reader *r)
{
	ds_attn_free(r->attn);
	ds_kv_free(r->kv);
	ds_pool_free(r->pool);
}

static void read_tokens(struct reader *r, size_t pos, size_t end, size_t step, float *out)
{
	const struct setup *s = r->s;

	for (; pos < end; pos += step) {
		size_t n = end - pos < step ? end - pos : step, width = (size_t)s->n_kv * DIM;
		struct ds_attn_call call = {.kv = r->kv,
					    .layer = LAYER,
					    .pos = pos,
					    .n = n,
					    .n_head = s->n_head,
					    .q_stride = (size_t)s->n_head * DIM,
					    .scale = 1 / sqrtf(DIM),
					    .out_stride = (size_t)s->n_head * DIM};

		ck_assert_int_eq(ds_kv_reserve(r->kv, pos + n, NULL), DS_OK);
		for (size_t i = pos; i < pos + n; i++)
			ds_kv_put(r->kv, r->kern, LAYER, i, k + i * width, v + i * width);
		for (size_t p = pos / DS_KV_PAGE; p < (pos + n) / DS_KV_PAGE; p++)
			for (uint32_t h = 0; h < s->n_kv; h++)
				ds_kv_seal(r->kv, r->kern, LAYER, h, p);
		call.q = q + pos * call.q_stride;
		call.out = out + pos * call.out_stride;
		ds_attn_run(r->attn, &call);
	}
}

static float *read_all(const struct setup *s, const struct ds_kern *kern, unsigned threads,
		       size_t step, const char *policy)
{
	float *out = calloc((size_t)TOKENS * s->n_head * DIM, sizeof *out);
	struct reader r = open_reader(s, kern, threads, policy);

	read_tokens(&r, 0, TOKENS, step, out);
	close_reader(&r);
	return out;
}

static const struct ds_kern *best(void)
{
	const struct ds_kern *const *tables;
	size_t n = ds_kern_all(&tables);

	return tables[n - 1];
}

static size_t bytes_of(const struct setup *s)
{
	return (size_t)TOKENS * s->n_head * DIM * sizeof(float);
}

START_TEST(test_invariance)
{
	static const size_t steps[] = {1, 7, 64, 100, 512};
	const struct setup *s = &setups[_i];
	const struct ds_kern *const *tables;
	size_t n_table = ds_kern_all(&tables);
	float *want, *got;

	make(s);
	want = read_all(s, best(), 1, 512, s->policy);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (unsigned threads = 1; threads < 4; threads++) {
			got = read_all(s, best(), threads, steps[i], s->policy);
			ck_assert_mem_eq(got, want, bytes_of(s));
			free(got);
		}
	for (size_t i = 0; i < n_table; i++) {
		got = read_all(s, tables[i], 2, 250, s->policy);
		ck_assert_mem_eq(got, want, bytes_of(s));
		free(got);
	}
	free(want);
}
END_TEST

/* What is cut off and read again, in other calls. */
START_TEST(test_truncation)
{
	const struct setup *s = &setups[_i];
	float *want, *got = malloc(bytes_of(s));
	struct reader r = open_reader(s, best(), 2, s->policy);

	make(s);
	want = read_all(s, best(), 1, 512, s->policy);
	read_tokens(&r, 0, TOKENS, 300, got);
	for (size_t n = TOKENS - 1; n > 300; n -= 61) {
		size_t from = ds_kv_truncate(r.kv, ds_attn_truncate(r.attn, n));

		ck_assert_uint_le(from, n);
		ck_assert_uint_gt(from + DS_KV_PAGE, n);
		memset(got + from * s->n_head * DIM, 0,
		       (TOKENS - from) * s->n_head * DIM * sizeof *got);
		read_tokens(&r, from, n + 17 < TOKENS ? n + 17 : TOKENS, 5 + n % 50, got);
		if (n + 17 < TOKENS)
			read_tokens(&r, n + 17, TOKENS, 77, got);
		ck_assert_mem_eq(got, want, bytes_of(s));
	}
	close_reader(&r);
	free(want);
	free(got);
}
END_TEST

/* All blocks are what dense attention reads, but for the rounding of weights. */
START_TEST(test_all)
{
	const struct setup *s = &setups[_i];
	float *want, *got;

	make(s);
	want = read_all(s, best(), 1, 512, "dense");
	got = read_all(s, best(), 2, 90, "mass:1");
	for (size_t i = 0; i < bytes_of(s) / sizeof *got; i++)
		ck_assert_float_eq_tol(got[i], want[i], 2e-2f);
	free(got);
	got = read_all(s, best(), 2, 90, s->policy);
	ck_assert_mem_ne(got, want, bytes_of(s));
	free(got);
	free(want);
}
END_TEST

#define BLOCKS 300

static const float *ranked;
static int by_rank(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (ranked[x] != ranked[y])
		return ranked[x] > ranked[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

static bool is_forced(const struct ds_mass_choice *c, size_t b)
{
	return b < c->begin || b >= c->end;
}

/* Sort all, take them until there are enough. */
static void choose_share(const struct ds_mass_choice *c, bool taken[BLOCKS])
{
	size_t want = (size_t)ceil(c->share * (double)c->n_block - 1e-6), n = 0;
	uint32_t order[BLOCKS];

	for (size_t b = 0; b < c->n_block; b++) {
		order[b] = (uint32_t)b;
		taken[b] = is_forced(c, b);
		n += taken[b];
	}
	ranked = c->mass;
	qsort(order, c->n_block, sizeof *order, by_rank);
	for (size_t i = 0; i < c->n_block && n < want; i++) {
		n += !taken[order[i]];
		taken[order[i]] = true;
	}
}

START_TEST(test_choice)
{
	static uint32_t edge[BLOCKS], block[BLOCKS];
	static float mass[BLOCKS];

	seed = (uint64_t)_i + 3;
	for (int round = 0; round < 300; round++) {
		size_t n_block = 4 + (size_t)(round * 7 % (BLOCKS - 4));
		struct ds_mass_choice c = {.share = (double)(1 + round % 21) / 21,
					   .mass = mass,
					   .n_block = n_block,
					   .end = n_block - (size_t)round % 5 % n_block,
					   .edge = edge};
		bool taken[BLOCKS];
		size_t n, count = 0;

		c.begin = (size_t)round % 4 < c.end ? (size_t)round % 4 : c.end;
		for (size_t b = 0; b < n_block; b++) {
			/* many equal, many none */
			mass[b] = round % 3 ? rintf(fabsf(real()) * 0x1p10f) : (float)(b % 3);
			mass[b] *= round % 5 ? 1 : mass[b];
		}
		n = ds_mass_choose(&c, block);
		choose_share(&c, taken);
		for (size_t b = 0; b < c.n_block; b++)
			if (taken[b])
				ck_assert_uint_eq(block[count++], b);
		ck_assert_uint_eq(count, n);
	}
}
END_TEST

/* The same queries are audited, however they come; what is dense keeps all. */
START_TEST(test_audit)
{
	const struct setup *s = &setups[_i];
	struct ds_attn_audit a = {{0}, 0}, b = {{0}, 0};
	float *out = malloc(bytes_of(s));
	struct reader r = open_reader(s, best(), 3, s->policy);
	uint64_t rows = 0;

	make(s);
	read_tokens(&r, 0, TOKENS, 400, out);
	ds_attn_audit(r.attn, &a);
	close_reader(&r);
	r = open_reader(s, best(), 1, s->policy);
	read_tokens(&r, 0, TOKENS, 23, out);
	ds_attn_audit(r.attn, &b);
	close_reader(&r);
	ck_assert_mem_eq(&a, &b, sizeof a);
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		rows += a.rows[i];
	ck_assert_uint_gt(rows, s->n_head);
	ck_assert_uint_le(rows, 4 * s->n_head);
	ck_assert(a.mass > 0 && a.mass < (uint64_t)DS_AUDIT_ONE * rows);
	memset(&a, 0, sizeof a);
	r = open_reader(s, best(), 1, "mass:1");
	read_tokens(&r, 0, TOKENS, 400, out);
	ds_attn_audit(r.attn, &a);
	close_reader(&r);
	ck_assert_uint_ge(a.rows[DS_AUDIT_STEPS] + a.rows[DS_AUDIT_STEPS - 1], rows);
	free(out);
}
END_TEST

START_TEST(test_out_of_memory)
{
	const struct ds_kv_shape shape = {
		.n_layer = 2, .n_head = 1, .dim_k = 16, .dim_v = 16, .n_context = 200, .recent = 3};
	enum ds_status st = DS_ENOMEM;
	struct ds_attn_policy p;
	struct ds_err err;

	ck_assert_int_eq(ds_attn_policy_parse(&p, "auto", NULL), DS_OK);
	for (size_t n = 0; st != DS_OK; n++) {
		struct ds_attn *attn;

		ck_assert_int_eq(ds_attn_new(&attn, best(), NULL, &shape, 2, NULL), DS_OK);
		ds_alloc_fail_after(n);
		st = ds_attn_follow(attn, &p, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 100));
		ds_attn_free(attn);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_mass");
	TCase *tc = tcase_create("mass");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_choice, 0, 5);
	tcase_add_loop_test(tc, test_invariance, 0, N_SETUP);
	tcase_add_loop_test(tc, test_truncation, 0, N_SETUP);
	tcase_add_loop_test(tc, test_audit, 0, N_SETUP);
	tcase_add_loop_test(tc, test_all, 0, N_SETUP);
	tcase_add_test(tc, test_out_of_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
