/*
 * test_mix_ids.c - ids there and back, whatever is expected of them; what is learnt makes them
 * smaller; the code is the same for ever
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "mix/ids.h"

static uint32_t state;

static uint32_t below(uint32_t n)
{
	state = state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)state * n >> 32);
}

struct expected {
	struct ds_mix_expected x;
	uint32_t *frequency;
	uint32_t n;
};

static void begin_expected(struct expected *e, uint32_t n)
{
	e->n = n;
	e->frequency = malloc(n * sizeof *e->frequency);
	e->x.frequency = e->frequency;
	e->x.sum = malloc(ds_mix_ids_sums(n) * sizeof *e->x.sum);
}

static void end_expected(struct expected *e)
{
	free(e->frequency);
	free(e->x.sum);
}

/* Something else for every step: all alike, or a few of them likely. */
static void expect(struct expected *e, uint32_t step)
{
	for (uint32_t i = 0; i < e->n; i++)
		e->frequency[i] = 1;
	for (uint32_t i = 0; i < step % 5 && i < e->n; i++)
		e->frequency[(step * 7 + i * i) % e->n] += 1000000 * (i + 1);
	ds_mix_ids_sum(&e->x, e->n);
}

/* n ids of each of some lanes into code: random, or again and again the same ones. */
static void encode(struct expected *e, size_t lanes, const uint32_t *id, size_t n,
		   struct ds_buf *code)
{
	struct ds_arith_enc enc;
	struct ds_mix_ids *m;
	struct ds_err err;

	ck_assert_int_eq(ds_mix_ids_new(&m, e->n, lanes, n, &err), DS_OK);
	ds_arith_enc_init(&enc, code);
	for (size_t i = 0; i < n; i++)
		for (size_t lane = 0; lane < lanes; lane++) {
			ck_assert_int_eq(ds_arith_enc_reserve(&enc, 32, &err), DS_OK);
			expect(e, (uint32_t)(i + lane));
			ds_mix_ids_encode(m, lane, &e->x, &enc, id[lane * n + i]);
		}
	ck_assert_int_eq(ds_arith_enc_finish(&enc, &err), DS_OK);
	ds_mix_ids_free(m);
}

static void decode(struct expected *e, size_t lanes, uint32_t *id, size_t n,
		   const struct ds_buf *code, enum ds_status *st)
{
	struct ds_arith_dec dec;
	struct ds_mix_ids *m;
	struct ds_err err;

	ck_assert_int_eq(ds_mix_ids_new(&m, e->n, lanes, n, &err), DS_OK);
	ds_arith_dec_init(&dec, code->data, code->len);
	for (size_t i = 0; i < n; i++)
		for (size_t lane = 0; lane < lanes; lane++) {
			expect(e, (uint32_t)(i + lane));
			id[lane * n + i] = ds_mix_ids_decode(m, lane, &e->x, &dec);
			ck_assert_uint_lt(id[lane * n + i], e->n);
		}
	*st = ds_arith_dec_finish(&dec, &err);
	ds_mix_ids_free(m);
}

static const uint32_t sizes[] = {1, 2, 3, 63, 64, 65, 127, 1000, 49152, 300000};

START_TEST(test_there_and_back)
{
	enum { LANES = 3, N = 40 };
	uint32_t id[LANES * N], back[LANES * N];
	struct ds_buf code = {0};
	struct expected e;
	enum ds_status st;

	state = 5;
	begin_expected(&e, sizes[_i]);
	for (size_t i = 0; i < LANES * N; i++)
		id[i] = i % 3 ? below(e.n) : (uint32_t)(i * 7 % e.n);
	encode(&e, LANES, id, N, &code);
	decode(&e, LANES, back, N, &code, &st);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_mem_eq(id, back, sizeof id);
	/* foreign code gives ids */
	for (size_t i = 0; i < code.len; i++)
		code.data[i] = (uint8_t)below(256);
	decode(&e, LANES, back, N, &code, &st);
	ds_buf_fini(&code);
	end_expected(&e);
}
END_TEST

/* Lanes with the same text: each learns from the others. */
START_TEST(test_learns)
{
	enum { LANES = 8, N = 300, IDS = 5000 };
	static uint32_t id[LANES * N];
	struct ds_buf one = {0}, all = {0};
	struct expected e;

	state = 9;
	begin_expected(&e, IDS);
	for (size_t i = 0; i < N; i++)
		id[i] = below(IDS);
	for (size_t lane = 1; lane < LANES; lane++) /* some steps behind each other */
		for (size_t i = 0; i < N; i++)
			id[lane * N + i] = id[(i + N - 20 * lane) % N];
	encode(&e, 1, id, N, &one);
	encode(&e, LANES, id, N, &all);
	ck_assert_uint_lt(all.len, 3 * one.len);
	ck_assert_uint_eq(XXH3_64bits(one.data, one.len), UINT64_C(6011818947474215312));
	ck_assert_uint_eq(XXH3_64bits(all.data, all.len), UINT64_C(11960545752306210609));
	ds_buf_fini(&one);
	ds_buf_fini(&all);
	end_expected(&e);
}
END_TEST

START_TEST(test_no_memory)
{
	struct ds_mix_ids *m;
	enum ds_status st;
	struct ds_err err;
	size_t after = 0;

	do {
		ds_alloc_fail_after(after++);
		st = ds_mix_ids_new(&m, 1000, 2, 100, &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_gt(after, 5);
	ds_mix_ids_free(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mix_ids");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc, test_there_and_back, 0, sizeof sizes / sizeof *sizes);
	tcase_add_test(tc, test_learns);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
