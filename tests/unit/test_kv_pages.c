/*
 * test_kv_pages.c - where keys and values lie; growing, forgetting, limits, memory that is out
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "kv/kv.h"

static const struct ds_kv_shape shape = {
	.n_layer = 3, .n_head = 2, .dim_k = 48, .dim_v = 32, .n_context = 1000};

static const struct ds_kern *kern;

static struct ds_kv *new_kv(const struct ds_kv_shape *s)
{
	struct ds_kv *kv;

	ck_assert_int_eq(ds_kern_choose(&kern, NULL), DS_OK);
	ck_assert_int_eq(ds_kv_new(&kv, s, NULL), DS_OK);
	return kv;
}

/* What value d of a token's keys (of its values: negative) is. */
static float number(uint32_t layer, size_t pos, uint32_t head, uint32_t d)
{
	return (float)((layer * 31 + pos * 7 + head * 3 + d * 13) % 2039 + 1) * 0.37f;
}

static void put(struct ds_kv *kv, uint32_t layer, size_t pos)
{
	const struct ds_kv_shape *s = ds_kv_shape(kv);
	float k[2 * 48], v[2 * 32];

	for (uint32_t h = 0; h < s->n_head; h++) {
		for (uint32_t d = 0; d < s->dim_k; d++)
			k[h * s->dim_k + d] = number(layer, pos, h, d);
		for (uint32_t d = 0; d < s->dim_v; d++)
			v[h * s->dim_v + d] = -number(layer, pos, h, d);
	}
	ds_kv_put(kv, kern, layer, pos, k, v);
}

static void put_all(struct ds_kv *kv, size_t from, size_t to)
{
	ck_assert_int_eq(ds_kv_reserve(kv, to, NULL), DS_OK);
	for (uint32_t l = 0; l < ds_kv_shape(kv)->n_layer; l++)
		for (size_t pos = from; pos < to; pos++)
			put(kv, l, pos);
}

static uint16_t key_at(const uint16_t *page, size_t slot, uint32_t d)
{
	return page[(slot / 16 * shape.dim_k + d) * 16 + slot % 16];
}

static uint16_t value_at(const uint16_t *page, size_t slot, uint32_t d)
{
	return page[DS_KV_PAGE * shape.dim_k + (d / 16 * DS_KV_PAGE + slot) * 16 + d % 16];
}

/* Tokens below n are there; the rest of the last page is zero. */
static void check_all(const struct ds_kv *kv, size_t n)
{
	for (uint32_t l = 0; l < shape.n_layer; l++)
		for (size_t pos = 0; pos < (n + 63) / 64 * 64; pos++)
			for (uint32_t h = 0; h < shape.n_head; h++) {
				const uint16_t *page = ds_kv_page(kv, l, h, pos / 64);

				ck_assert_uint_eq((uintptr_t)page % 16, 0);
				for (uint32_t d = 0; d < shape.dim_k; d++)
					ck_assert_uint_eq(
						key_at(page, pos % 64, d),
						pos < n ? ds_f32_to_f16(number(l, pos, h, d)) : 0);
				for (uint32_t d = 0; d < shape.dim_v; d++)
					ck_assert_uint_eq(
						value_at(page, pos % 64, d),
						pos < n ? ds_f32_to_f16(-number(l, pos, h, d)) : 0);
			}
}

START_TEST(test_grow_and_forget)
{
	static const size_t ends[] = {1, 70, 64, 0, 513, 600, 512, 511, 1000, 3, 999};
	struct ds_kv *kv = new_kv(&shape);
	size_t n = 0;

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		if (ends[i] > n)
			put_all(kv, n, ends[i]);
		else
			ds_kv_truncate(kv, ends[i]);
		n = ends[i];
		check_all(kv, n);
	}
	ds_kv_truncate(kv, 2000); /* nothing lies there */
	check_all(kv, n);
	ds_kv_free(kv);
	ds_kv_free(NULL);
}
END_TEST

