/*
 * test_kern_attn.c - the rows of attention: products on panels of halves that go on from what is
 * there, the softmax of a page; the same bytes from every table, nothing touched beyond the ends
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "base/half.h"

#define ROUNDS 300

/* w [k] of column j: rows from `from` on of panels that have `rows` each */
static float weight(const uint16_t *half, size_t rows, size_t k, size_t j)
{
	return ds_f16_to_f32(
		half[(j / DS_KERN_LANES * rows + k) * DS_KERN_LANES + j % DS_KERN_LANES]);
}

START_TEST(test_gemm_on_halves)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t m = 1 + draw(27), n = DS_KERN_LANES * (1 + draw(9)), k = 1 + draw(40);
		size_t more = draw(3), rows = k + more, lda = k + draw(5), ldc = n + draw(5);
		size_t panel = n * rows - more * DS_KERN_LANES; /* the last one ends with row k */
		struct ds_gemm g = {.m = m, .n = n, .k = k, .lda = lda, .ldc = ldc};
		uint16_t *half = (uint16_t *)(void *)guard[PANEL] - panel;
		float *a = random_floats(A, m * lda - (lda - k)), *keep = random_floats(B, m);
		float *start = random_floats(WANT, m * ldc - (ldc - n));
		float *got = end_floats(OUT, m * ldc - (ldc - n));
		float *wide = end_floats(BIAS, panel);

		for (size_t i = 0; i < panel; i++)
			half[i] = ds_f32_to_f16(real());
		memcpy(got, start, (m * ldc - (ldc - n)) * sizeof *got);
		g.a = a;
		g.half = half;
		g.panel_rows = more ? rows : draw(2) * k;
		g.keep = keep;
		g.c = got;
		kern->gemm(&g);
		for (size_t i = 0; i < m; i++)
			for (size_t j = 0; j < ldc && i * ldc + j < m * ldc - (ldc - n); j++) {
				float sum = start[i * ldc + j];

				if (j < n)
					sum = sum * keep[i];
				for (size_t l = 0; j < n && l < k; l++)
					sum = fmaf(a[i * lda + l], weight(half, rows, l, j), sum);
				ck_assert(got[i * ldc + j] == sum);
			}
		/* opened to floats: the same */
		kern->from_half(half, wide, panel);
		g.half = NULL;
		g.panel = wide;
		g.c = start;
		kern->gemm(&g);
		ck_assert_mem_eq(start, got, (m * ldc - (ldc - n)) * sizeof *got);
	}
}
END_TEST

/* A page's softmax by one table; the buffers hold n rows. */
static struct ds_page_softmax page(int scores, size_t n, size_t stride, unsigned first,
				   unsigned end)
{
	struct ds_page_softmax s = {.n = n, .stride = stride, .first = first, .end = end};
	float *p = end_floats(scores, (n - 1) * stride + end + n * (2 + DS_KERN_LANES));

	s.max = p;
	s.factor = p + n;
	s.sum = p + 2 * n;
	s.score = p + n * (2 + DS_KERN_LANES);
	return s;
}

START_TEST(test_page_softmax_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(40), stride = 64 + draw(3);
		unsigned first = 16 * draw(4), end = first + 16 * (1 + draw(4 - first / 16));
		struct ds_page_softmax want = page(WANT, n, stride, first, end);
		struct ds_page_softmax got = page(OUT, n, stride, first, end);
		struct ds_key_range *range = (struct ds_key_range *)(void *)guard[A] - n;
		size_t floats = (n - 1) * stride + end + n * (2 + DS_KERN_LANES);
		int ranges = draw(3) > 0;

		for (size_t i = 0; i < floats; i++)
			want.max[i] = real() * 3;
		for (size_t i = 0; i < n; i++) {
			range[i].first = (uint8_t)draw(65);
			range[i].end = (uint8_t)(range[i].first + draw(65 - range[i].first));
			if (draw(3) == 0)
				want.max[i] = -FLT_MAX;
		}
		want.range = got.range = ranges ? range : NULL;
		memcpy(got.max, want.max, floats * sizeof(float));
		ref()->page_softmax(&want);
		kern->page_softmax(&got);
		ck_assert_mem_eq(got.max, want.max, floats * sizeof(float));
		for (size_t i = 0; ranges && i < n; i++)
			for (unsigned j = first; j < end; j++)
				if (j < range[i].first || j >= range[i].end)
					ck_assert(got.score[i * stride + j] == 0);
	}
}
END_TEST

