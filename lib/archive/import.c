/* import.c - files, folders and streams into an archive */
#include "archive/import.h"

#include <errno.h>
#include <fts.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/extract.h"
#include "base/half.h"
#include "base/utf8.h"
#include "chunk/chunk.h"

#define BATCH 256
#define BATCH_BYTES ((size_t)1 << 20)
#define READ_BYTES ((size_t)256 << 10)

/* A chunk that waits for its embedding, ours or its producer's. */
struct queued {
	struct ds_chunk_frame chunk;
	size_t text; /* offset in the batch's bytes */
	int embedded;
};

struct ds_import {
	struct ds_import_options o;
	uint64_t bytes;
	uint8_t *buffer; /* [READ_BYTES] */

	struct queued queue[BATCH];
	size_t n_queue;
	struct ds_buf text;
	float *vectors, *fresh; /* [BATCH][dims] */
	uint32_t dims;		/* 0: not known yet */

	struct ds_model *model; /* NULL until it is needed */
	struct ds_embedder *embedder;
	struct ds_chunker *chunker;
};

enum ds_status ds_import_new(struct ds_import **im_ret, const struct ds_import_options *options,
			     struct ds_err *err)
{
	struct ds_import *im = ds_alloc_zero(1, sizeof *im);

	if (!im)
		return ds_fail_nomem(err, sizeof *im);
	im->o = *options;
	im->buffer = ds_alloc(READ_BYTES, 1);
	if (!im->buffer) {
		ds_import_free(im);
		return ds_fail_nomem(err, READ_BYTES);
	}
	*im_ret = im;
	return DS_OK;
}

void ds_import_free(struct ds_import *im)
{
	if (!im)
		return;
	ds_chunker_free(im->chunker);
	ds_embedder_free(im->embedder);
	ds_model_close(im->model);
	ds_buf_fini(&im->text);
	free(im->vectors);
	free(im->fresh);
	free(im->buffer);
	free(im);
}

uint64_t ds_import_bytes(const struct ds_import *im)
{
	return im->bytes;
}

static void count_bytes(struct ds_import *im, uint64_t n)
{
	im->bytes += n;
	if (im->o.progress)
		im->o.progress(im->o.user, im->bytes);
}

static enum ds_status use_embeddings(struct ds_import *im, uint64_t model, uint32_t dims,
				     struct ds_err *err)
{
	DS_TRY(ds_archive_embeddings(im->o.writer, model, dims, err));
	if (im->dims)
		return DS_OK;
	im->vectors = ds_alloc(BATCH * (size_t)dims, sizeof *im->vectors);
	im->fresh = ds_alloc(BATCH * (size_t)dims, sizeof *im->fresh);
	if (!im->vectors || !im->fresh)
		return ds_fail_nomem(err, BATCH * (uint64_t)dims * sizeof *im->vectors);
	im->dims = dims;
	return DS_OK;
}

static enum ds_status open_model(struct ds_import *im, struct ds_err *err)
{
	if (im->embedder)
		return DS_OK;
	if (!im->model)
		DS_TRY(ds_model_open(&im->model, im->o.model, err));
	return ds_embedder_new(&im->embedder, im->model, im->o.pool, err);
}

/* Embed what came without an embedding. */
static enum ds_status embed_queue(struct ds_import *im, struct ds_err *err)
{
	struct ds_part part[BATCH];
	size_t n = 0, k = 0;

	for (size_t i = 0; i < im->n_queue; i++) {
		const struct queued *q = &im->queue[i];

		if (!q->embedded)
			part[n++] = (struct ds_part){im->text.data + q->text,
						     q->chunk.end - q->chunk.start};
	}
	if (n == 0)
		return DS_OK;
	DS_TRY(open_model(im, err));
	DS_TRY(use_embeddings(im, ds_model_id(im->model), ds_model_dims(im->model), err));
	DS_TRY(ds_embed(im->embedder, part, n, im->fresh, err));
	for (size_t i = 0; i < im->n_queue; i++)
		if (!im->queue[i].embedded)
			memcpy(im->vectors + i * im->dims, im->fresh + k++ * im->dims,
			       im->dims * sizeof *im->vectors);
	return DS_OK;
}

