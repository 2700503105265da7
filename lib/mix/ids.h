/*
 * ids.h - numbers that somebody expects, coded by that and by what was learnt of those before
 *
 * Tokens of a language model: what it expects of the next one is frequencies; what is mixed into
 * them is what followed the same tokens before, in any of several lanes of ids that advance
 * together and learn from each other.  An id is coded bit by bit, the highest first.  All of it is
 * computed in integers; the code is told in ds-archive(5).
 */
#ifndef DS_MIX_IDS_H
#define DS_MIX_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mix/arith.h"

#define DS_MIX_IDS_MAX ((uint32_t)1 << 22)
/* Ids whose frequencies have no sum of their own. */
#define DS_MIX_GROUP 64

struct ds_mix_ids;

/* Of ids below n_ids; lanes of at most n ids each. */
enum ds_status ds_mix_ids_new(struct ds_mix_ids **m_ret, uint32_t n_ids, size_t lanes, size_t n,
			      struct ds_err *err);
void ds_mix_ids_free(struct ds_mix_ids *m);

/* What is expected of an id: each frequency at least 1, all together below 2^24. */
struct ds_mix_expected {
	const uint32_t *frequency; /* [n_ids] */
	uint32_t *sum;		   /* [ds_mix_ids_sums(n_ids)] */
};
size_t ds_mix_ids_sums(uint32_t n_ids);
/* Fill in the sums; by any thread. */
void ds_mix_ids_sum(const struct ds_mix_expected *x, uint32_t n_ids);

/* The next id of a lane, 16 steps of the arithmetic coder or as many as n_ids has bits. */
void ds_mix_ids_encode(struct ds_mix_ids *m, size_t lane, const struct ds_mix_expected *x,
		       struct ds_arith_enc *enc, uint32_t id);
/* Foreign code gives any id. */
uint32_t ds_mix_ids_decode(struct ds_mix_ids *m, size_t lane, const struct ds_mix_expected *x,
			   struct ds_arith_dec *dec);

#endif
