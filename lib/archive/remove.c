/*
 * remove.c - an archive without some of its members
 *
 * Segments that share a document or a piece stand and fall together.  Those of a removed member are
 * opened: what remains of them is given to the writer again.  The others are copied as they lie.
 */
#include <stdlib.h>
#include <string.h>

#include "archive/reader.h"
#include "search/codes.h"
#include "base/cursor.h"

struct removal {
	struct ds_archive *a;
	struct ds_archive_writer *w;
	const uint8_t *removed; /* [members] */
	size_t *together;     /* [segments] one that it stands with, itself at the end of a chain */
	uint8_t *opened;      /* [segments] by ends of chains */
	uint32_t *dictionary; /* [dictionaries] number in the new archive, 0: not there yet */
	struct ds_buf text;
	uint8_t *row;  /* a coded embedding */
	float *vector; /* [dims] */
	struct ds_err *err;
};

static size_t segment_of_piece(const struct ds_archive *a, uint64_t piece)
{
	size_t low = 0, high = a->n_segments;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (a->segment[mid].first_piece <= piece)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static size_t chain_end(const struct removal *r, size_t s)
{
	while (r->together[s] != s)
		s = r->together[s];
	return s;
}

/* Join all segments from s to t: numbers of pieces count through them. */
static void join(const struct removal *r, size_t s, size_t t)
{
	for (; s < t; s++)
		r->together[chain_end(r, s)] = chain_end(r, t);
}

/* The first segment that segment s has anything of: the beginning of its first document, a piece,
 * the dictionary. */
static size_t first_needed(const struct ds_archive *a, size_t s)
{
	const struct ds_segment_entry *seg = &a->segment[s];
	const struct ds_extent_entry *e = a->extent + seg->first_extent;
	size_t first = s;

	if (seg->extents && e->start > 0 && s > 0)
		first = s - 1;
	for (uint64_t i = 0; i < seg->extents; i++, e++) {
		for (uint64_t k = 0; k < e->pieces; k++) {
			size_t of = segment_of_piece(a, a->use[e->first_use + k].piece);

			first = of < first ? of : first;
		}
	}
	for (uint64_t i = 0; i < seg->blocks; i++) {
		const struct ds_block *b = &a->block[seg->first_block + i];

		for (uint32_t k = 0; k < b->references; k++) {
			size_t of = segment_of_piece(a, a->reference[b->first_reference + k]);

			first = of < first ? of : first;
		}
	}
	while (seg->row.dictionary && first > 0 &&
	       a->dictionary[seg->row.dictionary - 1].offset < a->segment[first].row.blocks_offset)
		first--;
	return first;
}

static void join_segments(const struct removal *r)
{
	for (size_t s = 0; s < r->a->n_segments; s++)
		r->together[s] = s;
	for (size_t s = 0; s < r->a->n_segments; s++)
		join(r, first_needed(r->a, s), s);
}

static void open_segments(const struct removal *r)
{
	const struct ds_archive *a = r->a;

	for (size_t s = 0; s < a->n_segments; s++)
		for (uint64_t i = 0; i < a->segment[s].extents; i++)
			if (r->removed[a->extent[a->segment[s].first_extent + i].member])
				r->opened[chain_end(r, s)] = 1;
}

/* Give a passage of this segment to the writer with its embedding, which stays as it is unless the
 * new archive is of other bits. */
static enum ds_status put_chunk(struct removal *r, size_t s, uint64_t passage,
				const struct ds_chunk_frame *c)
{
	struct ds_archive_vectors v;
	uint16_t scale;
	size_t i;

	DS_TRY(ds_archive_vectors(r->a, (uint32_t)s, &v, r->err));
	if (!v.n)
		return ds_archive_chunk(r->w, c, NULL, r->err);
	i = passage - r->a->segment[s].first_passage;
	scale = ds_get_u16(v.scale + 2 * i);
	ds_code_row(v.rows, v.n, ds_code_row_bytes(v.bits, v.dims), i, r->row);
	if (v.bits == r->w->options.bits)
		return ds_archive_chunk_coded(r->w, c, r->row, scale, r->err);
	ds_code_decode(v.bits, r->row, scale, v.dims, r->vector);
	return ds_archive_chunk(r->w, c, r->vector, r->err);
}

/* Bytes [start, end) of a member into r->text. */
static enum ds_status get_text(struct removal *r, uint64_t member, uint64_t start, uint64_t end)
{
	r->text.len = 0;
	return ds_archive_read(r->a, member, start, end, &r->text, r->err);
}

static enum ds_status put_bytes(struct removal *r, uint64_t member, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t n = end - start < DS_BLOCK_BYTES_MAX ? end - start : DS_BLOCK_BYTES_MAX;

		DS_TRY(get_text(r, member, start, start + n));
		DS_TRY(ds_archive_bytes(r->w, r->text.data, n, r->err));
		start += n;
	}
	return DS_OK;
}

