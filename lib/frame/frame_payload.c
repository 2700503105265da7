/* frame_payload.c - the payloads of the frame types, packed and unpacked: see man/ds-frame.5 */
#include "frame/frame.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cursor.h"
#include "base/half.h"
#include "frame/frame_layout.h"

/* Fixed bytes of each payload. */
enum { DOCUMENT = 24, TEXT = 8, TOKENS = 32, CHUNK = 56, EMBEDDING = 48, HIT = 40, ENDING = 16 };

static const size_t vector_item[] = {
	[DS_VECTOR_F32] = 4,
	[DS_VECTOR_F16] = 2,
	[DS_VECTOR_I8] = 1,
};

/* Unpacking: the failure's place and words. */
static enum ds_status bad(const struct ds_frame *f, struct ds_err *err, size_t at, const char *what)
{
	return ds_fail_at(err, DS_EFORMAT, NULL, f->offset + DS_FRAME_HEAD_BYTES + at,
			  "%s frame: %s", ds_frame_type_name(f->type), what);
}

static enum ds_status begin(const struct ds_frame *f, uint8_t type, size_t fixed,
			    struct ds_err *err)
{
	if (f->type != type)
		return ds_fail(err, DS_EINVAL, "a %s frame is not a %s frame",
			       ds_frame_type_name(f->type), ds_frame_type_name(type));
	if (f->payload_len < fixed)
		return ds_fail_at(err, DS_EFORMAT, NULL, f->offset + DS_HEAD_LENGTH,
				  "%s frame of %zu bytes, at least %zu were expected",
				  ds_frame_type_name(type), f->payload_len, fixed);
	return DS_OK;
}

static enum ds_status exactly(const struct ds_frame *f, uint64_t len, struct ds_err *err)
{
	if (f->payload_len == len)
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, NULL, f->offset + DS_HEAD_LENGTH,
			  "%s frame of %zu bytes, its fields imply %" PRIu64,
			  ds_frame_type_name(f->type), f->payload_len, len);
}

/* The u64 at offset at, below 2^63. */
static enum ds_status count(const struct ds_frame *f, size_t at, uint64_t *value_ret,
			    struct ds_err *err)
{
	*value_ret = ds_get_u64(f->payload + at);
	return *value_ret > DS_FRAME_COUNT_MAX ? bad(f, err, at, "a number of 2^63 or more")
					       : DS_OK;
}

static enum ds_status size_or_unknown(const struct ds_frame *f, size_t at, uint64_t *value_ret,
				      struct ds_err *err)
{
	if (ds_get_u64(f->payload + at) != DS_SIZE_UNKNOWN)
		return count(f, at, value_ret, err);
	*value_ret = DS_SIZE_UNKNOWN;
	return DS_OK;
}

/* The two offsets of a span, at and at + 8. */
static enum ds_status span(const struct ds_frame *f, size_t at, uint64_t *start_ret,
			   uint64_t *end_ret, struct ds_err *err)
{
	DS_TRY(count(f, at, start_ret, err));
	DS_TRY(count(f, at + 8, end_ret, err));
	return *start_ret > *end_ret ? bad(f, err, at + 8, "a span that ends before it starts")
				     : DS_OK;
}

static enum ds_status zeros(const struct ds_frame *f, size_t at, size_t n, struct ds_err *err)
{
	for (size_t i = 0; i < n; i++)
		if (f->payload[at + i])
			return bad(f, err, at + i, "a byte that must be zero is not");
	return DS_OK;
}

static enum ds_status name(const struct ds_frame *f, size_t at, size_t n, const char **name_ret,
			   struct ds_err *err)
{
	if (n > DS_FRAME_NAME_MAX)
		return bad(f, err, at, "a name of more than 65535 bytes");
	if (n > f->payload_len - at)
		return bad(f, err, at, "the name is longer than the frame");
	if (n && memchr(f->payload + at, 0, n))
		return bad(f, err, at, "a NUL in the name");
	*name_ret = (const char *)f->payload + at;
	return DS_OK;
}

/* Packing. */
static enum ds_status below(struct ds_err *err, const uint64_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (values[i] > DS_FRAME_COUNT_MAX)
			return ds_fail(err, DS_EINVAL, "cannot write a number of 2^63 or more");
	return DS_OK;
}

