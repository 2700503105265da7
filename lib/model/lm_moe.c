/*
 * lm_moe.c - feed-forward blocks of experts: a few for each token, and shared ones for all
 *
 * The experts of a token add to the residual stream in ascending order, then the shared ones, so
 * that its bytes do not depend on the tokens beside it.  A batch goes expert by expert, with all
 * tokens that chose it; a token alone takes its experts at once.
 */
#include <float.h>
#include <string.h>

#include "model/lm_deepseek2.h"

static struct ds_matrix matrix_of(const struct ds_lm_experts *experts, uint32_t expert)
{
	struct ds_matrix m = experts->first;

	m.data += expert * experts->stride * m.row_bytes;
	return m;
}

static void route_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_route *route = &s->lm->config.moe.route;
	const struct ds_lm_moe_memory *m = &s->extra->moe;

	ds_lm_check(s, m->logits + i * route->n_expert, route->n_expert, FLT_MAX);
	ds_route(route, m->logits + i * route->n_expert, step->layer->moe->bias,
		 m->pick + i * route->n_used);
}

/* x += weight * y */
static void add_weighted(const struct ds_session *s, float *x, const float *y, float weight)
{
	static const uint32_t first = 0;

	s->kern->gather(x, s->lm->config.n_embd, y, &weight, &first, 1);
}

/* The picks of n tokens by expert; those of one expert by token. */
static void sort_picks(const struct ds_route *route, struct ds_lm_moe_memory *m, size_t n)
{
	size_t n_pick = n * route->n_used;

	memset(m->start, 0, (route->n_expert + 1) * sizeof *m->start);
	for (size_t i = 0; i < n_pick; i++)
		m->start[m->pick[i].expert + 1]++;
	for (uint32_t e = 0; e < route->n_expert; e++)
		m->start[e + 1] += m->start[e];
	for (size_t i = n_pick; i-- > 0;) /* from the last: start ends as the first place of each */
		m->order[--m->start[m->pick[i].expert + 1]] = (uint32_t)i;
	for (uint32_t e = 0; e < route->n_expert; e++)
		m->start[e] = m->start[e + 1];
	m->start[route->n_expert] = (uint32_t)n_pick;
}

/* step->order: the picks of one expert. */
static void gather_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	size_t n = s->lm->config.n_embd, token = step->order[i] / s->lm->config.moe.route.n_used;

	memcpy(ds_act_row(s->extra->moe.in, i), ds_act_row(s->act, token), n * sizeof(float));
	ds_act_round(s->kern, s->extra->moe.in, i);
}

static void gate_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_moe_memory *m = &s->extra->moe;
	size_t n = s->lm->config.moe.n_ff;

	s->lm->gate(m->gate + i * n, m->up + i * n, ds_act_row(m->hidden, i), n);
	ds_act_round(s->kern, m->hidden, i);
}

static void scatter_token(const struct ds_lm_step *step, size_t i)
{
	const struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	uint32_t at = step->order[i];

	add_weighted(s, step->out + at / c->moe.route.n_used * c->n_embd,
		     s->extra->moe.down + i * c->n_embd, s->extra->moe.pick[at].weight);
}

/* One expert, for the tokens that chose it. */
static void run_expert(struct ds_session *s, struct ds_lm_step *step, uint32_t expert)
{
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_lm_moe *moe = step->layer->moe;
	struct ds_lm_moe_memory *m = &s->extra->moe;
	size_t n = m->start[expert + 1] - m->start[expert];
	struct ds_matrix gate = matrix_of(&moe->gate, expert);
	struct ds_matrix up = matrix_of(&moe->up, expert);
	struct ds_matrix down = matrix_of(&moe->down, expert);
	const struct ds_product in[] = {{.w = &gate, .y = m->gate, .ld = c->moe.n_ff},
					{.w = &up, .y = m->up, .ld = c->moe.n_ff}};
	const struct ds_product out = {.w = &down, .y = m->down, .ld = c->n_embd};

	if (n == 0)
		return;
	step->order = m->order + m->start[expert];
	ds_act_begin(m->in, n, c->n_embd);
	ds_lm_each(step, n, gather_token);
	ds_linear_run(s->linear, in, 2, m->in);
	ds_act_begin(m->hidden, n, c->moe.n_ff);
	ds_lm_each(step, n, gate_token);
	ds_linear_run(s->linear, &out, 1, m->hidden);
	ds_lm_each(step, n, scatter_token);
}

