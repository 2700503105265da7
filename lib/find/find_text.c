/* find_text.c - passages of plain text and of frames, held in memory */
#include <stdlib.h>
#include <string.h>

#include "chunk/chunk.h"
#include "find/collection.h"
#include "frame/frame.h"

#define BATCH 256
#define PUSH_BYTES ((size_t)1 << 20)
#define TEXT_BYTES_MAX ((size_t)1 << 40)
#define PROBE_BYTES 8192

static enum ds_status add_document(struct ds_find *f, struct find_document **d_ret,
				   struct ds_err *err)
{
	DS_TRY(ds_grow(&f->document, &f->cap_document, f->n_document + 1, sizeof *f->document,
		       err));
	*d_ret = &f->document[f->n_document++];
	**d_ret = (struct find_document){0};
	return DS_OK;
}

static enum ds_status add_passage(struct ds_find *f, uint64_t start, uint64_t end,
				  struct ds_err *err)
{
	if (f->n_passage >= UINT32_MAX)
		return ds_fail(err, DS_ELIMIT, "more than %u passages", UINT32_MAX);
	DS_TRY(ds_grow(&f->passage, &f->cap_passage, f->n_passage + 1, sizeof *f->passage, err));
	f->passage[f->n_passage++] = (struct find_passage){
		.document = (uint32_t)(f->n_document - 1), .start = start, .end = end};
	return DS_OK;
}

static enum ds_status vectors_reserve(struct ds_find *f, struct ds_err *err)
{
	return ds_grow(&f->vector, &f->cap_vector, f->n_passage * f->dims, sizeof *f->vector, err);
}

/* Words and vectors of the passages from first on, whose texts lie in text. */
static enum ds_status index_batch(struct ds_find *f, size_t first, const uint8_t *text,
				  struct ds_err *err)
{
	struct ds_part part[BATCH];
	size_t n = f->n_passage - first;

	for (size_t i = 0; i < n; i++) {
		const struct find_passage *p = &f->passage[first + i];

		part[i].bytes = text + p->start;
		part[i].len = p->end - p->start;
		if (f->options.mode != DS_SEARCH_MEANING)
			DS_TRY(ds_words_add(&f->builder, part[i].bytes, part[i].len, err));
	}
	if (f->options.mode == DS_SEARCH_WORDS)
		return DS_OK;
	DS_TRY(vectors_reserve(f, err));
	return ds_embed(f->embedder, part, n, f->vector + first * f->dims, err);
}

static enum ds_status cut(struct ds_find *f, const uint8_t *text, size_t n, struct ds_err *err)
{
	size_t pushed = 0, first = f->n_passage;
	struct ds_chunk_frame chunk;
	enum ds_status st;

	do {
		size_t step = n - pushed < PUSH_BYTES ? n - pushed : PUSH_BYTES;

		DS_TRY(ds_chunker_push(f->chunker, text + pushed, step, pushed + step == n, err));
		pushed += step;
		while ((st = ds_chunker_next(f->chunker, &chunk, err)) == DS_OK) {
			if (chunk.end > chunk.start)
				DS_TRY(add_passage(f, chunk.start, chunk.end, err));
			if (f->n_passage - first == BATCH) {
				DS_TRY(index_batch(f, first, text, err));
				first = f->n_passage;
			}
		}
		if (st != DS_END)
			return st;
	} while (pushed < n);
	return index_batch(f, first, text, err);
}

static enum ds_status add_text(struct ds_find *f, const uint8_t *text, size_t n,
			       struct ds_err *err)
{
	struct ds_chunk_options options = {.size_tokens = f->options.passage_tokens,
					   .boundary = DS_BOUNDARY_SENTENCE};
	enum ds_status st;

	if (memchr(text, 0, n < PROBE_BYTES ? n : PROBE_BYTES))
		return ds_fail(err, DS_EUNSUPPORTED, "is binary, not text");
	if (!f->chunker)
		DS_TRY(ds_chunker_new(&f->chunker, ds_model_tokenizer(f->options.model), &options,
				      err));
	st = cut(f, text, n, err);
	if (st != DS_OK) { /* in the middle of a document: no good for another */
		ds_chunker_free(f->chunker);
		f->chunker = NULL;
	}
	f->stats.input_bytes += n;
	return st;
}

static enum ds_status read_stream(struct ds_in *in, struct ds_buf *buf, struct ds_err *err)
{
	size_t got;

	do {
		DS_TRY(ds_buf_reserve(buf, PUSH_BYTES, err));
		DS_TRY(ds_in_read(in, buf->data + buf->len, buf->cap - buf->len, &got, err));
		buf->len += got;
		if (buf->len > TEXT_BYTES_MAX)
			return ds_fail(err, DS_ELIMIT, "text of more than %zu bytes",
				       TEXT_BYTES_MAX);
	} while (got);
	return DS_OK;
}

enum ds_status ds_find_add_text(struct ds_find *f, const char *path, struct ds_in *in,
				struct ds_err *err)
{
	struct find_document *d;
	struct ds_map map;
	enum ds_status st;

	DS_TRY(add_document(f, &d, err));
	if (ds_map_open(&map, path, NULL) == DS_OK) {
		d->path = path; /* a regular file: read again when a hit lies in it */
		st = add_text(f, map.data, map.len, err);
		ds_map_close(&map);
		return st;
	}
	DS_TRY(read_stream(in, &d->text, err));
	return add_text(f, d->text.data, d->text.len, err);
}

