/*
 * codes.h - embeddings in one to four bits a dimension: rotated, so that all dimensions are alike,
 * each a small odd integer, and a scale
 *
 * The layout, the rotation and the numbers are specified in ds-archive.5, Embeddings.  The same
 * vector gives the same bytes on every machine.
 */
#ifndef DS_SEARCH_CODES_H
#define DS_SEARCH_CODES_H

#include <stddef.h>
#include <stdint.h>

#include "kern/scan.h"

#define DS_CODE_BITS_MAX 4
#define DS_CODE_DIMS_MAX 65536

static inline size_t ds_code_row_bytes(unsigned bits, uint32_t dims)
{
	return (size_t)bits * ((dims + 7) / 8);
}

/* Rotate x [dims], and the way back, but for rounding. */
void ds_code_rotate(float *x, uint32_t dims);
void ds_code_rotate_back(float *x, uint32_t dims);

/* Code vector [dims] into row [ds_code_row_bytes()], spoiling vector; returns the scale as IEEE
 * half precision. */
uint16_t ds_code_encode(unsigned bits, float *vector, uint32_t dims, uint8_t *row);
void ds_code_decode(unsigned bits, const uint8_t *row, uint16_t scale, uint32_t dims, float *out);

/* n rows, one after the other, to blocks of DS_SCAN_ROWS, as they are stored; and one of them. */
void ds_code_blocks(const uint8_t *rows, size_t n, size_t row_bytes, uint8_t *blocks);
void ds_code_row(const uint8_t *blocks, size_t n, size_t row_bytes, size_t i, uint8_t *row);

/* The table of struct ds_scan for a rotated query [dims]: dims rounded up to 8, times 8 bytes.
 * Returns what the integers must be multiplied by. */
float ds_code_table(const float *query, uint32_t dims, uint8_t *table);

#endif