/* Give the queued chunks to the archive. */
static enum ds_status flush(struct ds_import *im, struct ds_err *err)
{
	if (im->o.index)
		DS_TRY(embed_queue(im, err));
	for (size_t i = 0; i < im->n_queue; i++) {
		struct queued *q = &im->queue[i];

		q->chunk.text = im->text.data + q->text;
		DS_TRY(ds_archive_chunk(im->o.writer, &q->chunk,
					im->o.index ? im->vectors + i * im->dims : NULL, err));
	}
	im->n_queue = im->text.len = 0;
	return DS_OK;
}

static enum ds_status queue_chunk(struct ds_import *im, const struct ds_chunk_frame *c,
				  struct ds_err *err)
{
	if (im->n_queue == BATCH || im->text.len >= BATCH_BYTES)
		DS_TRY(flush(im, err));
	im->queue[im->n_queue++] = (struct queued){*c, im->text.len, 0};
	return ds_buf_append(&im->text, c->text, c->end - c->start, err);
}

static void to_f32(const struct ds_embedding_frame *e, float *out)
{
	float sum = 0;

	for (uint32_t i = 0; i < e->dims; i++) {
		if (e->type == DS_VECTOR_F32)
			out[i] = ((const float *)e->data)[i];
		else if (e->type == DS_VECTOR_F16)
			out[i] = ds_f16_to_f32(((const uint16_t *)e->data)[i]);
		else
			out[i] = e->scale * ((const int8_t *)e->data)[i];
		sum += out[i] * out[i];
	}
	if (e->normalised || !(sum > 0))
		return;
	for (uint32_t i = 0; i < e->dims; i++)
		out[i] /= sqrtf(sum);
}

static enum ds_status take_embedding(struct ds_import *im, const struct ds_frame *frame,
				     struct ds_err *err)
{
	struct ds_embedding_frame e;

	DS_TRY(ds_embedding_get(frame, &e, err));
	if (!im->o.index)
		return DS_OK;
	for (size_t i = im->n_queue; i-- > 0;) {
		struct queued *q = &im->queue[i];

		if (q->chunk.index != e.index || q->chunk.start != e.start || q->chunk.end != e.end)
			continue;
		DS_TRY(use_embeddings(im, e.model, e.dims, err));
		to_f32(&e, im->vectors + i * im->dims);
		q->embedded = 1;
		return DS_OK;
	}
	return ds_fail_at(err, DS_EFORMAT, NULL, frame->offset,
			  "an embedding of bytes %llu to %llu, but no such chunk before it",
			  (unsigned long long)e.start, (unsigned long long)e.end);
}

static enum ds_status take_text(struct ds_import *im, const struct ds_frame *frame,
				uint64_t *size_io, struct ds_err *err)
{
	struct ds_text t;

	DS_TRY(ds_text_get(frame, &t, err));
	if (t.start != *size_io)
		return ds_fail_at(err, DS_EFORMAT, NULL, frame->offset,
				  "text from byte %llu where byte %llu was expected",
				  (unsigned long long)t.start, (unsigned long long)*size_io);
	*size_io += t.len;
	return ds_archive_bytes(im->o.writer, t.bytes, t.len, err);
}

static enum ds_status begin_document(struct ds_import *im, const struct ds_frame *frame,
				     struct ds_err *err)
{
	struct ds_document d;
	enum ds_status st;
	char *name;

	DS_TRY(ds_document_get(frame, &d, err));
	name = strndup(d.name, d.name_len);
	if (!name)
		return ds_fail_nomem(err, d.name_len);
	d.name_len = ds_member_name(name);
	d.name = name;
	st = ds_archive_document(im->o.writer, &d, err);
	free(name);
	return st;
}

