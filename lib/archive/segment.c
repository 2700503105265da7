/* segment.c - a full segment becomes blocks and tables; the directory at the end */
#include "archive/writer.h"

#include <stdlib.h>
#include <string.h>

#include "archive/blocks.h"

/* Text that shares its words in the index; of a language model, which unpacks slowly, a passage. */
#define GROUP_BYTES ((size_t)48 << 10)

/* Tables are coded by the mixing coder, a megabyte a second, where this saves one byte in so many
 * of the segment; always with strong, unless it is next to nothing. */
#define MIX_SHARE 200
#define MIX_GAIN_MIN ((size_t)256)

/* Lengths of the pieces as they are stored, then their numbers. */
static enum ds_status put_pieces(const struct ds_layout *l, struct ds_buf *table,
				 struct ds_err *err)
{
	int64_t next = 0;

	DS_TRY(ds_varint_put(table, l->n_pieces, err));
	for (size_t k = 0; k < l->n_pieces; k++)
		DS_TRY(ds_varint_put(table, l->piece[l->order[k]].length, err));
	for (size_t k = 0; k < l->n_pieces; k++) {
		DS_TRY(ds_varint_put(table, ds_zigzag(l->order[k] - next), err));
		next = (int64_t)l->order[k] + 1;
	}
	return DS_OK;
}

/* The pieces that blocks refer to. */
static enum ds_status put_references(const struct ds_archive_writer *w, struct ds_buf *table,
				     struct ds_err *err)
{
	uint64_t n_blocks = 0, next_block = 0, next = w->first_piece;
	const struct ds_layout *l = &w->layout;
	const uint32_t *place;

	for (size_t b = 0; b < l->n_blocks; b++)
		n_blocks += ds_references_of(l, b, &place) > 0;
	DS_TRY(ds_varint_put(table, n_blocks, err));
	for (size_t b = 0; b < l->n_blocks; b++) {
		size_t n = ds_references_of(l, b, &place);

		if (!n)
			continue;
		DS_TRY(ds_varint_put(table, b - next_block, err));
		DS_TRY(ds_varint_put(table, n, err));
		for (size_t i = 0; i < n; i++) {
			uint64_t number = w->history.piece[place[i]].number;

			DS_TRY(ds_varint_put(table, ds_zigzag((int64_t)(number - next)), err));
			next = number + 1;
		}
		next_block = b + 1;
	}
	return DS_OK;
}

/* What documents are made of: 0 is the next piece that has not appeared, 1 the piece after the one
 * before, others are further away. */
static enum ds_status put_uses(const struct ds_archive_writer *w, struct ds_buf *table,
			       struct ds_err *err)
{
	const struct ds_layout *l = &w->layout;
	uint64_t fresh = w->first_piece, next = w->first_piece;

	for (size_t i = 0; i < l->n_cuts; i++) {
		uint64_t u = l->number[i];
		uint64_t code = u == fresh ? 0 : 1 + ds_zigzag((int64_t)(u - next));

		DS_TRY(ds_varint_put(table, code, err));
		fresh += u == fresh;
		next = u + 1;
	}
	return DS_OK;
}

/* Names, times and modes of the documents that begin in the segment. */
static enum ds_status put_names(const struct ds_archive_writer *w, struct ds_buf *table,
				struct ds_err *err)
{
	const struct ds_extent *e = w->extent, *end = e + w->n_extents;
	int64_t time = 0;

	for (e = w->extent; e < end; e++)
		if (e->flags & DS_EXTENT_BEGIN)
			DS_TRY(ds_varint_put(table, e->name_len, err));
	if (w->names.len)
		DS_TRY(ds_buf_append(table, w->names.data, w->names.len, err));
	for (e = w->extent; e < end; e++) {
		if (!(e->flags & DS_EXTENT_BEGIN))
			continue;
		DS_TRY(ds_varint_put(
			table, ds_zigzag((int64_t)((uint64_t)e->mtime_ns - (uint64_t)time)), err));
		time = e->mtime_ns;
	}
	for (e = w->extent; e < end; e++)
		if (e->flags & DS_EXTENT_BEGIN)
			DS_TRY(ds_varint_put(table, e->mode, err));
	return DS_OK;
}

