/* embeddings.c - what writing and reading of embedding streams share */
#include "archive/embeddings.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "base/cursor.h"

static const uint8_t header_magic[8] = {0xD5, 'D', 'S', 'V', '\r', '\n', 0x1A, '\n'};
static const uint8_t head_magic[4] = {0xD5, 'B', 'L', 'K'};

void ds_embeddings_header(uint8_t header[DS_EMBEDDINGS_HEADER_BYTES])
{
	memcpy(header, header_magic, 8);
	ds_put_u32(header + 8, DS_EMBEDDINGS_VERSION);
	ds_put_u32(header + 12, (uint32_t)XXH3_64bits(header, 12));
}

int ds_embeddings_probe(const void *bytes, size_t n)
{
	return n >= 8 && memcmp(bytes, header_magic, 8) == 0;
}

void ds_embeddings_head_put(const struct ds_embeddings_head *h,
			    uint8_t head[DS_EMBEDDINGS_HEAD_BYTES])
{
	memcpy(head, head_magic, 4);
	ds_put_u32(head + 4, h->type);
	ds_put_u32(head + 8, h->stored);
	ds_put_u32(head + 12, h->raw);
	ds_put_u64(head + 16, h->hash);
	ds_put_u64(head + 24, XXH3_64bits(head, 24));
}

enum ds_status ds_embeddings_head_get(const uint8_t head[DS_EMBEDDINGS_HEAD_BYTES],
				      struct ds_embeddings_head *h_ret, struct ds_err *err)
{
	*h_ret = (struct ds_embeddings_head){
		.type = ds_get_u32(head + 4),
		.stored = ds_get_u32(head + 8),
		.raw = ds_get_u32(head + 12),
		.hash = ds_get_u64(head + 16),
	};
	if (memcmp(head, head_magic, 4) != 0)
		return ds_fail(err, DS_EFORMAT, "a block was expected here");
	if (XXH3_64bits(head, 24) != ds_get_u64(head + 24))
		return ds_fail(err, DS_ECORRUPT, "checksum of a block's head does not match");
	if (h_ret->type > DS_EMBEDDINGS_END)
		return ds_fail(err, DS_EUNSUPPORTED,
			       "a block of type %u, which this version does not know", h_ret->type);
	if (h_ret->stored > DS_EMBEDDINGS_BLOCK_MAX || h_ret->raw > DS_EMBEDDINGS_BLOCK_MAX)
		return ds_fail(err, DS_ELIMIT, "a block of %u bytes, %u unpacked; %u at most",
			       h_ret->stored, h_ret->raw, DS_EMBEDDINGS_BLOCK_MAX);
	return DS_OK;
}

void ds_embeddings_values(const int8_t *q, uint32_t dims, float step, int unit, float *out)
{
	double squares = 0, norm;

	for (uint32_t i = 0; i < dims; i++) {
		out[i] = step * (float)q[i];
		squares += (double)out[i] * (double)out[i];
	}
	norm = sqrt(squares);
	if (!unit || !(norm > 0))
		return;
	for (uint32_t i = 0; i < dims; i++)
		out[i] = (float)((double)out[i] / norm);
}
