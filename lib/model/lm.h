/*
 * lm.h - language models: reading tokens, logits
 *
 * A model is immutable and may serve many sessions; a session is one sequence with its keys and
 * values, and belongs to one caller (its pool works for it).  Logits of a token have the same
 * bytes for every thread count, every split of the sequence into calls, and every instruction set.
 *
 *	ds_session_new(&s, model, pool, &options, &err);
 *	ds_session_read(s, ids, n, 1, &err);		// prompt; 1: the last token's logits
 *	ds_session_logits(s, 0, 1, logits, &err);	// of the wanted tokens, oldest first
 */
#ifndef DS_MODEL_LM_H
#define DS_MODEL_LM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/policy.h"
#include "base/err.h"
#include "base/pool.h"
#include "model/model.h"

/* Whether the model is a language model (architectures llama, qwen2, gemma3, deepseek2). */
bool ds_model_is_lm(const struct ds_model *model);
/* The template text of tokenizer.chat_template, or NULL; *len_ret bytes. */
const char *ds_model_chat_template(const struct ds_model *model, size_t *len_ret);
uint32_t ds_model_vocab(const struct ds_model *model); /* logits of a token */
uint32_t ds_model_layers(const struct ds_model *model);

#define DS_LORA_MAX 16 /* adapters of a model */
/*
 * Put a low-rank adapter (a GGUF file as llama.cpp has them) on the model, scale times; before the
 * first session.  DS_EFORMAT or DS_EUNSUPPORTED when it is not for this model.
 */
enum ds_status ds_model_lora_add(struct ds_model *model, const char *path, float scale,
				 struct ds_err *err);

/*
 * Beyond the context: when a session is full and more is to be read, it forgets all but its first
 * page of 64 tokens, so many chosen pages and its last tokens, and goes on behind them.  Pages are
 * chosen for each layer and KV head, those that the last tokens attend to most; what is kept moves
 * up, with its keys turned to their new positions.  This happens at token counts that follow from
 * these numbers and the context alone, which becomes a multiple of 64.
 */
struct ds_carry {
	uint32_t window; /* of the last tokens; 0: half the context */
	uint32_t chosen; /* tokens in chosen pages */
};
#define DS_CARRY_DEFAULT UINT32_MAX /* chosen: a quarter of the context */

struct ds_session_options {
	uint32_t context; /* tokens at most; 0: what the model was trained for */
	uint32_t batch;	  /* tokens of a pass through the layers at most; 0: 512 */
	/* layers to leave out, numbered from 0: the stream passes by them, and they keep neither
	 * keys nor values; in any order, not all layers */
	const uint32_t *skip; /* [n_skip] */
	size_t n_skip;
	/* NULL: DS_ATTN_DENSE.  Latent attention (deepseek2) is DS_ATTN_EXACT for both. */
	const struct ds_attn_policy *attn;
	size_t n_attn; /* 0 or 1: attn is of all layers; else it has as many as the model layers */
	/* NULL: a sequence ends with the context.  DS_EUNSUPPORTED with latent attention. */
	const struct ds_carry *carry;
};

struct ds_session;
/*
 * Embed with sessions like this one, before the first text: a text longer than options.context is
 * read in windows of it.  What options points to outlives the embedder.  DS_EINVAL when the model
 * is not a language model.
 */
enum ds_status ds_embedder_read_as(struct ds_embedder *emb,
				   const struct ds_session_options *options, struct ds_err *err);
/* Its session, or NULL: no text came yet, or the model has none. */
const struct ds_session *ds_embedder_session(const struct ds_embedder *emb);

/* DS_EINVAL when the model is not a language model; DS_ELIMIT for a context beyond the model's. */
enum ds_status ds_session_new(struct ds_session **session_ret, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_session_options *options,
			      struct ds_err *err);
void ds_session_free(struct ds_session *session);
size_t ds_session_tokens(const struct ds_session *session); /* read so far */
/* What it may hold at a time. */
size_t ds_session_context(const struct ds_session *session);
bool ds_session_carries(const struct ds_session *session);
/* How often it has forgotten. */
size_t ds_session_rolls(const struct ds_session *session);
/* Tokens of a pass: as asked for, fewer for a short context or a very wide network. */
size_t ds_session_batch(const struct ds_session *session);
/* Bytes of keys, values and scratch memory, that of all threads too, at the full context. */
uint64_t ds_session_bytes(const struct ds_session *session);

