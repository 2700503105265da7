/* test_task_sample.c - the sampler against a naive one, its distribution, its ties, its seeds */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "base/mem.h"
#include "kern/kern.h"
#include "task/sample.h"

static uint64_t seed = 88172645463325252u;

static double random_unit(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) * 0x1p-53;
}

static uint32_t choose(struct ds_sampler *s, const float *logits, size_t n)
{
	float *copy = ds_alloc(n, sizeof *copy);
	struct ds_err err;
	uint32_t id;

	memcpy(copy, logits, n * sizeof *copy);
	ck_assert_int_eq(ds_sampler_choose(s, copy, &id, &err), DS_OK);
	free(copy);
	return id;
}

static struct ds_sampler *sampler(const struct ds_sampling *o, size_t vocab)
{
	struct ds_sampler *s = NULL;
	struct ds_err err;

	ck_assert_int_eq(ds_sampler_new(&s, o, vocab, &err), DS_OK);
	return s;
}

START_TEST(test_elementary)
{
	static const double x[] = {1e-300,    1e-9,	 0.1, 0.5, 0.70710678, 1,
				   1.0000001, 1.4142136, 2,   10,  12345.678,  1e300};

	for (size_t i = 0; i < sizeof x / sizeof *x; i++)
		ck_assert_double_eq_tol(ds_log(x[i]), log(x[i]), 4e-16 * fabs(log(x[i])) + 1e-300);
	for (double v = -745; v < 709; v += 0.37)
		ck_assert_double_eq_tol(ds_exp(v), exp(v), v < -700 ? 1e-300 : 1e-15 * exp(v));
	ck_assert_double_eq(ds_exp(0), 1);
	ck_assert_double_eq(ds_exp(-1000), 0);
	ck_assert(isinf(ds_exp(1000)) && isinf(ds_log(0)) && isnan(ds_log(-1)));
}
END_TEST

/* --- a naive sampler: which ids may come, and with what probability ------------------------- */

struct candidate {
	uint32_t id;
	double logit, p;
};

static int descending(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->logit != y->logit)
		return x->logit < y->logit ? 1 : -1;
	return x->id < y->id ? -1 : 1;
}

static void soften(struct candidate *c, size_t n, double temperature)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += c[i].p = exp((c[i].logit - c[0].logit) / temperature);
	for (size_t i = 0; i < n; i++)
		c[i].p /= sum;
}

static size_t naive(const float *logits, size_t vocab, const struct ds_sampling *o,
		    struct candidate *c)
{
	size_t n = o->top_k && o->top_k < vocab ? o->top_k : vocab;
	double sum = 0;

	for (size_t i = 0; i < vocab; i++)
		c[i] = (struct candidate){(uint32_t)i, logits[i], 0};
	qsort(c, vocab, sizeof *c, descending);
	soften(c, n, 1);
	if (o->top_p < 1)
		for (size_t i = 0; i < n; i++) {
			sum += c[i].p;
			if (sum >= o->top_p)
				n = i + 1;
		}
	while (n > 1 && c[n - 1].logit < c[0].logit + log(o->min_p))
		n--;
	soften(c, n, o->temperature);
	return n;
}

static const struct {
	struct ds_sampling o;
	size_t vocab;
	double scale; /* of the logits */
} cases[] = {
	{{.temperature = 1, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1},
	 1000,
	 3},
	{{.temperature = 0.7f, .top_k = 5, .top_p = 1, .repeat_penalty = 1}, 300, 1},
	{{.temperature = 1.5f, .top_k = 0, .top_p = 0.8f, .repeat_penalty = 1}, 50, 2},
	{{.temperature = 1, .top_k = 0, .top_p = 0.9f, .repeat_penalty = 1}, 40000, 2},
	{{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0.2f, .repeat_penalty = 1}, 5000, 2},
	{{.temperature = 2, .top_k = 0, .top_p = 1, .repeat_penalty = 1}, 17, 1},
	{{.temperature = 1, .top_k = 1, .top_p = 1, .repeat_penalty = 1}, 64, 1},
	{{.temperature = 1, .top_k = 700, .top_p = 0.99f, .repeat_penalty = 1}, 32000, 4},
	{{.temperature = 1, .top_k = 3, .top_p = 0, .repeat_penalty = 1}, 100, 1},
};
#define DRAWS 20000

/* Every draw is one that may come, and the likely ones come as often as they should. */
START_TEST(test_distribution)
{
	size_t vocab = cases[_i].vocab, n;
	struct ds_sampler *s = sampler(&cases[_i].o, vocab);
	struct candidate *c = ds_alloc(vocab, sizeof *c);
	float *logits = ds_alloc(vocab, sizeof *logits);
	unsigned *count = ds_alloc_zero(vocab, sizeof *count);
	unsigned draws = vocab > 10000 ? DRAWS / 10 : DRAWS, possible = 0;

	for (size_t i = 0; i < vocab; i++)
		logits[i] =
			(float)(cases[_i].scale * (random_unit() + random_unit() + random_unit()));
	n = naive(logits, vocab, &cases[_i].o, c);
	for (unsigned i = 0; i < draws; i++)
		count[choose(s, logits, vocab)]++;
	for (size_t i = 0; i < n; i++) {
		double want = c[i].p * draws;

		possible += count[c[i].id];
		ck_assert_double_le(fabs(count[c[i].id] - want), 5 * sqrt(want) + 5);
	}
	/* the last candidate before a cut may differ by rounding */
	ck_assert_uint_ge(possible + draws / 1000 + 1, draws);
	free(c);
	free(logits);
	free(count);
	ds_sampler_free(s);
}
END_TEST

