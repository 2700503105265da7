/*
 * test_token_bpe.c - byte-level BPE against BPE as it is defined, on made-up vocabularies
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../small_bpe.h"
#include "base/mem.h"
#include "token/bpe_encode.h"

#define TEXT_MAX 700

struct fixture {
	struct small_bpe *small;
	struct ds_bpe *bpe;
	const struct ds_pretok *none;
	struct ds_bpe_encoder *enc;
};

static struct fixture fixture_new(int kind, uint64_t seed)
{
	struct fixture f = {.small = small_new(kind, seed)};
	struct ds_bpe_source source;

	small_source(f.small, &source);
	ck_assert_int_eq(ds_bpe_build(&f.bpe, &source, NULL), DS_OK);
	ck_assert_int_eq(ds_pretok_open(&f.none, NULL, 0, NULL), DS_OK);
	ck_assert_int_eq(ds_bpe_encoder_new(&f.enc, f.bpe, f.none, NULL), DS_OK);
	return f;
}

static void fixture_free(struct fixture *f)
{
	ds_bpe_encoder_free(f->enc);
	ds_bpe_free(f->bpe);
	small_free(f->small);
}

static void tokens_free(struct ds_tokens *tokens)
{
	free(tokens->id);
	free(tokens->end);
}

/* Text that ends where its memory ends, so that reading beyond is seen. */
static uint8_t *exact_copy(const uint8_t *text, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	memcpy(copy, text, n);
	return copy;
}

static void same_as_naive(struct fixture *f, const uint8_t *text, size_t n)
{
	uint32_t want[TEXT_MAX];
	size_t n_want = small_encode(f->small, text, n, want), at = 0, count = 0, i;
	struct ds_tokens got = {0};

	ck_assert_int_eq(ds_bpe_encode(f->enc, text, n, 7, &got, NULL), DS_OK);
	ck_assert_int_eq(ds_bpe_count(f->enc, text, n, &count, NULL), DS_OK);
	for (i = 0; i < n_want; i++) {
		if (want[i] == DS_NO_TOKEN) /* dropped */
			continue;
		ck_assert_uint_lt(at, got.n);
		ck_assert_uint_eq(got.id[at], want[i]);
		at++;
	}
	ck_assert_uint_eq(got.n, at);
	ck_assert_uint_eq(count, at);
	if (at)
		ck_assert_uint_eq(got.end[at - 1], 7 + n);
	if (f->small->kind != SMALL_CHARS) {
		uint64_t start = 7;

		for (i = 0; i < got.n; start = got.end[i++]) {
			struct ds_str bytes = ds_bpe_token(f->bpe, got.id[i]);

			ck_assert_uint_eq(got.end[i] - start, bytes.len);
			ck_assert_mem_eq(bytes.s, text + start - 7, bytes.len);
		}
	}
	tokens_free(&got);
}

/* Every path: short and long pieces, before and after the order is made, cached and not. */
START_TEST(encodes_as_defined)
{
	int kind = _i % SMALL_KINDS;
	struct fixture f = fixture_new(kind, (uint64_t)_i);
	uint8_t text[TEXT_MAX];

	for (int i = 0; i < 240; i++) {
		size_t cap = i % 3 == 0 ? 12 : i % 3 == 1 ? 45 : 200;
		size_t n = small_text(f.small, text, 1 + small_random(f.small, (uint32_t)cap));
		uint8_t *copy = exact_copy(text, n);

		same_as_naive(&f, copy, n);
		free(copy);
		if (i == 150)
			ck_assert_int_eq(ds_bpe_order_get(&(const struct ds_bpe_order *){0}, f.bpe,
							  NULL), DS_OK);
	}
	fixture_free(&f);
}
END_TEST

static void seams_between_tokens(const struct fixture *f, const struct ds_bpe_order *order,
				 const uint8_t *text, size_t n, const uint32_t *want)
{
	size_t seam = 0, end = 0;

	while (seam < n) {
		struct ds_stretch rest = {text + seam, n - seam, text + n};

		seam += ds_bpe_seam(order, rest);
		while (end < seam)
			end += f->small->len[*want++];
		ck_assert_uint_eq(end, seam);
	}
}

