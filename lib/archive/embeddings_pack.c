/* embeddings_pack.c - a frame stream's embeddings as integers, differences and zstd blocks */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "archive/embeddings.h"
#include "archive/record.h"
#include "frame/frame.h"

#define BLOCK_EMBEDDINGS 1024
#define BLOCK_VALUES ((size_t)1 << 19)
#define BLOCK_EVENT_BYTES ((size_t)1 << 20)
#define REFERENCES 64 /* embeddings before one that it may be the difference from */

struct packer {
	struct ds_out *out;
	struct ds_err *err;
	unsigned bits;
	int level;
	struct ds_embeddings_stats *stats;
	/* the block being filled */
	struct ds_buf events, raw, packed;
	uint64_t n_events, model, next_index, end;
	uint32_t dims;
	size_t n, cap_vector, cap_q, cap_back;
	float *vector; /* [n][dims] */
	float *back;   /* [dims] one of them as it will be read */
	uint8_t unit[BLOCK_EMBEDDINGS];
	/* made of it */
	int8_t *q; /* [n][dims] */
	int8_t *mean;
	size_t cap_mean;
	uint8_t distance[BLOCK_EMBEDDINGS], eighths[BLOCK_EMBEDDINGS];
};

/* With few bits it is better to cut off the largest components than to be coarse everywhere: the
 * best step for a normal distribution of variance 1. */
static const double steps[] = {[2] = 1.224, [3] = 0.651, [4] = 0.356, [5] = 0.194};
#define CUT_BITS_MAX 5

static float quantise(struct packer *p)
{
	const size_t values = p->n * p->dims;
	const int limit = (1 << (p->bits - 1)) - 1;
	float most = 0, step;
	double squares = 0;

	for (size_t i = 0; i < values; i++) {
		most = fmaxf(most, fabsf(p->vector[i]));
		squares += (double)p->vector[i] * (double)p->vector[i];
	}
	step = most / (float)limit;
	if (p->bits <= CUT_BITS_MAX)
		step = fminf(step, (float)(steps[p->bits] * sqrt(squares / (double)values)));
	for (size_t i = 0; i < values; i++) {
		double v = step > 0 ? rint((double)p->vector[i] / (double)step) : 0;

		p->q[i] = (int8_t)(v > limit ? limit : v < -limit ? -limit : v);
	}
	return step;
}

static void take_mean(struct packer *p)
{
	for (uint32_t d = 0; d < p->dims; d++) {
		int64_t sum = 0;

		for (size_t i = 0; i < p->n; i++)
			sum += p->q[i * p->dims + d];
		p->mean[d] = (int8_t)rint((double)sum / (double)p->n);
	}
}

/* Products of two embeddings less the mean: with each other, of the second with itself. */
static void products(const struct packer *p, size_t i, size_t k, int64_t *both_ret,
		     int64_t *square_ret)
{
	const int8_t *a = p->q + i * p->dims, *b = p->q + k * p->dims;
	int64_t both = 0, square = 0;

	for (uint32_t d = 0; d < p->dims; d++) {
		int x = a[d] - p->mean[d], y = b[d] - p->mean[d];

		both += x * y;
		square += y * y;
	}
	*both_ret = both;
	*square_ret = square;
}

/* The reference, and how many eighths of it, that leave the least squares. */
static void choose_reference(struct packer *p, size_t i)
{
	double best = 0;

	p->distance[i] = p->eighths[i] = 0;
	for (size_t back = 1; back <= REFERENCES && back <= i; back++) {
		int64_t both, square;
		double gain;

		products(p, i, i - back, &both, &square);
		if (both <= 0)
			continue;
		gain = (double)both * (double)both / (double)square;
		if (gain > best) {
			double w = rint(8 * (double)both / (double)square);

			best = gain;
			p->distance[i] = (uint8_t)back;
			p->eighths[i] = (uint8_t)(w > 8 ? 8 : w);
		}
	}
	if (!p->eighths[i])
		p->distance[i] = 0;
}

static enum ds_status put_residuals(struct packer *p)
{
	uint8_t *out;

	DS_TRY(ds_buf_reserve(&p->raw, p->n * p->dims + 1, p->err));
	out = p->raw.data + p->raw.len;
	for (size_t i = 0; i < p->n; i++) {
		const int8_t *q = p->q + i * p->dims, *r = q - p->distance[i] * (size_t)p->dims;

		for (uint32_t d = 0; d < p->dims; d++)
			*out++ = (uint8_t)(q[d] - ds_embeddings_expect(p->mean[d], r[d],
								       p->eighths[i]));
	}
	p->raw.len += p->n * p->dims;
	return DS_OK;
}

