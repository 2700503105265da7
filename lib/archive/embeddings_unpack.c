/* embeddings_unpack.c - frames from a stream of packed embeddings */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "archive/embeddings.h"
#include "archive/record.h"
#include "frame/frame.h"

struct unpacker {
	struct ds_in *in;
	struct ds_frame_writer *writer; /* NULL: only check */
	struct ds_err *err;
	struct ds_embeddings_stats *stats;
	uint64_t at; /* of the block in the input */
	struct ds_buf stored, raw;
	uint64_t document; /* number of the open one in its stream */
	int open;
	/* of the block */
	uint64_t n, next, model, next_index, end;
	uint32_t dims;
	float step;
	int8_t *q; /* [n][dims] */
	size_t cap_q, cap_values;
	float *values; /* [dims] */
};

/* All n bytes, or fewer at the end of input. */
static enum ds_status read_bytes(struct unpacker *u, uint8_t *bytes, size_t n, size_t *got_ret)
{
	size_t got;

	for (*got_ret = 0; *got_ret < n; *got_ret += got) {
		DS_TRY(ds_in_read(u->in, bytes + *got_ret, n - *got_ret, &got, u->err));
		if (got == 0)
			break;
	}
	return DS_OK;
}

static enum ds_status fail_short(struct unpacker *u)
{
	return ds_fail_at(u->err, DS_ETRUNCATED, u->in->name, u->in->offset,
			  "the embeddings end here, before their last block");
}

static enum ds_status read_header(struct unpacker *u)
{
	uint8_t header[DS_EMBEDDINGS_HEADER_BYTES], want[DS_EMBEDDINGS_HEADER_BYTES];
	size_t got;

	ds_embeddings_header(want);
	DS_TRY(read_bytes(u, header, sizeof header, &got));
	if (!ds_embeddings_probe(header, got))
		return ds_fail_at(u->err, DS_EFORMAT, u->in->name, 0,
				  "not embeddings packed by ds-compress --embeddings");
	if (got < sizeof header)
		return fail_short(u);
	if ((uint32_t)XXH3_64bits(header, 12) != ds_get_u32(header + 12))
		return ds_fail_at(u->err, DS_ECORRUPT, u->in->name, 12,
				  "checksum of the header does not match");
	if (memcmp(header, want, sizeof header) != 0)
		return ds_fail_at(u->err, DS_EUNSUPPORTED, u->in->name, 8,
				  "packed embeddings of version %u; this program reads version %d",
				  ds_get_u16(header + 8), DS_EMBEDDINGS_VERSION);
	return DS_OK;
}

/* The stored bytes of a block, which grow with what has arrived, not with what is announced. */
static enum ds_status read_block(struct unpacker *u, struct ds_embeddings_head *h)
{
	uint8_t head[DS_EMBEDDINGS_HEAD_BYTES];
	size_t got;

	u->at = u->in->offset;
	DS_TRY(read_bytes(u, head, sizeof head, &got));
	if (got < sizeof head)
		return fail_short(u);
	DS_TRY(ds_embeddings_head_get(head, h, u->err));
	u->stored.len = 0;
	while (u->stored.len < h->stored) {
		size_t left = h->stored - u->stored.len, step = left < 65536 ? left : 65536;

		DS_TRY(ds_buf_reserve(&u->stored, step, u->err));
		DS_TRY(read_bytes(u, u->stored.data + u->stored.len, step, &got));
		if (got < step)
			return fail_short(u);
		u->stored.len += step;
	}
	if (XXH3_64bits(u->stored.data, h->stored) != h->hash)
		return ds_fail(u->err, DS_ECORRUPT, "checksum of %u bytes does not match",
			       h->stored);
	return DS_OK;
}

static enum ds_status unpack_block(struct unpacker *u, uint32_t raw)
{
	size_t n;