static enum ds_status name_fits(struct ds_err *err, const char *bytes, size_t n)
{
	if (n > DS_FRAME_NAME_MAX)
		return ds_fail(err, DS_EINVAL, "cannot write a name of %zu bytes, at most %d", n,
			       DS_FRAME_NAME_MAX);
	if (n && memchr(bytes, 0, n))
		return ds_fail(err, DS_EINVAL, "cannot write a name with a NUL in it");
	return DS_OK;
}

enum ds_status ds_document_put(struct ds_frame_writer *w, uint64_t document,
			       const struct ds_document *d, struct ds_err *err)
{
	uint8_t head[DOCUMENT];
	struct ds_part parts[] = {{head, sizeof head}, {d->name, d->name_len}};

	if (d->size != DS_SIZE_UNKNOWN)
		DS_TRY(below(err, &d->size, 1));
	DS_TRY(name_fits(err, d->name, d->name_len));
	ds_put_u64(head, d->size);
	ds_put_u64(head + 8, (uint64_t)d->mtime_ns);
	ds_put_u32(head + 16, d->mode & 07777);
	ds_put_u32(head + 20, (uint32_t)d->name_len);
	return ds_frame_write(w, DS_FRAME_DOCUMENT, document, parts, 2, err);
}

enum ds_status ds_document_get(const struct ds_frame *f, struct ds_document *d_ret,
			       struct ds_err *err)
{
	DS_TRY(begin(f, DS_FRAME_DOCUMENT, DOCUMENT, err));
	*d_ret = (struct ds_document){
		.mtime_ns = (int64_t)ds_get_u64(f->payload + 8),
		.mode = ds_get_u32(f->payload + 16),
		.name_len = ds_get_u32(f->payload + 20),
	};
	DS_TRY(size_or_unknown(f, 0, &d_ret->size, err));
	if (d_ret->mode > 07777)
		return bad(f, err, 16, "a mode with more than permission bits");
	DS_TRY(name(f, DOCUMENT, d_ret->name_len, &d_ret->name, err));
	return exactly(f, DOCUMENT + d_ret->name_len, err);
}

enum ds_status ds_document_end_put(struct ds_frame_writer *w, uint64_t document,
				   const struct ds_document_end *d, struct ds_err *err)
{
	uint8_t head[ENDING];
	struct ds_part part = {head, sizeof head};

	if (d->size != DS_SIZE_UNKNOWN)
		DS_TRY(below(err, &d->size, 1));
	else if (d->hash)
		return ds_fail(err, DS_EINVAL, "cannot write a hash of an unknown document");
	ds_put_u64(head, d->size);
	ds_put_u64(head + 8, d->hash);
	return ds_frame_write(w, DS_FRAME_DOCUMENT_END, document, &part, 1, err);
}

enum ds_status ds_document_end_get(const struct ds_frame *f, struct ds_document_end *d_ret,
				   struct ds_err *err)
{
	DS_TRY(begin(f, DS_FRAME_DOCUMENT_END, ENDING, err));
	DS_TRY(exactly(f, ENDING, err));
	d_ret->hash = ds_get_u64(f->payload + 8);
	DS_TRY(size_or_unknown(f, 0, &d_ret->size, err));
	if (d_ret->size == DS_SIZE_UNKNOWN && d_ret->hash)
		return bad(f, err, 8, "a hash of a document of unknown size");
	return DS_OK;
}

enum ds_status ds_text_put(struct ds_frame_writer *w, uint64_t document, const struct ds_text *t,
			   struct ds_err *err)
{
	uint8_t head[TEXT];
	struct ds_part parts[] = {{head, sizeof head}, {t->bytes, t->len}};

	DS_TRY(below(err, &t->start, 1));
	ds_put_u64(head, t->start);
	return ds_frame_write(w, DS_FRAME_TEXT, document, parts, 2, err);
}

enum ds_status ds_text_get(const struct ds_frame *f, struct ds_text *t_ret, struct ds_err *err)
{
	DS_TRY(begin(f, DS_FRAME_TEXT, TEXT, err));
	DS_TRY(count(f, 0, &t_ret->start, err));
	t_ret->bytes = f->payload + TEXT;
	t_ret->len = f->payload_len - TEXT;
	return DS_OK;
}

/* Tokens, and log-probabilities when logprob is not NULL. */
static enum ds_status tokens_put(struct ds_frame_writer *w, uint64_t document,
				 const struct ds_token_frame *t, const float *logprob,
				 struct ds_err *err)
{
	uint8_t head[TOKENS] = {0};
	size_t bytes = (size_t)t->n * 4;
	struct ds_part parts[] = {
		{head, sizeof head}, {t->id, bytes}, {t->end, bytes}, {logprob, bytes}};

