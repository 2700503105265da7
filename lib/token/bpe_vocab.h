/*
 * bpe_vocab.h - inside of struct ds_bpe: the tables that encoding reads
 *
 * Symbols are token ids; a byte (or code point) that is no token is no symbol and merges with
 * nothing.  The rank of a merge is its index in the list; ranks order the merges.
 */
#ifndef DS_TOKEN_BPE_VOCAB_H
#define DS_TOKEN_BPE_VOCAB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "token/bpe.h"

#define DS_BPE_ID_BITS 20 /* ids below 2^20, so that a pair and its rank fit 64 bits */
#define DS_BPE_RANK_BITS 24
#define DS_BPE_TOKENS_MAX ((1u << DS_BPE_ID_BITS) - 1)
#define DS_BPE_MERGES_MAX ((1u << DS_BPE_RANK_BITS) - 1) /* fewer: 1 + rank is no DS_NO_ORIGIN */
#define DS_NO_RANK UINT32_MAX
#define DS_BPE_PAD 16 /* bytes readable after the last token */

/* Up to 15 bytes, the rest zero, and their number in the last byte. */
struct ds_key {
	uint64_t low, high;
};

/* Short tokens (up to DS_BPE_INLINE bytes), three a cache line. */
#define DS_BPE_INLINE 15
struct ds_bpe_line {
	struct ds_key key[3]; /* 0: free */
	uint32_t id[3];
	uint32_t overflow; /* some token of this line is in the next */
};

/* Longer ones. */
struct ds_bpe_slot {
	uint32_t hash; /* upper half */
	uint32_t id;   /* DS_NO_TOKEN: free */
};

struct ds_bpe_rule {
	uint32_t left, right;
};

/*
 * How a token comes about when it is encoded alone (bpe_order.c): 1 + the rank of the last merge,
 * its left and its right symbol, in 24, 20 and 20 bits.  Rank 0: a symbol that text starts with;
 * DS_NO_ORIGIN: encoding its bytes never gives this token.
 */
#define DS_NO_ORIGIN UINT64_MAX

static inline uint32_t ds_origin_rank(uint64_t origin)
{
	return (uint32_t)(origin >> (2 * DS_BPE_ID_BITS));
}

static inline uint32_t ds_origin_left(uint64_t origin)
{
	return (uint32_t)(origin >> DS_BPE_ID_BITS) & DS_BPE_TOKENS_MAX;
}

static inline uint32_t ds_origin_right(uint64_t origin)
{
	return (uint32_t)origin & DS_BPE_TOKENS_MAX;
}

struct ds_bpe_order;

struct ds_bpe {
	uint32_t n_tokens, n_rules;
	unsigned flags;
	uint32_t unk;
	uint8_t *region;	  /* where all the tables are */
	uint8_t *bytes;		  /* all tokens' bytes, one after the other, and DS_BPE_PAD */
	uint32_t *start;	  /* [n_tokens + 1] in bytes */
	uint8_t *ordinary;	  /* [n_tokens] 1: text can become this token */
	struct ds_bpe_line *line; /* [line_mask + 1] tokens by their bytes */
	uint32_t line_mask;
	uint64_t *token_seen;	  /* bits by ds_seen_bit() of their hashes */
	struct ds_bpe_slot *slot; /* [slot_mask + 1] */
	uint32_t slot_mask;
	uint64_t *pair;		  /* [pair_mask + 1] left, right, rank; UINT64_MAX: free */
	uint32_t pair_mask;
	uint64_t *pair_seen;	  /* the same of pairs: most do not merge */
	struct ds_bpe_rule *rule; /* [n_rules] */
	uint32_t *result;	  /* [n_rules] what they make */
	uint32_t byte_token[256]; /* a byte alone, or DS_NO_TOKEN */
	uint32_t byte_fallback[256]; /* what a byte without a token becomes, or DS_NO_TOKEN */
	uint32_t *byte_pair;	  /* [65536] rank of two bytes, or DS_NO_RANK */
	bool total;		  /* every byte is a token: nothing stands between symbols */
	pthread_mutex_t lock;	  /* of making order */
	_Atomic(struct ds_bpe_order *) order; /* NULL until asked for */
};

/* --- hashing ------------------------------------------------------------------------------- */

static inline uint64_t ds_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ UINT64_C(0x9E3779B97F4A7C15)) *
			      (b ^ UINT64_C(0xD6E8FEB86659FD93));

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The key of the first len (1 to 15) of the 16 bytes in all. */
static inline struct ds_key ds_key_cut(struct ds_key all, size_t len)
{
	struct ds_key key = all;

	if (len < 8) {
		key.low &= UINT64_MAX >> (64 - len * 8);
		key.high = 0;
	} else {
		key.high &= (UINT64_C(1) << (len * 8 - 64)) - 1;
	}
	key.high |= (uint64_t)len << 56;
	return key;
}

/* 16 readable bytes. */
static inline struct ds_key ds_key_load(const uint8_t *p)
{
	return (struct ds_key){ds_get_u64(p), ds_get_u64(p + 8)};
}

