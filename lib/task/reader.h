/*
 * reader.h - a session that knows its tokens: prompts are read as far as they are new
 *
 * Successive prompts that begin alike (a system message, a long document) share that beginning: the
 * session is cut back to it and only the rest is read.  The result is the same as without.
 */
#ifndef DS_TASK_READER_H
#define DS_TASK_READER_H

#include "model/lm.h"
#include "task/chat.h"

struct ds_reader_options {
	uint32_t context, batch; /* as for ds_session_new() */
	bool raw;		 /* no chat template */
	const char *chat;	 /* its name; NULL: the model's own */
	const uint32_t *skip;	 /* [n_skip] layers left out, as for ds_session_new() */
	size_t n_skip;
	const struct ds_attn_policy *attn; /* [n_attn] as for ds_session_new() */
	size_t n_attn;
	const struct ds_carry *carry; /* as for ds_session_new() */
	/* told while prompts are read; may be NULL */
	void (*progress)(void *user, uint64_t done_tokens, uint64_t all_tokens);
	void *user;
};

struct ds_reader {
	struct ds_reader_options options;
	const struct ds_model *model;
	struct ds_pool *pool;
	const struct ds_tokenizer *tok;
	struct ds_chat chat;
	struct ds_encoder *enc;
	struct ds_session *session;
	size_t vocab, context;
	struct ds_chat_parts parts; /* of the last turn */
	struct ds_tokens prompt;    /* its tokens */
	struct ds_chat_opening opening;
	size_t n_ahead; /* tokens read while the turn was coming */
	uint32_t *held; /* [n_held] what the session has read */
	size_t n_held, cap_held;
	float *logits; /* [vocab] */
	/* totals */
	uint64_t prompt_tokens, cached_tokens, ahead_tokens;
	double prompt_seconds;
};

/* The model and the pool outlive the reader.  A zeroed struct may be closed. */
enum ds_status ds_reader_open(struct ds_reader *reader, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_reader_options *options,
			      struct ds_err *err);
void ds_reader_close(struct ds_reader *reader);

/* Leave out other layers from now on: a new session, which holds nothing yet; on failure the old
 * one stays. */
enum ds_status ds_reader_skip(struct ds_reader *reader, const uint32_t *skip, size_t n,
			      struct ds_err *err);

/* The tokens of a turn into reader->prompt. */
enum ds_status ds_reader_turn(struct ds_reader *reader, const struct ds_turn *turn,
			      struct ds_err *err);
/*
 * Reading ahead: while a text of a turn is still coming (its bytes are NULL), the tokens before and
 * of it are read as far as they are certain; ds_reader_read() of the whole turn then finds them
 * held.  Nothing else depends on it.  idle: nothing more has come yet, so that a small pass is
 * better than none.
 */
enum ds_status ds_reader_begin(struct ds_reader *reader, const struct ds_turn *turn,
			       struct ds_err *err);
enum ds_status ds_reader_more(struct ds_reader *reader, const void *bytes, size_t n, bool idle,
			      struct ds_err *err);
/*
 * Let the session hold exactly these tokens, the final states of the last n_want among them (1 or
 * more, at most ds_session_batch()).  DS_ELIMIT when they are more than the context, unless it
 * carries.
 */
enum ds_status ds_reader_read(struct ds_reader *reader, const uint32_t *id, size_t n, size_t n_want,
			      struct ds_err *err);
/* Tokens after those held; all of their final states are kept. */
enum ds_status ds_reader_append(struct ds_reader *reader, const uint32_t *id, size_t n,
				struct ds_err *err);
void ds_reader_truncate(struct ds_reader *reader, size_t n);

double ds_reader_clock(void); /* seconds, monotonic */

#endif
