/*
 * infer_score.c - ds-infer -t score: perplexity, and the log-probability of every token
 *
 * Documents are scored as they come; what is written of one that turns out to be refused stays.
 */
#define XXH_STATIC_LINKING_ONLY
#include <math.h>
#include <stdio.h>
#include <xxhash.h>

#include "base/decimal.h"
#include "infer.h"

/* Tokens of one frame. */
#define FRAME_TOKENS_MAX ((size_t)1 << 20)

struct score {
	struct infer *cmd;
	struct ds_reader reader;
	struct ds_scorer *scorer;
	/* the document at hand */
	struct ds_buf name;
	uint64_t bytes;
	/* of its frames */
	bool begun;
	struct ds_buf text; /* not yet put */
	uint64_t put;
	XXH3_state_t *hash;
	struct infer_beginning beginning;
	struct ds_buf line, ends;
	/* of all documents */
	uint64_t n_scored, n_bytes;
	double nll;
};

static enum ds_status put_text(struct score *s, const struct ds_score_totals *t, struct ds_err *err)
{
	struct ds_out *out = &s->cmd->out;
	char line[160];
	int n;

	if (t->n_scored)
		n = snprintf(line, sizeof line, "%.4f\t%.5f\t%llu\t",
			     ds_perplexity(t->nll, t->n_scored), ds_bits_per_byte(t->nll, t->bytes),
			     (unsigned long long)t->n_scored);
	else
		n = snprintf(line, sizeof line, "-\t-\t0\t");
	DS_TRY(ds_out_write(out, line, (size_t)n, err));
	DS_TRY(ds_out_write(out, s->name.data, s->name.len, err));
	if (s->name.len == 0)
		DS_TRY(ds_out_write(out, "-", 1, err));
	return ds_out_write(out, "\n", 1, err);
}

static enum ds_status put_lines(struct score *s, const struct ds_scored *t, struct ds_err *err)
{
	char text[160];

	for (size_t i = 0; i < t->n; i++) {
		int n = snprintf(text, sizeof text,
				 "{\"id\":%u,\"start\":%llu,\"end\":%llu,\"logprob\":", t->id[i],
				 (unsigned long long)(i ? t->end[i - 1] : t->start),
				 (unsigned long long)t->end[i]);

		s->line.len = 0;
		DS_TRY(ds_buf_append(&s->line, text, (size_t)n, err));
		if (isnan(t->logprob[i]))
			DS_TRY(ds_buf_append(&s->line, "null", 4, err));
		else
			DS_TRY(ds_buf_append(&s->line, text, ds_f32_text(t->logprob[i], text),
					     err));
		DS_TRY(ds_buf_append(&s->line, "}\n", 2, err));
		DS_TRY(ds_out_write(&s->cmd->out, s->line.data, s->line.len, err));
	}
	return DS_OK;
}

static enum ds_status put_frames(struct score *s, const struct ds_scored *t, struct ds_err *err)
{
	struct ds_logprob_frame f = {.tokens.vocabulary =
					     ds_tokenizer_id(ds_model_tokenizer(s->cmd->model))};

	for (size_t i = 0; i < t->n; i += f.tokens.n) {
		uint32_t *end;

		f.tokens.first = t->first + i;
		f.tokens.start = i ? t->end[i - 1] : t->start;
		f.tokens.n = (uint32_t)(t->n - i < FRAME_TOKENS_MAX ? t->n - i : FRAME_TOKENS_MAX);
		s->ends.len = 0;
		DS_TRY(ds_buf_reserve(&s->ends, f.tokens.n * sizeof *end, err));
		end = (uint32_t *)(void *)s->ends.data;
		for (size_t k = 0; k < f.tokens.n; k++)
			end[k] = (uint32_t)(t->end[i + k] - f.tokens.start);
		f.tokens.id = t->id + i;
		f.tokens.end = end;
		f.logprob = t->logprob + i;
		DS_TRY(ds_logprob_put(&s->cmd->writer, s->cmd->number, &f, err));
	}
	return DS_OK;
}

/* The text that has come, before the tokens that are made of it. */
static enum ds_status flush_text(struct score *s, struct ds_err *err)
{
	struct infer_name name = {(const char *)s->name.data, s->name.len};
	struct ds_text text = {s->put, s->text.data, s->text.len};

	if (!s->begun)
		DS_TRY(infer_begin_text(s->cmd, &name, DS_SIZE_UNKNOWN, err));
	s->begun = true;
	if (text.len == 0)
		return DS_OK;
	DS_TRY(ds_text_put(&s->cmd->writer, s->cmd->number, &text, err));
	XXH3_64bits_update(s->hash, text.bytes, text.len);
	s->put += text.len;
	s->text.len = 0;
	return DS_OK;
}

