/* lm_follow.c - the attention of each layer: one for every policy there is */
#include <string.h>

#include "model/lm_boundary.h"
#include "model/lm_net.h"

#define SMALL_MODEL 400e6 /* weights */

static const struct ds_attn_policy dense = {.kind = DS_ATTN_DENSE};

static const struct ds_attn_policy *policy_of(const struct ds_session_options *o, size_t layer)
{
	return !o->attn ? &dense : &o->attn[o->n_attn > 1 ? layer : 0];
}

static bool same(const struct ds_attn_policy *a, const struct ds_attn_policy *b)
{
	return a->kind == b->kind && memcmp(a->param, b->param, sizeof a->param) == 0 &&
	       a->break_even == b->break_even && a->require_mass == b->require_mass;
}

enum ds_status ds_lm_attn_check(const struct ds_session *s, const struct ds_session_options *o,
				struct ds_err *err)
{
	const struct ds_lm_config *c = &s->lm->config;
	size_t exact = 0, plain = 0;

	if (o->n_attn > 1 && o->n_attn != c->n_layer)
		return ds_fail(err, DS_EINVAL,
			       "attention policies of %zu layers, the model has %zu", o->n_attn,
			       (size_t)c->n_layer);
	for (size_t i = 0; i < c->n_layer; i++) {
		enum ds_attn_kind kind = policy_of(o, i)->kind;

		exact += kind == DS_ATTN_EXACT;
		plain += kind == DS_ATTN_EXACT || kind == DS_ATTN_DENSE;
	}
	if (exact && exact != c->n_layer)
		return ds_fail(err, DS_EINVAL, "exact attention is for all layers or none");
	if (c->mla.kv_lora && plain != c->n_layer)
		return ds_fail_at(err, DS_EUNSUPPORTED, s->model->path, DS_NO_OFFSET,
				  "latent attention is exact, without a policy");
	return DS_OK;
}

/* The classes of tokens, for policies that look at text. */
static enum ds_status new_boundaries(struct ds_session *s, struct ds_err *err)
{
	s->boundaries = ds_arena_alloc(&s->mem, s->context, sizeof *s->boundaries);
	if (!s->boundaries)
		return ds_fail_nomem(err, s->context * sizeof *s->boundaries);
	return ds_boundaries_of(s->model->tok, s->lm->n_vocab, &s->boundary_of, err);
}

/* How often a query is a sample: in small models neighbours look for other things. */
static double stride_of(const struct ds_gguf *gguf)
{
	double n = 0;

	for (size_t i = 0; i < gguf->n_tensor; i++) {
		const uint64_t *dim = gguf->tensor[i].dim;

		n += (double)dim[0] * (double)dim[1] * (double)dim[2] * (double)dim[3];
	}
	return n < SMALL_MODEL ? 1 : 4;
}

static enum ds_status add_policy(struct ds_session *s, const struct ds_attn_policy *policy,
				 const struct ds_kv_shape *shape, struct ds_err *err)
{
	struct ds_attn **attn = &s->attn[s->n_attn];
	struct ds_attn_policy own = *policy;

	if (s->n_attn == DS_LM_ATTNS_MAX)
		return ds_fail(err, DS_ELIMIT, "more than %d attention policies", DS_LM_ATTNS_MAX);
	DS_TRY(ds_attn_new(attn, s->kern, s->pool, shape, (uint32_t)s->lm->config.n_head, err));
	s->n_attn++;
	if (s->lm->config.mla.kv_lora)
		return DS_OK;
	if ((own.kind == DS_ATTN_MASS || own.kind == DS_ATTN_AUTO) && !(own.param[1] > 0))
		own.param[1] = stride_of(&s->model->gguf);
	DS_TRY(ds_attn_follow(*attn, &own, err));
	s->chooses = s->chooses || ds_attn_policy_answers(policy);
	if (!ds_attn_policy_reads(policy))
		return DS_OK;
	if (s->carry) /* which tokens a page has differs from head to head */
		return ds_fail(err, DS_EUNSUPPORTED,
			       "attention by key tokens cannot be carried beyond the context");
	return s->boundaries ? DS_OK : new_boundaries(s, err);
}

enum ds_status ds_lm_attn_new(struct ds_session *s, const struct ds_session_options *o,
			      const struct ds_kv_shape *shape, struct ds_err *err)
{
	const struct ds_attn_policy *known[DS_LM_ATTNS_MAX];
	size_t n_layer = s->lm->config.n_layer;

	s->attn_of = ds_arena_alloc(&s->mem, n_layer, sizeof *s->attn_of);
	if (!s->attn_of)
		return ds_fail_nomem(err, n_layer * sizeof *s->attn_of);
	for (size_t i = 0; i < n_layer; i++) {
		const struct ds_attn_policy *policy = policy_of(o, i);
		size_t k = 0;

		while (k < s->n_attn && !same(known[k], policy))
			k++;
		if (k == s->n_attn) {
			DS_TRY(add_policy(s, policy, shape, err));
			known[k] = policy;
		}
		s->attn_of[i] = (uint8_t)k;
	}
	return DS_OK;
}

void ds_lm_attn_free(struct ds_session *s)
{
	for (size_t i = 0; i < s->n_attn; i++)
		ds_attn_free(s->attn[i]);
}

uint64_t ds_lm_attn_bytes(const struct ds_session *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n_attn; i++)
		bytes += ds_attn_bytes(s->attn[i]);
	return bytes;
}

size_t ds_lm_attn_truncate(struct ds_session *s, size_t n)
{
	size_t kept = n;

	for (size_t i = 0; i < s->n_attn; i++) {
		size_t one = ds_attn_truncate(s->attn[i], n);

		kept = one < kept ? one : kept;
	}
	for (size_t i = 0; i < s->n_attn && kept < n; i++)
		ds_attn_truncate(s->attn[i], kept); /* the start of a page suits all */
	return kept;
}

/* The mean, and what all but 5 of 100 kept. */
static void tell_audit(const struct ds_attn_audit *audit, struct ds_session_stats *stats)
{
	uint64_t below = 0;
	size_t p5 = 0;

	stats->mass_mean = stats->mass_p5 = 1;
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		stats->audited += audit->rows[i];
	if (!stats->audited)
		return;
	while ((below += audit->rows[p5]) <= stats->audited / 20)
		p5++;
	stats->mass_mean = (double)audit->mass / DS_AUDIT_ONE / (double)stats->audited;
	stats->mass_p5 = (double)p5 / DS_AUDIT_STEPS;
}

void ds_session_stats(const struct ds_session *s, struct ds_session_stats *stats)
{
	struct ds_attn_audit audit = {{0}, 0};

	*stats = (struct ds_session_stats){0};
	for (size_t i = 0; i < s->n_attn; i++) {
		uint64_t seen, causal;

		ds_attn_pairs(s->attn[i], &seen, &causal);
		stats->pairs_seen += seen;
		stats->pairs += causal;
		ds_attn_audit(s->attn[i], &audit);
	}
	tell_audit(&audit, stats);
}
