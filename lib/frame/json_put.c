/* json_put.c - one frame as one JSON line */
#include "frame/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/decimal.h"
#include "base/half.h"
#include "base/utf8.h"
#include "frame/base64.h"

const char *const ds_boundary_names[DS_CUT_KINDS] = {
	"limit", "word", "sentence", "line", "paragraph", "fence", "heading", "semantic", "end",
};
const char *const ds_vector_names[3] = {"f32", "f16", "i8"};

/* The line and the first failure: once it failed nothing is appended. */
struct line {
	struct ds_buf *buf;
	struct ds_err *err;
	enum ds_status status;
};

static void raw(struct line *l, const void *bytes, size_t n)
{
	if (l->status == DS_OK)
		l->status = ds_buf_append(l->buf, bytes, n, l->err);
}

static void text(struct line *l, const char *s)
{
	raw(l, s, strlen(s));
}

static void key(struct line *l, const char *name, const char *suffix)
{
	size_t n = l->buf->len;

	text(l, n && l->buf->data[n - 1] == '{' ? "\"" : ",\"");
	text(l, name);
	text(l, suffix);
	text(l, "\":");
}

static void formatted(struct line *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void formatted(struct line *l, const char *format, ...)
{
	char s[64];
	va_list ap;

	va_start(ap, format);
	vsnprintf(s, sizeof s, format, ap);
	va_end(ap);
	text(l, s);
}

static void u64(struct line *l, const char *name, uint64_t value)
{
	key(l, name, "");
	formatted(l, "%" PRIu64, value);
}

/* A size that may be unknown. */
static void size(struct line *l, const char *name, uint64_t value)
{
	if (value != DS_SIZE_UNKNOWN) {
		u64(l, name, value);
		return;
	}
	key(l, name, "");
	text(l, "null");
}

static void hex(struct line *l, const char *name, uint64_t value)
{
	key(l, name, "");
	formatted(l, "\"%016" PRIx64 "\"", value);
}

static void f32(struct line *l, float value)
{
	char s[DS_F32_TEXT_BYTES];

	raw(l, s, ds_f32_text(value, s));
}

/* Seventeen digits, with which reading gives the same bits. */
static void f64(struct line *l, double value)
{
	char s[40], *comma;

	if (value == 0) {
		f32(l, (float)value);
		return;
	}
	snprintf(s, sizeof s, "%.17g", value);
	comma = strchr(s, ',');
	if (comma) /* the locale's */
		*comma = '.';
	text(l, s);
}

static bool is_utf8(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	uint32_t cp;

	while (p < end) {
		p += ds_utf8_decode(p, end, &cp);
		if (cp == DS_UTF8_INVALID)
			return false;
	}
	return true;
}

static void quoted(struct line *l, const uint8_t *p, size_t n)
{
	size_t done = 0;

	text(l, "\"");
	for (size_t i = 0; i < n; i++) {
		const char *two = p[i] == '"'	 ? "\\\""
				  : p[i] == '\\' ? "\\\\"
				  : p[i] == '\n' ? "\\n"
				  : p[i] == '\t' ? "\\t"
				  : p[i] == '\r' ? "\\r"
						 : NULL;

		if (!two && p[i] >= 0x20)
			continue;
		raw(l, p + done, i - done);
		if (two)
			text(l, two);
		else
			formatted(l, "\\u%04x", p[i]);
		done = i + 1;
	}
	raw(l, p + done, n - done);
	text(l, "\"");
}

static void base64(struct line *l, const char *name, const void *bytes, size_t n)
{
	key(l, name, "_base64");
	text(l, "\"");
	if (l->status == DS_OK)
		l->status = ds_base64_put(bytes, n, l->buf, l->err);
	text(l, "\"");
}

static void string(struct line *l, const char *name, const void *bytes, size_t n)
{
	if (!is_utf8(bytes, n)) {
		base64(l, name, bytes, n);
		return;
	}
	key(l, name, "");
	quoted(l, bytes, n);
}

static void u32_array(struct line *l, const char *name, const uint32_t *values, size_t n)
{
	key(l, name, "");
	for (size_t i = 0; i < n; i++)
		formatted(l, "%c%" PRIu32, i ? ',' : '[', values[i]);
	text(l, n ? "]" : "[]");
}

static void put_document(struct line *l, const struct ds_document *d)
{
	string(l, "name", d->name, d->name_len);
	size(l, "size", d->size);
	key(l, "mtime_ns", "");
	formatted(l, "%" PRId64, d->mtime_ns);
	u64(l, "mode", d->mode);
}

static void put_tokens(struct line *l, const struct ds_token_frame *t)
{
	hex(l, "vocabulary", t->vocabulary);
	u64(l, "start", t->start);
	u64(l, "first", t->first);
	u32_array(l, "ids", t->id, t->n);
	u32_array(l, "ends", t->end, t->n);
}

static void put_logprob(struct line *l, const struct ds_logprob_frame *p)
{
	put_tokens(l, &p->tokens);
	key(l, "logprobs", "");
	text(l, "[");
	for (size_t i = 0; i < p->tokens.n; i++) {
		if (i)
			text(l, ",");
		if (isnan(p->logprob[i]))
			text(l, "null");
		else
			f32(l, p->logprob[i]);
	}
	text(l, "]");
}

static void put_chunk(struct line *l, const struct ds_chunk_frame *c)
{
	u64(l, "index", c->index);
	u64(l, "start", c->start);
	u64(l, "end", c->end);
	u64(l, "tokens", c->tokens);
	u64(l, "overlap_tokens", c->overlap_tokens);
	u64(l, "overlap_bytes", c->overlap_bytes);
	key(l, "boundary", "");
	formatted(l, "\"%s\"", ds_boundary_names[c->boundary]);
	hex(l, "vocabulary", c->vocabulary);
	string(l, "text", c->text, (size_t)(c->end - c->start));
}

static void put_embedding(struct line *l, const struct ds_embedding_frame *e)
{
	u64(l, "index", e->index);
	u64(l, "start", e->start);
	u64(l, "end", e->end);
	hex(l, "model", e->model);
	key(l, "dtype", "");
	formatted(l, "\"%s\"", ds_vector_names[e->type]);
	if (e->type == DS_VECTOR_I8) {
		key(l, "scale", "");
		f32(l, e->scale);
	}
	key(l, "normalised", "");
	text(l, e->normalised ? "true" : "false");
	key(l, "embedding", "");
	for (size_t i = 0; i < e->dims; i++) {
		text(l, i ? "," : "[");
		if (e->type == DS_VECTOR_F32)
			f32(l, ((const float *)e->data)[i]);
		else if (e->type == DS_VECTOR_F16)
			f32(l, ds_f16_to_f32(((const uint16_t *)e->data)[i]));
		else
			formatted(l, "%d", ((const int8_t *)e->data)[i]);
	}
	text(l, "]");
}

static void put_hit(struct line *l, const struct ds_hit_frame *h)
{
	string(l, "name", h->name, h->name_len);
	u64(l, "line", h->line);
	u64(l, "start", h->start);
	u64(l, "end", h->end);
	key(l, "score", "");
	f64(l, h->score);
	string(l, "text", h->text, h->text_len);
}

static enum ds_status put_fields(struct line *l, const struct ds_frame *f)
{
	union ds_payload u;

	DS_TRY(ds_payload_get(f, &u, l->err));
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		put_document(l, &u.document);
		break;
	case DS_FRAME_DOCUMENT_END:
		size(l, "size", u.document_end.size);
		hex(l, "hash", u.document_end.hash);
		break;
	case DS_FRAME_TEXT:
		u64(l, "start", u.text.start);
		string(l, "text", u.text.bytes, u.text.len);
		break;
	case DS_FRAME_TOKENS:
		put_tokens(l, &u.tokens);
		break;
	case DS_FRAME_LOGPROB:
		put_logprob(l, &u.logprob);
		break;
	case DS_FRAME_CHUNK:
		put_chunk(l, &u.chunk);
		break;
	case DS_FRAME_EMBEDDING:
		put_embedding(l, &u.embedding);
		break;
	case DS_FRAME_HIT:
		put_hit(l, &u.hit);
		break;
	case DS_FRAME_END:
		u64(l, "frames", ds_get_u64(f->payload));
		u64(l, "documents", ds_get_u64(f->payload + 16));
		break;
	default:
		u64(l, "code", f->type);
		base64(l, "payload", f->payload, f->payload_len);
	}
	return DS_OK;
}

enum ds_status ds_json_string(const char *name, const void *bytes, size_t n, struct ds_buf *json,
			      struct ds_err *err)
{
	struct line l = {json, err, DS_OK};

	string(&l, name, bytes, n);
	return l.status;
}

enum ds_status ds_frame_json_put(const struct ds_frame *f, struct ds_buf *line, struct ds_err *err)
{
	struct line l = {line, err, DS_OK};

	text(&l, "{\"type\":\"");
	text(&l, ds_frame_type_name(f->type));
	text(&l, "\"");
	if (f->type != DS_FRAME_HIT && f->type != DS_FRAME_END)
		u64(&l, "doc", f->document);
	DS_TRY(put_fields(&l, f));
	text(&l, "}\n");
	return l.status;
}
