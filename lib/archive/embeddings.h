/*
 * embeddings.h - embeddings of a frame stream made small, without their texts, and back
 *
 * The format is specified in man/ds-archive.5, Embedding streams.  Documents and embeddings are
 * kept, in order; other frames are left out.
 */
#ifndef DS_ARCHIVE_EMBEDDINGS_H
#define DS_ARCHIVE_EMBEDDINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define DS_EMBEDDINGS_BITS_MIN 2
#define DS_EMBEDDINGS_BITS_MAX 8

struct ds_embeddings_stats {
	uint64_t documents, embeddings;
	uint64_t values_bytes; /* of the embeddings as f32 */
	uint64_t left_out;     /* frames of other kinds */
	double max_error;      /* of a component */
	double least_cosine;   /* of an embedding and what comes back; 1 when there is none */
};

/* bits: of a component before it is compressed, 2..8; level: zstd, 1..22. */
enum ds_status ds_embeddings_pack(struct ds_in *in, struct ds_out *out, unsigned bits, int level,
				  struct ds_embeddings_stats *stats_ret, struct ds_err *err);
/* Frames with f32 values to out; NULL: only check.  The errors are those the writer found. */
enum ds_status ds_embeddings_unpack(struct ds_in *in, struct ds_out *out,
				    struct ds_embeddings_stats *stats_ret, struct ds_err *err);
/* Whether bytes (the first of a file, n of them) begin such a stream. */
int ds_embeddings_probe(const void *bytes, size_t n);

/* What both directions share. */
#define DS_EMBEDDINGS_VERSION 1
#define DS_EMBEDDINGS_HEADER_BYTES 16
#define DS_EMBEDDINGS_HEAD_BYTES 32
#define DS_EMBEDDINGS_END_BYTES 32
#define DS_EMBEDDINGS_BLOCK_MAX ((uint32_t)64 << 20)

enum { DS_EMBEDDINGS_DATA, DS_EMBEDDINGS_END };
enum {
	DS_EMBEDDINGS_DOCUMENT,
	DS_EMBEDDINGS_DOCUMENT_END,
	DS_EMBEDDINGS_STREAM_END,
	DS_EMBEDDINGS_EMBEDDING,
	DS_EMBEDDINGS_UNIT /* an embedding of norm 1 */
};

struct ds_embeddings_head {
	uint32_t type, stored, raw;
	uint64_t hash; /* of the stored bytes */
};
void ds_embeddings_header(uint8_t header[DS_EMBEDDINGS_HEADER_BYTES]);
void ds_embeddings_head_put(const struct ds_embeddings_head *h,
			    uint8_t head[DS_EMBEDDINGS_HEAD_BYTES]);
/* DS_EFORMAT or DS_ECORRUPT at the byte of the head that is wrong. */
enum ds_status ds_embeddings_head_get(const uint8_t head[DS_EMBEDDINGS_HEAD_BYTES],
				      struct ds_embeddings_head *h_ret, struct ds_err *err);

/* What is expected of a component: eighths of the one referred to, both less the mean. */
static inline int ds_embeddings_expect(int mean, int reference, int eighths)
{
	int d = eighths * (reference - mean);

	return mean + (d >= 0 ? d / 8 : -((-d + 7) / 8)); /* rounded down */
}
/* The values [dims] that integers stand for. */
void ds_embeddings_values(const int8_t *q, uint32_t dims, float step, int unit, float *out);

#endif
