/* generate.c - answers to prompts, token by token */
#include "task/generate.h"

#include <stdlib.h>

const char *const ds_finish_names[3] = {"stop", "length", "context"};

struct ds_generator {
	struct ds_reader *reader;
	size_t n_max;
	struct ds_sampler *sampler;
	struct ds_answer answer;
	struct ds_buf bytes; /* of a token */
	uint32_t end[DS_CHAT_ENDS_MAX];
	size_t n_end;
	struct ds_generator_totals totals;
};

enum ds_status ds_generator_new(struct ds_generator **gen_ret, struct ds_reader *reader,
				const struct ds_generate_options *options, struct ds_err *err)
{
	struct ds_generator *g = ds_alloc_zero(1, sizeof *g);
	enum ds_status st;

	if (!g)
		return ds_fail_nomem(err, sizeof *g);
	g->reader = reader;
	g->n_max = options->n_max;
	g->answer.stop = options->stop;
	g->answer.n_stop = options->n_stop;
	g->n_end = ds_chat_ends(&reader->chat, reader->tok, g->end);
	st = ds_sampler_new(&g->sampler, &options->sampling, reader->vocab, err);
	if (st != DS_OK) {
		ds_generator_free(g);
		return st;
	}
	*gen_ret = g;
	return DS_OK;
}

void ds_generator_free(struct ds_generator *g)
{
	if (!g)
		return;
	ds_sampler_free(g->sampler);
	ds_answer_fini(&g->answer);
	ds_buf_fini(&g->bytes);
	free(g);
}

static bool ends(const struct ds_generator *g, uint32_t id)
{
	for (size_t i = 0; i < g->n_end; i++)
		if (g->end[i] == id)
			return true;
	return false;
}

static enum ds_status next_token(struct ds_generator *g, uint32_t *id_ret, struct ds_err *err)
{
	struct ds_reader *r = g->reader;

	DS_TRY(ds_session_logits(r->session, 0, 1, r->logits, err));
	return ds_sampler_choose(g->sampler, r->logits, id_ret, err);
}

/* The text of a token; a space before the first word of a whole answer is the tokenizer's. */
static enum ds_status put_token(struct ds_generator *g, uint32_t id, bool first, struct ds_err *err)
{
	unsigned flags = first && g->reader->chat.family ? 0 : DS_ENCODE_CONTINUE;

	g->bytes.len = 0;
	if (id < ds_tokenizer_size(g->reader->tok)) /* the head may have rows beyond */
		DS_TRY(ds_decode(g->reader->tok, &id, 1, flags, &g->bytes, err));
	return ds_answer_push(&g->answer, g->bytes.data, g->bytes.len, err);
}

static enum ds_status answer(struct ds_generator *g, struct ds_generated *made, struct ds_err *err)
{
	struct ds_reader *r = g->reader;
	double start = ds_reader_clock();
	uint32_t id;

	DS_TRY(ds_reader_read(r, r->prompt.id, r->prompt.n, 1, err));
	ds_session_answer(r->session);
	ds_sampler_reset(g->sampler);
	ds_sampler_accept(g->sampler, r->prompt.id, r->prompt.n);
	for (;;) {
		DS_TRY(next_token(g, &id, err));
		if (g->totals.tokens + made->tokens == 0)
			g->totals.first_token_seconds = ds_reader_clock() - start;
		made->finish = DS_FINISH_STOP;
		if (ends(g, id))
			return DS_OK;
		DS_TRY(put_token(g, id, made->tokens++ == 0, err));
		if (g->answer.stopped)
			return DS_OK;
		made->finish = DS_FINISH_LENGTH;
		if (made->tokens >= g->n_max)
			return DS_OK;
		made->finish = DS_FINISH_CONTEXT;
		if (r->n_held == r->context && !ds_session_carries(r->session))
			return DS_OK;
		ds_sampler_accept(g->sampler, &id, 1);
		DS_TRY(ds_reader_append(r, &id, 1, err));
	}
}

enum ds_status ds_generate(struct ds_generator *g,
			   enum ds_status (*take)(void *user, const uint8_t *bytes, size_t n,
						  struct ds_err *err),
			   void *user, struct ds_generated *made_ret, struct ds_err *err)
{
	double start = ds_reader_clock(), reading = g->reader->prompt_seconds;
	struct ds_generated made = {.prompt_tokens = g->reader->prompt.n};
	enum ds_status st;

	if (g->reader->prompt.n == 0)
		return ds_fail(err, DS_EINVAL, "the prompt is empty");
	g->answer.pending.len = 0; /* of one that failed */
	g->answer.stopped = false;
	g->answer.take = take;
	g->answer.user = user;
	st = answer(g, &made, err);
	if (st == DS_OK)
		st = ds_answer_end(&g->answer, err);
	g->totals.tokens += made.tokens;
	g->totals.seconds += ds_reader_clock() - start - (g->reader->prompt_seconds - reading);
	*made_ret = made;
	return st;
}

const struct ds_generator_totals *ds_generator_totals(const struct ds_generator *g)
{
	return &g->totals;
}
