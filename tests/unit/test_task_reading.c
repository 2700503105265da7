/*
 * test_task_reading.c - texts on their way to a model: tokens of what is still coming, openings of
 * turns, digests of what is too long, layers left out; and memory that runs out in each of them
 *
 * The model is one of scripts/gen-model, made for the run.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/digest.h"
#include "task/feed.h"
#include "task/skip.h"

static char folder[] = "/tmp/ds-reading.XXXXXX";
static struct ds_model *model;

static struct ds_part part(const char *text)
{
	return (struct ds_part){text, strlen(text)};
}

/* Sentences, numbers, white space; some bytes that are no UTF-8. */
static void make_text(char *text, size_t n)
{
	static const char *const words[] = {
		"the cat ", "sat. ",  "on 12,345 mats\n", "  ",	       "\xC3\xA9t\xC3\xA9 ",
		"'s ",	    "a\tb",   "\xE4\xB8",	  "What?\n\n", "zq",
		"\xFF",	    "and so "};
	uint64_t state = 7;
	size_t len = 0;

	while (len < n) {
		const char *word;
		size_t k;

		state = state * 6364136223846793005u + 1442695040888963407u;
		word = words[(state >> 33) % (sizeof words / sizeof *words)];
		k = strlen(word) < n - len ? strlen(word) : n - len;
		memcpy(text + len, word, k);
		len += k;
	}
}

static const char *const vocabularies[] = {"tests/data/tiny-bpe.gguf", "tests/data/tiny-spm.gguf"};
#define N_VOCABULARY ((int)(sizeof vocabularies / sizeof *vocabularies))

struct fixture {
	struct ds_tokenizer *tok;
	struct ds_encoder *enc;
};

static void open_fixture(struct fixture *f, const char *path)
{
	ck_assert_int_eq(ds_tokenizer_open(&f->tok, path, NULL), DS_OK);
	ck_assert_int_eq(ds_encoder_new(&f->enc, f->tok, NULL), DS_OK);
}

static void close_fixture(struct fixture *f)
{
	ds_encoder_free(f->enc);
	ds_tokenizer_close(f->tok);
}

/* What is known is the beginning of what there will be. */
static void check_beginning(const struct ds_tokens *some, const struct ds_tokens *all)
{
	ck_assert_uint_le(some->n, all->n);
	if (some->n)
		ck_assert_mem_eq(some->id, all->id, some->n * sizeof *some->id);
}

/* --- feed ---------------------------------------------------------------------------------- */

#define TEXT_BYTES 30000
static char text[TEXT_BYTES];

/* All of the text by pieces; every third time what is there is asked for. */
static enum ds_status feed_pieces(struct ds_feed *f, size_t piece, struct ds_tokens *tokens,
				  struct ds_err *err)
{
	for (size_t at = 0, i = 0; at < TEXT_BYTES; at += piece, i++) {
		size_t n = TEXT_BYTES - at < piece ? TEXT_BYTES - at : piece;

		DS_TRY(ds_feed_push(f, text + at, n, err));
		DS_TRY(ds_feed_take(f, i % 5, i % 3 == 0, tokens, err));
	}
	return DS_OK;
}

START_TEST(test_feed)
{
	static const size_t pieces[] = {1, 17, 1000, 5000, TEXT_BYTES};
	struct ds_tokens want = {0};
	struct ds_feed f = {0};
	struct fixture x;

	open_fixture(&x, vocabularies[_i]);
	ck_assert_int_eq(ds_encode(x.enc, text, TEXT_BYTES, 0, &want, NULL), DS_OK);
	f.enc = x.enc;
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct ds_tokens got = {0};

		ck_assert_int_eq(feed_pieces(&f, pieces[i], &got, NULL), DS_OK);
		check_beginning(&got, &want);
		ck_assert_uint_gt(got.n, want.n / 2);
		ck_assert_int_eq(ds_feed_end(&f, &got, NULL), DS_OK);
		ck_assert_uint_eq(got.n, want.n);
		check_beginning(&got, &want);
		ck_assert_mem_eq(got.end, want.end, want.n * sizeof *want.end);
		ds_tokens_fini(&got);
		/* what is forgotten is not in the next text */
		ck_assert_int_eq(ds_feed_push(&f, "forgotten", 9, NULL), DS_OK);
		ds_feed_reset(&f);
	}
	ds_feed_fini(&f);
	ds_tokens_fini(&want);
	close_fixture(&x);
}
END_TEST

