/* writer.c - documents in, one after the other: what an archive being written takes */
#include "archive/writer.h"

#include <stdlib.h>
#include <string.h>

#include "archive/reader.h"

static enum ds_status check_options(const struct ds_archive_options *o, struct ds_err *err)
{
	if (o->level < 1 || o->level > DS_ARCHIVE_LEVEL_MAX)
		return ds_fail(err, DS_EINVAL, "compression level %d; 1 to %d are possible",
			       o->level, DS_ARCHIVE_LEVEL_MAX);
	if (o->block_bytes < DS_ARCHIVE_BLOCK_MIN || o->block_bytes > DS_ARCHIVE_BLOCK_MAX)
		return ds_fail(err, DS_EINVAL, "blocks of %u bytes; %u to %u are possible",
			       o->block_bytes, DS_ARCHIVE_BLOCK_MIN, DS_ARCHIVE_BLOCK_MAX);
	if (o->sealed && !o->secret)
		return ds_fail(err, DS_EINVAL, "an archive to be sealed without a secret");
	if (o->model && (o->dims == 0 || o->dims > DS_ARCHIVE_DIMS_MAX))
		return ds_fail(err, DS_EINVAL, "embeddings of %u dimensions; 1 to %d are possible",
			       o->dims, DS_ARCHIVE_DIMS_MAX);
	return DS_OK;
}

static enum ds_status writer_new(struct ds_archive_writer **w_ret,
				 const struct ds_archive_options *options, struct ds_err *err)
{
	const struct ds_block_encoder_options encoder = {
		.level = options->level,
		.threads = ds_pool_threads(options->pool),
		.strong = options->strong,
	};
	const struct ds_lm_options lm = {
		.path = options->lm,
		.context = options->lm_context,
		.pool = options->pool,
		.threads = 1,
	};
	struct ds_archive_writer *w;
	enum ds_status st;

	DS_TRY(check_options(options, err));
	w = ds_alloc_zero(1, sizeof *w);
	if (!w)
		return ds_fail_nomem(err, sizeof *w);
	w->options = *options;
	if (!w->options.bits)
		w->options.bits = options->lm ? DS_ARCHIVE_LM_BITS_DEFAULT
					      : DS_ARCHIVE_BITS_DEFAULT;
	w->names_size = 1024;
	w->names_seen = ds_alloc_zero(w->names_size, sizeof *w->names_seen);
	if (!w->options.segment_bytes)
		w->options.segment_bytes = DS_ARCHIVE_SEGMENT_DEFAULT;
	ds_seen_init(&w->seen);
	w->hash = XXH3_createState();
	st = w->names_seen && w->hash ? ds_block_encoder_new(&w->encoder, &encoder, err)
				      : ds_fail_nomem(err, w->names_size);
	if (st == DS_OK && options->lm)
		st = ds_lm_blocks_new(&w->lm, &lm, err);
	if (st == DS_OK && w->lm)
		w->lm_known = ds_lm_blocks_identity(w->lm);
	if (st != DS_OK)
		ds_archive_abort(w);
	else
		*w_ret = w;
	return st;
}

static enum ds_status open_output(struct ds_archive_writer *w, const char *path, struct ds_err *err)
{
	uint8_t header[DS_ARCHIVE_HEADER_BYTES] = {0};

	DS_TRY(ds_out_open(&w->out, path, err));
	w->out_open = 1;
	w->to = (struct ds_record_sink){&w->out, w->seal};
	ds_archive_header(header, w->seal != NULL);
	return ds_out_write(&w->out, header, sizeof header, err);
}

enum ds_status ds_archive_create(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err)
{
	struct ds_archive_writer *w;
	enum ds_status st;

	DS_TRY(writer_new(&w, options, err));
	st = options->sealed ? ds_seal_new(&w->seal, options->secret, err) : DS_OK;
	if (st == DS_OK)
		st = open_output(w, path, err);
	if (st == DS_OK)
		st = ds_lock_write(w, err);
	if (st != DS_OK)
		ds_archive_abort(w);
	else
		*w_ret = w;
	return st;
}

