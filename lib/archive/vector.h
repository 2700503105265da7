/*
 * vector.h - embeddings in a few bits a dimension: coding, and scores against a query
 *
 * A vector is a scale and one small signed integer a dimension; scores are exact integer dot
 * products times two scales, the same on every machine.
 */
#ifndef DS_ARCHIVE_VECTOR_H
#define DS_ARCHIVE_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "archive/archive.h"

static inline size_t ds_vector_row_bytes(enum ds_vector_code code, uint32_t dims)
{
	return code == DS_VECTOR_CODE_I4 ? (dims + 1) / 2 : dims;
}

/* Code vector [dims] into row [ds_vector_row_bytes()]; returns the scale as IEEE half precision. */
uint16_t ds_vector_encode(enum ds_vector_code code, const float *vector, uint32_t dims,
			  uint8_t *row);
/* The way back: row and scale to out [dims]. */
void ds_vector_decode(enum ds_vector_code code, const uint8_t *row, uint16_t scale, uint32_t dims,
		      float *out);

/* A query in int8. */
struct ds_vector_query {
	int8_t *value; /* [dims] */
	float scale;
	int32_t sum; /* of the values */
	uint32_t dims;
};
enum ds_status ds_vector_query_init(struct ds_vector_query *q, const float *vector, uint32_t dims,
				    struct ds_err *err);
void ds_vector_query_fini(struct ds_vector_query *q);
/* The dot products of the query with rows [first, first + n) of v into score [n]. */
void ds_vector_scores(const struct ds_archive_vectors *v, const struct ds_vector_query *q,
		      uint32_t first, uint32_t n, float *score);

#endif
