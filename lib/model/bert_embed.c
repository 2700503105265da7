/*
 * bert_embed.c - texts through an encoder: tokens, windows of the context, blocks for the threads
 *
 * Texts are taken in groups, which bounds memory.  Their windows are independent of each other, so
 * how they fall into blocks and onto threads cannot be seen in the result.
 */
#include "model/bert.h"

#include <stdlib.h>
#include <string.h>

/* A group ends at so many texts or bytes. */
#define GROUP_TEXTS 256
#define GROUP_BYTES ((size_t)1 << 20)
/* Fewer tokens would not use the arithmetic well. */
#define BLOCK_TOKENS_MIN 64

/* One text: its tokens cut into windows, with room for CLS and SEP around each. */
struct text {
	struct ds_part part;
	uint32_t *id; /* [n] windows one behind the other, specials included */
	size_t n, cap;
	size_t n_window, first_window;
};

struct group {
	const struct ds_bert *bert;
	struct text *text; /* [n_text] */
	size_t n_text;
	struct ds_bert_seq *seq; /* [n_seq] windows of all texts */
	size_t n_seq, cap_seq;
	size_t *block; /* [n_block + 1] first sequence of a block */
	size_t n_block, cap_block;
	float *vector; /* [n_seq][dims] */
	size_t cap_vector;
	float *out; /* [n_text][dims] */
};

struct take {
	const struct ds_bert *bert;
	struct text *text;
};

/* Append tokens, opening and closing windows as they fill. */
static enum ds_status take_tokens(void *arg, uint32_t *id, size_t n, struct ds_err *err)
{
	const struct take *take = arg;
	struct text *t = take->text;
	size_t window = take->bert->config.n_context;

	for (size_t i = 0; i < n; i++) {
		DS_TRY(ds_grow(&t->id, &t->cap, t->n + 4, sizeof *t->id, err));
		if (t->n % window == window - 1)
			t->id[t->n++] = take->bert->sep;
		if (t->n % window == 0)
			t->id[t->n++] = take->bert->cls;
		t->id[t->n++] = id[i];
	}
	return DS_OK;
}

static enum ds_status tokenize(struct ds_embedder *emb, struct ds_embed_worker *w, size_t index,
			       void *arg)
{
	struct group *g = arg;
	struct take take = {g->bert, &g->text[index]};

	take.text->n = 0;
	DS_TRY(ds_embed_tokens(w, take.text->part, take_tokens, &take));
	if (take.text->n)
		take.text->id[take.text->n++] = g->bert->sep;
	(void)emb;
	return DS_OK;
}

/* Tokens a block may have: a few blocks a thread, so that none waits long for another. */
static size_t block_tokens(const struct group *g, unsigned threads)
{
	size_t n = 0, most = ds_bert_block(g->bert);

	for (size_t i = 0; i < g->n_text; i++)
		n += g->text[i].n;
	n /= 4 * (size_t)threads;
	if (n < BLOCK_TOKENS_MIN)
		n = BLOCK_TOKENS_MIN;
	return n < most ? n : most;
}

/* Windows of all texts, and blocks of windows that fit one call of the forward pass. */
static enum ds_status plan(struct group *g, unsigned threads, struct ds_err *err)
{
	size_t window = g->bert->config.n_context, room = block_tokens(g, threads), used = room;

	g->n_seq = g->n_block = 0;
	for (size_t i = 0; i < g->n_text; i++) {
		struct text *t = &g->text[i];

		t->first_window = g->n_seq;
		t->n_window = (t->n + window - 1) / window;
		DS_TRY(ds_grow(&g->seq, &g->cap_seq, g->n_seq + t->n_window, sizeof *g->seq, err));
		DS_TRY(ds_grow(&g->block, &g->cap_block, g->n_block + t->n_window + 1,
			       sizeof *g->block, err));
		for (size_t at = 0; at < t->n; at += window) {
			size_t n = t->n - at < window ? t->n - at : window;

			if (used + n > room) { /* a window may have a block of its own */
				g->block[g->n_block++] = g->n_seq;
				used = 0;
			}
			used += n;
			g->seq[g->n_seq++] = (struct ds_bert_seq){t->id + at, n};
		}
	}
	DS_TRY(ds_grow(&g->block, &g->cap_block, g->n_block + 1, sizeof *g->block, err));
	g->block[g->n_block] = g->n_seq;
	return ds_grow(&g->vector, &g->cap_vector, g->n_seq * g->bert->config.n_embd,
		       sizeof *g->vector, err);
}

static enum ds_status encode_block(struct ds_embedder *emb, struct ds_embed_worker *w, size_t index,
				   void *arg)
{
	struct group *g = arg;
	size_t first = g->block[index], n = g->block[index + 1] - first;
	size_t dims = g->bert->config.n_embd;

	ds_bert_forward(g->bert, w->scratch, g->seq + first, n, g->vector + first * dims);
	for (size_t i = first; i < first + n; i++)
		DS_TRY(ds_embed_normalise(emb->model, g->vector + i * dims, &w->err));
	return DS_OK;
}

/* A text's vector: the mean of its windows', weighted by their tokens. */
static enum ds_status join_windows(struct ds_embedder *emb, struct ds_embed_worker *w, size_t index,
				   void *arg)
{
	const struct group *g = arg;
	const struct text *t = &g->text[index];
	size_t dims = g->bert->config.n_embd;
	const float *vector = g->vector + t->first_window * dims;
	float *out = g->out + index * dims;

	if (t->n_window == 1) {
		memcpy(out, vector, dims * sizeof *out);
		return DS_OK;
	}
	memset(out, 0, dims * sizeof *out);
	for (size_t i = 0; i < t->n_window; i++) {
		float weight = (float)(g->seq[t->first_window + i].n - 2);

		emb->model->kern->gather(out, dims, vector + i * dims, &weight, &(uint32_t){0}, 1);
	}
	return ds_embed_normalise(emb->model, out, &w->err);
}

static enum ds_status embed_group(struct ds_embedder *emb, struct group *g, struct ds_err *err)
{
	DS_TRY(ds_embed_each(emb, g->n_text, tokenize, g, err));
	DS_TRY(plan(g, emb->n_worker, err));
	DS_TRY(ds_embed_each(emb, g->n_block, encode_block, g, err));
	return ds_embed_each(emb, g->n_text, join_windows, g, err);
}

static enum ds_status embed_groups(struct ds_embedder *emb, struct group *g,
				   const struct ds_part *texts, size_t n, struct ds_err *err)
{
	for (size_t i = 0; i < n; i += g->n_text) {
		size_t bytes = 0;

		for (g->n_text = 0;
		     i + g->n_text < n && g->n_text < GROUP_TEXTS && bytes < GROUP_BYTES;
		     g->n_text++) {
			g->text[g->n_text].part = texts[i + g->n_text];
			bytes += texts[i + g->n_text].len;
		}
		DS_TRY(embed_group(emb, g, err));
		g->out += g->n_text * g->bert->config.n_embd;
	}
	return DS_OK;
}

enum ds_status ds_bert_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
			     float *out, struct ds_err *err)
{
	struct group g = {.bert = emb->model->net, .out = out};
	enum ds_status st;

	g.text = ds_alloc_zero(GROUP_TEXTS, sizeof *g.text);
	if (!g.text)
		return ds_fail_nomem(err, GROUP_TEXTS * sizeof *g.text);
	st = embed_groups(emb, &g, texts, n, err);
	for (size_t i = 0; i < GROUP_TEXTS; i++)
		free(g.text[i].id);
	free(g.text);
	free(g.seq);
	free(g.block);
	free(g.vector);
	return st;
}