START_TEST(test_feed_out_of_memory)
{
	enum ds_status st = DS_ENOMEM;
	struct fixture x;
	struct ds_err err;

	open_fixture(&x, vocabularies[_i]);
	for (size_t n = 0; st != DS_OK; n++) {
		struct ds_feed f = {.enc = x.enc};
		struct ds_tokens got = {0};

		ds_alloc_fail_after(n);
		st = feed_pieces(&f, 1000, &got, &err);
		if (st == DS_OK)
			st = ds_feed_end(&f, &got, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 200));
		ds_feed_fini(&f);
		ds_tokens_fini(&got);
	}
	close_fixture(&x);
}
END_TEST

/* --- openings of turns --------------------------------------------------------------------- */

static const char *const templates[] = {"", "chatml", "llama3", "gemma", "mistral-v7", "zephyr"};
#define N_TEMPLATE ((int)(sizeof templates / sizeof *templates))

/* A turn whose text comes byte by byte, and then a prompt. */
static enum ds_status open_turn(const struct fixture *x, const struct ds_chat *chat,
				const char *document, struct ds_tokens *tokens, struct ds_err *err)
{
	const struct ds_turn turn = {.text = {{NULL, 0}, part("Say more.")}, .n_text = 2};
	struct ds_chat_opening opening = {.tok = x->tok, .enc = x->enc};
	struct ds_chat_parts parts = {0};
	enum ds_status st = ds_chat_render(chat, &turn, &parts, err);

	if (st == DS_OK)
		st = ds_chat_open(&opening, chat, &parts, tokens, err);
	for (size_t i = 0; st == DS_OK && document[i] && opening.active; i++)
		st = ds_chat_more(&opening, document + i, 1, i % 7 == 0, tokens, err);
	ds_chat_opening_fini(&opening);
	ds_chat_parts_fini(&parts);
	return st;
}

static struct ds_chat find_chat(const char *name)
{
	struct ds_chat chat = {0};

	if (*name)
		ck_assert_int_eq(ds_chat_find(&chat, name, NULL, 0, NULL), DS_OK);
	return chat;
}

START_TEST(test_opening)
{
	static const char *const documents[] = {"  the cat sat. On the mat, and so on and on",
						"one", "", " \n ",
						"a \xC3\xA9 12,345 b. What?\n\n"};
	const struct ds_chat chat = find_chat(templates[_i]);
	size_t known = 0;

	for (size_t v = 0; v < N_VOCABULARY; v++) {
		struct fixture x;

		open_fixture(&x, vocabularies[v]);
		for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
			const struct ds_turn turn = {
				.text = {part(documents[i]), part("Say more.")}, .n_text = 2};
			struct ds_chat_parts parts = {0};
			struct ds_tokens some = {0}, all = {0};

			ck_assert_int_eq(open_turn(&x, &chat, documents[i], &some, NULL), DS_OK);
			ck_assert_int_eq(ds_chat_render(&chat, &turn, &parts, NULL), DS_OK);
			ck_assert_int_eq(ds_chat_encode(&chat, &parts, x.tok, x.enc, &all, NULL),
					 DS_OK);
			check_beginning(&some, &all);
			known += some.n;
			ds_tokens_fini(&some);
			ds_tokens_fini(&all);
			ds_chat_parts_fini(&parts);
		}
		close_fixture(&x);
	}
	ck_assert_uint_gt(known, 20);
}
END_TEST

START_TEST(test_opening_out_of_memory)
{
	const struct ds_chat chat = find_chat(templates[_i]);
	enum ds_status st = DS_ENOMEM;
	struct fixture x;
	struct ds_err err;

	open_fixture(&x, vocabularies[0]);
	for (size_t n = 0; st != DS_OK; n++) {
		struct ds_tokens tokens = {0};

		ds_alloc_fail_after(n);
		st = open_turn(&x, &chat, "the cat sat on the mat", &tokens, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 200));
		ds_tokens_fini(&tokens);
	}
	close_fixture(&x);
}
END_TEST

/* --- digests ------------------------------------------------------------------------------- */

static const struct ds_reader_options reading = {.context = 256};
#define ROOM 80

static enum ds_status open_digest(struct ds_digest **d, struct ds_reader *r, size_t room,
				  struct ds_err *err)
{
	struct ds_digest_options o = {.room = room,
				      .generation = {.sampling = ds_sampling_default, .n_max = 12}};
	enum ds_status st;

