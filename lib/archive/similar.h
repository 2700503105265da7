/*
 * similar.h - which pieces of a text are alike
 *
 * A piece is known by its shingles: the hashes of its runs of SHINGLE bytes, of which a fixed
 * sample is kept.  Pieces that share many are alike.
 */
#ifndef DS_ARCHIVE_SIMILAR_H
#define DS_ARCHIVE_SIMILAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"

struct ds_piece {
	const uint8_t *text;
	uint32_t length;
};

/* Which shingles occur in which pieces; those of one piece only are left out.  The pieces are those
 * to be stored and, behind them, others that have been. */
struct ds_shingles {
	size_t n_own, n_pieces; /* to be stored; all */
	size_t n;		/* shingles that are kept */
	uint32_t *first;	/* [n_pieces + 1] of a piece's in shingle[] */
	uint32_t *shingle;	/* ascending within a piece */
	uint32_t *list;		/* [n + 1] of a shingle's pieces in piece[] */
	uint32_t *piece;	/* ascending within a shingle */
	uint32_t *size;		/* [n_pieces] shingles before any was left out */
};
enum ds_status ds_shingles_find(struct ds_shingles *s_ret, const struct ds_piece *piece, size_t n,
				size_t n_own, struct ds_pool *pool, struct ds_err *err);
void ds_shingles_fini(struct ds_shingles *s);
/* Whether a shingle occurs in a piece that has been stored. */
static inline int ds_shingle_is_old(const struct ds_shingles *s, uint32_t id)
{
	return s->piece[s->list[id + 1] - 1] >= s->n_own;
}

/* The pieces to be stored in an order that brings together what is alike; neighbours in the text
 * stay together where nothing else is said of them. */
enum ds_status ds_similar_order(const struct ds_shingles *s, struct ds_pool *pool,
				uint32_t *order_ret, struct ds_err *err);

#endif
