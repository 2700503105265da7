/* test_archive_code.c - blocks coded and decoded by every coder, with dictionaries and without */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/code.h"

#define OK(expr) ck_assert_msg((expr) == DS_OK, "%s", err.message)

enum { N_DICTIONARY = 6000, N_BLOCK = 3000, THREADS = 2 };
static uint8_t dictionary[2][N_DICTIONARY], block[N_BLOCK], back[N_DICTIONARY + 16];

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 8) % n;
}

/* Lines with numbers, to which Zstandard finds little; the block is like dictionary 0. */
static void fill(uint8_t *text, size_t n, int fruit, unsigned from)
{
	char buf[80];

	for (size_t i = 0, len; i < n; i += len, from += 7) {
		if (fruit)
			snprintf(buf, sizeof buf, "%u apples and %u pears; ", from, from * 13);
		else
			snprintf(buf, sizeof buf, "line %u of the file, and %u is what it tells\n",
				 from, from * 13);
		len = strlen(buf) < n - i ? strlen(buf) : n - i;
		memcpy(text + i, buf, len);
	}
}

static void make_texts(void)
{
	fill(dictionary[0], N_DICTIONARY, 0, 1000);
	fill(dictionary[1], N_DICTIONARY, 1, 1);
	fill(block, N_BLOCK, 0, 4003);
}

static int has_dictionary; /* the encoder that was made last */

static struct ds_block_encoder *encoder(int strong, int with_dictionary, struct ds_block_code *d)
{
	const struct ds_block_encoder_options o = {
		.level = 19, .threads = THREADS, .strong = strong};
	struct ds_block_encoder *e;
	struct ds_err err;

	OK(ds_block_encoder_new(&e, &o, &err));
	has_dictionary = with_dictionary;
	if (!with_dictionary)
		return e;
	*d = (struct ds_block_code){.bytes = dictionary[0], .n = N_DICTIONARY, .alone = 1};
	OK(ds_block_encoder_dictionary(e, dictionary[0], N_DICTIONARY, &err));
	OK(ds_block_encode(e, 1, d, &err));
	return e;
}

static struct ds_coded coded(const struct ds_block_code *b)
{
	struct ds_coded c = {
		.coder = b->coder,
		.code = b->coder == DS_CODER_STORED ? b->bytes : b->code.data,
		.stored = b->coder == DS_CODER_STORED ? b->n : b->code.len,
		.raw = b->n,
		.alone = b->alone,
	};

	if (has_dictionary && ds_coder_needs_dictionary(b->coder)) {
		c.dictionary = dictionary[0];
		c.dictionary_bytes = N_DICTIONARY;
	}
	c.dictionary_number = b->alone || c.dictionary ? 1 : 0;
	if (ds_coder_needs_references(b->coder)) {
		c.references = b->references;
		c.reference_bytes = b->reference_bytes;
	}
	return c;
}

static void ck_back(struct ds_block_decoder *d, const struct ds_block_code *b)
{
	struct ds_coded c = coded(b);
	struct ds_err err = {0};

	memset(back, 0xAA, sizeof back);
	OK(ds_block_decode(d, &c, back, &err));
	ck_assert_mem_eq(back, b->bytes, b->n);
	ck_assert_uint_eq(back[b->n], 0xAA);
}

START_TEST(test_every_coder)
{
	static const enum ds_coder wanted[2][2] = {
		{DS_CODER_ZSTD, DS_CODER_ZSTD_DICTIONARY},
		{DS_CODER_STRONG, DS_CODER_STRONG_DICTIONARY},
	};
	size_t length[2][2];
	struct ds_block_decoder *d;
	struct ds_err err;

	OK(ds_block_decoder_new(&d, &err));
	for (int strong = 0; strong < 2; strong++)
		for (int with = 0; with < 2; with++) {
			struct ds_block_code dict = {0}, b = {.bytes = block, .n = N_BLOCK};
			struct ds_block_encoder *e = encoder(strong, with, &dict);

			OK(ds_block_encode(e, 0, &b, &err));
			ck_assert_int_eq(b.coder, wanted[strong][with]);
			ck_back(d, &b);
			if (with) {
				ck_assert_int_eq(dict.coder, wanted[strong][0]);
				ck_back(d, &dict);
				ck_back(d, &b);
			}
			length[strong][with] = b.code.len;
			ds_buf_fini(&dict.code);
			ds_buf_fini(&b.code);
			ds_block_encoder_free(e);
		}
	ck_assert_uint_lt(length[1][0], length[0][0]);
	ck_assert_uint_lt(length[1][1], length[0][1]);
	ck_assert_uint_lt(length[1][1], length[1][0] * 3 / 4);
	ds_block_decoder_free(d);
}
END_TEST

