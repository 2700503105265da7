/*
 * test_kern_guess.c - gists, and shares by rough scores (kern/attn8.h), every table against ref,
 * and that against loops of doubles
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "kern/attn8.h"

#define BLOCKS 96

static void check_shares(const struct ds_attn8_guess *g, const float *score)
{
	double total[16] = {0}, most[16];

	for (size_t r = 0; r < g->n; r++) {
		most[r] = -INFINITY;
		for (size_t b = 0; b < g->n_block; b++)
			most[r] = fmax(most[r],
				       (double)(score[b * 16 + r] + g->mean[b / 4 * 64 + r]));
		for (size_t b = 0; b < g->n_block; b++)
			total[r] += exp2((double)(score[b * 16 + r] + g->mean[b / 4 * 64 + r]) -
					 most[r]);
	}
	for (size_t b = 0; b < g->n_block; b++) {
		double sum = 0;

		for (size_t r = 0; r < g->n; r++)
			sum += exp2((double)(score[b * 16 + r] + g->mean[b / 4 * 64 + r]) -
				    most[r]) /
			       total[r];
		ck_assert_double_eq_tol((double)g->share[b], sum, 8e-3 * sum + 1e-30);
	}
}

START_TEST(test_guess)
{
	const struct ds_kern *kern = table(_i);
	float score[BLOCKS * 16], share[BLOCKS];

	for (int round = 0; round < 200; round++) {
		struct ds_attn8_guess g = {.n = 1 + draw(16), .n_block = 4 * (1 + draw(24))};
		size_t n = g.n_block * 16;

		g.mean = random_floats(A, g.n_block / 4 * 64);
		g.score = random_floats(B, n);
		memcpy(score, g.score, n * sizeof(float));
		g.share = share;
		ref()->attn8->guess(&g);
		check_shares(&g, score);
		memcpy(g.score, score, n * sizeof(float));
		g.share = end_floats(OUT, g.n_block);
		kern->attn8->guess(&g);
		ck_assert_mem_eq(g.share, share, g.n_block * sizeof(float));
	}
}
END_TEST

static void check_gist(const struct ds_attn8_gist *g)
{
	size_t dim = g->dim_k;
	double x[128], max = 0;
	int32_t sum = 0;

	for (size_t d = 0; d < dim; d++) {
		double mean = 0, square = 0;

		for (size_t t = 0; t < 16; t++) {
			double r =
				(double)g->k[(d / 4 * 16 + t) * 4 + d % 4] * (double)g->k_scale[t];

			mean += r / 16;
			square += r * r / 16;
		}
		x[d] = mean;
		x[dim + d] = sqrt(fmax(square - mean * mean, 0)) / 2;
	}
	for (size_t i = 0; i < 2 * dim; i++)
		max = fmax(max, fabs(x[i]));
	ck_assert_double_eq_tol((double)g->to_scale[g->lane], max / 127, 1e-5 * max);
	for (size_t i = 0; i < 2 * dim; i++) {
		int a = g->to[(i / 4 * 16 + g->lane) * 4 + i % 4];

		ck_assert_double_eq_tol((double)a, max > 0 ? x[i] * 127 / max : 0, 0.51);
		sum += a;
	}
	ck_assert_int_eq(g->to_zero[g->lane], -128 * sum);
}

START_TEST(test_gist)
{
	const struct ds_kern *kern = table(_i);
	int8_t to[128 * 16];
	float scale[16];
	int32_t zero[16];

	for (int round = 0; round < 200; round++) {
		size_t dim = 16 * (1 + draw(4)), bytes = 2 * dim * 16;
		int8_t *k = (int8_t *)guard[A] - dim * 16;
		struct ds_attn8_gist g = {.dim_k = dim,
					  .k = k,
					  .k_scale = random_floats(B, 16),
					  .to = to,
					  .to_scale = scale,
					  .to_zero = zero};

		for (size_t i = 0; i < 16; i++)
			((float *)(void *)(guard[B] - 64))[i] = fabsf(real()) * (float)draw(2);
		for (size_t i = 0; i < dim * 16; i++)
			k[i] = (int8_t)(draw(255) - 127);
		memset(to, 0, sizeof to);
		for (g.lane = 0; g.lane < 16; g.lane += 5) {
			ref()->attn8->gist(&g);
			check_gist(&g);
		}
		g.to = (int8_t *)guard[OUT] - bytes;
		g.to_scale = end_floats(PANEL, 16);
		g.to_zero = (int32_t *)(void *)end_floats(BIAS, 16);
		memset(g.to, 0, bytes);
		for (g.lane = 0; g.lane < 16; g.lane += 5) {
			kern->attn8->gist(&g);
			ck_assert_mem_eq(&g.to_scale[g.lane], &scale[g.lane], sizeof *scale);
			ck_assert_int_eq(g.to_zero[g.lane], zero[g.lane]);
		}
		ck_assert_mem_eq(g.to, to, bytes);
	}
}
END_TEST

/* A score that is no number; what lies behind the rows may be anything. */
START_TEST(test_no_number)
{
	const struct ds_kern *kern = table(_i);
	float score[8 * 16] = {0}, mean[2 * 64] = {0}, share[8];
	struct ds_attn8_guess g = {
		.n = 3, .n_block = 8, .score = score, .mean = mean, .share = share};

	score[5 * 16 + 1] = NAN;
	for (size_t i = 0; i < 8; i++)
		score[i * 16 + 4] = i % 2 ? NAN : INFINITY;
	kern->attn8->guess(&g);
	for (size_t b = 0; b < 8; b++)
		ck_assert_float_eq_tol(share[b], b == 5 ? 0.25f : 0.25f + 1 / 7.0f, 1e-3f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_guess");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_guess, 0, 4);
	tcase_add_loop_test(tc, test_gist, 0, 4);
	tcase_add_loop_test(tc, test_no_number, 0, 4);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
