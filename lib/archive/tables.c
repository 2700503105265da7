/* tables.c - what the records of a segment say: blocks, documents, pieces, passages */
#include "archive/reader.h"

#include <stdlib.h>
#include <string.h>

/* One documents record while it is read. */
struct table {
	struct ds_archive *a;
	struct ds_segment_entry *seg;
	struct ds_cursor cur; /* over the raw bytes: offsets in messages are relative to them */
	uint64_t record;      /* offset of the record */
	struct ds_err *err;
};

/* Numbers inside a packed table have no place in the file: name the record. */
static enum ds_status bad(const struct table *t, const char *what)
{
	return ds_fail_at(t->err, DS_EFORMAT, t->a->map.path, t->record, "%s (at %zu in the table)",
			  what, t->cur.pos);
}

static enum ds_status number(struct table *t, uint64_t *value_ret)
{
	if (ds_varint_get(&t->cur, value_ret) != DS_OK)
		return bad(t, "a table ends early or holds a bad number");
	return DS_OK;
}

static enum ds_status number_max(struct table *t, uint64_t max, uint64_t *value_ret)
{
	DS_TRY(number(t, value_ret));
	if (*value_ret > max)
		return bad(t, "a number is too large");
	return DS_OK;
}

static enum ds_status read_blocks(struct table *t)
{
	struct ds_archive *a = t->a;
	struct ds_segment_entry *seg = t->seg;
	uint64_t offset = seg->row.blocks_offset, n;

	DS_TRY(number_max(t, ds_cursor_left(&t->cur) / 2, &n));
	DS_TRY(ds_grow(&a->block, &a->cap_blocks, a->n_blocks + n, sizeof *a->block, t->err));
	seg->first_block = a->n_blocks;
	seg->blocks = n;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t raw, stored;

		DS_TRY(number_max(t, DS_BLOCK_BYTES_MAX, &raw));
		DS_TRY(number_max(t, UINT32_MAX, &stored));
		a->block[a->n_blocks++] = (struct ds_block){
			.offset = offset,
			.raw = (uint32_t)raw,
			.stored = (uint32_t)stored,
			.dictionary = seg->row.dictionary,
		};
		offset += ds_record_size((uint32_t)stored);
		if (offset > seg->row.record[0].offset)
			return bad(t, "blocks reach beyond their segment");
	}
	return DS_OK;
}

static enum ds_status read_name(struct table *t, struct ds_document *d)
{
	const uint8_t *bytes;
	uint64_t n;
	char *name;

	DS_TRY(number_max(t, ds_cursor_left(&t->cur), &n));
	DS_TRY(ds_cursor_borrow(&t->cur, n, &bytes));
	if (memchr(bytes, 0, n))
		return bad(t, "a name holds a NUL byte");
	name = ds_arena_alloc(&t->a->names, n + 1, 1);
	if (!name)
		return ds_fail_nomem(t->err, n + 1);
	memcpy(name, bytes, n);
	name[n] = '\0';
	d->name = name;
	d->name_len = n;
	return DS_OK;
}

static enum ds_status begin_member(struct table *t)
{
	struct ds_archive *a = t->a;
	struct ds_member_entry entry = {0};
	struct ds_document *d = &entry.m.document;
	uint64_t mtime, mode;

	DS_TRY(read_name(t, d));
	DS_TRY(number(t, &mtime));
	DS_TRY(number_max(t, 0777, &mode));
	d->mtime_ns = ds_unzigzag(mtime);
	d->mode = (uint32_t)mode;
	entry.m.first_chunk = a->totals.passages;
	DS_TRY(ds_grow(&a->member, &a->cap_members, a->n_members + 1, sizeof entry, t->err));
	a->member[a->n_members++] = entry;
	return DS_OK;
}

/* Whether the document of the last extent so far has not ended. */
static int is_open(const struct ds_archive *a)
{
	return a->n_members && a->member[a->n_members - 1].m.document.size == DS_SIZE_UNKNOWN;
}

/* *pieces_ret: how many the extent has. */
static enum ds_status read_extent(struct table *t, uint64_t *pieces_ret)
{
	struct ds_archive *a = t->a;
	struct ds_extent_entry *e;
	struct ds_archive_member *m;
	uint64_t flags, bytes, passages, document_bytes;

