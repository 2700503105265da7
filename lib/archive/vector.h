/*
 * vector.h - embeddings in a few bits a dimension: a scale and one small signed integer each
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

#endif