/* Put hash into the set; 0 when it was there. */
static int names_insert(uint64_t *set, size_t size, uint64_t hash)
{
	size_t i = hash & (size - 1);

	while (set[i]) {
		if (set[i] == hash)
			return 0;
		i = (i + 1) & (size - 1);
	}
	set[i] = hash;
	return 1;
}

enum ds_status ds_writer_name(struct ds_archive_writer *w, const char *name, size_t n,
			      struct ds_err *err)
{
	uint64_t hash = XXH3_64bits(name, n);

	if (w->n_names * 2 >= w->names_size) {
		size_t size = w->names_size * 2;
		uint64_t *grown = ds_alloc_zero(size, sizeof *grown);

		if (!grown)
			return ds_fail_nomem(err, size * sizeof *grown);
		for (size_t i = 0; i < w->names_size; i++)
			if (w->names_seen[i])
				names_insert(grown, size, w->names_seen[i]);
		free(w->names_seen);
		w->names_seen = grown;
		w->names_size = size;
	}
	if (!names_insert(w->names_seen, w->names_size, hash ? hash : 1)) {
		w->replaces = w->options.replace;
		if (w->replaces)
			return DS_OK;
		return ds_fail(err, DS_EINVAL, "'%.*s' is in the archive already",
			       n > 200 ? 200 : (int)n, name);
	}
	w->n_names++;
	return DS_OK;
}

/* Pieces of archive a by block. */
static int by_block(const void *x, const void *y, void *archive)
{
	const struct ds_archive *a = archive;
	const struct ds_stored_piece *p = &a->piece[*(const uint64_t *)x];
	const struct ds_stored_piece *q = &a->piece[*(const uint64_t *)y];

	if (p->block != q->block)
		return p->block < q->block ? -1 : 1;
	return (p->offset > q->offset) - (p->offset < q->offset);
}

/* Know the n pieces of number[], in this order, which are not to be stored again. */
static enum ds_status know_each(struct ds_archive_writer *w, struct ds_archive *a,
				const uint64_t *number, size_t n, struct ds_err *err)
{
	struct ds_old_piece old;
	uint64_t hash[2], known;
	const uint8_t *text;

	for (size_t i = 0; i < n; i++) {
		const struct ds_stored_piece *p = &a->piece[number[i]];

		DS_TRY(ds_block_load(a, p->block, &text, err));
		ds_seen_hash(&w->seen, text + p->offset, p->length, hash);
		DS_TRY(ds_seen_find(&w->seen, hash, number[i], &known, err));
		old = (struct ds_old_piece){
			.length = p->length,
			.number = number[i],
			.block = p->block,
			.depth = a->block[p->block].depth,
		};
		DS_TRY(ds_history_add(&w->history, text + p->offset, &old, err));
	}
	return DS_OK;
}

/* Know the newest pieces of a. */
static enum ds_status know_pieces(struct ds_archive_writer *w, struct ds_archive *a,
				  struct ds_err *err)
{
	size_t n = a->n_pieces < DS_SEEN_MAX / 2 ? a->n_pieces : DS_SEEN_MAX / 2;
	uint64_t *number = ds_alloc(n, sizeof *number);
	enum ds_status st;

	if (!number)
		return ds_fail_nomem(err, n * sizeof *number);
	for (size_t i = 0; i < n; i++)
		number[i] = a->n_pieces - n + i;
	qsort_r(number, n, sizeof *number, by_block, a);
	st = know_each(w, a, number, n, err);
	free(number);
	return st;
}

/* Take over what the archive a holds: its records as they are, and its directory. */
static enum ds_status adopt(struct ds_archive_writer *w, struct ds_archive *a, struct ds_err *err)
{
	const uint64_t n_members = ds_archive_members(a);

