/* reader.c - a session that knows its tokens */
#include "task/reader.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Tokens that are worth a pass while more are coming. */
#define AHEAD_MIN 16
/* What ends a prompt is taken for its question, in whole pages. */
#define QUESTION_TOKENS 256
#define PAGE 64

double ds_reader_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static enum ds_status new_session(const struct ds_reader *r, const uint32_t *skip, size_t n_skip,
				  struct ds_session **session_ret, struct ds_err *err)
{
	struct ds_session_options o = {.context = r->options.context,
				       .batch = r->options.batch,
				       .skip = skip,
				       .n_skip = n_skip,
				       .attn = r->options.attn,
				       .n_attn = r->options.n_attn,
				       .carry = r->options.carry};

	return ds_session_new(session_ret, r->model, r->pool, &o, err);
}

enum ds_status ds_reader_skip(struct ds_reader *r, const uint32_t *skip, size_t n,
			      struct ds_err *err)
{
	struct ds_session *session;

	DS_TRY(new_session(r, skip, n, &session, err));
	ds_session_free(r->session);
	r->session = session;
	r->n_held = 0;
	return DS_OK;
}

static enum ds_status open_parts(struct ds_reader *r, struct ds_err *err)
{
	const char *text;
	size_t n = 0;

	DS_TRY(new_session(r, r->options.skip, r->options.n_skip, &r->session, err));
	r->tok = ds_model_tokenizer(r->model);
	r->vocab = ds_model_vocab(r->model);
	r->context = ds_session_context(r->session);
	if (!r->options.raw) {
		text = ds_model_chat_template(r->model, &n);
		DS_TRY(ds_chat_find(&r->chat, r->options.chat, text, n, err));
	}
	DS_TRY(ds_encoder_new(&r->enc, r->tok, err));
	r->logits = ds_alloc(r->vocab, sizeof *r->logits);
	if (!r->logits)
		return ds_fail_nomem(err, r->vocab * sizeof *r->logits);
	return ds_grow(&r->held, &r->cap_held, r->context, sizeof *r->held, err);
}

enum ds_status ds_reader_open(struct ds_reader *r, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_reader_options *options,
			      struct ds_err *err)
{
	enum ds_status st;

	*r = (struct ds_reader){.options = *options, .model = model, .pool = pool};
	st = open_parts(r, err);
	if (st != DS_OK)
		ds_reader_close(r);
	return st;
}

void ds_reader_close(struct ds_reader *r)
{
	ds_session_free(r->session);
	ds_encoder_free(r->enc);
	ds_chat_opening_fini(&r->opening);
	ds_chat_parts_fini(&r->parts);
	ds_tokens_fini(&r->prompt);
	free(r->held);
	free(r->logits);
	*r = (struct ds_reader){0};
}

enum ds_status ds_reader_turn(struct ds_reader *r, const struct ds_turn *turn, struct ds_err *err)
{
	r->prompt.n = 0;
	DS_TRY(ds_chat_render(&r->chat, turn, &r->parts, err));
	return ds_chat_encode(&r->chat, &r->parts, r->tok, r->enc, &r->prompt, err);
}

void ds_reader_truncate(struct ds_reader *r, size_t n)
{
	if (n < r->n_held)
		r->n_held = ds_session_truncate(r->session, n);
}

/* Whether so many tokens may be read. */
static bool fits(const struct ds_reader *r, size_t n)
{
	return n <= r->context || ds_session_carries(r->session);
}

/* Where the question of a prompt of n tokens begins: its last tokens are taken for it. */
static size_t question_of(const struct ds_reader *r, size_t n)
{
	if (!ds_session_chooses(r->session))
		return SIZE_MAX;
	return n > QUESTION_TOKENS ? (n - QUESTION_TOKENS) / PAGE * PAGE : 0;
}

/* What the session holds becomes the beginning of these tokens, as far as it is the same, and the
 * others of them are noted. */
static enum ds_status hold(struct ds_reader *r, const uint32_t *id, size_t same, size_t n,
			   size_t question, struct ds_err *err)
{
	DS_TRY(ds_grow(&r->held, &r->cap_held, n, sizeof *r->held, err));
	ds_reader_truncate(r, same);
	ds_session_question(r->session, question);
	memcpy(r->held + r->n_held, id + r->n_held, (n - r->n_held) * sizeof *id);
	return DS_OK;
}

enum ds_status ds_reader_append(struct ds_reader *r, const uint32_t *id, size_t n,
				struct ds_err *err)
{
	enum ds_status st;

