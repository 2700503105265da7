/* layout.c - what of a segment's text is stored, and where */
#include "archive/layout.h"

#include <stdlib.h>
#include <string.h>

#include "archive/cut.h"
#include "archive/dictionary.h"
#include "archive/history.h"

/* A dictionary takes a quarter of the text at most, 8 MB at most: it is unpacked whole before the
 * first block is read.  Below 512 KB blocks are as good alone. */
#define DICTIONARY_SHARE 4
#define DICTIONARY_MAX ((size_t)8 << 20)
#define DICTIONARY_TEXT_MIN ((size_t)512 << 10)

enum ds_status ds_layout_cut(struct ds_layout *l, const uint8_t *text, size_t n, uint32_t *n_ret,
			     struct ds_err *err)
{
	const size_t before = l->n_cuts;

	while (n) {
		size_t length = ds_cut(text, n);

		DS_TRY(ds_grow(&l->cut, &l->cap_cuts, l->n_cuts + 1, sizeof *l->cut, err));
		l->cut[l->n_cuts++] = (struct ds_piece){text, (uint32_t)length};
		text += length;
		n -= length;
	}
	*n_ret = (uint32_t)(l->n_cuts - before);
	return DS_OK;
}

struct hashing {
	const struct ds_layout *l;
	const struct ds_seen *seen;
	uint64_t (*hash)[2]; /* [n_cuts] */
};

static void hash_item(void *arg, size_t index, unsigned thread)
{
	struct hashing *h = arg;
	const struct ds_piece *p = &h->l->cut[index];

	(void)thread;
	ds_seen_hash(h->seen, p->text, p->length, h->hash[index]);
}

/* Number the cuts; what appears for the first time is a piece. */
static enum ds_status find_pieces(struct ds_layout *l, struct ds_seen *seen,
				  const struct ds_layout_options *o, struct ds_err *err)
{
	struct hashing h = {.l = l, .seen = seen};
	enum ds_status st = DS_OK;

	DS_TRY(ds_grow(&l->number, &l->cap_numbers, l->n_cuts, sizeof *l->number, err));
	h.hash = ds_alloc(l->n_cuts, sizeof *h.hash);
	if (!h.hash)
		return ds_fail_nomem(err, l->n_cuts * sizeof *h.hash);
	ds_pool_run(o->pool, l->n_cuts, hash_item, &h);
	for (size_t i = 0; st == DS_OK && i < l->n_cuts; i++) {
		uint64_t fresh = o->first_piece + l->n_pieces;

		st = ds_grow(&l->piece, &l->cap_pieces, l->n_pieces + 1, sizeof *l->piece, err);
		if (st == DS_OK)
			st = ds_seen_find(seen, h.hash[i], fresh, &l->number[i], err);
		if (st == DS_OK && l->number[i] == fresh)
			l->piece[l->n_pieces++] = l->cut[i];
	}
	free(h.hash);
	return st;
}

static enum ds_status begin_block(struct ds_layout *l, size_t at, struct ds_err *err)
{
	DS_TRY(ds_grow(&l->first, &l->cap_blocks, l->n_blocks + 2, sizeof *l->first, err));
	l->first[l->n_blocks++] = (uint32_t)at;
	return DS_OK;
}

/* Blocks of the pieces from place from on. */
static enum ds_status fill_blocks(struct ds_layout *l, size_t from, size_t block_bytes,
				  struct ds_err *err)
{
	size_t fill = block_bytes;

	for (size_t k = from; k < l->n_pieces; k++) {
		const struct ds_piece *p = &l->piece[l->order[k]];

		if (fill + p->length > block_bytes) {
			DS_TRY(begin_block(l, k, err));
			fill = 0;
		}
		fill += p->length;
	}
	return DS_OK;
}

/* Bring the n pieces of key[] to the front of the order, most valuable last. */
static enum ds_status move_keys(struct ds_layout *l, const uint32_t *key, size_t n,
				struct ds_err *err)
{
	uint8_t *is_key = ds_alloc_zero(l->n_pieces, 1);
	size_t k = l->n_pieces;

	if (!is_key)
		return ds_fail_nomem(err, l->n_pieces);
	for (size_t i = 0; i < n; i++)
		is_key[key[i]] = 1;
	for (size_t i = l->n_pieces; i-- > 0;)
		if (!is_key[l->order[i]])
			l->order[--k] = l->order[i];
	for (size_t i = 0; i < n; i++)
		l->order[i] = key[n - 1 - i];
	free(is_key);
	return DS_OK;
}

