/* reader.c - opening an archive: footer, directory, tables; what is in it */
#include "archive/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum ds_status ds_spill_map(struct ds_map *map, int *spill, struct ds_in *in, struct ds_err *err)
{
	uint8_t bytes[1 << 16];
	char path[64];
	uint64_t at = 0;
	size_t got;

	DS_TRY(ds_spill_open(spill, err));
	for (;;) {
		DS_TRY(ds_in_read(in, bytes, sizeof bytes, &got, err));
		if (got == 0)
			break;
		DS_TRY(ds_pwrite_all(*spill, bytes, got, at, err));
		at += got;
	}
	snprintf(path, sizeof path, "/proc/self/fd/%d", *spill);
	DS_TRY(ds_map_open(map, path, err));
	free(map->path);
	map->path = strdup(in->name);
	return map->path ? DS_OK : ds_fail_nomem(err, sizeof path);
}

static enum ds_status bad_directory(struct ds_cursor *cur, const char *what)
{
	return ds_fail_at(cur->err, DS_EFORMAT, cur->path, cur->base,
			  "the directory is not valid: %s (at %zu in it)", what, cur->pos);
}

/* *last_io: the highest offset so far; every offset is above it. */
static enum ds_status get_offset(struct ds_cursor *cur, uint64_t *last_io, uint64_t *offset_ret)
{
	DS_TRY(ds_cursor_u64(cur, offset_ret));
	if (*offset_ret < *last_io || *offset_ret >= cur->base)
		return bad_directory(cur, "an offset is out of order");
	*last_io = *offset_ret + 1;
	return DS_OK;
}

static enum ds_status get_row(struct ds_cursor *cur, const struct ds_archive *a, uint64_t *last_io,
			      struct ds_segment_row *row)
{
	uint32_t zero, type, before = 0;

	DS_TRY(get_offset(cur, last_io, &row->blocks_offset));
	*last_io = row->blocks_offset; /* without blocks, the first record is there */
	DS_TRY(ds_cursor_u32(cur, &row->dictionary));
	DS_TRY(ds_cursor_u32(cur, &row->passages));
	DS_TRY(ds_cursor_u32(cur, &row->n_records));
	DS_TRY(ds_cursor_u32(cur, &row->pieces));
	if (row->dictionary > a->n_dictionaries || row->n_records == 0 ||
	    row->n_records > DS_SEGMENT_RECORDS_MAX)
		return bad_directory(cur, "a segment's numbers make no sense");
	for (uint32_t i = 0; i < row->n_records; i++) {
		DS_TRY(ds_cursor_u32(cur, &type));
		DS_TRY(ds_cursor_u32(cur, &zero));
		DS_TRY(get_offset(cur, last_io, &row->record[i].offset));
		if (zero || type <= before || (i == 0 && type != DS_RECORD_DOCUMENTS))
			return bad_directory(cur,
					     "the records of a segment are not as they must be");
		row->record[i].type = before = type;
	}
	return DS_OK;
}

static enum ds_status get_lists(struct ds_archive *a, struct ds_cursor *cur)
{
	uint64_t last = DS_ARCHIVE_HEADER_BYTES;

	a->dictionary = ds_alloc_zero(a->n_dictionaries, sizeof *a->dictionary);
	a->segment = ds_alloc_zero(a->n_segments, sizeof *a->segment);
	if (!a->dictionary || !a->segment)
		return ds_fail_nomem(cur->err, a->n_segments * sizeof *a->segment);
	for (size_t i = 0; i < a->n_dictionaries; i++)
		DS_TRY(get_offset(cur, &last, &a->dictionary[i].offset));
	last = DS_ARCHIVE_HEADER_BYTES;
	for (size_t i = 0; i < a->n_segments; i++)
		DS_TRY(get_row(cur, a, &last, &a->segment[i].row));
	if (ds_cursor_left(cur))
		return bad_directory(cur, "bytes after its end");
	return DS_OK;
}

static enum ds_status get_directory(struct ds_archive *a, struct ds_cursor *cur,
				    struct ds_archive_totals *claimed)
{
	uint32_t n_dictionaries, n_segments, zero;

	DS_TRY(ds_cursor_u64(cur, &claimed->documents));
	DS_TRY(ds_cursor_u64(cur, &claimed->text_bytes));
	DS_TRY(ds_cursor_u64(cur, &claimed->passages));
	DS_TRY(ds_cursor_u64(cur, &a->model));
	DS_TRY(ds_cursor_u32(cur, &a->dims));
	DS_TRY(ds_cursor_u32(cur, &n_dictionaries));
	DS_TRY(ds_cursor_u32(cur, &n_segments));
	DS_TRY(ds_cursor_u32(cur, &zero));
	if (zero || n_dictionaries > ds_cursor_left(cur) / 8 ||
	    n_segments > ds_cursor_left(cur) / 40 || a->dims > DS_ARCHIVE_DIMS_MAX ||
	    !a->model != !a->dims)
		return bad_directory(cur, "its numbers make no sense");
	a->n_dictionaries = n_dictionaries;
	a->n_segments = n_segments;
	return get_lists(a, cur);
}