static enum ds_status put_documents(const struct ds_archive_writer *w, struct ds_buf *table,
				    struct ds_err *err)
{
	const struct ds_extent *e = w->extent, *end = e + w->n_extents;
	uint64_t hash;

	DS_TRY(put_pieces(&w->layout, table, err));
	DS_TRY(put_references(w, table, err));
	DS_TRY(ds_varint_put(table, w->n_extents, err));
	for (e = w->extent; e < end; e++)
		DS_TRY(ds_varint_put(table, e->flags, err));
	for (e = w->extent; e < end; e++)
		DS_TRY(ds_varint_put(table, e->pieces, err));
	for (e = w->extent; e < end; e++)
		DS_TRY(ds_varint_put(table, e->passages, err));
	DS_TRY(put_names(w, table, err));
	hash = XXH3_64bits(w->text.data, w->text.len);
	DS_TRY(ds_buf_append(table, &hash, sizeof hash, err));
	return put_uses(w, table, err);
}

static enum ds_status put_passages(const struct ds_archive_writer *w, struct ds_buf *table,
				   struct ds_err *err)
{
	const struct ds_span *p = w->passage;

	for (size_t i = 0; i < w->n_extents; i++) {
		uint64_t end = 0;

		for (uint32_t k = 0; k < w->extent[i].passages; k++, p++) {
			DS_TRY(ds_varint_put(table, ds_zigzag((int64_t)(p->start - end)), err));
			DS_TRY(ds_varint_put(table, p->end - p->start, err));
			end = p->end;
		}
	}
	return DS_OK;
}

/* The rows, collected one after the other, become blocks. */
static enum ds_status put_vectors(const struct ds_archive_writer *w, struct ds_buf *table,
				  struct ds_err *err)
{
	static const uint8_t zeros[8];
	uint8_t head[24] = {0};

	head[0] = (uint8_t)w->options.bits;
	ds_put_u32(head + 4, w->options.dims);
	ds_put_u64(head + 8, w->options.model);
	ds_put_u32(head + 16, (uint32_t)w->n_passages);
	DS_TRY(ds_buf_append(table, head, sizeof head, err));
	DS_TRY(ds_buf_append(table, w->scales.data, w->scales.len, err));
	DS_TRY(ds_buf_append(table, zeros, -w->scales.len & 7, err));
	DS_TRY(ds_buf_reserve(table, w->rows.len, err));
	ds_code_blocks(w->rows.data, w->n_passages,
		       ds_code_row_bytes(w->options.bits, w->options.dims),
		       table->data + table->len);
	table->len += w->rows.len;
	return DS_OK;
}

/* What the mixing coder must save of a table for an archive to be opened that much more slowly. */
static size_t mix_gain(const struct ds_archive_writer *w, const struct ds_segment_row *row)
{
	size_t gain = w->options.strong ? 0 : (w->out.written - row->blocks_offset) / MIX_SHARE;

	return gain > MIX_GAIN_MIN ? gain : MIX_GAIN_MIN;
}

/* One more record of the segment: stored says whether it is searched in place. */
static enum ds_status add_record(struct ds_archive_writer *w, struct ds_segment_row *row,
				 uint8_t type, const struct ds_buf *raw, struct ds_err *err)
{
	struct ds_record r = {.type = type, .bytes = raw->data};
	const uint64_t at = w->out.written;

	row->record[row->n_records].type = type;
	row->record[row->n_records++].offset = at;
	if (type != DS_RECORD_VECTORS) {
		DS_TRY(ds_record_pack(&w->to, type, raw, mix_gain(w, row), err));
		ds_index_count(type, w->out.written - at, &w->totals);
		return DS_OK;
	}
	if (raw->len > DS_RECORD_BYTES_MAX)
		return ds_fail(err, DS_ELIMIT, "embeddings of %zu bytes in a segment", raw->len);
	r.stored = r.raw = (uint32_t)raw->len;
	DS_TRY(ds_record_write(&w->to, &r, err));
	ds_index_count(type, w->out.written - at, &w->totals);
	return DS_OK;
}

