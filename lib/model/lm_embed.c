/*
 * lm_embed.c - embeddings by language models: the final states of a text's tokens, pooled
 *
 * Texts go through one session, one after the other: it works with all threads, and its states do
 * not depend on how many there are.  A text longer than the context is read in windows.
 */
#include <stdlib.h>
#include <string.h>

#include "model/lm_net.h"

/* What an embedder keeps. */
struct scratch {
	struct ds_session *session;
	struct ds_affix affix; /* around every window */
	uint32_t *id;	       /* [n] the window that is being filled, with its prefix */
	size_t n, cap;
	size_t n_window; /* of the text, read */
	size_t context;	 /* of a window */
	float *vector;	 /* [dims] of the window read last */
	float *out;	 /* [dims] sum over windows */
};

enum ds_status ds_lm_pooling(const struct ds_model *model, enum ds_pooling *pooling_ret,
			     struct ds_err *err)
{
	const struct ds_lm_keys keys = {&model->gguf, model->arch->name};
	uint64_t type;

	DS_TRY(ds_lm_key_u64_or(&keys, "pooling_type", 0, &type, err));
	*pooling_ret = type == 3 ? DS_POOL_LAST : type <= 1 ? DS_POOL_MEAN : DS_POOL_OTHER;
	return DS_OK;
}

void ds_lm_embed_free(void *scratch)
{
	struct scratch *s = scratch;

	ds_session_free(s->session);
	free(s->id);
	free(s->vector);
	free(s);
}

static enum ds_status fill_scratch(struct scratch *s, const struct ds_embedder *emb,
				   struct ds_err *err)
{
	static const struct ds_session_options plain;
	const struct ds_model *model = emb->model;
	const struct ds_session_options *o = emb->reading ? emb->reading : &plain;

	s->context = o->context ? o->context : model->context;
	s->vector = ds_alloc(model->dims, sizeof *s->vector);
	if (!s->vector)
		return ds_fail_nomem(err, model->dims * sizeof *s->vector);
	ds_tokenizer_affix(model->tok, &s->affix);
	if (model->pooling == DS_POOL_OTHER)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "%s.pooling_type is not 1 (mean) or 3 (last)", model->arch->name);
	if (s->affix.n_prefix + s->affix.n_suffix >= s->context)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "a context of %zu tokens has no room for text", s->context);
	return ds_session_new(&s->session, model, emb->pool, o, err);
}

static enum ds_status new_scratch(const struct ds_embedder *emb, struct ds_err *err)
{
	struct scratch *s = ds_alloc_zero(1, sizeof *s);
	enum ds_status st;

	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	st = fill_scratch(s, emb, err);
	if (st == DS_OK)
		emb->worker->scratch = s;
	else
		ds_lm_embed_free(s);
	return st;
}

/* The sum of the states of all tokens, or the last one's, into s->vector. */
static enum ds_status pool_states(struct scratch *s, const struct ds_model *model,
				  struct ds_err *err)
{
	size_t batch = model->pooling == DS_POOL_LAST ? s->n : ds_session_batch(s->session);

	memset(s->vector, 0, model->dims * sizeof *s->vector);
	ds_session_truncate(s->session, 0);
	for (size_t at = 0, n; at < s->n; at += n) {
		size_t want;

		n = s->n - at < batch ? s->n - at : batch;
		want = model->pooling == DS_POOL_LAST ? 1 : n;
		DS_TRY(ds_session_read(s->session, s->id + at, n, want, err));
		for (size_t i = 0; i < want; i++)
			model->kern->add(s->vector, ds_session_state(s->session, i), model->dims);
	}
	return DS_OK;
}

static enum ds_status put_ids(struct scratch *s, const uint32_t *id, size_t n, struct ds_err *err)
{
	if (n == 0)
		return DS_OK;
	DS_TRY(ds_grow(&s->id, &s->cap, s->n + n, sizeof *s->id, err));
	memcpy(s->id + s->n, id, n * sizeof *id);
	s->n += n;
	return DS_OK;
}

/* Close the window, and add its vector, weighted by its tokens, to the text's. */
static enum ds_status end_window(struct scratch *s, const struct ds_model *model,
				 struct ds_err *err)
{
	float weight = (float)(s->n - s->affix.n_prefix);

	DS_TRY(put_ids(s, s->affix.suffix, s->affix.n_suffix, err));
	DS_TRY(pool_states(s, model, err));
	DS_TRY(ds_embed_normalise(model, s->vector, err));
	model->kern->gather(s->out, model->dims, s->vector, &weight, &(uint32_t){0}, 1);
	s->n = 0;
	s->n_window++;
	return DS_OK;
}

struct take {
	const struct ds_model *model;
	struct scratch *s;
};

static enum ds_status take_tokens(void *arg, uint32_t *id, size_t n, struct ds_err *err)
{
	const struct take *take = arg;
	struct scratch *s = take->s;
	size_t full = s->context - s->affix.n_suffix;

	while (n) {
		size_t room;

		if (s->n == full)
			DS_TRY(end_window(s, take->model, err));
		if (s->n == 0)
			DS_TRY(put_ids(s, s->affix.prefix, s->affix.n_prefix, err));
		room = full - s->n < n ? full - s->n : n;
		DS_TRY(put_ids(s, id, room, err));
		id += room;
		n -= room;
	}
	return DS_OK;
}

static enum ds_status embed_text(struct ds_embedder *emb, struct ds_part text, float *out)
{
	const struct ds_model *model = emb->model;
	struct ds_embed_worker *w = emb->worker;
	struct scratch *s = w->scratch;
	struct take take = {model, s};

	memset(out, 0, model->dims * sizeof *out);
	s->out = out;
	s->n = s->n_window = 0;
	DS_TRY(ds_embed_tokens(w, text, take_tokens, &take));
	if (s->n)
		DS_TRY(end_window(s, model, &w->err));
	if (s->n_window > 1)
		return ds_embed_normalise(model, out, &w->err);
	if (s->n_window)
		memcpy(out, s->vector, model->dims * sizeof *out);
	return DS_OK;
}

enum ds_status ds_lm_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
			   float *out, struct ds_err *err)
{
	if (!emb->worker->scratch)
		DS_TRY(new_scratch(emb, err));
	for (size_t i = 0; i < n; i++) {
		enum ds_status st = embed_text(emb, texts[i], out + i * emb->model->dims);

		if (st != DS_OK) {
			if (err)
				*err = emb->worker->err;
			return st;
		}
	}
	return DS_OK;
}

enum ds_status ds_embedder_read_as(struct ds_embedder *emb,
				   const struct ds_session_options *options, struct ds_err *err)
{
	if (!ds_model_is_lm(emb->model))
		return ds_fail_at(err, DS_EINVAL, emb->model->path, DS_NO_OFFSET,
				  "%s is not a language model", emb->model->arch->name);
	emb->reading = options;
	return DS_OK;
}

const struct ds_session *ds_embedder_session(const struct ds_embedder *emb)
{
	const struct scratch *s = emb->worker->scratch;

	return ds_model_is_lm(emb->model) && s ? s->session : NULL;
}