/*
 * Read n tokens after those already there, in passes of at most options.batch; n_want of the last
 * ones (at most batch) keep their final states.  DS_ELIMIT when the context is exceeded (nothing
 * is read then), DS_EINVAL for an id out of range, DS_EFORMAT when states are not finite.
 */
enum ds_status ds_session_read(struct ds_session *session, const uint32_t *id, size_t n,
			       size_t n_want, struct ds_err *err);
/* Final states (after the output norm) of the wanted tokens of the last read: [n_embd] of token i;
 * ds_model_dims() values. */
const float *ds_session_state(const struct ds_session *session, size_t i);
/* Logits of n of the wanted tokens, from token first on, into out [n][vocab]. */
enum ds_status ds_session_logits(struct ds_session *session, size_t first, size_t n, float *out,
				 struct ds_err *err);
/* The same of n states as ds_session_state() has them, of this model, at most batch of them. */
enum ds_status ds_session_head(struct ds_session *session, const float *state, size_t n, float *out,
			       struct ds_err *err);
/*
 * What is read from now on is an answer, until the session is cut back to where it begins or
 * before: with the attention policies mass and auto its tokens choose by themselves, see
 * ds-attention(7).  Nothing changes with other policies.
 */
void ds_session_answer(struct ds_session *session);
/* Whether its attention policies choose keys for prompt, question and answer apart: mass, auto. */
bool ds_session_chooses(const struct ds_session *session);
/*
 * Tokens from n on (a multiple of 64, at least those read) are a question about those before: with
 * the attention policies mass and auto they attend to all keys.  SIZE_MAX: none are.
 */
void ds_session_question(struct ds_session *session, size_t n);
/* How many of its tokens were read as those of a prompt are whose question begins there: without
 * an answer, and without what was taken for a question and is none, or the other way round. */
size_t ds_session_prompt(const struct ds_session *session, size_t question);
/*
 * Keep the first n tokens only; returns how many there are then: n or less, or 0 when some of what
 * the session has forgotten since would be needed.  Unless attention is exact, tokens of the page
 * that n lies in may have to be read again, which the next ds_session_read() does by itself.
 */
size_t ds_session_truncate(struct ds_session *session, size_t n);

/*
 * Sequences of one model that are read a token each at a time, in one pass over the weights: what
 * they give has the same bytes as when each is read alone.
 */
struct ds_lockstep;
#define DS_LOCKSTEP_MAX 256
/* n sequences, 1 .. DS_LOCKSTEP_MAX, as options say (batch counts for nothing).  DS_EUNSUPPORTED
 * with latent attention (deepseek2); otherwise as ds_session_new(). */
enum ds_status ds_lockstep_new(struct ds_lockstep **steps_ret, const struct ds_model *model,
			       struct ds_pool *pool, const struct ds_session_options *options,
			       size_t n, struct ds_err *err);
void ds_lockstep_free(struct ds_lockstep *steps);
uint64_t ds_lockstep_bytes(const struct ds_lockstep *steps);
/* Sequence i < n, to be told apart and cut back; it is read only by the next one. */
struct ds_session *ds_lockstep_session(struct ds_lockstep *steps, size_t i);
/* Token id[i] of sequence which[i], n different ones.  After a failure the sequences hold what they
 * held before, or nothing. */
enum ds_status ds_lockstep_read(struct ds_lockstep *steps, const uint32_t *which,
				const uint32_t *id, size_t n, struct ds_err *err);
/* Logits after n of the tokens read last, from the first-th on, into out [n][vocab]. */
enum ds_status ds_lockstep_logits(struct ds_lockstep *steps, size_t first, size_t n, float *out,
				  struct ds_err *err);

/* What was read so far, tokens that were forgotten included. */
struct ds_session_stats {
	/* pairs of a query and a key at or before it, of all layers and heads: of these pairs, so
	 * many were attended to (windows of the model's own leave out some, too) */
	uint64_t pairs, pairs_seen;
	/* policies that choose: audited queries; what they kept (struct ds_attn_audit) */
	uint64_t audited;
	double mass_mean, mass_p5;
};
void ds_session_stats(const struct ds_session *session, struct ds_session_stats *stats_ret);

/*
 * From now on measure every layer's block influence (Men et al., "ShortGPT", arXiv:2403.03853): the
 * mean over the tokens read of 1 - cos of the stream before and after the layer.  Its bytes depend
 * on the tokens alone, as those of logits do.
 */
enum ds_status ds_session_measure(struct ds_session *session, struct ds_err *err);
/* NAN for a layer that was left out, or without tokens. */
double ds_session_influence(const struct ds_session *session, uint32_t layer);

#endif