/* Full pages from a position on, as a reader does it. */
static void seal_all(struct ds_kv *kv, size_t from, size_t to)
{
	for (size_t page = from / 64; page < to / 64; page++)
		for (uint32_t l = 0; l < shape.n_layer; l++)
			for (uint32_t h = 0; h < shape.n_head; h++)
				ds_kv_seal(kv, kern, l, h, page);
}

/* A rounded page is what sealing its halves gives. */
static void check_sealed(const struct ds_kv *kv, const struct ds_kv *halves, size_t page)
{
	size_t bytes = ds_page8_bytes(shape.dim_k, shape.dim_v);
	uint8_t *memory = aligned_alloc(64, bytes);
	float k_mean[48], v_mean[32];
	struct ds_page8_seal seal = {.dim_k = shape.dim_k,
				     .dim_v = shape.dim_v,
				     .page = ds_page8_at(memory, shape.dim_k, shape.dim_v),
				     .k_mean = k_mean,
				     .v_mean = v_mean};

	for (uint32_t l = 0; l < shape.n_layer; l++)
		for (uint32_t h = 0; h < shape.n_head; h++) {
			const float *k = ds_kv_k_mean(kv, l, h, page);
			const float *v = ds_kv_v_mean(kv, l, h, page);

			seal.half = ds_kv_page(halves, l, h, page);
			kern->attn8->seal(&seal);
			ck_assert_mem_eq(ds_kv_page8(kv, l, h, page).k, memory, bytes);
			ck_assert_uint_eq((uintptr_t)ds_kv_page8(kv, l, h, page).k % 64, 0);
			ck_assert_mem_eq(k, k_mean, sizeof k_mean);
			ck_assert_mem_eq(v, v_mean, sizeof v_mean);
			if (page % 8) {
				ck_assert_ptr_eq(ds_kv_k_mean(kv, l, h, page - 1) + 48, k);
				ck_assert_ptr_eq(ds_kv_v_mean(kv, l, h, page - 1) + 32, v);
			}
		}
	free(memory);
}

/* The halves of a page. */
static void check_halves(const struct ds_kv *kv, const struct ds_kv *halves, size_t page)
{
	for (uint32_t l = 0; l < shape.n_layer; l++)
		for (uint32_t h = 0; h < shape.n_head; h++)
			ck_assert_mem_eq(ds_kv_page(kv, l, h, page), ds_kv_page(halves, l, h, page),
					 DS_KV_PAGE * (48 + 32) * sizeof(uint16_t));
}

/* With 3 recent pages: to is reached in steps of a page and a half, or tokens from to on are
 * forgotten; left are so many. */
START_TEST(test_rounded)
{
	static const struct {
		size_t to, left;
	} steps[] = {{200, 0},	 {150, 150}, {130, 130}, {129, 129}, {500, 0},	{499, 499},
		     {340, 340}, {600, 0},   {70, 64},	 {64, 64},   {300, 0},	{190, 190},
		     {128, 128}, {127, 64},  {999, 0},	 {63, 0},    {1000, 0}, {960, 960},
		     {900, 900}, {832, 832}, {831, 768}, {1000, 0}};
	struct ds_kv_shape rounded = shape;
	struct ds_kv *halves = new_kv(&shape), *kv;
	size_t n = 0;

	put_all(halves, 0, 1000);
	rounded.recent = 3;
	kv = new_kv(&rounded);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (steps[i].to <= n) {
			n = ds_kv_truncate(kv, steps[i].to);
			ck_assert_uint_eq(n, steps[i].left);
		}
		while (n < steps[i].to && !steps[i].left) {
			size_t next = steps[i].to - n < 96 ? steps[i].to : n + 96;

			put_all(kv, n, next);
			seal_all(kv, n, next);
			n = next;
		}
		for (size_t page = 0; page < n / 64; page++)
			check_sealed(kv, halves, page);
		if (n % 64 && n < 960) { /* the rest of the page is zero */
			ds_kv_truncate(halves, n);
			check_halves(kv, halves, n / 64);
			put_all(halves, n, 1000);
		}
	}
	ds_kv_free(kv);
	ds_kv_free(halves);
}
END_TEST

