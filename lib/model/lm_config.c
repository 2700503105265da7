/* lm_config.c - hyperparameters of language models, from the metadata of GGUF files */
#include "model/lm_config.h"

#include <math.h>
#include <stdio.h>

#include "kern/kern.h"

typedef unsigned long long ull;

#define KEY_BYTES 160

static const struct ds_gguf_kv *find(const struct ds_lm_keys *keys, const char *key,
				     char name[KEY_BYTES])
{
	snprintf(name, KEY_BYTES, "%s.%s", keys->arch, key);
	return ds_gguf_find(keys->gguf, name);
}

enum ds_status ds_lm_key_u64(const struct ds_lm_keys *keys, const char *key, uint64_t *value_ret,
			     struct ds_err *err)
{
	char name[KEY_BYTES];

	find(keys, key, name);
	return ds_gguf_u64(keys->gguf, name, value_ret, err);
}

enum ds_status ds_lm_key_u64_or(const struct ds_lm_keys *keys, const char *key, uint64_t otherwise,
				uint64_t *value_ret, struct ds_err *err)
{
	char name[KEY_BYTES];

	*value_ret = otherwise;
	return find(keys, key, name) ? ds_gguf_u64(keys->gguf, name, value_ret, err) : DS_OK;
}

enum ds_status ds_lm_key_f64_or(const struct ds_lm_keys *keys, const char *key, double otherwise,
				double *value_ret, struct ds_err *err)
{
	char name[KEY_BYTES];

	*value_ret = otherwise;
	return find(keys, key, name) ? ds_gguf_f64(keys->gguf, name, value_ret, err) : DS_OK;
}

enum ds_status ds_lm_key_refuse(const struct ds_lm_keys *keys, const char *key, struct ds_err *err)
{
	double value;

	DS_TRY(ds_lm_key_f64_or(keys, key, 0, &value, err));
	if (value == 0)
		return DS_OK;
	return ds_fail_at(err, DS_EUNSUPPORTED, keys->gguf->path, DS_NO_OFFSET,
			  "%s.%s is %g, only 0 is supported", keys->arch, key, value);
}

enum ds_status ds_lm_key_range(const struct ds_lm_keys *keys, const char *key, uint64_t value,
			       uint64_t min, uint64_t max, struct ds_err *err)
{
	if (value >= min && value <= max)
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, keys->gguf->path, DS_NO_OFFSET,
			  "%s.%s is %llu, %llu..%llu expected", keys->arch, key, (ull)value,
			  (ull)min, (ull)max);
}

static enum ds_status check_multiple(const struct ds_lm_keys *keys, const char *key, uint64_t value,
				     unsigned of, struct ds_err *err)
{
	if (value % of == 0)
		return DS_OK;
	return ds_fail_at(err, DS_EUNSUPPORTED, keys->gguf->path, DS_NO_OFFSET,
			  "%s.%s is %llu, a multiple of %u expected", keys->arch, key, (ull)value,
			  of);
}

static enum ds_status read_sizes(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				 struct ds_err *err)
{
	DS_TRY(ds_lm_key_u64(keys, "block_count", &c->n_layer, err));
	DS_TRY(ds_lm_key_range(keys, "block_count", c->n_layer, 1, DS_LM_LAYERS_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "context_length", &c->n_context, err));
	DS_TRY(ds_lm_key_range(keys, "context_length", c->n_context, 1, DS_LM_CONTEXT_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "embedding_length", &c->n_embd, err));
	DS_TRY(ds_lm_key_range(keys, "embedding_length", c->n_embd, 1, DS_LM_EMBD_MAX, err));
	DS_TRY(ds_lm_key_u64(keys, "feed_forward_length", &c->n_ff, err));
	return ds_lm_key_range(keys, "feed_forward_length", c->n_ff, 1, DS_LM_FF_MAX, err);
}

