/* test_kern_scan.c - blocks of few bits: every kernel table the same integers as a plain sum */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "kern/scan.h"

/* The sums of a block, row by row and bit by bit. */
static void naive(const struct ds_scan *s, const int *query, const uint8_t *block, int32_t *out)
{
	for (size_t r = 0; r < DS_SCAN_ROWS; r++) {
		out[r] = 0;
		for (size_t i = 0; i < 8 * s->bytes; i++)
			for (unsigned p = 0; p < s->planes; p++) {
				uint8_t byte = block[(p * s->bytes + i / 8) * DS_SCAN_ROWS + r];

				out[r] += query[i] * (byte >> i % 8 & 1 ? 1 : -1) * (1 << p);
			}
	}
}

START_TEST(test_scan)
{
	static const size_t sizes[] = {1, 2, 3, 30, 48, 127, 128, 129, 300, 1000};
	const struct ds_kern *kern = table(_i);

	for (size_t k = 0; k < 4 * sizeof sizes / sizeof *sizes; k++) {
		struct ds_scan s = {.bytes = sizes[k / 4], .planes = 1 + (unsigned)k % 4};
		size_t n = s.bytes * s.planes * DS_SCAN_ROWS;
		uint8_t *sums = guard[A] - s.bytes * 64, *block = guard[B] - n;
		int32_t *out = (int32_t *)end_floats(OUT, DS_SCAN_ROWS), want[DS_SCAN_ROWS];
		int *query = calloc(8 * s.bytes, sizeof *query), extreme = draw(2) ? 31 : 0;

		for (size_t i = 0; i < 8 * s.bytes; i++)
			query[i] = extreme ? (draw(2) ? 31 : -31) : (int)draw(63) - 31;
		for (size_t i = 0; i < n; i++)
			block[i] = extreme && draw(2) ? 0xFF : (uint8_t)draw(256);
		for (size_t i = 0; i < 64 * s.bytes; i++) {
			int sum = 128;

			for (size_t d = 0; d < 4; d++)
				sum += (i >> d & 1 ? 1 : -1) * query[i / 32 * 4 + d];
			sums[i] = (uint8_t)sum;
		}
		s.table = sums;
		naive(&s, query, block, want);
		kern->scan(&s, block, out);
		ck_assert_mem_eq(out, want, sizeof want);
		free(query);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_scan");
	TCase *tc = tcase_create("scan");
	const struct ds_kern *const *all;
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, test_scan, 0, (int)ds_kern_all(&all));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
