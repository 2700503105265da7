/* tables.c - what the records of a segment say: blocks, documents, pieces, passages */
#include "archive/reader.h"

#include <stdio.h>
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

static enum ds_status read_hash(struct table *t, uint64_t *hash_ret)
{
	return ds_cursor_u64(&t->cur, hash_ret) == DS_OK ? DS_OK : bad(t, "a table ends early");
}

static void keep_dictionary_hash(struct ds_archive *a, const struct ds_block *b)
{
	if (!ds_block_is_dictionary(a, b))
		return;
	a->dictionary[b->dictionary - 1].hash = b->hash;
	a->dictionary[b->dictionary - 1].hash_known = 1;
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
		uint64_t raw, stored, hash;

		DS_TRY(number_max(t, DS_BLOCK_BYTES_MAX, &raw));
		DS_TRY(number_max(t, UINT32_MAX, &stored));
		DS_TRY(read_hash(t, &hash));
		a->block[a->n_blocks++] = (struct ds_block){
			.offset = offset,
			.raw = (uint32_t)raw,
			.stored = (uint32_t)stored,
			.hash = hash,
			.dictionary = seg->row.dictionary,
		};
		offset += ds_record_size(stored, a->seal != NULL);
		if (offset > seg->row.record[0].offset)
			return bad(t, "blocks reach beyond their segment");
		keep_dictionary_hash(a, &a->block[a->n_blocks - 1]);
	}
	return DS_OK;
}

/* Lengths and numbers of the pieces as they tile the blocks. */
static enum ds_status place_pieces(struct table *t, uint32_t *length)
{
	struct ds_archive *a = t->a;
	struct ds_segment_entry *seg = t->seg;
	struct ds_stored_piece place = {seg->first_block, 0, 0};
	uint64_t next = 0, delta, id;

	for (uint64_t k = 0; k < seg->pieces; k++) {
		DS_TRY(number_max(t, DS_BLOCK_BYTES_MAX, &id));
		length[k] = (uint32_t)id;
	}
	for (uint64_t k = 0; k < seg->pieces; k++) {
		DS_TRY(number(t, &delta));
		id = next + (uint64_t)ds_unzigzag(delta);
		if (id >= seg->pieces || a->piece[seg->first_piece + id].length)
			return bad(t, "the numbers of pieces make no sense");
		next = id + 1;
		place.length = length[k];
		if (place.block == a->n_blocks || !place.length ||
		    place.length > a->block[place.block].raw - place.offset)
			return bad(t, "a piece lies outside its block");
		a->piece[seg->first_piece + id] = place;
		place.offset += place.length;
		if (place.offset == a->block[place.block].raw) {
			place.block++;
			place.offset = 0;
		}
	}
	return place.block == a->n_blocks ? DS_OK : bad(t, "blocks hold more than the pieces");
}

static enum ds_status read_pieces(struct table *t)
{
	struct ds_archive *a = t->a;
	enum ds_status st;
	uint32_t *length;
	uint64_t n;

	DS_TRY(number_max(t, ds_cursor_left(&t->cur) / 2, &n));
	if (t->seg->row.pieces != DS_ROW_UNKNOWN && t->seg->row.pieces != n)
		return bad(t, "the pieces of documents and directory differ");
	t->seg->row.pieces = (uint32_t)n;
	DS_TRY(ds_grow(&a->piece, &a->cap_pieces, a->n_pieces + n, sizeof *a->piece, t->err));
	length = ds_alloc(n, sizeof *length);
	if (!length)
		return ds_fail_nomem(t->err, n * sizeof *length);
	t->seg->first_piece = a->n_pieces;
	t->seg->pieces = n;
	for (uint64_t i = 0; i < n; i++)
		a->piece[a->n_pieces + i] = (struct ds_stored_piece){0};
	st = place_pieces(t, length);
	a->n_pieces += n;
	free(length);
	return st;
}

/* The piece of a number, or one that is lost: the first of all. */
static uint64_t known(const struct ds_archive *a, uint64_t piece)
{
	return a->salvaged && (piece < a->first_known || piece >= a->n_pieces) ? 0 : piece;
}

/* A piece that block b refers to; *next_io: the one after the one before. */
static enum ds_status read_reference(struct table *t, struct ds_block *b, uint64_t *next_io)
{
	struct ds_archive *a = t->a;
	uint64_t delta, piece;

	DS_TRY(number(t, &delta));
	piece = *next_io + (uint64_t)ds_unzigzag(delta);
	*next_io = piece + 1;
	piece = known(a, piece);
	if (piece >= t->seg->first_piece)
		return bad(t, "a block refers to a piece that is not before it");
	a->reference[a->n_references++] = piece;
	b->references++;
	if (a->block[a->piece[piece].block].depth >= b->depth)
		b->depth = a->block[a->piece[piece].block].depth + 1;
	return DS_OK;
}

/* Bytes that a block refers to and the blocks that they lie in are bounded. */
static enum ds_status check_references(const struct table *t, const struct ds_block *b)
{
	uint64_t open[DS_REFERENCE_BLOCKS_MAX], bytes = 0;
	const struct ds_archive *a = t->a;
	size_t n_open = 0;

