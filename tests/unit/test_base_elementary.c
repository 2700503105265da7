/* test_base_elementary.c - exp, log, sine and cosine in double against the C library */
#include <check.h>
#include <math.h>

#include "base/elementary.h"

static double relative(double got, double want)
{
	return fabs(got - want) / (want != 0 ? fabs(want) : 1);
}

START_TEST(test_exp)
{
	double worst = 0;

	for (int i = -70000; i <= 70000; i++)
		worst = fmax(worst, relative(ds_exp(i * 1.0123e-2), exp(i * 1.0123e-2)));
	ck_assert_double_lt(worst, 2e-15);
	ck_assert(ds_exp(0) == 1);
	ck_assert(ds_exp(-1e300) == 0 && ds_exp(-746) == 0 && ds_exp(-745) > 0);
	ck_assert(isinf(ds_exp(710)) && isinf(ds_exp(INFINITY)) && isnan(ds_exp(NAN)));
}
END_TEST

START_TEST(test_log)
{
	double worst = 0, x = 1e-320;

	for (; x < 1e308; x *= 1.0071)
		worst = fmax(worst, fabs(ds_log(x) - log(x)) / fmax(1, fabs(log(x))));
	for (x = 0.99; x < 1.01; x += 1.7e-6)
		worst = fmax(worst, relative(ds_log(x), log(x)));
	ck_assert_double_lt(worst, 2e-15);
	ck_assert(ds_log(1) == 0);
}
END_TEST

START_TEST(test_sincos)
{
	double worst = 0, s, c;

	for (int i = -3000000; i <= 3000000; i++) {
		double x = i < 0 ? i * 0.3337 : i * 1.1e-5 * i;

		ds_sincos(x, &s, &c);
		worst = fmax(worst, fmax(fabs(s - sin(x)), fabs(c - cos(x))));
	}
	for (int i = 0; i <= 1048576; i++) { /* positions as they are */
		ds_sincos(i, &s, &c);
		worst = fmax(worst, fmax(fabs(s - sin(i)), fabs(c - cos(i))));
	}
	ck_assert_double_lt(worst, 1e-14);
	ds_sincos(0, &s, &c);
	ck_assert(s == 0 && c == 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base_elementary");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_exp);
	tcase_add_test(tc, test_log);
	tcase_add_test(tc, test_sincos);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
