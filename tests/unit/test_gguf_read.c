/* test_gguf_read.c - the corpus of good and bad files, look-ups, and running out of memory */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf/types.h"
#include "token/token.h"

#define CORPUS "tests/fuzz/corpus/fuzz_gguf/"

START_TEST(corpus)
{
	DIR *dir = opendir(CORPUS);
	const struct dirent *entry;
	int seen = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char path[600];
		struct ds_gguf gguf;
		struct ds_err err;
		enum ds_status st;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, CORPUS "%s", entry->d_name);
		st = ds_gguf_open(&gguf, path, &err);
		seen++;
		if (strncmp(entry->d_name, "good-", 5) == 0) {
			ck_assert_msg(st == DS_OK, "%s: %s", path, err.message);
			ds_gguf_close(&gguf);
			continue;
		}
		if (st == DS_OK) { /* a sound file; what is wrong is its vocabulary */
			struct ds_tokenizer *tok;

			ck_assert_msg(ds_tokenizer_open_gguf(&tok, &gguf, &err) != DS_OK,
				      "%s is accepted", path);
			ds_gguf_close(&gguf);
			continue;
		}
		ck_assert_str_eq(err.path, path);
		ck_assert_msg(err.offset != DS_NO_OFFSET, "%s: no offset", path);
		ck_assert(err.message[0] != 0);
	}
	closedir(dir);
	ck_assert_int_gt(seen, 20);
}
END_TEST

START_TEST(lookups)
{
	const struct ds_gguf_kv *kv;
	struct ds_gguf gguf;
	struct ds_err err;
	struct ds_str s;
	uint64_t u;
	double f;
	size_t pos = 0;

	ck_assert(ds_gguf_open(&gguf, CORPUS "good-types.gguf", &err) == DS_OK);
	ck_assert(ds_gguf_u64(&gguf, "k0", &u, &err) == DS_OK && u == 7);
	ck_assert(ds_gguf_u64(&gguf, "k1", &u, &err) == DS_EFORMAT); /* negative */
	ck_assert(ds_gguf_f64(&gguf, "k1", &f, &err) == DS_OK && f == -7);
	ck_assert(ds_gguf_f64(&gguf, "k2", &f, &err) == DS_OK && f == 1.5);
	ck_assert(ds_gguf_u64(&gguf, "k3", &u, &err) == DS_OK && u == 1);
	ck_assert(ds_gguf_str(&gguf, "k4", &s, &err) == DS_OK && ds_str_is(s, "s"));
	ck_assert(ds_gguf_str(&gguf, "k0", &s, &err) == DS_EFORMAT);
	ck_assert_str_eq(err.message, "key k0 is of type u32, string expected");
	ck_assert(ds_gguf_u64(&gguf, "nosuch", &u, &err) == DS_EFORMAT);
	ck_assert_str_eq(err.message, "key nosuch is missing");
	ck_assert(ds_gguf_array(&gguf, "list", DS_GGUF_STRING, &kv, &err) == DS_OK && kv->n == 3);
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), "a"));
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), ""));
	ck_assert(ds_str_is(ds_gguf_next_str(kv, &pos), "ccc"));
	ck_assert(ds_gguf_array(&gguf, "ints", DS_GGUF_STRING, &kv, &err) == DS_EFORMAT);
	ds_gguf_close(&gguf);
}
END_TEST

START_TEST(tensors)
{
	const struct ds_gguf_tensor *t;
	struct ds_gguf gguf;
	struct ds_err err;

	ck_assert(ds_gguf_open(&gguf, CORPUS "good-tensors.gguf", &err) == DS_OK);
	t = ds_gguf_tensor_find(&gguf, "a");
	ck_assert(t && t->bytes == 32 && t->n_dims == 2 && t->dim[0] == 4 && t->dim[2] == 1);
	t = ds_gguf_tensor_find(&gguf, "b");
	ck_assert(t && t->bytes == 34 && t->data == gguf.data + t->offset);
	ck_assert_ptr_null(ds_gguf_tensor_find(&gguf, "c"));
	ds_gguf_close(&gguf);
	ck_assert(ds_gguf_open(&gguf, CORPUS "good-unknown-type.gguf", &err) == DS_OK);
	ck_assert(!gguf.tensor[0].data && gguf.tensor[0].bytes == 0);
	ds_gguf_close(&gguf);
	ck_assert_str_eq(ds_ggml_type(14)->name, "Q6_K");
	ck_assert(!ds_ggml_type(4) && !ds_ggml_type(999));
}
END_TEST

START_TEST(no_memory)
{
	struct ds_gguf gguf;
	struct ds_err err;
	enum ds_status st;
	size_t n = 0;

	do {
		ds_alloc_fail_after(n++);
		st = ds_gguf_open(&gguf, CORPUS "good-tensors.gguf", &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK);
	ds_alloc_fail_after(SIZE_MAX);
	ds_gguf_close(&gguf);
	ck_assert_uint_gt(n, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gguf_read");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, corpus);
	tcase_add_test(tcase, lookups);
	tcase_add_test(tcase, tensors);
	tcase_add_test(tcase, no_memory);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
