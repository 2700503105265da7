/*
 * test_kern_lm.c - the rows of language models: the same bytes from every table, at any size, with
 * nothing touched beyond the ends; ref against the C library
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "kern/rope.h"
#include "../kern_guard.h"

#define ROUNDS 300

START_TEST(test_rows_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(1200), bytes = n * sizeof(float);
		float *x = random_floats(A, n), *up = random_floats(B, n);
		float *got = end_floats(OUT, n), *want = end_floats(WANT, n);

		kern->rmsnorm(x, up, got, n, 1e-6f);
		ref()->rmsnorm(x, up, want, n, 1e-6f);
		ck_assert_mem_eq(got, want, bytes);
		kern->silu_mul(x, up, got, n);
		ref()->silu_mul(x, up, want, n);
		ck_assert_mem_eq(got, want, bytes);
		kern->gelu_mul(x, up, got, n);
		ref()->gelu_mul(x, up, want, n);
		ck_assert_mem_eq(got, want, bytes);
		kern->scale(got, got, n, 1.7f);
		ref()->scale(want, want, n, 1.7f);
		ck_assert_mem_eq(got, want, bytes);
		ck_assert(kern->logsumexp(x, n) == ref()->logsumexp(x, n));
		x[draw((uint32_t)n)] = 1000;
		x[draw((uint32_t)n)] = 1000;
		ck_assert_uint_eq(kern->argmax(x, n), ref()->argmax(x, n));
	}
}
END_TEST

START_TEST(test_rope_same_bytes)
{
	const struct ds_kern *kern = table(_i);

	for (int round = 0; round < ROUNDS; round++) {
		size_t dims = 2 * (1 + draw(70)), n = 1 + draw(3), stride = dims + draw(9);
		size_t span = (n - 1) * stride + dims;
		struct ds_rope_config config = {
			.dims = (uint32_t)dims, .base = 10000, .pairs = draw(2)};
		float *x = random_floats(A, span), *cosines = end_floats(B, 2 * dims);
		float *got = end_floats(OUT, span), *want = end_floats(WANT, span);
		struct ds_rope rope;

		ck_assert_int_eq(ds_rope_init(&rope, &config, NULL), DS_OK);
		ds_rope_table(&rope, draw(100000), cosines);
		memcpy(got, x, span * sizeof *x);
		memcpy(want, x, span * sizeof *x);
		ds_rope_apply(&rope, kern, cosines, got, n, stride);
		ds_rope_apply(&rope, ref(), cosines, want, n, stride);
		ck_assert_mem_eq(got, want, span * sizeof *x);
	}
}
END_TEST

START_TEST(test_halves)
{
	const struct ds_kern *kern = table(_i);
	static float x[65536], wide[65536];
	static uint16_t h[65536], back[65536];

	for (uint32_t i = 0; i < 65536; i++)
		h[i] = (uint16_t)i;
	kern->from_half(h, x, 65536);
	kern->to_half(x, back, 65536);
	for (uint32_t i = 0; i < 65536; i++) {
		int nan = (i & 0x7FFF) > 0x7C00;

		ck_assert_uint_eq(back[i], nan ? i | 0x200 : i);
		ck_assert(nan ? isnan(x[i]) : x[i] == ds_f16_to_f32(h[i]));
		/* halfway to the next one, and a little more */
		wide[i] = nan ? 0 : (x[i] + ds_f16_to_f32(h[(i + 1) & 65535])) / 2;
	}
	for (int more = 0; more < 2; more++) {
		kern->to_half(wide, back, 65536);
		for (uint32_t i = 0; i < 65536; i++) {
			ck_assert_uint_eq(back[i], ds_f32_to_f16(wide[i]));
			wide[i] = nextafterf(wide[i], INFINITY);
		}
	}
	for (int round = 0; round < ROUNDS; round++) { /* any size, also beyond the range */
		size_t n = 1 + draw(50);
		float *in = random_floats(A, n), *out = end_floats(OUT, n);
		uint16_t *half = (uint16_t *)(void *)guard[B] - n;

		in[draw((uint32_t)n)] *= 1e5f;
		in[draw((uint32_t)n)] *= 1e-6f;
		kern->to_half(in, half, n);
		kern->from_half(half, out, n);
		for (size_t i = 0; i < n; i++)
			ck_assert(out[i] == ds_f16_to_f32(ds_f32_to_f16(in[i])));
	}
}
END_TEST

