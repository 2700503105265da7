/*
 * lm_open.c - opening language models: architectures, and tensors by llama.cpp's names
 *
 * Matrices are borrowed from the map; norms and biases, a few kilobytes, are decoded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/types.h"
#include "model/lm_net.h"

#define NAME_BYTES 96

typedef unsigned long long ull;

static const struct ds_gguf_tensor *find(const struct ds_lm_loader *l, const char *name)
{
	return l->weights->find(l->weights->source, name);
}

/* The tensor has its place. */
static void take(struct ds_lm_loader *l, const char *name)
{
	l->taken[find(l, name) - l->model->gguf.tensor] = true;
}

static enum ds_status load_vector(struct ds_lm_loader *l, const char *name, size_t n,
				  const float **vector_ret)
{
	float *v = ds_kern_floats(&l->lm->mem, ds_kern_pad(n));

	if (!v)
		return ds_fail_nomem(l->err, n * sizeof *v);
	DS_TRY(ds_weights_load(l->weights, name, n, 1, v, l->err));
	take(l, name);
	*vector_ret = v;
	return DS_OK;
}

/* stem.weight, and stem.bias where there is one. */
static enum ds_status load_map(struct ds_lm_loader *l, const char *stem, const size_t n_k[2],
			       struct ds_lm_map *map)
{
	char name[NAME_BYTES];

	snprintf(name, sizeof name, "%s.weight", stem);
	DS_TRY(ds_weights_matrix(l->weights, name, n_k[1], n_k[0], &map->w, l->err));
	take(l, name);
	snprintf(name, sizeof name, "%s.bias", stem);
	map->bias = NULL;
	return find(l, name) ? load_vector(l, name, n_k[0], &map->bias) : DS_OK;
}

enum ds_status ds_lm_load_map(struct ds_lm_loader *l, uint32_t layer, const char *part,
			      const size_t n_k[2], struct ds_lm_map *map_ret)
{
	char stem[NAME_BYTES - 16];

	snprintf(stem, sizeof stem, "blk.%u.%s", layer, part);
	return load_map(l, stem, n_k, map_ret);
}

enum ds_status ds_lm_load_norm(struct ds_lm_loader *l, uint32_t layer, const char *part, size_t n,
			       const float **norm_ret)
{
	char name[NAME_BYTES];

	snprintf(name, sizeof name, "blk.%u.%s.weight", layer, part);
	return load_vector(l, name, n, norm_ret);
}

bool ds_lm_has(const struct ds_lm_loader *l, uint32_t layer, const char *name)
{
	char full[NAME_BYTES];

	snprintf(full, sizeof full, "blk.%u.%s", layer, name);
	return find(l, full) != NULL;
}

enum ds_status ds_lm_load_vector(struct ds_lm_loader *l, uint32_t layer, const char *name, size_t n,
				 const float **vector_ret)
{
	char full[NAME_BYTES];

	snprintf(full, sizeof full, "blk.%u.%s", layer, name);
	return load_vector(l, full, n, vector_ret);
}

enum ds_status ds_lm_load_stack(struct ds_lm_loader *l, uint32_t layer, const char *part,
				const size_t m_n_k[3], struct ds_matrix *matrix_ret)
{
	char name[NAME_BYTES];

	snprintf(name, sizeof name, "blk.%u.%s.weight", layer, part);
	DS_TRY(ds_weights_stack(l->weights, name, (uint64_t[]){m_n_k[2], m_n_k[1], m_n_k[0]},
				matrix_ret, l->err));
	take(l, name);
	return DS_OK;
}

/* Token embeddings: rows of any type that can be decoded. */
static enum ds_status load_embeddings(struct ds_lm_loader *l)
{
	struct ds_lm *lm = l->lm;
	const struct ds_gguf_tensor *t;
	struct ds_matrix rows;

	/* a matrix as well, so that its data is sampled only; and most often it is the head */
	DS_TRY(ds_weights_matrix(l->weights, "token_embd.weight", lm->config.n_embd, lm->n_vocab,
				 &rows, l->err));
	take(l, "token_embd.weight");
	t = find(l, "token_embd.weight");
	lm->embed = t;
	lm->embed_decode = ds_quant_decoder(t->type);
	lm->embed_row_bytes = rows.row_bytes;
	lm->head.w = rows;
	return DS_OK;
}

/* What is not in a layer. */
static enum ds_status load_ends(struct ds_lm_loader *l)
{
	struct ds_lm *lm = l->lm;
	struct ds_lm_config *c = &lm->config;
	const size_t head[2] = {lm->n_vocab, c->n_embd};

