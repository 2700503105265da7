/* test_gguf_read.c - the corpus of good and bad files, look-ups, and running out of memory */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
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

/* Where and why a file is refused. */
static const struct refusal {
	const char *file;
	enum ds_status status;
	uint64_t offset;
	const char *message;
} refusals[] = {
	{"bad-alignment", DS_EFORMAT, 53, "alignment is 24, a power of two up to 1048576 expected"},
	{"bad-alignment-zero", DS_EFORMAT, 53,
	 "alignment is 0, a power of two up to 1048576 expected"},
	{"bad-alignment-huge", DS_EFORMAT, 53,
	 "alignment is 2147483648, a power of two up to 1048576 expected"},
	{"bad-alignment-type", DS_EFORMAT, 53,
	 "key general.alignment is of type string, an integer expected"},
	{"bad-array-length", DS_ETRUNCATED, 49,
	 "array of 4611686018427387905 values does not fit in the file"},
	{"bad-beyond", DS_ETRUNCATED, 32,
	 "tensor a (16 bytes at 9223372036854775808) ends after the file, which has 16 bytes of "
	 "tensors"},
	{"bad-big-endian", DS_EUNSUPPORTED, 4,
	 "GGUF version 50331648 (a big-endian file), 2 or 3 expected"},
	{"bad-data-missing", DS_ETRUNCATED, 98, "file ends before the tensors at byte 128"},
	{"bad-dims", DS_EFORMAT, 33, "tensor a has 5 dimensions, 1..4 expected"},
	{"bad-no-dims", DS_EFORMAT, 33, "tensor a has 0 dimensions, 1..4 expected"},
	{"bad-zero-dim", DS_EFORMAT, 45, "dimension 1 of tensor a is 0, at least 1 expected"},
	{"bad-overflow", DS_EFORMAT, 45,
	 "dimension 1 of tensor a is 4294967296, their product overflows"},
	{"bad-size", DS_EFORMAT, 57,
	 "the size of tensor a, 4611686018427387904 values of type F32, overflows"},
	{"bad-duplicate-key", DS_EFORMAT, 65, "key general.name occurs twice"},
	{"bad-duplicate-tensor", DS_EFORMAT, 73, "tensor a occurs twice"},
	{"bad-extent", DS_ETRUNCATED, 32,
	 "tensor a (4096 bytes at 0) ends after the file, which has 16 bytes of tensors"},
	{"bad-item-type", DS_EFORMAT, 37, "value type 4096, 0..12 expected"},
	{"bad-key-empty", DS_EFORMAT, 24, "empty key"},
	{"bad-key-nul", DS_EFORMAT, 24, "key with a NUL byte"},
	{"bad-key-length", DS_EFORMAT, 24,
	 "key of 9223372036854775808 bytes, at most 65535 expected"},
	{"bad-kv-count", DS_ETRUNCATED, 16, "1152921504606846976 keys do not fit in the file"},
	{"bad-tensor-count", DS_ETRUNCATED, 8,
	 "1152921504606846976 tensors do not fit in the file"},
	{"bad-nested-array", DS_EUNSUPPORTED, 49, "array of arrays in key k"},
	{"bad-offset", DS_EFORMAT, 73, "tensor b begins at 40, a multiple of 32 expected"},
	{"bad-overlap", DS_EFORMAT, 128, "tensors a and b overlap"},
	{"bad-same-place", DS_EFORMAT, 96, "tensors a and b overlap"},
	{"bad-rows", DS_EFORMAT, 49,
	 "tensor a has rows of 33 values, a multiple of 32 expected for Q8_0"},
	{"bad-short", DS_ETRUNCATED, 48, "string 0 of 1 does not fit in the file"},
	{"bad-string-array", DS_ETRUNCATED, 58, "string 1 of 3 does not fit in the file"},
	{"bad-string-count", DS_ETRUNCATED, 81,
	 "string 4 of 18446744073709551615 does not fit in the file"},
	{"bad-string-length", DS_ETRUNCATED, 37, "string 0 of 1 does not fit in the file"},
	{"bad-tensor-name", DS_EFORMAT, 24, "tensor name of 65 bytes, at most 64 expected"},
	{"bad-type", DS_EFORMAT, 33, "value type 13, 0..12 expected"},
	{"bad-version", DS_EUNSUPPORTED, 4, "GGUF version 1, 2 or 3 expected"},
};

START_TEST(refused)
{
	const struct refusal *r = &refusals[_i];
	struct ds_gguf gguf;
	struct ds_err err;
	char path[200];

	snprintf(path, sizeof path, CORPUS "%s.gguf", r->file);
	ck_assert_int_eq(ds_gguf_open(&gguf, path, &err), r->status);
	ck_assert_str_eq(err.message, r->message);
	ck_assert_uint_eq(err.offset, r->offset);
	ck_assert_str_eq(err.path, path);
}
END_TEST

/* Cut off anywhere: refused, at a byte the file has. */
START_TEST(truncated)
{
	static const char *const files[] = {"good-tensors", "good-types", "good-alignment"};
	struct ds_buf buf = {0};
	struct ds_gguf gguf;
	struct ds_err err;
	char path[200];

	snprintf(path, sizeof path, CORPUS "%s.gguf", files[_i]);
	ck_assert(ds_read_all(path, 1 << 20, &buf, &err) == DS_OK);
	for (size_t n = 0; n < buf.len; n++) {
		uint8_t *bytes = malloc(n ? n : 1); /* of its own, for the sanitizers */

		memcpy(bytes, buf.data, n);
		ck_assert(ds_gguf_open_memory(&gguf, bytes, n, "cut", &err) != DS_OK);
		ck_assert_msg(err.offset <= n, "%zu bytes: refused at %llu: %s", n,
			      (unsigned long long)err.offset, err.message);
		free(bytes);
	}
	ds_buf_fini(&buf);
}
END_TEST

/* A count that the file has room for, but no model needs, costs no memory. */
START_TEST(too_many)
{
	size_t n = (size_t)48 << 20;
	uint8_t *bytes = calloc(1, n);
	const uint64_t many = ((uint64_t)1 << 20) + 1;
	struct ds_gguf gguf;
	struct ds_err err;

	memcpy(bytes, "GGUF\3", 5);
	for (size_t at = 8; at <= 16; at += 8) {
		memset(bytes + 8, 0, 16);
		memcpy(bytes + at, &many, 8);
		ck_assert(ds_gguf_open_memory(&gguf, bytes, n, "many", &err) == DS_ELIMIT);
		ck_assert_uint_eq(err.offset, at);
		ck_assert_ptr_nonnull(strstr(err.message, ", at most 1048576 expected"));
	}
	free(bytes);
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
	tcase_add_loop_test(tcase, refused, 0, sizeof refusals / sizeof *refusals);
	tcase_add_loop_test(tcase, truncated, 0, 3);
	tcase_add_test(tcase, too_many);
	tcase_add_test(tcase, lookups);
	tcase_add_test(tcase, tensors);
	tcase_add_test(tcase, no_memory);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