static enum ds_status read_heads(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				 struct ds_err *err)
{
	DS_TRY(ds_lm_key_u64(keys, "attention.head_count", &c->n_head, err));
	DS_TRY(ds_lm_key_range(keys, "attention.head_count", c->n_head, 1, DS_LM_HEADS_MAX, err));
	DS_TRY(ds_lm_key_u64_or(keys, "attention.head_count_kv", c->n_head, &c->n_head_kv, err));
	DS_TRY(ds_lm_key_range(keys, "attention.head_count_kv", c->n_head_kv, 1, c->n_head, err));
	if (c->n_head % c->n_head_kv)
		return ds_fail_at(err, DS_EFORMAT, keys->gguf->path, DS_NO_OFFSET,
				  "%u query heads do not divide among %u key/value heads",
				  (unsigned)c->n_head, (unsigned)c->n_head_kv);
	DS_TRY(ds_lm_key_u64_or(keys, "attention.key_length", c->n_embd / c->n_head, &c->dim_k,
				err));
	DS_TRY(ds_lm_key_range(keys, "attention.key_length", c->dim_k, 16, DS_LM_DIM_MAX, err));
	DS_TRY(check_multiple(keys, "attention.key_length", c->dim_k, 16, err));
	DS_TRY(ds_lm_key_u64_or(keys, "attention.value_length", c->n_embd / c->n_head, &c->dim_v,
				err));
	DS_TRY(ds_lm_key_range(keys, "attention.value_length", c->dim_v, 16, DS_LM_DIM_MAX, err));
	DS_TRY(check_multiple(keys, "attention.value_length", c->dim_v, 16, err));
	return DS_OK;
}

/* rope.scaling.type: *yarn_ret, or a factor alone; DS_EUNSUPPORTED for other ways. */
static enum ds_status read_scaling_type(const struct ds_lm_keys *keys, struct ds_rope_config *rope,
					bool *yarn_ret, struct ds_err *err)
{
	char name[KEY_BYTES];
	struct ds_str kind;

	*yarn_ret = false;
	if (!find(keys, "rope.scaling.type", name))
		return DS_OK;
	DS_TRY(ds_gguf_str(keys->gguf, name, &kind, err));
	*yarn_ret = ds_str_is(kind, "yarn");
	if (ds_str_is(kind, "none"))
		rope->scale = 1;
	else if (!*yarn_ret && !ds_str_is(kind, "linear"))
		return ds_fail_at(err, DS_EUNSUPPORTED, keys->gguf->path, DS_NO_OFFSET,
				  "%s is %.*s, none, linear or yarn expected", name,
				  kind.len > 40 ? 40 : (int)kind.len, kind.s);
	return DS_OK;
}

/* The settings of rotary positions; ds_rope_init() checks them. */
static enum ds_status read_rope(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				struct ds_err *err)
{
	struct ds_rope_config *r = &c->rope;
	double older, factor;
	uint64_t n;
	bool yarn;

	DS_TRY(ds_lm_key_u64_or(keys, "rope.dimension_count", c->dim_k, &n, err));
	DS_TRY(ds_lm_key_range(keys, "rope.dimension_count", n, 2, c->dim_k, err));
	r->dims = (uint32_t)n;
	DS_TRY(ds_lm_key_f64_or(keys, "rope.freq_base", 10000, &r->base, err));
	/* two names of the factor; both hold 0 where there is none */
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scale_linear", 0, &older, err));
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.factor", older, &factor, err));
	r->scale = factor != 0 ? 1 / factor : 1;
	DS_TRY(read_scaling_type(keys, r, &yarn, err));
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.attn_factor", 1, &r->attn_factor, err));
	DS_TRY(ds_lm_key_u64_or(keys, "rope.scaling.original_context_length", c->n_context, &n,
				err));
	DS_TRY(ds_lm_key_range(keys, "rope.scaling.original_context_length", n, 1,
			       DS_LM_CONTEXT_MAX, err));
	r->n_context_orig = (uint32_t)n;
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.yarn_ext_factor", 1, &r->ext_factor, err));
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.yarn_beta_fast", 32, &r->beta_fast, err));
	DS_TRY(ds_lm_key_f64_or(keys, "rope.scaling.yarn_beta_slow", 1, &r->beta_slow, err));
	if (!yarn)
		r->ext_factor = 0;
	return DS_OK;
}

