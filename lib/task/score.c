/* score.c - log-probabilities of a text's tokens, window by window */
#include "task/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "task/predict.h"

#define LN2 0.69314718055994530942

struct scoring {
	struct ds_reader *reader;
	struct ds_scores *scores;
	const struct ds_affix *affix;
	uint32_t *window; /* [context] */
	struct ds_predict predict;
};

/* Read tokens [at, at + n) and score those from position p on. */
static enum ds_status score_window(struct scoring *s, size_t at, size_t n, size_t p,
				   struct ds_err *err)
{
	struct ds_reader *r = s->reader;
	size_t batch = ds_session_batch(r->session), pass;
	struct ds_predict_call call;
	double start = ds_reader_clock();

	memcpy(s->window, s->scores->tokens.id + at, n * sizeof *s->window);
	memcpy(s->window, s->affix->prefix,
	       (s->affix->n_prefix < n ? s->affix->n_prefix : n) * sizeof *s->window);
	ds_session_truncate(r->session, 0);
	for (size_t pos = 0; pos < n; pos += pass) {
		size_t first = p - 1 > pos ? p - 1 : pos, end;

		pass = n - pos < batch ? n - pos : batch;
		end = pos + pass < n ? pos + pass : n - 1; /* the last one's logits say nothing */
		DS_TRY(ds_session_read(r->session, s->window + pos, pass,
				       first < pos + pass ? pos + pass - first : 0, err));
		call = (struct ds_predict_call){.n = end > first ? end - first : 0,
						.target = s->window + first + 1,
						.logprob = s->scores->logprob + at + first + 1};
		DS_TRY(ds_predict(&s->predict, r->session, &call, err));
		if (r->options.progress)
			r->options.progress(r->options.user, at + pos + pass, s->scores->tokens.n);
	}
	r->prompt_tokens += n;
	r->prompt_seconds += ds_reader_clock() - start;
	return DS_OK;
}

static enum ds_status score_windows(struct scoring *s, enum ds_windows windows, struct ds_err *err)
{
	size_t n = s->scores->tokens.n, window = s->reader->context, half = window / 2;

	if (windows == DS_WINDOWS_HALVES) {
		if (n < 2 * window)
			return ds_fail(err, DS_ELIMIT,
				       "%zu tokens, at least two windows of %zu expected", n,
				       window);
		for (size_t at = 0; at + window <= n; at += window)
			DS_TRY(score_window(s, at, window, half + 1, err));
		return DS_OK;
	}
	DS_TRY(score_window(s, 0, n < window ? n : window, 1, err));
	if (n > window && half <= s->affix->n_prefix)
		return ds_fail(err, DS_ELIMIT, "windows of %zu tokens are too short", window);
	for (size_t done = window; done < n; done += half) {
		size_t at = done - (window - half);

		DS_TRY(score_window(s, at, n - at < window ? n - at : window, window - half, err));
	}
	return DS_OK;
}

/* BOS and the text's tokens. */
static enum ds_status tokenize(struct scoring *s, const struct ds_part *text, struct ds_err *err)
{
	struct ds_tokens *t = &s->scores->tokens;

	t->n = 0;
	DS_TRY(ds_encode(s->reader->enc, text->bytes, text->len, DS_ENCODE_AFFIX, t, err));
	t->n -= s->affix->n_suffix;
	DS_TRY(ds_grow(&s->scores->logprob, &s->scores->cap, t->n, sizeof(float), err));
	for (size_t i = 0; i < t->n; i++)
		s->scores->logprob[i] = NAN;
	return DS_OK;
}

static void sum_up(struct ds_scores *scores)
{
	const struct ds_tokens *t = &scores->tokens;

	scores->n_scored = 0;
	scores->bytes = 0;
	scores->nll = 0;
	for (size_t i = 0; i < t->n; i++)
		if (!isnan(scores->logprob[i])) {
			scores->n_scored++;
			scores->bytes += t->end[i] - (i ? t->end[i - 1] : 0);
			scores->nll -= scores->logprob[i];
		}
}

enum ds_status ds_score(struct ds_reader *reader, struct ds_pool *pool, const struct ds_part *text,
			enum ds_windows windows, struct ds_scores *scores, struct ds_err *err)
{
	struct ds_affix affix;
	struct scoring s = {.reader = reader, .scores = scores, .affix = &affix};
	enum ds_status st;

	ds_tokenizer_affix(reader->tok, &affix);
	ds_reader_truncate(reader, 0);
	DS_TRY(tokenize(&s, text, err));
	s.window = ds_alloc(reader->context, sizeof *s.window);
	st = s.window ? ds_predict_init(&s.predict, pool, reader->vocab, err)
		      : ds_fail_nomem(err, reader->context * sizeof *s.window);
	if (st == DS_OK && (scores->tokens.n || windows == DS_WINDOWS_HALVES))
		st = score_windows(&s, windows, err);
	ds_session_truncate(reader->session, 0);
	sum_up(scores);
	free(s.window);
	ds_predict_fini(&s.predict);
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
