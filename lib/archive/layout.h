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
	/* places in the history that block b refers to: [first_reference[b], first_reference[b +
	 * 1]) */
	uint32_t *reference, *first_reference;
	size_t n_cuts, cap_cuts, cap_numbers, n_pieces, cap_pieces, n_blocks, cap_blocks;
	size_t n_references, cap_references;
	int has_dictionary; /* block 0 is one */
};

struct ds_history;

struct ds_layout_options {
	size_t block_bytes;
	const struct ds_history *history;
	uint64_t first_piece; /* number of the first piece of the segment */
	int in_order;	      /* not by likeness: a coder reads on where the text does */
	struct ds_pool *pool;
};

/* Cut the next n bytes of text, borrowed until ds_layout_clear(): *n_ret pieces. */
enum ds_status ds_layout_cut(struct ds_layout *l, const uint8_t *text, size_t n, uint32_t *n_ret,
			     struct ds_err *err);
/* Find what is stored already, and arrange the rest. */
enum ds_status ds_layout_make(struct ds_layout *l, struct ds_seen *seen,
			      const struct ds_layout_options *o, struct ds_err *err);
/* The text of block b appended to buf. */
enum ds_status ds_layout_text(const struct ds_layout *l, size_t b, struct ds_buf *buf,
			      struct ds_err *err);
void ds_layout_clear(struct ds_layout *l); /* for the next segment */
void ds_layout_fini(struct ds_layout *l);

#endif
