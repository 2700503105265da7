/*
 * lm_lockstep.c - sequences that are read together, a token each
 *
 * A session without context of its own lends the scratch memory of the pass; each sequence is a
 * session of batch 1 that works on the thread it is given.
 */
#include <stdlib.h>

#include "model/lm_carry.h"

struct ds_lockstep {
	struct ds_session *lead;
	struct ds_session **session; /* [n] */
	struct ds_session **now;     /* [n] of the pass */
	size_t n, n_now;
};

static enum ds_status new_sessions(struct ds_lockstep *l, const struct ds_model *model,
				   struct ds_pool *pool, const struct ds_session_options *options,
				   struct ds_err *err)
{
	struct ds_session_options own = *options, lead = {.skip = options->skip};

	own.batch = 1;
	lead.n_skip = options->n_skip;
	lead.batch = lead.context = (uint32_t)l->n;
	for (size_t i = 0; i < l->n; i++)
		DS_TRY(ds_session_new(&l->session[i], model, NULL, &own, err));
	return ds_session_new(&l->lead, model, pool, &lead, err);
}

enum ds_status ds_lockstep_new(struct ds_lockstep **steps_ret, const struct ds_model *model,
			       struct ds_pool *pool, const struct ds_session_options *options,
			       size_t n, struct ds_err *err)
{
	struct ds_lockstep *l;
	enum ds_status st;

	if (n < 1 || n > DS_LOCKSTEP_MAX)
		return ds_fail(err, DS_EINVAL, "%zu sequences at a time, 1 to %d expected", n,
			       DS_LOCKSTEP_MAX);
	if (ds_model_is_lm(model) && ((const struct ds_lm *)model->net)->config.mla.kv_lora)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "sequences with latent attention cannot be read together");
	l = ds_alloc_zero(1, sizeof *l);
	if (!l)
		return ds_fail_nomem(err, sizeof *l);
	l->n = n;
	l->session = ds_alloc_zero(n, sizeof *l->session);
	l->now = ds_alloc_zero(n, sizeof *l->now);
	if (l->session && l->now)
		st = new_sessions(l, model, pool, options, err);
	else
		st = ds_fail_nomem(err, n * sizeof *l->session);
	if (st == DS_OK && l->lead->batch < n)
		st = ds_fail_at(err, DS_ELIMIT, model->path, DS_NO_OFFSET,
				"%zu sequences at a time, the network is too wide for more than "
				"%zu",
				n, l->lead->batch);
	if (st != DS_OK) {
		ds_lockstep_free(l);
		return st;
	}
	*steps_ret = l;
	return DS_OK;
}

void ds_lockstep_free(struct ds_lockstep *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->session && i < l->n; i++)
		ds_session_free(l->session[i]);
	ds_session_free(l->lead);
	free(l->session);
	free(l->now);
	free(l);
}

uint64_t ds_lockstep_bytes(const struct ds_lockstep *l)
{
	uint64_t bytes = ds_session_bytes(l->lead);

	for (size_t i = 0; i < l->n; i++)
		bytes += ds_session_bytes(l->session[i]);
	return bytes;
}

struct ds_session *ds_lockstep_session(struct ds_lockstep *l, size_t i)
{
	return l->session[i];
}

/* The sequence has room for its token, with which it ends for now. */
static enum ds_status append(struct ds_session *s, uint32_t id, struct ds_err *err)
{
	if (id >= s->lm->n_vocab)
		return ds_fail(err, DS_EINVAL, "token id %u, the vocabulary has %u tokens", id,
			       s->lm->n_vocab);
	if (s->n == s->context && !s->carry)
		return ds_fail(err, DS_ELIMIT, "a token after %zu exceeds the context of %zu",
			       s->n, s->context);
	/* what a way back left to be read again */
	if (s->n_kept < s->n) {
		size_t n = s->n;

		s->n = s->n_kept;
		DS_TRY(ds_session_read(s, s->id + s->n, n - s->n, 0, err));
	}
	if (s->n == s->context)
		ds_lm_carry_roll(s);
	DS_TRY(ds_kv_reserve(s->kv, s->n + 1, err));
	ds_lm_append(s, &id, 1);
	return DS_OK;
}

/* The first n sequences of the pass are as they were before it. */
static enum ds_status take_back(struct ds_lockstep *l, size_t n, enum ds_status st)
{
	for (size_t i = 0; i < n; i++)
		ds_session_truncate(l->now[i], ds_session_tokens(l->now[i]) - 1);
	return st;
}

enum ds_status ds_lockstep_read(struct ds_lockstep *l, const uint32_t *which, const uint32_t *id,
				size_t n, struct ds_err *err)
{
	struct ds_lm_pass pass = {.n = n, .n_out = n, .each = l->now};

	l->n_now = 0;
	for (size_t i = 0; i < n; i++) {
		enum ds_status st;

		l->now[i] = l->session[which[i]];
		st = append(l->now[i], id[i], err);
		if (st != DS_OK)
			return take_back(l, i, st);
	}
	if (n == 0)
		return DS_OK;
	ds_lm_forward(l->lead, id, &pass, l->lead->state);
	for (size_t i = 0; i < n; i++)
		l->now[i]->n_kept++;
	if (atomic_load(&l->lead->bad))
		return take_back(l, n, ds_lm_not_finite(l->lead, err));
	l->n_now = l->lead->n_want = n;
	return DS_OK;
}

enum ds_status ds_lockstep_logits(struct ds_lockstep *l, size_t first, size_t n, float *out,
				  struct ds_err *err)
{
	return ds_session_logits(l->lead, first, n, out, err);
}
