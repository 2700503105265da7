/* find.c - adding to a collection, and the best passages for a query */
#include "find/find.h"

#include <stdlib.h>
#include <string.h>

#include "archive/archive.h"
#include "find/collection.h"
#include "frame/frame.h"

enum ds_status ds_find_new(struct ds_find **f_ret, const struct ds_find_options *options,
			   struct ds_err *err)
{
	struct ds_find *f = ds_alloc_zero(1, sizeof *f);
	enum ds_status st;

	if (!f)
		return ds_fail_nomem(err, sizeof *f);
	f->options = *options;
	f->dims = ds_model_dims(options->model);
	st = ds_kern_choose(&f->kern, err);
	if (st == DS_OK)
		st = ds_embedder_new(&f->embedder, options->model, options->pool, err);
	if (st != DS_OK) {
		ds_find_free(f);
		return st;
	}
	*f_ret = f;
	return DS_OK;
}

static void document_fini(struct find_document *d)
{
	ds_buf_fini(&d->text);
	free(d->name);
}

static void archive_drop(struct ds_find *f, size_t n_archive, size_t n_segment)
{
	while (f->n_segment > n_segment)
		ds_buf_fini(&f->segment[--f->n_segment].index);
	while (f->n_archive > n_archive)
		ds_archive_close(f->archive[--f->n_archive].archive);
}

void ds_find_free(struct ds_find *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_document; i++)
		document_fini(&f->document[i]);
	archive_drop(f, 0, 0);
	ds_words_builder_fini(&f->builder);
	ds_chunker_free(f->chunker);
	ds_embedder_free(f->embedder);
	free(f->document);
	free(f->passage);
	free(f->vector);
	free(f->archive);
	free(f->segment);
	free(f);
}

static enum ds_status add_stream(struct ds_find *f, const char *path, struct ds_in *in,
				 struct ds_err *err)
{
	const uint8_t *first;
	size_t got;

	DS_TRY(ds_in_peek(in, 64, &first, &got, err));
	if (ds_archive_probe(first, got))
		return ds_find_add_archive(f, path, in, err);
	if (ds_frame_probe(first, got))
		return ds_find_add_frames(f, in, err);
	return ds_find_add_text(f, path, in, err);
}

enum ds_status ds_find_add(struct ds_find *f, const char *path, struct ds_err *err)
{
	size_t documents = f->n_document, passages = f->n_passage, archives = f->n_archive;
	size_t segments = f->n_segment;
	struct ds_find_stats stats = f->stats;
	struct ds_in in;
	enum ds_status st;

	DS_TRY(ds_in_open(&in, path, err));
	st = add_stream(f, path, &in, err);
	ds_in_close(&in);
	if (st == DS_OK) {
		f->stats.documents += f->n_document - documents;
		f->stats.passages += f->n_passage - passages;
		return DS_OK;
	}
	ds_err_set_path(err, strcmp(path, "-") == 0 ? "(stdin)" : path);
	while (f->n_document > documents)
		document_fini(&f->document[--f->n_document]);
	f->n_passage = passages;
	ds_words_truncate(&f->builder, passages);
	archive_drop(f, archives, segments);
	f->stats = stats;
	return st;
}

void ds_find_stats(const struct ds_find *f, struct ds_find_stats *stats_ret)
{
	*stats_ret = f->stats;
}

static enum ds_status read_file(const char *path, uint64_t start, uint64_t end, struct ds_buf *buf,
				struct ds_err *err)
{
	struct ds_map map;
	enum ds_status st;

	DS_TRY(ds_map_open(&map, path, err));
	if (end > map.len)
		st = ds_fail_at(err, DS_EIO, path, map.len, "has become shorter while searched");
	else
		st = ds_buf_append(buf, map.data + start, end - start, err);
	ds_map_close(&map);
	return st;
}

enum ds_status ds_find_locate(struct ds_find *f, const struct ds_search_hit *h,
			      uint64_t *member_ret, uint64_t *start_ret, uint64_t *end_ret,
			      struct ds_err *err)
{
	struct ds_archive_passage p;

	if (h->segment == f->n_segment) {
		const struct find_passage *passage = &f->passage[h->passage];

		*member_ret = passage->document;
		*start_ret = passage->start;
		*end_ret = passage->end;
		return DS_OK;
	}
	DS_TRY(ds_archive_passage(f->archive[f->segment[h->segment].archive].archive,
				  f->segment[h->segment].first_passage + h->passage, &p, err));
	*member_ret = p.member;
	*start_ret = p.start;
	*end_ret = p.end;
	return DS_OK;
}

