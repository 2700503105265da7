/*
 * lm_mla.c - attention over latent keys and values (DeepSeek-V2, arXiv:2405.04434)
 *
 * A token leaves a latent vector of kv_lora values, of which all heads' keys and values are linear
 * maps, and one rotary key that the heads share.  Files with k_b and v_b apart run in the absorbed
 * form: latent and rotary key are kept, as one KV head; k_b brings queries into the latent space
 * and v_b what they found out of it.  Old files with kv_b whole run in the open form: keys and
 * values of every head are made and kept.
 */
#include <string.h>

#include "model/lm_deepseek2.h"

/* Tokens before the first one that goes on: they leave keys and values only. */
static size_t skipped(const struct ds_lm_pass *pass)
{
	return pass->n - pass->n_out;
}

static void q_norm_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;

	s->kern->rmsnorm(s->extra->mla.q_a + (skipped(step->pass) + i) * c->mla.q_lora,
			 step->layer->mla->q_a_norm, ds_act_row(s->act, i), c->mla.q_lora, c->eps);
	ds_act_round(s->kern, s->act, i);
}

static void turn(const struct ds_lm_step *step, size_t token, float *x, size_t n, size_t stride)
{
	const struct ds_session *s = step->s;
	const struct ds_rope *rope = &s->lm->rope[step->layer->rope];

	ds_rope_apply(rope, s->kern, s->rope[step->layer->rope] + token * 2 * rope->dims, x, n,
		      stride);
}

/* Queries of one token; in the absorbed form also as activations of k_b, the turned part in its
 * place. */
static void query_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	size_t nope = c->mla.nope, turned = c->rope.dims, dim = nope + turned;
	size_t token = skipped(step->pass) + i;
	float *q = s->extra->mla.q + token * c->n_head * dim;

	turn(step, token, q + nope, c->n_head, dim);
	ds_lm_check(s, q, c->n_head * dim, DS_LM_HALF_MAX);
	for (size_t h = 0; c->mla.absorbed && h < c->n_head; h++, q += dim) {
		struct ds_act *head = s->extra->mla.head[h];

		memcpy(ds_act_row(head, i), q, nope * sizeof *q);
		ds_act_round(s->kern, head, i);
		memcpy(s->q + (i * c->n_head + h) * c->dim_k + c->mla.kv_lora, q + nope,
		       turned * sizeof *q);
	}
}

/* The normed latent and the rotary key: kept, or activations of kv_b. */
static void latent_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	size_t n = c->mla.kv_lora;
	float *kv = s->extra->mla.kv_a + i * (n + c->rope.dims);

	s->kern->rmsnorm(kv, step->layer->mla->kv_a_norm, kv, n, c->eps);
	turn(step, i, kv + n, 1, c->rope.dims);
	ds_lm_check(s, kv, n + c->rope.dims, DS_LM_HALF_MAX);
	if (c->mla.absorbed) {
		ds_kv_put(s->kv, s->kern, ds_lm_kv_layer(s, step->layer), step->pass->pos + i, kv,
			  kv);
		return;
	}
	memcpy(ds_act_row(s->act, i), kv, n * sizeof *kv);
	ds_act_round(s->kern, s->act, i);
}

/* Keys and values of every head from what kv_b gave. */
static void open_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	size_t nope = c->mla.nope, value = c->mla.value;
	const float *turned =
		s->extra->mla.kv_a + i * (c->mla.kv_lora + c->rope.dims) + c->mla.kv_lora;
	const float *kv = s->extra->mla.kv_b + i * c->n_head * (nope + value);
	float *k = s->k + i * c->n_head * c->dim_k, *v = s->v + i * c->n_head * value;

	for (size_t h = 0; h < c->n_head; h++, kv += nope + value) {
		memcpy(k + h * c->dim_k, kv, nope * sizeof *k);
		memcpy(k + h * c->dim_k + nope, turned, c->rope.dims * sizeof *k);
		memcpy(v + h * value, kv + nope, value * sizeof *v);
	}
	ds_lm_check(s, k, c->n_head * c->dim_k, DS_LM_HALF_MAX);
	ds_kv_put(s->kv, s->kern, ds_lm_kv_layer(s, step->layer), step->pass->pos + i, k, v);
}

/* Activations of v_b from what every head found. */
static void found_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	const float *found = s->extra->mla.found + i * c->n_head * c->mla.kv_lora;

	for (size_t h = 0; h < c->n_head; h++, found += c->mla.kv_lora) {
		struct ds_act *head = s->extra->mla.head[h];

		memcpy(ds_act_row(head, i), found, c->mla.kv_lora * sizeof *found);
		ds_act_round(s->kern, head, i);
	}
}