static enum ds_status take_scored(void *user, const struct ds_scored *scored, struct ds_err *err)
{
	struct score *s = user;

	cli_progress_erase();
	if (s->cmd->format != CLI_FRAMES)
		return put_lines(s, scored, err);
	DS_TRY(flush_text(s, err));
	return put_frames(s, scored, err);
}

/* --- a document as it comes ---------------------------------------------------------------- */

/* A document that has begun in the output must end there, or the stream does. */
static enum ds_status torn(const struct score *s, enum ds_status st)
{
	return st != DS_OK && s->begun ? DS_EIO : st;
}

static enum ds_status begin(void *user, const struct infer_name *name, struct ds_err *err)
{
	struct score *s = user;

	ds_scorer_reset(s->scorer);
	s->name.len = s->text.len = 0;
	s->bytes = s->put = 0;
	s->begun = false;
	infer_skip_begin(s->cmd, &s->beginning);
	XXH3_64bits_reset(s->hash);
	return ds_buf_append(&s->name, name->name, name->name_len, err);
}

static enum ds_status more(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct score *s = user;
	struct ds_part part = {bytes, n};

	s->bytes += n;
	if (s->cmd->format == CLI_FRAMES)
		DS_TRY(ds_buf_append(&s->text, bytes, n, err));
	DS_TRY(infer_skip_more(s->cmd, &s->reader, &s->beginning, &part, err));
	return torn(s, ds_scorer_push(s->scorer, part.bytes, part.len, err));
}

static enum ds_status idle(void *user, struct ds_err *err)
{
	struct score *s = user;

	return s->beginning.held ? DS_OK : torn(s, ds_scorer_idle(s->scorer, err));
}

static enum ds_status end(void *user, struct ds_err *err)
{
	struct score *s = user;
	struct infer *cmd = s->cmd;
	struct ds_score_totals totals;
	struct ds_document_end e;
	struct ds_part rest;

	if (s->bytes == 0)
		return ds_fail(err, DS_EINVAL, "the document is empty");
	DS_TRY(infer_skip_end(cmd, &s->reader, &s->beginning, &rest, err));
	DS_TRY(torn(s, ds_scorer_push(s->scorer, rest.bytes, rest.len, err)));
	DS_TRY(torn(s, ds_scorer_end(s->scorer, &totals, err)));
	cli_progress_erase();
	s->n_scored += totals.n_scored;
	s->n_bytes += totals.bytes;
	s->nll += totals.nll;
	if (cmd->format == CLI_TEXT)
		return put_text(s, &totals, err);
	if (cmd->format == CLI_JSONL)
		return DS_OK;
	DS_TRY(flush_text(s, err));
	e = (struct ds_document_end){s->bytes, XXH3_64bits_digest(s->hash)};
	return ds_document_end_put(&cmd->writer, cmd->number, &e, err);
}

static enum ds_status run(struct score *s, struct ds_err *err)
{
	struct infer *cmd = s->cmd;

	struct ds_score_options o = {.windows = cmd->windows,
				     .take = cmd->format == CLI_TEXT ? NULL : take_scored,
				     .user = s};
	struct infer_sink sink = {
		.begin = begin, .more = more, .idle = idle, .end = end, .user = s};

	s->hash = XXH3_createState();
	if (!s->hash)
		return ds_fail_nomem(err, sizeof *s->hash);
	DS_TRY(infer_open_reader(cmd, &s->reader, err));
	DS_TRY(ds_scorer_new(&s->scorer, &s->reader, cmd->pool, &o, err));
	DS_TRY(infer_open_output(cmd, err));
	DS_TRY(infer_each_document(cmd, &sink, err));
	return infer_close_output(cmd, err);
}

enum ds_status infer_score(struct infer *cmd, struct ds_err *err)
{
	struct score s = {.cmd = cmd};
	enum ds_status st;

	cmd->reading.raw = true;
	st = run(&s, err);
	if (s.reader.session) {
		infer_reader_stats(cmd, &s.reader);
		cli_stat_u64(&cmd->cli, "scored_tokens", s.n_scored);
		cli_stat_real(&cmd->cli, "perplexity", ds_perplexity(s.nll, s.n_scored));
		cli_stat_real(&cmd->cli, "bits_per_byte", ds_bits_per_byte(s.nll, s.n_bytes));
	}
	ds_scorer_free(s.scorer);
	ds_reader_close(&s.reader);
	XXH3_freeState(s.hash);
	ds_buf_fini(&s.name);
	ds_buf_fini(&s.text);
	ds_buf_fini(&s.beginning.bytes);
	ds_buf_fini(&s.line);
	ds_buf_fini(&s.ends);
	return st;
}