/* What the reader will have against what was given. */
static enum ds_status take_errors(struct packer *p, float step)
{
	DS_TRY(ds_grow(&p->back, &p->cap_back, p->dims, sizeof *p->back, p->err));
	for (size_t i = 0; i < p->n; i++) {
		const float *v = p->vector + i * p->dims;
		double both = 0, a = 0, b = 0;

		ds_embeddings_values(p->q + i * p->dims, p->dims, step, p->unit[i], p->back);
		for (uint32_t d = 0; d < p->dims; d++) {
			double error = fabs((double)v[d] - (double)p->back[d]);

			p->stats->max_error = fmax(p->stats->max_error, error);
			both += (double)v[d] * (double)p->back[d];
			a += (double)v[d] * (double)v[d];
			b += (double)p->back[d] * (double)p->back[d];
		}
		if (a > 0)
			p->stats->least_cosine = fmin(p->stats->least_cosine,
						      b > 0 ? both / sqrt(a * b) : 0);
	}
	return DS_OK;
}

static enum ds_status put_embeddings(struct packer *p)
{
	uint8_t model[8];
	float step;

	DS_TRY(ds_grow(&p->q, &p->cap_q, p->n * p->dims, sizeof *p->q, p->err));
	DS_TRY(ds_grow(&p->mean, &p->cap_mean, p->dims, sizeof *p->mean, p->err));
	step = quantise(p);
	take_mean(p);
	for (size_t i = 0; i < p->n; i++)
		choose_reference(p, i);
	DS_TRY(take_errors(p, step));
	ds_put_u64(model, p->model);
	DS_TRY(ds_buf_append(&p->raw, model, sizeof model, p->err));
	DS_TRY(ds_varint_put(&p->raw, p->dims, p->err));
	DS_TRY(ds_buf_append(&p->raw, &step, sizeof step, p->err));
	DS_TRY(ds_buf_append(&p->raw, p->mean, p->dims, p->err));
	DS_TRY(ds_buf_append(&p->raw, p->distance, p->n, p->err));
	DS_TRY(ds_buf_append(&p->raw, p->eighths, p->n, p->err));
	return put_residuals(p);
}

static enum ds_status put_block(struct packer *p, uint32_t type, uint32_t raw,
				const struct ds_buf *stored)
{
	struct ds_embeddings_head h = {.type = type, .stored = (uint32_t)stored->len, .raw = raw,
				       .hash = XXH3_64bits(stored->data, stored->len)};
	uint8_t head[DS_EMBEDDINGS_HEAD_BYTES];

	ds_embeddings_head_put(&h, head);
	DS_TRY(ds_out_write(p->out, head, sizeof head, p->err));
	return ds_out_write(p->out, stored->data, stored->len, p->err);
}

static enum ds_status flush(struct packer *p)
{
	size_t n;

	if (!p->n_events)
		return DS_OK;
	p->raw.len = p->packed.len = 0;
	DS_TRY(ds_varint_put(&p->raw, p->n_events, p->err));
	DS_TRY(ds_varint_put(&p->raw, p->n, p->err));
	if (p->n)
		DS_TRY(put_embeddings(p));
	DS_TRY(ds_buf_append(&p->raw, p->events.data, p->events.len, p->err));
	if (p->raw.len > DS_EMBEDDINGS_BLOCK_MAX)
		return ds_fail(p->err, DS_ELIMIT, "a block of %zu bytes, %u at most", p->raw.len,
			       DS_EMBEDDINGS_BLOCK_MAX);
	DS_TRY(ds_buf_reserve(&p->packed, ZSTD_compressBound(p->raw.len), p->err));
	n = ZSTD_compress(p->packed.data, p->packed.cap, p->raw.data, p->raw.len, p->level);
	if (ZSTD_isError(n))
		return ds_fail(p->err, DS_ENOMEM, "zstd: %s", ZSTD_getErrorName(n));
	p->packed.len = n;
	DS_TRY(put_block(p, DS_EMBEDDINGS_DATA, (uint32_t)p->raw.len, &p->packed));
	p->n = p->n_events = p->events.len = 0;
	p->next_index = p->end = 0;
	return DS_OK;
}

static enum ds_status put_event(struct packer *p, uint8_t kind)
{
	p->n_events++;
	return ds_buf_append(&p->events, &kind, 1, p->err);
}

static enum ds_status put_document(struct packer *p, const struct ds_frame *f)
{
	struct ds_document d;

	DS_TRY(ds_document_get(f, &d, p->err));
	DS_TRY(put_event(p, DS_EMBEDDINGS_DOCUMENT));
	DS_TRY(ds_varint_put(&p->events, d.size + 1, p->err)); /* 0: unknown */
	DS_TRY(ds_varint_put(&p->events, ds_zigzag(d.mtime_ns), p->err));
	DS_TRY(ds_varint_put(&p->events, d.mode, p->err));
	DS_TRY(ds_varint_put(&p->events, d.name_len, p->err));
	p->next_index = p->end = 0;
	p->stats->documents++;
	return ds_buf_append(&p->events, d.name, d.name_len, p->err);
}