/* Blocks with references stand between others that do not know these. */
START_TEST(test_references)
{
	struct ds_block_decoder *d;
	struct ds_err err;

	fill(dictionary[1], N_DICTIONARY, 0, 3000);
	OK(ds_block_decoder_new(&d, &err));
	for (int with = 0; with < 2; with++) {
		struct ds_block_code dict = {0}, b[3] = {{0}};
		struct ds_block_encoder *e = encoder(1, with, &dict);

		for (int i = 0; i < 3; i++) {
			b[i] = (struct ds_block_code){.bytes = block, .n = N_BLOCK};
			if (i == 1) {
				b[i].references = dictionary[1];
				b[i].reference_bytes = N_DICTIONARY;
			}
			OK(ds_block_encode(e, 0, &b[i], &err));
		}
		ck_assert_int_eq(b[1].coder, DS_CODER_STRONG_REFERENCES);
		ck_assert_uint_lt(b[1].code.len, b[0].code.len);
		ck_assert_uint_eq(b[2].code.len, b[0].code.len);
		ck_assert_mem_eq(b[2].code.data, b[0].code.data, b[0].code.len);
		if (with)
			ck_back(d, &dict);
		for (int i = 5; i-- > 0;)
			ck_back(d, &b[i % 3]);
		for (int i = 0; i < 3; i++)
			ds_buf_fini(&b[i].code);
		ds_buf_fini(&dict.code);
		ds_block_encoder_free(e);
	}
	ds_block_decoder_free(d);
}
END_TEST

/* What strong does not make smaller is left to the others. */
START_TEST(test_left_alone)
{
	static uint8_t zeros[1 << 20], noise[1000];
	struct ds_block_encoder *e = encoder(1, 0, NULL);
	struct ds_block_code b = {.bytes = noise, .n = sizeof noise};
	struct ds_err err;

	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)draw(256);
	OK(ds_block_encode(e, 0, &b, &err));
	ck_assert_int_eq(b.coder, DS_CODER_STORED);
	b.bytes = zeros;
	b.n = sizeof zeros;
	OK(ds_block_encode(e, 0, &b, &err));
	ck_assert_int_eq(b.coder, DS_CODER_ZSTD);
	b.n = 0;
	OK(ds_block_encode(e, 0, &b, &err));
	ck_assert_int_eq(b.coder, DS_CODER_STORED);
	ds_buf_fini(&b.code);
	ds_block_encoder_free(e);
}
END_TEST

/* The same code from every thread and after any block; a reader may go from one dictionary to
 * another. */
START_TEST(test_dictionaries_change)
{
	struct ds_block_code dict,
		b[2] = {{.bytes = block, .n = N_BLOCK}, {.bytes = block, .n = N_BLOCK}};
	struct ds_block_encoder *e = encoder(1, 1, &dict);
	struct ds_block_decoder *d;
	struct ds_coded other;
	struct ds_err err;

	OK(ds_block_encode(e, 0, &b[1], &err));
	OK(ds_block_encode(e, 0, &b[0], &err));
	OK(ds_block_encode(e, 1, &b[1], &err));
	ck_assert_uint_eq(b[0].code.len, b[1].code.len);
	ck_assert_mem_eq(b[0].code.data, b[1].code.data, b[0].code.len);

	OK(ds_block_decoder_new(&d, &err));
	ck_back(d, &dict);
	other = coded(&b[0]);
	other.dictionary = dictionary[1];
	other.dictionary_number = 2;
	if (ds_block_decode(d, &other, back, &err) == DS_OK)
		ck_assert_int_ne(memcmp(back, block, N_BLOCK), 0);
	ck_back(d, &b[0]);
	ck_back(d, &b[1]);
	other.dictionary = NULL;
	ck_assert_int_eq(ds_block_decode(d, &other, back, &err), DS_EFORMAT);
	ds_block_decoder_free(d);

	/* without its dictionary an encoder forgets it */
	OK(ds_block_encoder_dictionary(e, NULL, 0, &err));
	OK(ds_block_encode(e, 0, &b[0], &err));
	ck_assert_int_eq(b[0].coder, DS_CODER_STRONG);
	ds_block_encoder_free(e);
	for (int i = 0; i < 2; i++)
		ds_buf_fini(&b[i].code);
	ds_buf_fini(&dict.code);
}
END_TEST

