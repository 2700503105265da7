/*
 * decode.h - how the tokens of an answer choose by mass (internal to lib/attn)
 *
 * With the policies mass and auto, tokens of an answer (struct ds_attn_call.answer) do not wait for
 * samples: each chooses for itself, by what is told roughly of every block of 16 keys, its gist.  A
 * gist is rounded as keys are (attn8.h), with one scale, from 2 dim_k values:
 *
 *	mean of the 16 residuals, turned, dim by dim
 *	half their standard deviation, dim by dim
 *
 * With the rounded query a and its magnitudes |a| the rough score of a block is
 *
 *	I gs qs + mean		I = sum of a g over both halves, mean = row times mean key
 *
 * as if each dim were that much on the query's side.  A softmax of a query head over all
 * blocks' scores gives their shares.  Query heads of one KV head are summed and choose together:
 * the first 64 tokens, the 64 before the page, and of the others
 *
 *	mass	those with the greatest shares, up to SHARE of all
 *	auto	those whose share, on the average of the heads, is at least DS_DECODE_PART (1 -
 *MASS) of what there would be if all were equal
 *
 * So the choice depends on the position's own queries and on the pages before it, and costs the
 * reading of about a sixteenth of what attention to all would read.
 */
#ifndef DS_ATTN_DECODE_H
#define DS_ATTN_DECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "attn/tile.h"

#define DS_DECODE_PART 0.5

struct ds_attn_decode;
enum ds_status ds_decode_new(struct ds_attn_decode **decode_ret, struct ds_attn *attn,
			     const struct ds_attn_policy *policy, struct ds_err *err);
/* Whether the call is one token that chooses so. */
bool ds_decode_wants(const struct ds_attn *attn, const struct ds_attn_call *call);
/* Choose for attn->call, all shares. */
void ds_decode_choose(struct ds_attn *attn);
/* The list of a share (ds_attn_tile_of()). */
struct ds_block_list ds_decode_list(const struct ds_attn *attn, size_t share);
/* Add what was audited so far. */
void ds_decode_audit(const struct ds_attn_decode *decode, struct ds_attn_audit *audit);
/* Tokens from n on will be others. */
void ds_decode_forget(struct ds_attn_decode *decode, size_t n);

#endif