	DS_TRY(number_max(t, DS_EXTENT_BEGIN | DS_EXTENT_END, &flags));
	DS_TRY(number_max(t, (uint64_t)1 << 62, &bytes));
	DS_TRY(number_max(t, ds_cursor_left(&t->cur), pieces_ret));
	DS_TRY(number_max(t, t->seg->row.passages, &passages));
	if ((flags & DS_EXTENT_BEGIN ? 1 : 0) == is_open(a))
		return bad(t, "a document goes on without an open one, or the other way round");
	if (flags & DS_EXTENT_BEGIN)
		DS_TRY(begin_member(t));
	m = &a->member[a->n_members - 1].m;
	DS_TRY(ds_grow(&a->extent, &a->cap_extents, a->n_extents + 1, sizeof *e, t->err));
	e = &a->extent[a->n_extents++];
	*e = (struct ds_extent_entry){.member = a->n_members - 1, .bytes = bytes};
	if (!(flags & DS_EXTENT_BEGIN))
		e->start = e[-1].start + e[-1].bytes;
	e->first_passage = a->totals.passages;
	e->passages = (uint32_t)passages;
	m->chunks += passages;
	a->totals.passages += passages;
	a->totals.text_bytes += bytes;
	if (__builtin_add_overflow(e->start, bytes, &document_bytes) || document_bytes >> 62 ||
	    a->totals.text_bytes >> 62)
		return bad(t, "documents too large to be true");
	m->document.size = DS_SIZE_UNKNOWN;
	if (flags & DS_EXTENT_END) {
		const uint8_t *hash;

		if (ds_cursor_borrow(&t->cur, 8, &hash) != DS_OK)
			return bad(t, "a table ends early");
		m->hash = ds_get_u64(hash);
		m->document.size = document_bytes;
		a->totals.documents++;
	}
	return DS_OK;
}

/* place: where the piece before ended. */
static enum ds_status read_piece(struct table *t, struct ds_piece *place)
{
	struct ds_archive *a = t->a;
	uint64_t block_delta, offset_delta, length, block, offset;

	DS_TRY(number(t, &block_delta));
	DS_TRY(number(t, &offset_delta));
	DS_TRY(number_max(t, DS_BLOCK_BYTES_MAX, &length));
	block = place->block + (uint64_t)ds_unzigzag(block_delta);
	offset = place->offset + (uint64_t)ds_unzigzag(offset_delta);
	if (block >= a->n_blocks)
		return bad(t, "a piece of a block that does not exist");
	if (length == 0 || offset > a->block[block].raw || length > a->block[block].raw - offset)
		return bad(t, "a piece lies outside its block");
	*place = (struct ds_piece){block, (uint32_t)offset, (uint32_t)length};
	return DS_OK;
}

static enum ds_status read_pieces(struct table *t, struct ds_extent_entry *e, uint64_t n,
				  struct ds_piece *place)
{
	struct ds_archive *a = t->a;
	struct ds_member_entry *m = &a->member[e->member];
	uint64_t start = e->start;

	if (n > ds_cursor_left(&t->cur) / 3)
		return bad(t, "a table ends early");
	DS_TRY(ds_grow(&a->piece, &a->cap_pieces, a->n_pieces + n, sizeof *a->piece, t->err));
	if (e->start == 0 && m->pieces == 0)
		m->first_piece = a->n_pieces;
	for (uint64_t i = 0; i < n; i++) {
		DS_TRY(read_piece(t, place));
		a->piece[a->n_pieces++] = (struct ds_stored_piece){start, *place};
		start += place->length;
		place->offset += place->length;
		if (place->offset == a->block[place->block].raw) {
			place->block++;
			place->offset = 0;
		}
	}
	m->pieces += n;
	if (start - e->start != e->bytes)
		return bad(t, "the pieces of a document do not add up to its bytes");
	return DS_OK;
}

static enum ds_status read_documents(struct table *t)
{
	struct ds_archive *a = t->a;
	struct ds_segment_entry *seg = t->seg;
	struct ds_piece place = {0};
	uint64_t *pieces, n;
	enum ds_status st = DS_OK;

	DS_TRY(number_max(t, ds_cursor_left(&t->cur) / 4, &n));
	pieces = ds_alloc(n, sizeof *pieces);
	if (!pieces)
		return ds_fail_nomem(t->err, n * sizeof *pieces);
	seg->first_extent = a->n_extents;
	seg->extents = n;
	for (uint64_t i = 0; st == DS_OK && i < n; i++)
		st = read_extent(t, &pieces[i]);
	place.block = seg->first_block;
	for (uint64_t i = 0; st == DS_OK && i < n; i++)
		st = read_pieces(t, &a->extent[seg->first_extent + i], pieces[i], &place);
	free(pieces);
	return st;
}

