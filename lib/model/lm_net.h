/*
 * lm_net.h - a language model's network and one session's memory (internal to lib/model)
 *
 * A layer is two blocks, attention and feed-forward, each adding to the residual stream.  Blocks
 * are functions named by the layer, so architectures differ in what they load, not in the loop.
 */
#ifndef DS_MODEL_LM_NET_H
#define DS_MODEL_LM_NET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/attn.h"
#include "kern/linear.h"
#include "kern/rope.h"
#include "kv/kv.h"
#include "model/arch.h"
#include "model/lm.h"
#include "model/lm_config.h"
#include "model/lm_lora.h"

/* A linear map; the weights are borrowed from the file. */
struct ds_lm_map {
	struct ds_matrix w;
	const float *bias; /* [w.n], or NULL */
};

struct ds_lm_layer;

/*
 * Tokens on their way through the layers: n of them from position pos on, of which the last n_out
 * go on after this layer (all but in the last layer); keys and values are made of all.
 */
struct ds_lm_pass {
	size_t pos, n, n_out;
	/* [n], or NULL: token i is the next one of this session, whose keys and values it joins;
	 * the session whose pass it is lends its scratch memory, pos is nothing and n_out is n */
	struct ds_session *const *each;
};

typedef void ds_lm_block_fn(struct ds_session *s, const struct ds_lm_layer *layer,
			    const struct ds_lm_pass *pass);

struct ds_lm_layer {
	uint32_t index;
	ds_lm_block_fn *attention, *feed_forward;
	struct ds_lm_map q, k, v, out;
	struct ds_lm_map gate, up, down;
	const float *attn_norm, *ffn_norm;	     /* [n_embd] */
	const float *q_norm, *k_norm;		     /* [dim_k] of each head, or NULL */
	const float *attn_post_norm, *ffn_post_norm; /* [n_embd] of a block's output, or NULL */
	uint32_t window;			     /* see struct ds_attn_call */
	unsigned rope;				     /* of struct ds_lm */
	const struct ds_lm_mla *mla;		     /* lm_deepseek2.h */
	const struct ds_lm_moe *moe;
};

enum { DS_LM_ROPE, DS_LM_ROPE_WINDOW, DS_LM_ROPES };

struct ds_lm {
	struct ds_lm_config config;
	uint32_t n_vocab;
	const struct ds_gguf_tensor *embed; /* [n_vocab][n_embd], decoded as needed */
	ds_decode_fn *embed_decode;
	struct ds_lm_layer *layer; /* [n_layer] */
	const float *norm;	   /* [n_embd] */
	struct ds_lm_map head;
	struct ds_rope rope[DS_LM_ROPES];
	size_t embed_row_bytes;
	/* y = act(gate) * up */
	void (*gate)(const float *gate, const float *up, float *y, size_t n);
	struct ds_arena mem; /* layers, norms, biases */
};

#define DS_LM_ATTNS_MAX 16 /* policies of a session */

struct ds_session {
	const struct ds_model *model;
	const struct ds_lm *lm;
	const struct ds_kern *kern;
	struct ds_pool *pool;
	size_t context, batch;
	uint32_t *id; /* [context] the tokens */
	/* for policies that look at text: of each token id, of the tokens read */
	uint8_t *boundary_of, *boundaries;
	size_t n;	 /* tokens read and not forgotten */
	size_t n_before; /* tokens before the question, as n_prompt */
	size_t n_prompt; /* tokens before the answer, forgotten ones too; SIZE_MAX: there is none */
	size_t n_kept;	 /* of which kv has the keys and values; the others are read again */
	size_t n_want;	 /* wanted of the last read */
	struct ds_kv *kv;
	struct ds_attn *attn[DS_LM_ATTNS_MAX]; /* [n_attn], of one policy each */
	size_t n_attn;
	uint8_t *attn_of; /* [n_layer] which of them */
	bool chooses;	  /* of one of them the tokens of an answer */
	struct ds_linear *linear;
	struct ds_act *act;
	float *x;		  /* [batch][n_embd]: the residual stream */
	float *q, *k, *v;	  /* [batch][heads * dim] */
	float *gate, *up;	  /* [batch][n_ff] */
	float *branch;		  /* [batch][n_embd]: a block's output before its norm */
	float *state;		  /* [batch][n_embd]: final states of the wanted tokens */
	float *rope[DS_LM_ROPES]; /* [batch][2 * dims] */
	struct ds_lora_scratch lora;
	struct ds_lm_extra *extra; /* of the architecture */
	/* [n_layer] of kv, or DS_LM_SKIPPED */
	uint32_t *kv_layer;
	uint32_t last_layer;		   /* that is not left out */
	struct ds_lm_carry *carry;	   /* NULL: the context is the end */
	struct ds_lm_influence *influence; /* NULL: not measured */
	atomic_bool bad;		   /* a state was not finite */
	uint64_t bytes;
	struct ds_arena mem;
};