/* Item i is an expert of the only token. */
static void gate_expert(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_moe_memory *m = &s->extra->moe;
	size_t n = s->lm->config.moe.n_ff;

	ds_act_begin(m->single[i], 1, n);
	s->lm->gate(m->gate + i * n, m->up + i * n, ds_act_row(m->single[i], 0), n);
	ds_act_round(s->kern, m->single[i], 0);
}

static void run_token(struct ds_session *s, struct ds_lm_step *step)
{
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_lm_moe *moe = step->layer->moe;
	struct ds_lm_moe_memory *m = &s->extra->moe;
	size_t n_used = c->moe.route.n_used, ff = c->moe.n_ff;

	for (size_t i = 0; i < n_used; i++) {
		uint32_t e = m->pick[i].expert;
		struct ds_matrix *w = m->slice + 2 * i;

		w[0] = matrix_of(&moe->gate, e);
		w[1] = matrix_of(&moe->up, e);
		m->product[2 * i] =
			(struct ds_product){.w = &w[0], .y = m->gate + i * ff, .ld = ff};
		m->product[2 * i + 1] =
			(struct ds_product){.w = &w[1], .y = m->up + i * ff, .ld = ff};
	}
	ds_linear_run(s->linear, m->product, 2 * n_used, s->act);
	ds_lm_each(step, n_used, gate_expert);
	for (size_t i = 0; i < n_used; i++) {
		m->slice[i] = matrix_of(&moe->down, m->pick[i].expert);
		m->product[i] = (struct ds_product){.w = &m->slice[i],
						    .y = m->down + i * c->n_embd,
						    .ld = c->n_embd,
						    .act = m->single[i]};
	}
	ds_linear_run(s->linear, m->product, n_used, NULL);
	for (size_t i = 0; i < n_used; i++)
		add_weighted(s, step->out, m->down + i * c->n_embd, m->pick[i].weight);
}

static void gate_shared(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_moe_memory *m = &s->extra->moe;
	size_t n = s->lm->config.moe.n_ff_shared;

	s->lm->gate(m->shared_gate + i * n, m->shared_up + i * n, ds_act_row(s->act, i), n);
	ds_act_round(s->kern, s->act, i);
}

void ds_lm_moe_feed_forward(struct ds_session *s, const struct ds_lm_layer *layer,
			    const struct ds_lm_pass *pass)
{
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_lm_moe *moe = layer->moe;
	const struct ds_product in[] = {ds_lm_product(&moe->router, s->extra->moe.logits),
					ds_lm_product(&moe->shared_gate, s->extra->moe.shared_gate),
					ds_lm_product(&moe->shared_up, s->extra->moe.shared_up)};
	struct ds_lm_step step = {.s = s, .layer = layer, .pass = pass};
	size_t n = pass->n_out;

	if (n == 0)
		return;
	step.out = ds_lm_stream_out(s, pass);
	ds_lm_norm(s, step.out, n, layer->ffn_norm);
	ds_lm_run(s, in, c->moe.n_ff_shared ? 3 : 1, n);
	ds_lm_each(&step, n, route_token);
	if (n == 1) {
		run_token(s, &step);
	} else {
		sort_picks(&c->moe.route, &s->extra->moe, n);
		for (uint32_t e = 0; e < c->moe.route.n_expert; e++)
			run_expert(s, &step, e);
	}
	if (!c->moe.n_ff_shared)
		return;
	ds_act_begin(s->act, n, c->moe.n_ff_shared);
	ds_lm_each(&step, n, gate_shared);
	ds_lm_block_out(s, &moe->shared_down, NULL, pass);
}
