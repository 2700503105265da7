/* score.c - log-probabilities of tokens, a few rows of logits at a time */
#include "task/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "kern/kern.h"

#define LN2 0.69314718055994530942
/* Logits of so many tokens or bytes at once: enough for a matrix product to be worth it. */
#define ROWS_MAX 64
#define ROWS_MIN 16
#define ROWS_BYTES ((size_t)16 << 20)

struct scoring {
	struct ds_reader *reader;
	struct ds_pool *pool;
	const struct ds_kern *kern;
	struct ds_scores *scores;
	const struct ds_affix *affix;
	uint32_t *window; /* [context] */
	float *logits;	  /* [rows][vocab] */
	size_t rows;
	const uint32_t *target; /* of the rows at hand */
	float *logprob;		/* where theirs go */
};

static void score_row(void *arg, size_t row, unsigned thread)
{
	struct scoring *s = arg;
	const float *x = s->logits + row * s->reader->vocab;

	(void)thread;
	s->logprob[row] =
		(float)((double)x[s->target[row]] - s->kern->logsumexp(x, s->reader->vocab));
}

/* The tokens at window positions [p, p + n), whose rows are the wanted ones from first on. */
static enum ds_status score_rows(struct scoring *s, size_t first, size_t n, size_t p, size_t at,
				 struct ds_err *err)
{
	for (size_t i = 0; i < n; i += s->rows) {
		size_t rows = n - i < s->rows ? n - i : s->rows;

		DS_TRY(ds_session_logits(s->reader->session, first + i, rows, s->logits, err));
		s->target = s->window + p + i;
		s->logprob = s->scores->logprob + at + p + i;
		ds_pool_run(s->pool, rows, score_row, s);
		for (size_t k = 0; k < rows; k++)
			if (!isfinite(s->logprob[k]))
				return ds_fail(err, DS_EFORMAT, "a logit is not finite");
	}
	return DS_OK;
}

/* Read tokens [at, at + n) and score those from position p on. */
static enum ds_status score_window(struct scoring *s, size_t at, size_t n, size_t p,
				   struct ds_err *err)
{
	struct ds_reader *r = s->reader;
	size_t batch = ds_session_batch(r->session), pass;
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
		if (first < end)
			DS_TRY(score_rows(s, 0, end - first, first + 1, at, err));
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
	struct scoring s = {.reader = reader, .pool = pool, .scores = scores, .affix = &affix};
	enum ds_status st;

	ds_tokenizer_affix(reader->tok, &affix);
	ds_reader_truncate(reader, 0);
	DS_TRY(ds_kern_choose(&s.kern, err));
	DS_TRY(tokenize(&s, text, err));
	s.rows = ROWS_BYTES / sizeof(float) / reader->vocab;
	s.rows = s.rows < ROWS_MIN ? ROWS_MIN : s.rows > ROWS_MAX ? ROWS_MAX : s.rows;
	s.window = ds_alloc(reader->context, sizeof *s.window);
	s.logits = ds_alloc(s.rows * reader->vocab, sizeof *s.logits);
	st = s.window && s.logits ? DS_OK
				  : ds_fail_nomem(err, s.rows * reader->vocab * sizeof(float));
	if (st == DS_OK && (scores->tokens.n || windows == DS_WINDOWS_HALVES))
		st = score_windows(&s, windows, err);
	ds_session_truncate(reader->session, 0);
	sum_up(scores);
	free(s.window);
	free(s.logits);
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
