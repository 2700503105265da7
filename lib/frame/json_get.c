/* json_get.c - JSON lines back to frames */
#include <jansson.h>

#include "frame/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "frame/base64.h"

#define READ_BYTES ((size_t)65536)

/* One line being read.  The arrays of a frame are built in items and ends. */
struct object {
	json_t *json;
	struct ds_err *err;
	uint64_t doc;
	struct ds_frame_writer *w;
	struct ds_json_reader *reader;
	struct ds_buf bytes[2]; /* of strings in base64 */
	struct ds_buf items, ends, logprobs;
};

static enum ds_status expected(const struct object *o, const char *key, const char *what)
{
	return ds_fail(o->err, DS_EFORMAT, "\"%s\": %s was expected", key, what);
}

/* An integer up to max; absent means absent_value. */
static enum ds_status number(const struct object *o, const char *key, uint64_t absent_value,
			     uint64_t max, uint64_t *value_ret)
{
	json_t *v = json_object_get(o->json, key);

	*value_ret = absent_value;
	if (!v || (absent_value == DS_SIZE_UNKNOWN && json_is_null(v)))
		return DS_OK;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return ds_fail(o->err, DS_EFORMAT,
			       "\"%s\": an integer from 0 to %" PRIu64 " was expected", key, max);
	*value_ret = (uint64_t)json_integer_value(v);
	return DS_OK;
}

static enum ds_status count(const struct object *o, const char *key, uint64_t *value_ret)
{
	return number(o, key, 0, DS_FRAME_COUNT_MAX, value_ret);
}

static enum ds_status hex(const struct object *o, const char *key, uint64_t *value_ret)
{
	json_t *v = json_object_get(o->json, key);
	const char *s;

	*value_ret = 0;
	if (!v)
		return DS_OK;
	s = json_string_value(v);
	if (!s || json_string_length(v) != 16 || strspn(s, "0123456789abcdef") != 16)
		return expected(o, key, "a string of 16 hexadecimal digits");
	*value_ret = strtoull(s, NULL, 16);
	return DS_OK;
}

static bool is_finite_f32(json_t *v)
{
	return json_is_number(v) && isfinite((float)json_number_value(v));
}

/* The bytes of key or of key_base64, the latter decoded into buf; absent is empty. */
static enum ds_status string(struct object *o, const char *key, struct ds_buf *buf,
			     const char **bytes_ret, size_t *len_ret)
{
	json_t *v = json_object_get(o->json, key);
	char other[32];

	*bytes_ret = "";
	*len_ret = 0;
	if (v) {
		if (!json_is_string(v))
			return expected(o, key, "a string");
		*bytes_ret = json_string_value(v);
		*len_ret = json_string_length(v);
		return DS_OK;
	}
	memcpy(other, key, strlen(key));
	strcpy(other + strlen(key), "_base64");
	v = json_object_get(o->json, other);
	if (!v)
		return DS_OK;
	if (!json_is_string(v))
		return expected(o, other, "a string");
	buf->len = 0;
	DS_TRY(ds_buf_reserve(buf, 1, o->err));
	DS_TRY(ds_base64_get(json_string_value(v), json_string_length(v), buf, o->err));
	*bytes_ret = (const char *)buf->data;
	*len_ret = buf->len;
	return DS_OK;
}

/* The array key; its length must be n unless that is SIZE_MAX. */
static enum ds_status array(const struct object *o, const char *key, size_t n, json_t **array_ret)
{
	*array_ret = json_object_get(o->json, key);
	if (!json_is_array(*array_ret))
		return expected(o, key, "an array");
	if (n != SIZE_MAX && json_array_size(*array_ret) != n)
		return ds_fail(o->err, DS_EFORMAT, "\"%s\": %zu items, %zu were expected", key,
			       json_array_size(*array_ret), n);
	return DS_OK;
}

static enum ds_status u32_array(struct object *o, const char *key, size_t n, struct ds_buf *buf)
{
	json_t *a, *v;
	size_t i;

