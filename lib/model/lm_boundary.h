/*
 * lm_boundary.h - which tokens end paragraphs, sentences and clauses (internal to lib/model)
 */
#ifndef DS_MODEL_LM_BOUNDARY_H
#define DS_MODEL_LM_BOUNDARY_H

#include <stddef.h>
#include <stdint.h>

#include "attn/policy.h"
#include "base/err.h"
#include "token/token.h"

/*
 * By a token's bytes: a line break anywhere ends a paragraph; . ! ? and their Chinese forms end a
 * sentence, comma, semicolon and colon a clause, where nothing but closing quotes, brackets and
 * spaces follows.
 */
enum ds_attn_boundary ds_boundary_of(const void *bytes, size_t n);
/* Of every token id: [n_vocab], released with free(). */
enum ds_status ds_boundaries_of(const struct ds_tokenizer *tok, uint32_t n_vocab,
				uint8_t **boundaries_ret, struct ds_err *err);

#endif