/* The three ways of encoding a stretch, one by one. */
START_TEST(ways_agree)
{
	struct fixture f = fixture_new(_i % 3, 1000 + (uint64_t)_i);
	struct ds_bpe_scratch scratch = {0};
	const struct ds_bpe_order *order;
	uint8_t text[TEXT_MAX];
	uint32_t want[TEXT_MAX];

	scratch.validity = calloc((size_t)1 << DS_VALIDITY_BITS, sizeof *scratch.validity);
	ck_assert_int_eq(ds_bpe_order_get(&order, f.bpe, NULL), DS_OK);
	if (_i % 3 == SMALL_TRAINED)
		ck_assert(order->proper);
	for (int i = 0; i < 200; i++) {
		size_t n = small_text(f.small, text, i % 2 ? 40 : DS_BPE_SHORT), n_want, n_got = 0;
		struct ds_stretch stretch = {text, n, text + sizeof text};

		if (!n)
			continue;
		n_want = small_encode(f.small, text, n, want);
		ds_bpe_merge_heap(f.bpe, &scratch, stretch, 0, &n_got, NULL);
		ck_assert_uint_eq(n_got, n_want);
		ck_assert_mem_eq(scratch.id, want, n_want * 4);
		ds_bpe_merge_short(f.bpe, &scratch, stretch, 0, &n_got, NULL);
		ck_assert_uint_eq(n_got, n_want);
		ck_assert_mem_eq(scratch.id, want, n_want * 4);
		if (!order->proper)
			continue;
		ds_bpe_search(f.bpe, &scratch, stretch, 0, &n_got, NULL);
		ck_assert_uint_eq(n_got, n_want);
		ck_assert_mem_eq(scratch.id, want, n_want * 4);
		ds_bpe_windows(f.bpe, &scratch, stretch, 0, &n_got, NULL);
		ck_assert_uint_eq(n_got, n_want);
		ck_assert_mem_eq(scratch.id, want, n_want * 4);
		seams_between_tokens(&f, order, text, n, want);
	}
	free(scratch.id);
	free(scratch.dead);
	free(scratch.heap);
	free(scratch.link);
	free(scratch.validity);
	fixture_free(&f);
}
END_TEST

START_TEST(runs_of_one_symbol)
{
	struct fixture f = fixture_new(_i % 3, 2000 + (uint64_t)_i);
	uint8_t text[TEXT_MAX];

	for (size_t n = 1; n < 150; n++) {
		memset(text, "a \n-\xFF"[_i % 5], n);
		same_as_naive(&f, text, n);
	}
	fixture_free(&f);
}
END_TEST

START_TEST(cut_and_join)
{
	static const char *const names[] = {"gpt-2", "llama-bpe", "qwen2", "qwen35", "smollm",
					    "deepseek-v3", "deepseek-llm", "deepseek-coder",
					    "falcon", "default", "gemma4"};
	const char *name = names[_i % (int)(sizeof names / sizeof *names)];
	struct fixture f = fixture_new(SMALL_TRAINED, 3000 + (uint64_t)_i);
	const struct ds_pretok *pre;
	struct ds_bpe_encoder *enc;
	uint8_t text[TEXT_MAX];
	unsigned cuts = 0;

	ck_assert_int_eq(ds_pretok_named(&pre, name, strlen(name), NULL), DS_OK);
	ck_assert_int_eq(ds_bpe_encoder_new(&enc, f.bpe, pre, NULL), DS_OK);
	for (int i = 0; i < 600; i++) {
		size_t n = small_text(f.small, text, 60), more = small_random(f.small, 30);
		size_t seen = n > more ? n - more : n, p = ds_pretok_cut(pre, text, seen);
		struct ds_tokens whole = {0}, parts = {0};

		ck_assert_uint_le(p, seen);
		cuts += p > 0;
		ck_assert_int_eq(ds_bpe_encode(enc, text, n, 0, &whole, NULL), DS_OK);
		ck_assert_int_eq(ds_bpe_encode(enc, text, p, 0, &parts, NULL), DS_OK);
		ck_assert_int_eq(ds_bpe_encode(enc, text + p, n - p, p, &parts, NULL), DS_OK);
		ck_assert_uint_eq(whole.n, parts.n);
		for (size_t k = 0; k < whole.n; k++) {
			ck_assert_uint_eq(whole.id[k], parts.id[k]);
			ck_assert_uint_eq(whole.end[k], parts.end[k]);
		}
		tokens_free(&whole);
		tokens_free(&parts);
	}
	ck_assert_uint_gt(cuts, 0);
	ds_bpe_encoder_free(enc);
	fixture_free(&f);
}
END_TEST