	DS_TRY(array(o, key, n, &a));
	DS_TRY(ds_buf_reserve(buf, json_array_size(a) * 4 + 1, o->err));
	json_array_foreach(a, i, v)
	{
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) > UINT32_MAX)
			return expected(o, key, "an array of numbers below 2^32");
		ds_put_u32(buf->data + 4 * i, (uint32_t)json_integer_value(v));
	}
	buf->len = json_array_size(a) * 4;
	return DS_OK;
}

static enum ds_status get_document(struct object *o)
{
	json_t *mtime = json_object_get(o->json, "mtime_ns");
	struct ds_document d = {0};
	uint64_t mode;

	DS_TRY(string(o, "name", &o->bytes[0], &d.name, &d.name_len));
	DS_TRY(number(o, "size", DS_SIZE_UNKNOWN, DS_FRAME_COUNT_MAX, &d.size));
	DS_TRY(number(o, "mode", 0, 07777, &mode));
	d.mode = (uint32_t)mode;
	if (mtime && !json_is_integer(mtime))
		return expected(o, "mtime_ns", "an integer");
	o->reader->announced = true;
	d.mtime_ns = mtime ? json_integer_value(mtime) : 0;
	return ds_document_put(o->w, o->doc, &d, o->err);
}

static enum ds_status get_document_end(struct object *o)
{
	struct ds_document_end e;

	DS_TRY(number(o, "size", DS_SIZE_UNKNOWN, DS_FRAME_COUNT_MAX, &e.size));
	DS_TRY(hex(o, "hash", &e.hash));
	return ds_document_end_put(o->w, o->doc, &e, o->err);
}

static enum ds_status get_text(struct object *o)
{
	struct ds_text t;
	const char *bytes;

	DS_TRY(count(o, "start", &t.start));
	DS_TRY(string(o, "text", &o->bytes[0], &bytes, &t.len));
	t.bytes = (const uint8_t *)bytes;
	return ds_text_put(o->w, o->doc, &t, o->err);
}

static enum ds_status token_fields(struct object *o, struct ds_token_frame *t)
{
	DS_TRY(hex(o, "vocabulary", &t->vocabulary));
	DS_TRY(count(o, "start", &t->start));
	DS_TRY(count(o, "first", &t->first));
	DS_TRY(u32_array(o, "ids", SIZE_MAX, &o->items));
	DS_TRY(u32_array(o, "ends", o->items.len / 4, &o->ends));
	if (o->items.len / 4 > UINT32_MAX)
		return expected(o, "ids", "less than 2^32 items");
	t->n = (uint32_t)(o->items.len / 4);
	t->id = (const uint32_t *)(const void *)o->items.data;
	t->end = (const uint32_t *)(const void *)o->ends.data;
	return DS_OK;
}

static enum ds_status get_tokens(struct object *o)
{
	struct ds_token_frame t;

	DS_TRY(token_fields(o, &t));
	return ds_tokens_put(o->w, o->doc, &t, o->err);
}

static enum ds_status get_logprob(struct object *o)
{
	struct ds_logprob_frame l;
	json_t *a, *v;
	size_t i;

	DS_TRY(token_fields(o, &l.tokens));
	DS_TRY(array(o, "logprobs", l.tokens.n, &a));
	DS_TRY(ds_buf_reserve(&o->logprobs, json_array_size(a) * 4 + 1, o->err));
	json_array_foreach(a, i, v)
	{
		float p = (float)json_number_value(v);

		if (!json_is_null(v) && !is_finite_f32(v))
			return expected(o, "logprobs", "an array of numbers and nulls");
		if (json_is_null(v))
			ds_put_u32(o->logprobs.data + 4 * i, 0x7FC00000);
		else
			memcpy(o->logprobs.data + 4 * i, &p, 4);
	}
	l.logprob = (const float *)(const void *)o->logprobs.data;
	return ds_logprob_put(o->w, o->doc, &l, o->err);
}

/* The place of a string among names in *index_ret; absent is 0. */
static enum ds_status name_index(const struct object *o, const char *key, const char *const *names,
				 size_t n, uint8_t *index_ret)
{
	json_t *v = json_object_get(o->json, key);
	const char *s = json_string_value(v);

	*index_ret = 0;
	for (size_t i = 0; v && i < n; i++) {
		*index_ret = (uint8_t)i;
		if (s && strcmp(s, names[i]) == 0)
			return DS_OK;
	}
	return v ? expected(o, key, "another string (see ds-cat(1))") : DS_OK;
}

