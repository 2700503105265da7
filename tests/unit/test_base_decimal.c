/* test_base_decimal.c - decimal numbers are printf's */
#include "base/decimal.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void check_bits(uint32_t bits)
{
	char ours[DS_F32_TEXT_BYTES + 1], printfs[64];
	float f;

	memcpy(&f, &bits, 4);
	if (!isfinite(f))
		return;
	ours[ds_f32_text(f, ours)] = '\0';
	snprintf(printfs, sizeof printfs, "%.9g", (double)f);
	ck_assert_str_eq(ours, bits == 0x80000000 ? "-0.0" : printfs);
}

START_TEST(any_bits)
{
	uint32_t bits = 1;

	for (int i = 0; i < 400000; i++) {
		bits = bits * 1664525 + 1013904223;
		check_bits(bits);
		check_bits(0x38000000 + bits % 0x08000000); /* 3e-5 to 1 */
	}
}
END_TEST

/* Powers of ten, numbers of few digits, and the floats beside them. */
START_TEST(edges)
{
	double p = 1e-45;

	check_bits(0);
	check_bits(0x80000000);
	for (; p < 1e39; p *= 10)
		for (int digit = 1; digit < 100; digit++) {
			float f = (float)(p * digit);
			uint32_t bits;

			memcpy(&bits, &f, 4);
			for (int d = -2; d <= 2; d++)
				check_bits(bits + (uint32_t)d);
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("decimal");
	TCase *t = tcase_create("f32");
	SRunner *runner;
	int failed;

	tcase_add_test(t, any_bits);
	tcase_add_test(t, edges);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