/* Whole pretokens that are tokens win when the vocabulary says so, in the cache or not. */
START_TEST(ignore_merges)
{
	static const struct ds_str none[] = {{"xyz", 3}, {"a", 1}, {"x", 1}, {"y", 1}, {"z", 1},
					     {"xyzxyzxyzxyzxyzxyz", 18}};
	const uint32_t type_ordinary[6] = {1, 1, 1, 1, 1, 1}, type_added[6] = {3, 1, 1, 1, 1, 3};
	struct ds_bpe_source source = {.token = {6, none, NULL}, .unk = DS_NO_TOKEN,
				       .flags = DS_BPE_BYTE_ENCODED | DS_BPE_IGNORE_MERGES};
	const struct ds_pretok *pre;
	const struct ds_bpe_order *order;

	ck_assert_int_eq(ds_pretok_named(&pre, "llama-bpe", 9, NULL), DS_OK);
	for (int added = 0; added < 2; added++) {
		struct ds_bpe_encoder *enc;
		struct ds_bpe *bpe;
		uint8_t long_text[60];

		memset(long_text, 'a', sizeof long_text);
		source.type = (const uint8_t *)(added ? type_added : type_ordinary);
		ck_assert_int_eq(ds_bpe_build(&bpe, &source, NULL), DS_OK);
		ck_assert_int_eq(ds_bpe_encoder_new(&enc, bpe, pre, NULL), DS_OK);
		for (int pass = 0; pass < 4; pass++) {
			struct ds_tokens t = {0};

			ds_bpe_encode(enc, "xyz", 3, 0, &t, NULL);
			ck_assert_uint_eq(t.n, added ? 3 : 1);
			t.n = 0;
			ds_bpe_encode(enc, "xyzxyzxyzxyzxyzxyz", 18, 0, &t, NULL);
			ck_assert_uint_eq(t.n, added ? 18 : 1);
			t.n = 0;
			ds_bpe_encode(enc, "xyza", 4, 0, &t, NULL);
			ck_assert_uint_eq(t.n, 4);
			if (pass == 1) /* makes the order */
				ds_bpe_encode(enc, long_text, sizeof long_text, 0, &t, NULL);
			tokens_free(&t);
		}
		ck_assert_int_eq(ds_bpe_order_get(&order, bpe, NULL), DS_OK);
		ds_bpe_encoder_free(enc);
		ds_bpe_free(bpe);
	}
}
END_TEST