static enum ds_status get_chunk(struct object *o)
{
	struct ds_chunk_frame c = {0};
	uint64_t tokens, overlap;
	const char *bytes;
	size_t len;

	DS_TRY(count(o, "index", &c.index));
	DS_TRY(count(o, "start", &c.start));
	DS_TRY(string(o, "text", &o->bytes[0], &bytes, &len));
	DS_TRY(number(o, "end", c.start + len, DS_FRAME_COUNT_MAX, &c.end));
	if (c.end < c.start || c.end - c.start != len)
		return ds_fail(o->err, DS_EFORMAT,
			       "\"text\": %zu bytes, \"start\" and \"end\" span %" PRId64, len,
			       (int64_t)(c.end - c.start));
	DS_TRY(number(o, "tokens", 0, UINT32_MAX, &tokens));
	DS_TRY(number(o, "overlap_tokens", 0, UINT32_MAX, &overlap));
	DS_TRY(count(o, "overlap_bytes", &c.overlap_bytes));
	DS_TRY(name_index(o, "boundary", ds_boundary_names, DS_CUT_KINDS, &c.boundary));
	DS_TRY(hex(o, "vocabulary", &c.vocabulary));
	c.tokens = (uint32_t)tokens;
	c.overlap_tokens = (uint32_t)overlap;
	c.text = (const uint8_t *)bytes;
	return ds_chunk_put(o->w, o->doc, &c, o->err);
}

/* One value of a vector into p; its size, or 0 when it cannot be one. */
static size_t vector_value(json_t *v, uint8_t type, uint8_t *p)
{
	float f = (float)json_number_value(v);

	if (!is_finite_f32(v))
		return 0;
	if (type == DS_VECTOR_F32) {
		memcpy(p, &f, 4);
		return 4;
	}
	if (type == DS_VECTOR_F16) {
		ds_put_u16(p, ds_f32_to_f16(f));
		return 2;
	}
	if (!json_is_integer(v) || json_integer_value(v) < -128 || json_integer_value(v) > 127)
		return 0;
	*p = (uint8_t)json_integer_value(v);
	return 1;
}

static enum ds_status vector(struct object *o, struct ds_embedding_frame *e)
{
	json_t *a, *v;
	size_t i;

	DS_TRY(array(o, "embedding", SIZE_MAX, &a));
	if (json_array_size(a) < 1 || json_array_size(a) > DS_FRAME_DIMS_MAX)
		return expected(o, "embedding", "an array of 1 to 1048576 numbers");
	e->dims = (uint32_t)json_array_size(a);
	DS_TRY(ds_buf_reserve(&o->items, json_array_size(a) * 4, o->err));
	json_array_foreach(a, i, v)
	{
		size_t n = vector_value(v, e->type, o->items.data + o->items.len);

		if (!n)
			return expected(o, "embedding", "an array of numbers of its dtype");
		o->items.len += n;
	}
	e->data = o->items.data;
	return DS_OK;
}

static enum ds_status get_embedding(struct object *o)
{
	json_t *normalised = json_object_get(o->json, "normalised");
	json_t *scale = json_object_get(o->json, "scale");
	struct ds_embedding_frame e = {.scale = 1};

	DS_TRY(count(o, "index", &e.index));
	DS_TRY(count(o, "start", &e.start));
	DS_TRY(number(o, "end", e.start, DS_FRAME_COUNT_MAX, &e.end));
	DS_TRY(hex(o, "model", &e.model));
	DS_TRY(name_index(o, "dtype", ds_vector_names, 3, &e.type));
	if (normalised && !json_is_boolean(normalised))
		return expected(o, "normalised", "true or false");
	e.normalised = json_is_true(normalised);
	if (scale && !is_finite_f32(scale))
		return expected(o, "scale", "a number");
	if (scale)
		e.scale = (float)json_number_value(scale);
	DS_TRY(vector(o, &e));
	return ds_embedding_put(o->w, o->doc, &e, o->err);
}

static enum ds_status get_hit(struct object *o)
{
	json_t *score = json_object_get(o->json, "score");
	struct ds_hit_frame h = {0};
	const char *bytes;