START_TEST(test_join_and_finish_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t dim = DS_KERN_LANES * (1 + draw(17)), n = 1 + DS_KERN_LANES + dim;
		float *a = random_floats(A, n), *b = random_floats(B, n);
		float *got = end_floats(OUT, n), *want = end_floats(WANT, n);
		struct ds_attn_part part = {b, b + 1, b + 1 + DS_KERN_LANES};
		struct ds_attn_part got_part = {got, got + 1, got + 1 + DS_KERN_LANES};
		struct ds_attn_part want_part = {want, want + 1, want + 1 + DS_KERN_LANES};

		for (size_t i = 1; i <= DS_KERN_LANES; i++) {
			a[i] = fabsf(a[i]) + 0.1f;
			b[i] = fabsf(b[i]) + 0.1f;
		}
		if (draw(4) == 0)
			*b = -FLT_MAX;
		memcpy(got, a, n * sizeof *a);
		memcpy(want, a, n * sizeof *a);
		kern->attn_join(&got_part, &part, dim);
		ref()->attn_join(&want_part, &part, dim);
		ck_assert_mem_eq(got, want, n * sizeof *a);
		ck_assert(*got == fmaxf(*a, *b));
		kern->attn_finish(&got_part, end_floats(BIAS, dim), dim);
		ref()->attn_finish(&want_part, end_floats(PANEL, dim), dim);
		ck_assert_mem_eq(end_floats(BIAS, dim), end_floats(PANEL, dim),
				 dim * sizeof(float));
	}
}
END_TEST

/* Keys that nobody sees leave all as it was; a first page starts from nothing. */
START_TEST(test_page_softmax_at_the_ends)
{
	const struct ds_kern *kern = table(_i);
	struct ds_page_softmax s = page(OUT, 2, 64, 0, 64);
	const struct ds_key_range none[2] = {{0, 0}, {64, 64}}, some[2] = {{5, 6}, {63, 64}};
	float sum = 0;

	memset(s.sum, 0, 2 * DS_KERN_LANES * sizeof(float));
	for (int i = 0; i < 128; i++)
		s.score[i] = NAN; /* beyond the range: never looked at */
	s.max[0] = s.max[1] = -FLT_MAX;
	s.range = none;
	kern->page_softmax(&s);
	ck_assert(s.max[0] == -FLT_MAX && s.max[1] == -FLT_MAX);
	ck_assert(s.factor[0] == 1 && s.factor[1] == 1);
	for (int i = 0; i < 128; i++) {
		ck_assert(s.score[i] == 0);
		s.score[i] = 3e38f;
	}
	s.score[5] = -1e30f;
	s.score[64 + 63] = 7;
	s.range = some;
	kern->page_softmax(&s);
	ck_assert(s.max[0] == -1e30f && s.max[1] == 7);
	for (int i = 0; i < 2 * DS_KERN_LANES; i++)
		sum += s.sum[i];
	ck_assert(sum == 2 && s.score[5] == 1 && s.score[64 + 63] == 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_attn");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_gemm_on_halves, 0, 4);
	tcase_add_loop_test(tc, test_page_softmax_same_bytes, 0, 4);
	tcase_add_loop_test(tc, test_join_and_finish_same_bytes, 0, 4);
	tcase_add_loop_test(tc, test_page_softmax_at_the_ends, 0, 4);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
