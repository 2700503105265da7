/*
 * layout.h - what of a segment's text is stored, and where; private to the archive room
 */
#ifndef DS_ARCHIVE_LAYOUT_H
#define DS_ARCHIVE_LAYOUT_H

#include "archive/seen.h"
#include "archive/similar.h"
#include "base/mem.h"

struct ds_layout {
	/* how the text is cut: [n_cuts] in the order of the text; what they are is their piece's
	 * number through the archive */
	struct ds_piece *cut;
	uint64_t *number;
	/* what is stored: [n_pieces] in the order of first appearance */
	struct ds_piece *piece;
	/* pieces as they are stored; block b has [first[b], first[b + 1]) of them */
	uint32_t *order, *first;
	size_t n_cuts, cap_cuts, cap_numbers, n_pieces, cap_pieces, n_blocks, cap_blocks;
	int has_dictionary; /* block 0 is one */
};

struct ds_layout_options {
	const uint8_t *text;
	size_t n; /* bytes of it */
	size_t block_bytes;
	uint64_t first_piece; /* number of the first piece of the segment */
	struct ds_pool *pool;
};

/* Cut the n bytes of text at at, the first ones or those after the ones before: *n_ret pieces. */
enum ds_status ds_layout_cut(struct ds_layout *l, const uint8_t *text, size_t at, size_t n,
			     uint32_t *n_ret, struct ds_err *err);
/* Find what is stored already, and arrange the rest. */
enum ds_status ds_layout_make(struct ds_layout *l, struct ds_seen *seen,
			      const struct ds_layout_options *o, struct ds_err *err);
/* The text of block b appended to buf. */
enum ds_status ds_layout_text(const struct ds_layout *l, size_t b, const uint8_t *text,
			      struct ds_buf *buf, struct ds_err *err);
void ds_layout_clear(struct ds_layout *l); /* for the next segment */
void ds_layout_fini(struct ds_layout *l);

#endif
