/* test_task_answer.c - bytes of an answer in any pieces, stop strings, headings of an outline */
#include <check.h>
#include <string.h>

#include "task/answer.h"
#include "task/outline.h"

static const struct {
	const char *text;
	const char *stop[3];
	const char *want;
	bool stopped;
} cases[] = {
	{"plain text", {NULL}, "plain text", false},
	{"one STOP two", {"STOP"}, "one ", true},
	{"one STO two", {"STOP"}, "one STO two", false},
	{"one ST", {"STOP"}, "one ST", false}, /* what waited leaves at the end */
	{"STOP", {"STOP"}, "", true},
	{"aab", {"ab"}, "a", true},
	{"aaaab", {"aab"}, "aa", true},
	{"x\n\ny", {"\n\n", "\nz"}, "x", true},
	{"abcd", {"cd", "bc"}, "a", true}, /* the first place counts */
	{"abcd", {"d", "abc"}, "", true},
	{"caf\xC3\xA9 \xE4\xB8\x96\xF0\x9F\x98\x80!",
	 {NULL},
	 "caf\xC3\xA9 \xE4\xB8\x96\xF0\x9F\x98\x80!",
	 false},
	{"ab\xE4\xB8", {NULL}, "ab", false}, /* a character that is cut */
	{"ab\xF0\x9F\x98", {NULL}, "ab", false},
	{"ab\xC3", {"zz"}, "ab", false},
	{"\xFF\xFE\x80 a\xC3(", {NULL}, "\xFF\xFE\x80 a\xC3(", false}, /* no UTF-8 */
	{"\xE4\xB8\x96\xE4\xB8\x97", {"\xE4\xB8\x97"}, "\xE4\xB8\x96", true},
	{"\xE4\xB8\xE4\xB8\x97", {"\xE4\xB8\x97"}, "\xE4\xB8", true},
};

struct sink {
	struct ds_buf buf;
	bool whole; /* check that pieces end between characters */
};

static enum ds_status take(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct sink *s = user;

	ck_assert_uint_gt(n, 0);
	if (s->whole) /* pieces begin where characters do */
		ck_assert((bytes[0] & 0xC0) != 0x80);
	return ds_buf_append(&s->buf, bytes, n, err);
}

/* Cut after every byte whose bit is set: all ways to split short texts. */
START_TEST(test_pieces)
{
	const char *text = cases[_i].text;
	size_t n = strlen(text), n_stop = 0, ways = n > 10 ? 1 << 10 : (size_t)1 << n;
	struct ds_part stop[3];
	struct sink sink = {0};
	struct ds_answer a = {.stop = stop, .take = take, .user = &sink};
	struct ds_err err;

	while (n_stop < 3 && cases[_i].stop[n_stop]) {
		stop[n_stop] =
			(struct ds_part){cases[_i].stop[n_stop], strlen(cases[_i].stop[n_stop])};
		n_stop++;
	}
	a.n_stop = n_stop;
	sink.whole = (uint8_t)text[0] != 0xFF && n_stop == 0;
	for (size_t way = 0; way < ways; way++) {
		size_t from = 0;

		sink.buf.len = 0;
		for (size_t i = 0; i < n; i++)
			if (i == n - 1 || way >> (i % 10) & 1) {
				ck_assert_int_eq(
					ds_answer_push(&a, text + from, i + 1 - from, &err), DS_OK);
				from = i + 1;
			}
		ck_assert_int_eq(a.stopped, cases[_i].stopped);
		ck_assert_int_eq(ds_answer_end(&a, &err), DS_OK);
		ck_assert_uint_eq(sink.buf.len, strlen(cases[_i].want));
		ck_assert(sink.buf.len == 0 ||
			  memcmp(sink.buf.data, cases[_i].want, sink.buf.len) == 0);
	}
	ds_answer_fini(&a);
	ds_buf_fini(&sink.buf);
}
END_TEST

START_TEST(test_text_leaves_at_once)
{
	struct ds_part stop = {"\n\n", 2};
	struct sink sink = {0};
	struct ds_answer a = {.stop = &stop, .n_stop = 1, .take = take, .user = &sink};
	struct ds_err err;

	ck_assert_int_eq(ds_answer_push(&a, "ab", 2, &err), DS_OK);
	ck_assert_uint_eq(sink.buf.len, 2);
	ck_assert_int_eq(ds_answer_push(&a, "c\n", 2, &err), DS_OK);
	ck_assert_uint_eq(sink.buf.len, 3); /* the newline may begin a stop string */
	ck_assert_int_eq(ds_answer_push(&a, "d", 1, &err), DS_OK);
	ck_assert_uint_eq(sink.buf.len, 5);
	ds_answer_fini(&a);
	ds_buf_fini(&sink.buf);
}
END_TEST

static enum ds_status refuse(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	(void)user;
	(void)bytes;
	(void)n;
	return ds_fail(err, DS_EIO, "full");
}

START_TEST(test_failures_pass)
{
	struct ds_answer a = {.take = refuse};
	struct ds_err err;

	ck_assert_int_eq(ds_answer_push(&a, "a", 1, &err), DS_EIO);
	ds_answer_fini(&a);
	a = (struct ds_answer){.take = refuse};
	ds_alloc_fail_after(0);
	ck_assert_int_eq(ds_answer_push(&a, "a", 1, &err), DS_ENOMEM);
	ds_alloc_fail_after(SIZE_MAX);
	ds_answer_fini(&a);
}
END_TEST

static const struct {
	const char *text;
	size_t max, n;
	const char *point[4];
} outlines[] = {
	{"1. One\n2. Two\n", 9, 2, {"One", "Two"}},
	{"Here it is:\n\n1) One\n 2) **Two**\n", 9, 2, {"One", "Two"}},
	{"- One\n* Two\n## 3. Three\n", 9, 3, {"One", "Two", "Three"}},
	{"**1. One**\r\n- 4 dogs\r\n", 9, 2, {"One", "4 dogs"}},
	{"One\n\n  Two  \n", 9, 2, {"One", "Two"}},
	{"1. One\n2. Two\n3. Three", 2, 2, {"One", "Two"}},
	{"1.\n2. \n3. Three", 9, 1, {"Three"}},
	{"", 9, 0, {NULL}},
	{"\n \n** **", 9, 0, {NULL}},
	{"**Bold** line\n", 9, 1, {"Bold** line"}},
};

START_TEST(test_outline)
{
	struct ds_part point[10];
	size_t n = ds_outline_points(outlines[_i].text, strlen(outlines[_i].text), point,
				     outlines[_i].max);

	ck_assert_uint_eq(n, outlines[_i].n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(point[i].len, strlen(outlines[_i].point[i]));
		ck_assert_mem_eq(point[i].bytes, outlines[_i].point[i], point[i].len);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("task_answer");
	TCase *tc = tcase_create("answer");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_pieces, 0, sizeof cases / sizeof *cases);
	tcase_add_test(tc, test_text_leaves_at_once);
	tcase_add_test(tc, test_failures_pass);
	tcase_add_loop_test(tc, test_outline, 0, sizeof outlines / sizeof *outlines);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