/* 16 bytes, of which those from readable on count as 0. */
static inline struct ds_key ds_key_load_end(const uint8_t *p, const uint8_t *readable)
{
	uint8_t copy[16] = {0};

	if (readable - p >= 16)
		return ds_key_load(p);
	memcpy(copy, p, (size_t)(readable - p));
	return ds_key_load(copy);
}

static inline uint64_t ds_key_hash(struct ds_key key)
{
	return ds_mix(key.low, key.high);
}

/* Of more than 15 bytes. */
static inline uint64_t ds_long_hash(const uint8_t *p, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i += 16) {
		/* the last block overlaps the one before */
		struct ds_key key = ds_key_load(p + (i + 16 <= len ? i : len - 16));

		h = ds_mix(key.low ^ h, key.high);
	}
	return h;
}

static inline uint32_t ds_token_len(const struct ds_bpe *bpe, uint32_t id)
{
	return bpe->start[id + 1] - bpe->start[id];
}

static inline uint32_t ds_bpe_look_short(const struct ds_bpe *bpe, struct ds_key key,
					 uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash & bpe->line_mask;; i = (i + 1) & bpe->line_mask) {
		const struct ds_bpe_line *line = &bpe->line[i];


		for (unsigned j = 0; j < 3; j++)
			if (line->key[j].low == key.low && line->key[j].high == key.high)
				return line->id[j];
		if (!line->overflow)
			return DS_NO_TOKEN;
	}
}

static inline uint32_t ds_bpe_look_long(const struct ds_bpe *bpe, const uint8_t *p, size_t len,
					uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash & bpe->slot_mask;; i = (i + 1) & bpe->slot_mask) {
		struct ds_bpe_slot slot = bpe->slot[i];

		if (slot.id == DS_NO_TOKEN)
			return DS_NO_TOKEN;
		if (slot.hash == (uint32_t)(hash >> 32) && ds_token_len(bpe, slot.id) == len &&
		    !memcmp(bpe->bytes + bpe->start[slot.id], p, len))
			return slot.id;
	}
}

