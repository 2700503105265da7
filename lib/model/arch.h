/*
 * arch.h - what model.c asks of an architecture, and what they share
 */
#ifndef DS_MODEL_ARCH_H
#define DS_MODEL_ARCH_H

#include "gguf/gguf.h"
#include "gguf/safetensors.h"
#include "kern/kern.h"
#include "model/model.h"
#include "model/weights.h"

struct ds_arch;
struct ds_lora;

struct ds_model {
	const struct ds_arch *arch;
	const struct ds_kern *kern;
	void *net; /* struct ds_static, ds_bert or ds_lm */
	struct ds_tokenizer *tok;
	struct ds_gguf gguf;	  /* the file, or */
	struct ds_safetensors st; /* the folder's */
	char *path;
	uint64_t id;
	enum ds_pooling pooling;
	uint32_t dims, context; /* context: UINT32_MAX without limit */
	char describe[200];
	struct ds_lora *lora; /* [n_lora] adapters of a language model */
	size_t n_lora;
};

/* What one thread of an embedder owns. */
struct ds_embed_worker {
	struct ds_encoder *enc;
	struct ds_tokens tokens;
	void *scratch;	   /* of the architecture */
	uint64_t n_tokens; /* embedded so far */
	enum ds_status status;
	size_t failed; /* index of the text that status is about */
	struct ds_err err;
};

struct ds_embedder {
	const struct ds_model *model;
	struct ds_pool *pool;
	unsigned n_worker;
	struct ds_embed_worker *worker; /* [n_worker] */
	const struct ds_session_options *reading; /* of language models; NULL: as they are */
};

struct ds_arch {
	const char *name; /* general.architecture */
	enum ds_status (*open_gguf)(struct ds_model *model, struct ds_weights *weights,
				    struct ds_err *err);
	void (*close)(void *net);
	/* memory of one thread; NULL when none is needed */
	enum ds_status (*new_scratch)(const void *net, void **scratch_ret, struct ds_err *err);
	void (*free_scratch)(void *scratch);
	/* see ds_embed() */
	enum ds_status (*embed)(struct ds_embedder *emb, const struct ds_part *texts, size_t n,
				float *out, struct ds_err *err);
};

extern const struct ds_arch ds_arch_static;

/*
 * Call text(emb, worker, index, arg) for 0..n-1 on the pool; DS_OK, or the failure with the lowest
 * index.
 */
enum ds_status ds_embed_each(struct ds_embedder *emb, size_t n,
			     enum ds_status (*item)(struct ds_embedder *emb,
						    struct ds_embed_worker *w, size_t index,
						    void *arg),
			     void *arg, struct ds_err *err);
/*
 * Tokens of a text in pieces that need no more than a little memory each: take(arg, ids, n) gets
 * them in order.
 */
enum ds_status ds_embed_tokens(struct ds_embed_worker *w, struct ds_part text,
			       enum ds_status (*take)(void *arg, uint32_t *id, size_t n,
						      struct ds_err *err),
			       void *arg);
/* Normalise a vector; DS_EFORMAT when it is not finite. */
enum ds_status ds_embed_normalise(const struct ds_model *model, float *vector, struct ds_err *err);

#endif