START_TEST(test_gates_are_accurate)
{
	double worst_silu = 0, worst_gelu = 0;

	for (int i = -60000; i <= 60000; i++) {
		float x = (float)i * 5e-4f, one = 1, y;
		double d = (double)x, size = fabs(d) < 1 ? 1 : fabs(d);
		double gelu = 0.5 * d * (1 + tanh(sqrt(2 / M_PI) * (d + 0.044715 * d * d * d)));

		ref()->silu_mul(&x, &one, &y, 1);
		worst_silu = fmax(worst_silu, fabs((double)y - d / (1 + exp(-d))) / size);
		ref()->gelu_mul(&x, &one, &y, 1);
		worst_gelu = fmax(worst_gelu, fabs((double)y - gelu) / size);
	}
	ck_assert_double_lt(worst_silu, 2e-7);
	ck_assert_double_lt(worst_gelu, 2e-7);
}
END_TEST

START_TEST(test_gates_at_the_ends)
{
	const struct ds_kern *kern = table(_i);
	float x[] = {0, -0.0f, 1e30f, -1e30f, 200, -200, 1e-30f}, one[7], y[7];

	for (int i = 0; i < 7; i++)
		one[i] = 1;
	for (int gelu = 0; gelu < 2; gelu++) {
		(gelu ? kern->gelu_mul : kern->silu_mul)(x, one, y, 7);
		ck_assert(y[0] == 0 && y[1] == 0 && y[2] == 1e30f && y[4] == 200);
		ck_assert(y[3] <= 0 && y[3] > -1e-6f && y[5] <= 0 && y[5] > -1e-30f);
	}
}
END_TEST

START_TEST(test_rmsnorm_is_accurate)
{
	seed = 11;
	map_guarded();
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(600);
		float *x = random_floats(A, n), *gain = random_floats(B, n);
		float *y = end_floats(OUT, n);
		double square = 0;

		for (size_t i = 0; i < n; i++)
			square += (double)x[i] * (double)x[i];
		ref()->rmsnorm(x, gain, y, n, 1e-5f);
		for (size_t i = 0; i < n; i++) {
			double want =
				(double)x[i] / sqrt(square / (double)n + 1e-5) * (double)gain[i];

			ck_assert_double_lt(fabs((double)y[i] - want), 1e-6 * (1 + fabs(want)));
		}
	}
}
END_TEST

START_TEST(test_argmax)
{
	const struct ds_kern *kern = table(_i);
	float *x = random_floats(A, 3000), none[3] = {-INFINITY, NAN, -INFINITY};

	x[2999] = x[700] = x[1500] = 1000;
	ck_assert_uint_eq(kern->argmax(x, 3000), 700);
	x[17] = NAN;
	ck_assert_uint_eq(kern->argmax(x, 3000), 700);
	ck_assert_uint_eq(kern->argmax(x + 701, 2299), 1500 - 701);
	ck_assert_uint_eq(kern->argmax(none, 3), 0);
	none[2] = -3e38f;
	ck_assert_uint_eq(kern->argmax(none, 3), 2);
}
END_TEST

START_TEST(test_logsumexp_is_accurate)
{
	static float x[262144];
	double sum = 0;

	seed = 5;
	for (size_t i = 0; i < 262144; i++) {
		x[i] = real() * 3 - 20;
		sum += exp((double)x[i]);
	}
	ck_assert_double_lt(fabs(ref()->logsumexp(x, 262144) - log(sum)), 1e-6);
	ck_assert_double_lt(fabs(ref()->logsumexp(x, 1) - (double)x[0]), 1e-12);
}
END_TEST

