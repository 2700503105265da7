/* read.c - spans of documents, passages, index records; testing everything */
#include "archive/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "search/codes.h"

const struct ds_use *ds_use_find(const struct ds_archive *a, const struct ds_member_entry *m,
				 uint64_t start)
{
	const struct ds_use *p = a->use + m->first_use;
	size_t low = 0, high = m->uses;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (p[mid].start <= start)
			low = mid;
		else
			high = mid;
	}
	return p + low;
}

enum ds_status ds_archive_read(struct ds_archive *a, uint64_t member, uint64_t start, uint64_t end,
			       struct ds_buf *buf, struct ds_err *err)
{
	const struct ds_use *u;
	const uint8_t *text;
	struct ds_archive_member m;

	DS_TRY(ds_archive_member(a, member, &m, err));
	if (start > end || end > m.document.size)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "bytes %llu to %llu of a document of %llu",
				  (unsigned long long)start, (unsigned long long)end,
				  (unsigned long long)m.document.size);
	if (start == end)
		return DS_OK;
	DS_TRY(ds_buf_reserve(buf, end - start, err));
	a->ahead.member = a->n_members;
	a->ahead.end = (uint64_t)(ds_use_find(a, &a->member[member], end - 1) - a->use) + 1;
	for (u = ds_use_find(a, &a->member[member], start); start < end; u++) {
		const struct ds_stored_piece *p = &a->piece[u->piece];
		uint64_t skip = start - u->start;
		uint64_t n = p->length - skip;

		if (n > end - start)
			n = end - start;
		a->ahead.use = (uint64_t)(u - a->use);
		DS_TRY(ds_block_load(a, p->block, &text, err));
		DS_TRY(ds_buf_append(buf, text + p->offset + skip, n, err));
		start += n;
	}
	return DS_OK;
}

/* Damage is told with the document that it is in. */
static void name_document(struct ds_err *err, const char *name)
{
	char text[200];

	if (!err)
		return;
	snprintf(text, sizeof text, " (in '%.180s')", name);
	strncat(err->message, text, sizeof err->message - strlen(err->message) - 1);
}

enum ds_status ds_archive_copy(struct ds_archive *a, uint64_t member, ds_write_fn *write,
			       void *user, struct ds_err *err)
{
	const struct ds_use *u;
	struct ds_archive_member m;
	enum ds_status st = DS_OK;
	const uint8_t *text;

	DS_TRY(ds_archive_member(a, member, &m, err));
	u = a->use + a->member[member].first_use;
	a->ahead.member = member;
	a->ahead.end = a->member[member].first_use + a->member[member].uses;
	for (uint64_t i = 0; st == DS_OK && i < a->member[member].uses; i++, u++) {
		const struct ds_stored_piece *p = &a->piece[u->piece];

		a->ahead.use = (uint64_t)(u - a->use);
		st = ds_block_load(a, p->block, &text, err);
		if (st == DS_OK)
			st = write(user, text + p->offset, p->length, err);
	}
	if (st == DS_EFORMAT || st == DS_ECORRUPT)
		name_document(err, m.document.name);
	return st;
}

enum ds_status ds_archive_passage(struct ds_archive *a, uint64_t passage,
				  struct ds_archive_passage *p_ret, struct ds_err *err)
{
	size_t low = 0, high = a->n_segments;
	const struct ds_segment_entry *s;
	size_t first, last;

	if (passage >= a->totals.passages)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "there is no passage number %llu", (unsigned long long)passage);
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (a->segment[mid].first_passage <= passage)
			low = mid;
		else
			high = mid;
	}
	DS_TRY(ds_passages_read(a, low, err));
	s = &a->segment[low];
	for (first = s->first_extent, last = first + s->extents; last - first > 1;) {
		size_t mid = first + (last - first) / 2;

		if (a->extent[mid].first_passage <= passage)
			first = mid;
		else
			last = mid;
	}
	p_ret->member = a->extent[first].member;
	p_ret->start = s->span[passage - s->first_passage].start;
	p_ret->end = s->span[passage - s->first_passage].end;
	return DS_OK;
}

