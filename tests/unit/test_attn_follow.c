/*
 * test_attn_follow.c - attention by policies: against naive sums over what each one sees, the same
 * bytes for any split of the sequence, thread count and table, dense where all is chosen, and after
 * a truncation as if nothing else had been there
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attn.h"
#include "../kern_guard.h"

#define LAYERS 2
#define LAYER 1
#define HEADS 6
#define KV_HEADS 2
#define DIM_K 32
#define DIM_V 16
#define TOKENS 636
#define WIDTH (HEADS * DIM_V)

#define Q_WIDTH (HEADS * DIM_K)
#define K_WIDTH (KV_HEADS * DIM_K)
#define V_WIDTH (KV_HEADS * DIM_V)
static float q[TOKENS][Q_WIDTH], k[TOKENS][K_WIDTH], v[TOKENS][V_WIDTH];
static uint8_t boundaries[TOKENS];
static const struct ds_kv_shape shape = {.n_layer = LAYERS,
					 .n_head = KV_HEADS,
					 .dim_k = DIM_K,
					 .dim_v = DIM_V,
					 .n_context = TOKENS,
					 .recent = TOKENS / DS_KV_PAGE + 2};

static void make(size_t from, uint64_t with)
{
	seed = with;
	for (size_t i = from; i < TOKENS; i++) {
		for (int j = 0; j < Q_WIDTH; j++)
			q[i][j] = fminf(fmaxf(real(), -1), 1);
		for (int j = 0; j < K_WIDTH; j++)
			k[i][j] = fminf(fmaxf(real(), -2), 2) + 0.5f;
		for (int j = 0; j < V_WIDTH; j++)
			v[i][j] = fminf(fmaxf(real(), -1), 1);
		boundaries[i] = draw(5) ? 0 : (uint8_t)draw(4);
	}
}

struct reader {
	struct ds_pool *pool;
	const struct ds_kern *kern;
	struct ds_kv *kv;
	struct ds_attn *attn;
};

static void open_reader(struct reader *r, const char *text, const struct ds_kern *kern,
			unsigned threads)
{
	struct ds_attn_policy policy;
	struct ds_err err;

	r->pool = NULL;
	r->kern = kern;
	if (threads > 1)
		ck_assert_int_eq(ds_pool_new(&r->pool, threads, NULL), DS_OK);
	ck_assert_msg(ds_attn_policy_parse(&policy, text, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_kv_new(&r->kv, &shape, NULL), DS_OK);
	ck_assert_int_eq(ds_attn_new(&r->attn, kern, r->pool, &shape, HEADS, NULL), DS_OK);
	ck_assert_msg(ds_attn_follow(r->attn, &policy, &err) == DS_OK, "%s", err.message);
}

static void close_reader(struct reader *r)
{
	ds_attn_free(r->attn);
	ds_kv_free(r->kv);
	ds_pool_free(r->pool);
}

/* Tokens pos .. end - 1 in calls of at most step. */
static void read_on(struct reader *r, size_t pos, size_t end, size_t step, float *out)
{
	for (size_t n; pos < end; pos += n) {
		struct ds_attn_call call = {.kv = r->kv, .layer = LAYER, .pos = pos};

		n = end - pos < step ? end - pos : step;
		ck_assert_int_eq(ds_kv_reserve(r->kv, pos + n, NULL), DS_OK);
		for (size_t i = pos; i < pos + n; i++)
			ds_kv_put(r->kv, r->kern, LAYER, i, k[i], v[i]);
		for (size_t p = pos / DS_KV_PAGE; p < (pos + n) / DS_KV_PAGE; p++)
			for (uint32_t h = 0; h < KV_HEADS; h++)
				ds_kv_seal(r->kv, r->kern, LAYER, h, p);
		call.n = n;
		call.n_head = HEADS;
		call.q = q[pos];
		call.q_stride = Q_WIDTH;
		call.scale = 1 / sqrtf(DIM_K);
		call.boundaries = boundaries;
		call.out = out + pos * WIDTH;
		call.out_stride = WIDTH;
		ds_attn_run(r->attn, &call);
	}
}

/* Returns the mass that audited queries kept. */
static uint64_t attend(const char *policy, const struct ds_kern *kern, unsigned threads,
		       size_t step, float *out)
{
	struct ds_attn_audit audit = {{0}, 0};
	struct reader r;

	open_reader(&r, policy, kern, threads);
	read_on(&r, 0, TOKENS, step, out);
	ds_attn_audit(r.attn, &audit);
	close_reader(&r);
	return audit.mass;
}

