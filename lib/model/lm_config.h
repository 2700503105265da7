/*
 * lm_config.h - hyperparameters of language models, from the metadata of GGUF files
 *
 * Source of the keys: github.com/ggml-org/ggml/blob/master/docs/gguf.md.
 */
#ifndef DS_MODEL_LM_CONFIG_H
#define DS_MODEL_LM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/rope.h"
#include "model/lm_route.h"

/* Far beyond any model; products of these and of tensor sizes stay below 2^63. */
#define DS_LM_LAYERS_MAX 1024
#define DS_LM_EMBD_MAX 65536
#define DS_LM_HEADS_MAX 1024
#define DS_LM_DIM_MAX 1024
#define DS_LM_FF_MAX (1 << 20)
#define DS_LM_CONTEXT_MAX (1 << 24)

/* DeepSeek: attention over latents (kv_lora 0: plain attention), experts; see lm_deepseek2.h. */
struct ds_lm_mla_config {
	uint64_t q_lora, kv_lora;
	uint64_t nope, value; /* of a head: key values that do not turn, values */
	bool absorbed;
};

struct ds_lm_moe_config {
	uint64_t n_dense; /* leading layers without experts */
	uint64_t n_ff, n_ff_shared;
	struct ds_route route;
};

struct ds_lm_config {
	uint64_t n_layer, n_embd, n_ff, n_context;
	uint64_t n_predict; /* layers after those, which predict tokens further ahead: not run */
	uint64_t n_head, n_head_kv;
	uint64_t dim_k, dim_v; /* of a head */
	uint64_t window;       /* tokens that layers with a window see */
	bool windowed[DS_LM_LAYERS_MAX];
	struct ds_rope_config rope, rope_window; /* the latter of layers with a window */
	float eps;				 /* of the norms */
	float embed_scale;			 /* of token embeddings */
	float attn_scale;			 /* of scores */
	struct ds_lm_mla_config mla;
	struct ds_lm_moe_config moe;
};

/*
 * Keys of one architecture: "NAME.key", optional ones (_or) with what holds when they are not
 * there.
 */
struct ds_lm_keys {
	const struct ds_gguf *gguf;
	const char *arch;
};
enum ds_status ds_lm_key_u64(const struct ds_lm_keys *keys, const char *key, uint64_t *value_ret,
			     struct ds_err *err);
enum ds_status ds_lm_key_u64_or(const struct ds_lm_keys *keys, const char *key, uint64_t otherwise,
				uint64_t *value_ret, struct ds_err *err);
enum ds_status ds_lm_key_f64_or(const struct ds_lm_keys *keys, const char *key, double otherwise,
				double *value_ret, struct ds_err *err);
/* DS_EUNSUPPORTED when the key is there and not zero. */
enum ds_status ds_lm_key_refuse(const struct ds_lm_keys *keys, const char *key, struct ds_err *err);
/* DS_EFORMAT unless min <= value <= max; what names it. */
enum ds_status ds_lm_key_range(const struct ds_lm_keys *keys, const char *key, uint64_t value,
			       uint64_t min, uint64_t max, struct ds_err *err);

/* What llama, qwen2 and gemma3 have in common, checked; pairs: see struct ds_rope_config. */
enum ds_status ds_lm_config_read(const struct ds_lm_keys *keys, bool pairs,
				 struct ds_lm_config *config_ret, struct ds_err *err);
/* Gemma 3: windows, the scale of embeddings; after ds_lm_config_read(). */
enum ds_status ds_lm_config_gemma3(const struct ds_lm_keys *keys, struct ds_lm_config *config,
				   struct ds_err *err);

#endif