/* Embeddings are searched as they lie; sealed ones once they are opened. */
static enum ds_status vectors_in_place(struct ds_archive *a, uint32_t segment, struct ds_record *r,
				       struct ds_err *err)
{
	struct ds_buf *plain = &a->segment[segment].vectors;

	if (!a->seal && !r->sealed)
		return DS_OK;
	if (!plain->len)
		DS_TRY(ds_record_open(&a->map, a->seal, r, plain, err));
	r->bytes = plain->data;
	return DS_OK;
}

enum ds_status ds_archive_vectors(struct ds_archive *a, uint32_t segment,
				  struct ds_archive_vectors *v_ret, struct ds_err *err)
{
	uint64_t scale_bytes, row_bytes;
	struct ds_record r;
	const uint8_t *p;
	int found;

	*v_ret = (struct ds_archive_vectors){0};
	DS_TRY(ds_segment_record(a, segment, DS_RECORD_VECTORS, &r, &found, err));
	if (!found)
		return DS_OK;
	DS_TRY(vectors_in_place(a, segment, &r, err));
	p = r.bytes;
	if (r.coder != DS_CODER_STORED || r.stored < 24)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r.offset,
				  "embeddings that are packed or have no head");
	v_ret->bits = p[0];
	v_ret->dims = ds_get_u32(p + 4);
	v_ret->n = ds_get_u32(p + 16);
	if (v_ret->bits < 1 || v_ret->bits > DS_CODE_BITS_MAX)
		return ds_fail_at(err, DS_EUNSUPPORTED, a->map.path, r.offset,
				  "embeddings of %u bits, which this version does not know", p[0]);
	if (v_ret->dims != a->dims || ds_get_u64(p + 8) != a->model ||
	    v_ret->n != a->segment[segment].row.passages)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r.offset,
				  "embeddings do not fit the archive's directory");
	scale_bytes = ((uint64_t)v_ret->n * 2 + 7) & ~(uint64_t)7;
	row_bytes = (uint64_t)v_ret->n * ds_code_row_bytes(v_ret->bits, v_ret->dims);
	if (r.stored != 24 + scale_bytes + row_bytes)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r.offset,
				  "embeddings of %u bytes where %llu were expected", r.stored,
				  (unsigned long long)(24 + scale_bytes + row_bytes));
	v_ret->scale = p + 24;
	v_ret->rows = v_ret->scale + scale_bytes;
	return DS_OK;
}

unsigned ds_archive_bits(struct ds_archive *a)
{
	struct ds_archive_vectors v = {0};
	struct ds_err unused;

	for (size_t s = a->n_segments; s-- > 0 && !v.n;)
		if (ds_archive_vectors(a, (uint32_t)s, &v, &unused) != DS_OK)
			v.n = 0;
	return v.n ? v.bits : 0;
}

enum ds_status ds_archive_words(struct ds_archive *a, uint32_t segment, struct ds_buf *buf,
				struct ds_err *err)
{
	struct ds_record r;
	int found;

	DS_TRY(ds_segment_record(a, segment, DS_RECORD_WORDS, &r, &found, err));
	return found ? ds_record_unpack(&a->map, a->seal, &r, buf, err) : DS_OK;
}

/* The records tile the file between header and footer; old directories may have footers. */
static enum ds_status test_records(const struct ds_archive *a, struct ds_err *err)
{
	const uint64_t end = a->map.len - DS_ARCHIVE_FOOTER_BYTES;
	uint64_t at = DS_ARCHIVE_HEADER_BYTES, unused;
	struct ds_buf plain = {0};
	enum ds_status st = DS_OK;
	struct ds_record r;

