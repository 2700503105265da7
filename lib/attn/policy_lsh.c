/*
 * policy_lsh.c - tokens whose keys point where the query does, by hashes
 *
 * A hash is one bit a plane: on which side of it a vector lies.  Keys are hashed less the mean of
 * all keys up to the end of their page, once: a later mean would be another one.
 */
#include <stdlib.h>
#include <string.h>

#include "attn/select.h"

/* About a normal distribution: sums of 8 uniform numbers, by splitmix64. */
static float draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
	int sum = 0;

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	z ^= z >> 31;
	for (int i = 0; i < 8; i++)
		sum += (int)(z >> 8 * i & 0xFF);
	return (float)(sum - 1020) / 256;
}

static size_t layer_codes(const struct ds_attn_lsh *lsh)
{
	size_t pages = lsh->shape.n_context / DS_KV_PAGE;

	return lsh->shape.n_head * pages * DS_KV_PAGE * lsh->rounds;
}

static uint16_t *codes_at(const struct ds_attn_lsh *lsh, uint32_t layer, uint32_t head)
{
	size_t codes = layer_codes(lsh);

	return lsh->code + layer * codes + head * (codes / lsh->shape.n_head);
}

size_t ds_attn_lsh_bytes(const struct ds_attn_lsh *lsh)
{
	return sizeof *lsh + lsh->shape.n_layer * layer_codes(lsh) * sizeof *lsh->code +
	       (size_t)lsh->rounds * lsh->bits * lsh->shape.dim_k * sizeof *lsh->planes;
}

enum ds_status ds_attn_lsh_new(struct ds_attn_lsh **lsh_ret, const struct ds_kern *kern,
			       const struct ds_kv_shape *shape, const unsigned rounds_bits[2],
			       struct ds_err *err)
{
	struct ds_attn_lsh *lsh = ds_alloc_zero(1, sizeof *lsh);
	size_t n_value;
	uint64_t seed = 1;

	if (!lsh)
		return ds_fail_nomem(err, sizeof *lsh);
	lsh->kern = kern;
	lsh->rounds = rounds_bits[0];
	lsh->bits = rounds_bits[1];
	lsh->shape = *shape;
	n_value = (size_t)lsh->rounds * lsh->bits * shape->dim_k;
	lsh->planes = ds_alloc(n_value, sizeof *lsh->planes);
	lsh->code = ds_alloc_zero(layer_codes(lsh), shape->n_layer * sizeof *lsh->code);
	lsh->n_page = ds_alloc_zero(shape->n_layer, sizeof *lsh->n_page);
	if (!lsh->planes || !lsh->code || !lsh->n_page) {
		enum ds_status st = ds_fail_nomem(err, ds_attn_lsh_bytes(lsh));

		ds_attn_lsh_free(lsh);
		return st;
	}
	for (size_t i = 0; i < n_value; i++)
		lsh->planes[i] = draw(&seed);
	*lsh_ret = lsh;
	return DS_OK;
}

void ds_attn_lsh_free(struct ds_attn_lsh *lsh)
{
	if (!lsh)
		return;
	free(lsh->planes);
	free(lsh->code);
	free(lsh->n_page);
	free(lsh);
}

void ds_attn_lsh_hash(const struct ds_attn_lsh *lsh, const float *x, uint16_t *code)
{
	size_t dim = lsh->shape.dim_k;
	const float *plane = lsh->planes;

	for (unsigned r = 0; r < lsh->rounds; r++) {
		code[r] = 0;
		for (unsigned b = 0; b < lsh->bits; b++, plane += dim)
			code[r] |= (uint16_t)((lsh->kern->dot(plane, x, dim) > 0) << b);
	}
}

/* The mean of all keys up to the end of a page: of the pages' means. */
static void mean_key(const struct ds_attn_lsh *lsh, const struct ds_kv *kv, uint32_t layer,
		     uint32_t head, size_t page, float *mean)
{
	size_t dim = lsh->shape.dim_k;

	memset(mean, 0, dim * sizeof *mean);
	for (size_t p = 0; p <= page; p++) {
		const float *of_page = ds_kv_k_mean(kv, layer, head, p);

		for (size_t d = 0; d < dim; d++)
			mean[d] += of_page[d];
	}
	for (size_t d = 0; d < dim; d++)
		mean[d] /= (float)(page + 1);
}

void ds_attn_lsh_page(const struct ds_attn_lsh *lsh, const struct ds_kv *kv, uint32_t layer,
		      uint32_t head, size_t page, float *work)
{
	size_t dim = lsh->shape.dim_k;
	struct ds_page8 p = ds_kv_page8(kv, layer, head, page);
	const float *mean = ds_kv_k_mean(kv, layer, head, page);
	uint16_t *code = codes_at(lsh, layer, head) + page * DS_KV_PAGE * lsh->rounds;
	float *centre = work + dim;

	mean_key(lsh, kv, layer, head, page, centre);
	for (size_t d = 0; d < dim; d++)
		centre[d] = mean[d] - centre[d];
	for (size_t t = 0; t < DS_KV_PAGE; t++) {
		ds_page8_key(&p, dim, t, work);
		for (size_t d = 0; d < dim; d++)
			work[d] += centre[d];
		ds_attn_lsh_hash(lsh, work, code + t * lsh->rounds);
	}
}

void ds_attn_lsh_match(const struct ds_attn_lsh *lsh, uint32_t layer, uint32_t head,
		       const uint16_t *code, size_t n_block, uint16_t *tokens)
{
	const uint16_t *of_token = codes_at(lsh, layer, head);

	for (size_t b = 0; b < n_block; b++) {
		tokens[b] = 0;
		for (unsigned t = 0; t < DS_ATTN8_BLOCK; t++, of_token += lsh->rounds)
			for (unsigned r = 0; r < lsh->rounds; r++)
				if (of_token[r] == code[r]) {
					tokens[b] |= (uint16_t)(1u << t);
					break;
				}
	}
}
