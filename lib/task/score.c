/* score.c - log-probabilities of a text's tokens, window by window */
#include "task/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "task/feed.h"
#include "task/predict.h"

#define LN2 0.69314718055994530942

struct ds_scorer {
	struct ds_reader *reader;
	struct ds_score_options o;
	struct ds_affix affix;
	struct ds_predict predict;
	struct ds_feed feed;
	bool begun, full; /* tokens_max are there */
	/* tokens base .. base + tokens.n - 1 of the text */
	struct ds_tokens tokens;
	float *logprob; /* [tokens.n] */
	size_t cap;
	uint64_t base;
	uint64_t given, given_end; /* tokens that take() has had, and their end */
	/* the window, from token at on: its tokens, and how many of them the session has read */
	uint64_t at;
	uint32_t *window; /* [context] */
	size_t n, read;
	struct ds_score_totals totals;
};

static uint64_t known(const struct ds_scorer *s)
{
	return s->base + s->tokens.n;
}

/* The first position of the window that is scored. */
static size_t scored_from(const struct ds_scorer *s)
{
	size_t window = s->reader->context, half = window / 2;

	if (s->o.windows == DS_WINDOWS_HALVES)
		return half + 1;
	if (s->o.windows == DS_WINDOWS_RESTART || ds_session_carries(s->reader->session))
		return 1;
	return s->at ? window - half : 1;
}

/* Read the window up to position end, and score what follows each token. */
static enum ds_status read_to(struct ds_scorer *s, size_t end, struct ds_err *err)
{
	struct ds_reader *r = s->reader;
	size_t from = scored_from(s) - 1, first = from > s->read ? from : s->read;
	size_t n = end > first ? end - first : 0, n_read = end - s->read;
	double start = ds_reader_clock();
	struct ds_predict_call call = {.n = n,
				       .target = s->window + first + 1,
				       .logprob = s->logprob + (s->at - s->base) + first + 1};

	DS_TRY(ds_session_read(r->session, s->window + s->read, n_read, n, err));
	DS_TRY(ds_predict(&s->predict, r->session, &call, err));
	s->read = end;
	r->prompt_tokens += n_read;
	r->prompt_seconds += ds_reader_clock() - start;
	if (r->options.progress)
		r->options.progress(r->options.user, s->at + end, 0);
	return DS_OK;
}

/* Take as much of the window as is known; what the last token is followed by is not wanted. */
static enum ds_status read_window(struct ds_scorer *s, bool all, struct ds_err *err)
{
	size_t batch = ds_session_batch(s->reader->session);
	size_t prefix = ds_session_carries(s->reader->session) ? 0 : s->affix.n_prefix;

	while (s->n < s->reader->context && s->at + s->n < known(s)) {
		s->window[s->n] = s->n < prefix ? s->affix.prefix[s->n]
						: s->tokens.id[s->at - s->base + s->n];
		s->n++;
	}
	while (s->n > s->read + batch || (all && s->n > s->read + 1)) {
		size_t left = s->n - 1 - s->read;

		DS_TRY(read_to(s, s->read + (left < batch ? left : batch), err));
	}
	return DS_OK;
}

/* Hand over the tokens before number end, which will not change any more. */
static enum ds_status give(struct ds_scorer *s, uint64_t end, struct ds_err *err)
{
	size_t first = s->given - s->base, n = end > s->given ? end - s->given : 0;
	struct ds_scored scored = {.n = n,
				   .first = s->given,
				   .start = s->given_end,
				   .id = s->tokens.id + first,
				   .end = s->tokens.end + first,
				   .logprob = s->logprob + first};

	if (n == 0)
		return DS_OK;
	for (size_t i = 0; i < n; i++)
		if (!isnan(scored.logprob[i])) {
			s->totals.n_scored++;
			s->totals.bytes += scored.end[i] - (i ? scored.end[i - 1] : scored.start);
			s->totals.nll -= scored.logprob[i];
		}
	s->given = end;
	s->given_end = scored.end[n - 1];
	return s->o.take ? s->o.take(s->o.user, &scored, err) : DS_OK;
}

/* Forget n tokens of the window's beginning, which are done. */
static void drop(struct ds_scorer *s, size_t n)
{
	size_t gone = s->at + n - s->base;

	s->at += n;
	s->base = s->at;
	s->tokens.n -= gone;
	memmove(s->tokens.id, s->tokens.id + gone, s->tokens.n * sizeof *s->tokens.id);
	memmove(s->tokens.end, s->tokens.end + gone, s->tokens.n * sizeof *s->tokens.end);
	memmove(s->logprob, s->logprob + gone, s->tokens.n * sizeof *s->logprob);
	s->n = s->read = 0;
}