/* The passages of one extent, and the bytes before and between them; *size_io: bytes put so far. */
static enum ds_status put_passages(struct removal *r, size_t s, const struct ds_extent_entry *e,
				   uint64_t *size_io)
{
	struct ds_archive_passage p;

	enum ds_status st = DS_OK;
	struct ds_err damage;

	if (e->passages)
		st = ds_passages_read(r->a, s, &damage);
	if (st != DS_OK && (!r->a->salvaged || st == DS_ENOMEM)) {
		if (r->err)
			*r->err = damage;
		return st;
	}
	/* of a salvaged archive they may be lost, or be those of what has lost its beginning */
	for (uint32_t i = 0; st == DS_OK && i < e->passages; i++) {
		struct ds_chunk_frame c = {.index = i};

		DS_TRY(ds_archive_passage(r->a, e->first_passage + i, &p, r->err));
		if (p.start > *size_io)
			DS_TRY(put_bytes(r, e->member, *size_io, p.start));
		DS_TRY(get_text(r, e->member, p.start, p.end));
		c.start = p.start;
		c.end = p.end;
		c.text = r->text.data ? r->text.data : (const uint8_t *)"";
		DS_TRY(put_chunk(r, s, e->first_passage + i, &c));
		*size_io = p.end;
	}
	return DS_OK;
}

/* Give the document that begins in this extent, and goes on in those after it, to the writer. */
static enum ds_status put_document(struct removal *r, size_t s, uint64_t extent)
{
	const struct ds_archive *a = r->a;
	const uint64_t member = a->extent[extent].member;
	const struct ds_archive_member *m = &a->member[member].m;
	uint64_t size = 0;

	DS_TRY(ds_archive_document(r->w, &m->document, r->err));
	for (; extent < a->n_extents && a->extent[extent].member == member; extent++) {
		while (extent >= a->segment[s].first_extent + a->segment[s].extents)
			s++;
		DS_TRY(put_passages(r, s, &a->extent[extent], &size));
	}
	DS_TRY(put_bytes(r, member, size, m->document.size));
	return ds_archive_document_end(r->w, NULL, r->err);
}

static enum ds_status put_segment(struct removal *r, size_t s)
{
	const struct ds_archive *a = r->a;
	const struct ds_segment_entry *seg = &a->segment[s];

	for (uint64_t i = seg->first_extent; i < seg->first_extent + seg->extents; i++) {
		const struct ds_extent_entry *e = &a->extent[i];
		int goes_on = i > 0 && a->extent[i - 1].member == e->member;

		if (!goes_on && !r->removed[e->member])
			DS_TRY(put_document(r, s, i));
	}
	return DS_OK;
}

static enum ds_status rewrite(struct removal *r)
{
	struct ds_archive *a = r->a;

	r->together = ds_alloc(a->n_segments, sizeof *r->together);
	r->opened = ds_alloc_zero(a->n_segments, 1);
	r->dictionary = ds_alloc_zero(a->n_dictionaries, sizeof *r->dictionary);
	r->vector = ds_alloc(a->dims, sizeof *r->vector);
	r->row = ds_alloc(ds_code_row_bytes(DS_CODE_BITS_MAX, a->dims), 1);
	if (!r->together || !r->opened || !r->dictionary || !r->vector || !r->row)
		return ds_fail_nomem(r->err, a->n_segments * sizeof *r->together);
	join_segments(r);
	if (a->salvaged)
		memset(r->opened, 1, a->n_segments);
	else
		open_segments(r);
	for (size_t s = 0; s < a->n_segments; s++) {
		if (r->opened[chain_end(r, s)])
			DS_TRY(put_segment(r, s));
		else
			DS_TRY(ds_segment_copy(r->w, a, s, r->dictionary, r->err));
	}
	return DS_OK;
}

enum ds_status ds_archive_remove(struct ds_archive *a, const char *path, const uint8_t *removed,
				 const struct ds_archive_options *options,
				 struct ds_archive_totals *totals_ret, struct ds_err *err)
{
	struct removal r = {.a = a, .removed = removed, .err = err};
	struct ds_archive_options o = *options;
	enum ds_status st;

	o.model = a->model;
	o.dims = a->dims;
	o.words = a->totals.word_bytes > 0;
	o.sealed = a->seal != NULL;
	o.bits = o.bits ? o.bits : ds_archive_bits(a);
	DS_TRY(ds_archive_create(&r.w, path, &o, err));
	st = rewrite(&r);
	free(r.together);
	free(r.opened);
	free(r.dictionary);
	free(r.vector);
	free(r.row);
	ds_buf_fini(&r.text);
	if (st == DS_OK)
		return ds_archive_commit(r.w, totals_ret, err);
	ds_archive_abort(r.w);
	return st;
}
