/* test_token_door.c - token.h over the tiny vocabularies: spans, affixes, special tokens, errors */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/normal.h"
#include "token/stream.h"
#include "token/token.h"

static const char *const paths[] = {
	"tests/data/tiny-bpe.gguf",	  "tests/data/tiny-bpe.json",
	"tests/data/tiny-spm.gguf",	  "tests/data/tiny-spm.json",
	"tests/data/tiny-wordpiece.gguf", "tests/data/tiny-wordpiece.json",
};
#define PATHS (int)(sizeof paths / sizeof paths[0])

struct fixture {
	struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	struct ds_tokens t;
};

static struct fixture open_path(const char *path)
{
	struct fixture f = {0};
	struct ds_err err;

	ck_assert_msg(ds_tokenizer_open(&f.tok, path, &err) == DS_OK, "%s: %s", path, err.message);
	ck_assert(ds_encoder_new(&f.enc, f.tok, &err) == DS_OK);
	return f;
}

static void close_all(struct fixture *f)
{
	ds_tokens_fini(&f->t);
	ds_encoder_free(f->enc);
	ds_tokenizer_close(f->tok);
}

static void encode(struct fixture *f, const char *text, unsigned flags)
{
	struct ds_err err;

	f->t.n = 0;
	ck_assert(ds_encode(f->enc, text, strlen(text), flags, &f->t, &err) == DS_OK);
}

START_TEST(words)
{
	/* text, ends of the tokens */
	static const struct {
		const char *text;
		uint64_t end[6];
	} cases[] = {
		{"the dog", {3, 7}},
		{"  the\n dog ", {5, 11}},
		{"The DOG", {3, 7}},
		{"th\xCC\x81"
		 "e",
		 {5}}, /* an accent inside */
		{"\x01the\x02 dog", {5, 9}},
		{"the\xFF dog", {4, 8}},
		{"\xE4\xBD\xA0\xE5\xA5\xBD", {3, 6}},
		{"the.dog", {3, 4, 7}},
	};
	struct fixture f = open_path(paths[_i]);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t n = 0;

		encode(&f, cases[i].text, 0);
		while (n < 6 && cases[i].end[n])
			n++;
		ck_assert_msg(f.t.n == n, "case %zu: %zu tokens", i, f.t.n);
		for (size_t k = 0; k < n; k++)
			ck_assert_uint_eq(f.t.end[k], cases[i].end[k]);
	}
	encode(&f, " \n ", 0);
	ck_assert_uint_eq(f.t.n, 0);
	close_all(&f);
}
END_TEST

START_TEST(affixes)
{
	struct fixture f = open_path(paths[_i]);
	struct ds_affix affix;
	size_t count;

	ds_tokenizer_affix(f.tok, &affix);
	ck_assert_uint_gt(affix.n_prefix, 0);
	encode(&f, "", DS_ENCODE_AFFIX);
	ck_assert_uint_eq(f.t.n, affix.n_prefix + affix.n_suffix);
	encode(&f, "the dog ", DS_ENCODE_AFFIX);
	ck_assert_uint_eq(f.t.id[0], affix.prefix[0]);
	ck_assert_uint_eq(f.t.end[0], 0);
	ck_assert_uint_eq(f.t.end[f.t.n - 1], 8);
	ck_assert(ds_encode_count(f.enc, "the dog ", 8, DS_ENCODE_AFFIX, &count, NULL) == DS_OK);
	ck_assert_uint_eq(count, f.t.n);
	ck_assert_uint_eq(ds_encoder_cut(f.enc, "", 0), 0);
	ck_assert(strstr(ds_tokenizer_describe(f.tok), "tokens") != NULL);
	close_all(&f);
}
END_TEST

