/*
 * lm_lora.h - low-rank adapters of language models (internal to lib/model; the door is lm.h)
 *
 * Source: Hu et al., arXiv:2106.09685; files as llama.cpp's convert_lora_to_gguf.py writes them:
 * general.type "adapter", adapter.type "lora", adapter.lora.alpha, and for a tensor NAME of the
 * model NAME.lora_a [rank][k] and NAME.lora_b [n][rank].  A product with the matrix becomes
 *
 *	y = W x,  y += B (s (A x)),  s = scale alpha / rank  (alpha 0: s = scale)
 *
 * and for token_embd, whose A is [vocab][rank]: row += B (s A[id]).
 */
#ifndef DS_MODEL_LM_LORA_H
#define DS_MODEL_LM_LORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "kern/linear.h"

#define DS_LORA_RANK_MAX 4096

struct ds_lora_pair {
	const uint8_t *base;   /* data of the tensor that it goes with */
	struct ds_matrix a, b; /* [rank][k] ([vocab][rank]), [n][rank] */
	float scale;
	bool rows; /* of token_embd */
};

struct ds_lora {
	struct ds_gguf gguf;
	struct ds_lora_pair *pair; /* [n], by ascending base */
	size_t n;
	size_t rank_max;
	uint64_t id; /* fingerprint of the file's tensors and the scale */
};

/* path on the model whose file is base and whose architecture arch. */
struct ds_lora_base {
	const struct ds_gguf *gguf;
	const char *arch;
};
enum ds_status ds_lora_open(struct ds_lora *lora, const char *path, float scale,
			    const struct ds_lora_base *base, struct ds_err *err);
/* The same of bytes in memory (fuzzing), which must outlive lora; name is for messages. */
enum ds_status ds_lora_open_memory(struct ds_lora *lora, struct ds_part bytes, const char *name,
				   const struct ds_lora_base *base, struct ds_err *err);
void ds_lora_close(struct ds_lora *lora);

/* The pair of a matrix (rows: of the embeddings), or NULL. */
const struct ds_lora_pair *ds_lora_find(const struct ds_lora *lora, const uint8_t *base, bool rows);

/* Products with the adapters of a model on top: scratch memory of a session. */
struct ds_lora_scratch {
	const struct ds_lora *lora; /* [n] */
	size_t n;
	struct ds_act *act; /* [n_max][rank_max] */
	float *low;	    /* [n_max][rank_max]: A x */
};
/* Inputs of the widest linear map of n adapters. */
size_t ds_lora_rank_max(const struct ds_lora *lora, size_t n);
enum ds_status ds_lora_scratch_init(struct ds_lora_scratch *s, const struct ds_lora *lora, size_t n,
				    size_t n_max, struct ds_err *err);
void ds_lora_scratch_fini(struct ds_lora_scratch *s);
uint64_t ds_lora_scratch_bytes(const struct ds_lora *lora, size_t n, size_t n_max);

struct ds_lora_linear {
	struct ds_linear *lin;
	const struct ds_kern *kern;
	struct ds_lora_scratch *lora;
};
/* As ds_linear_run(); act has n tokens. */
void ds_lora_run(const struct ds_lora_linear *l, const struct ds_product *product, size_t n_product,
		 const struct ds_act *act, size_t n);
/* Embeddings of n tokens: x [n][k] += scale times what the adapters add to them. */
struct ds_lora_rows {
	const uint8_t *base; /* data of token_embd */
	const uint32_t *id;
	size_t n, k;
	float scale;
	float *x;
};
void ds_lora_embed(const struct ds_lora_linear *l, const struct ds_lora_rows *rows);

#endif
