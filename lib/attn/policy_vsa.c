/*
 * policy_vsa.c - keys in 4 bits, to tell roughly which matter
 */
#include <string.h>

#include "attn/select.h"

struct ds_attn8_block ds_attn_coarse_block(struct ds_attn_coarse *coarse,
					   const struct ds_attn8_block *block, size_t dim_k)
{
	struct ds_attn8_block b = *block;

	memset(coarse->k_zero, 0, sizeof coarse->k_zero);
	for (size_t i = 0; i < dim_k * DS_ATTN8_BLOCK; i++) {
		int a = block->k[i];

		/* of 127 parts: to the nearest of 7; halves do not occur */
		a = (a * 7 + (a < 0 ? -63 : 63)) / 127;
		coarse->k[i] = (int8_t)a;
		coarse->k_zero[i / 4 % DS_ATTN8_BLOCK] -= 128 * a;
	}
	for (size_t t = 0; t < DS_ATTN8_BLOCK; t++)
		coarse->k_scale[t] = block->k_scale[t] * (127.0f / 7);
	b.k = coarse->k;
	b.k_scale = coarse->k_scale;
	b.k_zero = coarse->k_zero;
	return b;
}