/* The next window begins; the tokens before it are done. */
static enum ds_status slide(struct ds_scorer *s, struct ds_err *err)
{
	size_t window = s->reader->context, half = window / 2;
	bool overlap = s->o.windows == DS_WINDOWS_OVERLAP;

	if (overlap && half <= s->affix.n_prefix)
		return ds_fail(err, DS_ELIMIT, "windows of %zu tokens are too short", window);
	ds_session_truncate(s->reader->session, 0);
	drop(s, overlap ? half : window);
	return DS_OK;
}

/* One window without end: what is read goes, but for the last token, which has its score. */
static enum ds_status read_on(struct ds_scorer *s, bool all, struct ds_err *err)
{
	size_t batch = ds_session_batch(s->reader->session);

	while (known(s) > s->at + (all ? 1 : batch)) {
		DS_TRY(read_window(s, true, err));
		DS_TRY(give(s, s->at + s->read + 1, err));
		drop(s, s->read);
	}
	return DS_OK;
}

/* all: down to the last token that is known. */
static enum ds_status read_overlap(struct ds_scorer *s, bool all, struct ds_err *err)
{
	size_t window = s->reader->context;

	for (;;) {
		bool more = known(s) > s->at + window;

		DS_TRY(read_window(s, all || more, err));
		/* the next window may score more of what this one did not */
		if (all || s->read)
			DS_TRY(give(s, s->at + s->read + (s->n > 0), err));
		if (!more)
			return DS_OK;
		DS_TRY(slide(s, err));
	}
}

/* Whole windows only, and two at least. */
static enum ds_status read_halves(struct ds_scorer *s, struct ds_err *err)
{
	size_t window = s->reader->context;

	while (known(s) >= s->at + window && (s->at || known(s) >= 2 * (uint64_t)window)) {
		DS_TRY(read_window(s, true, err));
		DS_TRY(give(s, s->at + window, err));
		DS_TRY(slide(s, err));
	}
	return DS_OK;
}

static enum ds_status take_tokens(struct ds_scorer *s, size_t first, bool all, struct ds_err *err)
{
	if (s->o.tokens_max && known(s) >= s->o.tokens_max) {
		s->tokens.n = s->o.tokens_max - s->base;
		s->full = true;
	}
	DS_TRY(ds_grow(&s->logprob, &s->cap, s->tokens.n, sizeof *s->logprob, err));
	for (size_t i = first; i < s->tokens.n; i++)
		s->logprob[i] = NAN;
	if (ds_session_carries(s->reader->session))
		return read_on(s, all, err);
	return s->o.windows == DS_WINDOWS_HALVES ? read_halves(s, err) : read_overlap(s, all, err);
}

/* A text begins with the tokens that stand before one. */
static enum ds_status begin(struct ds_scorer *s, struct ds_err *err)
{
	struct ds_tokens *t = &s->tokens;

	if (s->begun)
		return DS_OK;
	s->begun = true;
	ds_reader_truncate(s->reader, 0);
	DS_TRY(ds_grow(&t->id, &t->cap_id, s->affix.n_prefix, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, s->affix.n_prefix, sizeof *t->end, err));
	for (; t->n < s->affix.n_prefix; t->n++) {
		t->id[t->n] = s->affix.prefix[t->n];
		t->end[t->n] = 0;
	}
	return take_tokens(s, 0, false, err);
}

static enum ds_status advance(struct ds_scorer *s, bool now, struct ds_err *err)
{
	size_t first;

	DS_TRY(begin(s, err));
	first = s->tokens.n;
	if (s->full)
		return DS_OK;
	DS_TRY(ds_feed_take(&s->feed, 0, now, &s->tokens, err));
	return take_tokens(s, first, now, err);
}

enum ds_status ds_scorer_push(struct ds_scorer *s, const void *bytes, size_t n, struct ds_err *err)
{
	if (s->full)
		return DS_OK;
	DS_TRY(ds_feed_push(&s->feed, bytes, n, err));
	return advance(s, false, err);
}

enum ds_status ds_scorer_idle(struct ds_scorer *s, struct ds_err *err)
{
	return advance(s, true, err);
}

