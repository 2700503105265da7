/*
 * bert_open.c - settings and weights of BERT encoders, from GGUF files (llama.cpp's names) and from
 * Hugging Face folders
 */
#include "model/bert.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Far beyond any encoder; products of these and of tensor sizes stay below 2^63. */
#define LAYERS_MAX 1024
#define EMBD_MAX 65536
#define CONTEXT_MAX 65536
#define VOCAB_MAX (1 << 24)
#define JSON_BYTES_MAX ((size_t)1 << 20)

/* The parts of a layer, as the two kinds of file name them. */
enum part { Q, K, V, OUT, OUT_NORM, UP, DOWN, DOWN_NORM };
static const char *const part_gguf[] = {"attn_q",      "attn_k",	   "attn_v",
					"attn_output", "attn_output_norm", "ffn_up",
					"ffn_down",    "layer_output_norm"};
static const char *const part_hf[] = {"attention.self.query",
				      "attention.self.key",
				      "attention.self.value",
				      "attention.output.dense",
				      "attention.output.LayerNorm",
				      "intermediate.dense",
				      "output.dense",
				      "output.LayerNorm"};

/* What loading needs. */
struct loader {
	struct ds_bert *bert;
	struct ds_weights *weights;
	const char *prefix; /* of HF names; NULL: GGUF names */
	float *decoded;	    /* [n_type][n_embd] */
	struct ds_err *err;
};

static float *floats(struct loader *l, size_t n)
{
	float *p = ds_kern_floats(&l->bert->mem, n);

	if (!p)
		ds_fail_nomem(l->err, n * sizeof *p);
	return p;
}

/* "blk.3.attn_q.weight" or "encoder.layer.3.attention.self.query.weight" */
static void part_name(const struct loader *l, size_t layer, enum part part, const char *which,
		      char name[160])
{
	if (l->prefix)
		snprintf(name, 160, "%sencoder.layer.%zu.%s.%s", l->prefix, layer, part_hf[part],
			 which);
	else
		snprintf(name, 160, "blk.%zu.%s.%s", layer, part_gguf[part], which);
}

static enum ds_status load_norm(struct loader *l, const char *stem, float **norm_ret)
{
	size_t n = l->bert->config.n_embd;
	char name[200];

	*norm_ret = floats(l, 2 * n);
	if (!*norm_ret)
		return DS_ENOMEM;
	snprintf(name, sizeof name, "%s.weight", stem);
	DS_TRY(ds_weights_load(l->weights, name, n, 1, *norm_ret, l->err));
	snprintf(name, sizeof name, "%s.bias", stem);
	return ds_weights_load(l->weights, name, n, 1, *norm_ret + n, l->err);
}

static enum ds_status load_part_norm(struct loader *l, size_t layer, enum part part,
				     float **norm_ret)
{
	char stem[160];

	part_name(l, layer, part, "", stem);
	stem[strlen(stem) - 1] = 0; /* the dot before "weight" */
	return load_norm(l, stem, norm_ret);
}

/* A linear map of k to n values. */
static enum ds_status load_linear(struct loader *l, size_t layer, enum part part, size_t n,
				  size_t k, struct ds_bert_map *linear)
{
	char name[160];

	linear->bias = floats(l, n);
	if (!linear->bias)
		return DS_ENOMEM;
	part_name(l, layer, part, "weight", name);
	DS_TRY(ds_weights_matrix(l->weights, name, k, n, &linear->w, l->err));
	part_name(l, layer, part, "bias", name);
	return ds_weights_load(l->weights, name, n, 1, linear->bias, l->err);
}

static enum ds_status load_layer(struct loader *l, size_t i)
{
	struct ds_bert_layer *layer = &l->bert->layer[i];
	size_t n = l->bert->config.n_embd, ff = l->bert->config.n_ff;

	DS_TRY(load_linear(l, i, Q, n, n, &layer->qkv[0]));
	DS_TRY(load_linear(l, i, K, n, n, &layer->qkv[1]));
	DS_TRY(load_linear(l, i, V, n, n, &layer->qkv[2]));
	DS_TRY(load_linear(l, i, OUT, n, n, &layer->out));
	DS_TRY(load_part_norm(l, i, OUT_NORM, &layer->attn_norm));
	DS_TRY(load_linear(l, i, UP, ff, n, &layer->up));
	DS_TRY(load_linear(l, i, DOWN, n, ff, &layer->down));
	return load_part_norm(l, i, DOWN_NORM, &layer->ffn_norm);
}

