/*
 * salvage.c - what is left of a damaged archive
 *
 * It becomes an open archive like others, with segments that hold nothing in the place of those
 * whose documents are lost.  Block 0 and piece 0 stand for what cannot be read.
 */
#include <stdlib.h>
#include <string.h>

#include "archive/reader.h"
#include "base/cursor.h"

struct salvage {
	struct ds_archive *a;
	const struct ds_salvage *s;
	struct ds_segment_row *row; /* segments that were found */
	size_t n, cap, cap_segments, cap_dictionaries;
	struct ds_err *err;
};

static void tell(const struct ds_salvage *s, const struct ds_err *damage)
{
	if (s && s->tell)
		s->tell(s->user, damage);
}

static void tell_lost(const struct salvage *v, uint64_t from, uint64_t end, const char *what)
{
	struct ds_err damage;

	ds_fail_at(&damage, DS_ECORRUPT, v->a->map.path, from, "%llu bytes %s",
		   (unsigned long long)(end - from), what);
	tell(v->s, &damage);
}

/* Whether an error is of the bytes of the archive, not of what is done with them. */
static int is_damage(enum ds_status st)
{
	return st == DS_EFORMAT || st == DS_ETRUNCATED || st == DS_ECORRUPT || st == DS_ELIMIT;
}

/* What was in an archive before a table that turned out to make no sense. */
struct mark {
	size_t n_blocks, n_pieces, n_members, n_extents, n_uses, n_references;
	struct ds_archive_totals totals;
	struct ds_member_entry last;
};

static struct mark mark(const struct ds_archive *a)
{
	struct mark m = {
		.n_blocks = a->n_blocks,
		.n_pieces = a->n_pieces,
		.n_members = a->n_members,
		.n_extents = a->n_extents,
		.n_uses = a->n_uses,
		.n_references = a->n_references,
		.totals = a->totals,
	};

	if (a->n_members)
		m.last = a->member[a->n_members - 1];
	return m;
}

static void back_to(struct ds_archive *a, const struct mark *m)
{
	a->n_blocks = m->n_blocks;
	a->n_pieces = m->n_pieces;
	a->n_members = m->n_members;
	a->n_extents = m->n_extents;
	a->n_uses = m->n_uses;
	a->n_references = m->n_references;
	a->totals = m->totals;
	if (a->n_members)
		a->member[a->n_members - 1] = m->last;
}

/* The documents of a segment are lost; room: the most bytes that their record could have.  Pieces
 * are counted through, so that those of other segments keep their numbers. */
static enum ds_status lose_segment(struct salvage *v, struct ds_segment_entry *seg, uint64_t room)
{
	struct ds_archive *a = v->a;
	const uint32_t n = seg->row.pieces;

	if (a->n_extents)
		ds_member_cut(a);
	seg->row.passages = seg->row.n_records = 0;
	seg->first_block = a->n_blocks;
	seg->first_extent = a->n_extents;
	seg->first_passage = a->totals.passages;
	seg->first_piece = a->n_pieces;
	seg->blocks = seg->extents = seg->pieces = 0;
	if (n == DS_ROW_UNKNOWN || room > UINT32_MAX || n > ds_record_raw_max((uint32_t)room) / 2) {
		a->first_known = a->n_pieces;
		return DS_OK;
	}
	DS_TRY(ds_grow(&a->piece, &a->cap_pieces, a->n_pieces + n, sizeof *a->piece, v->err));
	memset(a->piece + a->n_pieces, 0, n * sizeof *a->piece);
	a->n_pieces += n;
	seg->pieces = n;
	return DS_OK;
}

/* Records that are damaged leave their segment, but for the documents. */
static void check_records(const struct salvage *v, struct ds_segment_row *row)
{
	const struct ds_archive *a = v->a;
	struct ds_err damage;
	struct ds_record r;
	struct ds_buf plain = {0};
	uint32_t kept = 1;

	for (uint32_t i = 1; i < row->n_records; i++) {
		enum ds_status st = ds_record_get(&a->map, row->record[i].offset,
						  a->directory_offset, &r, &damage);

		if (st == DS_OK)
			st = ds_record_open(&a->map, a->seal, &r, &plain, &damage);
		if (st == DS_OK)
			row->record[kept++] = row->record[i];
		else
			tell(v->s, &damage);
	}
	ds_buf_fini(&plain);
	row->n_records = kept;
}

