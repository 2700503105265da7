/* cat_sink.c - frames to frames, JSON lines, text, .npy, or counted */
#include "cat.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/decimal.h"
#include "frame/json.h"

enum ds_status cat_sink_open(struct cat_sink *s, enum cat_form form, struct ds_out *out,
			     struct ds_err *err)
{
	*s = (struct cat_sink){.form = form, .out = out, .npy_fd = -1};
	ds_frame_writer_init(&s->w, out);
	s->w.jsonl = form == CAT_JSONL;
	return ds_join_init(&s->join, err);
}

void cat_sink_close(struct cat_sink *s)
{
	ds_frame_writer_fini(&s->w);
	ds_join_fini(&s->join);
	ds_buf_fini(&s->line);
	if (s->npy_fd >= 0)
		close(s->npy_fd);
	s->npy_fd = -1;
}

/* Vectors as f32, whatever they are stored as, in s->line. */
static enum ds_status vector_values(struct cat_sink *s, const struct ds_embedding_frame *e,
				    float **values_ret, struct ds_err *err)
{
	s->line.len = 0;
	DS_TRY(ds_buf_reserve(&s->line, (size_t)e->dims * sizeof(float), err));
	*values_ret = (float *)(void *)s->line.data;
	ds_embedding_f32(e, *values_ret);
	return DS_OK;
}