static enum ds_status put_document_end(struct packer *p, const struct ds_frame *f)
{
	struct ds_document_end d;
	uint8_t hash[8];

	DS_TRY(ds_document_end_get(f, &d, p->err));
	DS_TRY(put_event(p, DS_EMBEDDINGS_DOCUMENT_END));
	DS_TRY(ds_varint_put(&p->events, d.size + 1, p->err));
	ds_put_u64(hash, d.hash);
	return ds_buf_append(&p->events, hash, sizeof hash, p->err);
}

static enum ds_status put_embedding(struct packer *p, const struct ds_frame *f)
{
	struct ds_embedding_frame e;

	DS_TRY(ds_embedding_get(f, &e, p->err));
	if (p->n && (p->dims != e.dims || p->model != e.model))
		DS_TRY(flush(p));
	p->dims = e.dims;
	p->model = e.model;
	DS_TRY(put_event(p, e.normalised ? DS_EMBEDDINGS_UNIT : DS_EMBEDDINGS_EMBEDDING));
	DS_TRY(ds_varint_put(&p->events, ds_zigzag((int64_t)(e.index - p->next_index)), p->err));
	DS_TRY(ds_varint_put(&p->events, ds_zigzag((int64_t)(e.start - p->end)), p->err));
	DS_TRY(ds_varint_put(&p->events, e.end - e.start, p->err));
	p->next_index = e.index + 1;
	p->end = e.end;
	DS_TRY(ds_grow(&p->vector, &p->cap_vector, (p->n + 1) * e.dims, sizeof *p->vector,
		       p->err));
	ds_embedding_f32(&e, p->vector + p->n * e.dims);
	p->unit[p->n++] = e.normalised;
	p->stats->embeddings++;
	p->stats->values_bytes += 4 * (uint64_t)e.dims;
	return p->n == BLOCK_EMBEDDINGS || (p->n + 1) * e.dims > BLOCK_VALUES ? flush(p) : DS_OK;
}

static enum ds_status take_frame(struct packer *p, const struct ds_frame *f)
{
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		DS_TRY(put_document(p, f));
		break;
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(put_document_end(p, f));
		break;
	case DS_FRAME_EMBEDDING:
		DS_TRY(put_embedding(p, f));
		break;
	case DS_FRAME_END:
		DS_TRY(put_event(p, DS_EMBEDDINGS_STREAM_END));
		break;
	default:
		p->stats->left_out++;
	}
	return p->events.len > BLOCK_EVENT_BYTES ? flush(p) : DS_OK;
}

static enum ds_status put_end(struct packer *p)
{
	uint8_t bytes[DS_EMBEDDINGS_END_BYTES];
	struct ds_buf end = {.data = bytes, .len = sizeof bytes};

	ds_put_u64(bytes, p->stats->documents);
	ds_put_u64(bytes + 8, p->stats->embeddings);
	memcpy(bytes + 16, &p->stats->max_error, 8);
	memcpy(bytes + 24, &p->stats->least_cosine, 8);
	return put_block(p, DS_EMBEDDINGS_END, sizeof bytes, &end);
}

static enum ds_status pack(struct packer *p, struct ds_frame_reader *reader)
{
	uint8_t header[DS_EMBEDDINGS_HEADER_BYTES];
	struct ds_frame frame;
	enum ds_status st;

	ds_embeddings_header(header);
	DS_TRY(ds_out_write(p->out, header, sizeof header, p->err));
	while ((st = ds_frame_next(reader, &frame, p->err)) == DS_OK)
		DS_TRY(take_frame(p, &frame));
	if (st != DS_END)
		return st;
	DS_TRY(flush(p));
	return put_end(p);
}

enum ds_status ds_embeddings_pack(struct ds_in *in, struct ds_out *out, unsigned bits, int level,
				  struct ds_embeddings_stats *stats_ret, struct ds_err *err)
{
	struct packer p = {.out = out, .err = err, .bits = bits, .level = level,
			   .stats = stats_ret};
	struct ds_frame_reader reader;
	enum ds_status st;

	*stats_ret = (struct ds_embeddings_stats){.least_cosine = 1};
	ds_frame_reader_init(&reader, in);
	st = pack(&p, &reader);
	if (st != DS_OK)
		ds_err_set_path(err, in->name);
	ds_frame_reader_fini(&reader);
	ds_buf_fini(&p.events);
	ds_buf_fini(&p.raw);
	ds_buf_fini(&p.packed);
	free(p.vector);
	free(p.back);
	free(p.q);
	free(p.mean);
	return st;
}
