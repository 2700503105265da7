/* attn8.c - keys of rounded pages one at a time */
#include "kern/attn8.h"

void ds_attn8_turn(float *x, size_t dim)
{
	for (size_t h = 1; dim % (2 * h) == 0; h *= 2)
		for (size_t d = 0; d < dim; d += 2 * h)
			for (size_t i = d; i < d + h; i++) {
				float a = x[i], b = x[i + h];

				x[i] = a + b;
				x[i + h] = a - b;
			}
}

void ds_page8_key(const struct ds_page8 *page, size_t dim, size_t token, float *x)
{
	const int8_t *k = page->k + token / DS_ATTN8_BLOCK * DS_ATTN8_BLOCK * dim +
			  token % DS_ATTN8_BLOCK * 4;
	float scale = page->k_scale[token] / (float)ds_attn8_span(dim);

	for (size_t d = 0; d < dim; d++)
		x[d] = (float)k[d / 4 * 4 * DS_ATTN8_BLOCK + d % 4] * scale;
	ds_attn8_turn(x, dim);
}