static enum ds_status write_index(struct ds_archive_writer *w, struct ds_segment_row *row,
				  struct ds_buf *table, struct ds_err *err)
{
	table->len = 0;
	DS_TRY(put_passages(w, table, err));
	DS_TRY(add_record(w, row, DS_RECORD_PASSAGES, table, err));
	if (w->options.model) {
		table->len = 0;
		DS_TRY(put_vectors(w, table, err));
		DS_TRY(add_record(w, row, DS_RECORD_VECTORS, table, err));
	}
	if (w->options.words) {
		table->len = 0;
		DS_TRY(ds_words_write(&w->words, w->options.lm ? 0 : GROUP_BYTES, table, err));
		DS_TRY(add_record(w, row, DS_RECORD_WORDS, table, err));
	}
	return DS_OK;
}

/* Cut and arrange the text. */
static enum ds_status lay_out(struct ds_archive_writer *w, struct ds_err *err)
{
	const struct ds_layout_options o = {
		.block_bytes = w->options.block_bytes,
		.history = &w->history,
		.first_piece = w->first_piece,
		.in_order = w->lm != NULL,
		.pool = w->options.pool,
	};
	size_t at = 0;

	ds_layout_clear(&w->layout);
	for (size_t i = 0; i < w->n_extents; i++) {
		struct ds_extent *e = &w->extent[i];

		DS_TRY(ds_layout_cut(&w->layout, w->text.data + at, e->bytes, &e->pieces, err));
		at += e->bytes;
	}
	return ds_layout_make(&w->layout, &w->seen, &o, err);
}

static uint8_t depth_of(const struct ds_archive_writer *w, size_t b)
{
	const uint32_t *place;
	uint8_t depth = 0;

	for (size_t n = ds_references_of(&w->layout, b, &place); n-- > 0;)
		if (w->history.piece[place[n]].depth >= depth)
			depth = w->history.piece[place[n]].depth + 1;
	return depth;
}

/* Let blocks of later segments refer to the pieces of this one. */
static enum ds_status remember(struct ds_archive_writer *w, struct ds_err *err)
{
	const struct ds_layout *l = &w->layout;
	uint8_t *depth = ds_alloc(l->n_blocks, 1);
	enum ds_status st = DS_OK;

	if (!depth)
		return ds_fail_nomem(err, l->n_blocks);
	for (size_t b = 0; b < l->n_blocks; b++)
		depth[b] = depth_of(w, b);
	for (size_t b = 0; b < l->n_blocks; b++) {
		for (size_t k = l->first[b]; st == DS_OK && k < l->first[b + 1]; k++) {
			const struct ds_piece *p = &l->piece[l->order[k]];
			const struct ds_old_piece old = {
				.length = p->length,
				.number = w->first_piece + l->order[k],
				.block = w->first_block + b,
				.depth = depth[b],
			};

			st = ds_history_add(&w->history, p->text, &old, err);
		}
	}
	free(depth);
	return st;
}

static enum ds_status write_segment(struct ds_archive_writer *w, struct ds_segment_row *row,
				    struct ds_buf *table, struct ds_err *err)
{
	DS_TRY(lay_out(w, err));
	row->blocks_offset = w->out.written;
	row->passages = (uint32_t)w->n_passages;
	row->pieces = (uint32_t)w->layout.n_pieces;
	DS_TRY(ds_blocks_write(w, table, err));
	row->dictionary = w->layout.has_dictionary ? (uint32_t)w->n_dictionaries : 0;
	DS_TRY(put_documents(w, table, err));
	if (!w->committing)
		DS_TRY(remember(w, err));
	w->first_piece += w->layout.n_pieces;
	w->first_block += w->layout.n_blocks;
	DS_TRY(add_record(w, row, DS_RECORD_DOCUMENTS, table, err));
	if (w->n_passages)
		DS_TRY(write_index(w, row, table, err));
	if (!w->lm)
		return DS_OK;
	table->len = 0;
	DS_TRY(ds_lm_blocks_put(w->lm, table, err));
	return add_record(w, row, DS_RECORD_LM, table, err);
}

