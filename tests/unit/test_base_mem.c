/* test_base_mem.c - allocation, arenas, buffers, cursor, UTF-8 */
#include <check.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "base/utf8.h"

START_TEST(test_overflow)
{
	struct ds_err err;
	size_t product;

	ck_assert_ptr_null(ds_alloc(SIZE_MAX / 2, 3));
	ck_assert_ptr_null(ds_alloc(1, (size_t)PTRDIFF_MAX + 1));
	ck_assert_int_eq(ds_mul(SIZE_MAX, 2, &product, &err), DS_ELIMIT);
	ck_assert_int_eq(ds_mul(SIZE_MAX, 1, &product, &err), DS_OK);
	ck_assert_uint_eq(product, SIZE_MAX);
}
END_TEST

START_TEST(test_fail_after)
{
	void *p;

	ds_alloc_fail_after(1);
	p = ds_alloc(1, 1);
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(ds_alloc_zero(1, 1));
	free(p);
	p = ds_alloc(1, 1); /* it fails once */
	ck_assert_ptr_nonnull(p);
	free(p);
}
END_TEST

START_TEST(test_buf)
{
	struct ds_buf buf = {0};
	struct ds_err err;

	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(ds_buf_append(&buf, "abc", 3, &err), DS_OK);
	ck_assert_uint_eq(buf.len, 3000);
	ds_buf_consume(&buf, 2998);
	ck_assert_mem_eq(buf.data, "bc", 2);
	ck_assert_int_eq(ds_buf_reserve(&buf, SIZE_MAX, &err), DS_ENOMEM);
	ds_alloc_fail_after(0);
	ck_assert_int_eq(ds_buf_reserve(&buf, 1 << 20, &err), DS_ENOMEM);
	ck_assert_uint_eq(buf.len, 2);
	ck_assert_mem_eq(buf.data, "bc", 2);
	ds_buf_fini(&buf);
}
END_TEST

START_TEST(test_arena)
{
	struct ds_arena arena;

	ds_arena_init(&arena);
	for (size_t n = 0; n < 300; n++) {
		unsigned char *p = ds_arena_alloc(&arena, n, 1000);

		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq((uintptr_t)p % 16, 0);
		memset(p, 0xA5, n * 1000);
	}
	ck_assert_ptr_null(ds_arena_alloc(&arena, SIZE_MAX, 2));
	ds_arena_fini(&arena);
	ck_assert_uint_eq(arena.used_bytes, 0);
}
END_TEST

START_TEST(test_cursor)
{
	static const uint8_t bytes[15] = {1, 2, 0, 3, 0, 0, 0, 4};
	struct ds_cursor cur;
	struct ds_err err;
	const uint8_t *p;
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;

	ds_cursor_init(&cur, bytes, sizeof bytes, &err);
	cur.path = "file";
	cur.base = 100;
	ck_assert_int_eq(ds_cursor_u8(&cur, &a), DS_OK);
	ck_assert_int_eq(ds_cursor_u16(&cur, &b), DS_OK);
	ck_assert_int_eq(ds_cursor_u32(&cur, &c), DS_OK);
	ck_assert_int_eq(ds_cursor_u64(&cur, &d), DS_OK);
	ck_assert(a == 1 && b == 2 && c == 3 && d == 4);
	ck_assert_int_eq(ds_cursor_u8(&cur, &a), DS_ETRUNCATED);
	ck_assert_uint_eq(err.offset, 115);
	ck_assert_str_eq(err.path, "file");
	cur.pos = 0;
	ck_assert_int_eq(ds_cursor_borrow(&cur, UINT64_MAX, &p), DS_ETRUNCATED);
	ck_assert_int_eq(ds_cursor_skip(&cur, 15), DS_OK);
	ck_assert_uint_eq(ds_cursor_left(&cur), 0);
}
END_TEST

static const struct {
	const char *bytes;
	unsigned length;
	uint32_t cp;
} utf8_cases[] = {
	{"a", 1, 'a'},
	{"\x7f", 1, 0x7F},
	{"\x80", 1, DS_UTF8_INVALID},
	{"\xC0\x80", 1, DS_UTF8_INVALID}, /* overlong NUL */
	{"\xC1\xBF", 1, DS_UTF8_INVALID},
	{"\xC2\x80", 2, 0x80},
	{"\xDF\xBF", 2, 0x7FF},
	{"\xDF", 1, DS_UTF8_INVALID},		/* cut short */
	{"\xE0\x9F\xBF", 1, DS_UTF8_INVALID},	/* overlong */
	{"\xE0\xA0\x80", 3, 0x800},
	{"\xED\x9F\xBF", 3, 0xD7FF},
	{"\xED\xA0\x80", 1, DS_UTF8_INVALID},	/* a surrogate */
	{"\xEE\x80\x80", 3, 0xE000},
	{"\xEF\xBF\xBF", 3, 0xFFFF},
	{"\xF0\x8F\xBF\xBF", 1, DS_UTF8_INVALID}, /* overlong */
	{"\xF0\x90\x80\x80", 4, 0x10000},
	{"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
	{"\xF4\x90\x80\x80", 1, DS_UTF8_INVALID}, /* beyond Unicode */
	{"\xF5\x80\x80\x80", 1, DS_UTF8_INVALID},
	{"\xE2\x28\xA1", 1, DS_UTF8_INVALID},
};

START_TEST(test_utf8_decode)
{
	const uint8_t *p = (const uint8_t *)utf8_cases[_i].bytes;
	uint32_t cp;
	unsigned n = ds_utf8_decode(p, p + strlen((const char *)p), &cp);

	ck_assert_uint_eq(n, utf8_cases[_i].length);
	ck_assert_uint_eq(cp, utf8_cases[_i].cp);
}
END_TEST

START_TEST(test_utf8_every_code_point)
{
	for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
		uint8_t bytes[4];
		uint32_t back;
		unsigned n = ds_utf8_encode(cp, bytes);

		if (cp >= 0xD800 && cp <= 0xDFFF)
			continue;
		if (ds_utf8_decode(bytes, bytes + n, &back) != n || back != cp ||
		    ds_utf8_whole(bytes, n) != n)
			ck_abort_msg("U+%04X does not survive", cp);
		for (unsigned cut = 1; cut < n; cut++)
			if (ds_utf8_whole(bytes, cut) != 0)
				ck_abort_msg("U+%04X cut at %u", cp, cut);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base_mem");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, test_overflow);
	tcase_add_test(tc, test_fail_after);
	tcase_add_test(tc, test_buf);
	tcase_add_test(tc, test_arena);
	tcase_add_test(tc, test_cursor);
	tcase_add_loop_test(tc, test_utf8_decode, 0, sizeof utf8_cases / sizeof *utf8_cases);
	tcase_add_test(tc, test_utf8_every_code_point);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