/* Cosine and sine of pair i at a position, by the C library, from the angle per position. */
static void check_rope(const struct ds_rope_config *config, const double *frequency,
		       double magnitude)
{
	uint32_t half = config->dims / 2, step = config->pairs ? 2 : 1;
	uint32_t next = config->pairs ? 1 : half;
	float cosines[256];
	struct ds_rope rope;
	struct ds_err err;

	ck_assert_int_eq(ds_rope_init(&rope, config, &err), DS_OK);
	for (size_t pos = 0; pos <= 1048576; pos = pos * 3 + 1) {
		ds_rope_table(&rope, pos, cosines);
		for (uint32_t i = 0; i < half; i++) {
			double angle = (double)pos * frequency[i];
			float c = cosines[i * step], s = cosines[config->dims + i * step + next];

			ck_assert_double_lt(fabs((double)c - cos(angle) * magnitude), 1e-7);
			ck_assert_double_lt(fabs((double)s - sin(angle) * magnitude), 1e-7);
			ck_assert(c == cosines[i * step + next]);
			ck_assert(s == -cosines[config->dims + i * step]);
		}
	}
}

START_TEST(test_rope_tables)
{
	struct ds_rope_config config = {.dims = 64, .base = 1e6, .pairs = _i & 1, .scale = 0.125};
	double frequency[64];
	float factors[32];

	for (int i = 0; i < 32; i++) {
		factors[i] = i < 10 ? 1 : 8;
		frequency[i] = pow(1e6, -2.0 * i / 64) * 0.125;
	}
	check_rope(&config, frequency, 1);
	config.scale = 0;
	config.factors = factors;
	for (int i = 0; i < 32; i++)
		frequency[i] = pow(1e6, -2.0 * i / 64) / (double)factors[i];
	check_rope(&config, frequency, 1);
}
END_TEST

/* DeepSeek V2: factor 40 over 4096 positions, turns 32 and 1: pairs below 10 keep their speed,
 * those from 23 on are 40 times slower. */
START_TEST(test_rope_yarn)
{
	struct ds_rope_config config = {.dims = 64,
					.base = 10000,
					.pairs = true,
					.scale = 1 / 40.0,
					.ext_factor = 1,
					.beta_fast = 32,
					.beta_slow = 1,
					.n_context_orig = 4096};
	double frequency[32];

	for (int i = 0; i < 32; i++) {
		double slow = i <= 10 ? 0 : i >= 23 ? 1 : (i - 10) / 13.0;

		frequency[i] = pow(10000, -2.0 * i / 64) * (slow / 40 + 1 - slow);
	}
	check_rope(&config, frequency, 1 + 0.1 * log(40));
	config.attn_factor = 1 / (1 + 0.1 * log(40));
	check_rope(&config, frequency, 1);
}
END_TEST

START_TEST(test_rope_refuses)
{
	static const float zero = 0, nan = NAN;
	static const struct ds_rope_config bad[] = {
		{.dims = 0, .base = 10000},
		{.dims = 63, .base = 10000},
		{.dims = 514, .base = 10000},
		{.dims = 64, .base = 1},
		{.dims = 64, .base = NAN},
		{.dims = 64, .base = 10000, .scale = -1},
		{.dims = 64, .base = 10000, .scale = INFINITY},
		{.dims = 64, .base = 10000, .attn_factor = NAN},
		{.dims = 64, .base = 10000, .ext_factor = 1},
		{.dims = 2, .base = 10000, .factors = &zero},
		{.dims = 2, .base = 10000, .factors = &nan},
	};
	struct ds_rope rope;
	struct ds_err err;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(ds_rope_init(&rope, &bad[i], &err), DS_EFORMAT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_lm");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_rows_same_bytes, 0, 3);
	tcase_add_loop_test(tc, test_rope_same_bytes, 0, 3);
	tcase_add_loop_test(tc, test_halves, 0, 3);
	tcase_add_loop_test(tc, test_gates_at_the_ends, 0, 3);
	tcase_add_loop_test(tc, test_argmax, 0, 3);
	tcase_add_test(tc, test_gates_are_accurate);
	tcase_add_test(tc, test_rmsnorm_is_accurate);
	tcase_add_test(tc, test_logsumexp_is_accurate);
	tcase_add_loop_test(tc, test_rope_tables, 0, 2);
	tcase_add_test(tc, test_rope_yarn);
	tcase_add_test(tc, test_rope_refuses);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