	u->raw.len = 0;
	DS_TRY(ds_buf_reserve(&u->raw, (size_t)raw + 1, u->err));
	n = ZSTD_decompress(u->raw.data, raw, u->stored.data, u->stored.len);
	if (ZSTD_isError(n) || n != raw)
		return ds_fail(u->err, DS_EFORMAT, "a block does not unpack to %u bytes: %s", raw,
			       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
	u->raw.len = raw;
	return DS_OK;
}

/* Integers of the embeddings from their differences. */
static enum ds_status add_references(struct unpacker *u, struct ds_cursor *cur,
				     const int8_t *mean)
{
	const uint8_t *distance, *eighths, *residual;

	DS_TRY(ds_cursor_borrow(cur, u->n, &distance));
	DS_TRY(ds_cursor_borrow(cur, u->n, &eighths));
	DS_TRY(ds_cursor_borrow(cur, u->n * u->dims, &residual));
	DS_TRY(ds_grow(&u->q, &u->cap_q, u->n * u->dims, sizeof *u->q, u->err));
	for (uint64_t i = 0; i < u->n; i++) {
		int8_t *q = u->q + i * u->dims;
		const int8_t *r = q - (uint64_t)distance[i] * u->dims;

		if (distance[i] > i || eighths[i] > 8 || !distance[i] != !eighths[i])
			return ds_cursor_fail(cur, DS_EFORMAT,
					      "embedding %llu of its block refers to %u eighths of "
					      "the one %u before",
					      (unsigned long long)i, eighths[i], distance[i]);
		for (uint32_t d = 0; d < u->dims; d++) {
			int expected = distance[i] ? ds_embeddings_expect(mean[d], r[d], eighths[i])
						   : mean[d];

			q[d] = (int8_t)(uint8_t)(*residual++ + expected);
		}
	}
	return DS_OK;
}

static enum ds_status get_embeddings(struct unpacker *u, struct ds_cursor *cur)
{
	const uint8_t *mean, *step;
	uint64_t dims;

	DS_TRY(ds_cursor_u64(cur, &u->model));
	DS_TRY(ds_varint_get(cur, &dims));
	DS_TRY(ds_cursor_borrow(cur, 4, &step));
	memcpy(&u->step, step, 4);
	if (dims < 1 || dims > DS_FRAME_DIMS_MAX || u->n > DS_EMBEDDINGS_BLOCK_MAX ||
	    !(u->step >= 0) || !isfinite(128 * u->step))
		return ds_cursor_fail(cur, DS_EFORMAT,
				      "%llu embeddings of %llu dimensions, a step of %g",
				      (unsigned long long)u->n, (unsigned long long)dims,
				      (double)u->step);
	u->dims = (uint32_t)dims;
	DS_TRY(ds_cursor_borrow(cur, dims, &mean));
	DS_TRY(ds_grow(&u->values, &u->cap_values, dims, sizeof *u->values, u->err));
	return add_references(u, cur, (const int8_t *)mean);
}

static enum ds_status get_document(struct unpacker *u, struct ds_cursor *cur)
{
	uint64_t size, time, mode, name_len;
	struct ds_document d;
	const uint8_t *name;

	DS_TRY(ds_varint_get(cur, &size));
	DS_TRY(ds_varint_get(cur, &time));
	DS_TRY(ds_varint_get(cur, &mode));
	DS_TRY(ds_varint_get(cur, &name_len));
	if (u->open || mode > 07777 || name_len > DS_FRAME_NAME_MAX)
		return ds_cursor_fail(cur, DS_EFORMAT, "a document that cannot begin here");
	DS_TRY(ds_cursor_borrow(cur, name_len, &name));
	d = (struct ds_document){.name = (const char *)name, .name_len = name_len,
				 .size = size - 1, .mtime_ns = ds_unzigzag(time),
				 .mode = (uint32_t)mode};
	u->open = 1;
	u->next_index = u->end = 0;
	u->stats->documents++;
	return u->writer ? ds_document_put(u->writer, u->document, &d, u->err) : DS_OK;
}

static enum ds_status get_document_end(struct unpacker *u, struct ds_cursor *cur)
{
	struct ds_document_end d;

	DS_TRY(ds_varint_get(cur, &d.size));
	DS_TRY(ds_cursor_u64(cur, &d.hash));
	if (!u->open)
		return ds_cursor_fail(cur, DS_EFORMAT, "a document that ends before it begins");
	u->open = 0;
	d.size--;
	if (u->writer)
		DS_TRY(ds_document_end_put(u->writer, u->document, &d, u->err));
	u->document++;
	return DS_OK;
}

static enum ds_status get_embedding(struct unpacker *u, struct ds_cursor *cur, int unit)
{
	struct ds_embedding_frame e = {.model = u->model, .dims = u->dims, .scale = 1,
				       .normalised = unit != 0};
	uint64_t index, start, length;