	DS_TRY(load_embeddings(l));
	DS_TRY(load_vector(l, "output_norm.weight", c->n_embd, &lm->norm));
	if (find(l, "output.weight"))
		DS_TRY(load_map(l, "output", head, &lm->head));
	if (find(l, "rope_freqs.weight"))
		DS_TRY(load_vector(l, "rope_freqs.weight", c->rope.dims / 2, &c->rope.factors));
	return DS_OK;
}

static enum ds_status init_rope(struct ds_lm_loader *l)
{
	const struct ds_lm_config *c = &l->lm->config;
	const struct ds_rope_config *rope[DS_LM_ROPES] = {&c->rope, &c->rope_window};

	for (size_t i = 0; i < (c->window ? DS_LM_ROPES : 1); i++) {
		enum ds_status st = ds_rope_init(&l->lm->rope[i], rope[i], l->err);

		if (st != DS_OK) {
			ds_err_set_path(l->err, l->model->path);
			return st;
		}
	}
	return DS_OK;
}

/* Whether the tensor is of a layer that predicts tokens further ahead, which is left out. */
static bool predicts(const struct ds_lm_config *c, struct ds_str name)
{
	uint64_t layer = 0;

	if (name.len < 4 || memcmp(name.s, "blk.", 4) != 0)
		return false;
	for (size_t i = 4; i < name.len && name.s[i] >= '0' && name.s[i] <= '9' && i < 12; i++)
		layer = layer * 10 + (uint64_t)(name.s[i] - '0');
	return layer >= c->n_layer && layer < c->n_layer + c->n_predict;
}

/* A tensor without a place means a network that is not understood in full. */
static enum ds_status check_all_taken(const struct ds_lm_loader *l)
{
	const struct ds_gguf *g = &l->model->gguf;

	for (size_t i = 0; i < g->n_tensor; i++)
		if (!l->taken[i] && !predicts(&l->lm->config, g->tensor[i].name))
			return ds_fail_at(
				l->err, DS_EUNSUPPORTED, l->model->path, g->tensor[i].offset,
				"tensor %.*s has no place in architecture %s",
				g->tensor[i].name.len > 64 ? 64 : (int)g->tensor[i].name.len,
				g->tensor[i].name.s, l->model->arch->name);
	return DS_OK;
}

static enum ds_status load(struct ds_lm_loader *l, const struct ds_lm_arch *arch)
{
	struct ds_lm *lm = l->lm;
	const struct ds_lm_config *c = &lm->config;

	lm->layer = ds_arena_alloc(&lm->mem, c->n_layer, sizeof *lm->layer);
	l->taken = ds_alloc_zero(l->model->gguf.n_tensor, sizeof *l->taken);
	if (!lm->layer || !l->taken)
		return ds_fail_nomem(l->err, c->n_layer * sizeof *lm->layer);
	memset(lm->layer, 0, c->n_layer * sizeof *lm->layer);
	DS_TRY(load_ends(l));
	DS_TRY(init_rope(l));
	for (uint32_t i = 0; i < c->n_layer; i++) {
		struct ds_lm_layer *layer = &lm->layer[i];

		layer->index = i;
		layer->window = c->windowed[i] ? (uint32_t)c->window : 0;
		layer->rope = c->windowed[i] ? DS_LM_ROPE_WINDOW : DS_LM_ROPE;
		DS_TRY(arch->load_layer(l, layer));
	}
	return check_all_taken(l);
}

/* The settings of the architecture into the fingerprint. */
static void digest_settings(const struct ds_model *model, struct ds_weights *weights)
{
	size_t n = strlen(model->arch->name);

	for (size_t i = 0; i < model->gguf.n_kv; i++) {
		const struct ds_gguf_kv *kv = &model->gguf.kv[i];

		if (kv->key.len <= n || memcmp(kv->key.s, model->arch->name, n) != 0 ||
		    kv->key.s[n] != '.')
			continue;
		ds_weights_digest(weights, kv->key.s, kv->key.len);
		ds_weights_digest(weights, &kv->type, sizeof kv->type);
		ds_weights_digest(weights, kv->data, kv->data_len);
	}
}

enum ds_status ds_lm_open(struct ds_model *model, struct ds_weights *weights, struct ds_err *err)
{
	/* struct ds_lm_arch begins with its struct ds_arch */
	const struct ds_lm_arch *arch = (const struct ds_lm_arch *)model->arch;
	struct ds_lm_keys keys = {&model->gguf, model->arch->name};
	struct ds_lm *lm = ds_alloc_zero(1, sizeof *lm);
	struct ds_lm_loader l = {.model = model, .lm = lm, .weights = weights, .err = err};
	enum ds_status st;