/* Whose token i is, and where in it. */
static inline struct ds_session *ds_lm_owner(struct ds_session *s, const struct ds_lm_pass *pass,
					     size_t i)
{
	return pass->each ? pass->each[i] : s;
}

static inline size_t ds_lm_pos(const struct ds_lm_pass *pass, size_t i)
{
	return pass->each ? pass->each[i]->n_kept : pass->pos + i;
}

#define DS_LM_SKIPPED UINT32_MAX
static inline uint32_t ds_lm_kv_layer(const struct ds_session *s, const struct ds_lm_layer *layer)
{
	return s->kv_layer[layer->index];
}

static inline struct ds_attn *ds_lm_attn(const struct ds_session *s,
					 const struct ds_lm_layer *layer)
{
	return s->attn[s->attn_of[layer->index]];
}

/* Where the question, or the answer begins; SIZE_MAX: nowhere. */
size_t ds_lm_question(const struct ds_session *s);
size_t ds_lm_answer(const struct ds_session *s);

/* Policies that do not go together, or not with the model. */
enum ds_status ds_lm_attn_check(const struct ds_session *s, const struct ds_session_options *o,
				struct ds_err *err);
enum ds_status ds_lm_attn_new(struct ds_session *s, const struct ds_session_options *o,
			      const struct ds_kv_shape *shape, struct ds_err *err);
void ds_lm_attn_free(struct ds_session *s);
uint64_t ds_lm_attn_bytes(const struct ds_session *s);
/* As ds_attn_truncate(), for all of them. */
size_t ds_lm_attn_truncate(struct ds_session *s, size_t n);

/* What reading the tensors of a model needs. */
struct ds_lm_loader {
	struct ds_model *model;
	struct ds_lm *lm;
	struct ds_weights *weights;
	bool *taken; /* [gguf.n_tensor] */
	struct ds_err *err;
};

/* "blk.LAYER.PART.weight" [n][k] and ".bias" [n] where the file has one. */
enum ds_status ds_lm_load_map(struct ds_lm_loader *l, uint32_t layer, const char *part,
			      const size_t n_k[2], struct ds_lm_map *map_ret);
/* "blk.LAYER.PART.weight" [n], decoded. */
enum ds_status ds_lm_load_norm(struct ds_lm_loader *l, uint32_t layer, const char *part, size_t n,
			       const float **norm_ret);
/* "blk.LAYER.NAME": whether the file has it; [n], decoded. */
bool ds_lm_has(const struct ds_lm_loader *l, uint32_t layer, const char *name);
enum ds_status ds_lm_load_vector(struct ds_lm_loader *l, uint32_t layer, const char *name, size_t n,
				 const float **vector_ret);
/* "blk.LAYER.PART.weight" [m][n][k]: as one matrix of m n rows. */
enum ds_status ds_lm_load_stack(struct ds_lm_loader *l, uint32_t layer, const char *part,
				const size_t m_n_k[3], struct ds_matrix *matrix_ret);

struct ds_lm_arch {
	struct ds_arch arch;
	bool pairs; /* of rotary positions */
	/* keys beyond those of ds_lm_config_read(); or NULL */
	enum ds_status (*config)(const struct ds_lm_keys *keys, struct ds_lm_config *config,
				 struct ds_err *err);
	/* the tensors and blocks of a layer */
	enum ds_status (*load_layer)(struct ds_lm_loader *l, struct ds_lm_layer *layer);
	/* what a session needs besides, or NULL; it is freed also when making it failed */
	uint64_t (*extra_bytes)(const struct ds_lm_config *config, size_t batch);
	enum ds_status (*extra_new)(struct ds_session *s, struct ds_err *err);
	void (*extra_free)(struct ds_session *s);
};
extern const struct ds_lm_arch ds_lm_llama, ds_lm_qwen2, ds_lm_gemma3, ds_lm_deepseek2;