START_TEST(test_damage)
{
	struct ds_block_code dict, b = {.bytes = block, .n = N_BLOCK};
	struct ds_block_encoder *e = encoder(1, 1, &dict);
	const struct ds_block_code *both[] = {&dict, &b};
	struct ds_block_decoder *d;
	struct ds_err err;

	OK(ds_block_encode(e, 0, &b, &err));
	OK(ds_block_decoder_new(&d, &err));
	for (int k = 0; k < 2; k++) {
		struct ds_coded c = coded(both[k]);
		size_t stored = c.stored;

		ck_assert_int_ge(c.coder, DS_CODER_STRONG);
		c.raw = 1024 * stored + 1;
		ck_assert_int_eq(ds_block_decode(d, &c, back, &err), DS_ELIMIT);
		c.raw = both[k]->n;
		for (c.stored = stored / 4; c.stored < stored - 8; c.stored += stored / 4) {
			ck_assert_int_eq(ds_block_decode(d, &c, back, &err), DS_ETRUNCATED);
			ck_assert_str_eq(err.message, "the code ends before its text does");
		}
		for (int i = 0; i < 10; i++) {
			uint8_t *p = both[k]->code.data + draw((uint32_t)stored), old = *p;
			struct ds_coded bad = coded(both[k]);

			*p ^= (uint8_t)(1 << draw(8));
			memset(back, 0xAA, sizeof back);
			if (ds_block_decode(d, &bad, back, &err) == DS_OK)
				ck_assert_int_ne(memcmp(back, both[k]->bytes, both[k]->n), 0);
			ck_assert_uint_eq(back[both[k]->n], 0xAA);
			*p = old;
		}
	}
	ck_back(d, &b);
	ck_back(d, &dict);
	ds_block_decoder_free(d);
	ds_block_encoder_free(e);
	ds_buf_fini(&b.code);
	ds_buf_fini(&dict.code);
}
END_TEST

static enum ds_status whole_way(struct ds_err *err)
{
	const struct ds_block_encoder_options o = {.level = 1, .threads = THREADS, .strong = 1};
	struct ds_block_code dict = {.bytes = dictionary[0], .n = N_DICTIONARY, .alone = 1};
	struct ds_block_code b = {.bytes = block, .n = N_BLOCK};
	struct ds_block_encoder *e = NULL;
	struct ds_block_decoder *d = NULL;
	struct ds_coded c;
	enum ds_status st = ds_block_encoder_new(&e, &o, err);

	if (st == DS_OK)
		st = ds_block_encoder_dictionary(e, dict.bytes, dict.n, err);
	if (st == DS_OK)
		st = ds_block_encode(e, 0, &dict, err);
	if (st == DS_OK)
		st = ds_block_encode(e, 1, &b, err);
	if (st == DS_OK)
		st = ds_block_decoder_new(&d, err);
	has_dictionary = 1;
	if (st == DS_OK) {
		c = coded(&b);
		st = ds_block_decode(d, &c, back, err);
	}
	ds_buf_fini(&dict.code);
	ds_buf_fini(&b.code);
	ds_block_encoder_free(e);
	ds_block_decoder_free(d);
	return st;
}

START_TEST(test_memory_runs_out)
{
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;
	size_t n;

	for (n = 0; n < 200 && st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = whole_way(&err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_uint_gt(n, 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_code");
	TCase *code = tcase_create("code");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(code, make_texts, NULL);
	tcase_set_timeout(code, 60);
	tcase_add_test(code, test_every_coder);
	tcase_add_test(code, test_references);
	tcase_add_test(code, test_left_alone);
	tcase_add_test(code, test_dictionaries_change);
	tcase_add_test(code, test_damage);
	tcase_add_test(code, test_memory_runs_out);
	suite_add_tcase(suite, code);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
