/* lm_deepseek2.c - settings, tensors and memory of DeepSeek-V2, V3 and R1 */
#include "model/lm_deepseek2.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/elementary.h"

/* Far beyond any model. */
#define LORA_MAX 16384

typedef unsigned long long ull;

static enum ds_status refuse(const struct ds_lm_keys *keys, enum ds_status status, const char *what,
			     struct ds_err *err)
{
	return ds_fail_at(err, status, keys->gguf->path, DS_NO_OFFSET, "%s: %s", keys->arch, what);
}

/* Heads.  With key_length_mla the file is for the absorbed form: key_length and value_length are
 * those of the one KV head of latents, the others of the heads that they stand for. */
static enum ds_status read_mla(const struct ds_lm_keys *keys, struct ds_lm_config *c,
			       struct ds_err *err)
{
	struct ds_lm_mla_config *m = &c->mla;
	uint64_t dim, value;

	DS_TRY(ds_lm_key_u64_or(keys, "attention.q_lora_rank", 0, &m->q_lora, err));
	DS_TRY(ds_lm_key_range(keys, "attention.q_lora_rank", m->q_lora, 0, LORA_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "attention.kv_lora_rank", &m->kv_lora, err));
	DS_TRY(ds_lm_key_range(keys, "attention.kv_lora_rank", m->kv_lora, 1, LORA_MAX, err));
	DS_TRY(ds_lm_key_u64_or(keys, "attention.key_length_mla", 0, &dim, err));
	DS_TRY(ds_lm_key_u64_or(keys, "attention.value_length_mla", 0, &value, err));
	m->absorbed = dim != 0;
	if (m->absorbed != (value != 0))
		return refuse(keys, DS_EFORMAT,
			      "one of attention.key_length_mla and value_length_mla alone", err);
	if (!m->absorbed) {
		dim = c->dim_k;
		value = c->dim_v;
	}
	DS_TRY(ds_lm_key_range(keys,
			       m->absorbed ? "attention.key_length_mla" : "attention.key_length",
			       dim, c->rope.dims + 1, DS_LM_DIM_MAX, err));
	DS_TRY(ds_lm_key_range(keys, "attention.value_length_mla", value, 1, DS_LM_DIM_MAX, err));
	m->nope = dim - c->rope.dims;
	m->value = value;
	if (m->absorbed &&
	    (c->n_head_kv != 1 || c->dim_k != m->kv_lora + c->rope.dims || c->dim_v != m->kv_lora))
		return refuse(keys, DS_EFORMAT,
			      "one KV head, keys of kv_lora_rank + rope.dimension_count and values "
			      "of kv_lora_rank expected",
			      err);
	if (!m->absorbed && c->n_head_kv != c->n_head)
		return refuse(keys, DS_EFORMAT, "as many KV heads as heads expected", err);
	return DS_OK;
}

/*
 * YaRN as DeepSeek uses it: mscale, which the scores get, is 1 + ln(factor) mscale_all_dim / 10;
 * the file's multiplier is mscale_all_dim / 10.  Sines and cosines have magnitude 1 then, and
 * 1 + ln(factor) / 10 without a multiplier.
 */
static enum ds_status read_scaling(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				   struct ds_err *err)
{
	double multiplier, log_factor = -ds_log(c->rope.scale), plain = 1 + 0.1 * log_factor;
	double magnitude = c->rope.attn_factor, mscale;

	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.yarn_log_multiplier", 0, &multiplier, err));
	if (!(fabs(multiplier) <= 10))
		return refuse(keys, DS_EFORMAT,
			      "rope.scaling.yarn_log_multiplier: at most 10 expected", err);
	if (c->rope.ext_factor == 0) {
		if (c->rope.scale != 1)
			return refuse(keys, DS_EUNSUPPORTED,
				      "rope.scaling.type: yarn expected where there is a factor",
				      err);
	} else if (multiplier != 0) {
		c->rope.attn_factor /= plain;
	} else {
		magnitude *= plain;
	}
	mscale = magnitude * (1 + multiplier * log_factor);
	c->attn_scale = (float)(mscale * mscale / sqrt((double)(c->mla.nope + c->rope.dims)));
	return DS_OK;
}

static enum ds_status read_experts(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				   struct ds_err *err)
{
	struct ds_lm_moe_config *m = &c->moe;
	uint64_t n_expert, n_used, n_group, n_group_used, shared, gating, normalise;
	double scale;