	o.generation.sampling.temperature = 0;
	DS_TRY(ds_reader_open(r, model, NULL, &reading, err));
	st = ds_digest_new(d, r, &o, err);
	if (st != DS_OK)
		ds_reader_close(r);
	return st;
}

static enum ds_status digest(struct ds_digest *d, size_t n, size_t piece, struct ds_part *made,
			     struct ds_digest_totals *totals, struct ds_err *err)
{
	for (size_t at = 0; at < n; at += piece)
		DS_TRY(ds_digest_push(d, text + at, n - at < piece ? n - at : piece, err));
	return ds_digest_end(d, made, totals, err);
}

START_TEST(test_digest)
{
	struct ds_digest_totals totals;
	struct ds_digest *d;
	struct ds_reader r;
	struct ds_buf first = {0};
	struct ds_part made;
	size_t n_token;

	ck_assert_int_eq(open_digest(&d, &r, ROOM, NULL), DS_OK);
	ck_assert_int_eq(digest(d, 40, 9, &made, &totals, NULL), DS_OK);
	ck_assert_uint_eq(totals.chunks, 1);
	ck_assert_uint_eq(totals.summaries, 0);
	ck_assert_uint_eq(made.len, 40);
	ck_assert_mem_eq(made.bytes, text, 40);
	for (size_t piece = 3000; piece; piece /= 60) {
		ck_assert_int_eq(ds_digest_reset(d, NULL), DS_OK);
		ck_assert_int_eq(digest(d, 3000, piece, &made, &totals, NULL), DS_OK);
		ck_assert_uint_gt(totals.chunks, 10);
		ck_assert_uint_gt(totals.summaries, totals.chunks);
		ck_assert_int_eq(ds_encode_count(r.enc, made.bytes, made.len, 0, &n_token, NULL),
				 DS_OK);
		ck_assert_uint_le(n_token, ROOM);
		if (piece == 3000)
			ck_assert_int_eq(ds_buf_append(&first, made.bytes, made.len, NULL), DS_OK);
		ck_assert_uint_eq(made.len, first.len);
		ck_assert_mem_eq(made.bytes, first.data, first.len);
	}
	ds_buf_fini(&first);
	ds_digest_free(d);
	ds_reader_close(&r);
	ck_assert_int_eq(open_digest(&d, &r, DS_DIGEST_ROOM_MIN - 1, NULL), DS_ELIMIT);
}
END_TEST

/* The room, the prompt and the answer fit into the context. */
START_TEST(test_room)
{
	const struct ds_part prompt = part("What does it say?");
	struct ds_reader r;
	size_t room, less;

	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &reading, NULL), DS_OK);
	ck_assert_int_eq(ds_digest_room(&r, NULL, &prompt, 20, &room, NULL), DS_OK);
	ck_assert(room > 0 && room < 236);
	ck_assert_int_eq(ds_digest_room(&r, NULL, &prompt, 30, &less, NULL), DS_OK);
	ck_assert_uint_eq(less, room - 10);
	ck_assert_int_eq(ds_digest_room(&r, NULL, &prompt, 256, &less, NULL), DS_OK);
	ck_assert_uint_eq(less, 0);
	ds_reader_close(&r);
}
END_TEST

/* --- layers left out ----------------------------------------------------------------------- */

START_TEST(test_skip)
{
	const struct ds_part sample = {text, 700}, little = {"a", 1};
	uint32_t n_layer = ds_model_layers(model), skip[8] = {0};
	struct ds_skip_cost cost, none;
	struct ds_reader r;
	struct ds_err err;
	size_t n;

	ck_assert(n_layer >= 3 && n_layer <= 8);
	ck_assert_int_eq(ds_reader_open(&r, model, NULL, &reading, NULL), DS_OK);
	ck_assert_int_eq(ds_skip_choose(&r, &sample, n_layer - 1, skip, &n, &err), DS_EUNSUPPORTED);
	ck_assert_int_eq(ds_skip_choose(&r, &sample, n_layer - 2, skip, &n, &err), DS_OK);
	ck_assert_uint_eq(n, n_layer - 2);
	for (uint32_t i = 0; i < n; i++)
		ck_assert_uint_eq(skip[i], i + 1); /* all but the first and the last */
	ck_assert_int_eq(ds_skip_measure(&r, &sample, skip, n, &cost, &err), DS_OK);
	ck_assert_int_eq(ds_skip_measure(&r, &sample, skip, 0, &none, &err), DS_OK);
	ck_assert_uint_gt(cost.tokens, 100);
	ck_assert(none.perplexity == none.perplexity_whole);
	ck_assert(cost.perplexity_whole == none.perplexity_whole);
	ck_assert(cost.perplexity != cost.perplexity_whole);
	ck_assert_int_eq(ds_skip_choose(&r, &(struct ds_part){"", 0}, 1, skip, &n, &err), DS_OK);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(ds_skip_choose(&r, &little, 1, skip, &n, &err), DS_OK);
	ds_reader_close(&r);
}
END_TEST