	DS_TRY(string(o, "name", &o->bytes[0], &h.name, &h.name_len));
	DS_TRY(string(o, "text", &o->bytes[1], &bytes, &h.text_len));
	h.text = (const uint8_t *)bytes;
	DS_TRY(count(o, "line", &h.line));
	DS_TRY(count(o, "start", &h.start));
	DS_TRY(number(o, "end", h.start, DS_FRAME_COUNT_MAX, &h.end));
	if (!json_is_number(score))
		return expected(o, "score", "a number");
	h.score = json_number_value(score);
	return ds_hit_put(o->w, &h, o->err);
}

static enum ds_status get_end(struct object *o)
{
	uint8_t totals[24] = {0};
	struct ds_part part = {totals, sizeof totals};
	uint64_t frames, documents;

	DS_TRY(count(o, "frames", &frames));
	DS_TRY(count(o, "documents", &documents));
	o->reader->announced = false;
	ds_put_u64(totals, frames);
	ds_put_u64(totals + 16, documents);
	return ds_frame_write(o->w, DS_FRAME_END, 0, &part, 1, o->err);
}

static enum ds_status get_user(struct object *o)
{
	struct ds_part part;
	const char *bytes;
	uint64_t code;

	DS_TRY(number(o, "code", 0, 255, &code));
	if (code < DS_FRAME_USER)
		return expected(o, "code", "a number from 128 to 255");
	DS_TRY(string(o, "payload", &o->bytes[0], &bytes, &part.len));
	part.bytes = bytes;
	return ds_frame_write(o->w, (uint8_t)code, o->doc, &part, 1, o->err);
}

static const struct {
	const char *type;
	enum ds_status (*get)(struct object *o);
} getters[] = {
	{"document", get_document}, {"document_end", get_document_end},
	{"text", get_text},	    {"tokens", get_tokens},
	{"chunk", get_chunk},	    {"embedding", get_embedding},
	{"logprob", get_logprob},   {"hit", get_hit},
	{"end", get_end},	    {"user", get_user},
};

/* Lines that others made have no type: the vector or the text tells. */
static const char *guess_type(const struct object *o)
{
	if (json_object_get(o->json, "embedding"))
		return "embedding";
	if (json_object_get(o->json, "text") && json_object_get(o->json, "end"))
		return "chunk";
	return json_object_get(o->json, "text") ? "text" : NULL;
}

static enum ds_status end_named(struct ds_json_reader *r, struct ds_frame_writer *w,
				struct ds_err *err)
{
	struct ds_document_end e = {.size = DS_SIZE_UNKNOWN};

	if (!r->named)
		return DS_OK;
	r->named = false;
	return ds_document_end_put(w, r->named_doc++, &e, err);
}

/* "doc" is a number, or a name: then a document with that name begins where it changes. */
static enum ds_status get_doc(struct object *o)
{
	struct ds_document d = {.size = DS_SIZE_UNKNOWN};
	struct ds_json_reader *r = o->reader;

	if (!json_is_string(json_object_get(o->json, "doc")) &&
	    !json_object_get(o->json, "doc_base64")) {
		DS_TRY(end_named(r, o->w, o->err));
		return count(o, "doc", &o->doc);
	}
	DS_TRY(string(o, "doc", &o->bytes[1], &d.name, &d.name_len));
	if (!r->named || r->name.len != d.name_len ||
	    (d.name_len && memcmp(r->name.data, d.name, d.name_len) != 0)) {
		DS_TRY(end_named(r, o->w, o->err));
		r->name.len = 0;
		DS_TRY(ds_buf_append(&r->name, d.name, d.name_len, o->err));
		DS_TRY(ds_document_put(o->w, r->named_doc, &d, o->err));
		r->named = true;
	}
	o->doc = r->named_doc;
	return DS_OK;
}

static enum ds_status get_frame(struct object *o)
{
	json_t *type = json_object_get(o->json, "type");
	const char *name = type ? json_string_value(type) : guess_type(o);

	if (!name)
		return expected(o, "type", "the name of a frame type");
	DS_TRY(get_doc(o));
	for (size_t i = 0; i < sizeof getters / sizeof *getters; i++)
		if (strcmp(name, getters[i].type) == 0)
			return getters[i].get(o);
	return expected(o, "type", "the name of a frame type");
}