	DS_TRY(below(err, (uint64_t[]){t->start, t->first}, 2));
	for (size_t i = 1; i < t->n; i++)
		if (t->end[i] < t->end[i - 1])
			return ds_fail(err, DS_EINVAL, "cannot write token ends that descend");
	ds_put_u64(head, t->vocabulary);
	ds_put_u64(head + 8, t->start);
	ds_put_u64(head + 16, t->first);
	ds_put_u32(head + 24, t->n);
	return ds_frame_write(w, logprob ? DS_FRAME_LOGPROB : DS_FRAME_TOKENS, document, parts,
			      logprob ? 4 : 3, err);
}

static enum ds_status tokens_get(const struct ds_frame *f, uint8_t type, unsigned arrays,
				 struct ds_token_frame *t_ret, struct ds_err *err)
{
	DS_TRY(begin(f, type, TOKENS, err));
	*t_ret = (struct ds_token_frame){
		.vocabulary = ds_get_u64(f->payload),
		.n = ds_get_u32(f->payload + 24),
	};
	DS_TRY(count(f, 8, &t_ret->start, err));
	DS_TRY(count(f, 16, &t_ret->first, err));
	DS_TRY(zeros(f, 28, 4, err));
	DS_TRY(exactly(f, TOKENS + (uint64_t)t_ret->n * 4 * arrays, err));
	t_ret->id = (const uint32_t *)(const void *)(f->payload + TOKENS);
	t_ret->end = t_ret->id + t_ret->n;
	for (size_t i = 1; i < t_ret->n; i++)
		if (t_ret->end[i] < t_ret->end[i - 1])
			return bad(f, err, TOKENS + ((size_t)t_ret->n + i) * 4,
				   "the ends of the tokens descend");
	return DS_OK;
}

enum ds_status ds_tokens_put(struct ds_frame_writer *w, uint64_t document,
			     const struct ds_token_frame *t, struct ds_err *err)
{
	return tokens_put(w, document, t, NULL, err);
}

enum ds_status ds_tokens_get(const struct ds_frame *f, struct ds_token_frame *t_ret,
			     struct ds_err *err)
{
	return tokens_get(f, DS_FRAME_TOKENS, 2, t_ret, err);
}

/* A log-probability is finite, or the one NaN that stands for none. */
static bool logprob_valid(const float *value)
{
	return isfinite(*value) || ds_get_u32(value) == 0x7FC00000;
}

enum ds_status ds_logprob_put(struct ds_frame_writer *w, uint64_t document,
			      const struct ds_logprob_frame *l, struct ds_err *err)
{
	for (size_t i = 0; i < l->tokens.n; i++)
		if (!logprob_valid(l->logprob + i))
			return ds_fail(err, DS_EINVAL, "cannot write an infinite log-probability");
	return tokens_put(w, document, &l->tokens, l->logprob, err);
}

enum ds_status ds_logprob_get(const struct ds_frame *f, struct ds_logprob_frame *l_ret,
			      struct ds_err *err)
{
	DS_TRY(tokens_get(f, DS_FRAME_LOGPROB, 3, &l_ret->tokens, err));
	l_ret->logprob = (const float *)(const void *)(l_ret->tokens.end + l_ret->tokens.n);
	for (size_t i = 0; i < l_ret->tokens.n; i++)
		if (!logprob_valid(l_ret->logprob + i))
			return bad(f, err, TOKENS + ((size_t)l_ret->tokens.n * 2 + i) * 4,
				   "an infinite log-probability");
	return DS_OK;
}

enum ds_status ds_chunk_put(struct ds_frame_writer *w, uint64_t document,
			    const struct ds_chunk_frame *c, struct ds_err *err)
{
	uint8_t head[CHUNK] = {0};
	struct ds_part parts[] = {{head, sizeof head}, {c->text, 0}};

	DS_TRY(below(err, (uint64_t[]){c->index, c->start, c->end}, 3));
	if (c->start > c->end || c->overlap_bytes > c->end - c->start ||
	    c->boundary >= DS_CUT_KINDS)
		return ds_fail(err, DS_EINVAL, "cannot write a chunk with impossible spans");
	parts[1].len = (size_t)(c->end - c->start);
	ds_put_u64(head, c->index);
	ds_put_u64(head + 8, c->start);
	ds_put_u64(head + 16, c->end);
	ds_put_u64(head + 24, c->vocabulary);
	ds_put_u32(head + 32, c->tokens);
	ds_put_u32(head + 36, c->overlap_tokens);
	ds_put_u64(head + 40, c->overlap_bytes);
	head[48] = c->boundary;
	return ds_frame_write(w, DS_FRAME_CHUNK, document, parts, 2, err);
}

