/* test_gguf_write.c - what the GGUF writer writes, the reader reads; what it must refuse */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf/gguf_write.h"

static char dir[] = "/tmp/ds-test-gguf.XXXXXX";
static char path[64];

static struct ds_str str(const char *s)
{
	return (struct ds_str){s, strlen(s)};
}

static struct ds_gguf_tensor tensor(const char *name, uint32_t type, uint64_t d0, uint64_t d1)
{
	return (struct ds_gguf_tensor){
		.name = str(name), .type = type, .n_dims = 2, .dim = {d0, d1, 1, 1}};
}

/* One key of every kind and three tensors, the second of odd size. */
static enum ds_status declare(struct ds_gguf_writer *w, struct ds_err *err)
{
	static const int32_t numbers[] = {-1, 7, INT32_MAX};
	const struct ds_str words[] = {str("the"), str(""), str("\u2581cat")};
	struct ds_gguf_tensor t = tensor("a", 24, 5, 3);

	DS_TRY(ds_gguf_put_str(w, "general.architecture", "static", err));
	DS_TRY(ds_gguf_put_u32(w, "k.u32", 4000000000u, err));
	DS_TRY(ds_gguf_put_f32(w, "k.f32", 0.5f, err));
	DS_TRY(ds_gguf_put_bool(w, "k.bool", true, err));
	DS_TRY(ds_gguf_put_strs(w, "k.strs", words, 3, err));
	DS_TRY(ds_gguf_put_i32s(w, "k.i32s", numbers, 3, err));
	DS_TRY(ds_gguf_put_tensor(w, &t, err));
	t = tensor("b", 0, 2, 1);
	DS_TRY(ds_gguf_put_tensor(w, &t, err));
	t = tensor("c", 8, 32, 1);
	return ds_gguf_put_tensor(w, &t, err);
}

static enum ds_status write_file(struct ds_gguf_writer *w, struct ds_out *out, struct ds_err *err)
{
	static const float floats[] = {1.5f, -2};
	uint8_t block[34];

	memset(block, 9, sizeof block);
	DS_TRY(declare(w, err));
	DS_TRY(ds_gguf_writer_begin(w, out, err));
	DS_TRY(ds_gguf_writer_data(w, "0123456789", 10, err));
	DS_TRY(ds_gguf_writer_data(w, "abcde", 5, err));
	DS_TRY(ds_gguf_writer_data(w, floats, sizeof floats, err));
	DS_TRY(ds_gguf_writer_data(w, block, sizeof block, err));
	return ds_gguf_writer_end(w, err);
}

static enum ds_status make_file(struct ds_err *err)
{
	struct ds_gguf_writer w = {0};
	struct ds_out out;
	enum ds_status st = ds_out_open(&out, path, err);

	if (st != DS_OK)
		return st;
	st = write_file(&w, &out, err);
	ds_gguf_writer_fini(&w);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

START_TEST(test_round_trip)
{
	const struct ds_gguf_kv *kv;
	const struct ds_gguf_tensor *t;
	struct ds_gguf gguf;
	struct ds_err err;
	struct ds_str s;
	uint64_t u;
	double f;
	size_t pos = 0;

	ck_assert_msg(make_file(&err) == DS_OK, "%s", err.message);
	ck_assert_msg(ds_gguf_open(&gguf, path, &err) == DS_OK, "%s", err.message);
	ck_assert_uint_eq(gguf.version, 3);
	ck_assert_uint_eq(gguf.n_kv, 6);
	ck_assert_int_eq(ds_gguf_str(&gguf, "general.architecture", &s, &err), DS_OK);
	ck_assert(ds_str_is(s, "static"));
	ck_assert_int_eq(ds_gguf_u64(&gguf, "k.u32", &u, &err), DS_OK);
	ck_assert_uint_eq(u, 4000000000u);
	ck_assert_int_eq(ds_gguf_f64(&gguf, "k.f32", &f, &err), DS_OK);
	ck_assert_double_eq(f, 0.5);
	ck_assert_int_eq(ds_gguf_u64(&gguf, "k.bool", &u, &err), DS_OK);
	ck_assert_uint_eq(u, 1);
	ck_assert_int_eq(ds_gguf_array(&gguf, "k.strs", DS_GGUF_STRING, &kv, &err), DS_OK);
	ck_assert_uint_eq(kv->n, 3);
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), "the"));
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), ""));
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), "\u2581cat"));
	ck_assert_int_eq(ds_gguf_array(&gguf, "k.i32s", DS_GGUF_I32, &kv, &err), DS_OK);
	ck_assert_int_eq(((const int32_t *)(const void *)kv->data)[0], -1);
	t = ds_gguf_tensor_find(&gguf, "a");
	ck_assert_mem_eq(t->data, "0123456789abcde", 15);
	ck_assert_uint_eq(t->dim[0], 5);
	t = ds_gguf_tensor_find(&gguf, "b");
	ck_assert_mem_eq(t->data, (&(float[]){1.5f, -2}), 8);
	ck_assert_uint_eq((uintptr_t)t->data % 32, 0);
	t = ds_gguf_tensor_find(&gguf, "c");
	ck_assert_uint_eq(t->bytes, 34);
	ck_assert_uint_eq(t->data[33], 9);
	ds_gguf_close(&gguf);
	unlink(path);
}
END_TEST

