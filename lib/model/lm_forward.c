/*
 * lm_forward.c - the forward pass of language models
 *
 * What is done to a token alone (norms, rotary positions, gates, rounding) runs as one step over
 * all tokens; linear maps and attention bring their own parallel loops.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "model/lm_carry.h"

/* Tokens of a parallel item: enough work to be worth fetching. */
#define STEP_TOKENS 8

static void step_item(void *arg, size_t index, unsigned thread)
{
	const struct ds_lm_step *step = arg;
	size_t end = (index + 1) * STEP_TOKENS;

	(void)thread;
	for (size_t i = index * STEP_TOKENS; i < end && i < step->n; i++)
		step->token(step, i);
}

void ds_lm_step_run(struct ds_lm_step *step)
{
	ds_pool_run(step->s->pool, (step->n + STEP_TOKENS - 1) / STEP_TOKENS, step_item, step);
}

/* The sum of squares mostly tells at once. */
void ds_lm_check(struct ds_session *s, const float *x, size_t n, float limit)
{
	float square = s->kern->dot(x, x, n);
	bool good = true;

	if (isfinite(square) && square <= limit * limit)
		return;
	for (size_t i = 0; i < n; i++)
		good = good && fabsf(x[i]) <= limit;
	if (!good)
		atomic_store_explicit(&s->bad, true, memory_order_relaxed);
}

float *ds_lm_stream_out(const struct ds_session *s, const struct ds_lm_pass *pass)
{
	return s->x + (pass->n - pass->n_out) * s->lm->config.n_embd;
}

static void embed_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm *lm = s->lm;
	size_t n = lm->config.n_embd;
	float *x = s->x + i * n;

	lm->embed_decode(lm->embed->data + step->id[i] * lm->embed_row_bytes, x, n);
	if (lm->config.embed_scale != 1)
		s->kern->scale(x, x, n, lm->config.embed_scale);
	for (unsigned r = 0; r < DS_LM_ROPES; r++)
		if (s->rope[r])
			ds_rope_table(&lm->rope[r], ds_lm_pos(step->pass, i),
				      s->rope[r] + i * 2 * lm->rope[r].dims);
}

static void norm_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;

	s->kern->rmsnorm(step->in + i * c->n_embd, step->gain, ds_act_row(s->act, i), c->n_embd,
			 c->eps);
	ds_act_round(s->kern, s->act, i);
}

void ds_lm_norm(struct ds_session *s, const float *rows, size_t n, const float *gain)
{
	struct ds_lm_step step = {.s = s, .gain = gain, .in = rows, .token = norm_token, .n = n};

	ds_act_begin(s->act, n, s->lm->config.n_embd);
	ds_lm_step_run(&step);
}

static void embed_adapters(struct ds_session *s, const uint32_t *id, size_t n)
{
	const struct ds_lora_linear with = {s->linear, s->kern, &s->lora};
	const struct ds_lm *lm = s->lm;
	const struct ds_lora_rows rows = {.base = lm->embed->data,
					  .id = id,
					  .n = n,
					  .k = lm->config.n_embd,
					  .scale = lm->config.embed_scale,
					  .x = s->x};

	ds_lora_embed(&with, &rows);
}

void ds_lm_run(struct ds_session *s, const struct ds_product *product, size_t n_product, size_t n)
{
	const struct ds_lora_linear with = {s->linear, s->kern, &s->lora};

	ds_lora_run(&with, product, n_product, s->act, n);
}

static void round_token(const struct ds_lm_step *step, size_t i)
{
	ds_act_round(step->s->kern, step->s->act, i);
}

void ds_lm_round(struct ds_session *s, size_t n)
{
	struct ds_lm_step step = {.s = s, .token = round_token, .n = n};

	ds_lm_step_run(&step);
}

static void post_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	float *y = s->branch + i * c->n_embd;

	s->kern->rmsnorm(y, step->gain, y, c->n_embd, c->eps);
	s->kern->add(step->out + i * c->n_embd, y, c->n_embd);
}

void ds_lm_block_out(struct ds_session *s, const struct ds_lm_map *map, const float *post_norm,
		     const struct ds_lm_pass *pass)
{
	size_t n_embd = s->lm->config.n_embd;
	float *x = ds_lm_stream_out(s, pass);
	struct ds_lm_step step = {
		.s = s, .gain = post_norm, .out = x, .token = post_token, .n = pass->n_out};

	ds_lm_run(s,
		  &(struct ds_product){.w = &map->w,
				       .bias = map->bias,
				       .y = post_norm ? s->branch : x,
				       .ld = n_embd,
				       .add = !post_norm},
		  1, pass->n_out);
	if (post_norm)
		ds_lm_step_run(&step);
}