	DS_TRY(ds_lm_one(a, &w->lm_known, err));
	if (a->model && w->options.model && a->model != w->options.model)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "its embeddings are of another model (%016llx, not %016llx)",
				  (unsigned long long)a->model,
				  (unsigned long long)w->options.model);
	if (a->model && !w->options.model) {
		w->options.model = a->model;
		w->options.dims = a->dims;
	}
	for (uint64_t i = 0; i < n_members; i++) {
		const struct ds_document *d = &a->member[i].m.document;

		DS_TRY(ds_writer_name(w, d->name, d->name_len, err));
	}
	DS_TRY(ds_grow(&w->segment, &w->cap_segments, a->n_segments, sizeof *w->segment, err));
	DS_TRY(ds_grow(&w->dictionary, &w->cap_dictionaries, a->n_dictionaries,
		       sizeof *w->dictionary, err));
	for (size_t i = 0; i < a->n_segments; i++)
		w->segment[w->n_segments++] = a->segment[i].row;
	for (size_t i = 0; i < a->n_dictionaries; i++)
		w->dictionary[w->n_dictionaries++] = a->dictionary[i].offset;
	w->first_piece = a->n_pieces;
	w->first_block = a->n_blocks;
	DS_TRY(know_pieces(w, a, err));
	ds_archive_totals(a, &w->totals);
	return ds_out_write(&w->out, a->map.data + DS_ARCHIVE_HEADER_BYTES,
			    a->directory_offset - DS_ARCHIVE_HEADER_BYTES, err);
}

enum ds_status ds_archive_append(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err)
{
	struct ds_archive_options o = *options;
	struct ds_archive_writer *w;
	struct ds_archive *a;
	enum ds_status st;

	DS_TRY(ds_archive_open(&a, path, o.secret, err));
	ds_archive_set_lm(a, o.lm_old, o.pool ? ds_pool_threads(o.pool) : 1);
	o.bits = o.bits ? o.bits : ds_archive_bits(a);
	st = writer_new(&w, &o, err);
	if (st == DS_OK) {
		w->seal = a->seal;
		st = open_output(w, path, err);
		if (st == DS_OK)
			st = adopt(w, a, err);
		a->seal = NULL; /* it is the writer's */
		if (st != DS_OK)
			ds_archive_abort(w);
	}
	ds_archive_close(a);
	if (st == DS_OK)
		*w_ret = w;
	return st;
}

/* The extent of the document being written in the segment being filled. */
static struct ds_extent *current(struct ds_archive_writer *w)
{
	return &w->extent[w->n_extents - 1];
}

static enum ds_status extent_begin(struct ds_archive_writer *w, struct ds_err *err)
{
	DS_TRY(ds_grow(&w->extent, &w->cap_extents, w->n_extents + 1, sizeof *w->extent, err));
	w->extent[w->n_extents++] = (struct ds_extent){0};
	return DS_OK;
}

/* Close the segment; the document goes on in the next one. */
static enum ds_status next_segment(struct ds_archive_writer *w, struct ds_err *err)
{
	DS_TRY(ds_segment_close(w, err));
	return w->in_document ? extent_begin(w, err) : DS_OK;
}

enum ds_status ds_archive_embeddings(struct ds_archive_writer *w, uint64_t model, uint32_t dims,
				     struct ds_err *err)
{
	struct ds_archive_options *o = &w->options;

	if (o->model && (o->model != model || o->dims != dims))
		return ds_fail(err, DS_EINVAL,
			       "embeddings of model %016llx in an archive of model %016llx",
			       (unsigned long long)model, (unsigned long long)o->model);
	if (!o->model && w->n_passages)
		DS_TRY(next_segment(w, err));
	o->model = model;
	o->dims = dims;
	return check_options(o, err);
}

enum ds_status ds_archive_document(struct ds_archive_writer *w, const struct ds_document *d,
				   struct ds_err *err)
{
	struct ds_extent *e;

	if (w->in_document)
		return ds_fail(err, DS_EINVAL, "a document begins before the one before has ended");
	if (memchr(d->name, 0, d->name_len))
		return ds_fail(err, DS_EINVAL, "a name holds a NUL byte");
	DS_TRY(ds_writer_name(w, d->name, d->name_len, err));
	if (w->n_extents >= DS_SEGMENT_EXTENTS_MAX ||
	    w->names.len >= DS_SEGMENT_INDEX_BYTES_MAX / 4)
		DS_TRY(ds_segment_close(w, err));
	DS_TRY(extent_begin(w, err));
	e = current(w);
	e->flags = DS_EXTENT_BEGIN;
	e->name = w->names.len;
	e->name_len = d->name_len;
	e->mtime_ns = d->mtime_ns;
	e->mode = d->mode & 0777;
	w->in_document = 1;
	w->size = 0;
	w->last = (struct ds_span){0};
	w->overlap.len = 0;
	XXH3_64bits_reset(w->hash);
	return ds_buf_append(&w->names, d->name, d->name_len, err);
}