START_TEST(test_limits)
{
	static const struct ds_kv_shape odd[] = {{1, 1, 40, 32, 10, 0},
						 {1, 1, 32, 8, 10, 0},
						 {1, 1, 0, 32, 10, 0},
						 {1, 1, 1040, 16, 10, 0},
						 {1, 1, 16, 2048, 10, 0}};
	static const struct ds_kv_shape none[] = {{0, 1, 16, 16, 10, 0},
						  {1, 0, 16, 16, 10, 0},
						  {1, 1, 16, 16, 0, 0},
						  {1, 1, 16, 16, 10, 1}};
	struct ds_kv_shape huge = {UINT32_MAX, UINT32_MAX, 1024, 1024, UINT32_MAX, 0};
	struct ds_kv *kv;
	struct ds_err err;

	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(ds_kv_new(&kv, &odd[i], &err), DS_EUNSUPPORTED);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(ds_kv_new(&kv, &none[i], &err), DS_EINVAL);
	ck_assert_int_eq(ds_kv_new(&kv, &huge, &err), DS_ELIMIT);
	kv = new_kv(&shape);
	ck_assert_int_eq(ds_kv_reserve(kv, 1001, &err), DS_ELIMIT);
	ck_assert(strstr(err.message, "1001") && strstr(err.message, "1000"));
	ck_assert_int_eq(ds_kv_reserve(kv, 1000, &err), DS_OK);
	ds_kv_free(kv);
}
END_TEST

START_TEST(test_bytes)
{
	struct ds_kv_shape small = shape;
	size_t token = (size_t)3 * 2 * (48 + 32) * sizeof(uint16_t), line = 64;
	size_t page8 = (size_t)3 * 2 * (ds_page8_bytes(48, 32) + (48 + 32) * sizeof(float));

	ck_assert_uint_eq(ds_kv_bytes(&shape, 0), 0);
	ck_assert_uint_eq(ds_kv_bytes(&shape, 1), 512 * token + line);
	ck_assert_uint_eq(ds_kv_bytes(&shape, 512), 512 * token + line);
	ck_assert_uint_eq(ds_kv_bytes(&shape, 513), 2 * (512 * token + line));
	small.n_context = 65;
	ck_assert_uint_eq(ds_kv_bytes(&small, 65), 128 * token + line);
	small.recent = 3; /* of 2 pages */
	ck_assert_uint_eq(ds_kv_bytes(&small, 0), 0);
	ck_assert_uint_eq(ds_kv_bytes(&small, 65), 128 * token + 2 * page8 + 2 * line);
	small.n_context = 1000;
	ck_assert_uint_eq(ds_kv_bytes(&small, 600), 192 * token + 16 * page8 + 3 * line);
}
END_TEST

START_TEST(test_memory_out)
{
	struct ds_kv_shape wide = shape;
	struct ds_kv *kv;
	struct ds_err err;

	wide.n_context = 2000;
	for (size_t i = 0; i < 2; i++) {
		ds_alloc_fail_after(i);
		ck_assert_int_eq(ds_kv_new(&kv, &wide, &err), DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	kv = new_kv(&wide);
	put_all(kv, 0, 100);
	for (size_t i = 0; i < 2; i++) {
		ds_alloc_fail_after(i);
		ck_assert_int_eq(ds_kv_reserve(kv, 2000, &err), DS_ENOMEM);
		check_all(kv, 100);
		ds_alloc_fail_after(SIZE_MAX);
	}
	put_all(kv, 100, 2000); /* later there is memory */
	check_all(kv, 2000);
	ds_kv_free(kv);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kv_pages");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_grow_and_forget);
	tcase_add_test(tc, test_rounded);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_bytes);
	tcase_add_test(tc, test_memory_out);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