/* Norms and rotary positions of n heads. */
static void place_heads(const struct ds_lm_step *step, float *heads, size_t n, const float *gain,
			size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_rope *rope = &s->lm->rope[step->layer->rope];

	for (size_t h = 0; gain && h < n; h++)
		s->kern->rmsnorm(heads + h * c->dim_k, gain, heads + h * c->dim_k, c->dim_k,
				 c->eps);
	ds_rope_apply(rope, s->kern, s->rope[step->layer->rope] + i * 2 * rope->dims, heads, n,
		      c->dim_k);
	ds_lm_check(s, heads, n * c->dim_k, DS_LM_HALF_MAX);
}

static void place_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	const struct ds_lm_pass *pass = step->pass;
	struct ds_session *owner = ds_lm_owner(s, pass, i);
	size_t pos = ds_lm_pos(pass, i);
	float *k = s->k + i * c->n_head_kv * c->dim_k, *v = s->v + i * c->n_head_kv * c->dim_v;

	place_heads(step, k, c->n_head_kv, step->layer->k_norm, i);
	ds_lm_check(s, v, c->n_head_kv * c->dim_v, DS_LM_HALF_MAX);
	ds_kv_put(owner->kv, s->kern, ds_lm_kv_layer(owner, step->layer), pos, k, v);
	if (i >= pass->n - pass->n_out) {
		float *q = s->q + i * c->n_head * c->dim_k;

		place_heads(step, q, c->n_head, step->layer->q_norm, i);
		ds_lm_carry_note(owner, step->layer, pos, q);
	}
}

/* Pages that have become full, of every KV head. */
static void seal_page(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	size_t n_head = s->lm->config.n_head_kv;

	ds_kv_seal(s->kv, s->kern, ds_lm_kv_layer(s, step->layer), (uint32_t)(i % n_head),
		   step->pass->pos / DS_KV_PAGE + i / n_head);
}

static void seal_pages(struct ds_lm_step *step)
{
	const struct ds_lm_pass *pass = step->pass;
	size_t pages = (pass->pos + pass->n) / DS_KV_PAGE - pass->pos / DS_KV_PAGE;

	if (ds_kv_shape(step->s->kv)->recent && pages)
		ds_lm_each(step, pages * step->s->lm->config.n_head_kv, seal_page);
}

/* Tokens of owner, with the rest of what the call needs. */
static void attend(struct ds_session *s, struct ds_session *owner, const struct ds_lm_layer *layer,
		   struct ds_attn_call call)
{
	const struct ds_lm_config *c = &s->lm->config;
	size_t width = c->n_head * c->dim_k;

	call.kv = owner->kv;
	call.layer = ds_lm_kv_layer(owner, layer);
	call.n_head = (uint32_t)c->n_head;
	call.q_stride = width;
	call.scale = c->attn_scale;
	call.window = layer->window;
	call.question = call.pos >= ds_lm_question(owner);
	call.answer = call.pos >= ds_lm_answer(owner);
	call.boundaries = owner->boundaries;
	call.out_stride = c->n_head * c->dim_v;
	ds_attn_run(ds_lm_attn(owner, layer), &call);
}

/* The token of one session, on one thread. */
static void attend_token(void *arg, size_t i, unsigned thread)
{
	const struct ds_lm_step *step = arg;
	struct ds_session *s = step->s, *owner = ds_lm_owner(s, step->pass, i);
	const struct ds_lm_config *c = &s->lm->config;
	size_t pos = ds_lm_pos(step->pass, i);
	struct ds_lm_pass pass = {.pos = pos, .n = 1};
	struct ds_lm_step own = {.s = owner, .layer = step->layer, .pass = &pass};

	(void)thread;
	seal_pages(&own);
	attend(s, owner, step->layer,
	       (struct ds_attn_call){.pos = pos,
				     .n = 1,
				     .q = s->q + i * c->n_head * c->dim_k,
				     .out = ds_act_row(s->act, i)});
}

