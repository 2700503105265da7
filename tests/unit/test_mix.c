/* test_mix.c - the arithmetic coder, and the mixing coder on every instruction set */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mix/arith.h"
#include "mix/mix.h"
#include "mix/model.h"

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed % n);
}

#define OK(expr) ck_assert_msg((expr) == DS_OK, "%s", err.message)

START_TEST(test_symbols_and_bits)
{
	enum { N = 20000 };
	static uint32_t first[N], freq[N];
	static uint8_t bits[N];
	struct ds_buf out = {0};
	struct ds_err err = {0};
	struct ds_arith_enc enc;
	struct ds_arith_dec dec;

	OK(ds_buf_append(&out, "before", 6, &err));
	ds_arith_enc_init(&enc, &out);
	for (int i = 0; i < N; i++) {
		bits[i] = (uint8_t)draw(DS_ARITH_BITS_MAX + 1);
		if (i % 3 == 0 && bits[i] < 16)
			bits[i] = 24;
		uint32_t all = 1u << bits[i];

		first[i] = draw(4) ? draw(all) : all - 1; /* the last ones carry */
		freq[i] = draw(2) ? 1 : 1 + draw(all - first[i]);
		OK(ds_arith_enc_reserve(&enc, 2, &err));
		ds_arith_encode(&enc, first[i], freq[i], bits[i]);
		ds_arith_encode_bit(&enc, freq[i] & 1, i % 2 ? 1 : 65535);
	}
	OK(ds_arith_enc_finish(&enc, &err));
	ck_assert_mem_eq(out.data, "before", 6);
	ds_arith_dec_init(&dec, out.data + 6, out.len - 6);
	for (int i = 0; i < N; i++) {
		uint32_t point = ds_arith_decode_point(&dec, bits[i]);

		ck_assert_uint_ge(point, first[i]);
		ck_assert_uint_lt(point - first[i], freq[i]);
		ds_arith_decode_take(&dec, first[i], freq[i], bits[i]);
		ck_assert_uint_eq(ds_arith_decode_bit(&dec, i % 2 ? 1 : 65535), freq[i] & 1);
	}
	OK(ds_arith_dec_finish(&dec, &err));
	ds_buf_fini(&out);
}
END_TEST

/* The length of a code is that of its information. */
START_TEST(test_length)
{
	struct ds_buf out = {0};
	struct ds_err err = {0};
	struct ds_arith_enc enc;

	ds_arith_enc_init(&enc, &out);
	OK(ds_arith_enc_reserve(&enc, 80000, &err));
	for (int i = 0; i < 80000; i++)
		ds_arith_encode(&enc, draw(1 << 20), 1, 20);
	OK(ds_arith_enc_finish(&enc, &err));
	ck_assert_uint_le(out.len, 80000 * 20 / 8 + 8);
	ds_buf_fini(&out);
}
END_TEST

static const char english[] =
	"A model learns from every byte that it codes. Before short blocks are coded it is primed "
	"with text of the same kind, once: blocks are coded from there on, each as if it were the "
	"first, by undoing what the block before it changed.\n";

static const char chinese[] = "\xE5\x9C\xA8\xE4\xB8\x80\xE5\x80\x8B\xE5\x88\x97\xE8\xA1\xA8"
			      "\xE4\xB8\xAD\xE7\x94\xA8\xE6\x96\xB0\xE5\x85\x83\xE7\xB4\xA0";

enum {
	CASE_EMPTY,
	CASE_BYTE,
	CASE_ALL,
	CASE_RUN,
	CASE_RANDOM,
	CASE_TEXT,
	CASE_CHINESE,
	CASE_MIX,
	N_CASE
};

static size_t make_case(int which, uint8_t *b, size_t cap)
{
	switch (which) {
	case CASE_EMPTY:
		return 0;
	case CASE_BYTE:
		b[0] = 0;
		return 1;
	case CASE_ALL:
		for (int i = 0; i < 1024; i++)
			b[i] = (uint8_t)(i * (i >> 8 | 1));
		return 1024;
	case CASE_RUN:
		memset(b, 'x', cap);
		return cap;
	case CASE_RANDOM:
		for (size_t i = 0; i < cap / 2; i++)
			b[i] = (uint8_t)draw(256);
		return cap / 2;
	case CASE_TEXT:
		for (size_t i = 0; i < cap; i++)
			b[i] = (uint8_t)(draw(50) ? (uint8_t)english[i % (sizeof english - 1)]
						  : 'a' + draw(26));
		return cap;
	case CASE_CHINESE:
		for (size_t i = 0; i < cap / 4; i++)
			b[i] = (uint8_t)chinese[i % (sizeof chinese - 1)];
		return cap / 4;
	default:
		for (size_t i = 0; i < cap; i++)
			b[i] = (uint8_t)(i / 100 % 3 ? (uint8_t)english[i % 97]
						     : (uint8_t)draw(256));
		return cap;
	}
}