	for (uint32_t i = 0; i < b->references; i++) {
		const struct ds_stored_piece *p = &a->piece[a->reference[b->first_reference + i]];
		size_t k = 0;

		bytes += p->length;
		while (k < n_open && open[k] != p->block)
			k++;
		if (k == DS_REFERENCE_BLOCKS_MAX || bytes > DS_REFERENCE_BYTES_MAX)
			return bad(t, "a block refers to more than is allowed");
		open[k] = p->block;
		n_open += k == n_open;
	}
	return b->depth > DS_REFERENCE_DEPTH_MAX ? bad(t, "a chain of references is too long")
						 : DS_OK;
}

static enum ds_status read_references(struct table *t)
{
	struct ds_archive *a = t->a;
	const struct ds_segment_entry *seg = t->seg;
	uint64_t n_blocks, n, skip, at = 0, next = seg->first_piece;

	DS_TRY(number_max(t, seg->blocks, &n_blocks));
	for (uint64_t i = 0; i < n_blocks; i++) {
		struct ds_block *b;

		DS_TRY(number_max(t, seg->blocks, &skip));
		DS_TRY(number_max(t, ds_cursor_left(&t->cur), &n));
		at += skip;
		if (at >= seg->blocks || n == 0)
			return bad(t, "references of a block that does not exist");
		b = &a->block[seg->first_block + at++];
		b->first_reference = a->n_references;
		DS_TRY(ds_grow(&a->reference, &a->cap_references, a->n_references + n,
			       sizeof *a->reference, t->err));
		for (uint64_t k = 0; k < n; k++)
			DS_TRY(read_reference(t, b, &next));
		DS_TRY(check_references(t, b));
	}
	return DS_OK;
}

/* Whether the document of the last extent so far has not ended. */
static int is_open(const struct ds_archive *a)
{
	return a->n_members && a->member[a->n_members - 1].m.document.size == DS_SIZE_UNKNOWN;
}

void ds_member_cut(struct ds_archive *a)
{
	const struct ds_extent_entry *e = a->extent + a->n_extents - 1;

	if (!is_open(a))
		return;
	a->member[e->member].m.document.size = e->start + e->bytes;
	a->member[e->member].lost |= DS_LOST_END;
}

/* Extents and the documents that begin in them. */
static enum ds_status read_flags(struct table *t)
{
	struct ds_archive *a = t->a;
	const uint64_t n = t->seg->extents;
	int open = is_open(a), begins;

	for (uint64_t i = 0; i < n; i++) {
		struct ds_extent_entry *e = &a->extent[a->n_extents];
		struct ds_member_entry entry = {0};
		uint64_t flags;

		DS_TRY(number_max(t, DS_EXTENT_BEGIN | DS_EXTENT_END, &flags));
		begins = flags & DS_EXTENT_BEGIN ? 1 : 0;
		if (begins == open) {
			if (!a->salvaged || i > 0)
				return bad(t, "a document goes on without an open one, or the "
					      "other way round");
			ds_member_cut(a);
			entry.lost = begins ? 0 : DS_LOST_BEGIN;
			begins = 1;
		}
		open = !(flags & DS_EXTENT_END);
		if (begins) {
			entry.m.document.size = DS_SIZE_UNKNOWN;
			entry.first_use = UINT64_MAX;
			DS_TRY(ds_grow(&a->member, &a->cap_members, a->n_members + 1, sizeof entry,
				       t->err));
			a->member[a->n_members++] = entry;
		}
		*e = (struct ds_extent_entry){.member = a->n_members - 1, .flags = (uint32_t)flags};
		a->n_extents++;
	}
	return DS_OK;
}

/* Whether an extent is not the first of its document. */
static int goes_on(const struct ds_archive *a, const struct ds_extent_entry *e)
{
	return e > a->extent && e[-1].member == e->member;
}

static enum ds_status read_counts(struct table *t)
{
	struct ds_archive *a = t->a;
	struct ds_extent_entry *e = a->extent + t->seg->first_extent, *end = e + t->seg->extents;
	uint64_t n;

	for (; e < end; e++) {
		DS_TRY(number_max(t, ds_cursor_left(&t->cur), &n));
		e->pieces = (uint32_t)n;
	}
	for (e = end - t->seg->extents; e < end; e++) {
		struct ds_archive_member *m = &a->member[e->member].m;

		DS_TRY(number_max(t, t->seg->row.passages, &n));
		if (!goes_on(a, e))
			m->first_chunk = a->totals.passages;
		e->passages = (uint32_t)n;
		e->first_passage = a->totals.passages;
		m->chunks += n;
		a->totals.passages += n;
	}
	return DS_OK;
}

static enum ds_status read_name(struct table *t, struct ds_document *d)
{
	const uint8_t *bytes;
	char *name;

	if (ds_cursor_borrow(&t->cur, d->name_len, &bytes) != DS_OK)
		return bad(t, "a table ends early");
	if (memchr(bytes, 0, d->name_len))
		return bad(t, "a name holds a NUL byte");
	name = ds_arena_alloc(&t->a->names, d->name_len + 1, 1);
	if (!name)
		return ds_fail_nomem(t->err, d->name_len + 1);
	memcpy(name, bytes, d->name_len);
	name[d->name_len] = '\0';
	d->name = name;
	return DS_OK;
}

