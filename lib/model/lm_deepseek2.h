/*
 * lm_deepseek2.h - what layers of DeepSeek-V2, V3 and R1 have that others have not
 *
 * Source: arXiv:2405.04434 and arXiv:2412.19437; tensor names and settings as llama.cpp's
 * convert_hf_to_gguf.py writes them.
 */
#ifndef DS_MODEL_LM_DEEPSEEK2_H
#define DS_MODEL_LM_DEEPSEEK2_H

#include "model/lm_net.h"
#include "model/lm_route.h"

/* Attention over latent keys and values. */
struct ds_lm_mla {
	struct ds_lm_map q_a, q_b; /* queries in two steps (q_lora), else by layer->q */
	const float *q_a_norm;	   /* [q_lora] */
	struct ds_lm_map kv_a;	   /* [kv_lora + rope dims][n_embd] */
	const float *kv_a_norm;	   /* [kv_lora] */
	struct ds_lm_map kv_b;	   /* open form: [n_head * (nope + value)][kv_lora] */
	struct ds_matrix *k_b;	   /* absorbed form: [n_head] of [kv_lora][nope] */
	struct ds_matrix *v_b;	   /* [n_head] of [value][kv_lora] */
};

/* One matrix of every expert: n rows each, the next expert's stride rows further on. */
struct ds_lm_experts {
	struct ds_matrix first;
	size_t stride;
};

struct ds_lm_moe {
	struct ds_lm_map router;       /* [n_expert][n_embd] */
	const float *bias;	       /* [n_expert], of the choice only; or NULL */
	struct ds_lm_experts gate, up; /* [n_ff][n_embd] */
	struct ds_lm_experts down;     /* [n_embd][n_ff] */
	struct ds_lm_map shared_gate, shared_up, shared_down;
};

/* What a session needs besides; n_head activations for the absorbed form. */
struct ds_lm_mla_memory {
	float *q_a;   /* [batch][q_lora] */
	float *q;     /* [batch][n_head][nope + rope dims] */
	float *kv_a;  /* [batch][kv_lora + rope dims] */
	float *kv_b;  /* [batch][n_head][nope + value], open form */
	float *found; /* [batch][n_head][kv_lora], absorbed form */
	struct ds_act **head;
	struct ds_product *product; /* [n_head] */
};

/* rows: the batch, or n_used for one token's experts when that is more */
struct ds_lm_moe_memory {
	float *logits;			/* [batch][n_expert] */
	float *gate, *up;		/* [rows][n_ff] */
	float *down;			/* [rows][n_embd] */
	float *shared_gate, *shared_up; /* [batch][n_ff_shared] */
	struct ds_act *in, *hidden;
	struct ds_act **single;	    /* [n_used]: hidden, of one token */
	struct ds_matrix *slice;    /* [2 * n_used] */
	struct ds_product *product; /* [2 * n_used] */
	struct ds_pick *pick;	    /* [batch][n_used] */
	uint32_t *order;	    /* [batch * n_used]: indices of pick, by expert */
	uint32_t *start;	    /* [n_expert + 1]: of each expert in order */
};

struct ds_lm_extra {
	struct ds_lm_mla_memory mla;
	struct ds_lm_moe_memory moe;
};

/* Hooks of the architecture, see struct ds_lm_arch. */
uint64_t ds_lm_extra_bytes(const struct ds_lm_config *config, size_t batch);
enum ds_status ds_lm_extra_new(struct ds_session *s, struct ds_err *err);
void ds_lm_extra_free(struct ds_session *s);

ds_lm_block_fn ds_lm_mla_attention, ds_lm_moe_feed_forward;

#endif
