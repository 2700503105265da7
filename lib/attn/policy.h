/*
 * policy.h - attention policies: which earlier keys a query attends to
 *
 * A policy only chooses.  Queries are taken in tiles of one head: aligned pieces of a page of
 * positions (64, 16 or 1 of them).  For each tile a policy lists blocks of 16 keys that lie before
 * the tile's page; the tokens of that page itself, up to each query, are always seen, exactly.  One
 * function (rounded.c) attends to the lists.  The choice for a query may depend on keys and queries
 * at or before it, never on how the sequence was split into calls.
 *
 * See ds-attention(7) for what each policy does, costs, and when it fails.
 */
#ifndef DS_ATTN_POLICY_H
#define DS_ATTN_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum ds_attn_kind {
	DS_ATTN_DENSE, /* all keys, int8: the default */
	DS_ATTN_EXACT, /* all keys, f32 over f16 pages */
	DS_ATTN_WINDOW,
	DS_ATTN_STREAM,
	DS_ATTN_KEYS,
	DS_ATTN_HYBRID,
	DS_ATTN_HYBRID_SUM,
	DS_ATTN_TOPK,
	DS_ATTN_VSA,
	DS_ATTN_LSH,
	DS_ATTN_MASS,
	DS_ATTN_AUTO,
	DS_ATTN_ANSWER,
	DS_ATTN_KINDS
};

#define DS_ATTN_PARAMS 4

struct ds_attn_policy {
	enum ds_attn_kind kind;
	/* in the order of its text form, defaults filled in; P of mass and auto may be 0: 1, if the
	 * one who knows the model does not set it */
	double param[DS_ATTN_PARAMS];
	uint32_t break_even;	      /* sequences up to so many tokens are read densely */
	double require_mass;	      /* audited mass below it is a failure; 0: none */
};

/*
 * "dense", "window:2048", "keys:512,32", "mass:0.2" ...: what is left out at the end has its
 * default.  Numbers have at most six digits after the point.  DS_EINVAL tells what was expected.
 */
enum ds_status ds_attn_policy_parse(struct ds_attn_policy *policy_ret, const char *text,
				    struct ds_err *err);
#define DS_ATTN_TEXT_BYTES 96
/* The text form, all parameters written; DS_ATTN_TEXT_BYTES are enough. */
void ds_attn_policy_text(const struct ds_attn_policy *policy, char *text, size_t size);

/* Whether the policy looks at text: struct ds_attn_call.boundaries. */
bool ds_attn_policy_reads(const struct ds_attn_policy *policy);

/* Whether the tokens of an answer choose otherwise: struct ds_attn_call.answer. */
bool ds_attn_policy_answers(const struct ds_attn_policy *policy);

/* What a token's text ends, for policies that look at text. */
enum ds_attn_boundary {
	DS_ATTN_NO_BOUNDARY,
	DS_ATTN_PARAGRAPH, /* has a line break */
	DS_ATTN_SENTENCE,
	DS_ATTN_CLAUSE
};

/* Blocks of 16 keys, ascending. */
struct ds_block_list {
	size_t n;
	const uint32_t *block;	/* block b: positions 16 b .. 16 b + 15 */
	const uint16_t *tokens; /* bit t: its token t is seen; or NULL: all are */
};
/* The tokens of its i-th block that are seen, from position first on. */
uint16_t ds_list_tokens(const struct ds_block_list *list, size_t i, size_t first);

#endif