	if (!lm)
		return ds_fail_nomem(err, sizeof *lm);
	model->net = lm;
	ds_arena_init(&lm->mem);
	lm->n_vocab = ds_tokenizer_size(model->tok);
	lm->gate = model->kern->silu_mul;
	DS_TRY(ds_lm_config_read(&keys, arch->pairs, &lm->config, err));
	if (arch->config)
		DS_TRY(arch->config(&keys, &lm->config, err));
	if (!lm->config.moe.route.n_expert)
		DS_TRY(ds_lm_key_refuse(&keys, "expert_count", err));
	DS_TRY(ds_lm_pooling(model, &model->pooling, err));
	digest_settings(model, weights);
	st = load(&l, arch);
	free(l.taken);
	if (st != DS_OK)
		return st;
	model->dims = (uint32_t)lm->config.n_embd;
	model->context = (uint32_t)lm->config.n_context;
	snprintf(model->describe, sizeof model->describe,
		 "%s, %u layers, %u dimensions, %u tokens of context, %u in the vocabulary",
		 model->arch->name, (unsigned)lm->config.n_layer, model->dims, model->context,
		 lm->n_vocab);
	return DS_OK;
}

void ds_lm_close(void *net)
{
	struct ds_lm *lm = net;

	ds_arena_fini(&lm->mem);
	free(lm);
}

static enum ds_status load_layer(struct ds_lm_loader *l, struct ds_lm_layer *layer)
{
	const struct ds_lm_config *c = &l->lm->config;
	size_t n = c->n_embd, ff = c->n_ff, q = c->n_head * c->dim_k;
	size_t k = c->n_head_kv * c->dim_k, v = c->n_head_kv * c->dim_v;
	const struct {
		const char *part;
		struct ds_lm_map *map;
		size_t n_k[2];
	} maps[] = {{"attn_q", &layer->q, {q, n}},
		    {"attn_k", &layer->k, {k, n}},
		    {"attn_v", &layer->v, {v, n}},
		    {"attn_output", &layer->out, {n, c->n_head * c->dim_v}},
		    {"ffn_gate", &layer->gate, {ff, n}},
		    {"ffn_up", &layer->up, {ff, n}},
		    {"ffn_down", &layer->down, {n, ff}}};

	layer->attention = ds_lm_attention;
	layer->feed_forward = ds_lm_feed_forward;
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
		DS_TRY(ds_lm_load_map(l, layer->index, maps[i].part, maps[i].n_k, maps[i].map));
	DS_TRY(ds_lm_load_norm(l, layer->index, "attn_norm", n, &layer->attn_norm));
	return ds_lm_load_norm(l, layer->index, "ffn_norm", n, &layer->ffn_norm);
}

static enum ds_status load_layer_gemma3(struct ds_lm_loader *l, struct ds_lm_layer *layer)
{
	const struct ds_lm_config *c = &l->lm->config;

	l->lm->gate = l->model->kern->gelu_mul;
	DS_TRY(load_layer(l, layer));
	DS_TRY(ds_lm_load_norm(l, layer->index, "attn_q_norm", c->dim_k, &layer->q_norm));
	DS_TRY(ds_lm_load_norm(l, layer->index, "attn_k_norm", c->dim_k, &layer->k_norm));
	DS_TRY(ds_lm_load_norm(l, layer->index, "post_attention_norm", c->n_embd,
			       &layer->attn_post_norm));
	return ds_lm_load_norm(l, layer->index, "post_ffw_norm", c->n_embd, &layer->ffn_post_norm);
}

const struct ds_lm_arch ds_lm_llama = {
	.arch = DS_LM_ARCH("llama"), .pairs = true, .load_layer = load_layer};
const struct ds_lm_arch ds_lm_qwen2 = {.arch = DS_LM_ARCH("qwen2"), .load_layer = load_layer};
const struct ds_lm_arch ds_lm_gemma3 = {.arch = DS_LM_ARCH("gemma3"),
					.config = ds_lm_config_gemma3,
					.load_layer = load_layer_gemma3};

bool ds_model_is_lm(const struct ds_model *model)
{
	return model->arch->close == ds_lm_close;
}

const char *ds_model_chat_template(const struct ds_model *model, size_t *len_ret)
{
	struct ds_str text;

	if (!model->gguf.data ||
	    ds_gguf_str(&model->gguf, "tokenizer.chat_template", &text, NULL) != DS_OK)
		return NULL;
	*len_ret = text.len;
	return text.s;
}

uint32_t ds_model_vocab(const struct ds_model *model)
{
	return ds_tokenizer_size(model->tok);
}