/* text_size: bytes of the document that came as text frames. */
static enum ds_status take_frame(struct ds_import *im, const struct ds_frame *frame,
				 uint64_t *text_size, struct ds_err *err)
{
	struct ds_document_end end;
	struct ds_chunk_frame c;

	switch (frame->type) {
	case DS_FRAME_DOCUMENT:
		*text_size = 0;
		return begin_document(im, frame, err);
	case DS_FRAME_TEXT:
		return take_text(im, frame, text_size, err);
	case DS_FRAME_CHUNK:
		DS_TRY(ds_chunk_get(frame, &c, err));
		return queue_chunk(im, &c, err);
	case DS_FRAME_EMBEDDING:
		return take_embedding(im, frame, err);
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(flush(im, err));
		DS_TRY(ds_document_end_get(frame, &end, err));
		return ds_archive_document_end(im->o.writer,
					       end.size == DS_SIZE_UNKNOWN ? NULL : &end, err);
	default:
		return DS_OK;
	}
}

static enum ds_status import_frames(struct ds_import *im, struct ds_in *in, struct ds_err *err)
{
	struct ds_frame_reader reader;
	struct ds_frame frame;
	uint64_t text_size = 0;
	enum ds_status st;

	ds_frame_reader_init(&reader, in);
	while ((st = ds_frame_next(&reader, &frame, err)) == DS_OK) {
		count_bytes(im, frame.payload_len);
		st = take_frame(im, &frame, &text_size, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&reader);
	return st == DS_END ? DS_OK : st;
}

/* Whether the first bytes of a file are of something that is no text in UTF-8. */
static int is_binary(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + ds_utf8_whole(p, n);
	size_t invalid = 0;
	uint32_t cp;

	if (memchr(p, 0, n))
		return 1;
	while (p < end) {
		p += ds_utf8_decode(p, end, &cp);
		invalid += cp == DS_UTF8_INVALID;
	}
	return invalid > n / 4;
}

static enum ds_status next_bytes(struct ds_import *im, struct ds_in *in, size_t *got_ret,
				 struct ds_err *err)
{
	DS_TRY(ds_in_read(in, im->buffer, READ_BYTES, got_ret, err));
	count_bytes(im, *got_ret);
	return DS_OK;
}

static enum ds_status import_bytes(struct ds_import *im, struct ds_in *in, struct ds_err *err)
{
	size_t got;

	do {
		DS_TRY(next_bytes(im, in, &got, err));
		DS_TRY(ds_archive_bytes(im->o.writer, im->buffer, got, err));
	} while (got);
	return DS_OK;
}

static enum ds_status open_chunker(struct ds_import *im, struct ds_err *err)
{
	const struct ds_chunk_options options = {
		.size_tokens = im->o.passage_tokens,
		.overlap_tokens = im->o.overlap_tokens,
		.boundary = DS_BOUNDARY_SENTENCE,
	};

	if (im->chunker)
		return DS_OK;
	DS_TRY(open_model(im, err));
	return ds_chunker_new(&im->chunker, ds_model_tokenizer(im->model), &options, err);
}

static enum ds_status import_text(struct ds_import *im, struct ds_in *in, struct ds_err *err)
{
	struct ds_chunk_frame c;
	enum ds_status st;
	size_t got;

