/* test_chunk_limits.c - limits, overlap and spans hold for any text, however it is pushed */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chunk/chunk.h"

static const char *const vocabularies[] = {"tests/data/tiny-wordpiece.gguf",
					   "tests/data/tiny-bpe.gguf", "tests/data/tiny-spm.gguf"};
static struct ds_tokenizer *tok;

static void open_vocabulary(const char *path)
{
	struct ds_err err;

	ck_assert_msg(ds_tokenizer_open(&tok, path, &err) == DS_OK, "%s", err.message);
}

/* What does not depend on the vocabulary is tested with the built-in one. */
static void setup(void)
{
	open_vocabulary("share/ds-static.gguf");
}

static void teardown(void)
{
	ds_tokenizer_close(tok);
}

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

/* Text of all kinds; kind chooses the mixture. */
static void make_text(struct ds_buf *buf, size_t n, unsigned kind)
{
	static const char *const piece[] = {
		"the ",
		"document ",
		"Is. ",
		"It ",
		"Dr. ",
		"wrote",
		"!\n",
		"\n\n",
		"\r\n",
		"# Title\n",
		"```\ncode = 1;\nmore()\n```\n",
		"1.2 ",
		"你好。",
		"世界",
		"é",
		"🎉🎉",
		"   ",
		"\t",
		"\xff\xfe",
		"\xe4\xbd",
		"a",
		"Title\n=====\n",
		"- item\n",
		"word. Next ",
		"\0",
		"unbrokenunbrokenunbroken",
		"слово ",
		"Ещё. ",
		"नमस्ते ",
		"שלום ",
		"한국어 ",
		"e\xcc\x81 ",
		" \xcc\x81",
	};
	size_t n_pieces = sizeof piece / sizeof *piece;

	while (buf->len < n) {
		const char *p = kind == 0   ? piece[draw((uint32_t)n_pieces)]
				: kind == 1 ? piece[draw(8)]
				: kind == 2 ? "a"
				: kind == 3 ? " "
				: kind == 4 ? piece[12 + draw(4)]
				: kind == 5 ? piece[18 + draw(2)]
					    : "\n";

		if (ds_buf_append(buf, p, *p ? strlen(p) : 1, NULL))
			ck_abort_msg("no memory");
	}
}

/* FNV-1a over the fields and the text of every chunk: what another way of pushing must give. */
static void mix(uint64_t *hash, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*hash = (*hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

struct check {
	const struct ds_chunk_options *options;
	const struct ds_buf *text;
	struct ds_encoder *enc;
	uint64_t covered, index, hash, last_start;
};

static size_t alone(const struct check *k, uint64_t start, uint64_t end, unsigned flags)
{
	size_t n = 0;

	if (ds_encode_count(k->enc, k->text->data + start, (size_t)(end - start), flags, &n, NULL))
		ck_abort_msg("cannot count");
	return n;
}

static int inside_character(const struct ds_buf *text, uint64_t pos)
{
	for (unsigned back = 1; back <= 3 && back <= pos; back++) {
		uint32_t cp;
		const uint8_t *p = text->data + pos - back;

		if (ds_utf8_decode(p, text->data + text->len, &cp) > back)
			return 1;
	}
	return 0;
}

/* As ck_assert(), which writes to a file each time it holds, but quick. */
#define HOLDS(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg(#condition);                                                  \
	} while (0)

static void check_chunk(struct check *k, const struct ds_chunk_frame *c)
{
	HOLDS(c->index == k->index);
	HOLDS(c->start + c->overlap_bytes == k->covered);
	HOLDS(c->end > k->covered);
	HOLDS(c->index == 0 || c->start > k->last_start);
	HOLDS(c->end <= k->text->len);
	HOLDS(memcmp(c->text, k->text->data + c->start, (size_t)(c->end - c->start)) == 0);
	HOLDS(c->tokens == alone(k, c->start, c->end, k->options->encode_flags));
	HOLDS(c->tokens <= k->options->size_tokens);
	HOLDS(c->overlap_tokens == alone(k, c->start, k->covered, 0));
	HOLDS(c->overlap_tokens <= k->options->overlap_tokens);
	HOLDS(!inside_character(k->text, c->start));
	HOLDS(!inside_character(k->text, c->end));
	HOLDS((c->boundary == DS_CUT_END) == (c->end == k->text->len));
	mix(&k->hash, &c->start, sizeof c->start);
	mix(&k->hash, &c->end, sizeof c->end);
	mix(&k->hash, &c->boundary, sizeof c->boundary);
	k->covered = c->end;
	k->last_start = c->start;
	k->index++;
}

/* All chunks of text, pushed in pieces of at most push bytes (0: of random size). */
static uint64_t chunk_all(struct ds_chunker *c, const struct ds_chunk_options *options,
			  const struct ds_buf *text, size_t push)
{
	struct check k = {.options = options, .text = text, .hash = 14695981039346656037u};
	struct ds_chunk_frame f;
	struct ds_err err;
	enum ds_status st;
	size_t at = 0;

	ck_assert_int_eq(ds_encoder_new(&k.enc, tok, &err), DS_OK);
	do {
		size_t n = push ? push : draw(3) ? draw(100) : draw(5000);

		n = n < text->len - at ? n : text->len - at;
		st = ds_chunker_push(c, text->data + at, n, at + n == text->len, &err);
		at += n;
		while (st == DS_OK && (st = ds_chunker_next(c, &f, &err)) == DS_OK)
			check_chunk(&k, &f);
		if (st != DS_END) /* asserts that hold are slow: one write each */
			ck_abort_msg("%s", err.message);
	} while (at < text->len);
	ck_assert_uint_eq(k.covered, text->len);
	ds_encoder_free(k.enc);
	return k.hash;
}

/* A vector from the letters of a text: enough to tell one topic from another. */
static enum ds_status fake_embed(void *user, const struct ds_part *texts, size_t n, float *out,
				 struct ds_err *err)
{
	(void)user;
	(void)err;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = texts[i].bytes;

		memset(out + i * 8, 0, 8 * sizeof *out);
		for (size_t j = 0; j < texts[i].len; j++)
			out[i * 8 + p[j] % 8] += 1;
	}
	return DS_OK;
}