/* --- memory -------------------------------------------------------------------------------- */

static enum ds_status try_digest(struct ds_err *err)
{
	struct ds_digest_totals totals;
	struct ds_digest *d;
	struct ds_part made;
	struct ds_reader r;
	enum ds_status st;

	DS_TRY(open_digest(&d, &r, ROOM, err));
	st = digest(d, 600, 100, &made, &totals, err);
	if (st == DS_OK)
		st = ds_digest_reset(d, err);
	ds_digest_free(d);
	ds_reader_close(&r);
	return st;
}

static enum ds_status try_skip(struct ds_err *err)
{
	const struct ds_part sample = {text, 100};
	struct ds_skip_cost cost;
	struct ds_reader r;
	enum ds_status st;
	uint32_t skip[8];
	size_t n;

	DS_TRY(ds_reader_open(&r, model, NULL, &reading, err));
	st = ds_skip_choose(&r, &sample, 1, skip, &n, err);
	if (st == DS_OK)
		st = ds_skip_measure(&r, &sample, skip, n, &cost, err);
	ds_reader_close(&r);
	return st;
}

/* A failure leaves a digest that can be begun anew. */
static enum ds_status try_again(struct ds_err *err)
{
	struct ds_digest_totals totals;
	struct ds_digest *d;
	struct ds_part made;
	struct ds_reader r;
	enum ds_status st;

	DS_TRY(open_digest(&d, &r, ROOM, err));
	st = digest(d, 300, 300, &made, &totals, err);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(ds_digest_reset(d, NULL), DS_OK);
	ck_assert_int_eq(digest(d, 40, 40, &made, &totals, NULL), DS_OK);
	ck_assert_uint_eq(totals.chunks, 1);
	ck_assert_mem_eq(made.bytes, text, 40);
	ds_digest_free(d);
	ds_reader_close(&r);
	return st;
}

static enum ds_status (*const tasks[])(struct ds_err *err) = {try_digest, try_skip, try_again};

START_TEST(test_out_of_memory)
{
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;

	for (size_t n = 0; st != DS_OK; n += 1 + n / 40) {
		ds_alloc_fail_after(n);
		st = tasks[_i](&err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ck_assert_uint_lt(n, 20000);
	}
}
END_TEST

static int make_model(void)
{
	char command[200], path[100];
	struct ds_err err;

	snprintf(command, sizeof command, "scripts/gen-model --lm %s llama-q8_0", mkdtemp(folder));
	if (system(command) != 0)
		return -1;
	snprintf(path, sizeof path, "%s/llama-q8_0.gguf", folder);
	return ds_model_open(&model, path, &err) == DS_OK ? 0 : -1;
}

int main(void)
{
	Suite *suite = suite_create("task_reading");
	TCase *tc = tcase_create("reading");
	SRunner *runner;
	char command[100];
	int failed = 1;

	make_text(text, TEXT_BYTES);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_feed, 0, N_VOCABULARY);
	tcase_add_loop_test(tc, test_feed_out_of_memory, 0, N_VOCABULARY);
	tcase_add_loop_test(tc, test_opening, 0, N_TEMPLATE);
	tcase_add_loop_test(tc, test_opening_out_of_memory, 0, N_TEMPLATE);
	tcase_add_test(tc, test_digest);
	tcase_add_test(tc, test_room);
	tcase_add_test(tc, test_skip);
	tcase_add_loop_test(tc, test_out_of_memory, 0, sizeof tasks / sizeof *tasks);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	if (make_model() == 0) {
		srunner_run_all(runner, CK_NORMAL);
		failed = srunner_ntests_failed(runner);
	}
	srunner_free(runner);
	ds_model_close(model);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command) != 0 || failed != 0;
}