void ds_lm_attention(struct ds_session *s, const struct ds_lm_layer *layer,
		     const struct ds_lm_pass *pass)
{
	const struct ds_lm_config *c = &s->lm->config;
	size_t skip = pass->n - pass->n_out;
	const struct ds_product qkv[] = {ds_lm_product(&layer->k, s->k),
					 ds_lm_product(&layer->v, s->v),
					 ds_lm_product(&layer->q, s->q)};
	struct ds_lm_step step = {.s = s, .layer = layer, .pass = pass};

	ds_lm_norm(s, s->x, pass->n, layer->attn_norm);
	ds_lm_run(s, qkv, pass->n_out ? 3 : 2, pass->n);
	ds_lm_each(&step, pass->n, place_token);
	if (!pass->each)
		seal_pages(&step);
	if (!pass->n_out)
		return;
	ds_act_begin(s->act, pass->n_out, c->n_head * c->dim_v);
	if (pass->each)
		ds_pool_run(s->pool, pass->n, attend_token, &step);
	else
		attend(s, s, layer,
		       (struct ds_attn_call){.pos = pass->pos + skip,
					     .n = pass->n_out,
					     .q = s->q + skip * c->n_head * c->dim_k,
					     .out = ds_act_row(s->act, 0)});
	ds_lm_round(s, pass->n_out);
	ds_lm_block_out(s, &layer->out, layer->attn_post_norm, pass);
}

static void gate_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	size_t n = s->lm->config.n_ff;

	s->lm->gate(s->gate + i * n, s->up + i * n, ds_act_row(s->act, i), n);
	ds_act_round(s->kern, s->act, i);
}

void ds_lm_feed_forward(struct ds_session *s, const struct ds_lm_layer *layer,
			const struct ds_lm_pass *pass)
{
	const struct ds_product gate_up[] = {ds_lm_product(&layer->gate, s->gate),
					     ds_lm_product(&layer->up, s->up)};
	struct ds_lm_step step = {.s = s, .token = gate_token, .n = pass->n_out};

	if (!pass->n_out)
		return;
	ds_lm_norm(s, ds_lm_stream_out(s, pass), pass->n_out, layer->ffn_norm);
	ds_lm_run(s, gate_up, 2, pass->n_out);
	ds_act_begin(s->act, pass->n_out, s->lm->config.n_ff);
	ds_lm_step_run(&step);
	ds_lm_block_out(s, &layer->down, layer->ffn_post_norm, pass);
}

/* step->out: final states, of the last n_out tokens. */
static void final_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	const struct ds_lm_config *c = &s->lm->config;
	const float *x = s->x + i * c->n_embd;
	size_t skip = step->pass->n - step->pass->n_out;

	ds_lm_check(s, x, c->n_embd, FLT_MAX);
	if (i >= skip) {
		float *state = step->out + (i - skip) * c->n_embd;

		s->kern->rmsnorm(x, s->lm->norm, state, c->n_embd, c->eps);
		ds_lm_check(s, state, c->n_embd, FLT_MAX);
	}
}

void ds_lm_forward(struct ds_session *s, const uint32_t *id, const struct ds_lm_pass *pass,
		   float *state)
{
	const struct ds_lm *lm = s->lm;
	size_t n_layer = lm->config.n_layer;
	struct ds_lm_pass all = *pass;
	struct ds_lm_step step = {.s = s, .pass = pass, .id = id, .out = state, .n = pass->n};
	bool queries = ds_lm_carry_wants(s, pass);

	all.n_out = all.n;
	step.token = embed_token;
	ds_lm_step_run(&step);
	embed_adapters(s, id, pass->n);
	for (size_t i = 0; i < n_layer; i++) {
		const struct ds_lm_layer *layer = &lm->layer[i];
		const struct ds_lm_pass *now = i < s->last_layer || queries ? &all : pass;

		if (ds_lm_kv_layer(s, layer) == DS_LM_SKIPPED)
			continue;
		ds_lm_influence_before(s, now);
		layer->attention(s, layer, now);
		layer->feed_forward(s, layer, now);
		ds_lm_influence_after(s, layer, now);
	}
	step.token = final_token;
	ds_lm_step_run(&step);
}

static void state_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	size_t n = s->lm->config.n_embd;

	memcpy(ds_act_row(s->act, i), step->in + i * n, n * sizeof *step->in);
	ds_act_round(s->kern, s->act, i);
}

void ds_lm_head(struct ds_session *s, const float *state, size_t n, float *out)
{
	struct ds_product logits = ds_lm_product(&s->lm->head, out);
	struct ds_lm_step step = {.s = s, .in = state, .token = state_token, .n = n};

	ds_act_begin(s->act, n, s->lm->config.n_embd);
	ds_lm_step_run(&step);
	ds_lm_run(s, &logits, 1, n);
	for (size_t i = 0; i < n; i++)
		ds_lm_check(s, out + i * logits.ld, logits.ld, FLT_MAX);
}
