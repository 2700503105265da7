/*
 * history.h - text of earlier segments, and what of it blocks refer to; private to the archive room
 *
 * A block is coded with pieces that went before where these are more like it than its segment's
 * dictionary: what a release changed, after the releases that are in the archive already.
 */
#ifndef DS_ARCHIVE_HISTORY_H
#define DS_ARCHIVE_HISTORY_H

#include "archive/layout.h"

/* What a block may refer to: bytes, and blocks that these lie in. */
#define DS_REFERENCE_BYTES_MAX ((size_t)1 << 20)
#define DS_REFERENCE_BLOCKS_MAX 16
/* Blocks that are unpacked one for the other at most, the last one not counted. */
#define DS_REFERENCE_DEPTH_MAX 2

struct ds_old_piece {
	size_t at; /* in the text of the history */
	uint32_t length;
	uint64_t number, block; /* through the archive */
	uint8_t depth;		/* of the block: 0 refers to nothing */
};

struct ds_history {
	struct ds_buf text;
	struct ds_old_piece *piece; /* ascending by at */
	size_t n, cap;
};

/* Remember a piece; the oldest ones are forgotten. */
enum ds_status ds_history_add(struct ds_history *h, const uint8_t *text,
			      const struct ds_old_piece *p, struct ds_err *err);
void ds_history_fini(struct ds_history *h);

/*
 * What each block of l refers to: pieces of h that share most with it, the one that shares most
 * last.  s is of the pieces of l and, behind them, those of h.
 */
enum ds_status ds_references_choose(struct ds_layout *l, const struct ds_history *h,
				    const struct ds_shingles *s, struct ds_err *err);
/* Block b was coded without. */
void ds_references_drop(struct ds_layout *l, size_t b);
/* The places in the history that block b refers to; their number. */
size_t ds_references_of(const struct ds_layout *l, size_t b, const uint32_t **place_ret);
/* The text that block b refers to appended to buf. */
enum ds_status ds_references_text(const struct ds_layout *l, const struct ds_history *h, size_t b,
				  struct ds_buf *buf, struct ds_err *err);

#endif
