/*
 * test_kern_rows.c - every kernel table against ref: the same bytes, at any size and alignment,
 * with nothing read or written beyond the ends; ref against the C library
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"

#define ROUNDS 300

START_TEST(test_gemm_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS / 6; round++) {
		size_t m = 1 + draw(30), n = 1 + draw(70), k = 1 + draw(60);
		size_t lda = k + draw(5), ldc = ds_kern_pad(n) + draw(5);
		float *w = random_floats(B, n * k), *want;
		struct ds_gemm g = {.m = m, .n = n, .k = k, .lda = lda, .ldc = ldc};

		g.a = random_floats(A, m * lda - (lda - k));
		g.bias = draw(2) ? random_floats(BIAS, ds_kern_pad(n)) : NULL;
		g.panel = end_floats(PANEL, ds_kern_pad(n) * k);
		ds_kern_pack(w, n, k, k, end_floats(PANEL, ds_kern_pad(n) * k));
		g.c = end_floats(WANT, m * ldc - (ldc - ds_kern_pad(n)));
		ref()->gemm(&g);
		for (size_t i = 0; i < m; i++)
			for (size_t j = 0; j < n; j++) {
				float sum = g.bias ? g.bias[j] : 0;

				for (size_t l = 0; l < k; l++)
					sum = fmaf(g.a[i * lda + l], w[j * k + l], sum);
				ck_assert(g.c[i * ldc + j] == sum);
			}
		want = g.c;
		g.c = end_floats(OUT, m * ldc - (ldc - ds_kern_pad(n)));
		kern->gemm(&g);
		for (size_t i = 0; i < m; i++)
			ck_assert_mem_eq(g.c + i * ldc, want + i * ldc,
					 ds_kern_pad(n) * sizeof(float));
	}
}
END_TEST

/* Rows over n values in place: the table's and ref's results in OUT and WANT. */
START_TEST(test_rows_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(100), bytes = n * sizeof(float);
		float *x = random_floats(A, n), *norm = random_floats(B, 2 * n);
		float *got = end_floats(OUT, n), *want = end_floats(WANT, n);

		kern->layernorm(x, norm, got, n, 1e-12f);
		ref()->layernorm(x, norm, want, n, 1e-12f);
		ck_assert_mem_eq(got, want, bytes);
		memcpy(got, x, bytes);
		memcpy(want, x, bytes);
		kern->gelu(got, n);
		ref()->gelu(want, n);
		ck_assert_mem_eq(got, want, bytes);
		kern->softmax(got, n, 3);
		ref()->softmax(want, n, 3);
		ck_assert_mem_eq(got, want, bytes);
		kern->add(got, x, n);
		ref()->add(want, x, n);
		ck_assert_mem_eq(got, want, bytes);
		ck_assert(kern->normalise(got, n) == ref()->normalise(want, n));
		ck_assert_mem_eq(got, want, bytes);
		ck_assert(kern->dot(x, norm, n) == ref()->dot(x, norm, n));
	}
}
END_TEST

START_TEST(test_gather_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(300), n_row = 1 + draw(9), n_id = draw(20);
		float *rows = random_floats(A, n * n_row), *scale = random_floats(B, n_row);
		float *got = random_floats(OUT, n), *want = end_floats(WANT, n);
		int8_t *bytes = (int8_t *)guard[PANEL] - n * n_row;
		uint32_t *id = (uint32_t *)(void *)end_floats(BIAS, n_id);

		for (size_t i = 0; i < n_id; i++)
			id[i] = draw((uint32_t)n_row);
		for (size_t i = 0; i < n * n_row; i++)
			bytes[i] = (int8_t)draw(256);
		memcpy(want, got, n * sizeof *got);
		kern->gather(got, n, rows, draw(2) ? scale : NULL, id, 0);
		kern->gather(got, n, rows, scale, id, n_id);
		ref()->gather(want, n, rows, scale, id, n_id);
		ck_assert_mem_eq(got, want, n * sizeof *got);
		kern->gather_i8(got, n, bytes, scale, id, n_id);
		ref()->gather_i8(want, n, bytes, scale, id, n_id);
		ck_assert_mem_eq(got, want, n * sizeof *got);
		ck_assert_int_eq(kern->dot_i8(bytes, bytes + n * (n_row - 1), n),
				 ref()->dot_i8(bytes, bytes + n * (n_row - 1), n));
	}
}
END_TEST