enum ds_status ds_scorer_end(struct ds_scorer *s, struct ds_score_totals *totals_ret,
			     struct ds_err *err)
{
	size_t first;

	DS_TRY(begin(s, err));
	first = s->tokens.n;
	if (!s->full)
		DS_TRY(ds_feed_end(&s->feed, &s->tokens, err));
	DS_TRY(take_tokens(s, first, true, err));
	if (s->o.windows == DS_WINDOWS_HALVES && s->at == 0)
		return ds_fail(err, DS_ELIMIT, "%llu tokens, at least two windows of %zu expected",
			       (unsigned long long)known(s), s->reader->context);
	DS_TRY(give(s, known(s), err));
	s->totals.tokens = known(s);
	*totals_ret = s->totals;
	ds_scorer_reset(s);
	return DS_OK;
}

void ds_scorer_reset(struct ds_scorer *s)
{
	ds_session_truncate(s->reader->session, 0);
	ds_feed_reset(&s->feed);
	s->begun = s->full = false;
	s->tokens.n = s->n = s->read = 0;
	s->base = s->given = s->given_end = s->at = 0;
	s->totals = (struct ds_score_totals){0};
}

enum ds_status ds_scorer_new(struct ds_scorer **scorer_ret, struct ds_reader *reader,
			     struct ds_pool *pool, const struct ds_score_options *options,
			     struct ds_err *err)
{
	struct ds_scorer *s = ds_alloc_zero(1, sizeof *s);
	enum ds_status st;

	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	s->reader = reader;
	s->o = *options;
	s->feed.enc = reader->enc;
	ds_tokenizer_affix(reader->tok, &s->affix);
	s->window = ds_alloc(reader->context, sizeof *s->window);
	st = s->window ? ds_predict_init(&s->predict, pool, reader->vocab, err)
		       : ds_fail_nomem(err, reader->context * sizeof *s->window);
	if (st != DS_OK) {
		ds_scorer_free(s);
		return st;
	}
	*scorer_ret = s;
	return DS_OK;
}

void ds_scorer_free(struct ds_scorer *s)
{
	if (!s)
		return;
	ds_predict_fini(&s->predict);
	ds_feed_fini(&s->feed);
	ds_tokens_fini(&s->tokens);
	free(s->logprob);
	free(s->window);
	free(s);
}

/* --- in memory ----------------------------------------------------------------------------- */

static enum ds_status collect(void *user, const struct ds_scored *scored, struct ds_err *err)
{
	struct ds_scores *scores = user;
	struct ds_tokens *t = &scores->tokens;
	size_t n = t->n + scored->n;

	DS_TRY(ds_grow(&t->id, &t->cap_id, n, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, n, sizeof *t->end, err));
	DS_TRY(ds_grow(&scores->logprob, &scores->cap, n, sizeof *scores->logprob, err));
	memcpy(t->id + t->n, scored->id, scored->n * sizeof *t->id);
	memcpy(t->end + t->n, scored->end, scored->n * sizeof *t->end);
	memcpy(scores->logprob + t->n, scored->logprob, scored->n * sizeof *scores->logprob);
	t->n = n;
	return DS_OK;
}

enum ds_status ds_score(struct ds_reader *reader, struct ds_pool *pool, const struct ds_part *text,
			enum ds_windows windows, struct ds_scores *scores, struct ds_err *err)
{
	struct ds_score_options o = {.windows = windows, .take = collect, .user = scores};
	struct ds_score_totals totals = {0};
	struct ds_scorer *s;
	enum ds_status st;

	scores->tokens.n = 0;
	DS_TRY(ds_scorer_new(&s, reader, pool, &o, err));
	st = ds_scorer_push(s, text->bytes, text->len, err);
	if (st == DS_OK)
		st = ds_scorer_end(s, &totals, err);
	ds_scorer_reset(s);
	ds_scorer_free(s);
	scores->n_scored = totals.n_scored;
	scores->bytes = totals.bytes;
	scores->nll = totals.nll;
	return st;
}

void ds_scores_fini(struct ds_scores *scores)
{
	ds_tokens_fini(&scores->tokens);
	free(scores->logprob);
	*scores = (struct ds_scores){0};
}

double ds_perplexity(double nll, uint64_t n)
{
	return n ? ds_exp(nll / (double)n) : NAN;
}

double ds_bits_per_byte(double nll, uint64_t bytes)
{
	return bytes ? nll / LN2 / (double)bytes : NAN;
}