/* Words, positions, segment types and their norm. */
static enum ds_status load_embeddings(struct loader *l)
{
	static const char *const gguf[] = {"token_embd.weight", "token_types.weight",
					   "position_embd.weight", "token_embd_norm"};
	static const char *const hf[] = {
		"embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight",
		"embeddings.position_embeddings.weight", "embeddings.LayerNorm"};
	const struct ds_bert_config *c = &l->bert->config;
	struct ds_bert *bert = l->bert;
	char name[4][80];

	for (size_t i = 0; i < 4; i++)
		snprintf(name[i], sizeof name[i], "%s%s", l->prefix ? l->prefix : "",
			 l->prefix ? hf[i] : gguf[i]);
	DS_TRY(ds_weights_tensor(l->weights, name[0], c->n_embd, c->n_vocab, &bert->words, l->err));
	bert->words_decode = ds_quant_decoder(bert->words->type);
	DS_TRY(ds_weights_load(l->weights, name[1], c->n_embd, c->n_type, l->decoded, l->err));
	bert->positions = floats(l, c->n_context * c->n_embd);
	if (!bert->positions)
		return DS_ENOMEM;
	DS_TRY(ds_weights_load(l->weights, name[2], c->n_embd, c->n_context, bert->positions,
			       l->err));
	for (size_t t = 0; t < c->n_context; t++)
		for (size_t i = 0; i < c->n_embd; i++)
			bert->positions[t * c->n_embd + i] += l->decoded[i];
	return load_norm(l, name[3], &bert->norm);
}

static enum ds_status load_weights(struct ds_bert *bert, struct ds_weights *weights,
				   const char *prefix, struct ds_err *err)
{
	const struct ds_bert_config *c = &bert->config;
	size_t n = c->n_embd * c->n_type;
	struct loader l = {.bert = bert, .weights = weights, .prefix = prefix, .err = err};
	enum ds_status st;

	l.decoded = ds_alloc(n, sizeof *l.decoded);
	bert->layer = ds_arena_alloc(&bert->mem, c->n_layer, sizeof *bert->layer);
	if (l.decoded && bert->layer)
		st = load_embeddings(&l);
	else
		st = ds_fail_nomem(err, n * sizeof *l.decoded);
	for (size_t i = 0; i < c->n_layer && st == DS_OK; i++)
		st = load_layer(&l, i);
	free(l.decoded);
	return st;
}

static enum ds_status check_range(const struct ds_model *model, const char *what, uint64_t value,
				  uint64_t max, struct ds_err *err)
{
	if (value >= 1 && value <= max)
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
			  "%s is %llu, 1..%llu expected", what, (unsigned long long)value,
			  (unsigned long long)max);
}

static enum ds_status check_config(const struct ds_model *model, const struct ds_bert_config *c,
				   struct ds_err *err)
{
	DS_TRY(check_range(model, "the number of layers", c->n_layer, LAYERS_MAX, err));
	DS_TRY(check_range(model, "the embedding length", c->n_embd, EMBD_MAX, err));
	DS_TRY(check_range(model, "the feed-forward length", c->n_ff, 16 * EMBD_MAX, err));
	DS_TRY(check_range(model, "the number of heads", c->n_head, c->n_embd, err));
	DS_TRY(check_range(model, "the vocabulary size", c->n_vocab, VOCAB_MAX, err));
	DS_TRY(check_range(model, "the number of segment types", c->n_type, 65536, err));
	DS_TRY(check_range(model, "the context length", c->n_context, CONTEXT_MAX, err));
	if (c->n_context < 3)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "a context of %u tokens, at least 3 expected",
				  (unsigned)c->n_context);
	if (c->n_embd % c->n_head)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "%u dimensions do not divide into %u heads", (unsigned)c->n_embd,
				  (unsigned)c->n_head);
	if (c->n_embd % DS_KERN_LANES || c->n_ff % DS_KERN_LANES)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "layers of %u and %u values, multiples of 16 expected",
				  (unsigned)c->n_embd, (unsigned)c->n_ff);
	if (!(c->eps >= 0 && c->eps <= 1))
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "layer norm epsilon is not between 0 and 1");
	if (ds_tokenizer_size(model->tok) > c->n_vocab)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "the tokenizer has %u tokens, the model %u",
				  ds_tokenizer_size(model->tok), (unsigned)c->n_vocab);
	return DS_OK;
}