START_TEST(fallbacks)
{
	static const struct ds_str strings[] = {{"a", 1}, {"<0xC3>", 6}, {"<0xA9>", 6}, {"?", 1},
						{"\xE2\x96\x81", 3}, {"<0x0A>", 6}, {"aa", 2}};
	static const struct ds_str merges[] = {{"a a", 3}};
	struct ds_bpe_source source = {.token = {7, strings, NULL}, .merge = {1, merges, NULL},
				       .unk = 3};
	const char text[] = "aa\xC3\xA9\n\xE2\x96\x81z\xE2\x82\xAC\x80";
	const uint32_t ids[] = {6, 1, 2, 5, 4, 3, 3, 3};
	const uint64_t ends[] = {2, 3, 4, 5, 8, 9, 12, 13};
	struct ds_bpe_encoder *enc;
	struct ds_bpe *bpe;
	const struct ds_pretok *none;
	struct ds_tokens t = {0};

	ds_pretok_open(&none, NULL, 0, NULL);
	ck_assert_int_eq(ds_bpe_build(&bpe, &source, NULL), DS_OK);
	ck_assert_int_eq(ds_bpe_encoder_new(&enc, bpe, none, NULL), DS_OK);
	ck_assert_int_eq(ds_bpe_encode(enc, text, sizeof text - 1, 0, &t, NULL), DS_OK);
	ck_assert_uint_eq(t.n, 8);
	ck_assert_mem_eq(t.id, ids, sizeof ids);
	ck_assert_mem_eq(t.end, ends, sizeof ends);
	tokens_free(&t);
	ds_bpe_encoder_free(enc);
	ds_bpe_free(bpe);
}
END_TEST

static const struct {
	struct ds_str token[3], merge[2];
	unsigned flags;
	const char *message;
} bad_sources[] = {
	{{{"a", 1}, {"b", 1}, {"ab", 2}}, {{"ab", 2}}, 0, "is not two tokens"},
	{{{"a", 1}, {"b", 1}, {"ab", 2}}, {{"a c", 3}}, 0, "result is not in the vocabulary"},
	{{{"a", 1}, {"bx", 2}, {"ab", 2}}, {{"a b", 3}}, 0, "right token is not"},
	{{{"x", 1}, {"b", 1}, {"ab", 2}}, {{"a b", 3}}, 0, "left token is not"},
	{{{"a", 1}, {"b", 1}, {"ab", 2}}, {{"a \xE4\xB8\xAD", 5}}, 0, "byte alphabet"},
	{{{"a", 1}, {"b", 1}, {"ab", 2}}, {{"a", 1}, {"", 0}}, DS_BPE_MERGE_PAIRS, "right token"},
};

START_TEST(bad_source)
{
	struct ds_bpe_source source = {.token = {3, bad_sources[_i].token, NULL},
				       .unk = DS_NO_TOKEN,
				       .flags = DS_BPE_BYTE_ENCODED | bad_sources[_i].flags};
	struct ds_err err = {0};
	struct ds_bpe *bpe;

	source.merge.n = bad_sources[_i].flags ? 2 : 1;
	source.merge.str = bad_sources[_i].merge;
	ck_assert_int_eq(ds_bpe_build(&bpe, &source, &err), DS_EFORMAT);
	ck_assert_ptr_null(bpe);
	ck_assert_ptr_nonnull(strstr(err.message, bad_sources[_i].message));
}
END_TEST

/* The same vocabulary packed as GGUF packs it. */
START_TEST(packed_is_the_same)
{
	struct small_bpe *small = small_new(SMALL_TRAINED, 5);
	struct ds_bpe_source source;
	struct ds_bpe *a, *b;
	struct ds_buf tokens = {0}, merges = {0};

	small_source(small, &source);
	ck_assert_int_eq(ds_bpe_build(&a, &source, NULL), DS_OK);
	for (uint32_t i = 0; i < small->n; i++) {
		uint64_t len = small->token[i].len;

		ds_buf_append(&tokens, &len, 8, NULL);
		ds_buf_append(&tokens, small->token[i].s, len, NULL);
	}
	for (uint32_t k = 0; k < small->n_merges; k++) {
		struct ds_str l = small->merge[2 * k], r = small->merge[2 * k + 1];
		uint64_t len = l.len + 1 + r.len;

		ds_buf_append(&merges, &len, 8, NULL);
		ds_buf_append(&merges, l.s, l.len, NULL);
		ds_buf_append(&merges, " ", 1, NULL);
		ds_buf_append(&merges, r.s, r.len, NULL);
	}
	source.token.str = NULL;
	source.token.packed = tokens.data;
	source.merge = (struct ds_bpe_strings){small->n_merges, NULL, merges.data};
	source.flags &= ~(unsigned)DS_BPE_MERGE_PAIRS;
	ck_assert_int_eq(ds_bpe_build(&b, &source, NULL), DS_OK);
	ck_assert_uint_eq(ds_bpe_hash(a), ds_bpe_hash(b));
	for (uint32_t i = 0; i < small->n; i++)
		ck_assert_uint_eq(ds_bpe_find(b, small->bytes[i], small->len[i]), i);
	ck_assert_uint_eq(ds_bpe_find(b, "\1\2\3", 3), DS_NO_TOKEN);
	ck_assert_uint_eq(ds_bpe_find(b, "", 0), DS_NO_TOKEN);
	ck_assert_uint_eq(ds_bpe_token(b, small->n).len, 0);
	ds_buf_fini(&tokens);
	ds_buf_fini(&merges);
	ds_bpe_free(a);
	ds_bpe_free(b);
	small_free(small);
}
END_TEST