enum ds_status ds_directory_read(struct ds_archive *a, struct ds_archive_totals *claimed,
				 struct ds_err *err)
{
	struct ds_cursor cur;
	struct ds_record r;
	struct ds_buf raw = {0};
	enum ds_status st;

	DS_TRY(ds_archive_footer_get(&a->map, a->map.len, &a->directory_offset, err));
	DS_TRY(ds_record_get(&a->map, a->directory_offset, a->map.len - DS_ARCHIVE_FOOTER_BYTES, &r,
			     err));
	if (r.type != DS_RECORD_DIRECTORY || r.end != a->map.len - DS_ARCHIVE_FOOTER_BYTES)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r.offset,
				  "the directory was expected here, before the footer");
	st = ds_record_unpack(&a->map, a->seal, &r, &raw, err);
	if (st == DS_OK) {
		ds_cursor_init(&cur, raw.data, raw.len, err);
		cur.path = a->map.path;
		cur.base = a->directory_offset;
		st = get_directory(a, &cur, claimed);
	}
	ds_buf_fini(&raw);
	return st;
}

/* The head of a record; a damaged one counts nothing where that is to be borne. */
static enum ds_status get_head(const struct ds_archive *a, uint64_t offset, struct ds_record *r,
			       struct ds_err *err)
{
	enum ds_status st = ds_record_get(&a->map, offset, a->directory_offset, r, err);

	if (st == DS_OK || !a->salvaged)
		return st;
	*r = (struct ds_record){0};
	return DS_OK;
}

enum ds_status ds_records_count(struct ds_archive *a, struct ds_err *err)
{
	struct ds_archive_totals *t = &a->totals;
	struct ds_record r;

	for (size_t i = 0; i < a->n_dictionaries; i++) {
		DS_TRY(get_head(a, a->dictionary[i].offset, &r, err));
		a->dictionary[i].raw = r.raw;
	}
	for (size_t i = 0; i < a->n_blocks; i++) {
		DS_TRY(get_head(a, a->block[i].offset, &r, err));
		ds_record_count(&r, t);
	}
	for (size_t s = 0; s < a->n_segments; s++) {
		const struct ds_segment_row *row = &a->segment[s].row;

		for (uint32_t i = 0; i < row->n_records; i++) {
			DS_TRY(get_head(a, row->record[i].offset, &r, err));
			ds_record_count(&r, t);
		}
	}
	t->file_bytes = a->map.len;
	return DS_OK;
}

enum ds_status ds_lock_open(struct ds_archive *a, uint64_t offset, const struct ds_secret *secret,
			    struct ds_err *err)
{
	struct ds_record r;
	enum ds_status st;

	DS_TRY(ds_record_get(&a->map, offset, a->map.len, &r, err));
	if (r.type != DS_RECORD_LOCK || r.sealed || r.coder != DS_CODER_STORED ||
	    r.stored != DS_SEAL_LOCK_BYTES)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, offset,
				  "the lock of a sealed archive was expected here");
	DS_TRY(ds_record_verify(&a->map, &r, err));
	if (!secret)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "it is encrypted, and no key is given (--key, --passphrase, "
				  "DS_KEY)");
	st = ds_seal_open(&a->seal, secret, r.bytes, err);
	if (st != DS_OK)
		ds_err_set_path(err, a->map.path);
	return st;
}

enum ds_status ds_archive_demand(const struct ds_archive *a, const struct ds_secret *secret,
				 struct ds_err *err)
{
	if (!a->seal && secret && secret->demanded)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "it is not encrypted, and a key is given");
	return DS_OK;
}

static enum ds_status open_seal(struct ds_archive *a, const struct ds_secret *secret,
				struct ds_err *err)
{
	int sealed;

	DS_TRY(ds_archive_header_check(&a->map, &sealed, err));
	if (sealed)
		return ds_lock_open(a, DS_ARCHIVE_HEADER_BYTES, secret, err);
	return ds_archive_demand(a, secret, err);
}

static enum ds_status read_all_tables(struct ds_archive *a, const struct ds_secret *secret,
				      struct ds_err *err)
{
	struct ds_archive_totals claimed = {0};