START_TEST(test_same_seed_same_ids)
{
	struct ds_sampling o = ds_sampling_default;
	float logits[2000];
	struct ds_sampler *a, *b, *other;
	unsigned differ = 0;

	o.temperature = 1;
	o.seed = 7;
	a = sampler(&o, 2000);
	b = sampler(&o, 2000);
	o.seed = 8;
	other = sampler(&o, 2000);
	for (int i = 0; i < 2000; i++)
		logits[i] = (float)random_unit();
	for (int i = 0; i < 200; i++) {
		uint32_t id = choose(a, logits, 2000);

		ck_assert_uint_eq(choose(b, logits, 2000), id);
		differ += choose(other, logits, 2000) != id;
	}
	ck_assert_uint_gt(differ, 100);
	ds_sampler_reset(a);
	ds_sampler_reset(b);
	ck_assert_uint_eq(choose(a, logits, 2000), choose(b, logits, 2000));
	ds_sampler_free(a);
	ds_sampler_free(b);
	ds_sampler_free(other);
}
END_TEST

/* The ids are part of the format, so to speak: texts of a seed stay what they are. */
START_TEST(test_ids_of_a_seed)
{
	static const uint32_t want[] = {59, 81, 35, 62, 27, 21, 8, 40};
	struct ds_sampling o = ds_sampling_default;
	struct ds_sampler *s;
	float logits[100];

	o.temperature = 1;
	o.seed = 42;
	s = sampler(&o, 100);
	for (int i = 0; i < 100; i++)
		logits[i] = (float)(i * 37 % 100) / 16;
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		ck_assert_uint_eq(choose(s, logits, 100), want[i]);
	ds_sampler_free(s);
}
END_TEST

START_TEST(test_ties_go_to_the_lowest_id)
{
	struct ds_sampling o = ds_sampling_default;
	struct ds_sampler *greedy = sampler(&o, 1000), *first;
	float logits[1000];

	o.temperature = 1;
	o.top_k = 1;
	first = sampler(&o, 1000);
	for (int i = 0; i < 1000; i++)
		logits[i] = i % 100 == 37 ? 2.0f : -1.0f;
	ck_assert_uint_eq(choose(greedy, logits, 1000), 37);
	ck_assert_uint_eq(choose(first, logits, 1000), 37);
	logits[5] = NAN;
	logits[6] = -INFINITY;
	ck_assert_uint_eq(choose(greedy, logits, 1000), 37);
	ck_assert_uint_eq(choose(first, logits, 1000), 37);
	ds_sampler_free(greedy);
	ds_sampler_free(first);
}
END_TEST

START_TEST(test_penalty)
{
	struct ds_sampling o = ds_sampling_default;
	static const uint32_t text[] = {3, 3, 3, 1};
	float logits[5] = {1.0f, 1.4f, -0.5f, 1.5f, 1.2f};
	struct ds_sampler *s;
	uint32_t id;

	o.repeat_penalty = 1.2f;
	o.repeat_last = 2;
	s = sampler(&o, 5);
	ck_assert_uint_eq(choose(s, logits, 5), 3);
	ds_sampler_accept(s, text, 3);
	ck_assert_uint_eq(choose(s, logits, 5), 1); /* 3 is 1.25 now: once, not three times */
	ds_sampler_accept(s, text + 3, 1);
	ck_assert_uint_eq(choose(s, logits, 5), 3); /* 1.25 against 1.17 and 1.2 */
	id = 0;
	ds_sampler_accept(s, &id, 1);
	ck_assert_uint_eq(choose(s, logits, 5), 3); /* forgotten */
	ds_sampler_free(s);
}
END_TEST

START_TEST(test_bad_logits)
{
	struct ds_sampling o = ds_sampling_default;
	float logits[3] = {NAN, NAN, -INFINITY};
	struct ds_err err;
	uint32_t id;

	for (int t = 0; t < 2; t++) {
		struct ds_sampler *s;

		o.temperature = (float)t;
		s = sampler(&o, 3);
		ck_assert_int_eq(ds_sampler_choose(s, logits, &id, &err), DS_EFORMAT);
		logits[1] = INFINITY;
		ck_assert_int_eq(ds_sampler_choose(s, logits, &id, &err), DS_EFORMAT);
		logits[1] = NAN;
		ds_sampler_free(s);
	}
}
END_TEST

START_TEST(test_allocation_failures)
{
	struct ds_sampling o = ds_sampling_default;
	struct ds_sampler *s;
	struct ds_err err;
	size_t i = 0;

	o.temperature = 1;
	o.repeat_penalty = 1.1f;
	for (;; i++) {
		enum ds_status st;

		ds_alloc_fail_after(i);
		st = ds_sampler_new(&s, &o, 100, &err);
		ds_alloc_fail_after(SIZE_MAX);
		if (st == DS_OK)
			break;
		ck_assert_int_eq(st, DS_ENOMEM);
	}
	ck_assert_uint_eq(i, 7);
	ds_sampler_free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("task_sample");
	TCase *tc = tcase_create("sample");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_elementary);
	tcase_add_loop_test(tc, test_distribution, 0, sizeof cases / sizeof *cases);
	tcase_add_test(tc, test_same_seed_same_ids);
	tcase_add_test(tc, test_ids_of_a_seed);
	tcase_add_test(tc, test_ties_go_to_the_lowest_id);
	tcase_add_test(tc, test_penalty);
	tcase_add_test(tc, test_bad_logits);
	tcase_add_test(tc, test_allocation_failures);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
