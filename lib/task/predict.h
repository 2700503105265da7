/*
 * predict.h - what a session expects: how likely given tokens are, and which would be likeliest
 *
 * Logits are made a few rows at a time and not kept.
 */
#ifndef DS_TASK_PREDICT_H
#define DS_TASK_PREDICT_H

#include "base/pool.h"
#include "kern/kern.h"
#include "model/lm.h"

struct ds_predict {
	const struct ds_kern *kern;
	struct ds_pool *pool;
	size_t vocab, rows; /* logits of so many tokens at once */
	float *logits;	    /* [rows][vocab] */
	/* the call at hand */
	const uint32_t *target;
	float *logprob;
	uint32_t *best;
};

/* The pool outlives the struct; a zeroed struct may be closed. */
enum ds_status ds_predict_init(struct ds_predict *predict, struct ds_pool *pool, size_t vocab,
			       struct ds_err *err);
void ds_predict_fini(struct ds_predict *predict);

/* The tokens that follow n of the wanted ones of a session's last read, from wanted one first on.
 */
struct ds_predict_call {
	size_t first, n;
	const uint32_t *target; /* [n] the tokens that follow; NULL: no logprob */
	float *logprob;		/* [n] natural logarithm of their probability; NULL: not wanted */
	uint32_t *best;		/* [n] the likeliest tokens, lowest of equals; NULL: not wanted */
};
/* DS_EFORMAT when a probability is not finite. */
enum ds_status ds_predict(struct ds_predict *predict, struct ds_session *session,
			  const struct ds_predict_call *call, struct ds_err *err);

#endif
