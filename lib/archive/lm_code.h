/*
 * lm_code.h - text coded by a language model: every token costs as many bits as it surprises
 *
 * A block of text is divided into lanes, and these become tokens of the model's vocabulary; each is
 * coded arithmetically with the probability that the model gives it after those before in its
 * lane, mixed with what all lanes of the block have learnt (mix/ids.h).  Blocks are coded apart;
 * up to 64 lanes, of one block or of many, advance together, a token each, so that the weights are
 * read once for all.  Logits have the same bytes everywhere (lm.h), and what is made of them here
 * is exact or rounded as written: a block decodes on any machine, with any number of threads and of
 * blocks beside it.  The code is told in ds-archive(5).
 */
#ifndef DS_ARCHIVE_LM_CODE_H
#define DS_ARCHIVE_LM_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "model/lm.h"

struct ds_lm_code_rule {
	uint32_t context; /* tokens that the model looks back at most; a multiple of 64 */
};

struct ds_lm_code;
/* DS_EINVAL when the model is no language model, or its vocabulary is too large for the coder. */
enum ds_status ds_lm_code_new(struct ds_lm_code **code_ret, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_lm_code_rule *rule,
			      struct ds_err *err);
void ds_lm_code_free(struct ds_lm_code *code);

struct ds_lm_job {
	uint8_t *bytes; /* [n]: the text, or where it goes */
	size_t n;
	struct ds_buf *code; /* the code is appended to it, or is all of it */
	bool unfit;	     /* encoding: the vocabulary cannot spell this text; no code */
	enum ds_status status; /* decoding: DS_OK, or DS_EFORMAT, DS_ETRUNCATED */
};
enum ds_status ds_lm_encode(struct ds_lm_code *code, struct ds_lm_job *job, size_t n,
			    struct ds_err *err);
/* What is wrong with one job does not keep the others from being done. */
enum ds_status ds_lm_decode(struct ds_lm_code *code, struct ds_lm_job *job, size_t n,
			    struct ds_err *err);

#endif