	DS_TRY(open_chunker(im, err));
	do {
		DS_TRY(next_bytes(im, in, &got, err));
		DS_TRY(ds_chunker_push(im->chunker, im->buffer, got, got == 0, err));
		while ((st = ds_chunker_next(im->chunker, &c, err)) == DS_OK)
			DS_TRY(queue_chunk(im, &c, err));
		if (st != DS_END)
			return st;
	} while (got);
	return flush(im, err);
}

static enum ds_status import_document(struct ds_import *im, struct ds_in *in,
				      const struct ds_document *d, struct ds_err *err)
{
	const uint8_t *first;
	size_t n;

	DS_TRY(ds_in_peek(in, DS_IN_PEEK_MAX, &first, &n, err));
	DS_TRY(ds_archive_document(im->o.writer, d, err));
	if (im->o.index && n && !is_binary(first, n))
		DS_TRY(import_text(im, in, err));
	else
		DS_TRY(import_bytes(im, in, err));
	return ds_archive_document_end(im->o.writer, NULL, err);
}

static enum ds_status import_file(struct ds_import *im, const char *path, struct ds_err *err)
{
	struct ds_document d = {0};
	enum ds_status st;
	struct stat file;
	struct ds_in in;
	char *name;

	DS_TRY(ds_in_open(&in, path, err));
	name = strdup(path);
	if (!name) {
		st = ds_fail_nomem(err, strlen(path));
	} else if (fstat(in.fd, &file) != 0) {
		st = ds_fail_errno(err, path, "cannot stat");
	} else {
		d.name_len = ds_member_name(name);
		d.name = name;
		d.size = (uint64_t)file.st_size;
		d.mtime_ns = file.st_mtim.tv_sec * INT64_C(1000000000) + file.st_mtim.tv_nsec;
		d.mode = file.st_mode & 0777;
		st = import_document(im, &in, &d, err);
	}
	if (st != DS_OK)
		ds_err_set_path(err, path);
	free(name);
	ds_in_close(&in);
	return st;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static enum ds_status import_entry(struct ds_import *im, const FTSENT *e, struct ds_err *err)
{
	enum ds_archive_file is;

	switch (e->fts_info) {
	case FTS_F:
		is = ds_archive_is_output(im->o.writer, e->fts_statp);
		if (is == DS_ARCHIVE_NO_FILE)
			return import_file(im, e->fts_path, err);
		if (is == DS_ARCHIVE_NEW_FILE)
			return DS_OK;
		if (e->fts_level == 0)
			return ds_fail_at(err, DS_EINVAL, e->fts_path, DS_NO_OFFSET,
					  "is the archive itself");
		im->o.skipped(im->o.user, e->fts_path, "is the archive itself");
		return DS_OK;
	case FTS_D:
	case FTS_DP:
		return DS_OK;
	case FTS_ERR:
	case FTS_DNR:
	case FTS_NS:
		errno = e->fts_errno;
		return ds_fail_errno(err, e->fts_path, "cannot read");
	default:
		if (e->fts_level == 0)
			return ds_fail_at(err, DS_EINVAL, e->fts_path, DS_NO_OFFSET,
					  "is neither a regular file nor a folder");
		im->o.skipped(im->o.user, e->fts_path, "is no regular file");
		return DS_OK;
	}
}

enum ds_status ds_import_path(struct ds_import *im, const char *path, struct ds_err *err)
{
	char *const paths[] = {(char *)path, NULL};
	FTS *fts = fts_open(paths, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	enum ds_status st = DS_OK;
	const FTSENT *e;

	if (!fts)
		return ds_fail_errno(err, path, "cannot open");
	while (st == DS_OK) {
		errno = 0;
		e = fts_read(fts);
		if (!e)
			break;
		st = import_entry(im, e, err);
	}
	if (st == DS_OK && errno)
		st = ds_fail_errno(err, path, "cannot read");
	fts_close(fts);
	return st;
}

enum ds_status ds_import_stream(struct ds_import *im, struct ds_in *in, const char *name,
				struct ds_err *err)
{
	const struct ds_document d = {
		.name = name,
		.name_len = strlen(name),
		.size = DS_SIZE_UNKNOWN,
	};
	enum ds_status st;
	bool frames;

	DS_TRY(ds_frame_detect(in, &frames, err));
	if (frames)
		st = import_frames(im, in, err);
	else
		st = import_document(im, in, &d, err);
	if (st != DS_OK)
		ds_err_set_path(err, in->name);
	return st;
}