START_TEST(specials)
{
	static const char *const spelled[] = {"<|end|>", "</s>", "[SEP]"};
	struct fixture f = open_path(paths[_i]);
	const char *special = spelled[_i / 2];
	uint32_t id = ds_tokenizer_find(f.tok, special, strlen(special));
	struct ds_buf buf = {0};
	char text[64];

	ck_assert_uint_ne(id, DS_NO_TOKEN);
	snprintf(text, sizeof text, "the%sdog", special);
	encode(&f, text, 0);
	for (size_t i = 0; i < f.t.n; i++)
		ck_assert_uint_ne(f.t.id[i], id);
	encode(&f, text, DS_ENCODE_SPECIAL);
	size_t at = 0;
	while (at < f.t.n && f.t.id[at] != id)
		at++;
	ck_assert_uint_lt(at, f.t.n);
	ck_assert_uint_eq(f.t.end[at], 3 + strlen(special));
	ck_assert(ds_decode(f.tok, &id, 1, 0, &buf, NULL) == DS_OK && buf.len == 0);
	ck_assert(ds_decode(f.tok, &id, 1, DS_ENCODE_SPECIAL, &buf, NULL) == DS_OK);
	ck_assert(buf.len == strlen(special) && memcmp(buf.data, special, buf.len) == 0);
	id = ds_tokenizer_size(f.tok);
	ck_assert(ds_decode(f.tok, &id, 1, 0, &buf, NULL) == DS_EINVAL);
	ds_buf_fini(&buf);
	close_all(&f);
}
END_TEST

START_TEST(no_memory)
{
	struct ds_tokenizer *tok = NULL;
	struct ds_encoder *enc = NULL;
	struct ds_tokens t = {0};
	struct ds_err err;
	enum ds_status st;
	size_t n = 0;

	do {
		ds_alloc_fail_after(n++);
		st = ds_tokenizer_open(&tok, paths[_i], &err);
		if (st != DS_OK)
			continue;
		st = ds_encoder_new(&enc, tok, &err);
		if (st == DS_OK) {
			st = ds_encode(enc, "the e\xCC\x81 dog  12 \xFF", 17, 0, &t, &err);
			ds_encoder_free(enc);
		}
		ds_tokens_fini(&t);
		ds_tokenizer_close(tok);
	} while (st == DS_ENOMEM);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert(st == DS_OK);
	ck_assert_uint_gt(n, 5);
}
END_TEST

START_TEST(normal_forms)
{
	/* as Unicode 9.0 has it; ends of the original bytes for each end of the normalised ones */
	static const struct {
		enum ds_norm_kind kind;
		const char *in, *out;
		uint64_t end[2], origin[2];
	} cases[] = {
		{DS_NORM_NFC, "ae\xCC\x81z", "a\xC3\xA9z", {3, 4}, {4, 5}},
		{DS_NORM_NFC, "s\xCC\x87\xCC\xA3", "\xE1\xB9\xA9", {3, 3}, {5, 5}},
		{DS_NORM_NFC, "\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80", {3, 3}, {6, 6}},
		{DS_NORM_NFC, "x\xFF\xCC\x81", "x\xFF\xCC\x81", {1, 4}, {1, 4}},
		{DS_NORM_NFD, "a\xC3\xA9", "ae\xCC\x81", {1, 4}, {1, 3}},
		{DS_NORM_NFKC, "\xEF\xAC\x81x", "fix", {2, 3}, {3, 4}},
		{DS_NORM_LOWER, "\xC3\x84\xC4\xB0", "\xC3\xA4i\xCC\x87", {2, 5}, {2, 4}},
		{DS_NORM_ACCENTS, "e\xCC\x81x", "ex", {1, 2}, {1, 4}},
	};
	struct ds_normed normed = {0};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ds_norm norm = {.step = {{.kind = cases[i].kind}}, .n = 1};
		struct ds_part text = {cases[i].in, strlen(cases[i].in)};
		uint64_t end[2] = {cases[i].end[0], cases[i].end[1]};

		ck_assert(ds_norm_run(&norm, &text, DS_TEXT_START, &normed, NULL) == DS_OK);
		ck_assert_msg(normed.len == strlen(cases[i].out) &&
				      memcmp(normed.text, cases[i].out, normed.len) == 0,
			      "case %zu: %.*s", i, (int)normed.len, (const char *)normed.text);
		ds_norm_ends(&normed, end, 2, 0);
		for (int k = 0; k < 2; k++)
			ck_assert_msg(end[k] == cases[i].origin[k], "case %zu: end %d is %llu", i,
				      k, (unsigned long long)end[k]);
	}
	ds_normed_fini(&normed);
}
END_TEST

