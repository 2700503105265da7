/*
 * test_attn_policy.c - policies as text
 */
#include <check.h>
#include <string.h>

#include "attn/policy.h"

static const struct good {
	const char *text, *full;
	enum ds_attn_kind kind;
	double param[3];
} good[] = {
	{"dense", "dense", DS_ATTN_DENSE, {0}},
	{"exact", "exact", DS_ATTN_EXACT, {0}},
	{"window", "window:2048", DS_ATTN_WINDOW, {2048}},
	{"window:1", "window:1", DS_ATTN_WINDOW, {1}},
	{"stream", "stream:64,2048", DS_ATTN_STREAM, {64, 2048}},
	{"stream:0,100", "stream:0,100", DS_ATTN_STREAM, {0, 100}},
	{"stream:4", "stream:4,2048", DS_ATTN_STREAM, {4, 2048}},
	{"keys:512,32", "keys:512,32", DS_ATTN_KEYS, {512, 32}},
	{"hybrid", "hybrid:64,0.1", DS_ATTN_HYBRID, {64, 0.1}},
	{"hybrid-sum:00128,1.0", "hybrid-sum:128,1", DS_ATTN_HYBRID_SUM, {128, 1}},
	{"topk:16777216", "topk:16777216", DS_ATTN_TOPK, {16777216}},
	{"vsa:0.000001,0.999999", "vsa:0.000001,0.999999", DS_ATTN_VSA, {0.000001, 0.999999}},
	{"lsh", "lsh:4,8", DS_ATTN_LSH, {4, 8}},
	{"mass:0.25", "mass:0.25,0,4", DS_ATTN_MASS, {0.25, 0, 4}},
	{"auto:0.950,1", "auto:0.95,1,4", DS_ATTN_AUTO, {0.95, 1, 4}},
};

static const struct bad {
	const char *text, *message;
} bad[] = {
	{"", "'' is no attention policy: dense, exact, window:W, stream:SINKS,W, keys:W,N, "
	     "hybrid:W,SHARE, hybrid-sum:W,SHARE, topk:K, vsa:COARSE,FINE, lsh:ROUNDS,BITS, "
	     "mass:SHARE,P,S, auto:MASS,P,S, answer:MASS"},
	{"dense:1", "dense takes no numbers, not '1' too"},
	{"dense:", "dense takes no numbers, not '' too"},
	{"window:", "window: W is a whole number from 1 to 16777216, not ''"},
	{"window:0", "window: W is a whole number from 1 to 16777216, not '0'"},
	{"window:1,2", "window takes one number, not '2' too"},
	{"window:12345678901", "window: W is a whole number from 1 to 16777216, not '12345678901'"},
	{"window:1.5", "window: W is a whole number from 1 to 16777216, not '1.5'"},
	{"window:+1", "window: W is a whole number from 1 to 16777216, not '+1'"},
	{"stream:1,2,3", "stream: W is a whole number from 64 to 16777216, not '2'"},
	{"stream:1,64,3", "stream takes two numbers, not '3' too"},
	{"keys:512,513", "keys: N is a whole number from 0 to 512, not '513'"},
	{"keys:,1", "keys: W is a whole number from 64 to 16777216, not ''"},
	{"mass:0", "mass: SHARE is a number from 0.000001 to 1, not '0'"},
	{"mass:1.000001", "mass: SHARE is a number from 0.000001 to 1, not '1.000001'"},
	{"mass:1.", "mass: SHARE is a number from 0.000001 to 1, not '1.'"},
	{"mass:.5", "mass: SHARE is a number from 0.000001 to 1, not '.5'"},
	{"mass:0.1234567", "mass: SHARE is a number from 0.000001 to 1, not '0.1234567'"},
	{"mass:0.1 ", "mass: SHARE is a number from 0.000001 to 1, not '0.1 '"},
};

START_TEST(test_good)
{
	const struct good *g = &good[_i];
	char text[DS_ATTN_TEXT_BYTES];
	struct ds_attn_policy policy;
	struct ds_err err;

	ck_assert_msg(ds_attn_policy_parse(&policy, g->text, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(policy.kind, g->kind);
	for (int i = 0; i < 2; i++)
		ck_assert_double_eq(policy.param[i], g->param[i]);
	ds_attn_policy_text(&policy, text, sizeof text);
	ck_assert_str_eq(text, g->full);
}
END_TEST

START_TEST(test_bad)
{
	struct ds_attn_policy policy;
	struct ds_err err;

	ck_assert_int_eq(ds_attn_policy_parse(&policy, bad[_i].text, &err), DS_EINVAL);
	ck_assert_str_eq(err.message, bad[_i].message);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_policy");
	TCase *tc = tcase_create("text");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_good, 0, (int)(sizeof good / sizeof *good));
	tcase_add_loop_test(tc, test_bad, 0, (int)(sizeof bad / sizeof *bad));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