static enum ds_status take_dictionary(struct ds_layout *l, const struct ds_shingles *s,
				      size_t bytes, size_t block_bytes, struct ds_err *err)
{
	const struct ds_key_options o = {
		.max_bytes = bytes / DICTIONARY_SHARE < DICTIONARY_MAX ? bytes / DICTIONARY_SHARE
								       : DICTIONARY_MAX,
		.order = l->order,
		.block_bytes = block_bytes,
	};
	uint32_t *key = ds_alloc(l->n_pieces, sizeof *key);
	enum ds_status st;
	size_t n = 0;

	if (!key)
		return ds_fail_nomem(err, l->n_pieces * sizeof *key);
	st = ds_dictionary_choose(s, l->piece, &o, key, &n, err);
	if (st == DS_OK && n) {
		st = move_keys(l, key, n, err);
		if (st == DS_OK)
			st = begin_block(l, 0, err);
		l->has_dictionary = 1;
	}
	free(key);
	return st == DS_OK ? fill_blocks(l, n, block_bytes, err) : st;
}

/* The shingles of the pieces and, behind them, of the history's. */
static enum ds_status find_shingles(struct ds_layout *l, const struct ds_layout_options *o,
				    struct ds_shingles *s_ret, struct ds_err *err)
{
	const struct ds_history *h = o->history;

	DS_TRY(ds_grow(&l->piece, &l->cap_pieces, l->n_pieces + h->n, sizeof *l->piece, err));
	for (size_t i = 0; i < h->n; i++)
		l->piece[l->n_pieces + i] =
			(struct ds_piece){h->text.data + h->piece[i].at, h->piece[i].length};
	return ds_shingles_find(s_ret, l->piece, l->n_pieces + h->n, l->n_pieces, o->pool, err);
}

/* Close the last block; none refers to pieces of earlier segments yet. */
static enum ds_status end_blocks(struct ds_layout *l, struct ds_err *err)
{
	free(l->first_reference);
	l->first_reference = ds_alloc_zero(l->n_blocks + 1, sizeof *l->first_reference);
	if (!l->first_reference)
		return ds_fail_nomem(err, (l->n_blocks + 1) * sizeof *l->first_reference);
	l->first[l->n_blocks] = (uint32_t)l->n_pieces;
	return DS_OK;
}

static enum ds_status arrange(struct ds_layout *l, const struct ds_layout_options *o,
			      struct ds_err *err)
{
	struct ds_shingles s;
	enum ds_status st;
	size_t bytes = 0;

	for (size_t i = 0; i < l->n_pieces; i++) {
		bytes += l->piece[i].length;
		l->order[i] = (uint32_t)i;
	}
	if (o->in_order) {
		DS_TRY(fill_blocks(l, 0, o->block_bytes, err));
		return end_blocks(l, err);
	}
	DS_TRY(find_shingles(l, o, &s, err));
	st = ds_similar_order(&s, o->pool, l->order, err);
	if (st == DS_OK && bytes >= DICTIONARY_TEXT_MIN)
		st = take_dictionary(l, &s, bytes, o->block_bytes, err);
	else if (st == DS_OK)
		st = fill_blocks(l, 0, o->block_bytes, err);
	if (st == DS_OK)
		st = end_blocks(l, err);
	if (st == DS_OK && o->history->n)
		st = ds_references_choose(l, o->history, &s, err);
	ds_shingles_fini(&s);
	return st;
}

enum ds_status ds_layout_make(struct ds_layout *l, struct ds_seen *seen,
			      const struct ds_layout_options *o, struct ds_err *err)
{
	DS_TRY(find_pieces(l, seen, o, err));
	free(l->order);
	l->order = ds_alloc(l->n_pieces, sizeof *l->order);
	if (!l->order)
		return ds_fail_nomem(err, l->n_pieces * sizeof *l->order);
	l->n_blocks = l->n_references = 0;
	l->has_dictionary = 0;
	return l->n_pieces ? arrange(l, o, err) : DS_OK;
}

enum ds_status ds_layout_text(const struct ds_layout *l, size_t b, struct ds_buf *buf,
			      struct ds_err *err)
{
	for (size_t k = l->first[b]; k < l->first[b + 1]; k++) {
		const struct ds_piece *p = &l->piece[l->order[k]];

		DS_TRY(ds_buf_append(buf, p->text, p->length, err));
	}
	return DS_OK;
}

void ds_layout_clear(struct ds_layout *l)
{
	l->n_cuts = l->n_pieces = l->n_blocks = 0;
}

void ds_layout_fini(struct ds_layout *l)
{
	free(l->cut);
	free(l->number);
	free(l->piece);
	free(l->order);
	free(l->first);
	free(l->reference);
	free(l->first_reference);
	*l = (struct ds_layout){0};
}