static const struct ds_kern *best(void)
{
	const struct ds_kern *const *tables;

	size_t n = ds_kern_all(&tables);

	return tables[n - 1];
}

static const char *const policies[] = {
	"window:1",	  "window:100",	   "stream:4,64", "stream:70,200", "keys:64,20",
	"keys:128,512",	  "hybrid:64,0.1", "hybrid-sum",  "topk:50",	   "vsa:0.3,0.5",
	"vsa:0.000001,1", "lsh:4,4",	   "lsh:32,1",
};
#define N_POLICY ((int)(sizeof policies / sizeof *policies))

START_TEST(test_same_bytes)
{
	static const size_t steps[] = {1, 64, 300};
	static float want[TOKENS * WIDTH], got[TOKENS * WIDTH];
	const struct ds_kern *const *tables;
	size_t n_table = ds_kern_all(&tables);
	uint64_t mass;

	make(0, 3);
	mass = attend(policies[_i], tables[0], 3, TOKENS, want);
	for (size_t t = 1; t < n_table; t++) {
		ck_assert_uint_eq(attend(policies[_i], tables[t], 1, TOKENS, got), mass);
		ck_assert_msg(memcmp(got, want, sizeof want) == 0, "%s: %s differs", policies[_i],
			      tables[t]->name);
	}
	for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
		memset(got, 0, sizeof got);
		ck_assert_uint_eq(attend(policies[_i], best(), 1 + s % 2, steps[s], got), mass);
		ck_assert_msg(memcmp(got, want, sizeof want) == 0, "%s: calls of %zu differ",
			      policies[_i], steps[s]);
	}
}
END_TEST

static const char *const complete[] = {"window:636", "stream:0,636", "stream:636,64",
				       "keys:636,0", "hybrid:636",   "hybrid-sum:636,0.000001",
				       "topk:636",   "vsa:1,1"};

START_TEST(test_all_is_dense)
{
	static float want[TOKENS * WIDTH], got[TOKENS * WIDTH];

	make(0, 4);
	attend("dense", best(), 1, TOKENS, want);
	attend(complete[_i], best(), 2, 300, got);
	ck_assert_msg(memcmp(got, want, sizeof want) == 0, "%s", complete[_i]);
}
END_TEST

START_TEST(test_truncation)
{
	static const size_t lengths[] = {1, 130, 512};
	static float want[TOKENS * WIDTH], got[TOKENS * WIDTH];
	struct reader r;

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		size_t n = lengths[i], kept;

		make(0, 5);
		open_reader(&r, policies[_i], best(), 1);
		read_on(&r, 0, TOKENS, 300, got);
		make(n, 6);
		kept = ds_kv_truncate(r.kv, n);
		ds_attn_truncate(r.attn, kept);
		read_on(&r, kept, TOKENS, 300, got);
		close_reader(&r);
		attend(policies[_i], best(), 1, TOKENS, want);
		ck_assert_msg(memcmp(got, want, sizeof want) == 0, "%s, cut at %zu", policies[_i],
			      n);
	}
}
END_TEST

/* Key tokens before a page, by the definition. */
static void find_keys(size_t page, size_t n_key, size_t sinks, bool *is_key)
{
	memset(is_key, 0, TOKENS);
	for (size_t begin = 0; begin < page * 64; begin += 512) {
		size_t n = 0;

		for (int class = 1; class <= 3; class ++)
			for (size_t i = begin; i < begin + 512 && i < page * 64; i++)
				if (boundaries[i] == class && n++ < n_key)
					is_key[i] = true;
	}
	for (size_t i = 0; i < sinks && i < page * 64; i++)
		is_key[i] = true;
}

/* Softmax over keys of a query and head: adds its values times weight. */
static void naive(size_t pos, int head, const bool *sees, double weight, double *out)
{
	double p[TOKENS] = {0}, sum = 0, max = -INFINITY;
	int kv = head / (HEADS / KV_HEADS);

	for (size_t i = 0; i <= pos; i++) {
		for (int d = 0; d < DIM_K; d++)
			p[i] += (double)q[pos][head * DIM_K + d] * (double)k[i][kv * DIM_K + d] /
				sqrt(DIM_K);
		if (sees[i])
			max = fmax(max, p[i]);
	}
	for (size_t i = 0; i <= pos; i++)
		sum += p[i] = sees[i] ? exp(p[i] - max) : 0;
	for (size_t i = 0; i <= pos; i++)
		for (int d = 0; d < DIM_V; d++)
			out[d] += weight * p[i] / sum * (double)v[i][kv * DIM_V + d];
}