/* The documents of segment number s, or what stands for them; end: where the next one begins. */
static enum ds_status read_segment(struct salvage *v, size_t s, uint64_t end)
{
	struct ds_archive *a = v->a;
	struct ds_segment_entry *seg = &a->segment[s];
	const struct mark before = mark(a);
	struct ds_err damage;
	enum ds_status st;

	st = ds_tables_read(a, s, &damage);
	if (st == DS_OK) {
		check_records(v, &seg->row);
		return DS_OK;
	}
	if (!is_damage(st)) {
		*v->err = damage;
		return st;
	}
	tell(v->s, &damage);
	back_to(a, &before);
	return lose_segment(v, seg, end - seg->row.record[0].offset);
}

static enum ds_status read_segments(struct salvage *v)
{
	struct ds_archive *a = v->a;

	for (size_t s = 0; s < a->n_segments; s++) {
		uint64_t end = s + 1 < a->n_segments ? a->segment[s + 1].row.blocks_offset
						     : a->directory_offset;

		DS_TRY(read_segment(v, s, end));
	}
	return DS_OK;
}

/* The next record between two places whose head is sound, and whether all of it is. */
static int find_record(const struct ds_map *map, uint64_t from, uint64_t end, struct ds_record *r,
		       int *whole_ret)
{
	static const uint8_t magic[4] = {0xD5, 'R', 'E', 'C'};

	while (from < end) {
		const uint8_t *p = memmem(map->data + from, end - from, magic, sizeof magic);

		if (!p)
			return 0;
		from = (uint64_t)(p - map->data);
		if (ds_record_get(map, from, end, r, NULL) == DS_OK) {
			*whole_ret = ds_record_verify(map, r, NULL) == DS_OK;
			return 1;
		}
		from += sizeof magic;
	}
	return 0;
}

/* Where to look for a record after this one: what is damaged may hide others, or hold what looks
 * like them. */
static uint64_t after(const struct ds_map *map, const struct ds_record *r, int whole)
{
	struct ds_record next;
	uint64_t unused;

	if (whole || r->end == map->len ||
	    ds_record_get(map, r->end, map->len, &next, NULL) == DS_OK ||
	    ds_archive_footer_get(map, r->end + DS_ARCHIVE_FOOTER_BYTES, &unused, NULL) == DS_OK)
		return r->end;
	return r->offset + 4;
}

/* Where the blocks of a documents record begin: they lie before it. *base_ret is 0 when it makes no
 * sense. */
static enum ds_status find_base(const struct salvage *v, const struct ds_record *r,
				uint64_t *base_ret)
{
	uint64_t n = 0, raw, stored, hash, base = r->offset;
	struct ds_buf table = {0};
	struct ds_record copy = *r;
	struct ds_cursor cur;
	enum ds_status st;

	*base_ret = 0;
	st = ds_record_unpack(&v->a->map, v->a->seal, &copy, &table, v->err);
	if (st != DS_OK) {
		ds_buf_fini(&table);
		return is_damage(st) || st == DS_EUNSUPPORTED ? DS_OK : st;
	}
	ds_cursor_init(&cur, table.data, table.len, NULL);
	st = ds_varint_get(&cur, &n);
	for (uint64_t i = 0; st == DS_OK && i < n; i++) {
		st = ds_varint_get(&cur, &raw);
		if (st == DS_OK)
			st = ds_varint_get(&cur, &stored);
		if (st == DS_OK)
			st = ds_cursor_u64(&cur, &hash);
		if (st != DS_OK || stored > UINT32_MAX || ds_record_size(stored, r->sealed) > base)
			st = DS_EFORMAT;
		else
			base -= ds_record_size(stored, r->sealed);
	}
	ds_buf_fini(&table);
	*base_ret = st == DS_OK ? base : 0;
	return DS_OK;
}

/* Another segment.  Those that lie in its blocks are no segments, but text that looks like some. */
static enum ds_status add_segment(struct salvage *v, const struct ds_record *r)
{
	struct ds_segment_row row = {
		.passages = DS_ROW_UNKNOWN,
		.pieces = DS_ROW_UNKNOWN,
		.n_records = 1,
		.record[0] = {r->type, r->offset},
	};