enum { CAP = 24000 };
static uint8_t bytes[CAP], back[CAP + 64];

static struct ds_mix *primed(unsigned bits, const char *text)
{
	struct ds_mix *m;
	struct ds_err err = {0};

	OK(ds_mix_new(&m, bits, &err));
	OK(ds_mix_prime(m, text, strlen(text), &err));
	return m;
}

START_TEST(test_round_trip)
{
	struct ds_mix *m = primed(20, english);
	struct ds_err err = {0};

	for (int i = 0; i < N_CASE; i++) {
		size_t n = make_case(i, bytes, CAP);
		struct ds_buf code = {0};

		OK(ds_mix_encode(m, bytes, n, &code, &err));
		ck_assert_uint_le(code.len, n + n / 16 + 8);
		memset(back, 0xAA, sizeof back);
		OK(ds_mix_decode(m, code.data, code.len, back, n, &err));
		ck_assert_mem_eq(back, bytes, n);
		ck_assert_uint_eq(back[n], 0xAA);
		ds_buf_fini(&code);
	}
	ds_mix_free(m);
}
END_TEST

/* A block's code does not depend on the blocks before it, nor on which copy writes it. */
START_TEST(test_blocks_are_independent)
{
	struct ds_mix *m = primed(18, english), *copy;
	struct ds_err err = {0};
	struct ds_buf first = {0}, again = {0}, other = {0}, referred = {0};
	size_t n = make_case(CASE_TEXT, bytes, CAP);

	OK(ds_mix_encode(m, bytes, n, &first, &err));
	OK(ds_mix_encode(m, bytes + n / 2, n / 2, &again, &err));
	again.len = 0;
	OK(ds_mix_encode(m, bytes, n, &again, &err));
	ck_assert_uint_eq(first.len, again.len);
	ck_assert_mem_eq(first.data, again.data, first.len);
	OK(ds_mix_copy(&copy, m, &err));
	OK(ds_mix_encode(copy, bytes, n, &other, &err));
	ck_assert_uint_eq(first.len, other.len);
	ck_assert_mem_eq(first.data, other.data, first.len);
	ck_assert_uint_ge(ds_mix_memory(copy), 1 << 18);

	/* references help the next block, and only this one */
	OK(ds_mix_prime(copy, bytes, n, &err));
	OK(ds_mix_encode(copy, bytes, n, &referred, &err));
	ck_assert_uint_lt(referred.len, first.len / 4);
	other.len = 0;
	OK(ds_mix_encode(copy, bytes, n, &other, &err));
	ck_assert_uint_eq(first.len, other.len);
	ck_assert_int_ne(ds_mix_decode(m, referred.data, referred.len, back, n, &err), DS_OK);
	OK(ds_mix_prime(m, bytes, n, &err));
	OK(ds_mix_decode(m, referred.data, referred.len, back, n, &err));
	ck_assert_mem_eq(back, bytes, n);
	ds_buf_fini(&first);
	ds_buf_fini(&again);
	ds_buf_fini(&other);
	ds_buf_fini(&referred);
	ds_mix_free(m);
	ds_mix_free(copy);
}
END_TEST

START_TEST(test_same_on_every_cpu)
{
	const struct ds_mix_kern *const *kern;
	size_t n_kern = ds_mix_kerns(&kern);
	struct ds_buf code[8] = {{0}};
	struct ds_err err = {0};

	for (size_t k = 0; k < n_kern; k++) {
		struct ds_mix *m;

		seed = 7;
		OK(ds_mix_new(&m, 17, &err));
		m->kern = kern[k];
		OK(ds_mix_prime(m, english, sizeof english, &err));
		for (int i = 0; i < N_CASE; i++) {
			size_t n = make_case(i, bytes, CAP);

			OK(ds_mix_encode(m, bytes, n, &code[k], &err));
		}
		ds_mix_free(m);
		ck_assert_uint_eq(code[k].len, code[0].len);
		ck_assert_mem_eq(code[k].data, code[0].data, code[0].len);
	}
	for (size_t k = 0; k < n_kern; k++)
		ds_buf_fini(&code[k]);
}
END_TEST

