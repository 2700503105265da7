/*
 * types.h - the sizes of ggml's tensor types, by type number
 *
 * The one table of block sizes: the reader needs it to check tensor bounds, lib/quant adds the
 * decoders.  Source: ggml.h (enum ggml_type) and ggml-common.h (block layouts).
 */
#ifndef DS_GGUF_TYPES_H
#define DS_GGUF_TYPES_H

#include <stdint.h>

struct ds_ggml_type {
	const char *name;      /* "Q8_0" */
	uint32_t block_values; /* values a block holds */
	uint32_t block_bytes;
};

/* The row of a type number, or NULL when it is unknown. */
const struct ds_ggml_type *ds_ggml_type(uint32_t type);

#endif