START_TEST(test_dot_i8_extremes)
{
	const struct ds_kern *kern = table(_i);
	static int8_t low[131072];

	memset(low, -128, sizeof low);
	ck_assert_int_eq(kern->dot_i8(low, low, sizeof low - 1), 131071 * 16384);
	ck_assert_int_eq(kern->dot_i8(low, low, 0), 0);
}
END_TEST

START_TEST(test_gelu_is_accurate)
{
	double worst = 0;

	for (int i = -60000; i <= 60000; i++) {
		float x = (float)i * 2e-4f, y = x;
		double want = 0.5 * (double)x * erfc(-(double)x / sqrt(2)), error;

		ref()->gelu(&y, 1);
		error = fabs((double)y - want) / (fabs((double)x) < 1 ? 1 : fabs((double)x));
		worst = error > worst ? error : worst;
	}
	ck_assert_double_lt(worst, 1.5e-7);
}
END_TEST

START_TEST(test_extreme_values)
{
	const struct ds_kern *kern = table(_i);
	float gelu[] = {0, -0.0f, 1e30f, -1e30f, 100, -100, 1e-30f};
	float soft[] = {1000, -1000, 1000, -3e38f}, zeros[20] = {0}, same[20] = {0};

	kern->gelu(gelu, 7);
	ck_assert(gelu[0] == 0 && gelu[1] == 0 && gelu[2] == 1e30f && gelu[4] == 100);
	ck_assert(gelu[3] <= 0 && gelu[3] > -1e-6f && gelu[5] <= 0 && gelu[5] > -1e-30f);
	kern->softmax(soft, 4, 1);
	ck_assert(fabsf(soft[0] - 0.5f) < 1e-7f && soft[0] == soft[2]);
	ck_assert(soft[1] >= 0 && soft[1] < 1e-30f && soft[3] >= 0 && soft[3] < 1e-30f);
	ck_assert(kern->normalise(zeros, 20) == 0);
	ck_assert_mem_eq(zeros, same, sizeof zeros);
}
END_TEST

START_TEST(test_softmax_sums_to_one)
{
	seed = 7;
	map_guarded();
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(600);
		float *x = random_floats(A, n);
		double sum = 0, want = 0, first = (double)x[0];

		for (size_t i = 0; i < n; i++)
			want += exp(2 * ((double)x[i] - first));
		ref()->softmax(x, n, 2);
		for (size_t i = 0; i < n; i++)
			sum += (double)x[i];
		ck_assert_double_lt(fabs(sum - 1), 1e-5);
		if ((double)x[0] > 1e-30) /* exp is clamped below */
			ck_assert_double_lt(fabs((double)x[0] * want - 1), 1e-5);
	}
}
END_TEST

START_TEST(test_choice)
{
	static const char *const caps[] = {"ref", "avx2", "avx512", "vnni", ""};
	const struct ds_kern *kern;
	const struct ds_kern *const *all;
	size_t n = ds_kern_all(&all);
	struct ds_err err;

	for (size_t i = 0; i < 5; i++) {
		setenv("DS_CPU", caps[i], 1);
		ck_assert_int_eq(ds_kern_choose(&kern, &err), DS_OK);
		ck_assert_ptr_eq(kern, all[i < n ? i : n - 1]);
	}
	setenv("DS_CPU", "sse9", 1);
	ck_assert_int_eq(ds_kern_choose(&kern, &err), DS_EINVAL);
	ck_assert(strstr(err.message, "sse9"));
	unsetenv("DS_CPU");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_rows");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_gemm_same_bytes, 0, 6);
	tcase_add_loop_test(tc, test_rows_same_bytes, 0, 6);
	tcase_add_loop_test(tc, test_gather_same_bytes, 0, 6);
	tcase_add_loop_test(tc, test_dot_i8_extremes, 0, 3);
	tcase_add_loop_test(tc, test_extreme_values, 0, 3);
	tcase_add_test(tc, test_gelu_is_accurate);
	tcase_add_test(tc, test_softmax_sums_to_one);
	tcase_add_test(tc, test_choice);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