static const struct {
	uint32_t size, overlap;
	unsigned flags;
} limits[] = {{512, 64, 0}, {64, 16, DS_ENCODE_AFFIX}, {40, 0, 0}, {24, 20, 0}, {100, 50, 0}};

START_TEST(test_any_text)
{
	unsigned kind = (unsigned)_i % 7, boundary = (unsigned)_i / 7 % 5;

	open_vocabulary(vocabularies[_i / 35]);
	seed = (uint32_t)_i + 1;
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct ds_chunk_options options = {.size_tokens = limits[i].size,
						   .overlap_tokens = limits[i].overlap,
						   .boundary = (enum ds_boundary)boundary,
						   .encode_flags = limits[i].flags,
						   .embed = fake_embed,
						   .embed_dims = 8};
		struct ds_buf text = {0};
		struct ds_chunker *c;
		uint64_t whole;

		make_text(&text, 1 + draw(30000), kind);
		ck_assert_int_eq(ds_chunker_new(&c, tok, &options, NULL), DS_OK);
		whole = chunk_all(c, &options, &text, text.len);
		ck_assert_uint_eq(chunk_all(c, &options, &text, 0), whole);
		ck_assert_uint_eq(chunk_all(c, &options, &text, 1), whole);
		ck_assert_uint_eq(chunk_all(c, &options, &text, 4096), whole);
		ds_chunker_free(c);
		ds_buf_fini(&text);
	}
}
END_TEST

START_TEST(test_empty)
{
	struct ds_chunk_options options = {.size_tokens = 16};
	struct ds_chunk_frame f;
	struct ds_chunker *c;

	ck_assert_int_eq(ds_chunker_new(&c, tok, &options, NULL), DS_OK);
	ck_assert_int_eq(ds_chunker_next(c, &f, NULL), DS_END);
	ck_assert_int_eq(ds_chunker_push(c, NULL, 0, 1, NULL), DS_OK);
	ck_assert_int_eq(ds_chunker_next(c, &f, NULL), DS_END);
	ck_assert_int_eq(ds_chunker_push(c, "one", 3, 1, NULL), DS_OK);
	ck_assert_int_eq(ds_chunker_next(c, &f, NULL), DS_OK);
	ck_assert_uint_eq(f.index, 0);
	ck_assert_uint_eq(f.end, 3);
	ck_assert_int_eq(ds_chunker_next(c, &f, NULL), DS_END);
	ds_chunker_free(c);
}
END_TEST

START_TEST(test_options)
{
	static const struct ds_chunk_options bad[] = {
		{.size_tokens = 0},
		{.size_tokens = DS_CHUNK_TOKENS_MAX + 1},
		{.size_tokens = 8, .overlap_tokens = 8},
		{.size_tokens = 8, .overlap_tokens = 7, .encode_flags = DS_ENCODE_AFFIX},
		{.size_tokens = 8, .boundary = DS_BOUNDARY_SEMANTIC},
	};
	struct ds_chunker *c;
	struct ds_err err;

	ck_assert_int_eq(ds_chunker_new(&c, tok, &bad[_i], &err), DS_EINVAL);
	ck_assert_ptr_null(c);
}
END_TEST