enum ds_status ds_chunk_get(const struct ds_frame *f, struct ds_chunk_frame *c_ret,
			    struct ds_err *err)
{
	DS_TRY(begin(f, DS_FRAME_CHUNK, CHUNK, err));
	*c_ret = (struct ds_chunk_frame){
		.vocabulary = ds_get_u64(f->payload + 24),
		.tokens = ds_get_u32(f->payload + 32),
		.overlap_tokens = ds_get_u32(f->payload + 36),
		.overlap_bytes = ds_get_u64(f->payload + 40),
		.boundary = f->payload[48],
		.text = f->payload + CHUNK,
	};
	DS_TRY(count(f, 0, &c_ret->index, err));
	DS_TRY(span(f, 8, &c_ret->start, &c_ret->end, err));
	if (c_ret->overlap_bytes > c_ret->end - c_ret->start)
		return bad(f, err, 40, "an overlap longer than the chunk");
	if (c_ret->boundary >= DS_CUT_KINDS)
		return bad(f, err, 48, "a boundary of unknown kind");
	DS_TRY(zeros(f, 49, 7, err));
	return exactly(f, CHUNK + (c_ret->end - c_ret->start), err);
}

/* Whether all values are finite. */
static bool vector_finite(const void *data, uint32_t dims, uint8_t type)
{
	const uint8_t *p = data;
	uint32_t bad_values = 0;

	if (type == DS_VECTOR_F32)
		for (size_t i = 0; i < dims; i++)
			bad_values |= (ds_get_u32(p + 4 * i) & 0x7F800000) == 0x7F800000;
	if (type == DS_VECTOR_F16)
		for (size_t i = 0; i < dims; i++)
			bad_values |= (ds_get_u16(p + 2 * i) & 0x7C00) == 0x7C00;
	return !bad_values;
}

/* What is wrong with the fields, or NULL. */
static const char *embedding_wrong(const struct ds_embedding_frame *e)
{
	if (e->dims < 1 || e->dims > DS_FRAME_DIMS_MAX)
		return "dims is not within 1 and 1048576";
	if (e->type > DS_VECTOR_I8)
		return "values of unknown type";
	if (e->normalised > 1)
		return "the normalised byte is neither 0 nor 1";
	if (!isfinite(e->scale) || (e->type != DS_VECTOR_I8 && e->scale != 1))
		return "an impossible scale";
	return NULL;
}

enum ds_status ds_embedding_put(struct ds_frame_writer *w, uint64_t document,
				const struct ds_embedding_frame *e, struct ds_err *err)
{
	const char *wrong = embedding_wrong(e);
	uint8_t head[EMBEDDING] = {0};
	struct ds_part parts[] = {{head, sizeof head}, {e->data, 0}};

	DS_TRY(below(err, (uint64_t[]){e->index, e->start, e->end}, 3));
	if (!wrong && e->start > e->end)
		wrong = "a span that ends before it starts";
	if (!wrong && !vector_finite(e->data, e->dims, e->type))
		wrong = "a value that is not finite";
	if (wrong)
		return ds_fail(err, DS_EINVAL, "cannot write an embedding: %s", wrong);
	parts[1].len = e->dims * vector_item[e->type];
	ds_put_u64(head, e->index);
	ds_put_u64(head + 8, e->start);
	ds_put_u64(head + 16, e->end);
	ds_put_u64(head + 24, e->model);
	ds_put_u32(head + 32, e->dims);
	head[36] = e->type;
	head[37] = e->normalised;
	memcpy(head + 40, &e->scale, 4);
	return ds_frame_write(w, DS_FRAME_EMBEDDING, document, parts, 2, err);
}

enum ds_status ds_embedding_get(const struct ds_frame *f, struct ds_embedding_frame *e_ret,
				struct ds_err *err)
{
	const char *wrong;

