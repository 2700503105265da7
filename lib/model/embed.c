/* embed.c - embedding texts: workers, tokens in pieces, failures in text order */
#include "model/arch.h"

#include <math.h>
#include <stdlib.h>

/* Bytes tokenized at once: memory for tokens stays small whatever the text. */
#define PIECE_BYTES ((size_t)64 << 10)

static void free_workers(struct ds_embedder *emb)
{
	for (unsigned i = 0; emb->worker && i < emb->n_worker; i++) {
		ds_encoder_free(emb->worker[i].enc);
		ds_tokens_fini(&emb->worker[i].tokens);
		if (emb->worker[i].scratch)
			emb->model->arch->free_scratch(emb->worker[i].scratch);
	}
	free(emb->worker);
}

static enum ds_status new_workers(struct ds_embedder *emb, struct ds_err *err)
{
	emb->worker = ds_alloc_zero(emb->n_worker, sizeof *emb->worker);
	if (!emb->worker)
		return ds_fail_nomem(err, emb->n_worker * sizeof *emb->worker);
	for (unsigned i = 0; i < emb->n_worker; i++) {
		struct ds_embed_worker *w = &emb->worker[i];

		DS_TRY(ds_encoder_new(&w->enc, emb->model->tok, err));
		if (emb->model->arch->new_scratch)
			DS_TRY(emb->model->arch->new_scratch(emb->model->net, &w->scratch, err));
	}
	return DS_OK;
}

enum ds_status ds_embedder_new(struct ds_embedder **emb_ret, const struct ds_model *model,
			       struct ds_pool *pool, struct ds_err *err)
{
	struct ds_embedder *emb = ds_alloc_zero(1, sizeof *emb);
	enum ds_status st;

	if (!emb)
		return ds_fail_nomem(err, sizeof *emb);
	emb->model = model;
	emb->pool = pool;
	emb->n_worker = pool ? ds_pool_threads(pool) : 1;
	st = new_workers(emb, err);
	if (st != DS_OK) {
		ds_embedder_free(emb);
		return st;
	}
	*emb_ret = emb;
	return DS_OK;
}

void ds_embedder_free(struct ds_embedder *emb)
{
	if (!emb)
		return;
	free_workers(emb);
	free(emb);
}

uint64_t ds_embedder_tokens(const struct ds_embedder *emb)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < emb->n_worker; i++)
		n += emb->worker[i].n_tokens;
	return n;
}

struct each {
	struct ds_embedder *emb;
	enum ds_status (*item)(struct ds_embedder *, struct ds_embed_worker *, size_t, void *);
	void *arg;
};

static void each_item(void *arg, size_t index, unsigned thread)
{
	struct each *each = arg;
	struct ds_embed_worker *w = &each->emb->worker[thread];
	enum ds_status st;

	/* of several failures the one with the lowest index is told, whoever met it when */
	if (w->status != DS_OK && index > w->failed)
		return;
	st = each->item(each->emb, w, index, each->arg);
	if (st == DS_OK)
		return;
	w->status = st;
	w->failed = index;
}

enum ds_status ds_embed_each(struct ds_embedder *emb, size_t n,
			     enum ds_status (*item)(struct ds_embedder *emb,
						    struct ds_embed_worker *w, size_t index,
						    void *arg),
			     void *arg, struct ds_err *err)
{
	struct each each = {emb, item, arg};
	const struct ds_embed_worker *first = NULL;

	for (unsigned i = 0; i < emb->n_worker; i++)
		emb->worker[i].status = DS_OK;
	ds_pool_run(emb->pool, n, each_item, &each);
	for (unsigned i = 0; i < emb->n_worker; i++) {
		const struct ds_embed_worker *w = &emb->worker[i];

		if (w->status != DS_OK && (!first || w->failed < first->failed))
			first = w;
	}
	if (!first)
		return DS_OK;
	if (err)
		*err = first->err;
	return first->status;
}

/* The length of the next piece of text: up to a place where tokens may be cut. */
static size_t piece_length(const struct ds_encoder *enc, const uint8_t *text, size_t n)
{
	for (size_t want = PIECE_BYTES; want < n; want *= 2) {
		size_t cut = ds_encoder_cut(enc, text, want);

		if (cut)
			return cut;
	}
	return n;
}

enum ds_status ds_embed_tokens(struct ds_embed_worker *w, struct ds_part text,
			       enum ds_status (*take)(void *arg, uint32_t *id, size_t n,
						      struct ds_err *err),
			       void *arg)
{
	const uint8_t *bytes = text.bytes;
	size_t done = 0;

	while (done < text.len) {
		size_t n = piece_length(w->enc, bytes + done, text.len - done);

		w->tokens.n = 0;
		DS_TRY(ds_encode(w->enc, bytes + done, n, done ? DS_ENCODE_CONTINUE : 0, &w->tokens,
				 &w->err));
		w->n_tokens += w->tokens.n;
		DS_TRY(take(arg, w->tokens.id, w->tokens.n, &w->err));
		done += n;
	}
	return DS_OK;
}

/* Divide by the largest value, so that squares neither vanish nor overflow. */
static enum ds_status rescale(const struct ds_model *model, float *vector, struct ds_err *err)
{
	float most = 0;

	for (uint32_t i = 0; i < model->dims; i++) {
		if (!isfinite(vector[i]))
			return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
					  "an embedding is not finite: "
					  "the model's weights are out of range");
		most = fmaxf(most, fabsf(vector[i]));
	}
	for (uint32_t i = 0; i < model->dims && most > 0; i++)
		vector[i] /= most;
	return DS_OK;
}

enum ds_status ds_embed_normalise(const struct ds_model *model, float *vector, struct ds_err *err)
{
	float square = model->kern->dot(vector, vector, model->dims);

	if (!(square >= 1e-20f && square <= 1e30f))
		DS_TRY(rescale(model, vector, err));
	model->kern->normalise(vector, model->dims);
	return DS_OK;
}

enum ds_status ds_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n, float *out,
			struct ds_err *err)
{
	return emb->model->arch->embed(emb, texts, n, out, err);
}
