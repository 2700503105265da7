/*
 * test_kern_linear.c - linear maps: every type and table against ref for the same bytes, at any
 * size, offset, batch and thread count, with nothing read beyond the ends; ref against a
 * double-precision evaluation of the decoded weights
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/types.h"
#include "kern/act.h"
#include "kern/linear.h"
#include "kern/linear_kern.h"
#include "quant/quant.h"
#include "tests/kern_guard.h"

static const uint32_t types[] = {
	DS_GGML_Q8_0, DS_GGML_Q4_0, DS_GGML_Q4_1, DS_GGML_Q5_0, DS_GGML_Q5_1, DS_GGML_Q4_K,
	DS_GGML_Q5_K, DS_GGML_Q6_K, DS_GGML_F32,  DS_GGML_F16,	DS_GGML_BF16,
};
#define N_TYPE ((int)(sizeof types / sizeof *types))

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

/* Table i, the first being ref; the tests' loops count to N_TABLE, more than there are. */
#define N_TABLE 4
static const struct ds_kern *table_at(int i)
{
	const struct ds_kern *const *all;
	size_t n = ds_kern_all(&all);

	return all[(size_t)i < n ? (size_t)i : n - 1];
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

/* The arrays of act, each before a guard page. */
enum { N_ARRAY = 7 };
static struct ds_act guard_act(const struct ds_act *act, struct guarded g[N_ARRAY])
{
	struct ds_act copy = *act;
	void **array[N_ARRAY] = {(void **)&copy.x,	(void **)&copy.a,
				 (void **)&copy.scale,	(void **)&copy.scale_sum,
				 (void **)&copy.zero,	(void **)&copy.zero_lo,
				 (void **)&copy.zero_hi};

	for (int i = 0; i < N_ARRAY; i++) {
		size_t values = act->n * act->k, groups = act->n * (act->k / DS_ACT_GROUP);
		size_t bytes = i == 0 ? values * 4 : i == 1 ? groups * DS_ACT_GROUP : groups * 4;

		g[i] = guarded_new(bytes);
		memcpy(g[i].end - bytes, *array[i], bytes);
		*array[i] = g[i].end - bytes;
	}
	return copy;
}

/* y [n][w->n] by that table, as one batch; activations and outputs end at guard pages. */
static void run(const struct ds_kern *kern, const struct ds_matrix *w, const float *bias,
		const float *x, size_t n, float *y)
{
	struct ds_linear *lin = linear_new(kern, NULL, w->k);
	struct ds_act *act = act_new(n, w->k), guarded;
	struct guarded g[N_ARRAY], out = guarded_new(n * w->n * sizeof *y);
	struct ds_product p = {.w = w, .bias = bias, .ld = w->n};

	p.y = (float *)(void *)(out.end - n * w->n * sizeof *y);
	load_act(kern, act, x, n, w->k);
	guarded = guard_act(act, g);
	ds_linear_run(lin, &p, 1, &guarded);
	memcpy(y, p.y, n * w->n * sizeof *y);
	for (int i = 0; i < N_ARRAY; i++)
		guarded_free(&g[i]);
	guarded_free(&out);
	ds_act_free(act);
	ds_linear_free(lin);
}

/* The same by ref, token after token. */
static void run_alone(const struct ds_matrix *w, const float *bias, const float *x, size_t n,
		      float *y)
{
	struct ds_linear *lin = linear_new(ref(), NULL, w->k);
	struct ds_act *act = act_new(1, w->k);

	for (size_t t = 0; t < n; t++) {
		struct ds_product p = {.w = w, .bias = bias, .y = y + t * w->n, .ld = w->n};

		load_act(ref(), act, x + t * w->k, 1, w->k);
		ds_linear_run(lin, &p, 1, act);
	}
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

		run(ref(), &w, NULL, x, tokens, y);
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
	const struct ds_kern *kern = table_at(_i / N_TYPE);

	seed = 7654321 + (uint64_t)_i;
	for (int round = 0; round < 40; round++) {
		size_t n = 1 + draw(50), k = random_k(type), tokens = 1 + (size_t)round;
		struct guarded g;
		struct ds_matrix w = random_matrix(&g, type, n, k);
		float *x = random_x(tokens, k), *bias = random_x(1, n);
		float *want = ds_alloc(tokens * n, sizeof *want);
		float *got = ds_alloc(tokens * n, sizeof *got);

		run_alone(&w, bias, x, tokens, want);
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

/*
 * Several products of different types at once, some with a bias, some added, with rows of y apart:
 * for any thread count and split into batches the bytes of one token after the other.
 */
enum { N_PRODUCT = 3, K = 768, TOKENS_MAX = 100, LD = 150 };

struct inputs {
	struct ds_matrix w[N_PRODUCT];
	float *x, *bias;
};

static void run_products(const struct ds_kern *kern, unsigned threads, size_t batch,
			 const struct inputs *in, float *y)
{
	struct ds_pool *pool;
	struct ds_linear *lin;
	struct ds_act *act = act_new(batch, K);
	struct ds_err err;

	ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	lin = linear_new(kern, pool, K);
	for (size_t i = 0; i < TOKENS_MAX; i += batch) {
		size_t n = TOKENS_MAX - i < batch ? TOKENS_MAX - i : batch;
		struct ds_product p[N_PRODUCT];

		load_act(kern, act, in->x + i * K, n, K);
		for (size_t j = 0; j < N_PRODUCT; j++)
			p[j] = (struct ds_product){.w = &in->w[j],
						   .bias = j == 1 ? NULL : in->bias,
						   .y = y + (j * TOKENS_MAX + i) * LD,
						   .ld = LD,
						   .add = j == 2};
		ds_linear_run(lin, p, N_PRODUCT, act);
	}
	ds_act_free(act);
	ds_linear_free(lin);
	ds_pool_free(pool);
}

START_TEST(test_products)
{
	static const size_t rows[N_PRODUCT] = {LD, 1, 77};
	static const size_t batches[] = {1, 2, 7, 15, 16, 17, 64, TOKENS_MAX};
	const struct ds_kern *kern = table_at(_i % N_TABLE);
	struct guarded g[N_PRODUCT];
	struct inputs in;
	size_t n = (size_t)N_PRODUCT * TOKENS_MAX * LD;
	float *y0, *want = ds_alloc(n, sizeof *want), *got = ds_alloc(n, sizeof *got);

	seed = 99 + (uint64_t)_i;
	in.x = random_x(TOKENS_MAX, K);
	in.bias = random_x(1, LD);
	y0 = random_x(1, n);
	for (size_t j = 0; j < N_PRODUCT; j++)
		in.w[j] = random_matrix(&g[j], types[((size_t)_i / N_TABLE * 3 + j) % N_TYPE],
					rows[j], K);
	memcpy(want, y0, n * sizeof *want);
	run_products(ref(), 1, 1, &in, want);
	for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
		memcpy(got, y0, n * sizeof *got);
		run_products(kern, 1 + (unsigned)i % 4, batches[i], &in, got);
		ck_assert_mem_eq(got, want, n * sizeof *got);
	}
	for (size_t j = 0; j < N_PRODUCT; j++)
		guarded_free(&g[j]);
	free(in.x);
	free(in.bias);
	free(y0);
	free(want);
	free(got);
}
END_TEST

/* Rounded activations: the same everywhere, to the definition; not a number stays none. */
START_TEST(test_rounding)
{
	static const float odd[] = {0,	    -0.0f,    1e-38f,	1e-45f,	   1e30f, 3.4e38f, -3.4e38f,
				    1e-30f, 7.9e-31f, INFINITY, -INFINITY, NAN,	  127,	   63.5f};
	const struct ds_kern *kern = table_at(_i);
	struct ds_act *want = act_new(33, 96), *got = act_new(33, 96);

	seed = 31337;
	for (size_t round = 0; round < 300; round++) {
		size_t n = 1 + round % 33;
		float *x = random_x(n, 96);

		for (size_t i = draw(8); i < n * 96 && round % 3; i += 1 + draw(200))
			x[i] = odd[draw(sizeof odd / sizeof *odd)];
		load_act(ref(), want, x, n, 96);
		load_act(kern, got, x, n, 96);
		ck_assert_mem_eq(got->a, want->a, n * 96);
		ck_assert_mem_eq(got->scale, want->scale, n * 3 * sizeof(float));
		ck_assert_mem_eq(got->scale_sum, want->scale_sum, n * 3 * sizeof(float));
		ck_assert_mem_eq(got->zero, want->zero, n * 3 * sizeof(int32_t));
		ck_assert_mem_eq(got->zero_lo, want->zero_lo, n * 3 * sizeof(int32_t));
		ck_assert_mem_eq(got->zero_hi, want->zero_hi, n * 3 * sizeof(int32_t));
		for (size_t i = 0; i < n * 3; i++) {
			struct ds_act_place place = ds_act_place(want, i / 3);
			size_t at = place.at + i % 3 * place.width;
			float max = 0, s = want->scale[at];
			bool sound = true;

			for (size_t j = 0; j < 32; j++) {
				sound = sound && isfinite(x[i * 32 + j]);
				max = fmaxf(max, fabsf(x[i * 32 + j]));
			}
			if (!sound) {
				ck_assert(isnan(s));
				continue;
			}
			for (size_t j = 0; j < 32 && max >= 0x1p-100f; j++) {
				double a = (double)want->a[at * 32 + j];
				double error = fabs(a - (double)x[i * 32 + j] * 127 / (double)max);

				ck_assert_double_le(error, 0.50002);
			}
			ck_assert(s == (max < 0x1p-100f ? 0 : max / 127));
		}
		free(x);
	}
	ds_act_free(want);
	ds_act_free(got);
}
END_TEST

START_TEST(test_not_a_number_is_seen)
{
	const struct ds_kern *kern = table_at(_i % N_TABLE);
	uint32_t type = types[_i / N_TABLE];

	seed = 5;
	for (size_t n = 1; n < 20; n += 6) {
		struct guarded g;
		struct ds_matrix w = random_matrix(&g, type, 20, 256);
		float *x = random_x(n, 256), y[20 * 20];

		x[draw((uint32_t)n * 256)] = NAN;
		x[(n - 1) * 256 + 7] = INFINITY;
		run(kern, &w, NULL, x, n, y);
		for (size_t i = 0; i < 20; i++)
			ck_assert(!isfinite(y[(n - 1) * 20 + i]));
		free(x);
		guarded_free(&g);
	}
}
END_TEST

START_TEST(test_refusals)
{
	struct ds_matrix m;
	struct ds_err err;

	ck_assert_int_eq(ds_matrix_init(&m, 10, "", 1, 256, &err), DS_EUNSUPPORTED);
	ck_assert(strstr(err.message, "Q2_K"));
	ck_assert_int_eq(ds_matrix_init(&m, 39, "", 1, 256, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_matrix_init(&m, 4, "", 1, 256, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_matrix_init(&m, UINT32_MAX, "", 1, 256, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_matrix_init(&m, DS_GGML_Q4_0, "", 1, 48, &err), DS_EFORMAT);
	ck_assert_int_eq(ds_matrix_init(&m, DS_GGML_Q6_K, "", 1, 128, &err), DS_EFORMAT);
	ck_assert_int_eq(ds_matrix_init(&m, DS_GGML_F32, "", 1, 0, &err), DS_EFORMAT);
	ck_assert_int_eq(ds_matrix_init(&m, DS_GGML_F32, "", 1, SIZE_MAX / 2, &err), DS_ELIMIT);
	ck_assert_int_eq(ds_matrix_init(&m, DS_GGML_Q6_K, "", 3, 512, &err), DS_OK);
	ck_assert_uint_eq(m.row_bytes, 420);
}
END_TEST

START_TEST(test_out_of_memory)
{
	struct ds_act *act;
	struct ds_linear *lin;
	struct ds_err err;

	for (size_t fail = 0; fail < 2; fail++) {
		ds_alloc_fail_after(fail);
		ck_assert_int_eq(ds_act_new(&act, 5, 64, &err), DS_ENOMEM);
		ds_alloc_fail_after(fail);
		ck_assert_int_eq(ds_linear_new(&lin, ref(), NULL, 64, &err), DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_eq(ds_act_bytes(SIZE_MAX / 8, 64), SIZE_MAX);
	ck_assert_int_eq(ds_act_new(&act, SIZE_MAX / 8, 64, &err), DS_ENOMEM);
	ck_assert_int_eq(ds_linear_new(&lin, ref(), NULL, SIZE_MAX / 4, &err), DS_ELIMIT);
	ds_act_free(NULL);
	ds_linear_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_linear");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_ref_is_right, 0, N_TYPE);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_TYPE * N_TABLE);
	tcase_add_loop_test(tc, test_products, 0, 4 * N_TABLE);
	tcase_add_loop_test(tc, test_rounding, 0, N_TABLE);
	tcase_add_loop_test(tc, test_not_a_number_is_seen, 0, N_TYPE * N_TABLE);
	tcase_add_test(tc, test_refusals);
	tcase_add_test(tc, test_out_of_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
