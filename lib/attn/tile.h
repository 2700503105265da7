/*
 * tile.h - what the ways to attend have in common (internal to lib/attn)
 *
 * Work is cut into tiles: some queries times the query heads that share a KV head (a part of them
 * where they are many), as rows of matrix products.
 */
#ifndef DS_ATTN_TILE_H
#define DS_ATTN_TILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/attn.h"
#include "attn/policy.h"
#include "kern/attn8.h"

/* A struct ds_attn_part for each row: [rows], [rows][16], [rows][dim_v] */
struct ds_attn_parts {
	float *max, *sum, *value;
};

struct ds_rounded;
struct ds_attn_follower;
struct ds_audit_rows;

struct ds_attn_pairs {
	atomic_ullong seen, causal;
};

struct ds_attn_scratch {
	float *q;	      /* [rows][dim_k], scaled: query, then head */
	float *score;	      /* [rows][64] */
	float *factor;	      /* [rows] */
	float *keys, *values; /* of a page */
	struct ds_key_range *range;
	struct ds_attn_parts part, total;
};

struct ds_attn {
	const struct ds_kern *kern;
	struct ds_pool *pool;
	struct ds_arena mem;
	struct ds_kv_shape shape;
	uint32_t group, heads;		 /* query heads of a KV head, of a tile */
	size_t n_share;			 /* tiles of the same queries: KV heads x parts of groups */
	size_t block;			 /* queries under work at a time */
	size_t tile_most;		 /* queries of a tile at most, */
	size_t tile;			 /* and in this call */
	struct ds_attn_scratch *scratch; /* [threads] */
	struct ds_attn_parts *split;	 /* [n_share][ROUND_SEGMENTS], or NULL: tiles suffice */
	struct ds_attn_parts *joined;	 /* [n_share] */
	atomic_uint *done;		 /* [n_share]: segments of this round */
	struct ds_rounded *rounded;	 /* with shape.recent */
	struct ds_attn_follower *follow; /* NULL: no policy that chooses */
	struct ds_audit_rows *audit;	 /* NULL: not audited that way */
	struct ds_attn_policy policy;
	struct ds_attn_call own_call; /* a call with the policy's window */
	struct ds_attn_pairs *pairs;  /* of queries and keys, so far */
	/* of the call */
	const struct ds_attn_call *call;
	size_t n_tile;
	size_t segment, n_segment; /* of this round */
	size_t last_segment;
};

struct ds_attn_tile {
	const struct ds_attn_call *call;
	uint32_t kv_head, head, n_head; /* query heads */
	size_t query, n;		/* of the call */
	size_t rows;			/* n * n_head: query, then head */
	uint32_t window;		/* of what lies before the tile's page; 0: all */
};

static inline size_t ds_attn_smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The first key that a token sees. */
static inline size_t ds_attn_first_of(uint32_t window, size_t pos)
{
	return window && pos >= window ? pos - window + 1 : 0;
}

static inline size_t ds_attn_first_key(const struct ds_attn_call *call, size_t pos)
{
	return ds_attn_first_of(call->window, pos);
}

/* Share of a tile: which KV head, and which part of its group; n queries from query on. */
struct ds_attn_tile ds_attn_tile_of(const struct ds_attn *attn, size_t share, size_t query,
				    size_t n);
void ds_attn_load_queries(const struct ds_attn *attn, const struct ds_attn_tile *t, float *q);
/* Parts that have seen nothing. */
void ds_attn_begin(const struct ds_attn *attn, size_t rows, const struct ds_attn_parts *part);
/* One page of halves, exactly; s->q is loaded. */
void ds_attn_page(const struct ds_attn *attn, const struct ds_attn_tile *t,
		  const struct ds_attn_scratch *s, size_t page, const struct ds_attn_parts *part);
void ds_attn_join(const struct ds_attn *attn, const struct ds_attn_tile *t,
		  const struct ds_attn_parts *into, const struct ds_attn_parts *part);
/* Two attentions of their own become one, 0.7 and 0.3 of them, into the first. */
void ds_attn_mix(const struct ds_attn *attn, const struct ds_attn_tile *t,
		 const struct ds_attn_parts *into, const struct ds_attn_parts *part);
/* Into the call's out. */
void ds_attn_finish(const struct ds_attn *attn, const struct ds_attn_tile *t,
		    const struct ds_attn_parts *part);
bool ds_attn_new_parts(struct ds_attn *attn, struct ds_attn_parts *p, size_t rows);

/*
 * rounded.c: what a tile sees of a list of blocks, its queries scaled in q: row by row into found,
 * as long as the list is not empty.
 */
void ds_rounded_attend(const struct ds_attn *attn, const struct ds_attn_tile *t,
		       const struct ds_block_list *list, unsigned thread, const float *q,
		       const struct ds_attn_parts *found);
/* Scores of up to 16 rows with all keys before their page: out [tokens][16], by 8-bit keys or,
 * coarse, by 4-bit ones. */
void ds_rounded_scores(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		       const float *q, bool coarse, float *out);
/* The same of some blocks at a time, up to DS_ROUNDED_SEGMENT, after the rows were loaded. */
struct ds_block_range {
	size_t begin, n;
};
void ds_rounded_load(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		     const float *q);
void ds_rounded_score(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		      struct ds_block_range blocks, float *out);
#define DS_ROUNDED_SEGMENT (DS_ATTN_SEGMENT / DS_ATTN8_BLOCK) /* blocks */
/* A block before the tile; its mean is left to the caller. */
void ds_rounded_block(const struct ds_attn *attn, const struct ds_attn_tile *t, uint32_t index,
		      struct ds_attn8_block *b);
/* Scores of the mean keys of n pages from first on: mean [n][64]. */
void ds_rounded_means(const struct ds_attn *attn, const struct ds_attn_tile *t, size_t first,
		      size_t n, const struct ds_attn8_rows *rows, float *mean);
/* 0, 1, 2, ...: all blocks of the context. */
const uint32_t *ds_rounded_blocks(const struct ds_attn *attn);
bool ds_rounded_new(struct ds_attn *attn, unsigned threads);
void ds_rounded_run(struct ds_attn *attn);

#endif