static inline uint32_t ds_pair_hash(uint64_t pair, uint32_t mask)
{
	return (uint32_t)((pair * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;
}

#define DS_SEEN_BITS 20 /* 128 KiB: one in eight set by 128 Ki */
#define DS_SEEN_BYTES ((size_t)1 << (DS_SEEN_BITS - 3))

static inline uint64_t ds_pair_seen_hash(uint64_t pair)
{
	return pair * UINT64_C(0xD6E8FEB86659FD93);
}

static inline bool ds_seen(const uint64_t *bits, uint64_t hash)
{
	uint32_t bit = (uint32_t)(hash >> (64 - DS_SEEN_BITS));

	return bits[bit / 64] >> (bit % 64) & 1;
}

static inline void ds_see(uint64_t *bits, uint64_t hash)
{
	uint32_t bit = (uint32_t)(hash >> (64 - DS_SEEN_BITS));

	bits[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* The rank of the merge of two symbols, or DS_NO_RANK. */
static inline uint32_t ds_bpe_rank(const struct ds_bpe *bpe, uint32_t left, uint32_t right)
{
	uint64_t pair = (uint64_t)left << DS_BPE_ID_BITS | right;

	if (!ds_seen(bpe->pair_seen, ds_pair_seen_hash(pair)))
		return DS_NO_RANK;
	for (uint32_t i = ds_pair_hash(pair, bpe->pair_mask);; i = (i + 1) & bpe->pair_mask) {
		uint64_t entry = bpe->pair[i];

		if (entry >> DS_BPE_RANK_BITS == pair)
			return (uint32_t)entry & DS_BPE_MERGES_MAX;
		if (entry == UINT64_MAX)
			return DS_NO_RANK;
	}
}

/* --- order (bpe_order.c) ------------------------------------------------------------------- */

/* What encoding long pieces in linear time needs; made at the first call and kept. */
enum ds_status ds_bpe_order_get(const struct ds_bpe_order **order_ret, const struct ds_bpe *bpe,
				struct ds_err *err);
void ds_bpe_order_free(struct ds_bpe_order *order);

#define DS_HEAD_BITS 13
#define DS_HAN_FIRST 0x3000 /* kana and Chinese characters: three bytes each, E3 to E9 */
#define DS_HAN_COUNT (0xA000 - DS_HAN_FIRST)

/* The tokens of 3 to DS_BPE_INLINE bytes that come about and begin with the same three (hashed). */
struct ds_bpe_head {
	uint16_t lengths;  /* bit i: 3 + i bytes; bit 15: some are longer than DS_BPE_INLINE */
	uint16_t bits[15]; /* by ds_head_bit() of their hashes */
};

struct ds_bpe_order {
	bool proper; /* the theorem of bpe_order.c holds; else only merging step by step is exact */
	uint64_t *origin;      /* [n_tokens] see above */
	uint64_t *comes_about; /* [n_tokens] bits: has an origin */
	/* By ds_level_cell() of the pair: no origin there has a rank below level << level_shift;
	 * DS_LEVEL_NONE: there is none.  Spares most looks at pairs whose merge is too late. */
	uint8_t *level;
	unsigned level_shift;
	/* Where merges of tokens that come about join: bits by the bytes at the joint. */
	uint64_t *joint_bytes; /* [65536] a part is under 3 bytes: the byte on each side */
	uint64_t *joint_heads; /* ds_seen(): both are 3 or more: three bytes on each side */
	/* Tokens that come about, by their first bytes: */
	uint32_t *two; /* [65536] of two bytes, or DS_NO_TOKEN */
	struct ds_bpe_head *head; /* [1 << DS_HEAD_BITS] */
	uint32_t *han; /* [DS_HAN_COUNT] of one code point from DS_HAN_FIRST on, or DS_NO_TOKEN */
	/* Longer than DS_BPE_INLINE: by the hash of their first 16 bytes, chains, longest first. */
	uint32_t *chain; /* [chain_mask + 1] id, or DS_NO_TOKEN */
	uint32_t chain_mask;
	uint32_t *chain_next; /* [n_tokens] */
	uint8_t *region;      /* where the tables are */
};

static inline bool ds_comes_about(const struct ds_bpe_order *order, uint32_t id)
{
	return order->comes_about[id / 64] >> (id % 64) & 1;
}

static inline uint32_t ds_head_hash(uint32_t three_bytes)
{
	return (three_bytes & 0xFFFFFF) * 0x9E3779B1u >> (32 - DS_HEAD_BITS);
}

static inline uint32_t ds_head_bit(uint64_t hash)
{
	return (uint32_t)((hash >> 32) * 240 >> 32);
}

/* Of the three bytes before p and the three from p on; 4 must be readable from p - 3 and p. */
static inline uint64_t ds_joint_hash(const uint8_t *p)
{
	uint64_t before = ds_get_u32(p - 3) & 0xFFFFFF, after = ds_get_u32(p) & 0xFFFFFF;

	return (before << 24 | after) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Whether a merge, one part of which is under three bytes, may join the bytes before and at p. */
static inline bool ds_joins_bytes(const struct ds_bpe_order *order, const uint8_t *p)
{
	uint32_t both = (uint32_t)p[-1] << 8 | p[0];

	return order->joint_bytes[both / 64] >> (both % 64) & 1;
}

#define DS_LEVEL_BITS 17 /* 128 KiB */
#define DS_LEVEL_BYTES ((size_t)1 << DS_LEVEL_BITS)
#define DS_LEVEL_NONE 255

static inline uint32_t ds_level_cell(uint32_t left, uint32_t right)
{
	uint64_t pair = (uint64_t)left << DS_BPE_ID_BITS | right;

	return (uint32_t)(ds_pair_seen_hash(pair) >> (64 - DS_LEVEL_BITS));
}

/* Whether the merge of two symbols is an origin and 1 + its rank below limit. */
static inline bool ds_merges_below(const struct ds_bpe *bpe, const struct ds_bpe_order *order,
				   uint32_t left, uint32_t right, uint32_t limit)
{
	unsigned level = order->level[ds_level_cell(left, right)];
	uint32_t rank;

	if (level == DS_LEVEL_NONE || limit < 2 || level > (limit - 2) >> order->level_shift)
		return false;
	rank = ds_bpe_rank(bpe, left, right);
	return rank != DS_NO_RANK && rank + 1 < limit &&
	       ds_origin_rank(order->origin[bpe->result[rank]]) == rank + 1;
}

/*
 * Whether encoding the bytes of left and right together leaves them as two tokens, as far as merges
 * of ranks below limit - 1 go, that of left and right itself apart; both have an origin.  Walks
 * back in time along the right edge of left and the left edge of right: at each moment the two
 * symbols that meet there must not merge.  A merge that ties with the one that made right wins (it
 * is more to the left), one that ties with that of left has lost.
 */
static inline bool ds_bpe_edges_hold(const struct ds_bpe *bpe, const struct ds_bpe_order *order,
				     uint32_t left, uint32_t right, uint32_t limit)
{
	uint64_t from_left = order->origin[left], from_right = order->origin[right];

	for (;;) {
		uint32_t l = ds_origin_rank(from_left), r = ds_origin_rank(from_right);

		/* branches: what follows is loaded before it is known that it is needed */
		if (l > r) {
			limit = l;
			left = ds_origin_right(from_left);
			from_left = order->origin[left];
		} else if (r) {
			limit = r + 1;
			right = ds_origin_left(from_right);
			from_right = order->origin[right];
		} else {
			return true;
		}
		if (ds_merges_below(bpe, order, left, right, limit))
			return false;
	}
}

static inline bool ds_bpe_stays_apart(const struct ds_bpe *bpe, const struct ds_bpe_order *order,
				      uint32_t left, uint32_t right)
{
	return !ds_merges_below(bpe, order, left, right, UINT32_MAX) &&
	       ds_bpe_edges_hold(bpe, order, left, right, UINT32_MAX);
}

#endif