/* From settings to a model: *config is checked and kept. */
static enum ds_status open_bert(struct ds_model *model, struct ds_weights *weights,
				const struct ds_bert_config *config, const char *prefix,
				struct ds_err *err)
{
	uint64_t settings[] = {config->n_head, config->pooling};
	struct ds_bert *bert;

	DS_TRY(check_config(model, config, err));
	bert = ds_alloc_zero(1, sizeof *bert);
	if (!bert)
		return ds_fail_nomem(err, sizeof *bert);
	model->net = bert;
	ds_arena_init(&bert->mem);
	bert->config = *config;
	bert->kern = model->kern;
	bert->cls = ds_tokenizer_special(model->tok, DS_CLS);
	bert->sep = ds_tokenizer_special(model->tok, DS_SEP);
	if (bert->cls >= config->n_vocab || bert->sep >= config->n_vocab)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "the vocabulary has no CLS or no SEP token");
	ds_weights_digest(weights, settings, sizeof settings);
	ds_weights_digest(weights, &config->eps, sizeof config->eps);
	DS_TRY(load_weights(bert, weights, prefix, err));
	model->dims = (uint32_t)config->n_embd;
	model->context = (uint32_t)config->n_context;
	snprintf(model->describe, sizeof model->describe,
		 "bert, %u layers, %u dimensions, %u tokens of context, %s pooling",
		 (unsigned)config->n_layer, model->dims, model->context,
		 config->pooling == DS_POOL_CLS ? "CLS" : "mean");
	return DS_OK;
}

static enum ds_status gguf_pooling(const struct ds_model *model, enum ds_pooling *pooling_ret,
				   struct ds_err *err)
{
	uint64_t type;

	*pooling_ret = DS_POOL_MEAN;
	if (!ds_gguf_find(&model->gguf, "bert.pooling_type"))
		return DS_OK;
	DS_TRY(ds_gguf_u64(&model->gguf, "bert.pooling_type", &type, err));
	if (type != 1 && type != 2)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "bert.pooling_type is %llu, 1 (mean) or 2 (CLS) expected",
				  (unsigned long long)type);
	*pooling_ret = type == 2 ? DS_POOL_CLS : DS_POOL_MEAN;
	return DS_OK;
}

static enum ds_status bert_open_gguf(struct ds_model *model, struct ds_weights *weights,
				     struct ds_err *err)
{
	const struct ds_gguf *g = &model->gguf;
	const struct ds_gguf_tensor *types = ds_gguf_tensor_find(g, "token_types.weight");
	struct ds_bert_config c = {.n_vocab = ds_tokenizer_size(model->tok)};
	double eps;

	DS_TRY(ds_gguf_u64(g, "bert.block_count", &c.n_layer, err));
	DS_TRY(ds_gguf_u64(g, "bert.embedding_length", &c.n_embd, err));
	DS_TRY(ds_gguf_u64(g, "bert.feed_forward_length", &c.n_ff, err));
	DS_TRY(ds_gguf_u64(g, "bert.attention.head_count", &c.n_head, err));
	DS_TRY(ds_gguf_u64(g, "bert.context_length", &c.n_context, err));
	DS_TRY(ds_gguf_f64(g, "bert.attention.layer_norm_epsilon", &eps, err));
	DS_TRY(gguf_pooling(model, &c.pooling, err));
	c.eps = (float)eps;
	c.n_type = types ? types->dim[1] : 1;
	return open_bert(model, weights, &c, NULL, err);
}

/* A JSON object in the model's folder; *json_ret is NULL when the file is not there. */
static enum ds_status load_json(const struct ds_model *model, const char *file, json_t **json_ret,
				struct ds_err *err)
{
	char path[4096];
	struct ds_buf buf = {0};
	json_error_t why;
	enum ds_status st;

	*json_ret = NULL;
	snprintf(path, sizeof path, "%s/%s", model->path, file);
	st = ds_read_all(path, JSON_BYTES_MAX, &buf, err);
	if (st == DS_OK) {
		*json_ret =
			json_loadb((const char *)buf.data, buf.len, JSON_REJECT_DUPLICATES, &why);
		if (!*json_ret)
			st = ds_fail_at(err, DS_EFORMAT, path,
					why.position > 0 ? (uint64_t)why.position : 0,
					"not JSON: %s", why.text);
	}
	ds_buf_fini(&buf);
	return st;
}