	DS_TRY(find_base(v, r, &row.blocks_offset));
	if (!row.blocks_offset)
		return DS_OK;
	while (v->n && v->row[v->n - 1].record[0].offset >= row.blocks_offset)
		v->n--;
	DS_TRY(ds_grow(&v->row, &v->cap, v->n + 1, sizeof row, v->err));
	v->row[v->n++] = row;
	return DS_OK;
}

static enum ds_status find_segments(struct salvage *v)
{
	const struct ds_map *map = &v->a->map;
	struct ds_record r;
	uint64_t at = 0;
	int whole;

	while (find_record(map, at, map->len, &r, &whole)) {
		if (r.type == DS_RECORD_DOCUMENTS && whole)
			DS_TRY(add_segment(v, &r));
		at = after(map, &r, whole);
	}
	return DS_OK;
}

/* The model of the embeddings is named in each record of them. */
static void learn_model(struct ds_archive *a, struct ds_record *r)
{
	struct ds_buf plain = {0};

	if (a->model || r->coder != DS_CODER_STORED || r->stored < 24)
		return;
	if (ds_record_open(&a->map, a->seal, r, &plain, NULL) == DS_OK) {
		a->dims = ds_get_u32(r->bytes + 4);
		a->model = ds_get_u64(r->bytes + 8);
	}
	if (!a->dims || a->dims > DS_ARCHIVE_DIMS_MAX || !a->model)
		a->model = a->dims = 0;
	ds_buf_fini(&plain);
}

/* The other records of a segment, which lie after its documents and before limit; *end_ret: the end
 * of what is accounted for, the limit when all is. */
static void find_others(const struct salvage *v, struct ds_segment_row *row, uint64_t limit,
			uint64_t *end_ret)
{
	const struct ds_map *map = &v->a->map;
	uint64_t at, end, unused;
	uint8_t last = DS_RECORD_DOCUMENTS;
	struct ds_record r;
	int whole;

	ds_record_get(map, row->record[0].offset, map->len, &r, NULL);
	at = end = r.end;
	for (; find_record(map, at, limit, &r, &whole); at = after(map, &r, whole)) {
		if (r.offset == end && r.type > DS_RECORD_DOCUMENTS)
			end = r.end;
		if (r.type == DS_RECORD_DIRECTORY && end == r.end &&
		    ds_archive_footer_get(map, end + DS_ARCHIVE_FOOTER_BYTES, &unused, NULL) ==
			    DS_OK)
			end += DS_ARCHIVE_FOOTER_BYTES;
		if (r.type <= last || r.type == DS_RECORD_DIRECTORY || r.type > DS_RECORD_LM ||
		    row->n_records == DS_SEGMENT_RECORDS_MAX)
			continue;
		row->record[row->n_records].type = last = r.type;
		row->record[row->n_records++].offset = r.offset;
		if (r.type == DS_RECORD_VECTORS && whole)
			learn_model(v->a, &r);
	}
	*end_ret = end;
}

/* The first block of a segment may be its dictionary; one that is damaged could have been. */
static enum ds_status find_dictionary(struct salvage *v, struct ds_segment_row *row)
{
	struct ds_archive *a = v->a;
	struct ds_record r;

	if (row->blocks_offset == row->record[0].offset ||
	    (ds_record_get(&a->map, row->blocks_offset, a->map.len, &r, NULL) == DS_OK &&
	     r.type == DS_RECORD_BLOCK))
		return DS_OK;
	DS_TRY(ds_grow(&a->dictionary, &v->cap_dictionaries, a->n_dictionaries + 1,
		       sizeof *a->dictionary, v->err));
	a->dictionary[a->n_dictionaries++] =
		(struct ds_dictionary_entry){.offset = row->blocks_offset};
	row->dictionary = (uint32_t)a->n_dictionaries;
	return DS_OK;
}

/* A segment may have been where nothing else is. */
static enum ds_status add_gap(struct salvage *v, uint64_t from, uint64_t end)
{
	struct ds_archive *a = v->a;
	struct ds_segment_entry *seg;

	tell_lost(v, from, end, "belong to no documents that are left");
	DS_TRY(ds_grow(&a->segment, &v->cap_segments, a->n_segments + 1, sizeof *a->segment,
		       v->err));
	seg = &a->segment[a->n_segments++];
	*seg = (struct ds_segment_entry){.row.pieces = DS_ROW_UNKNOWN};
	return lose_segment(v, seg, 0);
}

