/*
 * quant.h - weight types: block layout, decoding to f32
 *
 * One row a ggml type.  Source of the layouts: ggml's ggml-common.h and docs/gguf.md.
 */
#ifndef DS_QUANT_QUANT_H
#define DS_QUANT_QUANT_H

#include <stddef.h>
#include <stdint.h>

struct ds_quant {
	uint32_t type;	       /* ggml type number */
	const char *name;      /* "Q8_0" */
	uint32_t block_values; /* values a block holds */
	uint32_t block_bytes;
	/* n values (a multiple of block_values) at blocks to f32; NULL: layout known, not readable */
	void (*to_f32)(const void *blocks, float *out, size_t n);
};

/* The row of a ggml type number, or NULL when it is unknown. */
const struct ds_quant *ds_quant_find(uint32_t type);

float ds_f16_to_f32(uint16_t h);
uint16_t ds_f32_to_f16(float f); /* round to nearest even */

#endif
