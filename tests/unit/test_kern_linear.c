/*
 * test_kern_linear.c - linear maps: every type and table against ref for the same bytes, at any
 * size, offset, batch and thread count, with nothing read beyond the ends; ref against a
 * double-precision evaluation of the decoded weights
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gguf/types.h"
#include "kern/act.h"
#include "kern/linear.h"
#include "kern/linear_kern.h"
#include "quant/quant.h"

static const uint32_t types[] = {
	DS_GGML_Q8_0, DS_GGML_Q4_0, DS_GGML_Q4_1, DS_GGML_Q5_0, DS_GGML_Q5_1, DS_GGML_Q4_K,
	DS_GGML_Q5_K, DS_GGML_Q6_K, DS_GGML_F32,  DS_GGML_F16,	DS_GGML_BF16,
};
#define N_TYPE ((int)(sizeof types / sizeof *types))

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

static float real(void)
{
	float f = (float)((int32_t)draw(2000001) - 1000000) * 1e-6f;

	return draw(16) ? f : f * 40;
}

/* n bytes that end where a page begins that cannot be touched. */
struct guarded {
	uint8_t *map, *end;
	size_t bytes;
};

static struct guarded guarded_new(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (n + page - 1) / page * page + page;
	struct guarded g = {.bytes = size};

	g.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(g.map != MAP_FAILED);
	g.end = g.map + size - page;
	ck_assert_int_eq(mprotect(g.end, page, PROT_NONE), 0);
	return g;
}

static void guarded_free(struct guarded *g)
{
	munmap(g->map, g->bytes);
}

static void put_half(uint8_t *p, float f)
{
	uint16_t h = ds_f32_to_f16(f);

	memcpy(p, &h, sizeof h);
}

/* Sound numbers where random bytes could be infinite: scales, and the floats themselves. */
static void mend_block(uint32_t type, uint8_t *block)
{
	uint16_t bf;
	float f = real();

	switch (type) {
	case DS_GGML_F32:
		memcpy(block, &f, sizeof f);
		break;
	case DS_GGML_F16:
		put_half(block, f);
		break;
	case DS_GGML_BF16:
		memcpy(&bf, (uint8_t *)&f + 2, sizeof bf);
		memcpy(block, &bf, sizeof bf);
		break;
	case DS_GGML_Q6_K:
		put_half(block + 208, f / 100);
		break;
	case DS_GGML_Q4_1:
	case DS_GGML_Q5_1:
	case DS_GGML_Q4_K:
	case DS_GGML_Q5_K:
		put_half(block + 2, real() / 10);
		/* fallthrough */
	default:
		put_half(block, draw(8) ? f / 10 : f * 1e-5f);
	}
}

/* A matrix of random blocks that ends at a guard page. */
static struct ds_matrix random_matrix(struct guarded *g_ret, uint32_t type, size_t n, size_t k)
{
	const struct ds_ggml_type *t = ds_ggml_type(type);
	size_t bytes = n * k / t->block_values * t->block_bytes;
	struct ds_matrix m;
	struct ds_err err;
	uint8_t *p;

	*g_ret = guarded_new(bytes);
	p = g_ret->end - bytes;
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)draw(256);
	for (size_t i = 0; i < bytes; i += t->block_bytes)
		mend_block(type, p + i);
	ck_assert_int_eq(ds_matrix_init(&m, type, p, n, k, &err), DS_OK);
	return m;
}

static const struct ds_kern *table(size_t index)
{
	const struct ds_kern *const *all;
	size_t n = ds_kern_all(&all);

	return all[index < n ? index : n - 1];
}

/* x [n][k], rounded by that table, in *act_io. */
static void load_act(const struct ds_kern *kern, struct ds_act *act, const float *x, size_t n,
		     size_t k)
{
	ds_act_begin(act, n, k);
	for (size_t i = 0; i < n; i++)
		memcpy(ds_act_row(act, i), x + i * k, k * sizeof *x);
	for (size_t i = 0; i < n; i++)
		ds_act_round(kern, act, n - 1 - i);
}

static float *random_x(size_t n, size_t k)
{
	float *x = ds_alloc(n * k, sizeof *x);

	ck_assert(x != NULL);
	for (size_t i = 0; i < n * k; i++)
		x[i] = i / 32 % 7 == 3 ? 0 : real();
	return x;
}

static struct ds_act *act_new(size_t n, size_t k)
{
	struct ds_act *act;
	struct ds_err err;