static enum ds_status print(struct cat_sink *s, struct ds_err *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum ds_status print(struct cat_sink *s, struct ds_err *err, const char *format, ...)
{
	char text[64];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	return ds_out_write(s->out, text, (size_t)n, err);
}

static enum ds_status text_vector(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_embedding_frame e;
	float *v;

	DS_TRY(ds_embedding_get(f, &e, err));
	DS_TRY(vector_values(s, &e, &v, err));
	for (size_t i = 0; i < e.dims; i++) {
		char text[DS_F32_TEXT_BYTES + 1] = " ";

		DS_TRY(ds_out_write(s->out, text + !i, ds_f32_text(v[i], text + 1) + !!i, err));
	}
	return ds_out_write(s->out, "\n", 1, err);
}

static enum ds_status text_tokens(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_token_frame t;

	DS_TRY(ds_tokens_get(f, &t, err));
	for (size_t i = 0; i < t.n; i++)
		DS_TRY(print(s, err, "%s%" PRIu32, i ? " " : "", t.id[i]));
	return ds_out_write(s->out, "\n", 1, err);
}

/* NAME:LINE:SCORE:PASSAGE, on one line */
static enum ds_status text_hit(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_hit_frame h;
	uint8_t *p;

	DS_TRY(ds_hit_get(f, &h, err));
	s->line.len = 0;
	DS_TRY(ds_buf_append(&s->line, h.text, h.text_len, err));
	p = s->line.data;
	for (size_t i = 0; i < s->line.len; i++)
		if (p[i] == '\n' || p[i] == '\r')
			p[i] = ' ';
	DS_TRY(ds_out_write(s->out, h.name, h.name_len, err));
	DS_TRY(print(s, err, ":%" PRIu64 ":%.6g:", h.line, h.score));
	DS_TRY(ds_out_write(s->out, p, s->line.len, err));
	return ds_out_write(s->out, "\n", 1, err);
}

/* A document's text; of documents without, its vectors and ids. */
static enum ds_status take_text(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	const uint8_t *bytes;
	size_t n;

	DS_TRY(ds_join_take(&s->join, f, &bytes, &n, err));
	if (f->type == DS_FRAME_HIT)
		return text_hit(s, f, err);
	if (f->type == DS_FRAME_EMBEDDING && !s->join.any)
		return text_vector(s, f, err);
	if (f->type == DS_FRAME_TOKENS && !s->join.any)
		return text_tokens(s, f, err);
	return ds_out_write(s->out, bytes, n, err);
}

/* Rows go straight to a file whose head can be written again in the end, else to a spill file. */
static enum ds_status begin_npy(struct cat_sink *s, uint32_t dims, struct ds_err *err)
{
	uint8_t head[DS_NPY_HEAD_BYTES];

	s->npy = (struct ds_npy){.dims = dims, .type = DS_VECTOR_F32};
	if (!s->out->temporary)
		return ds_spill_open(&s->npy_fd, err);
	ds_npy_make_head(&s->npy, head);
	return ds_out_write(s->out, head, sizeof head, err);
}

static enum ds_status take_npy(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_embedding_frame e;
	size_t bytes;
	float *v;

	if (f->type != DS_FRAME_EMBEDDING)
		return DS_OK;
	DS_TRY(ds_embedding_get(f, &e, err));
	if (!s->npy.dims)
		DS_TRY(begin_npy(s, e.dims, err));
	if (e.dims != s->npy.dims)
		return ds_fail_at(err, DS_EFORMAT, NULL, f->offset,
				  "a vector of %" PRIu32 " values among vectors of %" PRIu32
				  ", one .npy needs all alike",
				  e.dims, s->npy.dims);
	DS_TRY(vector_values(s, &e, &v, err));
	bytes = e.dims * sizeof *v;
	if (s->npy_fd < 0)
		DS_TRY(ds_out_write(s->out, v, bytes, err));
	else
		DS_TRY(ds_pwrite_all(s->npy_fd, v, bytes, s->npy.rows * bytes, err));
	s->npy.rows++;
	return DS_OK;
}

static enum ds_status finish_npy(struct cat_sink *s, struct ds_err *err)
{
	uint64_t bytes = s->npy.rows * s->npy.dims * sizeof(float);
	uint8_t head[DS_NPY_HEAD_BYTES], block[16384];

	if (!s->npy.dims)
		return ds_fail(err, DS_EFORMAT, "there is no embedding in the input, so no .npy");
	ds_npy_make_head(&s->npy, head);
	if (s->npy_fd < 0)
		return ds_out_patch(s->out, 0, head, sizeof head, err);
	DS_TRY(ds_out_write(s->out, head, sizeof head, err));
	for (uint64_t at = 0; at < bytes; at += sizeof block) {
		size_t n = bytes - at < sizeof block ? (size_t)(bytes - at) : sizeof block;

		DS_TRY(ds_pread_all(s->npy_fd, block, n, at, err));
		DS_TRY(ds_out_write(s->out, block, n, err));
	}
	return DS_OK;
}

static enum ds_status count_frame(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct cat_counts *c = &s->counts;
	struct ds_embedding_frame e;
	struct ds_chunk_frame chunk;
	struct ds_token_frame tokens;
	const uint8_t *bytes;
	size_t n;

	c->frames[f->type]++;
	c->bytes[f->type] += f->payload_len;
	if (ds_join_take(&s->join, f, &bytes, &n, err) == DS_OK)
		c->text_bytes += n;
	if (f->type == DS_FRAME_EMBEDDING) {
		DS_TRY(ds_embedding_get(f, &e, err));
		if (!c->dims) {
			c->dims = e.dims;
			c->model = e.model;
			c->vector_type = e.type;
		}
		c->mixed |= c->dims != e.dims || c->model != e.model || c->vector_type != e.type;
	} else if (f->type == DS_FRAME_CHUNK) {
		DS_TRY(ds_chunk_get(f, &chunk, err));
		c->vocabulary = chunk.vocabulary;
		c->tokens_max = chunk.tokens > c->tokens_max ? chunk.tokens : c->tokens_max;
	} else if (f->type == DS_FRAME_TOKENS) {
		DS_TRY(ds_tokens_get(f, &tokens, err));
		c->vocabulary = tokens.vocabulary;
	}
	return DS_OK;
}

static enum ds_status deliver(struct cat_sink *s, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_part payload = {f->payload, f->payload_len};
	union ds_payload any;
	bool frame = f->type == DS_FRAME_DOCUMENT || f->type == DS_FRAME_DOCUMENT_END;

	if (s->wanted && !s->wanted[f->type] && !(frame && s->form != CAT_JSONL))
		return ds_payload_get(f, &any, err);
	switch (s->form) {
	case CAT_TEXT:
		return take_text(s, f, err);
	case CAT_NPY:
		return take_npy(s, f, err);
	case CAT_COUNT:
		return count_frame(s, f, err);
	case CAT_JSONL:
		if (!s->wanted)
			break;
		/* a selection need not be a whole stream, which the writer would insist on */
		s->line.len = 0;
		DS_TRY(ds_frame_json_put(f, &s->line, err));
		return ds_out_write(s->out, s->line.data, s->line.len, err);
	default:
		break;
	}
	DS_TRY(ds_payload_get(f, &any, err));
	return ds_frame_write(&s->w, f->type, f->type == DS_FRAME_HIT ? 0 : f->document, &payload,
			      1, err);
}

/* Deliver a document's beginning or end that the input does not have. */
static enum ds_status begin_silently(struct cat_sink *s, struct ds_err *err)
{
	struct ds_document d = {.name = "", .size = DS_SIZE_UNKNOWN};
	struct ds_frame_writer w;
	enum ds_status st;

	ds_frame_writer_init_take(&w, cat_sink_take, s);
	st = ds_document_put(&w, s->incoming, &d, err);
	ds_frame_writer_fini(&w);
	s->announced = false;
	return st;
}

static enum ds_status end_silently(struct cat_sink *s, struct ds_err *err)
{
	struct ds_document_end e = {.size = DS_SIZE_UNKNOWN};
	struct ds_frame_writer w;
	enum ds_status st;

	ds_frame_writer_init_take(&w, cat_sink_take, s);
	st = ds_document_end_put(&w, s->incoming, &e, err);
	ds_frame_writer_fini(&w);
	return st;
}

/* See that a document is open for f, and that it is f's. */
static enum ds_status agree_on_document(struct cat_sink *s, const struct ds_frame *f,
					struct ds_err *err)
{
	bool begins = f->type == DS_FRAME_DOCUMENT;

	if (s->open && (begins || f->document != s->incoming)) {
		if (!s->lenient && s->announced)
			return ds_fail_at(err, DS_EFORMAT, NULL, DS_NO_OFFSET,
					  "document %" PRIu64 " has not ended", s->incoming);
		DS_TRY(end_silently(s, err));
	}
	if (s->open || begins)
		return DS_OK;
	s->incoming = f->document;
	return begin_silently(s, err);
}

enum ds_status cat_sink_take(void *arg, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_frame mine = *f;
	struct cat_sink *s = arg;

	if (f->type == DS_FRAME_END)
		return DS_OK;
	if (f->type < DS_FRAME_USER && f->type != DS_FRAME_HIT) {
		DS_TRY(agree_on_document(s, f, err));
		if (f->type == DS_FRAME_DOCUMENT) {
			s->incoming = f->document;
			s->open = s->announced = true;
			s->documents++;
		}
		mine.document = s->documents - 1;
		s->open = f->type != DS_FRAME_DOCUMENT_END;
	} else if (f->type == DS_FRAME_HIT && s->open) {
		DS_TRY(end_silently(s, err));
	}
	return deliver(s, &mine, err);
}

enum ds_status cat_sink_end_input(struct cat_sink *s, struct ds_err *err)
{
	if (!s->open)
		return DS_OK;
	if (s->announced && !s->lenient)
		return ds_fail(err, DS_ETRUNCATED, "input ends within a document");
	return end_silently(s, err);
}

enum ds_status cat_sink_finish(struct cat_sink *s, struct ds_err *err)
{
	if (s->form == CAT_NPY)
		return finish_npy(s, err);
	if (s->form == CAT_FRAMES || (s->form == CAT_JSONL && !s->wanted))
		return ds_frame_write_end(&s->w, err);
	return DS_OK;
}
