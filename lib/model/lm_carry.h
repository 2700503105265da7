/*
 * lm_carry.h - sessions beyond their context (internal to lib/model; see struct ds_carry in lm.h)
 */
#ifndef DS_MODEL_LM_CARRY_H
#define DS_MODEL_LM_CARRY_H

#include "model/lm_net.h"

/* What a session keeps; positions are those among the tokens that it holds. */
struct ds_lm_carry {
	uint32_t pages;		 /* of the context */
	uint32_t window, chosen; /* pages */
	uint64_t forgotten;	 /* tokens */
	size_t begin;		 /* tokens held when it last forgot some; 0: never */
	size_t rolls;
	/* Queries of some of the last tokens: [n_layer][n_head_kv][n_sample][group][dim_k] */
	size_t first_sample, n_sample; /* the page they begin in; how many */
	float *query;
	struct ds_lm_carry_desk *desk; /* [threads] */
};

/* The context becomes whole pages. */
enum ds_status ds_lm_carry_context(struct ds_session *s, const struct ds_carry *options,
				   struct ds_err *err);
/* After the session's other memory. */
enum ds_status ds_lm_carry_init(struct ds_session *s, struct ds_err *err);
/* Whether queries of the pass are wanted in all layers; keep those of token i. */
bool ds_lm_carry_wants(const struct ds_session *s, const struct ds_lm_pass *pass);
void ds_lm_carry_note(struct ds_session *s, const struct ds_lm_layer *layer, size_t pos,
		      const float *q);
/* The session is full: forget. */
void ds_lm_carry_roll(struct ds_session *s);

#endif