/* The archive as its records tell it. */
static enum ds_status scan(struct salvage *v)
{
	struct ds_archive *a = v->a;
	uint64_t end = DS_ARCHIVE_HEADER_BYTES;

	end += a->seal ? ds_record_size(DS_SEAL_LOCK_BYTES, 0) : 0;
	a->directory_offset = a->map.len;
	a->model = a->dims = 0;
	DS_TRY(find_segments(v));
	for (size_t i = 0; i < v->n; i++) {
		struct ds_segment_row *row = &v->row[i];
		uint64_t next = i + 1 < v->n ? row[1].blocks_offset : a->map.len;

		if (row->blocks_offset != end)
			DS_TRY(add_gap(v, end < row->blocks_offset ? end : row->blocks_offset,
				       row->blocks_offset));
		find_others(v, row, next, &end);
		DS_TRY(find_dictionary(v, row));
		DS_TRY(ds_grow(&a->segment, &v->cap_segments, a->n_segments + 1, sizeof *a->segment,
			       v->err));
		a->segment[a->n_segments] = (struct ds_segment_entry){.row = *row};
		DS_TRY(read_segment(v, a->n_segments++, next));
	}
	if (end < a->map.len)
		DS_TRY(add_gap(v, end, a->map.len));
	return DS_OK;
}

/* A sealed archive has its lock at both ends; its header may be lost. */
static enum ds_status find_lock(struct salvage *v, const struct ds_secret *secret)
{
	const struct ds_map *map = &v->a->map;
	int whole, sealed = 0, known;
	struct ds_err damage;
	struct ds_record r;
	uint64_t at = 0;

	known = ds_archive_header_check(map, &sealed, &damage) == DS_OK;
	if (!known)
		tell(v->s, &damage);
	for (; find_record(map, at, map->len, &r, &whole); at = after(map, &r, whole)) {
		if (known && !sealed)
			break;
		known = known || whole;
		sealed = sealed || (whole && (r.sealed || r.type == DS_RECORD_LOCK));
		if (sealed && whole && r.type == DS_RECORD_LOCK)
			return ds_lock_open(v->a, r.offset, secret, v->err);
	}
	if (sealed)
		return ds_fail_at(v->err, DS_ECORRUPT, map->path, DS_NO_OFFSET,
				  "it is encrypted, and its lock is lost");
	return ds_archive_demand(v->a, secret, v->err);
}

static enum ds_status begin(struct salvage *v)
{
	struct ds_archive *a = v->a;

	a->salvaged = 1;
	a->first_known = 1;
	DS_TRY(ds_grow(&a->block, &a->cap_blocks, 1, sizeof *a->block, v->err));
	DS_TRY(ds_grow(&a->piece, &a->cap_pieces, 1, sizeof *a->piece, v->err));
	a->block[a->n_blocks++] = (struct ds_block){0};
	a->piece[a->n_pieces++] = (struct ds_stored_piece){0};
	return DS_OK;
}

static enum ds_status read_rest(struct salvage *v, const struct ds_secret *secret)
{
	struct ds_archive *a = v->a;
	struct ds_archive_totals claimed;
	struct ds_err damage;
	enum ds_status st;

	DS_TRY(begin(v));
	DS_TRY(find_lock(v, secret));
	st = ds_directory_read(a, &claimed, &damage);
	if (st == DS_OK) {
		DS_TRY(read_segments(v));
	} else if (is_damage(st)) {
		tell(v->s, &damage);
		free(a->dictionary);
		free(a->segment);
		a->dictionary = NULL;
		a->segment = NULL;
		a->n_dictionaries = a->n_segments = 0;
		DS_TRY(scan(v));
	} else {
		*v->err = damage;
		return st;
	}
	if (a->n_extents)
		ds_member_cut(a);
	return ds_records_count(a, v->err);
}

enum ds_status ds_archive_salvage(struct ds_archive **a_ret, const char *path,
				  const struct ds_secret *secret, const struct ds_salvage *s,
				  struct ds_err *err)
{
	struct ds_err unused;
	struct salvage v = {.s = s, .err = err ? err : &unused};
	struct ds_record r;
	struct ds_in in;
	enum ds_status st;
	int whole;