enum ds_status ds_archive_bytes(struct ds_archive_writer *w, const void *bytes, size_t n,
				struct ds_err *err)
{
	const uint8_t *p = bytes;

	if (!w->in_document)
		return ds_fail(err, DS_EINVAL, "bytes outside a document");
	while (n) {
		size_t take = w->options.segment_bytes - w->text.len;

		if (take > n)
			take = n;
		DS_TRY(ds_buf_append(&w->text, p, take, err));
		current(w)->bytes += take;
		XXH3_64bits_update(w->hash, p, take);
		w->size += take;
		w->totals.text_bytes += take;
		p += take;
		n -= take;
		if (w->text.len == w->options.segment_bytes)
			DS_TRY(next_segment(w, err));
	}
	return DS_OK;
}

/* Whether the chunk goes on where the bytes so far end, and repeats them truly. */
static enum ds_status check_overlap(const struct ds_archive_writer *w,
				    const struct ds_chunk_frame *c, struct ds_err *err)
{
	uint64_t repeated = w->size - c->start;

	if (c->start > w->size)
		return ds_fail(
			err, DS_EFORMAT,
			"chunk %llu begins at byte %llu, but the document is known to byte %llu",
			(unsigned long long)c->index, (unsigned long long)c->start,
			(unsigned long long)w->size);
	if (c->end < w->size || c->end < c->start || c->start < w->last.start)
		return ds_fail(
			err, DS_EFORMAT,
			"chunk %llu (bytes %llu to %llu) does not go beyond the chunk before",
			(unsigned long long)c->index, (unsigned long long)c->start,
			(unsigned long long)c->end);
	if (repeated &&
	    (repeated > w->overlap.len || w->last.end != w->size ||
	     memcmp(c->text, w->overlap.data + w->overlap.len - repeated, repeated) != 0))
		return ds_fail(err, DS_ECORRUPT,
			       "chunk %llu differs from the chunk before in the bytes they share",
			       (unsigned long long)c->index);
	return DS_OK;
}

/* An embedding as it is given: as numbers, or coded. */
struct embedding {
	const float *vector;
	const uint8_t *row;
	uint16_t scale;
};

static enum ds_status add_embedding(struct ds_archive_writer *w, const struct embedding *e,
				    struct ds_err *err)
{
	const uint32_t dims = w->options.dims;
	size_t n = ds_code_row_bytes(w->options.bits, dims);
	uint16_t scale = e->scale;

	DS_TRY(ds_buf_reserve(&w->rows, n, err));
	if (e->vector) {
		DS_TRY(ds_grow(&w->rotated, &w->cap_rotated, dims, sizeof *w->rotated, err));
		memcpy(w->rotated, e->vector, dims * sizeof *w->rotated);
		scale = ds_code_encode(w->options.bits, w->rotated, dims,
				       w->rows.data + w->rows.len);
	} else {
		memcpy(w->rows.data + w->rows.len, e->row, n);
	}
	w->rows.len += n;
	return ds_buf_append(&w->scales, &scale, sizeof scale, err);
}

/* Keep the chunk's span, embedding and words. */
static enum ds_status add_passage(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				  const struct embedding *e, struct ds_err *err)
{
	DS_TRY(ds_grow(&w->passage, &w->cap_passages, w->n_passages + 1, sizeof *w->passage, err));
	w->passage[w->n_passages++] = w->last;
	current(w)->passages++;
	w->totals.passages++;
	if (e)
		DS_TRY(add_embedding(w, e, err));
	if (w->options.words)
		DS_TRY(ds_words_add(&w->words, c->text, c->end - c->start, err));
	return DS_OK;
}

static enum ds_status add_chunk(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				const struct embedding *e, struct ds_err *err)
{
	const struct ds_archive_options *o = &w->options;