static enum ds_status json_natural(const struct ds_model *model, const json_t *json,
				   const char *key, uint64_t *value_ret, struct ds_err *err)
{
	const json_t *v = json_object_get(json, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "config.json: %s is %s", key,
				  v ? "no natural number" : "missing");
	*value_ret = (uint64_t)json_integer_value(v);
	return DS_OK;
}

/* A setting that must have this text when it is there. */
static enum ds_status json_expect(const struct ds_model *model, const json_t *json, const char *key,
				  const char *expected, struct ds_err *err)
{
	const json_t *v = json_object_get(json, key);
	const char *text = json_string_value(v);

	if (!v || (text && strcmp(text, expected) == 0))
		return DS_OK;
	return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
			  "config.json: %s is %.60s, %s expected", key, text ? text : "no text",
			  expected);
}

static enum ds_status config_json(const struct ds_model *model, const json_t *json,
				  struct ds_bert_config *c, struct ds_err *err)
{
	if (!json_object_get(json, "model_type"))
		return ds_fail_at(err, DS_EFORMAT, model->path, DS_NO_OFFSET,
				  "config.json: model_type is missing");
	DS_TRY(json_expect(model, json, "model_type", "bert", err));
	DS_TRY(json_expect(model, json, "hidden_act", "gelu", err));
	DS_TRY(json_expect(model, json, "position_embedding_type", "absolute", err));
	DS_TRY(json_natural(model, json, "num_hidden_layers", &c->n_layer, err));
	DS_TRY(json_natural(model, json, "hidden_size", &c->n_embd, err));
	DS_TRY(json_natural(model, json, "intermediate_size", &c->n_ff, err));
	DS_TRY(json_natural(model, json, "num_attention_heads", &c->n_head, err));
	DS_TRY(json_natural(model, json, "max_position_embeddings", &c->n_context, err));
	DS_TRY(json_natural(model, json, "vocab_size", &c->n_vocab, err));
	DS_TRY(json_natural(model, json, "type_vocab_size", &c->n_type, err));
	c->eps = 1e-12f;
	if (json_is_number(json_object_get(json, "layer_norm_eps")))
		c->eps = (float)json_number_value(json_object_get(json, "layer_norm_eps"));
	return DS_OK;
}

/* 1_Pooling/config.json of sentence-transformers; mean when it is not there. */
static enum ds_status folder_pooling(const struct ds_model *model, enum ds_pooling *pooling_ret,
				     struct ds_err *err)
{
	json_t *json;
	bool cls, mean;

	*pooling_ret = DS_POOL_MEAN;
	if (load_json(model, "1_Pooling/config.json", &json, err) == DS_EIO)
		return DS_OK;
	if (!json)
		return DS_EFORMAT;
	cls = json_is_true(json_object_get(json, "pooling_mode_cls_token"));
	mean = json_is_true(json_object_get(json, "pooling_mode_mean_tokens"));
	json_decref(json);
	if (cls == mean)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  "1_Pooling/config.json: mean or CLS pooling expected");
	*pooling_ret = cls ? DS_POOL_CLS : DS_POOL_MEAN;
	return DS_OK;
}

enum ds_status ds_bert_folder_config(const struct ds_model *model,
				     struct ds_bert_config *config_ret, struct ds_err *err)
{
	enum ds_status st;
	json_t *json;

	*config_ret = (struct ds_bert_config){0};
	DS_TRY(load_json(model, "config.json", &json, err));
	st = config_json(model, json, config_ret, err);
	json_decref(json);
	if (st != DS_OK)
		return st;
	return folder_pooling(model, &config_ret->pooling, err);
}

enum ds_status ds_bert_open_folder(struct ds_model *model, struct ds_weights *weights,
				   const struct ds_bert_config *config, struct ds_err *err)
{
	static const char probe[] = "bert.embeddings.word_embeddings.weight";

	return open_bert(model, weights, config,
			 weights->find(weights->source, probe) ? "bert." : "", err);
}

static void bert_close(void *net)
{
	struct ds_bert *bert = net;

	ds_arena_fini(&bert->mem);
	free(bert);
}

const struct ds_arch ds_arch_bert = {
	.name = "bert",
	.open_gguf = bert_open_gguf,
	.close = bert_close,
	.new_scratch = ds_bert_new_scratch,
	.free_scratch = ds_bert_free_scratch,
	.embed = ds_bert_embed,
};
