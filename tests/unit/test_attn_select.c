/*
 * test_attn_select.c - the pieces of which queries choose for themselves: the best of scores, keys
 * in 4 bits, hashes
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/select.h"
#include "../kern_guard.h"

#define BLOCKS 40
#define TOKENS (BLOCKS * 16)

struct scored {
	float score;
	size_t token;
};

static int better(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->token < y->token ? -1 : 1;
}

START_TEST(test_best)
{
	static float score[TOKENS * 3];
	static uint64_t work[TOKENS];
	static struct scored sorted[TOKENS];
	struct ds_attn_scores s = {score, 3, BLOCKS};

	seed = (uint64_t)_i + 1;
	for (int round = 0; round < 200; round++) {
		size_t n_block = 1 + (size_t)(fabsf(real()) * 1e6f) % BLOCKS, n = 0;
		size_t k = (size_t)(fabsf(real()) * 1e6f) % (n_block * 16 + 2), kept;
		uint16_t tokens[BLOCKS], want[BLOCKS] = {0};

		s.n_block = n_block;
		for (size_t b = 0; b < n_block; b++)
			tokens[b] = round % 3 ? (uint16_t)(real() * 1e5f) : UINT16_MAX;
		for (size_t t = 0; t < n_block * 16; t++) {
			/* many are equal in some rounds */
			score[t * 3] = round % 2 ? real() : rintf(real());
			if (tokens[t / 16] >> t % 16 & 1)
				sorted[n++] = (struct scored){score[t * 3], t};
		}
		qsort(sorted, n, sizeof *sorted, better);
		for (size_t i = 0; i < n && i < k; i++)
			want[sorted[i].token / 16] |= (uint16_t)(1u << sorted[i].token % 16);
		kept = ds_attn_keep_best(&s, k, tokens, work);
		ck_assert_uint_eq(kept, n < k ? n : k);
		ck_assert_mem_eq(tokens, want, n_block * sizeof *want);
	}
}
END_TEST

START_TEST(test_coarse)
{
	static int8_t k[16 * 32], small[16 * 32];
	static float scale[16];
	struct ds_attn_coarse coarse = {.k = small};
	struct ds_attn8_block block = {.k = k, .k_scale = scale, .pos = 48, .tokens = 0x1234};
	struct ds_attn8_block b;

	for (int i = 0; i < 16 * 32; i++)
		k[i] = (int8_t)(i % 255 - 127);
	for (int t = 0; t < 16; t++)
		scale[t] = (float)t / 16;
	b = ds_attn_coarse_block(&coarse, &block, 32);
	ck_assert(b.pos == 48 && b.tokens == 0x1234 && b.k == small);
	for (int t = 0; t < 16; t++) {
		int sum = 0;

		for (int d = 0; d < 32; d++) {
			int i = (d / 4 * 16 + t) * 4 + d % 4;

			ck_assert_int_eq(small[i], (int)rint(k[i] * 7 / 127.0));
			sum += small[i];
		}
		ck_assert_int_eq(b.k_zero[t], -128 * sum);
		ck_assert_float_eq(b.k_scale[t], scale[t] * (127.0f / 7));
	}
}
END_TEST

START_TEST(test_hashes)
{
	const struct ds_kv_shape shape = {2, 3, 64, 64, 200, 2};
	const struct ds_kern *const *tables;
	size_t n_table = ds_kern_all(&tables);
	uint16_t first[8];

	for (size_t i = 0; i < n_table; i++) {
		struct ds_attn_lsh *lsh;
		uint16_t a[8], b[8];
		float x[64], y[64];
		int same = 0;

		ck_assert_int_eq(
			ds_attn_lsh_new(&lsh, tables[i], &shape, (unsigned[]){8, 10}, NULL), DS_OK);
		seed = 9;
		for (int d = 0; d < 64; d++) {
			x[d] = real();
			y[d] = 3 * x[d];
		}
		ds_attn_lsh_hash(lsh, x, a);
		ds_attn_lsh_hash(lsh, y, b);
		ck_assert_mem_eq(a, b, sizeof a); /* directions count */
		if (i)
			ck_assert_mem_eq(a, first, sizeof a);
		memcpy(first, a, sizeof a);
		for (int d = 0; d < 64; d++)
			y[d] = -x[d];
		ds_attn_lsh_hash(lsh, y, b);
		for (int r = 0; r < 8; r++) {
			ck_assert_uint_eq(a[r] ^ b[r], 1023);
			for (int q = 0; q < r; q++)
				same += a[q] == a[r];
		}
		ck_assert_int_lt(same, 8); /* rounds have planes of their own */
		ds_attn_lsh_free(lsh);
	}
}
END_TEST

START_TEST(test_hashes_fail)
{
	const struct ds_kv_shape shape = {2, 3, 64, 64, 200, 2};
	const struct ds_kern *const *tables;
	struct ds_attn_lsh *lsh;
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	ds_kern_all(&tables);
	for (size_t n = 0; st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = ds_attn_lsh_new(&lsh, *tables, &shape, (unsigned[]){4, 8}, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 10));
	}
	ds_attn_lsh_free(lsh);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_select");
	TCase *tc = tcase_create("rows");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_best, 0, 5);
	tcase_add_test(tc, test_coarse);
	tcase_add_test(tc, test_hashes);
	tcase_add_test(tc, test_hashes_fail);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