static enum ds_status parse_line(struct ds_json_reader *r, const char *line, size_t n,
				 struct ds_frame_writer *w, uint64_t *at_ret, struct ds_err *err)
{
	struct object o = {.err = err, .w = w, .reader = r};
	json_error_t wrong;
	enum ds_status st;

	*at_ret = 0;
	o.json = json_loadb(line, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &wrong);
	if (!o.json) {
		*at_ret = wrong.position > 0 ? (uint64_t)wrong.position : 0;
		return ds_fail(err, DS_EFORMAT, "%s", wrong.text);
	}
	if (json_is_object(o.json))
		st = get_frame(&o);
	else
		st = ds_fail(err, DS_EFORMAT, "a JSON object was expected");
	json_decref(o.json);
	ds_buf_fini(&o.bytes[0]);
	ds_buf_fini(&o.bytes[1]);
	ds_buf_fini(&o.items);
	ds_buf_fini(&o.ends);
	ds_buf_fini(&o.logprobs);
	return st;
}

void ds_json_reader_init(struct ds_json_reader *r, struct ds_in *in)
{
	*r = (struct ds_json_reader){.in = in, .offset = in->offset};
}

void ds_json_reader_fini(struct ds_json_reader *r)
{
	ds_buf_fini(&r->buf);
	ds_buf_fini(&r->name);
	r->in = NULL;
}

static enum ds_status read_more(struct ds_json_reader *r, struct ds_err *err)
{
	size_t got;

	ds_buf_consume(&r->buf, r->start);
	r->start = 0;
	if (r->buf.len > DS_JSON_LINE_MAX)
		return ds_fail_at(err, DS_ELIMIT, r->in->name, r->offset,
				  "a line of more than %zu bytes", DS_JSON_LINE_MAX);
	DS_TRY(ds_buf_reserve(&r->buf, READ_BYTES, err));
	DS_TRY(ds_in_read(r->in, r->buf.data + r->buf.len, r->buf.cap - r->buf.len, &got, err));
	r->buf.len += got;
	r->ended = got == 0;
	return DS_OK;
}

/* The next line without its newline; DS_END after the last. */
static enum ds_status next_line(struct ds_json_reader *r, const char **line_ret, size_t *len_ret,
				struct ds_err *err)
{
	size_t seen = 0;
	const uint8_t *p, *newline;

	for (;;) {
		p = r->buf.data + r->start;
		newline = seen < r->buf.len - r->start
				  ? memchr(p + seen, '\n', r->buf.len - r->start - seen)
				  : NULL;
		seen = r->buf.len - r->start;
		if (newline || r->ended)
			break;
		DS_TRY(read_more(r, err));
	}
	if (!newline && seen == 0)
		return DS_END;
	*line_ret = (const char *)p;
	*len_ret = newline ? (size_t)(newline - p) : seen;
	r->start += *len_ret + (newline != NULL);
	r->offset += *len_ret + (newline != NULL);
	r->line++;
	return DS_OK;
}

static bool blank(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

/* Add the line's place to what was said about it, unless that has a place of its own. */
static void add_place(const struct ds_json_reader *r, uint64_t offset, struct ds_err *err)
{
	char what[400];

	if (!err || err->path[0])
		return;
	memcpy(what, err->message, sizeof what);
	what[sizeof what - 1] = '\0';
	for (char *s = what; *s; s++) /* parts of the input may be quoted */
		if ((unsigned char)*s < 0x20)
			*s = '?';
	ds_fail_at(err, err->status, r->in->name, offset, "line %" PRIu64 ": %s", r->line, what);
}

enum ds_status ds_json_next(struct ds_json_reader *r, struct ds_frame_writer *w, struct ds_err *err)
{
	uint64_t begin, at;
	enum ds_status st;
	const char *line;
	size_t n;

	do {
		begin = r->offset;
		st = next_line(r, &line, &n, err);
		if (st == DS_END && r->named)
			return end_named(r, w, err);
		DS_TRY(st);
	} while (blank(line, n));
	st = parse_line(r, line, n, w, &at, err);
	if (st != DS_OK)
		add_place(r, begin + at, err);
	return st;
}
