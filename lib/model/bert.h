/*
 * bert.h - BERT encoders: settings, weights, the forward pass
 *
 * Source: Devlin et al., arXiv:1810.04805 (post-norm encoder, gelu in its erf form); pooling and
 * normalisation as in sentence-transformers.
 */
#ifndef DS_MODEL_BERT_H
#define DS_MODEL_BERT_H

#include "kern/linear.h"
#include "model/arch.h"

struct ds_bert_config {
	uint64_t n_layer, n_embd, n_head, n_ff, n_vocab, n_context, n_type;
	float eps; /* of the layer norms */
	enum ds_pooling pooling;
};

/* w x + b; w is borrowed from the file, in whatever type it is there. */
struct ds_bert_map {
	struct ds_matrix w; /* [n][k] */
	float *bias;	    /* [n] */
};

struct ds_bert_layer {
	struct ds_bert_map qkv[3];   /* n_embd -> n_embd: queries, keys, values */
	struct ds_bert_map out;	     /* n_embd -> n_embd */
	struct ds_bert_map up;	     /* n_embd -> n_ff */
	struct ds_bert_map down;     /* n_ff -> n_embd */
	float *attn_norm, *ffn_norm; /* [2][n_embd]: gain, bias */
};

struct ds_bert {
	struct ds_bert_config config;
	const struct ds_kern *kern;
	const struct ds_gguf_tensor *words; /* [n_vocab][n_embd], decoded as needed */
	ds_decode_fn *words_decode;
	float *positions;	     /* [n_context][n_embd], the type of the only segment added */
	float *norm;		     /* [2][n_embd] */
	struct ds_bert_layer *layer; /* [n_layer] */
	uint32_t cls, sep;
	struct ds_arena mem; /* owns all the floats */
};

/* From the config.json (and 1_Pooling/config.json) of a folder. */
enum ds_status ds_bert_folder_config(const struct ds_model *model,
				     struct ds_bert_config *config_ret, struct ds_err *err);
/* With the weights of its model.safetensors; model->tok is open. */
enum ds_status ds_bert_open_folder(struct ds_model *model, struct ds_weights *weights,
				   const struct ds_bert_config *config, struct ds_err *err);
extern const struct ds_arch ds_arch_bert;

/* Scratch memory of one thread. */
struct ds_bert_scratch {
	struct ds_act *x;     /* states of a block's tokens: [n][n_embd] */
	struct ds_act *inner; /* what out and down take: [n][n_embd], [n][n_ff] */
	struct ds_linear *linear;
	float *qkv, *context;	       /* rows of a block's tokens */
	float *keys, *values, *scores; /* of one head */
	struct ds_arena mem;
};
enum ds_status ds_bert_new_scratch(const void *net, void **scratch_ret, struct ds_err *err);
void ds_bert_free_scratch(void *scratch);

/* A run of tokens that attend to each other. */
struct ds_bert_seq {
	const uint32_t *id; /* [n], specials included */
	size_t n;
};
/* Tokens that a call of ds_bert_forward() takes, all sequences together. */
size_t ds_bert_block(const struct ds_bert *bert);
/* out [n_seq][n_embd]: pooled, not normalised. */
void ds_bert_forward(const struct ds_bert *bert, struct ds_bert_scratch *s,
		     const struct ds_bert_seq *seq, size_t n_seq, float *out);
/* ds_embed() for this architecture. */
enum ds_status ds_bert_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
			     float *out, struct ds_err *err);

#endif