	DS_TRY(ds_varint_get(cur, &index));
	DS_TRY(ds_varint_get(cur, &start));
	DS_TRY(ds_varint_get(cur, &length));
	e.index = u->next_index + (uint64_t)ds_unzigzag(index);
	e.start = u->end + (uint64_t)ds_unzigzag(start);
	e.end = e.start + length;
	if (!u->open || u->next == u->n || e.index > DS_FRAME_COUNT_MAX ||
	    e.start > DS_FRAME_COUNT_MAX || e.end > DS_FRAME_COUNT_MAX || e.end < e.start)
		return ds_cursor_fail(cur, DS_EFORMAT, "an embedding that cannot be here");
	u->next_index = e.index + 1;
	u->end = e.end;
	ds_embeddings_values(u->q + u->next++ * u->dims, u->dims, u->step, unit, u->values);
	u->stats->embeddings++;
	u->stats->values_bytes += 4 * (uint64_t)u->dims;
	e.data = u->values;
	return u->writer ? ds_embedding_put(u->writer, u->document, &e, u->err) : DS_OK;
}

static enum ds_status get_event(struct unpacker *u, struct ds_cursor *cur)
{
	uint8_t kind;

	DS_TRY(ds_cursor_u8(cur, &kind));
	switch (kind) {
	case DS_EMBEDDINGS_DOCUMENT:
		return get_document(u, cur);
	case DS_EMBEDDINGS_DOCUMENT_END:
		return get_document_end(u, cur);
	case DS_EMBEDDINGS_EMBEDDING:
	case DS_EMBEDDINGS_UNIT:
		return get_embedding(u, cur, kind == DS_EMBEDDINGS_UNIT);
	case DS_EMBEDDINGS_STREAM_END:
		if (u->open)
			break;
		u->document = 0;
		return u->writer ? ds_frame_write_end(u->writer, u->err) : DS_OK;
	}
	return ds_cursor_fail(cur, DS_EFORMAT, "an event of kind %u that cannot be here", kind);
}

static enum ds_status get_block(struct unpacker *u)
{
	struct ds_cursor cur;
	uint64_t events;

	ds_cursor_init(&cur, u->raw.data, u->raw.len, u->err);
	DS_TRY(ds_varint_get(&cur, &events));
	DS_TRY(ds_varint_get(&cur, &u->n));
	if (u->n)
		DS_TRY(get_embeddings(u, &cur));
	u->next = u->next_index = u->end = 0;
	for (uint64_t i = 0; i < events; i++)
		DS_TRY(get_event(u, &cur));
	if (u->next != u->n || ds_cursor_left(&cur))
		return ds_cursor_fail(&cur, DS_EFORMAT, "a block with something left over");
	return DS_OK;
}

/* The last block, after which nothing comes. */
static enum ds_status get_end(struct unpacker *u)
{
	const uint8_t *p = u->stored.data;
	uint8_t more;
	size_t got;

	if (u->stored.len != DS_EMBEDDINGS_END_BYTES || u->open ||
	    ds_get_u64(p) != u->stats->documents || ds_get_u64(p + 8) != u->stats->embeddings)
		return ds_fail(u->err, DS_EFORMAT,
			       "the last block does not fit %llu documents with %llu embeddings",
			       (unsigned long long)u->stats->documents,
			       (unsigned long long)u->stats->embeddings);
	memcpy(&u->stats->max_error, p + 16, 8);
	memcpy(&u->stats->least_cosine, p + 24, 8);
	DS_TRY(read_bytes(u, &more, 1, &got));
	return got ? ds_fail(u->err, DS_EFORMAT, "something follows the last block") : DS_OK;
}

static enum ds_status unpack(struct unpacker *u)
{
	struct ds_embeddings_head h;

	DS_TRY(read_header(u));
	for (;;) {
		DS_TRY(read_block(u, &h));
		if (h.type == DS_EMBEDDINGS_END)
			return get_end(u);
		DS_TRY(unpack_block(u, h.raw));
		DS_TRY(get_block(u));
	}
}

enum ds_status ds_embeddings_unpack(struct ds_in *in, struct ds_out *out,
				    struct ds_embeddings_stats *stats_ret, struct ds_err *err)
{
	struct unpacker u = {.in = in, .err = err, .stats = stats_ret};
	struct ds_frame_writer writer;
	enum ds_status st;

	*stats_ret = (struct ds_embeddings_stats){.least_cosine = 1};
	if (out) {
		ds_frame_writer_init(&writer, out);
		u.writer = &writer;
	}
	st = unpack(&u);
	if (st != DS_OK && err && !err->path[0]) {
		err->offset = u.at;
		ds_err_set_path(err, in->name);
	}
	if (out)
		ds_frame_writer_fini(&writer);
	ds_buf_fini(&u.stored);
	ds_buf_fini(&u.raw);
	free(u.q);
	free(u.values);
	return st;
}