enum ds_status ds_segment_record(const struct ds_archive *a, size_t s, uint8_t type,
				 struct ds_record *r_ret, int *found_ret, struct ds_err *err)
{
	const struct ds_segment_row *row = &a->segment[s].row;

	*found_ret = 0;
	for (uint32_t i = 0; i < row->n_records; i++) {
		uint64_t offset = row->record[i].offset;

		if (row->record[i].type != type)
			continue;
		DS_TRY(ds_record_get(&a->map, offset, a->directory_offset, r_ret, err));
		if (r_ret->type != type)
			return ds_fail_at(err, DS_EFORMAT, a->map.path, offset + 4,
					  "a record of type %u where one of type %u was expected",
					  r_ret->type, type);
		*found_ret = 1;
	}
	return DS_OK;
}

/* Unpack the record of this type, which the segment must have. */
static enum ds_status table_open(struct table *t, size_t s, uint8_t type, struct ds_buf *raw)
{
	struct ds_record r;
	int found;

	DS_TRY(ds_segment_record(t->a, s, type, &r, &found, t->err));
	if (!found)
		return ds_fail_at(t->err, DS_EFORMAT, t->a->map.path, t->seg->row.blocks_offset,
				  "a segment without a record of type %u", type);
	t->record = r.offset;
	DS_TRY(ds_record_unpack(&t->a->map, &r, raw, t->err));
	ds_cursor_init(&t->cur, raw->data, raw->len, NULL);
	return DS_OK;
}

enum ds_status ds_tables_read(struct ds_archive *a, size_t s, struct ds_err *err)
{
	struct table t = {.a = a, .seg = &a->segment[s], .err = err};
	struct ds_buf raw = {0};
	enum ds_status st = table_open(&t, s, DS_RECORD_DOCUMENTS, &raw);
	const uint64_t first_passage = a->totals.passages;

	t.seg->first_passage = first_passage;
	if (st == DS_OK)
		st = read_blocks(&t);
	if (st == DS_OK)
		st = read_documents(&t);
	if (st == DS_OK && ds_cursor_left(&t.cur))
		st = bad(&t, "bytes after the end of a table");
	if (st == DS_OK && a->totals.passages - first_passage != t.seg->row.passages)
		st = bad(&t, "the passages of documents and directory differ");
	ds_buf_fini(&raw);
	return st;
}

static enum ds_status read_spans(struct table *t, const struct ds_extent_entry *e,
				 struct ds_span *span)
{
	uint64_t end = 0, delta, length;

	for (uint32_t i = 0; i < e->passages; i++) {
		DS_TRY(number(t, &delta));
		DS_TRY(number(t, &length));
		span[i].start = end + (uint64_t)ds_unzigzag(delta);
		if (span[i].start > e->start + e->bytes ||
		    length > e->start + e->bytes - span[i].start)
			return bad(t, "a passage lies outside its document");
		span[i].end = end = span[i].start + length;
	}
	return DS_OK;
}

enum ds_status ds_passages_read(struct ds_archive *a, size_t s, struct ds_err *err)
{
	struct table t = {.a = a, .seg = &a->segment[s], .err = err};
	struct ds_buf raw = {0};
	struct ds_span *span;
	enum ds_status st;
	uint64_t at = 0;

	if (t.seg->span || t.seg->row.passages == 0)
		return DS_OK;
	st = table_open(&t, s, DS_RECORD_PASSAGES, &raw);
	if (st == DS_OK && t.seg->row.passages > raw.len / 2)
		st = bad(&t, "a table ends early");
	span = st == DS_OK ? ds_alloc(t.seg->row.passages, sizeof *span) : NULL;
	if (st == DS_OK && !span)
		st = ds_fail_nomem(err, t.seg->row.passages * sizeof *span);
	for (uint64_t i = 0; st == DS_OK && i < t.seg->extents; i++) {
		const struct ds_extent_entry *e = &a->extent[t.seg->first_extent + i];

		st = read_spans(&t, e, span + at);
		at += e->passages;
	}
	if (st == DS_OK && ds_cursor_left(&t.cur))
		st = bad(&t, "bytes after the end of a table");
	ds_buf_fini(&raw);
	if (st != DS_OK) {
		free(span);
		return st;
	}
	t.seg->span = span;
	return DS_OK;
}