START_TEST(test_refused_tensors)
{
	static const struct {
		const char *name;
		uint32_t type;
		uint64_t d0, d1;
	} row[] = {
		{"", 0, 4, 4},
		{"unknown-type", 77, 4, 4},
		{"part-of-a-block", 8, 33, 1},
		{"empty", 0, 0, 4},
		{"too-large", 0, UINT64_C(1) << 40, UINT64_C(1) << 40},
		{"name-of-more-than-64-bytes-0123456789-0123456789-0123456789-01234567", 0, 4, 4},
	};
	struct ds_gguf_writer w = {0};
	struct ds_err err;

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct ds_gguf_tensor t = tensor(row[i].name, row[i].type, row[i].d0, row[i].d1);

		ck_assert_int_ne(ds_gguf_put_tensor(&w, &t, &err), DS_OK);
		ck_assert_uint_eq(w.n_tensor, 0);
	}
	ds_gguf_writer_fini(&w);
}
END_TEST

START_TEST(test_refused_order)
{
	struct ds_gguf_writer w = {0};
	struct ds_gguf_tensor t = tensor("late", 0, 4, 4);
	struct ds_out out;
	struct ds_err err;

	ck_assert_int_eq(ds_out_open(&out, path, &err), DS_OK);
	ck_assert_int_eq(declare(&w, &err), DS_OK);
	ck_assert_int_eq(ds_gguf_writer_begin(&w, &out, &err), DS_OK);
	ck_assert_int_eq(ds_gguf_put_u32(&w, "late", 1, &err), DS_EINVAL);
	ck_assert_int_eq(ds_gguf_put_tensor(&w, &t, &err), DS_EINVAL);
	ck_assert_int_eq(ds_gguf_writer_data(&w, "0123456789abcdef", 16, &err), DS_EINVAL);
	ck_assert_int_eq(ds_gguf_writer_data(&w, "0123456789abcd", 14, &err), DS_OK);
	ck_assert_int_eq(ds_gguf_writer_end(&w, &err), DS_EINVAL);
	ds_out_abort(&out);
	ds_gguf_writer_fini(&w);
}
END_TEST

START_TEST(test_memory_out)
{
	struct ds_err err;
	enum ds_status st = DS_ENOMEM;
	int n = 0;

	for (; st != DS_OK; n++) {
		ck_assert_int_lt(n, 1000);
		ds_alloc_fail_after((size_t)n);
		st = make_file(&err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ck_assert_int_eq(access(path, F_OK) == 0, st == DS_OK);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_gt(n, 4);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gguf_write");
	TCase *t = tcase_create("gguf_write");
	SRunner *r;
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/t.gguf", dir);
	tcase_add_test(t, test_round_trip);
	tcase_add_test(t, test_refused_tensors);
	tcase_add_test(t, test_refused_order);
	tcase_add_test(t, test_memory_out);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	rmdir(dir);
	return failed != 0;
}