	DS_TRY(ds_grow(&r->held, &r->cap_held, r->n_held + n, sizeof *r->held, err));
	st = ds_session_read(r->session, id, n, n, err);
	if (st != DS_OK) {
		r->n_held = ds_session_truncate(r->session, r->n_held);
		return st;
	}
	memcpy(r->held + r->n_held, id, n * sizeof *id);
	r->n_held += n;
	return DS_OK;
}

/* In passes, so that progress can be told; the last one has the tokens wanted. */
static enum ds_status read_rest(struct ds_reader *r, const uint32_t *id, size_t n, size_t n_want,
				struct ds_err *err)
{
	size_t batch = ds_session_batch(r->session);

	while (r->n_held < n) {
		size_t rest = n - r->n_held, pass = rest < batch ? rest : batch;

		if (pass < rest && rest - pass < n_want)
			pass = rest - n_want;
		DS_TRY(ds_session_read(r->session, id + r->n_held, pass, pass == rest ? n_want : 0,
				       err));
		r->n_held += pass;
		if (r->options.progress)
			r->options.progress(r->options.user, r->n_held, n_want ? n : 0);
	}
	return DS_OK;
}

/* How many of the first n of a prompt's tokens are held already, and were read as it is. */
static size_t count_same(const struct ds_reader *r, const uint32_t *id, size_t n, size_t question)
{
	size_t same = 0, alike = ds_session_prompt(r->session, question);

	n = n < alike ? n : alike;
	while (same < r->n_held && same < n && r->held[same] == id[same])
		same++;
	return same;
}

/* A failure in the midst of reading: what the session has now is not known. */
static enum ds_status forget(struct ds_reader *r, enum ds_status st)
{
	if (st != DS_OK) {
		ds_session_truncate(r->session, 0);
		r->n_held = 0;
	}
	return st;
}

enum ds_status ds_reader_begin(struct ds_reader *r, const struct ds_turn *turn, struct ds_err *err)
{
	r->prompt.n = r->n_ahead = 0;
	DS_TRY(ds_chat_render(&r->chat, turn, &r->parts, err));
	r->opening.tok = r->tok;
	r->opening.enc = r->enc;
	return ds_chat_open(&r->opening, &r->chat, &r->parts, &r->prompt, err);
}

/* In whole passes, or what there is. */
static enum ds_status read_ahead(struct ds_reader *r, bool all, struct ds_err *err)
{
	size_t n = r->prompt.n, same, end;

	if (!fits(r, n)) {
		r->opening.active = false;
		return DS_OK;
	}
	end = question_of(r, n); /* it will begin there or later */
	n = n < end ? n : end;
	same = count_same(r, r->prompt.id, n, SIZE_MAX);
	end = all ? n : n - (n - same) % ds_session_batch(r->session);
	if (end < same + (all ? AHEAD_MIN : 1))
		return DS_OK;
	DS_TRY(hold(r, r->prompt.id, same, end, SIZE_MAX, err));
	r->n_ahead += end - same;
	return forget(r, read_rest(r, r->prompt.id, end, 0, err));
}

enum ds_status ds_reader_more(struct ds_reader *r, const void *bytes, size_t n, bool idle,
			      struct ds_err *err)
{
	double start = ds_reader_clock();
	enum ds_status st;

	if (!r->opening.active)
		return DS_OK;
	DS_TRY(ds_chat_more(&r->opening, bytes, n, idle, &r->prompt, err));
	st = read_ahead(r, idle, err);
	r->prompt_seconds += ds_reader_clock() - start;
	return st;
}

enum ds_status ds_reader_read(struct ds_reader *r, const uint32_t *id, size_t n, size_t n_want,
			      struct ds_err *err)
{
	double start = ds_reader_clock();
	size_t same, ahead = r->n_ahead;

	r->n_ahead = 0;
	if (!fits(r, n))
		return ds_fail(err, DS_ELIMIT, "%zu tokens, the context holds %zu", n, r->context);
	same = count_same(r, id, n > n_want ? n - n_want : 0, question_of(r, n));
	DS_TRY(hold(r, id, same, n, question_of(r, n), err));
	same = r->n_held;
	DS_TRY(forget(r, read_rest(r, id, n, n_want, err)));
	r->prompt_tokens += n;
	r->ahead_tokens += same < ahead ? same : ahead;
	r->cached_tokens += same > ahead ? same - ahead : 0;
	r->prompt_seconds += ds_reader_clock() - start;
	return DS_OK;
}
