/*
 * test_attn_decode.c - how the tokens of an answer choose: lists and results against a slow
 * reference from the definition (attn/decode.h), and the same bytes for any split, thread count and
 * table
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "attn/attn.h"
#include "attn/audit.h"
#include "attn/decode.h"

#define LAYERS 2
#define LAYER 1
#define TOKENS 1100
#define PROMPT 810
#define DIM 32
#define LOG2_E 1.44269504f

struct setup {
	uint32_t n_head, n_kv;
	const char *policy;
	uint32_t break_even;
};

static const struct setup setups[] = {
	{6, 2, "answer:0.3", 0},   {14, 2, "mass:0.4", 0},  {7, 1, "auto:0.5,1", 900},
	{3, 3, "answer:0.5", 832}, {18, 1, "mass:0.25", 0}, {4, 4, "answer:0.999999", 0},
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
				 unsigned threads)
{
	struct reader r = {.kern = kern, .s = s};
	struct ds_kv_shape shape = {.n_layer = LAYERS,
				    .n_head = s->n_kv,
				    .dim_k = DIM,
				    .dim_v = DIM,
				    .n_context = TOKENS,
				    .recent = 18};
	struct ds_attn_policy p;

	if (threads > 1)
		ck_assert_int_eq(ds_pool_new(&r.pool, threads, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_policy_parse(&p, s->policy, NULL), DS_OK);
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

/* [pos, end), in calls of step; those from PROMPT on are an answer. */
static void read_tokens(struct reader *r, size_t pos, size_t end, size_t step, float *out)
{
	const struct setup *s = r->s;
	size_t n;

	for (; pos < end; pos += n) {
		size_t width = (size_t)s->n_kv * DIM, stop = pos < PROMPT ? PROMPT : end;
		struct ds_attn_call call = {.kv = r->kv,
					    .layer = LAYER,
					    .pos = pos,
					    .n_head = s->n_head,
					    .q_stride = (size_t)s->n_head * DIM,
					    .scale = 1 / sqrtf(DIM),
					    .answer = pos >= PROMPT,
					    .out_stride = (size_t)s->n_head * DIM};

		stop = stop < end ? stop : end;
		n = stop - pos < step ? stop - pos : step;
		ck_assert_int_eq(ds_kv_reserve(r->kv, pos + n, NULL), DS_OK);
		for (size_t i = pos; i < pos + n; i++)
			ds_kv_put(r->kv, r->kern, LAYER, i, k + i * width, v + i * width);
		for (size_t p = pos / DS_KV_PAGE; p < (pos + n) / DS_KV_PAGE; p++)
			for (uint32_t h = 0; h < s->n_kv; h++)
				ds_kv_seal(r->kv, r->kern, LAYER, h, p);
		call.n = n;
		call.q = q + pos * call.q_stride;
		call.out = out + pos * call.out_stride;
		ds_attn_run(r->attn, &call);
	}
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

static float *read_all(const struct setup *s, const struct ds_kern *kern, unsigned threads,
		       size_t step)
{
	float *out = calloc((size_t)TOKENS * s->n_head * DIM, sizeof *out);
	struct reader r = open_reader(s, kern, threads);

	read_tokens(&r, 0, TOKENS, step, out);
	close_reader(&r);
	return out;
}

START_TEST(test_invariance)
{
	static const size_t steps[] = {1, 7, 64, 300};
	const struct setup *s = &setups[_i];
	const struct ds_kern *const *tables;
	size_t n_table = ds_kern_all(&tables);
	float *want, *got;

	make(s);
	want = read_all(s, best(), 1, 512);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (unsigned threads = 1; threads < 4; threads++) {
			got = read_all(s, best(), threads, steps[i]);
			ck_assert_mem_eq(got, want, bytes_of(s));
			free(got);
		}
	for (size_t i = 0; i < n_table; i++) {
		got = read_all(s, tables[i], 2, 250);
		ck_assert_mem_eq(got, want, bytes_of(s));
		free(got);
	}
	free(want);
}
END_TEST

/* Audited, but for where the prompt is, too: the same queries however they come. */
START_TEST(test_audit)
{
	const struct setup *s = &setups[_i];
	struct ds_attn_audit a = {{0}, 0}, b = {{0}, 0};
	float *out = malloc(bytes_of(s));
	struct reader r = open_reader(s, best(), 3);
	uint64_t rows = 0;

	make(s);
	read_tokens(&r, 0, TOKENS, 400, out);
	ds_attn_audit(r.attn, &a);
	close_reader(&r);
	r = open_reader(s, best(), 1);
	read_tokens(&r, 0, PROMPT, 400, out);
	ds_attn_audit(r.attn, &b);
	memset(&b, 0, sizeof b);
	for (size_t pos = PROMPT; pos < TOKENS; pos += 10)
		read_tokens(&r, pos, pos + 10, 3, out);
	ds_attn_audit(r.attn, &b);
	close_reader(&r);
	ck_assert_mem_eq(&a, &b, sizeof a);
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		rows += a.rows[i];
	ck_assert_uint_ge(rows, s->n_head / 2);
	ck_assert_uint_le(rows, 5 * s->n_head);
	ck_assert(a.mass > rows * (uint64_t)DS_AUDIT_ONE / 3);
	ck_assert(a.mass < (rows + 1) * (uint64_t)DS_AUDIT_ONE);
	free(out);
}
END_TEST

/* What is cut off and read again, in other calls. */
START_TEST(test_truncation)
{
	const struct setup *s = &setups[_i];
	float *want, *got = malloc(bytes_of(s));
	struct reader r = open_reader(s, best(), 2);

	make(s);
	want = read_all(s, best(), 1, 512);
	read_tokens(&r, 0, TOKENS, 300, got);
	for (size_t n = TOKENS - 1; n > 600; n -= 61) {
		size_t from = ds_kv_truncate(r.kv, ds_attn_truncate(r.attn, n));

		memset(got + from * s->n_head * DIM, 0,
		       (TOKENS - from) * s->n_head * DIM * sizeof *got);
		read_tokens(&r, from, TOKENS, 5 + n % 50, got);
		ck_assert_mem_eq(got, want, bytes_of(s));
	}
	close_reader(&r);
	free(want);
	free(got);
}
END_TEST

/* --- the definition ------------------------------------------------------------------------ */

static double residual(const struct ds_page8 *p, size_t t, size_t d)
{
	const int8_t *block = p->k + t / 16 * 16 * DIM;

	return (double)block[(d / 4 * 16 + t % 16) * 4 + d % 4] * (double)p->k_scale[t];
}

/* Rounded as attn8.h says; returns the scale. */
static double round_all(const double *x, size_t n, int *a)
{
	double max = 0;

	for (size_t i = 0; i < n; i++)
		max = fmax(max, fabs(x[i]));
	for (size_t i = 0; i < n; i++)
		a[i] = max > 0 ? (int)rint(x[i] * (127 / max)) : 0;
	return max / 127;
}

static double rough_score(const struct reader *r, uint32_t head, const float *query, size_t b)
{
	struct ds_page8 p = ds_kv_page8(r->kv, LAYER, head, b / 4);
	const float *mean = ds_kv_k_mean(r->kv, LAYER, head, b / 4);
	double g[2 * DIM], x[DIM], score = 0, scale;
	float turned[DIM];
	int a[DIM], c[2 * DIM], sum = 0;

	for (size_t d = 0; d < DIM; d++) {
		double square = 0;

		g[d] = 0;
		for (size_t t = b % 4 * 16; t < b % 4 * 16 + 16; t++) {
			g[d] += residual(&p, t, d) / 16;
			square += residual(&p, t, d) * residual(&p, t, d) / 16;
		}
		g[DIM + d] = sqrt(fmax(square - g[d] * g[d], 0)) / 2;
		turned[d] = query[d] * (1 / sqrtf(DIM) * LOG2_E);
		score += (double)turned[d] * (double)mean[d];
	}
	ds_attn8_turn(turned, DIM);
	for (size_t d = 0; d < DIM; d++)
		x[d] = (double)turned[d];
	scale = round_all(x, DIM, a) * round_all(g, 2 * DIM, c) / DIM;
	for (size_t d = 0; d < DIM; d++)
		sum += a[d] * c[d] + abs(a[d]) * c[DIM + d];
	return score + sum * scale;
}

/* Shares of the blocks before a token, over the heads of a tile. */
static void shares_of(const struct reader *r, const struct ds_attn_tile *t, size_t pos,
		      double *share)
{
	size_t n = pos / DS_KV_PAGE * 4;
	double score[TOKENS / 16];

	for (size_t b = 0; b < n; b++)
		share[b] = 0;
	for (size_t h = t->head; h < t->head + t->n_head; h++) {
		double max = -DBL_MAX, total = 0;

		for (size_t b = 0; b < n; b++) {
			score[b] =
				rough_score(r, t->kv_head, q + (pos * r->s->n_head + h) * DIM, b);
			max = fmax(max, score[b]);
		}
		for (size_t b = 0; b < n; b++)
			total += exp2(score[b] - max);
		for (size_t b = 0; b < n; b++)
			share[b] += exp2(score[b] - max) / total;
	}
}

/* Those listed have as much as they must, and the others less, but for rounding. */
static void check_list(const struct reader *r, const struct ds_attn_tile *t, size_t pos,
		       const struct ds_block_list *list)
{
	size_t n = pos / DS_KV_PAGE * 4;
	double share[TOKENS / 16], least = DBL_MAX, most = 0, wanted;
	bool listed[TOKENS / 16] = {0};
	struct ds_attn_policy p;

	ck_assert_int_eq(ds_attn_policy_parse(&p, r->s->policy, NULL), DS_OK);
	shares_of(r, t, pos, share);
	for (size_t i = 0; i < list->n; i++) {
		ck_assert(i == 0 || list->block[i] > list->block[i - 1]);
		ck_assert_uint_lt(list->block[i], n);
		listed[list->block[i]] = true;
	}
	wanted = 0.5 * (1 - p.param[0]) * t->n_head / (double)n;
	for (size_t b = 0; b < n; b++) {
		if (b < 4 || b + 4 >= n)
			ck_assert(listed[b]);
		else if (listed[b])
			least = fmin(least, share[b]);
		else
			most = fmax(most, share[b]);
	}
	if (p.kind == DS_ATTN_MASS) {
		size_t want = (size_t)ceil(p.param[0] * (double)n - 1e-6);

		ck_assert_uint_eq(list->n, want < 8 ? 8 : want);
		ck_assert_double_ge(least, most * 0.98);
	} else {
		ck_assert_double_ge(least, wanted * 0.98);
		ck_assert_double_le(most, wanted * 1.02);
	}
}

/* What a head keeps of its mass, by the definition of dense attention: near what is audited. */
static double mass_kept(const struct reader *r, const struct ds_attn_tile *t, uint32_t head,
			size_t pos, const struct ds_block_list *list)
{
	const struct setup *s = r->s;
	double score[TOKENS], max = -DBL_MAX, total = 0, kept = 0;
	size_t own = pos / DS_KV_PAGE * DS_KV_PAGE;

	for (size_t i = 0; i <= pos; i++) {
		score[i] = 0;
		for (size_t d = 0; d < DIM; d++)
			score[i] += (double)q[(pos * s->n_head + head) * DIM + d] *
				    (double)k[(i * s->n_kv + t->kv_head) * DIM + d] / sqrt(DIM);
		max = fmax(max, score[i]);
	}
	for (size_t i = 0; i <= pos; i++) {
		total += exp(score[i] - max);
		kept += i >= own ? exp(score[i] - max) : 0;
	}
	for (size_t i = 0; i < list->n * 16; i++)
		kept += exp(score[list->block[i / 16] * 16 + i % 16] - max);
	return kept / total;
}

/* A head attends to its list and its own page. */
static void check_out(const struct reader *r, const struct ds_attn_tile *t, size_t pos,
		      const struct ds_block_list *list, const float *out)
{
	const struct setup *s = r->s;
	size_t n = list->n * 16, own = pos % DS_KV_PAGE + 1;
	double score[TOKENS], max = -DBL_MAX, total = 0, want[DIM] = {0};
	const float *query = q + (pos * s->n_head + t->head) * DIM;
	size_t token[TOKENS];

	for (size_t i = 0; i < n + own; i++)
		token[i] = i < n ? list->block[i / 16] * 16 + i % 16
				 : pos / DS_KV_PAGE * DS_KV_PAGE + i - n;
	for (size_t i = 0; i < n + own; i++) {
		const float *key = k + (token[i] * s->n_kv + t->kv_head) * DIM;

		score[i] = 0;
		for (size_t d = 0; d < DIM; d++)
			score[i] += (double)query[d] * (double)key[d] / sqrt(DIM);
		max = fmax(max, score[i]);
	}
	for (size_t i = 0; i < n + own; i++) {
		double e = exp(score[i] - max);

		total += e;
		for (size_t d = 0; d < DIM; d++)
			want[d] += e * (double)v[(token[i] * s->n_kv + t->kv_head) * DIM + d];
	}
	for (size_t d = 0; d < DIM; d++)
		ck_assert_double_eq_tol((double)out[(pos * s->n_head + t->head) * DIM + d],
					want[d] / total, 6e-2);
}

START_TEST(test_definition)
{
	const struct setup *s = &setups[_i];
	struct reader r = open_reader(s, best(), 2);
	float *out = calloc((size_t)TOKENS * s->n_head * DIM, sizeof *out);
	struct ds_attn_audit audited = {{0}, 0};
	uint64_t seen, causal;
	double kept = 0;

	make(s);
	read_tokens(&r, 0, PROMPT, 300, out);
	ds_attn_audit(r.attn, &audited);
	kept = (double)audited.mass / DS_AUDIT_ONE; /* of the prompt */
	for (size_t pos = PROMPT; pos < TOKENS; pos++) {
		struct ds_attn_call call = {.pos = pos, .answer = true};

		read_tokens(&r, pos, pos + 1, 1, out);
		ck_assert_int_eq(ds_decode_wants(r.attn, &call),
				 (pos / DS_KV_PAGE + 1) * DS_KV_PAGE > s->break_even);
		if (!ds_decode_wants(r.attn, &call))
			continue;
		for (size_t i = 0; i < r.attn->n_share; i++) {
			struct ds_attn_tile t = ds_attn_tile_of(r.attn, i, 0, 1);
			struct ds_block_list list = ds_decode_list(r.attn, i);

			check_list(&r, &t, pos, &list);
			check_out(&r, &t, pos, &list, out);
			call.layer = LAYER;
			for (uint32_t h = t.head; h < t.head + t.n_head; h++)
				if (ds_audit_wants(&call, h, 0))
					kept += mass_kept(&r, &t, h, pos, &list);
		}
	}
	memset(&audited, 0, sizeof audited);
	ds_attn_audit(r.attn, &audited);
	ck_assert_double_eq_tol((double)audited.mass / DS_AUDIT_ONE, kept, 0.02 * kept + 0.02);
	ds_attn_pairs(r.attn, &seen, &causal);
	ck_assert_uint_eq(causal, (uint64_t)TOKENS * (TOKENS + 1) / 2 * s->n_head);
	ck_assert_uint_le(seen, causal);
	close_reader(&r);
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

	ck_assert_int_eq(ds_attn_policy_parse(&p, "answer", NULL), DS_OK);
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
	Suite *suite = suite_create("attn_decode");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, test_invariance, 0, N_SETUP);
	tcase_add_loop_test(tc, test_truncation, 0, N_SETUP);
	tcase_add_loop_test(tc, test_definition, 0, N_SETUP);
	tcase_add_loop_test(tc, test_audit, 0, N_SETUP);
	tcase_add_test(tc, test_out_of_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
