/* test_gguf_safetensors.c - headers good and bad, every truncation, failing allocations */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "gguf/safetensors.h"

static uint8_t file[4096];

/* A file of this header and data_bytes of zeros. */
static size_t build(const char *header, size_t data_bytes)
{
	size_t n = strlen(header);

	ds_put_u64(file, n);
	memcpy(file + 8, header, n);
	memset(file + 8 + n, 0, data_bytes);
	return 8 + n + data_bytes;
}

static const char good[] = "{\"__metadata__\":{\"format\":\"pt\"},"
			   "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
			   "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
			   "\"c\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[32,36]},"
			   "\"d\":{\"dtype\":\"BF16\",\"shape\":[0,5],\"data_offsets\":[36,36]}}  ";

START_TEST(test_good)
{
	struct ds_safetensors st;
	struct ds_err err;
	const struct ds_gguf_tensor *t;

	ck_assert_int_eq(ds_safetensors_open_memory(&st, file, build(good, 36), "x", &err), DS_OK);
	ck_assert_uint_eq(st.n_tensor, 4);
	t = ds_safetensors_find(&st, "a");
	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(t->type, 0);
	ck_assert_uint_eq(t->dim[0], 3);
	ck_assert_uint_eq(t->dim[1], 2);
	ck_assert_uint_eq(t->dim[2], 1);
	ck_assert_uint_eq(t->bytes, 24);
	ck_assert_ptr_eq(t->data, file + t->offset);
	ck_assert_uint_eq(ds_safetensors_find(&st, "b")->dim[0], 1);
	ck_assert_ptr_null(ds_safetensors_find(&st, "c")->data); /* a type ggml does not have */
	ck_assert_ptr_null(ds_safetensors_find(&st, "e"));
	ds_safetensors_close(&st);
}
END_TEST

static const struct {
	const char *header;
	size_t data_bytes;
	const char *message;
} bad[] = {
	{"", 0, "not JSON"},
	{"[]", 0, "no JSON object"},
	{"{\"a\":{}", 0, "not JSON"},
	{"{\"a\":1}", 0, "an object expected"},
	{"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
	{"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
	{"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "shape"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "natural"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "natural"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "do not match"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "ends after"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
	 "overflows"},
	{"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
	 "do not match"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775807,"
	 "9223372036854775807]}}",
	 4, "ends after"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
	 "not JSON"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{}}", 4,
	 "not JSON"},
};

START_TEST(test_bad)
{
	struct ds_safetensors st;
	struct ds_err err = {0};
	size_t n = build(bad[_i].header, bad[_i].data_bytes);

	ck_assert_int_eq(ds_safetensors_open_memory(&st, file, n, "x", &err), DS_EFORMAT);
	ck_assert_msg(strstr(err.message, bad[_i].message), "%s", err.message);
	ck_assert_str_eq(err.path, "x");
	ck_assert_uint_lt(err.offset, n + 1);
}
END_TEST

START_TEST(test_truncated)
{
	struct ds_safetensors st;
	struct ds_err err;
	size_t n = build(good, 36);

	for (size_t i = 0; i < n; i++)
		ck_assert_int_ne(ds_safetensors_open_memory(&st, file, i, "x", &err), DS_OK);
}
END_TEST

START_TEST(test_no_memory)
{
	struct ds_safetensors st;
	struct ds_err err;
	enum ds_status status;
	size_t n = build(good, 36), fails = 0;

	do {
		ds_alloc_fail_after(fails++);
		status = ds_safetensors_open_memory(&st, file, n, "x", &err);
		ck_assert(status == DS_OK || status == DS_ENOMEM);
	} while (status != DS_OK);
	ds_alloc_fail_after(SIZE_MAX);
	ds_safetensors_close(&st);
	ck_assert_uint_gt(fails, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gguf_safetensors");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_good);
	tcase_add_loop_test(tc, test_bad, 0, (int)(sizeof bad / sizeof *bad));
	tcase_add_test(tc, test_truncated);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