/* What a stream has told of its current document. */
struct stream {
	struct find_document *document;
	size_t first;	   /* passage not indexed yet */
	uint8_t *embedded; /* [f->n_passage - first]: a vector of this model came with it */
	size_t cap_embedded;
	uint64_t chunks; /* of this document so far */
	size_t first_of_document;
};

static enum ds_status begin_document(struct ds_find *f, struct stream *s,
				     const struct ds_frame *frame, struct ds_err *err)
{
	struct ds_document d;

	DS_TRY(ds_document_get(frame, &d, err));
	DS_TRY(add_document(f, &s->document, err));
	s->document->name = strndup(d.name, d.name_len);
	if (!s->document->name)
		return ds_fail_nomem(err, d.name_len);
	s->first_of_document = f->n_passage;
	return DS_OK;
}

/* Bytes at offset start: those that the document has already are dropped. */
static enum ds_status take_bytes(struct find_document *d, uint64_t start, const uint8_t *bytes,
				 size_t n, struct ds_err *err)
{
	size_t known;

	if (start > d->text.len)
		return ds_fail(err, DS_EFORMAT,
			       "chunk at byte %llu of its document, %zu expected at most",
			       (unsigned long long)start, d->text.len);
	known = d->text.len - start;
	if (known >= n)
		return DS_OK;
	return ds_buf_append(&d->text, bytes + known, n - known, err);
}

static enum ds_status take_chunk(struct ds_find *f, struct stream *s, const struct ds_frame *frame,
				 struct ds_err *err)
{
	struct ds_chunk_frame c;
	size_t n = f->n_passage - s->first;

	DS_TRY(ds_chunk_get(frame, &c, err));
	DS_TRY(take_bytes(s->document, c.start, c.text, c.end - c.start, err));
	DS_TRY(add_passage(f, c.start, c.end, err));
	DS_TRY(ds_grow(&s->embedded, &s->cap_embedded, n + 1, 1, err));
	s->embedded[n] = 0;
	if (f->options.mode != DS_SEARCH_WORDS)
		DS_TRY(vectors_reserve(f, err));
	if (f->options.mode != DS_SEARCH_MEANING)
		DS_TRY(ds_words_add(&f->builder, c.text, c.end - c.start, err));
	return DS_OK;
}

static enum ds_status take_embedding(struct ds_find *f, struct stream *s,
				     const struct ds_frame *frame, struct ds_err *err)
{
	struct ds_embedding_frame e;
	size_t at;

	DS_TRY(ds_embedding_get(frame, &e, err));
	at = s->first_of_document + e.index;
	if (f->options.mode == DS_SEARCH_WORDS || e.model != ds_model_id(f->options.model) ||
	    e.dims != f->dims || e.index >= f->n_passage - s->first_of_document || at < s->first)
		return DS_OK; /* of another model: made anew at the end of the document */
	ds_embedding_f32(&e, f->vector + at * f->dims);
	s->embedded[at - s->first] = 1;
	return DS_OK;
}

/* Vectors for the passages that came without one. */
static enum ds_status complete_document(struct ds_find *f, struct stream *s, struct ds_err *err)
{
	for (size_t i = s->first; f->options.mode != DS_SEARCH_WORDS && i < f->n_passage; i++) {
		const struct find_passage *p = &f->passage[i];
		struct ds_part part = {s->document->text.data + p->start, p->end - p->start};

		if (!s->embedded[i - s->first])
			DS_TRY(ds_embed(f->embedder, &part, 1, f->vector + i * f->dims, err));
	}
	s->first = f->n_passage;
	f->stats.input_bytes += s->document->text.len;
	s->document = NULL;
	return DS_OK;
}

static enum ds_status take_frame(struct ds_find *f, struct stream *s, const struct ds_frame *frame,
				 struct ds_err *err)
{
	struct ds_text t;

	if (frame->type == DS_FRAME_DOCUMENT)
		return begin_document(f, s, frame, err);
	if (!s->document)
		return DS_OK;
	switch (frame->type) {
	case DS_FRAME_TEXT:
		DS_TRY(ds_text_get(frame, &t, err));
		return take_bytes(s->document, t.start, t.bytes, t.len, err);
	case DS_FRAME_CHUNK:
		return take_chunk(f, s, frame, err);
	case DS_FRAME_EMBEDDING:
		return take_embedding(f, s, frame, err);
	case DS_FRAME_DOCUMENT_END:
		if (s->first == f->n_passage && s->document->text.len) {
			/* text without chunks: cut here */
			DS_TRY(add_text(f, s->document->text.data, s->document->text.len, err));
			s->first = f->n_passage;
			s->document = NULL;
			return DS_OK;
		}
		return complete_document(f, s, err);
	default:
		return DS_OK;
	}
}

enum ds_status ds_find_add_frames(struct ds_find *f, struct ds_in *in, struct ds_err *err)
{
	struct stream s = {.first = f->n_passage};
	struct ds_frame_reader reader;
	struct ds_frame frame;
	enum ds_status st;

	ds_frame_reader_init(&reader, in);
	while ((st = ds_frame_next(&reader, &frame, err)) == DS_OK) {
		st = take_frame(f, &s, &frame, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&reader);
	free(s.embedded);
	return st == DS_END ? DS_OK : st;
}
