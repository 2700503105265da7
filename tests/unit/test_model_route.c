/* test_model_route.c - which experts a token goes to */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/lm_route.h"

static const struct ds_route plain = {
	.n_expert = 6, .n_used = 2, .gating = DS_GATING_SOFTMAX, .scale = 1};

static void expect(const struct ds_route *r, const float *logits, const float *bias,
		   const uint32_t *want)
{
	struct ds_pick picks[8];

	ds_route(r, logits, bias, picks);
	for (uint32_t i = 0; i < r->n_used; i++)
		ck_assert_uint_eq(picks[i].expert, want[i]);
}

START_TEST(test_softmax)
{
	const float logits[] = {0, 3, -1, 2, 1, -5};
	struct ds_pick picks[2];
	double sum = 0;

	for (int i = 0; i < 6; i++)
		sum += exp((double)logits[i]);
	ds_route(&plain, logits, NULL, picks);
	ck_assert_uint_eq(picks[0].expert, 1);
	ck_assert_uint_eq(picks[1].expert, 3);
	ck_assert_double_eq_tol((double)picks[0].weight, exp(3) / sum, 1e-7);
	ck_assert_double_eq_tol((double)picks[1].weight, exp(2) / sum, 1e-7);
}
END_TEST

START_TEST(test_normalised)
{
	const float logits[] = {0, 3, -1, 2, 1, -5};
	struct ds_route r = plain;
	struct ds_pick picks[2];

	r.gating = DS_GATING_SIGMOID;
	r.normalise = true;
	r.scale = 2.5f;
	ds_route(&r, logits, NULL, picks);
	ck_assert_double_eq_tol((double)(picks[0].weight + picks[1].weight), 2.5, 1e-6);
	ck_assert_double_eq_tol((double)(picks[0].weight / picks[1].weight),
				(1 + exp(-2)) / (1 + exp(-3)), 1e-6);
}
END_TEST

/* The bias takes part in the choice; the weight is that without it. */
START_TEST(test_bias)
{
	const float logits[] = {0, 3, -1, 2, 1, -5}, bias[] = {0, -1, 0, 0, 0, 1};
	struct ds_route r = plain;
	struct ds_pick picks[2];

	r.gating = DS_GATING_SIGMOID;
	ds_route(&r, logits, bias, picks);
	ck_assert_uint_eq(picks[0].expert, 3);
	ck_assert_uint_eq(picks[1].expert, 5);
	ck_assert_double_eq_tol((double)picks[1].weight, 1 / (1 + exp(5)), 1e-7);
}
END_TEST

START_TEST(test_ties)
{
	const float same[] = {1, 1, 1, 1, 1, 1}, two[] = {0, 2, 1, 2, 1, 1};
	struct ds_route r = plain;

	expect(&plain, same, NULL, (uint32_t[]){0, 1});
	r.n_used = 3;
	expect(&r, two, NULL, (uint32_t[]){1, 2, 3});
	r.n_group = 3;
	r.n_group_used = 2;
	expect(&r, same, NULL, (uint32_t[]){0, 1, 2});
}
END_TEST

/* Groups are chosen by their two best, not by their best one. */
START_TEST(test_groups)
{
	const float logits[] = {3, -9, 2, 2, 1.5f, -9};
	struct ds_route r = plain;

	r.gating = DS_GATING_SIGMOID;
	r.n_group = 3;
	r.n_group_used = 1;
	expect(&r, logits, NULL, (uint32_t[]){2, 3});
	r.n_group_used = 2;
	expect(&r, logits, NULL, (uint32_t[]){0, 2});
	r.n_group_used = 3;
	r.n_used = 4;
	expect(&r, logits, NULL, (uint32_t[]){0, 2, 3, 4});
}
END_TEST

/* Logits that are no numbers still give experts that exist. */
START_TEST(test_not_finite)
{
	const float logits[] = {NAN, INFINITY, -INFINITY, NAN, NAN, 1e38f};
	struct ds_route r = plain;
	struct ds_pick picks[6];

	for (int gating = 1; gating <= 2; gating++) {
		for (r.n_used = 1; r.n_used <= 6; r.n_used++) {
			r.gating = (enum ds_gating)gating;
			ds_route(&r, logits, NULL, picks);
			for (uint32_t i = 0; i < r.n_used; i++)
				ck_assert(picks[i].expert < 6 &&
					  (i == 0 || picks[i].expert > picks[i - 1].expert));
		}
	}
}
END_TEST

static const struct {
	struct ds_route route;
	enum ds_status status;
} checks[] = {
	{{6, 2, 0, 0, DS_GATING_SOFTMAX, false, 1}, DS_OK},
	{{6, 6, 1, 0, DS_GATING_SIGMOID, true, 2.5f}, DS_OK},
	{{6, 4, 3, 2, DS_GATING_SIGMOID, true, 1}, DS_OK},
	{{0, 0, 0, 0, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{DS_EXPERTS_MAX + 1, 1, 0, 0, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 0, 0, 0, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 7, 0, 0, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 2, 4, 2, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 2, 6, 2, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 2, 3, 0, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 2, 3, 4, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 3, 3, 1, DS_GATING_SOFTMAX, false, 1}, DS_EFORMAT},
	{{6, 2, 0, 0, (enum ds_gating)3, false, 1}, DS_EUNSUPPORTED},
	{{6, 2, 0, 0, DS_GATING_SOFTMAX, false, NAN}, DS_EFORMAT},
};

START_TEST(test_check)
{
	struct ds_err err;

	ck_assert_int_eq(ds_route_check(&checks[_i].route, &err), checks[_i].status);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_route");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_softmax);
	tcase_add_test(tc, test_normalised);
	tcase_add_test(tc, test_bias);
	tcase_add_test(tc, test_ties);
	tcase_add_test(tc, test_groups);
	tcase_add_test(tc, test_not_finite);
	tcase_add_loop_test(tc, test_check, 0, (int)(sizeof checks / sizeof *checks));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