/* What a policy sees, by its definition; and tokens that have a softmax of their own. */
struct sight {
	const char *policy;
	size_t window, sinks, n_key;
	bool apart;
};
static const struct sight sights[] = {
	{"dense", TOKENS, 0, 0, false},		{"window:1", 1, 0, 0, false},
	{"window:100", 100, 0, 0, false},	{"stream:70,130", 130, 70, 0, false},
	{"stream:0,64", 64, 0, 0, false},	{"keys:64,20", 64, 4, 20, false},
	{"keys:300,5", 300, 4, 5, false},	{"hybrid:64,0.1", 64, 4, 51, false},
	{"hybrid-sum:64,0.1", 64, 0, 51, true},
};

START_TEST(test_definitions)
{
	static float out[TOKENS * WIDTH];
	const struct sight *s = &sights[_i];
	bool sees[TOKENS], key[TOKENS];
	double worst = 0;

	make(0, 8);
	attend(s->policy, best(), 1, 256, out);
	for (size_t pos = 0; pos < TOKENS; pos += 3) {
		bool keys = false;

		find_keys(pos / 64, s->n_key, s->sinks, key);
		for (size_t i = 0; i <= pos; i++) {
			/* a sink in the query's own page is seen anyway */
			sees[i] = i + s->window > pos || (key[i] && !s->apart);
			keys |= key[i];
		}
		for (int h = 0; h < HEADS; h++) {
			double want[DIM_V] = {0};

			naive(pos, h, sees, s->apart && keys ? 0.7 : 1, want);
			if (s->apart && keys)
				naive(pos, h, key, 0.3, want);
			for (int d = 0; d < DIM_V; d++)
				worst = fmax(
					worst,
					fabs(want[d] - (double)out[pos * WIDTH + (size_t)h * DIM_V +
								   (size_t)d]));
		}
	}
	ck_assert_msg(worst < 0.02, "%s: off by %g", s->policy, worst);
}
END_TEST

/* What a query and head keep of their mass; NAN where nothing before their page is left out. */
static double kept_of(size_t pos, int head, const bool *sees)
{
	double kept = 0, all = 0;
	int kv = head / (HEADS / KV_HEADS);
	bool left = false;

	for (size_t i = 0; i <= pos; i++) {
		double score = 0, p;

		for (int d = 0; d < DIM_K; d++)
			score += (double)q[pos][head * DIM_K + d] * (double)k[i][kv * DIM_K + d];
		p = exp(score / sqrt(DIM_K));
		all += p;
		kept += sees[i] ? p : 0;
		left |= !sees[i] && i < pos / 64 * 64;
	}
	return left ? kept / all : NAN;
}

/* One of 256 queries of a head is audited, if it leaves something out. */
START_TEST(test_audit)
{
	static float out[TOKENS * WIDTH];
	const struct sight *s = &sights[_i];
	struct ds_attn_audit audit = {{0}, 0};
	bool sees[TOKENS], key[TOKENS];
	uint64_t rows = 0, want_rows = 0;
	double want = 0;
	struct reader r;

	make(0, 12);
	open_reader(&r, s->policy, best(), 2);
	read_on(&r, 0, TOKENS, 300, out);
	ds_attn_audit(r.attn, &audit);
	close_reader(&r);
	for (size_t pos = 0; pos < TOKENS; pos++) {
		find_keys(pos / 64, s->n_key, s->sinks, key);
		for (size_t i = 0; i <= pos; i++)
			sees[i] = i + s->window > pos || key[i];
		for (int h = 0; h < HEADS; h++) {
			double kept = NAN;

			if ((pos + (size_t)h * 37 + LAYER * 101) % 256 == 3)
				kept = kept_of(pos, h, sees);
			want += isnan(kept) ? 0 : kept;
			want_rows += !isnan(kept);
		}
	}
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		rows += audit.rows[i];
	ck_assert_uint_eq(rows, want_rows);
	ck_assert(fabs((double)audit.mass / DS_AUDIT_ONE - want) <= 0.002 * (double)rows);
}
END_TEST