	if (path && strcmp(path, "-") != 0) {
		DS_TRY(ds_archive_map(&v.a, path, NULL, err));
	} else {
		DS_TRY(ds_in_open(&in, "-", err));
		DS_TRY(ds_archive_map(&v.a, NULL, &in, err));
	}
	if (ds_archive_probe(v.a->map.data, v.a->map.len) ||
	    find_record(&v.a->map, 0, v.a->map.len, &r, &whole))
		st = read_rest(&v, secret);
	else
		st = ds_fail_at(err, DS_EFORMAT, v.a->map.path, 0, "no part of an archive in it");
	free(v.row);
	if (st != DS_OK)
		ds_archive_close(v.a);
	else
		*a_ret = v.a;
	return st;
}

/* A document while what is left of it is copied. */
struct rest {
	struct ds_archive *a;
	const struct ds_salvage *s;
	const char *name;
	uint64_t lost_from, at; /* bytes of a hole so far are from the one to the other */
	int in_hole, holes, unknown;
};

static void tell_hole(struct rest *r)
{
	const unsigned long long from = r->lost_from, end = r->at;
	const char *more = r->unknown ? " and an unknown number more" : "";
	struct ds_err damage;

	if (!r->in_hole)
		return;
	if (from < end)
		ds_fail_at(&damage, DS_ECORRUPT, r->a->map.path, DS_NO_OFFSET,
			   "'%.200s': bytes %llu to %llu%s are lost", r->name, from, end, more);
	else
		ds_fail_at(&damage, DS_ECORRUPT, r->a->map.path, DS_NO_OFFSET,
			   "'%.200s': an unknown number of bytes is lost at byte %llu", r->name,
			   from);
	tell(r->s, &damage);
	r->holes++;
	r->in_hole = r->unknown = 0;
}

static void tell_text(const struct rest *r, const char *what)
{
	struct ds_err damage;

	ds_fail_at(&damage, DS_ECORRUPT, r->a->map.path, DS_NO_OFFSET, "'%.200s': %s", r->name,
		   what);
	tell(r->s, &damage);
}

static enum ds_status put_zeros(const struct ds_rest *rest, uint64_t n, struct ds_err *err)
{
	static const uint8_t zeros[1 << 14];

	for (uint64_t k; n; n -= k) {
		k = n < sizeof zeros ? n : sizeof zeros;
		DS_TRY(rest->write(rest->user, zeros, k, err));
	}
	return DS_OK;
}

static void check_whole(struct rest *r, const struct ds_member_entry *m, struct ds_rest *rest)
{
	tell_hole(r);
	if (m->lost & DS_LOST_BEGIN)
		tell_text(r, "its beginning and its name are lost");
	if (m->lost & DS_LOST_END)
		tell_text(r, "what follows is lost");
	rest->whole = !r->holes && !m->lost;
}

enum ds_status ds_archive_copy_rest(struct ds_archive *a, uint64_t member,
				    const struct ds_salvage *s, struct ds_rest *rest,
				    struct ds_err *err)
{
	const struct ds_member_entry *m = &a->member[member];
	const struct ds_use *u = a->use + m->first_use, *end = u + m->uses;
	struct rest r = {.a = a, .s = s, .name = m->m.document.name};
	enum ds_status st = DS_OK;

	rest->whole = 0;
	rest->read = 0;
	a->ahead.member = member;
	a->ahead.end = m->first_use + m->uses;
	for (; st == DS_OK && u < end; u++) {
		const struct ds_stored_piece *p = &a->piece[u->piece];
		const uint8_t *text;

		a->ahead.use = (uint64_t)(u - a->use);
		st = ds_block_load(a, p->block, &text, err);
		if (st == DS_OK) {
			tell_hole(&r);
			rest->read += p->length;
			st = rest->write(rest->user, text + p->offset, p->length, err);
		} else if (is_damage(st)) {
			if (!r.in_hole)
				r.lost_from = u->start;
			r.in_hole = 1;
			r.unknown |= p->length == 0;
			st = put_zeros(rest, p->length, err);
		}
		r.at = u->start + p->length;
	}
	if (st == DS_OK)
		check_whole(&r, m, rest);
	return st;
}