	DS_TRY(begin(f, DS_FRAME_EMBEDDING, EMBEDDING, err));
	*e_ret = (struct ds_embedding_frame){
		.model = ds_get_u64(f->payload + 24),
		.dims = ds_get_u32(f->payload + 32),
		.type = f->payload[36],
		.normalised = f->payload[37],
		.data = f->payload + EMBEDDING,
	};
	memcpy(&e_ret->scale, f->payload + 40, 4);
	DS_TRY(count(f, 0, &e_ret->index, err));
	DS_TRY(span(f, 8, &e_ret->start, &e_ret->end, err));
	wrong = embedding_wrong(e_ret);
	if (wrong)
		return bad(f, err, 32, wrong);
	DS_TRY(zeros(f, 38, 2, err));
	DS_TRY(zeros(f, 44, 4, err));
	DS_TRY(exactly(f, EMBEDDING + e_ret->dims * vector_item[e_ret->type], err));
	if (!vector_finite(e_ret->data, e_ret->dims, e_ret->type))
		return bad(f, err, EMBEDDING, "a value that is not finite");
	return DS_OK;
}

enum ds_status ds_hit_put(struct ds_frame_writer *w, const struct ds_hit_frame *h,
			  struct ds_err *err)
{
	uint8_t head[HIT] = {0};
	struct ds_part parts[] = {
		{head, sizeof head}, {h->name, h->name_len}, {h->text, h->text_len}};

	DS_TRY(below(err, (uint64_t[]){h->start, h->end, h->line}, 3));
	DS_TRY(name_fits(err, h->name, h->name_len));
	if (h->start > h->end || !isfinite(h->score))
		return ds_fail(err, DS_EINVAL, "cannot write a hit with impossible fields");
	ds_put_u64(head, h->start);
	ds_put_u64(head + 8, h->end);
	ds_put_u64(head + 16, h->line);
	memcpy(head + 24, &h->score, 8);
	ds_put_u32(head + 32, (uint32_t)h->name_len);
	return ds_frame_write(w, DS_FRAME_HIT, 0, parts, 3, err);
}

enum ds_status ds_hit_get(const struct ds_frame *f, struct ds_hit_frame *h_ret, struct ds_err *err)
{
	DS_TRY(begin(f, DS_FRAME_HIT, HIT, err));
	*h_ret = (struct ds_hit_frame){.name_len = ds_get_u32(f->payload + 32)};
	memcpy(&h_ret->score, f->payload + 24, 8);
	DS_TRY(span(f, 0, &h_ret->start, &h_ret->end, err));
	DS_TRY(count(f, 16, &h_ret->line, err));
	if (!isfinite(h_ret->score))
		return bad(f, err, 24, "a score that is not finite");
	DS_TRY(zeros(f, 36, 4, err));
	DS_TRY(name(f, HIT, h_ret->name_len, &h_ret->name, err));
	h_ret->text = f->payload + HIT + h_ret->name_len;
	h_ret->text_len = f->payload_len - HIT - h_ret->name_len;
	return DS_OK;
}

void ds_embedding_f32(const struct ds_embedding_frame *e, float *out)
{
	const uint8_t *data = e->data;

	for (uint32_t i = 0; i < e->dims; i++)
		switch (e->type) {
		case DS_VECTOR_F32:
			memcpy(&out[i], data + 4 * (size_t)i, 4);
			break;
		case DS_VECTOR_F16:
			out[i] = ds_f16_to_f32(ds_get_u16(data + 2 * (size_t)i));
			break;
		default:
			out[i] = e->scale * (float)(int8_t)data[i];
		}
}

enum ds_status ds_payload_get(const struct ds_frame *f, union ds_payload *payload_ret,
			      struct ds_err *err)
{
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		return ds_document_get(f, &payload_ret->document, err);
	case DS_FRAME_TEXT:
		return ds_text_get(f, &payload_ret->text, err);
	case DS_FRAME_TOKENS:
		return ds_tokens_get(f, &payload_ret->tokens, err);
	case DS_FRAME_CHUNK:
		return ds_chunk_get(f, &payload_ret->chunk, err);
	case DS_FRAME_EMBEDDING:
		return ds_embedding_get(f, &payload_ret->embedding, err);
	case DS_FRAME_LOGPROB:
		return ds_logprob_get(f, &payload_ret->logprob, err);
	case DS_FRAME_HIT:
		return ds_hit_get(f, &payload_ret->hit, err);
	case DS_FRAME_DOCUMENT_END:
		return ds_document_end_get(f, &payload_ret->document_end, err);
	default:
		return DS_OK;
	}
}

void ds_document_stat(struct ds_document *d, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	d->size = (uint64_t)st.st_size;
	d->mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	d->mode = st.st_mode & 07777;
}