	DS_TRY(ds_lm_key_u64_or(keys, "leading_dense_block_count", 0, &m->n_dense, err));
	DS_TRY(ds_lm_key_range(keys, "leading_dense_block_count", m->n_dense, 0, c->n_layer, err));
	DS_TRY(ds_lm_key_u64(keys, "expert_feed_forward_length", &m->n_ff, err));
	DS_TRY(ds_lm_key_range(keys, "expert_feed_forward_length", m->n_ff, 1, DS_LM_FF_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "expert_shared_count", &shared, err));
	DS_TRY(ds_lm_key_range(keys, "expert_shared_count", shared, 0, DS_LM_FF_MAX / m->n_ff,
			       err));
	m->n_ff_shared = m->n_ff * shared;
	DS_TRY(ds_lm_key_u64(keys, "expert_count", &n_expert, err));
	DS_TRY(ds_lm_key_range(keys, "expert_count", n_expert, 1, DS_EXPERTS_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "expert_used_count", &n_used, err));
	DS_TRY(ds_lm_key_range(keys, "expert_used_count", n_used, 1, n_expert, err));
	DS_TRY(ds_lm_key_u64_or(keys, "expert_group_count", 0, &n_group, err));
	DS_TRY(ds_lm_key_range(keys, "expert_group_count", n_group, 0, n_expert, err));
	DS_TRY(ds_lm_key_u64_or(keys, "expert_group_used_count", 0, &n_group_used, err));
	DS_TRY(ds_lm_key_range(keys, "expert_group_used_count", n_group_used, 0, n_expert, err));
	/* files of V2 name no function, some write 0 */
	DS_TRY(ds_lm_key_u64_or(keys, "expert_gating_func", 0, &gating, err));
	DS_TRY(ds_lm_key_range(keys, "expert_gating_func", gating, 0, 255, err));
	DS_TRY(ds_lm_key_u64_or(keys, "expert_weights_norm", 0, &normalise, err));
	DS_TRY(ds_lm_key_f64_or(keys, "expert_weights_scale", 0, &scale, err));
	m->route = (struct ds_route){
		.n_expert = (uint32_t)n_expert,
		.n_used = (uint32_t)n_used,
		.n_group = (uint32_t)n_group,
		.n_group_used = (uint32_t)n_group_used,
		.gating = gating ? (enum ds_gating)gating : DS_GATING_SOFTMAX,
		.normalise = normalise != 0,
		.scale = scale != 0 ? (float)scale : 1,
	};
	if (ds_route_check(&m->route, err) == DS_OK)
		return DS_OK;
	ds_err_set_path(err, keys->gguf->path);
	return err ? err->status : DS_EFORMAT;
}

static enum ds_status config_deepseek2(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				       struct ds_err *err)
{
	DS_TRY(ds_lm_key_refuse(keys, "attention.temperature_scale", err));
	DS_TRY(ds_lm_key_u64_or(keys, "nextn_predict_layers", 0, &c->n_predict, err));
	DS_TRY(ds_lm_key_range(keys, "nextn_predict_layers", c->n_predict, 0, c->n_layer - 1, err));
	c->n_layer -= c->n_predict;
	DS_TRY(read_mla(keys, c, err));
	DS_TRY(read_scaling(keys, c, err));
	return read_experts(keys, c, err);
}

struct map_at {
	const char *part;
	struct ds_lm_map *map;
	size_t n_k[2];
};

static enum ds_status load_maps(struct ds_lm_loader *l, uint32_t layer, const struct map_at *maps,
				size_t n)
{
	for (size_t i = 0; i < n; i++)
		DS_TRY(ds_lm_load_map(l, layer, maps[i].part, maps[i].n_k, maps[i].map));
	return DS_OK;
}

/* A matrix a head, or an expert: the tensor's three dimensions. */
static enum ds_status load_heads(struct ds_lm_loader *l, uint32_t layer, const char *part,
				 const size_t n_k[2], struct ds_matrix **heads_ret)
{
	size_t n_head = l->lm->config.n_head;
	struct ds_matrix all, *heads = ds_arena_alloc(&l->lm->mem, n_head, sizeof *heads);

	if (!heads)
		return ds_fail_nomem(l->err, n_head * sizeof *heads);
	DS_TRY(ds_lm_load_stack(l, layer, part, (size_t[]){n_head, n_k[0], n_k[1]}, &all));
	for (size_t h = 0; h < n_head; h++) {
		heads[h] = all;
		heads[h].n = n_k[0];
		heads[h].data += h * n_k[0] * all.row_bytes;
	}
	*heads_ret = heads;
	return DS_OK;
}

static enum ds_status load_mla(struct ds_lm_loader *l, struct ds_lm_layer *layer,
			       struct ds_lm_mla *mla)
{
	const struct ds_lm_config *c = &l->lm->config;
	const struct ds_lm_mla_config *m = &c->mla;
	size_t n = c->n_embd, q = c->n_head * (m->nope + c->rope.dims);
	uint32_t i = layer->index;
	const struct map_at two[] = {{"attn_q_a", &mla->q_a, {m->q_lora, n}},
				     {"attn_q_b", &mla->q_b, {q, m->q_lora}}};
	const struct map_at one[] = {{"attn_q", &layer->q, {q, n}}};
	const struct map_at both[] = {{"attn_kv_a_mqa", &mla->kv_a, {m->kv_lora + c->rope.dims, n}},
				      {"attn_output", &layer->out, {n, c->n_head * m->value}}};
	const struct map_at kv_b[] = {
		{"attn_kv_b", &mla->kv_b, {c->n_head * (m->nope + m->value), m->kv_lora}}};