enum ds_status ds_find_read(struct ds_find *f, const struct ds_search_hit *h, uint64_t start,
			    uint64_t end, struct ds_buf *buf, struct ds_err *err)
{
	uint64_t member, unused;

	DS_TRY(ds_find_locate(f, h, &member, &unused, &unused, err));
	if (h->segment < f->n_segment)
		return ds_archive_read(f->archive[f->segment[h->segment].archive].archive, member,
				       start, end, buf, err);
	if (f->document[member].path)
		return read_file(f->document[member].path, start, end, buf, err);
	return ds_buf_append(buf, f->document[member].text.data + start, end - start, err);
}

static uint64_t count_lines(const uint8_t *p, size_t n)
{
	uint64_t lines = 0;
	const uint8_t *end = p + n;

	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		lines++;
		p++;
	}
	return lines;
}

static int is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The text of a hit without the white space at its ends, and its line. */
static enum ds_status tell_text(struct ds_find *f, const struct ds_search_hit *h,
				struct ds_find_hit *out, struct ds_err *err)
{
	struct ds_buf before = {0};
	enum ds_status st;
	size_t skip = 0;

	DS_TRY(ds_find_read(f, h, out->start, out->end, &out->text, err));
	while (skip < out->text.len && is_space(out->text.data[skip]))
		skip++;
	while (out->text.len > skip && is_space(out->text.data[out->text.len - 1]))
		out->text.len--;
	ds_buf_consume(&out->text, skip);
	out->start += skip;
	out->end = out->start + out->text.len;
	st = ds_find_read(f, h, 0, out->start, &before, err);
	if (st == DS_OK)
		out->line = 1 + (before.len ? count_lines(before.data, before.len) : 0);
	ds_buf_fini(&before);
	return st;
}

static enum ds_status tell(struct ds_find *f, const struct ds_search_hit *h,
			   struct ds_find_hit *out, struct ds_err *err)
{
	uint64_t member;

	DS_TRY(ds_find_locate(f, h, &member, &out->start, &out->end, err));
	out->score = h->score;
	out->meaning = h->meaning;
	out->words = h->words;
	if (h->segment < f->n_segment) {
		const struct find_archive *a = &f->archive[f->segment[h->segment].archive];
		struct ds_archive_member m;

		DS_TRY(ds_archive_member(a->archive, member, &m, err));
		out->archive = a->path;
		out->name = m.document.name;
		out->name_len = m.document.name_len;
	} else {
		const struct find_document *d = &f->document[member];

		out->name = d->name ? d->name : d->path ? d->path : "";
		out->name_len = strlen(out->name);
	}
	return tell_text(f, h, out, err);
}

enum ds_status ds_find_query(struct ds_find *f, const char *text, size_t k,
			     struct ds_find_hits *hits, struct ds_err *err)
{
	float *vector = ds_alloc(f->dims, sizeof *vector);
	struct ds_part part = {text, strlen(text)};
	struct ds_search_hits found = {0};
	enum ds_status st = vector ? DS_OK : ds_fail_nomem(err, f->dims * sizeof *vector);

	*hits = (struct ds_find_hits){0};
	if (st == DS_OK && f->options.mode != DS_SEARCH_WORDS)
		st = ds_embed(f->embedder, &part, 1, vector, err);
	if (st == DS_OK)
		st = ds_find_search(f, text, vector, k, &found, err);
	if (st == DS_OK) {
		hits->hit = ds_alloc_zero(k, sizeof *hits->hit);
		if (!hits->hit)
			st = ds_fail_nomem(err, k * sizeof *hits->hit);
	}
	for (size_t i = 0; st == DS_OK && i < found.n && i < k; i++) {
		hits->n++;
		st = tell(f, &found.hit[i], &hits->hit[i], err);
	}
	if (st != DS_OK)
		ds_find_hits_fini(hits);
	ds_search_hits_fini(&found);
	free(vector);
	return st;
}

void ds_find_hits_fini(struct ds_find_hits *hits)
{
	for (size_t i = 0; i < hits->n; i++)
		ds_buf_fini(&hits->hit[i].text);
	free(hits->hit);
	*hits = (struct ds_find_hits){0};
}
