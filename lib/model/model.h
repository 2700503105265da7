/*
 * model.h - a model behind one door: its tokenizer, its fingerprint, embeddings
 */
#ifndef DS_MODEL_MODEL_H
#define DS_MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "token/token.h"

struct ds_model;
struct ds_embedder;

/* What becomes of the final states of a text's tokens: their mean, or one of them. */
enum ds_pooling { DS_POOL_MEAN, DS_POOL_CLS, DS_POOL_LAST, DS_POOL_OTHER };

/* path: a GGUF file (architectures static, bert, llama, qwen2, gemma3) or an HF folder (bert);
 * NULL: the built-in model. */
enum ds_status ds_model_open(struct ds_model **model_ret, const char *path, struct ds_err *err);
void ds_model_close(struct ds_model *model);

const struct ds_tokenizer *ds_model_tokenizer(const struct ds_model *model);
/* Fingerprint of weights, settings and vocabulary; of the matrices of a language model, which are
 * not read when it is opened, types, shapes and samples of each. */
uint64_t ds_model_id(const struct ds_model *model);
/* The file that the model is in: what tells it from every other one. */
struct ds_model_file {
	const char *name;     /* without its folder, borrowed from the model */
	uint64_t hash, bytes; /* XXH3-64 of all of it, and how many they are */
};
/* Reads the file; DS_EUNSUPPORTED where the model is a folder or has adapters. */
enum ds_status ds_model_file(const struct ds_model *model, struct ds_model_file *file_ret,
			     struct ds_err *err);
const char *ds_model_describe(const struct ds_model *model); /* one line for people */
const char *ds_model_kernels(const struct ds_model *model);  /* name of the kernel table */
uint32_t ds_model_dims(const struct ds_model *model);	     /* of an embedding */
uint32_t ds_model_context(const struct ds_model *model);     /* tokens; UINT32_MAX: no limit */

/*
 * Pool otherwise than the file says, before embedding: a language model by mean or last token.
 * DS_EINVAL for other models.  The fingerprint changes with it: such embeddings do not compare.
 */
enum ds_status ds_model_set_pooling(struct ds_model *model, enum ds_pooling pooling,
				    struct ds_err *err);

/* Embedding texts: scratch memory for one caller; pool may be NULL. */
enum ds_status ds_embedder_new(struct ds_embedder **emb_ret, const struct ds_model *model,
			       struct ds_pool *pool, struct ds_err *err);
/*
 * One normalised vector a text into out [n][dims].  A text longer than the context is embedded as
 * the mean of its windows, weighted by their tokens.  A text without tokens (static: known ones)
 * gives zeros.  The bytes of a result do not depend on n, the other texts, threads or the
 * instruction set.
 */
enum ds_status ds_embed(struct ds_embedder *emb, const struct ds_part *texts, size_t n, float *out,
			struct ds_err *err);
/* Tokens of the texts embedded so far, without the special ones that a model adds. */
uint64_t ds_embedder_tokens(const struct ds_embedder *emb);
void ds_embedder_free(struct ds_embedder *emb);

#endif