	if (!w->in_document)
		return ds_fail(err, DS_EINVAL, "a chunk outside a document");
	if (e && !o->model)
		return ds_fail(err, DS_EINVAL, "an embedding in an archive without any");
	DS_TRY(check_overlap(w, c, err));
	DS_TRY(ds_archive_bytes(w, c->text + (w->size - c->start), c->end - w->size, err));
	w->last = (struct ds_span){c->start, c->end};
	w->overlap.len = 0;
	DS_TRY(ds_buf_append(&w->overlap, c->text, c->end - c->start, err));
	if (e || (o->words && !o->model))
		DS_TRY(add_passage(w, c, e, err));
	if (w->n_passages >= DS_SEGMENT_PASSAGES_MAX || w->rows.len >= DS_SEGMENT_INDEX_BYTES_MAX)
		DS_TRY(next_segment(w, err));
	return DS_OK;
}

enum ds_status ds_archive_chunk(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				const float *vector, struct ds_err *err)
{
	struct embedding e = {.vector = vector};

	return add_chunk(w, c, vector ? &e : NULL, err);
}

enum ds_status ds_archive_chunk_coded(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				      const uint8_t *row, uint16_t scale, struct ds_err *err)
{
	struct embedding e = {.row = row, .scale = scale};

	return add_chunk(w, c, &e, err);
}

enum ds_status ds_archive_document_end(struct ds_archive_writer *w, const struct ds_document_end *d,
				       struct ds_err *err)
{
	uint64_t hash = XXH3_64bits_digest(w->hash);

	if (!w->in_document)
		return ds_fail(err, DS_EINVAL, "the end of a document that has not begun");
	if (d && d->size != w->size)
		return ds_fail(err, DS_EFORMAT, "the document has %llu bytes, its chunks %llu",
			       (unsigned long long)d->size, (unsigned long long)w->size);
	if (d && d->hash != hash)
		return ds_fail(err, DS_ECORRUPT,
			       "the chunks do not join to the document: hash %016llx, not %016llx",
			       (unsigned long long)hash, (unsigned long long)d->hash);
	current(w)->flags |= DS_EXTENT_END;
	w->in_document = 0;
	w->totals.documents++;
	return DS_OK;
}

static int same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

enum ds_archive_file ds_archive_is_output(const struct ds_archive_writer *w,
					  const struct stat *file)
{
	struct stat st;

	if (fstat(w->out.fd, &st) == 0 && same_file(&st, file))
		return DS_ARCHIVE_NEW_FILE;
	if (w->out.path && stat(w->out.path, &st) == 0 && same_file(&st, file))
		return DS_ARCHIVE_OLD_FILE;
	return DS_ARCHIVE_NO_FILE;
}

enum ds_status ds_archive_commit(struct ds_archive_writer *w, struct ds_archive_totals *totals_ret,
				 struct ds_err *err)
{
	enum ds_status st = DS_OK;

	if (w->in_document)
		st = ds_fail(err, DS_EINVAL, "the last document has no end");
	w->committing = 1;
	if (st == DS_OK)
		st = ds_segment_close(w, err);
	if (st == DS_OK)
		st = ds_directory_write(w, err);
	w->totals.file_bytes = w->out.written;
	if (st == DS_OK && w->replaces) {
		st = ds_writer_replace(w, &w->totals, err);
	} else if (st == DS_OK) {
		st = ds_out_commit(&w->out, err);
		w->out_open = 0;
	}
	if (totals_ret)
		*totals_ret = w->totals;
	ds_archive_abort(w);
	return st;
}

void ds_archive_abort(struct ds_archive_writer *w)
{
	if (!w)
		return;
	if (w->out_open)
		ds_out_abort(&w->out);
	ds_seal_free(w->seal);
	ds_block_encoder_free(w->encoder);
	ds_lm_blocks_free(w->lm);
	ds_layout_fini(&w->layout);
	ds_seen_fini(&w->seen);
	ds_history_fini(&w->history);
	XXH3_freeState(w->hash);
	ds_buf_fini(&w->text);
	ds_buf_fini(&w->names);
	ds_buf_fini(&w->rows);
	ds_buf_fini(&w->scales);
	ds_words_builder_fini(&w->words);
	free(w->rotated);
	ds_buf_fini(&w->overlap);
	free(w->extent);
	free(w->passage);
	free(w->segment);
	free(w->dictionary);
	free(w->names_seen);
	free(w);
}