struct taken {
	struct ds_tokens t;
	uint64_t bytes;
	int first, last;
};

static enum ds_status take(void *user, const struct ds_token_piece *piece, struct ds_err *err)
{
	struct taken *taken = user;
	struct ds_tokens *t = &taken->t;

	(void)err;
	ck_assert_uint_eq(piece->start, taken->bytes);
	taken->first += piece->first;
	taken->last += piece->last;
	ck_assert(ds_grow(&t->id, &t->cap_id, t->n + piece->n, sizeof *t->id, NULL) == DS_OK);
	ck_assert(ds_grow(&t->end, &t->cap_end, t->n + piece->n, sizeof *t->end, NULL) == DS_OK);
	for (size_t i = 0; i < piece->n; i++) {
		t->id[t->n] = piece->id[i];
		t->end[t->n++] = taken->bytes + piece->end[i];
	}
	taken->bytes += piece->len;
	return DS_OK;
}

/* A document in pieces has the tokens of the whole. */
START_TEST(streams)
{
	struct fixture f = open_path(paths[_i]);
	struct taken taken = {0};
	struct ds_pool *pool;
	struct ds_token_stream *s;
	struct ds_token_stream_options o = {
		.tok = f.tok, .flags = DS_ENCODE_AFFIX, .take = take, .user = &taken};
	size_t n = (size_t)5 << 20, at = 0, step = 1;
	char *text = malloc(n);

	ck_assert_ptr_nonnull(text);
	for (size_t i = 0; i < n; i++)
		text[i] = "the quick brown fox, <tool> 12\n"[i % 31];
	ck_assert(ds_pool_new(&pool, 3, NULL) == DS_OK);
	o.pool = pool;
	ck_assert(ds_token_stream_new(&s, &o, NULL) == DS_OK);
	while (at < n) {
		uint8_t *room;
		size_t cap, k = n - at < step ? n - at : step;

		ck_assert(ds_token_stream_room(s, &room, &cap, NULL) == DS_OK);
		if (k > cap)
			k = cap;
		memcpy(room, text + at, k);
		ck_assert(ds_token_stream_push(s, k, at + k == n, NULL) == DS_OK);
		at += k;
		step = step * 3 % 100003;
	}
	ck_assert(ds_encode(f.enc, text, n, DS_ENCODE_AFFIX, &f.t, NULL) == DS_OK);
	ck_assert_uint_eq(taken.t.n, f.t.n);
	ck_assert(memcmp(taken.t.id, f.t.id, f.t.n * sizeof *f.t.id) == 0);
	ck_assert(memcmp(taken.t.end, f.t.end, f.t.n * sizeof *f.t.end) == 0);
	ck_assert(taken.bytes == n && taken.first == 1 && taken.last == 1);
	ds_token_stream_free(s);
	ds_pool_free(pool);
	ds_tokens_fini(&taken.t);
	free(text);
	close_all(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("token_door");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, words, 4, 6);
	tcase_add_loop_test(tcase, affixes, 0, PATHS);
	tcase_add_loop_test(tcase, specials, 0, PATHS);
	tcase_add_loop_test(tcase, no_memory, 0, PATHS);
	tcase_add_test(tcase, normal_forms);
	tcase_add_loop_test(tcase, streams, 0, PATHS);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
