/* join.c - segments of one archive in another, as they lie; documents in the place of others */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "archive/reader.h"

/* Names and figures of a copied segment. */
static enum ds_status adopt_documents(struct ds_archive_writer *w, const struct ds_archive *a,
				      size_t s, struct ds_err *err)
{
	const struct ds_segment_entry *seg = &a->segment[s];
	struct ds_archive_totals *t = &w->totals;

	for (uint64_t i = seg->first_extent; i < seg->first_extent + seg->extents; i++) {
		const struct ds_extent_entry *e = &a->extent[i];
		const struct ds_document *d = &a->member[e->member].m.document;

		t->text_bytes += e->bytes;
		if (i > 0 && a->extent[i - 1].member == e->member)
			continue;
		DS_TRY(ds_writer_name(w, d->name, d->name_len, err));
		t->documents++;
	}
	t->passages += seg->row.passages;
	for (uint64_t i = 0; i < seg->blocks; i++) {
		const struct ds_block *b = &a->block[seg->first_block + i];
		struct ds_record block;

		DS_TRY(ds_record_get(&a->map, b->offset, a->directory_offset, &block, err));
		ds_record_count(&block, t);
	}
	w->first_piece += seg->pieces;
	w->first_block += seg->blocks;
	return DS_OK;
}

/* A segment on its way. */
struct copy {
	struct ds_archive_writer *w;
	const struct ds_archive *a;
	struct ds_segment_row row; /* in the writer's file */
	uint32_t *dictionary;	   /* [a->n_dictionaries] */
	struct ds_err *err;
};

/* What is said of the record at offset old is of the one at offset now; dictionaries that lie
 * between the blocks of a segment move with them. */
static enum ds_status moved(struct copy *c, uint64_t old, uint64_t now)
{
	struct ds_archive_writer *w = c->w;

	for (uint32_t i = 0; i < c->row.n_records; i++)
		if (c->row.record[i].offset == old)
			c->row.record[i].offset = now;
	for (size_t i = 0; i < c->a->n_dictionaries; i++) {
		if (c->a->dictionary[i].offset != old)
			continue;
		DS_TRY(ds_grow(&w->dictionary, &w->cap_dictionaries, w->n_dictionaries + 1,
			       sizeof *w->dictionary, c->err));
		w->dictionary[w->n_dictionaries++] = now;
		c->dictionary[i] = (uint32_t)w->n_dictionaries;
	}
	return DS_OK;
}

/* The records between two places, sealed anew where a seal is; damage is not copied. */
static enum ds_status copy_records(struct copy *c, uint64_t at, uint64_t end)
{
	const struct ds_archive *a = c->a;
	struct ds_buf plain = {0};
	enum ds_status st = DS_OK;
	struct ds_record r;

	while (st == DS_OK && at < end) {
		st = ds_record_get(&a->map, at, end, &r, c->err);
		if (st == DS_OK)
			st = ds_record_open(&a->map, a->seal, &r, &plain, c->err);
		at = r.end;
		if (st == DS_OK && r.type != DS_RECORD_LOCK)
			st = moved(c, r.offset, c->w->out.written);
		if (st == DS_OK && r.type != DS_RECORD_LOCK)
			st = ds_record_write(&c->w->to, &r, c->err);
	}
	ds_buf_fini(&plain);
	return st;
}

enum ds_status ds_segment_copy(struct ds_archive_writer *w, const struct ds_archive *a, size_t s,
			       uint32_t *dictionary, struct ds_err *err)
{
	struct copy c = {w, a, a->segment[s].row, dictionary, err};
	const uint64_t from = c.row.blocks_offset;
	struct ds_record last;

	DS_TRY(ds_segment_close(w, err));
	c.row.blocks_offset = w->out.written;
	for (uint32_t i = 0; i < c.row.n_records; i++) {
		DS_TRY(ds_record_get(&a->map, c.row.record[i].offset, a->directory_offset, &last,
				     err));
		ds_record_count(&last, &w->totals);
	}
	DS_TRY(copy_records(&c, from, last.end));
	if (c.row.dictionary)
		c.row.dictionary = dictionary[c.row.dictionary - 1];
	DS_TRY(ds_grow(&w->segment, &w->cap_segments, w->n_segments + 1, sizeof c.row, err));
	w->segment[w->n_segments++] = c.row;
	return adopt_documents(w, a, s, err);
}

enum ds_status ds_archive_join(struct ds_archive_writer *w, const struct ds_archive *a,
			       struct ds_err *err)
{
	uint32_t *dictionary;
	enum ds_status st = DS_OK;

	if (a->model && w->options.model && a->model != w->options.model)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "its embeddings are of another model (%016llx, not %016llx)",
				  (unsigned long long)a->model,
				  (unsigned long long)w->options.model);
	DS_TRY(ds_lm_one(a, &w->lm_known, err));
	if (a->model) {
		w->options.model = a->model;
		w->options.dims = a->dims;
	}
	dictionary = ds_alloc_zero(a->n_dictionaries, sizeof *dictionary);
	if (!dictionary)
		return ds_fail_nomem(err, a->n_dictionaries * sizeof *dictionary);
	for (size_t s = 0; st == DS_OK && s < a->n_segments; s++)
		st = ds_segment_copy(w, a, s, dictionary, err);
	free(dictionary);
	if (st != DS_OK)
		ds_err_set_path(err, a->map.path);
	return st;
}

/* A member by its name. */
struct named {
	const struct ds_document *d;
	uint64_t hash, member;
};

static int by_name(const void *x, const void *y)
{
	const struct named *p = x, *q = y;

	if (p->hash != q->hash)
		return p->hash < q->hash ? -1 : 1;
	return p->member < q->member ? -1 : 1;
}

/* Set removed[] for members of whose name another one comes later. */
static enum ds_status find_replaced(const struct ds_archive *a, uint8_t *removed,
				    struct ds_err *err)
{
	const size_t n = a->n_members;
	struct named *name = ds_alloc(n, sizeof *name);

	if (!name)
		return ds_fail_nomem(err, n * sizeof *name);
	for (size_t i = 0; i < n; i++) {
		const struct ds_document *d = &a->member[i].m.document;

		name[i] = (struct named){d, XXH3_64bits(d->name, d->name_len), i};
	}
	qsort(name, n, sizeof *name, by_name);
	for (size_t i = 0; i + 1 < n; i++)
		if (name[i].hash == name[i + 1].hash)
			removed[name[i].member] = 1;
	free(name);
	return DS_OK;
}

enum ds_status ds_writer_replace(struct ds_archive_writer *w, struct ds_archive_totals *totals_ret,
				 struct ds_err *err)
{
	struct ds_archive_options o = w->options;
	struct ds_archive *a;
	uint8_t *removed;
	enum ds_status st;

	o.bits = 0;
	o.replace = 0;
	DS_TRY(ds_out_flush(&w->out, err));
	DS_TRY(ds_archive_open(&a, w->out.temporary, o.secret, err));
	ds_archive_set_lm(a, o.lm_old, o.pool ? ds_pool_threads(o.pool) : 1);
	removed = ds_alloc_zero(a->n_members, 1);
	st = removed ? find_replaced(a, removed, err) : ds_fail_nomem(err, a->n_members);
	if (st == DS_OK)
		st = ds_archive_remove(a, w->out.path, removed, &o, totals_ret, err);
	free(removed);
	ds_archive_close(a);
	return st;
}
