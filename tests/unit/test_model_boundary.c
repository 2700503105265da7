/*
 * test_model_boundary.c - tokens that end paragraphs, sentences and clauses
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "model/lm_boundary.h"

static const struct {
	const char *text;
	enum ds_attn_boundary want;
} cases[] = {
	{"", DS_ATTN_NO_BOUNDARY},
	{"word", DS_ATTN_NO_BOUNDARY},
	{"\n", DS_ATTN_PARAGRAPH},
	{".\n\n", DS_ATTN_PARAGRAPH},
	{"\n    ", DS_ATTN_PARAGRAPH},
	{".", DS_ATTN_SENTENCE},
	{" end.", DS_ATTN_SENTENCE},
	{"?\"", DS_ATTN_SENTENCE},
	{"!)\u201d ", DS_ATTN_SENTENCE},
	{"...", DS_ATTN_SENTENCE},
	{"\u2026", DS_ATTN_SENTENCE},
	{".com", DS_ATTN_NO_BOUNDARY},
	{"3.14", DS_ATTN_NO_BOUNDARY},
	{",", DS_ATTN_CLAUSE},
	{"':", DS_ATTN_CLAUSE},
	{";", DS_ATTN_CLAUSE},
	{"),", DS_ATTN_CLAUSE},
	{",000", DS_ATTN_NO_BOUNDARY},
	{"\u3002", DS_ATTN_SENTENCE},
	{"\u4e86\u3002\u300d", DS_ATTN_SENTENCE},
	{"\uff01", DS_ATTN_SENTENCE},
	{"\uff0c", DS_ATTN_CLAUSE},
	{"\u3001", DS_ATTN_CLAUSE},
	{"\u4e86", DS_ATTN_NO_BOUNDARY},
	{" \"", DS_ATTN_NO_BOUNDARY},
	{"\x82", DS_ATTN_NO_BOUNDARY},
	{"\xe3\x80", DS_ATTN_NO_BOUNDARY},
};

START_TEST(test_bytes)
{
	ck_assert_int_eq(ds_boundary_of(cases[_i].text, strlen(cases[_i].text)), cases[_i].want);
}
END_TEST

START_TEST(test_vocabulary)
{
	struct ds_tokenizer *tok;
	uint8_t *boundaries;
	struct ds_err err;
	uint32_t n, dot;

	ck_assert_msg(ds_tokenizer_open(&tok, "tests/data/tiny-bpe.gguf", &err) == DS_OK, "%s",
		      err.message);
	n = ds_tokenizer_size(tok);
	/* models may have more rows than the vocabulary has tokens */
	ck_assert_int_eq(ds_boundaries_of(tok, n + 7, &boundaries, &err), DS_OK);
	dot = ds_tokenizer_find(tok, ".", 1);
	ck_assert_uint_lt(dot, n);
	ck_assert_uint_eq(boundaries[dot], DS_ATTN_SENTENCE);
	ck_assert_uint_eq(boundaries[ds_tokenizer_find(tok, "\n", 1)], DS_ATTN_PARAGRAPH);
	ck_assert_uint_eq(boundaries[n + 6], DS_ATTN_NO_BOUNDARY);
	free(boundaries);
	ds_tokenizer_close(tok);
}
END_TEST

START_TEST(test_out_of_memory)
{
	struct ds_tokenizer *tok;
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	ck_assert_int_eq(ds_tokenizer_open(&tok, "tests/data/tiny-bpe.gguf", &err), DS_OK);
	for (size_t n = 0; st != DS_OK; n++) {
		uint8_t *boundaries = NULL;

		ds_alloc_fail_after(n);
		st = ds_boundaries_of(tok, ds_tokenizer_size(tok), &boundaries, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 20 && !boundaries));
		free(boundaries);
	}
	ds_tokenizer_close(tok);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_boundary");
	TCase *tc = tcase_create("tokens");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_bytes, 0, (int)(sizeof cases / sizeof *cases));
	tcase_add_test(tc, test_vocabulary);
	tcase_add_test(tc, test_out_of_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
