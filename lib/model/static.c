/*
 * static.c - static embedding models: a vector a token, no network
 *
 * GGUF layout (written by ds-distill):
 *   general.architecture      "static"
 *   static.embedding_length   u32, dimensions of an embedding
 *   tokenizer.ggml.*          the vocabulary, WordPiece as in llama.cpp's bert files
 *   token_embd.weight         [n_embd, n_vocab], I8 or any type that decodes to f32
 *   token_embd.scale          [n_vocab] F32, optional: factor of a row (1 without), with the
 *                             token's frequency weight folded in
 *
 * The embedding of a text is the sum over its tokens, in order, of scale[id] * row[id], normalised;
 * special and unknown tokens are left out.
 */
#include "kern/kern.h"
#include "model/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds the products below; a vocabulary of 2^24 rows is far beyond any. */
#define DIMS_MAX 65536
#define VOCAB_MAX ((uint32_t)1 << 24)

struct ds_static {
	const int8_t *rows_i8; /* [n_vocab][dims], borrowed from the file; or NULL */
	float *rows_f32;       /* [n_vocab][dims]; or NULL */
	float *scale;	       /* [n_vocab] */
};

static void static_close(void *net)
{
	struct ds_static *s = net;

	free(s->rows_f32);
	free(s->scale);
	free(s);
}

static enum ds_status load_scale(struct ds_model *model, struct ds_weights *weights,
				 struct ds_err *err)
{
	struct ds_static *s = model->net;
	uint32_t n_vocab = ds_tokenizer_size(model->tok);

	s->scale = ds_alloc(n_vocab, sizeof *s->scale);
	if (!s->scale)
		return ds_fail_nomem(err, n_vocab * sizeof *s->scale);
	if (weights->find(weights->source, "token_embd.scale"))
		return ds_weights_load(weights, "token_embd.scale", n_vocab, 1, s->scale, err);
	for (uint32_t i = 0; i < n_vocab; i++)
		s->scale[i] = 1;
	return DS_OK;
}

static enum ds_status load_rows(struct ds_model *model, struct ds_weights *weights,
				struct ds_err *err)
{
	struct ds_static *s = model->net;
	const struct ds_gguf_tensor *rows;
	uint32_t n_vocab = ds_tokenizer_size(model->tok);
	size_t n = (size_t)n_vocab * model->dims;

	DS_TRY(ds_weights_tensor(weights, "token_embd.weight", model->dims, n_vocab, &rows, err));
	if (rows->type == 24) { /* I8 */
		s->rows_i8 = (const int8_t *)rows->data;
		return DS_OK;
	}
	s->rows_f32 = ds_alloc(n, sizeof *s->rows_f32);
	if (!s->rows_f32)
		return ds_fail_nomem(err, n * sizeof *s->rows_f32);
	return ds_weights_decode(weights, rows, s->rows_f32, err);
}

static enum ds_status static_open(struct ds_model *model, struct ds_weights *weights,
				  struct ds_err *err)
{
	uint32_t n_vocab = ds_tokenizer_size(model->tok);
	uint64_t dims;

	DS_TRY(ds_gguf_u64(&model->gguf, "static.embedding_length", &dims, err));
	if (dims < 1 || dims > DIMS_MAX)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "static.embedding_length is %llu, 1..%d expected",
				  (unsigned long long)dims, DIMS_MAX);
	if (n_vocab < 1 || n_vocab > VOCAB_MAX)
		return ds_fail_at(err, DS_ELIMIT, model->path, DS_NO_OFFSET,
				  "a vocabulary of %u tokens, 1..%u expected", n_vocab, VOCAB_MAX);
	model->dims = (uint32_t)dims;
	model->context = UINT32_MAX;
	model->net = ds_alloc_zero(1, sizeof(struct ds_static));
	if (!model->net)
		return ds_fail_nomem(err, sizeof(struct ds_static));
	DS_TRY(load_rows(model, weights, err));
	DS_TRY(load_scale(model, weights, err));
	snprintf(model->describe, sizeof model->describe, "static, %u dimensions, %u tokens",
		 model->dims, n_vocab);
	return DS_OK;
}

struct static_job {
	const struct ds_model *model;
	const struct ds_part *texts;
	float *out; /* [n][dims] */
	float *sum; /* of the text at hand, one job copy a text */
};

/* Drop what is no word: only the unknown token occurs, as specials in text stay text. */
static size_t keep_known(const struct ds_tokenizer *tok, uint32_t *id, size_t n)
{
	uint32_t unknown = ds_tokenizer_special(tok, DS_UNK);
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		id[kept] = id[i];
		kept += id[i] != unknown;
	}
	return kept;
}

static enum ds_status add_tokens(void *arg, uint32_t *id, size_t n, struct ds_err *err)
{
	struct static_job *job = arg;
	const struct ds_model *m = job->model;
	const struct ds_static *s = m->net;

	(void)err;
	n = keep_known(m->tok, id, n);
	if (s->rows_i8)
		m->kern->gather_i8(job->sum, m->dims, s->rows_i8, s->scale, id, n);
	else
		m->kern->gather(job->sum, m->dims, s->rows_f32, s->scale, id, n);
	return DS_OK;
}

static enum ds_status static_text(struct ds_embedder *emb, struct ds_embed_worker *w, size_t index,
				  void *arg)
{
	struct static_job job = *(struct static_job *)arg;

	job.sum = job.out + index * emb->model->dims;
	memset(job.sum, 0, emb->model->dims * sizeof *job.sum);
	DS_TRY(ds_embed_tokens(w, job.texts[index], add_tokens, &job));
	return ds_embed_normalise(emb->model, job.sum, &w->err);
}

static enum ds_status static_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
				   float *out, struct ds_err *err)
{
	struct static_job job = {.model = emb->model, .texts = texts, .out = out};

	return ds_embed_each(emb, n, static_text, &job, err);
}

const struct ds_arch ds_arch_static = {
	.name = "static",
	.open_gguf = static_open,
	.close = static_close,
	.embed = static_embed,
};