enum ds_status ds_segment_close(struct ds_archive_writer *w, struct ds_err *err)
{
	struct ds_segment_row row = {0};
	struct ds_buf table = {0};
	enum ds_status st;

	if (w->n_extents == 0)
		return DS_OK;
	st = write_segment(w, &row, &table, err);
	ds_buf_fini(&table);
	if (st != DS_OK)
		return st;
	DS_TRY(ds_grow(&w->segment, &w->cap_segments, w->n_segments + 1, sizeof row, err));
	w->segment[w->n_segments++] = row;
	w->text.len = w->names.len = w->rows.len = w->scales.len = 0;
	w->n_extents = w->n_passages = 0;
	return DS_OK;
}

static enum ds_status put_row(const struct ds_segment_row *row, struct ds_buf *raw,
			      struct ds_err *err)
{
	uint8_t bytes[24] = {0};

	ds_put_u64(bytes, row->blocks_offset);
	ds_put_u32(bytes + 8, row->dictionary);
	ds_put_u32(bytes + 12, row->passages);
	ds_put_u32(bytes + 16, row->n_records);
	ds_put_u32(bytes + 20, row->pieces);
	DS_TRY(ds_buf_append(raw, bytes, 24, err));
	for (uint32_t i = 0; i < row->n_records; i++) {
		ds_put_u64(bytes, row->record[i].type);
		ds_put_u64(bytes + 8, row->record[i].offset);
		DS_TRY(ds_buf_append(raw, bytes, 16, err));
	}
	return DS_OK;
}

static enum ds_status put_directory(const struct ds_archive_writer *w, struct ds_buf *raw,
				    struct ds_err *err)
{
	uint8_t head[48] = {0};

	ds_put_u64(head, w->totals.documents);
	ds_put_u64(head + 8, w->totals.text_bytes);
	ds_put_u64(head + 16, w->totals.passages);
	ds_put_u64(head + 24, w->options.model);
	ds_put_u32(head + 32, w->options.model ? w->options.dims : 0);
	ds_put_u32(head + 36, (uint32_t)w->n_dictionaries);
	ds_put_u32(head + 40, (uint32_t)w->n_segments);
	DS_TRY(ds_buf_append(raw, head, sizeof head, err));
	DS_TRY(ds_buf_append(raw, w->dictionary, w->n_dictionaries * sizeof *w->dictionary, err));
	for (size_t i = 0; i < w->n_segments; i++)
		DS_TRY(put_row(&w->segment[i], raw, err));
	return DS_OK;
}

enum ds_status ds_lock_write(struct ds_archive_writer *w, struct ds_err *err)
{
	struct ds_record r = {.type = DS_RECORD_LOCK, .stored = DS_SEAL_LOCK_BYTES};

	if (!w->seal)
		return DS_OK;
	r.bytes = ds_seal_lock(w->seal);
	r.raw = r.stored;
	return ds_record_write(&w->to, &r, err);
}

enum ds_status ds_directory_write(struct ds_archive_writer *w, struct ds_err *err)
{
	uint8_t footer[DS_ARCHIVE_FOOTER_BYTES];
	struct ds_buf raw = {0};
	uint64_t offset;
	enum ds_status st;

	DS_TRY(ds_lock_write(w, err));
	offset = w->out.written;
	st = put_directory(w, &raw, err);
	if (st == DS_OK)
		st = ds_record_pack(&w->to, DS_RECORD_DIRECTORY, &raw, 0, err);
	ds_buf_fini(&raw);
	DS_TRY(st);
	ds_archive_footer(footer, offset, w->out.written + sizeof footer);
	return ds_out_write(&w->out, footer, sizeof footer, err);
}