/* A character of several tokens cannot be chunked under a limit below them. */
START_TEST(test_character_over_limit)
{
	struct ds_chunk_options options = {.size_tokens = 2, .boundary = DS_BOUNDARY_NONE};
	static const char text[] = "a 🎉";
	struct ds_chunk_frame f;
	struct ds_chunker *c;
	struct ds_err err;

	ck_assert_int_eq(ds_chunker_new(&c, tok, &options, &err), DS_OK);
	ck_assert_int_eq(ds_chunker_push(c, text, strlen(text), 1, &err), DS_OK);
	ck_assert_int_eq(ds_chunker_next(c, &f, &err), DS_OK);
	ck_assert_uint_eq(f.end, 2);
	ck_assert_int_eq(ds_chunker_next(c, &f, &err), DS_ELIMIT);
	ck_assert_uint_eq(err.offset, 2);
	ck_assert_str_eq(err.message, "one character has 3 tokens, over the limit of 2");
	ds_chunker_free(c);
}
END_TEST

static void setup_bytes(void)
{
	open_vocabulary("tests/data/tiny-bpe.gguf");
}

START_TEST(test_allocation_failures)
{
	struct ds_chunk_options options = {.size_tokens = 64,
					   .overlap_tokens = 8,
					   .boundary = DS_BOUNDARY_SEMANTIC,
					   .embed = fake_embed,
					   .embed_dims = 8};
	struct ds_buf text = {0};
	enum ds_status st = DS_ENOMEM;

	seed = 7;
	make_text(&text, 20000, 1);
	for (size_t fail = 0; st == DS_ENOMEM; fail++) {
		struct ds_chunker *c;
		struct ds_chunk_frame f;

		ds_alloc_fail_after(fail);
		st = ds_chunker_new(&c, tok, &options, NULL);
		if (st == DS_OK)
			st = ds_chunker_push(c, text.data, text.len, 1, NULL);
		while (st == DS_OK)
			st = ds_chunker_next(c, &f, NULL);
		ds_alloc_fail_after(SIZE_MAX);
		ds_chunker_free(c);
	}
	ck_assert_int_eq(st, DS_END);
	ds_buf_fini(&text);
}
END_TEST

/* Chunks of text under one boundary, their ends and kinds as "end:kind ". */
static void expect_ends(const char *text, const struct ds_chunk_options *options,
			const char *expected)
{
	struct ds_chunk_frame f;
	struct ds_chunker *c;
	char found[512] = "";
	size_t n = 0;

	ck_assert_int_eq(ds_chunker_new(&c, tok, options, NULL), DS_OK);
	ck_assert_int_eq(ds_chunker_push(c, text, strlen(text), 1, NULL), DS_OK);
	while (ds_chunker_next(c, &f, NULL) == DS_OK)
		n += (size_t)snprintf(found + n, sizeof found - n, "%llu:%d ",
				      (unsigned long long)f.end, f.boundary);
	ck_assert_str_eq(found, expected);
	ds_chunker_free(c);
}

START_TEST(test_heading)
{
	struct ds_chunk_options options = {
		.size_tokens = 100, .overlap_tokens = 20, .boundary = DS_BOUNDARY_HEADING};

	expect_ends("# A\n\none.\n\n# B\n\ntwo. three.\n\nTitle\n-----\nfour.\n", &options,
		    "11:6 29:6 47:8 ");
}
END_TEST

START_TEST(test_fence)
{
	struct ds_chunk_options options = {.size_tokens = 46};
	char text[400] = "Some words here. And more.\n\n```\n";
	char expected[64];

	for (int i = 0; i < 9; i++)
		strcat(text, "a b c d\n");
	strcat(text, "```\n");
	snprintf(expected, sizeof expected, "28:5 %zu:8 ", strlen(text));
	expect_ends(text, &options, expected);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("chunk_limits");
	TCase *any = tcase_create("any text"), *tc = tcase_create("limits"),
	      *bytes = tcase_create("bytes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(any, NULL, teardown);
	tcase_add_loop_test(any, test_any_text, 0, 3 * 35);
	tcase_set_timeout(any, 300);
	suite_add_tcase(suite, any);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_empty);
	tcase_add_loop_test(tc, test_options, 0, 5);
	tcase_add_test(tc, test_allocation_failures);
	tcase_add_test(tc, test_heading);
	tcase_add_test(tc, test_fence);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(bytes, setup_bytes, teardown);
	tcase_add_test(bytes, test_character_over_limit);
	suite_add_tcase(suite, bytes);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
