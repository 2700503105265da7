/* infer_score.c - ds-infer -t score: perplexity, and the log-probability of every token */
#include <math.h>
#include <stdio.h>

#include "base/decimal.h"
#include "infer.h"

/* Tokens of one frame. */
#define FRAME_TOKENS_MAX ((size_t)1 << 20)

struct score {
	struct infer *cmd;
	struct ds_reader reader;
	struct ds_scores scores;
	struct ds_buf line, ends;
	uint64_t n_scored, bytes;
	double nll;
};

static enum ds_status put_text(struct score *s, const struct infer_text *text, struct ds_err *err)
{
	const struct ds_scores *sc = &s->scores;
	struct ds_out *out = &s->cmd->out;
	char line[160];
	int n;

	if (sc->n_scored)
		n = snprintf(line, sizeof line, "%.4f\t%.5f\t%zu\t",
			     ds_perplexity(sc->nll, sc->n_scored),
			     ds_bits_per_byte(sc->nll, sc->bytes), sc->n_scored);
	else
		n = snprintf(line, sizeof line, "-\t-\t0\t");
	DS_TRY(ds_out_write(out, line, (size_t)n, err));
	DS_TRY(ds_out_write(out, text->name, text->name_len, err));
	if (text->name_len == 0)
		DS_TRY(ds_out_write(out, "-", 1, err));
	return ds_out_write(out, "\n", 1, err);
}

static enum ds_status put_lines(struct score *s, struct ds_err *err)
{
	const struct ds_tokens *t = &s->scores.tokens;
	char text[160];

	for (size_t i = 0; i < t->n; i++) {
		int n = snprintf(text, sizeof text,
				 "{\"id\":%u,\"start\":%llu,\"end\":%llu,\"logprob\":", t->id[i],
				 (unsigned long long)(i ? t->end[i - 1] : 0),
				 (unsigned long long)t->end[i]);

		s->line.len = 0;
		DS_TRY(ds_buf_append(&s->line, text, (size_t)n, err));
		if (isnan(s->scores.logprob[i]))
			DS_TRY(ds_buf_append(&s->line, "null", 4, err));
		else
			DS_TRY(ds_buf_append(&s->line, text,
					     ds_f32_text(s->scores.logprob[i], text), err));
		DS_TRY(ds_buf_append(&s->line, "}\n", 2, err));
		DS_TRY(ds_out_write(&s->cmd->out, s->line.data, s->line.len, err));
	}
	return DS_OK;
}

static enum ds_status put_tokens(struct score *s, uint64_t document, struct ds_err *err)
{
	const struct ds_tokens *t = &s->scores.tokens;
	struct ds_logprob_frame f = {.tokens.vocabulary =
					     ds_tokenizer_id(ds_model_tokenizer(s->cmd->model))};

	for (size_t i = 0; i < t->n; i += f.tokens.n) {
		uint32_t *end;

		f.tokens.first = i;
		f.tokens.start = i ? t->end[i - 1] : 0;
		f.tokens.n = (uint32_t)(t->n - i < FRAME_TOKENS_MAX ? t->n - i : FRAME_TOKENS_MAX);
		s->ends.len = 0;
		DS_TRY(ds_buf_reserve(&s->ends, f.tokens.n * sizeof *end, err));
		end = (uint32_t *)(void *)s->ends.data;
		for (size_t k = 0; k < f.tokens.n; k++)
			end[k] = (uint32_t)(t->end[i + k] - f.tokens.start);
		f.tokens.id = t->id + i;
		f.tokens.end = end;
		f.logprob = s->scores.logprob + i;
		DS_TRY(ds_logprob_put(&s->cmd->writer, document, &f, err));
	}
	return DS_OK;
}

static enum ds_status put_frames(struct score *s, const struct infer_text *text, struct ds_err *err)
{
	struct ds_part part = {text->bytes, text->len};
	uint64_t number;

	DS_TRY(infer_begin_text(s->cmd, text, &part, &number, err));
	DS_TRY(put_tokens(s, number, err));
	return infer_end_text(s->cmd, &part, number, err);
}

static enum ds_status score_text(void *user, const struct infer_text *text, struct ds_err *err)
{
	struct score *s = user;
	struct infer *cmd = s->cmd;
	struct ds_part part = {text->bytes, text->len};

	DS_TRY(ds_score(&s->reader, cmd->pool, &part, cmd->windows, &s->scores, err));
	s->n_scored += s->scores.n_scored;
	s->bytes += s->scores.bytes;
	s->nll += s->scores.nll;
	if (cmd->format == CLI_FRAMES)
		return put_frames(s, text, err);
	return cmd->format == CLI_JSONL ? put_lines(s, err) : put_text(s, text, err);
}

static enum ds_status run(struct score *s, struct ds_err *err)
{
	struct infer *cmd = s->cmd;

	DS_TRY(infer_open_reader(cmd, &s->reader, err));
	DS_TRY(infer_open_output(cmd, err));
	DS_TRY(infer_each_text(cmd, score_text, s, err));
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
		cli_stat_real(&cmd->cli, "bits_per_byte", ds_bits_per_byte(s.nll, s.bytes));
	}
	ds_reader_close(&s.reader);
	ds_scores_fini(&s.scores);
	ds_buf_fini(&s.line);
	ds_buf_fini(&s.ends);
	return st;
}