/* Names, times and modes of the documents from member number first on. */
static enum ds_status read_names(struct table *t, size_t first)
{
	struct ds_archive *a = t->a;
	uint64_t n, time = 0;

	for (size_t i = first; i < a->n_members; i++) {
		DS_TRY(number_max(t, ds_cursor_left(&t->cur), &n));
		a->member[i].m.document.name_len = n;
	}
	for (size_t i = first; i < a->n_members; i++)
		DS_TRY(read_name(t, &a->member[i].m.document));
	for (size_t i = first; i < a->n_members; i++) {
		DS_TRY(number(t, &n));
		time += (uint64_t)ds_unzigzag(n);
		a->member[i].m.document.mtime_ns = (int64_t)time;
	}
	for (size_t i = first; i < a->n_members; i++) {
		DS_TRY(number_max(t, 0777, &n));
		a->member[i].m.document.mode = (uint32_t)n;
	}
	return DS_OK;
}

/* What an extent is made of; *fresh_io: the next piece that has not appeared, *next_io: the one
 * after the piece before. */
static enum ds_status read_uses(struct table *t, struct ds_extent_entry *e, uint64_t *fresh_io,
				uint64_t *next_io)
{
	struct ds_archive *a = t->a;
	struct ds_member_entry *m = &a->member[e->member];
	uint64_t at, code;

	if (goes_on(a, e))
		e->start = e[-1].start + e[-1].bytes;
	if (e->pieces > ds_cursor_left(&t->cur))
		return bad(t, "a table ends early");
	DS_TRY(ds_grow(&a->use, &a->cap_uses, a->n_uses + e->pieces, sizeof *a->use, t->err));
	if (m->first_use == UINT64_MAX)
		m->first_use = a->n_uses;
	e->first_use = a->n_uses;
	at = e->start;
	for (uint32_t i = 0; i < e->pieces; i++) {
		uint64_t piece = *fresh_io;

		DS_TRY(number(t, &code));
		if (code)
			piece = *next_io + (uint64_t)ds_unzigzag(code - 1);
		else
			++*fresh_io;
		*next_io = piece + 1;
		piece = known(a, piece);
		if (piece >= a->n_pieces)
			return bad(t, "a piece that does not exist");
		a->use[a->n_uses++] = (struct ds_use){at, piece};
		at += a->piece[piece].length;
		if (at >> 62)
			return bad(t, "documents too large to be true");
	}
	m->uses += e->pieces;
	e->bytes = at - e->start;
	a->totals.text_bytes += e->bytes;
	if (e->flags & DS_EXTENT_END) {
		m->m.document.size = at;
		a->totals.documents++;
	}
	return a->totals.text_bytes >> 62 ? bad(t, "documents too large to be true") : DS_OK;
}

/* A document whose beginning, with its name, is lost. */
static enum ds_status name_rest(struct table *t, struct ds_document *d)
{
	char text[40], *name;

	d->name_len = (size_t)snprintf(text, sizeof text, "lost+found/%llu",
				       (unsigned long long)t->record);
	name = ds_arena_alloc(&t->a->names, d->name_len + 1, 1);
	if (!name)
		return ds_fail_nomem(t->err, d->name_len + 1);
	d->name = memcpy(name, text, d->name_len + 1);
	return DS_OK;
}

static enum ds_status read_documents(struct table *t)
{
	struct ds_archive *a = t->a;
	struct ds_segment_entry *seg = t->seg;
	uint64_t fresh = seg->first_piece, next = fresh;
	size_t first_member = a->n_members;

	DS_TRY(number_max(t, ds_cursor_left(&t->cur) / 3, &seg->extents));
	DS_TRY(ds_grow(&a->extent, &a->cap_extents, a->n_extents + seg->extents, sizeof *a->extent,
		       t->err));
	seg->first_extent = a->n_extents;
	DS_TRY(read_flags(t));
	if (first_member < a->n_members && a->member[first_member].lost)
		DS_TRY(name_rest(t, &a->member[first_member++].m.document));
	DS_TRY(read_counts(t));
	DS_TRY(read_names(t, first_member));
	DS_TRY(read_hash(t, &seg->hash));
	for (uint64_t i = 0; i < seg->extents; i++)
		DS_TRY(read_uses(t, &a->extent[seg->first_extent + i], &fresh, &next));
	return DS_OK;
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
	DS_TRY(ds_record_unpack(&t->a->map, t->a->seal, &r, raw, t->err));
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
		st = read_pieces(&t);
	if (st == DS_OK)
		st = read_references(&t);
	if (st == DS_OK)
		st = read_documents(&t);
	if (st == DS_OK && ds_cursor_left(&t.cur))
		st = bad(&t, "bytes after the end of a table");
	if (t.seg->row.passages == DS_ROW_UNKNOWN)
		t.seg->row.passages = (uint32_t)(a->totals.passages - first_passage);
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
