/* test_model_pca.c - principal components of data whose components are known */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/pca.h"

enum { DIMS = 5, N = 4000 };

/* Orthonormal directions: a rotation in each of two planes, the last axis as it is. */
static const double direction[3][DIMS] = {
	{0.6, 0.8, 0, 0, 0},
	{0, 0, 0.28, 0.96, 0},
	{-0.8, 0.6, 0, 0, 0},
};
static const double deviation[3] = {3, 2, 0.5};
static const double middle[DIMS] = {10, -5, 0, 2, 7};

/* Points with exact variances: each direction alternates between its two ends. */
static void make_rows(float *rows)
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < DIMS; j++) {
			double x = middle[j];

			for (int k = 0; k < 3; k++)
				x += (i >> k & 1 ? 1 : -1) * deviation[k] * direction[k][j];
			rows[i * DIMS + j] = (float)x;
		}
}

START_TEST(test_known)
{
	static float rows[N * DIMS], out[N * 2];
	struct ds_pca pca;
	struct ds_err err;

	make_rows(rows);
	ck_assert_int_eq(ds_pca_fit(&pca, rows, N, DIMS, 2, &err), DS_OK);
	ck_assert_double_eq_tol(pca.explained, 13 / 13.25, 1e-6);
	for (int j = 0; j < DIMS; j++) {
		ck_assert_double_eq_tol(pca.mean[j], middle[j], 1e-5);
		for (int k = 0; k < 2; k++)
			ck_assert_double_eq_tol(pca.component[k * DIMS + j], direction[k][j], 1e-5);
	}
	ds_pca_project(&pca, rows, pca.mean, N, out);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < 2; k++)
			ck_assert_double_eq_tol(out[i * 2 + k],
						(i >> k & 1 ? 1 : -1) * deviation[k], 1e-4);
	ds_pca_project(&pca, rows, NULL, 1, out);
	ck_assert_double_eq_tol(out[0], 10 * 0.6 - 5 * 0.8 - 3, 1e-4);
	ds_pca_fini(&pca);
}
END_TEST

START_TEST(test_degenerate)
{
	float rows[DIMS * 2] = {1, 2, 3, 4, 5, 1, 2, 3, 4, 5};
	struct ds_pca pca;
	struct ds_err err;

	/* no variance at all: any basis, all of it explained */
	ck_assert_int_eq(ds_pca_fit(&pca, rows, 2, DIMS, DIMS, &err), DS_OK);
	ck_assert_double_eq(pca.explained, 1);
	ds_pca_fini(&pca);
	ck_assert_int_eq(ds_pca_fit(&pca, rows, 2, DIMS, DIMS + 1, &err), DS_EINVAL);
	ck_assert_int_eq(ds_pca_fit(&pca, rows, 0, DIMS, 1, &err), DS_EINVAL);
	rows[0] = NAN;
	ck_assert_int_ne(ds_pca_fit(&pca, rows, 2, DIMS, 1, &err), DS_OK);
}
END_TEST

START_TEST(test_memory_out)
{
	static float rows[N * DIMS];
	enum ds_status st = DS_ENOMEM;
	struct ds_pca pca;
	struct ds_err err;
	size_t n = 0;

	make_rows(rows);
	for (; st != DS_OK; n++) {
		ck_assert_uint_lt(n, 100);
		ds_alloc_fail_after(n);
		st = ds_pca_fit(&pca, rows, N, DIMS, 3, &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_gt(n, 6);
	ds_pca_fini(&pca);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pca");
	TCase *t = tcase_create("pca");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_known);
	tcase_add_test(t, test_degenerate);
	tcase_add_test(t, test_memory_out);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
