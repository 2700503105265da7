/*
 * quant.h - weight types: decoding to f32
 *
 * One row a ggml type; names and block sizes are in gguf/types.h.  Source of the layouts: ggml's
 * ggml-common.h and docs/gguf.md.
 */
#ifndef DS_QUANT_QUANT_H
#define DS_QUANT_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "base/half.h"

/* n values, a multiple of the block's, to f32. */
typedef void ds_decode_fn(const void *blocks, float *out, size_t n);

/* The decoder of a ggml type number, or NULL when this version reads no such values. */
ds_decode_fn *ds_quant_decoder(uint32_t type);

#endif