	if (m->q_lora) {
		DS_TRY(load_maps(l, i, two, 2));
		DS_TRY(ds_lm_load_norm(l, i, "attn_q_a_norm", m->q_lora, &mla->q_a_norm));
	} else {
		DS_TRY(load_maps(l, i, one, 1));
	}
	DS_TRY(load_maps(l, i, both, 2));
	DS_TRY(ds_lm_load_norm(l, i, "attn_kv_a_norm", m->kv_lora, &mla->kv_a_norm));
	if (!m->absorbed)
		return load_maps(l, i, kv_b, 1);
	DS_TRY(load_heads(l, i, "attn_k_b", (size_t[]){m->kv_lora, m->nope}, &mla->k_b));
	return load_heads(l, i, "attn_v_b", (size_t[]){m->value, m->kv_lora}, &mla->v_b);
}

static enum ds_status load_experts(struct ds_lm_loader *l, uint32_t layer, const char *part,
				   const size_t n_k[2], struct ds_lm_experts *experts)
{
	size_t n_expert = l->lm->config.moe.route.n_expert;

	DS_TRY(ds_lm_load_stack(l, layer, part, (size_t[]){n_expert, n_k[0], n_k[1]},
				&experts->first));
	experts->first.n = experts->stride = n_k[0];
	return DS_OK;
}

/* gate and up apart, or as one tensor, each expert's gate before its up. */
static enum ds_status load_gate_up(struct ds_lm_loader *l, uint32_t layer, struct ds_lm_moe *moe)
{
	const struct ds_lm_config *c = &l->lm->config;
	const size_t one[2] = {c->moe.n_ff, c->n_embd}, two[2] = {2 * c->moe.n_ff, c->n_embd};

	if (!ds_lm_has(l, layer, "ffn_gate_up_exps.weight")) {
		DS_TRY(load_experts(l, layer, "ffn_gate_exps", one, &moe->gate));
		return load_experts(l, layer, "ffn_up_exps", one, &moe->up);
	}
	DS_TRY(load_experts(l, layer, "ffn_gate_up_exps", two, &moe->gate));
	moe->gate.first.n = c->moe.n_ff;
	moe->up = moe->gate;
	moe->up.first.data += c->moe.n_ff * moe->up.first.row_bytes;
	return DS_OK;
}

static enum ds_status load_moe(struct ds_lm_loader *l, uint32_t layer, struct ds_lm_moe *moe)
{
	const struct ds_lm_config *c = &l->lm->config;
	size_t n = c->n_embd, ff = c->moe.n_ff_shared;
	const struct map_at router[] = {{"ffn_gate_inp", &moe->router, {c->moe.route.n_expert, n}}};
	const struct map_at shared[] = {{"ffn_gate_shexp", &moe->shared_gate, {ff, n}},
					{"ffn_up_shexp", &moe->shared_up, {ff, n}},
					{"ffn_down_shexp", &moe->shared_down, {n, ff}}};

	DS_TRY(load_maps(l, layer, router, 1));
	moe->bias = NULL;
	if (ds_lm_has(l, layer, "exp_probs_b.bias"))
		DS_TRY(ds_lm_load_vector(l, layer, "exp_probs_b.bias", c->moe.route.n_expert,
					 &moe->bias));
	DS_TRY(load_gate_up(l, layer, moe));
	DS_TRY(load_experts(l, layer, "ffn_down_exps", (size_t[]){n, c->moe.n_ff}, &moe->down));
	return ff ? load_maps(l, layer, shared, 3) : DS_OK;
}

static enum ds_status load_layer(struct ds_lm_loader *l, struct ds_lm_layer *layer)
{
	const struct ds_lm_config *c = &l->lm->config;
	size_t n = c->n_embd, ff = c->n_ff;
	struct ds_lm_mla *mla = ds_arena_alloc(&l->lm->mem, 1, sizeof *mla);
	struct ds_lm_moe *moe = ds_arena_alloc(&l->lm->mem, 1, sizeof *moe);
	const struct map_at dense[] = {{"ffn_gate", &layer->gate, {ff, n}},
				       {"ffn_up", &layer->up, {ff, n}},
				       {"ffn_down", &layer->down, {n, ff}}};

	if (!mla || !moe)
		return ds_fail_nomem(l->err, sizeof *mla + sizeof *moe);
	layer->mla = mla;
	layer->moe = moe;
	layer->attention = ds_lm_mla_attention;
	DS_TRY(ds_lm_load_norm(l, layer->index, "attn_norm", n, &layer->attn_norm));
	DS_TRY(load_mla(l, layer, mla));
	DS_TRY(ds_lm_load_norm(l, layer->index, "ffn_norm", n, &layer->ffn_norm));
	if (layer->index < c->moe.n_dense) {
		layer->feed_forward = ds_lm_feed_forward;
		return load_maps(l, layer->index, dense, 3);
	}
	layer->feed_forward = ds_lm_moe_feed_forward;
	return load_moe(l, layer->index, moe);
}

const struct ds_lm_arch ds_lm_deepseek2 = {
	.arch = DS_LM_ARCH("deepseek2"),
	.pairs = true,
	.config = config_deepseek2,
	.load_layer = load_layer,
	.extra_bytes = ds_lm_extra_bytes,
	.extra_new = ds_lm_extra_new,
	.extra_free = ds_lm_extra_free,
};
