/* test_attn_profile.c - profiles there and back, and what is wrong with others */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attn/profile.h"

static const char good[] = "ds-profile 1\n"
			   "# found on a Sunday\n"
			   "model 0123456789abcdef\r\n"
			   "\n"
			   "length 8192 # tokens\n"
			   "layers 0-1 dense\n"
			   "layers\t2 keys:512,32\n"
			   "layers 3-29 mass:0.25";

static enum ds_status parse(struct ds_attn_profile *p, const char *text, struct ds_err *err)
{
	return ds_attn_profile_parse(p, text, strlen(text), err);
}

START_TEST(test_there_and_back)
{
	struct ds_attn_profile p, again;
	struct ds_buf text = {0}, same = {0};
	struct ds_err err;

	ck_assert_int_eq(parse(&p, good, &err), DS_OK);
	ck_assert_uint_eq(p.model, 0x0123456789abcdef);
	ck_assert_uint_eq(p.length, 8192);
	ck_assert_uint_eq(p.n_layer, 30);
	ck_assert_int_eq(p.policy[0].kind, DS_ATTN_DENSE);
	ck_assert_int_eq(p.policy[1].kind, DS_ATTN_DENSE);
	ck_assert_int_eq(p.policy[2].kind, DS_ATTN_KEYS);
	ck_assert_int_eq(p.policy[29].kind, DS_ATTN_MASS);
	ck_assert_double_eq(p.policy[29].param[0], 0.25);
	ck_assert_int_eq(ds_attn_profile_write(&p, "one\ntwo", &text, &err), DS_OK);
	ck_assert_int_eq(ds_attn_profile_parse(&again, text.data, text.len, &err), DS_OK);
	ck_assert_int_eq(ds_attn_profile_write(&again, "one\ntwo\n", &same, &err), DS_OK);
	ck_assert_uint_eq(text.len, same.len);
	ck_assert(memcmp(text.data, same.data, text.len) == 0);
	ck_assert_int_eq(ds_buf_append(&text, "", 1, &err), DS_OK);
	ck_assert_str_eq((char *)text.data, "ds-profile 1\nmodel 0123456789abcdef\nlength 8192\n"
					    "layers 0-1 dense\nlayers 2-2 keys:512,32\n"
					    "layers 3-29 mass:0.25,0,4\n# one\n# two\n");
	ds_buf_fini(&text);
	ds_buf_fini(&same);
	ds_attn_profile_fini(&p);
	ds_attn_profile_fini(&again);
}
END_TEST

#define HEAD "ds-profile 1\nmodel 0123456789abcdef\nlength 8192\n"

START_TEST(test_wrong)
{
	static const struct {
		const char *text, *message;
		uint64_t offset;
	} cases[] = {
		{"", "the profile ends, expected: ds-profile and a number", 0},
		{"# nothing\n", "the profile ends, expected: ds-profile and a number", 10},
		{"layers 0 dense\n", "another line, expected: ds-profile and a number", 0},
		{"ds-profile 2\n", "a profile of version 2, 1 expected", 0},
		{"ds-profile 1\nmodel 0123\n",
		 "another line, expected: model and 16 hexadecimal digits", 13},
		{"ds-profile 1\nmodel 0123456789abcdeg\n",
		 "another line, expected: model and 16 hexadecimal digits", 13},
		{"ds-profile 1\nmodel 0123456789abcdef\nlength 99999999999\n",
		 "another line, expected: length and a number", 36},
		{HEAD, "the profile ends, expected: layers FIRST-LAST POLICY", 48},
		{HEAD "layers 1 dense\n", "other layers, expected: ", 48},
		{HEAD "layers 0-1 dense\nlayers 1-2 dense\n", "other layers, expected: ", 65},
		{HEAD "layers 0-1 dense\nlayers 3-4 dense\n", "other layers, expected: ", 65},
		{HEAD "layers 0-1024 dense\n", "other layers, expected: ", 48},
		{HEAD "layers 0--1 dense\n", "other layers, expected: ", 48},
		{HEAD "layers 0- dense\n", "other layers, expected: ", 48},
		{HEAD "layers 0 sometimes\n", "'sometimes' is no attention policy", 48},
		{HEAD "layers 0 mass : 0.2\n", "a line of more than three words", 48},
		{HEAD "layers 0\n", "another line, expected: layers", 48},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ds_attn_profile p;
		struct ds_err err;

		ck_assert_int_ne(parse(&p, cases[i].text, &err), DS_OK);
		ck_assert_ptr_null(p.policy);
		ck_assert_msg(strncmp(err.message, cases[i].message, strlen(cases[i].message)) == 0,
			      "case %zu: %s", i, err.message);
		ck_assert_msg(err.offset == cases[i].offset, "case %zu: byte %llu", i,
			      (unsigned long long)err.offset);
	}
}
END_TEST

START_TEST(test_long_lines)
{
	char text[1000] = HEAD "layers 0 ";
	struct ds_attn_profile p;
	struct ds_err err;
	size_t n = strlen(text);

	memset(text + n, 'x', sizeof text - n);
	ck_assert_int_eq(ds_attn_profile_parse(&p, text, sizeof text, &err), DS_EFORMAT);
	memset(text + n, ' ', sizeof text - n);
	memcpy(text + n, "dense\n#", 7);
	ck_assert_int_eq(ds_attn_profile_parse(&p, text, sizeof text, &err), DS_OK);
	ck_assert_uint_eq(p.n_layer, 1);
	ds_attn_profile_fini(&p);
	text[n] = '\0';
	ck_assert_int_eq(ds_attn_profile_parse(&p, text, sizeof text, &err), DS_EFORMAT);
}
END_TEST

START_TEST(test_files)
{
	char path[] = "/tmp/ds-profile.XXXXXX";
	const uint64_t model = 0x0123456789abcdef;
	struct ds_attn_profile p;
	struct ds_err err;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, good, strlen(good)), strlen(good));
	close(fd);
	ck_assert_int_eq(ds_attn_profile_read(&p, path, model, 30, &err), DS_OK);
	ds_attn_profile_fini(&p);
	ck_assert_int_eq(ds_attn_profile_read(&p, path, model, 31, &err), DS_EINVAL);
	ck_assert_str_eq(err.message, "the profile has 30 layers, the model 31");
	ck_assert_int_eq(ds_attn_profile_read(&p, path, 7, 30, &err), DS_EINVAL);
	ck_assert_str_eq(err.message, "the profile is for the model 0123456789abcdef, "
				      "this one is 0000000000000007");
	ck_assert_str_eq(err.path, path);
	unlink(path);
	ck_assert_int_eq(ds_attn_profile_read(&p, path, model, 30, &err), DS_EIO);
	ck_assert_str_eq(err.path, path);
}
END_TEST

START_TEST(test_memory_out)
{
	enum ds_status st = DS_ENOMEM;
	struct ds_attn_profile p;
	struct ds_err err;
	size_t n = 0;

	for (; st != DS_OK; n++) {
		struct ds_buf text = {0};

		ds_alloc_fail_after(n);
		st = parse(&p, good, &err);
		if (st == DS_OK) {
			st = ds_attn_profile_write(&p, "a\nb", &text, &err);
			ds_attn_profile_fini(&p);
		}
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ds_buf_fini(&text);
	}
	ck_assert_uint_gt(n, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("attn_profile");
	TCase *c = tcase_create("profile");
	SRunner *runner;
	int failed;

	tcase_add_test(c, test_there_and_back);
	tcase_add_test(c, test_wrong);
	tcase_add_test(c, test_long_lines);
	tcase_add_test(c, test_files);
	tcase_add_test(c, test_memory_out);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