START_TEST(test_damage)
{
	struct ds_mix *m = primed(16, english);
	struct ds_err err = {0};
	struct ds_buf code = {0};
	size_t n = make_case(CASE_TEXT, bytes, 3000);

	OK(ds_mix_encode(m, bytes, n, &code, &err));
	/* what is cut off or damaged gives other bytes where it is not found out */
	for (size_t len = 0; len < code.len; len += 1 + code.len / 40) {
		memset(back, 0xAA, sizeof back);
		enum ds_status status = ds_mix_decode(m, code.data, len, back, n, &err);

		ck_assert(status == DS_OK || status == DS_ETRUNCATED || status == DS_EFORMAT);
		ck_assert_uint_eq(back[n], 0xAA);
	}
	for (int i = 0; i < 40; i++) {
		uint8_t *p = code.data + draw((uint32_t)code.len), old = *p;

		*p ^= (uint8_t)(1u << draw(8));
		memset(back, 0xAA, sizeof back);
		(void)ds_mix_decode(m, code.data, code.len, back, n, &err);
		ck_assert_uint_eq(back[n], 0xAA);
		*p = old;
	}
	ck_assert_int_eq(ds_mix_decode(m, code.data, code.len, back, n / 2, &err), DS_EFORMAT);
	OK(ds_mix_decode(m, code.data, code.len, back, n, &err));
	ck_assert_mem_eq(back, bytes, n);
	ds_buf_fini(&code);
	ds_mix_free(m);
}
END_TEST

static enum ds_status whole_life(struct ds_err *err)
{
	struct ds_mix *m = NULL, *copy = NULL;
	struct ds_buf code = {0};
	enum ds_status status = ds_mix_new(&m, 16, err);

	if (status == DS_OK)
		status = ds_mix_prime(m, english, sizeof english, err);
	if (status == DS_OK)
		status = ds_mix_freeze(m, err);
	if (status == DS_OK)
		status = ds_mix_copy(&copy, m, err);
	if (status == DS_OK)
		status = ds_mix_encode(m, english, sizeof english, &code, err);
	if (status == DS_OK)
		status = ds_mix_decode(copy, code.data, code.len, back, sizeof english, err);
	ds_mix_free(m);
	ds_mix_free(copy);
	ds_buf_fini(&code);
	return status;
}

START_TEST(test_memory_runs_out)
{
	struct ds_err err = {0};
	enum ds_status status = DS_ENOMEM;
	size_t n;

	for (n = 0; n < 100 && status != DS_OK; n++) {
		ds_alloc_fail_after(n);
		status = whole_life(&err);
		ck_assert(status == DS_OK || status == DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_gt(n, 8);
	ck_assert_int_eq(status, DS_OK);
}
END_TEST

START_TEST(test_limits)
{
	struct ds_mix *m;
	struct ds_err err = {0};

	ck_assert_int_eq(ds_mix_new(&m, DS_MIX_BITS_MIN - 1, &err), DS_EINVAL);
	ck_assert_int_eq(ds_mix_new(&m, DS_MIX_BITS_MAX + 1, &err), DS_EINVAL);
	OK(ds_mix_new(&m, DS_MIX_BITS_MIN, &err));
	ck_assert_int_eq(ds_mix_prime(m, back, DS_MIX_PRIME_MAX + 1, &err), DS_ELIMIT);
	ck_assert_int_eq(ds_mix_encode(m, back, DS_MIX_BLOCK_MAX + 1, NULL, &err), DS_ELIMIT);
	ck_assert_int_eq(ds_mix_decode(m, back, 0, back, DS_MIX_BLOCK_MAX + 1, &err), DS_ELIMIT);
	ds_mix_free(m);
	ds_mix_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mix");
	TCase *coder = tcase_create("coder");
	SRunner *runner;
	int failed;

	tcase_add_test(coder, test_symbols_and_bits);
	tcase_add_test(coder, test_length);
	tcase_add_test(coder, test_round_trip);
	tcase_add_test(coder, test_blocks_are_independent);
	tcase_add_test(coder, test_same_on_every_cpu);
	tcase_add_test(coder, test_damage);
	tcase_add_test(coder, test_memory_runs_out);
	tcase_add_test(coder, test_limits);
	suite_add_tcase(suite, coder);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