	DS_TRY(open_seal(a, secret, err));
	DS_TRY(ds_directory_read(a, &claimed, err));
	for (size_t s = 0; s < a->n_segments; s++)
		DS_TRY(ds_tables_read(a, s, err));
	if (a->n_members != claimed.documents || a->totals.documents != claimed.documents ||
	    a->totals.text_bytes != claimed.text_bytes || a->totals.passages != claimed.passages)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, a->directory_offset,
				  "the directory and the segments disagree on the documents");
	return ds_records_count(a, err);
}

enum ds_status ds_archive_map(struct ds_archive **a_ret, const char *path, struct ds_in *in,
			      struct ds_err *err)
{
	struct ds_archive *a = ds_alloc_zero(1, sizeof *a);
	enum ds_status st;

	if (!a)
		return ds_fail_nomem(err, sizeof *a);
	a->spill = -1;
	ds_arena_init(&a->names);
	st = in ? ds_spill_map(&a->map, &a->spill, in, err) : ds_map_open(&a->map, path, err);
	if (st != DS_OK)
		ds_archive_close(a);
	else
		*a_ret = a;
	return st;
}

static enum ds_status open_either(struct ds_archive **a_ret, const char *path, struct ds_in *in,
				  const struct ds_secret *secret, struct ds_err *err)
{
	struct ds_archive *a;
	enum ds_status st;

	DS_TRY(ds_archive_map(&a, path, in, err));
	st = read_all_tables(a, secret, err);
	if (st != DS_OK)
		ds_archive_close(a);
	else
		*a_ret = a;
	return st;
}

enum ds_status ds_archive_open_stream(struct ds_archive **a_ret, struct ds_in *in,
				      const struct ds_secret *secret, struct ds_err *err)
{
	return open_either(a_ret, NULL, in, secret, err);
}

enum ds_status ds_archive_open(struct ds_archive **a_ret, const char *path,
			       const struct ds_secret *secret, struct ds_err *err)
{
	struct ds_in in;

	if (path && strcmp(path, "-") != 0)
		return open_either(a_ret, path, NULL, secret, err);
	DS_TRY(ds_in_open(&in, "-", err));
	return open_either(a_ret, NULL, &in, secret, err);
}

void ds_archive_close(struct ds_archive *a)
{
	if (!a)
		return;
	ds_block_cache_fini(a);
	ds_lm_blocks_free(a->lm);
	for (size_t i = 0; a->segment && i < a->n_segments; i++) {
		free(a->segment[i].span);
		ds_buf_fini(&a->segment[i].vectors);
	}
	ds_seal_free(a->seal);
	ds_block_decoder_free(a->decoder);
	ds_arena_fini(&a->names);
	free(a->dictionary);
	free(a->segment);
	free(a->block);
	free(a->piece);
	free(a->use);
	free(a->reference);
	free(a->turns);
	free(a->member);
	free(a->extent);
	free(a->by_name);
	ds_map_close(&a->map);
	if (a->spill >= 0)
		close(a->spill);
	free(a);
}

int ds_archive_probe(const void *bytes, size_t n)
{
	uint8_t header[DS_ARCHIVE_HEADER_BYTES] = {0};

	ds_archive_header(header, 0);
	return n >= 8 && memcmp(bytes, header, 8) == 0;
}

int ds_archive_is_sealed(const struct ds_archive *a)
{
	return a->seal != NULL;
}

uint64_t ds_archive_members(const struct ds_archive *a)
{
	return a->n_members;
}

enum ds_status ds_archive_member(const struct ds_archive *a, uint64_t index,
				 struct ds_archive_member *m_ret, struct ds_err *err)
{
	if (index >= a->n_members)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "there is no document number %llu", (unsigned long long)index);
	*m_ret = a->member[index].m;
	return DS_OK;
}

enum ds_status ds_archive_find(const struct ds_archive *a, const char *name, size_t n,
			       uint64_t *index_ret, struct ds_err *err)
{
	for (size_t i = 0; i < a->n_members; i++) {
		const struct ds_document *d = &a->member[i].m.document;

		if (d->name_len == n && memcmp(d->name, name, n) == 0) {
			*index_ret = i;
			return DS_OK;
		}
	}
	return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET, "no document '%.*s' in it",
			  n > 200 ? 200 : (int)n, name);
}

void ds_archive_totals(const struct ds_archive *a, struct ds_archive_totals *totals_ret)
{
	*totals_ret = a->totals;
}

uint64_t ds_archive_model(const struct ds_archive *a)
{
	return a->model;
}

uint32_t ds_archive_dims(const struct ds_archive *a)
{
	return a->dims;
}

uint32_t ds_archive_segments(const struct ds_archive *a)
{
	return (uint32_t)a->n_segments;
}

void ds_archive_segment(const struct ds_archive *a, uint32_t index,
			struct ds_archive_segment *s_ret)
{
	s_ret->first_passage = a->segment[index].first_passage;
	s_ret->passages = a->segment[index].row.passages;
}
