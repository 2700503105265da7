/* lm_deepseek2_memory.c - what sessions with latent attention and experts keep in memory */
#include <stdlib.h>

#include "model/lm_deepseek2.h"

/* Floats of a token, and activations [tokens][k] of their own; counted, then taken. */
struct plan {
	struct ds_session *s; /* NULL: only count */
	uint64_t bytes;
	bool failed;
};

static float *take(struct plan *p, uint64_t n)
{
	float *floats;

	p->bytes += n * sizeof *floats;
	if (!p->s || p->failed)
		return NULL;
	floats = ds_kern_floats(&p->s->mem, n);
	p->failed = !floats;
	return floats;
}

static void *take_items(struct plan *p, uint64_t n, size_t size)
{
	void *items;

	p->bytes += n * size;
	if (!p->s || p->failed)
		return NULL;
	items = ds_arena_alloc(&p->s->mem, n, size);
	p->failed = !items;
	return items;
}

static void take_act(struct plan *p, struct ds_act **act_ret, uint64_t n, uint64_t k)
{
	p->bytes += ds_act_bytes(n, k);
	*act_ret = NULL;
	if (p->s && !p->failed)
		p->failed = ds_act_new(act_ret, n, k, NULL) != DS_OK;
}

/* n activations; the array holds NULL where there is none yet, for ds_lm_extra_free(). */
static struct ds_act **take_acts(struct plan *p, uint64_t n, uint64_t tokens, uint64_t k)
{
	struct ds_act **acts = take_items(p, n, sizeof(*acts)), *none;

	for (uint64_t i = 0; acts && i < n; i++)
		acts[i] = NULL;
	for (uint64_t i = 0; i < n; i++)
		take_act(p, acts ? &acts[i] : &none, tokens, k);
	return acts;
}

static void plan_mla(struct plan *p, const struct ds_lm_config *c, uint64_t batch,
		     struct ds_lm_mla_memory *m)
{
	const struct ds_lm_mla_config *a = &c->mla;
	uint64_t most = a->nope > a->kv_lora ? a->nope : a->kv_lora;

	m->q_a = take(p, batch * a->q_lora);
	m->q = take(p, batch * c->n_head * (a->nope + c->rope.dims));
	m->kv_a = take(p, batch * (a->kv_lora + c->rope.dims));
	if (!a->absorbed) {
		m->kv_b = take(p, batch * c->n_head * (a->nope + a->value));
		return;
	}
	m->found = take(p, batch * c->n_head * a->kv_lora);
	m->product = take_items(p, c->n_head, sizeof *m->product);
	m->head = take_acts(p, c->n_head, batch, most);
}

static void plan_moe(struct plan *p, const struct ds_lm_config *c, uint64_t batch,
		     struct ds_lm_moe_memory *m)
{
	const struct ds_route *r = &c->moe.route;
	uint64_t rows = batch > r->n_used ? batch : r->n_used;

	m->logits = take(p, batch * r->n_expert);
	m->gate = take(p, rows * c->moe.n_ff);
	m->up = take(p, rows * c->moe.n_ff);
	m->down = take(p, rows * c->n_embd);
	m->shared_gate = take(p, batch * c->moe.n_ff_shared);
	m->shared_up = take(p, batch * c->moe.n_ff_shared);
	take_act(p, &m->in, batch, c->n_embd);
	take_act(p, &m->hidden, batch, c->moe.n_ff);
	m->single = take_acts(p, r->n_used, 1, c->moe.n_ff);
	m->slice = take_items(p, 2 * (uint64_t)r->n_used, sizeof *m->slice);
	m->product = take_items(p, 2 * (uint64_t)r->n_used, sizeof *m->product);
	m->pick = take_items(p, batch * r->n_used, sizeof *m->pick);
	m->order = take_items(p, batch * r->n_used, sizeof *m->order);
	m->start = take_items(p, r->n_expert + 1, sizeof *m->start);
}

uint64_t ds_lm_extra_bytes(const struct ds_lm_config *config, size_t batch)
{
	struct ds_lm_extra extra;
	struct plan p = {.bytes = sizeof extra};

	plan_mla(&p, config, batch, &extra.mla);
	plan_moe(&p, config, batch, &extra.moe);
	return p.bytes;
}

enum ds_status ds_lm_extra_new(struct ds_session *s, struct ds_err *err)
{
	struct plan p = {.s = s};

	s->extra = ds_alloc_zero(1, sizeof *s->extra);
	if (!s->extra)
		return ds_fail_nomem(err, sizeof *s->extra);
	plan_mla(&p, &s->lm->config, s->batch, &s->extra->mla);
	plan_moe(&p, &s->lm->config, s->batch, &s->extra->moe);
	return p.failed ? ds_fail_nomem(err, p.bytes) : DS_OK;
}

static void free_acts(struct ds_act **acts, size_t n)
{
	for (size_t i = 0; acts && i < n; i++)
		ds_act_free(acts[i]);
}

void ds_lm_extra_free(struct ds_session *s)
{
	if (!s->extra)
		return;
	free_acts(s->extra->mla.head, s->lm->config.n_head);
	free_acts(s->extra->moe.single, s->lm->config.moe.route.n_used);
	ds_act_free(s->extra->moe.in);
	ds_act_free(s->extra->moe.hidden);
	free(s->extra);
}