static enum ds_status read_norm(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				struct ds_err *err)
{
	char name[KEY_BYTES];
	double eps;

	find(keys, "attention.layer_norm_rms_epsilon", name);
	DS_TRY(ds_gguf_f64(keys->gguf, name, &eps, err));
	if (!(eps >= 0 && eps <= 1))
		return ds_fail_at(err, DS_EFORMAT, keys->gguf->path, DS_NO_OFFSET,
				  "%s is %g, 0..1 expected", name, eps);
	c->eps = (float)eps;
	return DS_OK;
}

enum ds_status ds_lm_config_read(const struct ds_lm_keys *keys, bool pairs,
				 struct ds_lm_config *config_ret, struct ds_err *err)
{
	static const char *const refused[] = {"attn_logit_softcapping",
					      "final_logit_softcapping", "logit_scale"};
	struct ds_lm_config *c = config_ret;
	double scale;

	*c = (struct ds_lm_config){.embed_scale = 1, .rope.pairs = pairs};
	DS_TRY(read_sizes(keys, c, err));
	DS_TRY(read_heads(keys, c, err));
	DS_TRY(read_rope(keys, c, err));
	DS_TRY(read_norm(keys, c, err));
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		DS_TRY(ds_lm_key_refuse(keys, refused[i], err));
	DS_TRY(ds_lm_key_f64_or(keys, "attention.scale", 0, &scale, err));
	if (!(scale >= 0 && scale <= 1e3))
		return ds_fail_at(err, DS_EFORMAT, keys->gguf->path, DS_NO_OFFSET,
				  "%s.attention.scale is %g, 0..1000 expected", keys->arch, scale);
	c->attn_scale = scale > 0 ? (float)scale : 1 / sqrtf((float)c->dim_k);
	return DS_OK;
}

/* Which layers have a window: a flag for each, or every so many-th has none. */
static enum ds_status read_pattern(const struct ds_lm_keys *keys, struct ds_lm_config *c,
				   struct ds_err *err)
{
	const char *key = "attention.sliding_window_pattern";
	const struct ds_gguf_kv *kv;
	char name[KEY_BYTES];
	uint64_t period;

	kv = find(keys, key, name);
	if (kv && kv->type == DS_GGUF_ARRAY) {
		DS_TRY(ds_gguf_array(keys->gguf, name, DS_GGUF_BOOL, &kv, err));
		if (kv->n != c->n_layer)
			return ds_fail_at(err, DS_EFORMAT, keys->gguf->path, DS_NO_OFFSET,
					  "%s has %llu entries, %llu expected", name, (ull)kv->n,
					  (ull)c->n_layer);
		for (uint64_t i = 0; i < c->n_layer; i++)
			c->windowed[i] = kv->data[i] != 0;
		return DS_OK;
	}
	DS_TRY(ds_lm_key_u64_or(keys, key, 6, &period, err));
	for (uint64_t i = 0; i < c->n_layer; i++)
		c->windowed[i] = period == 0 || (i + 1) % period != 0;
	return DS_OK;
}

enum ds_status ds_lm_config_gemma3(const struct ds_lm_keys *keys, struct ds_lm_config *config,
				   struct ds_err *err)
{
	struct ds_lm_config *c = config;

	DS_TRY(ds_lm_key_u64_or(keys, "attention.sliding_window", 0, &c->window, err));
	DS_TRY(ds_lm_key_range(keys, "attention.sliding_window", c->window, 0, DS_LM_CONTEXT_MAX,
			       err));
	if (c->window)
		DS_TRY(read_pattern(keys, c, err));
	/* near positions are not scaled */
	c->rope_window = (struct ds_rope_config){.dims = c->rope.dims, .pairs = c->rope.pairs};
	DS_TRY(ds_lm_key_f64_or(keys, "rope.freq_base_swa", 10000, &c->rope_window.base, err));
	c->embed_scale = sqrtf((float)c->n_embd);
	/* the 27B model, alone, scales by the width of its embeddings a head */
	if (c->n_layer == 62)
		c->attn_scale = 1 / sqrtf((float)(c->n_embd / c->n_head));
	return DS_OK;
}