static void begin_heads(struct ds_session *s, size_t n, size_t k)
{
	for (size_t h = 0; h < s->lm->config.n_head; h++)
		ds_act_begin(s->extra->mla.head[h], n, k);
}

/* y [n][n_head][stride] = the map of each head times the head's activations. */
static void map_heads(struct ds_session *s, const struct ds_matrix *map, float *y, size_t stride)
{
	size_t n_head = s->lm->config.n_head;
	struct ds_product *p = s->extra->mla.product;

	for (size_t h = 0; h < n_head; h++)
		p[h] = (struct ds_product){.w = &map[h],
					   .y = y + h * stride,
					   .ld = n_head * stride,
					   .act = s->extra->mla.head[h]};
	ds_linear_run(s->linear, p, n_head, NULL);
}

/* From the normed stream: latents of all tokens, queries of those that go on. */
static void make_queries(struct ds_session *s, struct ds_lm_step *step)
{
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_lm_mla *mla = step->layer->mla;
	const struct ds_lm_pass *pass = step->pass;
	size_t width = c->n_head * (c->mla.nope + c->rope.dims);
	const struct ds_product first[] = {
		ds_lm_product(&mla->kv_a, s->extra->mla.kv_a),
		c->mla.q_lora ? ds_lm_product(&mla->q_a, s->extra->mla.q_a)
			      : ds_lm_product(&step->layer->q, s->extra->mla.q)};
	struct ds_product q_b = ds_lm_product(&mla->q_b, s->extra->mla.q + skipped(pass) * width);

	ds_lm_norm(s, s->x, pass->n, step->layer->attn_norm);
	ds_lm_run(s, first, pass->n_out ? 2 : 1, pass->n);
	if (!pass->n_out)
		return;
	if (c->mla.q_lora) {
		ds_act_begin(s->act, pass->n_out, c->mla.q_lora);
		ds_lm_each(step, pass->n_out, q_norm_token);
		ds_lm_run(s, &q_b, 1, pass->n_out);
	}
	if (c->mla.absorbed)
		begin_heads(s, pass->n_out, c->mla.nope);
	ds_lm_each(step, pass->n_out, query_token);
	if (c->mla.absorbed)
		map_heads(s, mla->k_b, s->q, c->dim_k);
}

static void make_keys(struct ds_session *s, struct ds_lm_step *step)
{
	const struct ds_lm_config *c = &s->lm->config;
	struct ds_product kv_b = ds_lm_product(&step->layer->mla->kv_b, s->extra->mla.kv_b);
	size_t n = step->pass->n;

	if (!c->mla.absorbed)
		ds_act_begin(s->act, n, c->mla.kv_lora);
	ds_lm_each(step, n, latent_token);
	if (c->mla.absorbed)
		return;
	ds_lm_run(s, &kv_b, 1, n);
	ds_lm_each(step, n, open_token);
}

void ds_lm_mla_attention(struct ds_session *s, const struct ds_lm_layer *layer,
			 const struct ds_lm_pass *pass)
{
	const struct ds_lm_config *c = &s->lm->config;
	struct ds_lm_step step = {.s = s, .layer = layer, .pass = pass};
	size_t skip = skipped(pass), n = pass->n_out, width = c->n_head * c->dim_k;
	struct ds_attn_call call = {.kv = s->kv,
				    .layer = ds_lm_kv_layer(s, layer),
				    .pos = pass->pos + skip,
				    .n = n,
				    .n_head = (uint32_t)c->n_head,
				    .q = c->mla.absorbed ? s->q : s->extra->mla.q + skip * width,
				    .q_stride = width,
				    .scale = c->attn_scale,
				    .out_stride = c->n_head * c->dim_v};

	make_queries(s, &step);
	make_keys(s, &step);
	if (n == 0)
		return;
	if (c->mla.absorbed) {
		call.out = s->extra->mla.found;
		ds_attn_run(ds_lm_attn(s, layer), &call);
		begin_heads(s, n, c->mla.kv_lora);
		ds_lm_each(&step, n, found_token);
		ds_act_begin(s->act, n, c->n_head * c->mla.value);
		map_heads(s, layer->mla->v_b, ds_act_row(s->act, 0), c->mla.value);
	} else {
		ds_act_begin(s->act, n, c->n_head * c->mla.value);
		call.out = ds_act_row(s->act, 0);
		ds_attn_run(ds_lm_attn(s, layer), &call);
	}
	ds_lm_round(s, n);
	ds_lm_block_out(s, &layer->out, NULL, pass);
}