START_TEST(out_of_memory)
{
	struct small_bpe *small = small_new(SMALL_TRAINED, 6);
	struct ds_bpe_source source;
	uint8_t text[TEXT_MAX];
	size_t n = small_text(small, text, 300);
	const struct ds_pretok *pre;
	const struct ds_str pattern = {"[a-z]+", 6};
	bool done = false;

	small_source(small, &source);
	for (size_t fail = 0; !done && fail < 100; fail++) {
		struct ds_bpe *bpe = NULL;
		struct ds_bpe_encoder *enc = NULL;
		struct ds_tokens tokens = {0};
		enum ds_status status;

		ds_alloc_fail_after(fail);
		pre = NULL;
		status = ds_bpe_build(&bpe, &source, NULL);
		if (!status)
			status = ds_pretok_open(&pre, &pattern, 1, NULL);
		if (!status)
			status = ds_bpe_encoder_new(&enc, bpe, pre, NULL);
		if (!status)
			status = ds_bpe_encode(enc, text, n, 0, &tokens, NULL);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(status == DS_OK || status == DS_ENOMEM);
		done = status == DS_OK;
		tokens_free(&tokens);
		ds_bpe_encoder_free(enc);
		ds_pretok_close(pre);
		ds_bpe_free(bpe);
	}
	ck_assert(done);
	small_free(small);
}
END_TEST

static void *encode_alone(void *arg)
{
	struct fixture *f = arg;
	struct ds_bpe_encoder *enc;
	struct ds_tokens tokens = {0};
	uint8_t text[TEXT_MAX];
	struct small_bpe own = *f->small; /* for its own random numbers */

	ds_bpe_encoder_new(&enc, f->bpe, f->none, NULL);
	for (int i = 0; i < 200; i++) {
		size_t n = small_text(&own, text, 400);

		tokens.n = 0;
		ds_bpe_encode(enc, text, n, 0, &tokens, NULL);
	}
	ds_bpe_encoder_free(enc);
	free(tokens.end);
	return tokens.id;
}

START_TEST(encoders_share_nothing)
{
	struct fixture f = fixture_new(SMALL_TRAINED, 8);
	pthread_t thread[4];
	void *ids[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, encode_alone, &f), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], &ids[i]);
	for (int i = 0; i < 4; i++) {
		ck_assert_mem_eq(ids[0], ids[i], 16);
		if (i)
			free(ids[i]);
	}
	free(ids[0]);
	fixture_free(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("token");
	TCase *t = tcase_create("bpe");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, encodes_as_defined, 0, 8);
	tcase_add_loop_test(t, ways_agree, 0, 6);
	tcase_add_loop_test(t, runs_of_one_symbol, 0, 5);
	tcase_add_loop_test(t, cut_and_join, 0, 11);
	tcase_add_test(t, ignore_merges);
	tcase_add_test(t, fallbacks);
	tcase_add_loop_test(t, bad_source, 0, sizeof bad_sources / sizeof *bad_sources);
	tcase_add_test(t, packed_is_the_same);
	tcase_add_test(t, out_of_memory);
	tcase_add_test(t, encoders_share_nothing);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