/* One query more than the others sees what it should: the mean of the best. */
START_TEST(test_best)
{
	static float out[TOKENS * WIDTH];
	size_t last = TOKENS - 1, begin = last / 64 * 64;

	make(0, 9);
	/* keys 10, 20, 300 are those that queries look for */
	for (size_t i = 0; i < TOKENS; i++) {
		float like = i == 10 || i == 20 || i == 300 ? 3.0f : 0.0f;

		for (int d = 0; d < DIM_K; d++) {
			q[i][d] = 1;
			k[i][d] = i < begin ? like - (float)(i % 7) / 100 : -3;
		}
	}
	attend("topk:3", best(), 1, 256, out);
	for (int d = 0; d < DIM_V; d++) {
		float want = 0, weight = 0;

		for (int j = 0; j < 3; j++) {
			size_t i = j == 0 ? 10 : j == 1 ? 20 : 300;
			float e = expf((k[i][0] - 3) * sqrtf(DIM_K));

			want += e * v[i][d];
			weight += e;
		}
		ck_assert_float_eq_tol(out[last * WIDTH + (size_t)d], want / weight, 0.03);
	}
}
END_TEST

/* With keys that are all alike, what is left out weighs as much as what is kept. */
START_TEST(test_correction)
{
	static float want[TOKENS * WIDTH], got[TOKENS * WIDTH];

	make(0, 11);
	for (size_t i = 1; i < TOKENS; i++)
		memcpy(k[i], k[0], sizeof k[i]);
	attend("dense", best(), 1, 256, want);
	attend("vsa:0.1,0.3", best(), 1, 256, got);
	for (size_t i = 0; i < TOKENS * WIDTH; i++)
		if (fabsf(got[i] - want[i]) > 0.01f)
			ck_abort_msg("token %zu: %g, not %g", i / WIDTH, (double)got[i],
				     (double)want[i]);
}
END_TEST

START_TEST(test_pairs)
{
	static float out[TOKENS * WIDTH];
	static const struct {
		const char *policy;
		uint64_t seen; /* of a head */
	} cases[] = {
		{"dense", TOKENS * (TOKENS + 1) / 2},
		{"window:100", 100 * 101 / 2 + (TOKENS - 100) * 100},
		{"stream:0,100", 100 * 101 / 2 + (TOKENS - 100) * 100},
		{"stream:10,100", 100 * 101 / 2 + (TOKENS - 100) * 100 + 10 * (TOKENS - 109) + 45},
		{"topk:636", TOKENS * (TOKENS + 1) / 2},
		{"topk:20", 9 * 64 * 65 / 2 + 60 * 61 / 2 + (TOKENS - 64) * 20},
	};

	make(0, 10);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t seen, causal;
		struct reader r;

		open_reader(&r, cases[i].policy, best(), 2);
		read_on(&r, 0, TOKENS, 100, out);
		ds_attn_pairs(r.attn, &seen, &causal);
		ck_assert_uint_eq(causal, HEADS * TOKENS * (TOKENS + 1) / 2);
		ck_assert_msg(seen == HEADS * cases[i].seen, "%s: %llu pairs, not %llu",
			      cases[i].policy, (unsigned long long)seen,
			      (unsigned long long)(HEADS * cases[i].seen));
		close_reader(&r);
	}
}
END_TEST

START_TEST(test_allocation_failures)
{
	struct ds_attn_policy policy;
	struct ds_attn *attn;
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	ck_assert_int_eq(ds_attn_policy_parse(&policy, policies[_i], &err), DS_OK);
	for (size_t n = 0; st != DS_OK; n++) {
		ck_assert_int_eq(ds_attn_new(&attn, best(), NULL, &shape, HEADS, &err), DS_OK);
		ds_alloc_fail_after(n);
		st = ds_attn_follow(attn, &policy, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ck_assert_uint_gt(ds_attn_bytes(attn), 0);
		ds_attn_free(attn);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_follow");
	TCase *tc = tcase_create("policies");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_POLICY);
	tcase_add_loop_test(tc, test_all_is_dense, 0, (int)(sizeof complete / sizeof *complete));
	tcase_add_loop_test(tc, test_truncation, 0, N_POLICY);
	tcase_add_loop_test(tc, test_definitions, 0, (int)(sizeof sights / sizeof *sights));
	tcase_add_loop_test(tc, test_audit, 0, (int)(sizeof sights / sizeof *sights));
	tcase_add_test(tc, test_best);
	tcase_add_test(tc, test_correction);
	tcase_add_test(tc, test_pairs);
	tcase_add_loop_test(tc, test_allocation_failures, 0, N_POLICY);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
