/*
 * types.h - the sizes of ggml's tensor types, by type number
 *
 * The one table of block sizes: the reader needs it to check tensor bounds, lib/quant adds the
 * decoders.  Source: ggml.h (enum ggml_type) and ggml-common.h (block layouts).
 */
#ifndef DS_GGUF_TYPES_H
#define DS_GGUF_TYPES_H

#include <stdint.h>

/* The type numbers of the weights that lib/kern multiplies by. */
enum {
	DS_GGML_F32 = 0,
	DS_GGML_F16 = 1,
	DS_GGML_Q4_0 = 2,
	DS_GGML_Q4_1 = 3,
	DS_GGML_Q5_0 = 6,
	DS_GGML_Q5_1 = 7,
	DS_GGML_Q8_0 = 8,
	DS_GGML_Q4_K = 12,
	DS_GGML_Q5_K = 13,
	DS_GGML_Q6_K = 14,
	DS_GGML_BF16 = 30,
};

struct ds_ggml_type {
	const char *name;      /* "Q8_0" */
	uint32_t block_values; /* values a block holds */
	uint32_t block_bytes;
};

/* The row of a type number, or NULL when it is unknown. */
const struct ds_ggml_type *ds_ggml_type(uint32_t type);

#endif