	ck_assert_int_eq(ds_act_new(&act, n, k, &err), DS_OK);
	return act;
}

static struct ds_linear *linear_new(const struct ds_kern *kern, struct ds_pool *pool, size_t k)
{
	struct ds_linear *lin;
	struct ds_err err;

	ck_assert_int_eq(ds_linear_new(&lin, kern, pool, k, &err), DS_OK);
	return lin;
}

/* y [n][w->n] by that table, alone and as one batch. */
static void run(const struct ds_kern *kern, const struct ds_matrix *w, const float *bias,
		const float *x, size_t n, float *y)
{
	struct ds_linear *lin = linear_new(kern, NULL, w->k);
	struct ds_act *act = act_new(n, w->k);
	struct ds_product p = {.w = w, .bias = bias, .y = y, .ld = w->n};

	load_act(kern, act, x, n, w->k);
	ds_linear_run(lin, &p, 1, act);
	ds_act_free(act);
	ds_linear_free(lin);
}

static size_t random_k(uint32_t type)
{
	uint32_t block = ds_ggml_type(type)->block_values;

	return block == 1 ? 1 + draw(200) : block == 32 ? 32 * (1 + draw(20)) : 256 * (1 + draw(3));
}

/* One type: outputs within what rounding the activations to 8 bits may do. */
START_TEST(test_ref_is_right)
{
	uint32_t type = types[_i];

	seed = 1234567 + (uint64_t)_i;
	for (int round = 0; round < 20; round++) {
		size_t n = 1 + draw(40), k = random_k(type), tokens = 1 + draw(20);
		struct guarded g;
		struct ds_matrix w = random_matrix(&g, type, n, k);
		float *x = random_x(tokens, k), *y = ds_alloc(tokens * n, sizeof *y);
		float *row = ds_alloc(k, sizeof *row);

		run(table(0), &w, NULL, x, tokens, y);
		for (size_t j = 0; j < n; j++) {
			ds_quant_decoder(type)(w.data + j * w.row_bytes, row, k);
			for (size_t t = 0; t < tokens; t++) {
				double sum = 0, error = 0, size = 0, max = 0;

				for (size_t i = 0; i < k; i++) {
					double v = (double)x[t * k + i];

					sum += (double)row[i] * v;
					size += fabs((double)row[i] * v);
					if (i % 32 == 0)
						max = 0;
					for (size_t l = i; i % 32 == 0 && l < i + 32 && l < k; l++)
						max = fmax(max, fabs((double)x[t * k + l]));
					error += fabs((double)row[i]) * max / 254;
				}
				if (ds_ggml_type(type)->block_values == 1)
					error = 0;
				ck_assert_double_le(fabs((double)y[t * n + j] - sum),
						    error * 1.001 + size * 1e-4 + 1e-9);
			}
		}
		free(row);
		free(x);
		free(y);
		guarded_free(&g);
	}
}
END_TEST

/* One type and table: the bytes of ref, for one token, a few and many. */
START_TEST(test_same_bytes)
{
	uint32_t type = types[_i % N_TYPE];
	const struct ds_kern *kern = table((size_t)_i / (size_t)N_TYPE);

	seed = 7654321 + (uint64_t)_i;
	for (int round = 0; round < 40; round++) {
		size_t n = 1 + draw(100), k = random_k(type), tokens = 1 + (size_t)round;
		struct guarded g;
		struct ds_matrix w = random_matrix(&g, type, n, k);
		float *x = random_x(tokens, k), *bias = random_x(1, n);
		float *want = ds_alloc(tokens * n, sizeof *want);
		float *got = ds_alloc(tokens * n, sizeof *got);

		for (size_t t = 0; t < tokens; t++)
			run(table(0), &w, bias, x + t * k, 1, want + t * n);
		run(kern, &w, bias, x, tokens, got);
		ck_assert_mem_eq(got, want, tokens * n * sizeof *got);
		run(kern, &w, bias, x, 1, got);
		ck_assert_mem_eq(got, want, n * sizeof *got);
		free(x);
		free(bias);
		free(want);
		free(got);
		guarded_free(&g);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_linear");
	TCase *tc = tcase_create("all");
	const struct ds_kern *const *all;
	int n_table = (int)ds_kern_all(&all), failed;
	SRunner *runner;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_ref_is_right, 0, N_TYPE);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_TYPE * n_table);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