	while (st == DS_OK && at < end) {
		st = ds_record_get(&a->map, at, end, &r, err);
		if (st == DS_OK)
			st = ds_record_open(&a->map, a->seal, &r, &plain, err);
		if (st != DS_OK)
			break;
		at = r.end;
		if (r.type == DS_RECORD_DIRECTORY && at < end) {
			at += DS_ARCHIVE_FOOTER_BYTES;
			st = ds_archive_footer_get(&a->map, at, &unused, err);
		}
	}
	ds_buf_fini(&plain);
	return st;
}

/* All text of a segment, in the order of its documents. */
static enum ds_status hash_segment(struct ds_archive *a, const struct ds_segment_entry *seg,
				   XXH3_state_t *hash, struct ds_err *err)
{
	const struct ds_extent_entry *e = a->extent + seg->first_extent, *end = e + seg->extents;

	XXH3_64bits_reset(hash);
	for (; e < end; e++) {
		const struct ds_member_entry *m = &a->member[e->member];

		a->ahead.member = e->member;
		a->ahead.end = m->first_use + m->uses;
		for (uint64_t i = e->first_use; i < e->first_use + e->pieces; i++) {
			const struct ds_stored_piece *p = &a->piece[a->use[i].piece];
			const uint8_t *text;
			enum ds_status st;

			a->ahead.use = i;
			st = ds_block_load(a, p->block, &text, err);
			if (st == DS_EFORMAT || st == DS_ECORRUPT)
				name_document(err, m->m.document.name);
			DS_TRY(st);
			XXH3_64bits_update(hash, text + p->offset, p->length);
		}
	}
	return DS_OK;
}

static enum ds_status test_text(struct ds_archive *a, struct ds_err *err)
{
	XXH3_state_t *hash = XXH3_createState();
	enum ds_status st = DS_OK;

	if (!hash)
		return ds_fail_nomem(err, 1);
	for (size_t s = 0; st == DS_OK && s < a->n_segments; s++) {
		const struct ds_segment_entry *seg = &a->segment[s];

		st = hash_segment(a, seg, hash, err);
		if (st == DS_OK && XXH3_64bits_digest(hash) != seg->hash)
			st = ds_fail_at(err, DS_ECORRUPT, a->map.path, seg->row.blocks_offset,
					"the documents of a segment do not have its checksum");
	}
	XXH3_freeState(hash);
	return st;
}

static enum ds_status test_words(struct ds_archive *a, uint32_t segment, struct ds_err *err)
{
	struct ds_words words;
	struct ds_buf raw = {0};
	enum ds_status st = ds_archive_words(a, segment, &raw, err);

	if (st == DS_OK && raw.len)
		st = ds_words_open(&words, raw.data, raw.len, err);
	if (st == DS_OK && raw.len && words.n_passages != a->segment[segment].row.passages)
		st = ds_fail(err, DS_EFORMAT, "an index of words for %u passages; there are %u",
			     words.n_passages, a->segment[segment].row.passages);
	if (st != DS_OK)
		ds_err_set_path(err, a->map.path);
	ds_buf_fini(&raw);
	return st;
}

static enum ds_status test_index(struct ds_archive *a, uint32_t segment, struct ds_err *err)
{
	struct ds_archive_vectors v;

	DS_TRY(ds_passages_read(a, segment, err));
	DS_TRY(ds_archive_vectors(a, segment, &v, err));
	return test_words(a, segment, err);
}

void ds_archive_plan(struct ds_archive *a, const uint8_t *planned)
{
	a->planned = planned;
}

enum ds_status ds_archive_test(struct ds_archive *a, struct ds_err *err)
{
	enum ds_status st;
	uint8_t *all;

	DS_TRY(test_records(a, err));
	for (uint32_t s = 0; s < a->n_segments; s++)
		DS_TRY(test_index(a, s, err));
	all = ds_alloc(a->n_members, 1);
	if (!all)
		return ds_fail_nomem(err, a->n_members);
	memset(all, 1, a->n_members);
	ds_archive_plan(a, all);
	st = test_text(a, err);
	ds_archive_plan(a, NULL);
	free(all);
	return st;
}