/* What all have in common. */
enum ds_status ds_lm_open(struct ds_model *model, struct ds_weights *weights, struct ds_err *err);
void ds_lm_close(void *net);
/* lm_embed.c; pooling as the file says, DS_POOL_OTHER when it is none of ours */
enum ds_status ds_lm_pooling(const struct ds_model *model, enum ds_pooling *pooling_ret,
			     struct ds_err *err);
void ds_lm_embed_free(void *scratch);
enum ds_status ds_lm_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
			   float *out, struct ds_err *err);
#define DS_LM_ARCH(architecture)                                                                   \
	{                                                                                          \
		.name = architecture, .open_gguf = ds_lm_open, .close = ds_lm_close,               \
		.embed = ds_lm_embed, .free_scratch = ds_lm_embed_free                             \
	}

/* Blocks. */
ds_lm_block_fn ds_lm_attention, ds_lm_feed_forward;

/* What is done to each of n tokens alone: token(step, i) for i = 0..n-1, on the session's pool. */
struct ds_lm_step {
	struct ds_session *s;
	const struct ds_lm_layer *layer;
	const struct ds_lm_pass *pass;
	const float *gain;     /* of a norm */
	const uint32_t *id;    /* embeddings */
	const uint32_t *order; /* experts */
	const float *in;       /* what is read, or */
	float *out;	       /* written: [n][n_embd] */
	void (*token)(const struct ds_lm_step *step, size_t i);
	size_t n;
};
void ds_lm_step_run(struct ds_lm_step *step);
static inline void ds_lm_each(struct ds_lm_step *step, size_t n,
			      void (*token)(const struct ds_lm_step *step, size_t i))
{
	step->token = token;
	step->n = n;
	ds_lm_step_run(step);
}

/* The residual stream of the tokens that go on. */
float *ds_lm_stream_out(const struct ds_session *s, const struct ds_lm_pass *pass);
/* Norm of in [n][n_embd], as activations (s->act) of the next linear maps. */
void ds_lm_norm(struct ds_session *s, const float *in, size_t n, const float *gain);

/*
 * The session is bad unless every |x| <= limit.  Looked at are the states, and what a softmax or a
 * choice could hide: keys, which are kept as f16, queries, routers.
 */
void ds_lm_check(struct ds_session *s, const float *x, size_t n, float limit);
#define DS_LM_HALF_MAX 65504.0f

/* Round the n rows written to s->act. */
void ds_lm_round(struct ds_session *s, size_t n);

static inline struct ds_product ds_lm_product(const struct ds_lm_map *map, float *y)
{
	return (struct ds_product){.w = &map->w, .bias = map->bias, .y = y, .ld = map->w.n};
}

/* Products of s->act, which has n tokens, with the adapters on top. */
void ds_lm_run(struct ds_session *s, const struct ds_product *product, size_t n_product, size_t n);
/* The last map of a block, from s->act into the residual stream; through a norm of its own where
 * the model has one. */
void ds_lm_block_out(struct ds_session *s, const struct ds_lm_map *map, const float *post_norm,
		     const struct ds_lm_pass *pass);

/* lm_skip.c: which layers run; how much each changes the stream. */
enum ds_status ds_lm_skip_init(struct ds_session *s, const struct ds_session_options *options,
			       uint32_t *n_kept_ret, struct ds_err *err);
void ds_lm_influence_before(struct ds_session *s, const struct ds_lm_pass *pass);
void ds_lm_influence_after(struct ds_session *s, const struct ds_lm_layer *layer,
			   const struct ds_lm_pass *pass);

/*
 * Take tokens id[0..n) through the network; the states of the last want go through the output norm
 * into state[0..want).  session->bad tells whether all is finite.
 */
void ds_lm_forward(struct ds_session *s, const uint32_t *id, const struct ds_lm_pass *pass,
		   float *state);
/* n more tokens of a session are kept; their boundaries with them. */
void ds_lm_append(struct ds_session *s, const uint32_t *id, size_t n);
/* The error of a pass that left the session bad, which it no longer is. */
enum ds_status ds_lm_not_finite(struct ds_session *s, struct ds_err *err);
/* Logits of n states into out [n][n_vocab]. */
void ds_lm_head(struct ds_session *s, const float *state, size_t n, float *out);

#endif
