/*
 * kv.c - pages of keys and values
 *
 * Memory is taken in chunks of some pages of every layer and head: [n_layer][n_head][pages].  A
 * page is zeroed when the sequence first reaches it, after a truncation again.
 */
#include "kv/kv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Of a chunk: 512 tokens. */
#define CHUNK_PAGES ((size_t)8)

struct ds_kv {
	struct ds_kv_shape shape;
	size_t page_halves;	/* f16 numbers of a page */
	size_t chunk_pages;	/* of one layer and head */
	size_t n_chunk, n_page; /* allocated; zeroed and in use */
	uint16_t **chunk;	/* [n_chunk of as many as n_context needs] */
};

static size_t pages_of(size_t n_token)
{
	return (n_token + DS_KV_PAGE - 1) / DS_KV_PAGE;
}

static size_t page_halves(const struct ds_kv_shape *shape)
{
	return (size_t)DS_KV_PAGE * (shape->dim_k + shape->dim_v);
}

/* A context shorter than a chunk needs a smaller one. */
static size_t chunk_pages(const struct ds_kv_shape *shape)
{
	size_t pages = pages_of(shape->n_context);

	return pages < CHUNK_PAGES ? pages : CHUNK_PAGES;
}

static size_t chunks_of(const struct ds_kv_shape *shape, size_t n_token)
{
	size_t of = chunk_pages(shape);

	return (pages_of(n_token) + of - 1) / of;
}

static size_t chunk_halves(const struct ds_kv_shape *shape)
{
	return (size_t)shape->n_layer * shape->n_head * chunk_pages(shape) * page_halves(shape);
}

static int dim_fits(uint32_t dim)
{
	return dim > 0 && dim % DS_KERN_LANES == 0 && dim <= DS_KV_DIM_MAX;
}

enum ds_status ds_kv_new(struct ds_kv **kv_ret, const struct ds_kv_shape *shape, struct ds_err *err)
{
	struct ds_kv *kv;
	size_t product;

	if (!dim_fits(shape->dim_k) || !dim_fits(shape->dim_v))
		return ds_fail(err, DS_EUNSUPPORTED,
			       "heads of %u and %u values: expected multiples of %d up to %d",
			       (unsigned)shape->dim_k, (unsigned)shape->dim_v, DS_KERN_LANES,
			       DS_KV_DIM_MAX);
	if (!shape->n_layer || !shape->n_head || !shape->n_context)
		return ds_fail(err, DS_EINVAL, "keys and values of no layer, head or token");
	DS_TRY(ds_mul(shape->n_layer, shape->n_head, &product, err));
	DS_TRY(ds_mul(product, CHUNK_PAGES * page_halves(shape) * sizeof(uint16_t), &product, err));
	kv = ds_alloc_zero(1, sizeof *kv);
	if (!kv)
		return ds_fail_nomem(err, sizeof *kv);
	kv->shape = *shape;
	kv->page_halves = page_halves(shape);
	kv->chunk_pages = chunk_pages(shape);
	kv->chunk = ds_alloc_zero(chunks_of(shape, shape->n_context), sizeof *kv->chunk);
	if (!kv->chunk) {
		ds_kv_free(kv);
		return ds_fail_nomem(err, chunks_of(shape, shape->n_context) * sizeof *kv->chunk);
	}
	*kv_ret = kv;
	return DS_OK;
}

void ds_kv_free(struct ds_kv *kv)
{
	if (!kv)
		return;
	for (size_t i = 0; i < kv->n_chunk; i++)
		free(kv->chunk[i]);
	free(kv->chunk);
	free(kv);
}

const struct ds_kv_shape *ds_kv_shape(const struct ds_kv *kv)
{
	return &kv->shape;
}

size_t ds_kv_bytes(const struct ds_kv_shape *shape, size_t n)
{
	return chunks_of(shape, n) * chunk_halves(shape) * sizeof(uint16_t);
}

static uint16_t *page_at(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	size_t row = ((size_t)layer * kv->shape.n_head + head) * kv->chunk_pages;

	return kv->chunk[page / kv->chunk_pages] + (row + page % kv->chunk_pages) * kv->page_halves;
}

const uint16_t *ds_kv_page(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return page_at(kv, layer, head, page);
}

enum ds_status ds_kv_reserve(struct ds_kv *kv, size_t n, struct ds_err *err)
{
	const struct ds_kv_shape *shape = &kv->shape;

	if (n > shape->n_context)
		return ds_fail(err, DS_ELIMIT, "%zu tokens: the context holds %u", n,
			       (unsigned)shape->n_context);
	while (kv->n_chunk < chunks_of(shape, n)) {
		kv->chunk[kv->n_chunk] = ds_alloc_large(chunk_halves(shape), sizeof(uint16_t));
		if (!kv->chunk[kv->n_chunk])
			return ds_fail_nomem(err, chunk_halves(shape) * sizeof(uint16_t));
		kv->n_chunk++;
	}
	for (; kv->n_page < pages_of(n); kv->n_page++)
		for (uint32_t l = 0; l < shape->n_layer; l++)
			for (uint32_t h = 0; h < shape->n_head; h++)
				memset(page_at(kv, l, h, kv->n_page), 0,
				       kv->page_halves * sizeof(uint16_t));
	return DS_OK;
}

void ds_kv_put(struct ds_kv *kv, const struct ds_kern *kern, uint32_t layer, size_t pos,
	       const float *keys, const float *values)
{
	const size_t lanes = DS_KERN_LANES;
	uint32_t dim_k = kv->shape.dim_k, dim_v = kv->shape.dim_v;
	size_t slot = pos % DS_KV_PAGE;
	uint16_t half[DS_KV_DIM_MAX];

	assert(pos / DS_KV_PAGE < kv->n_page);
	for (uint32_t h = 0; h < kv->shape.n_head; h++) {
		uint16_t *page = page_at(kv, layer, h, pos / DS_KV_PAGE);
		uint16_t *k = page + slot / lanes * lanes * dim_k + slot % lanes;
		uint16_t *v = page + DS_KV_PAGE * (size_t)dim_k + slot * lanes;

		kern->to_half(keys + (size_t)h * dim_k, half, dim_k);
		for (uint32_t i = 0; i < dim_k; i++)
			k[i * lanes] = half[i];
		for (uint32_t i = 0; i < dim_v; i += DS_KERN_LANES)
			kern->to_half(values + (size_t)h * dim_v + i, v + (size_t)i * DS_KV_PAGE,
				      lanes);
	}
}

/* Zero the tokens of a page from slot on. */
static void clear_slots(uint16_t *page, const struct ds_kv_shape *shape, size_t slot)
{
	const size_t lanes = DS_KERN_LANES;
	uint16_t *v = page + DS_KV_PAGE * (size_t)shape->dim_k;

	for (size_t s = slot; s < DS_KV_PAGE; s++)
		for (size_t i = 0; i < shape->dim_k; i++)
			page[(s / lanes * shape->dim_k + i) * lanes + s % lanes] = 0;
	for (size_t i = 0; i < shape->dim_v / lanes; i++)
		memset(v + (i * DS_KV_PAGE + slot) * lanes, 0,
		       (DS_KV_PAGE - slot) * lanes * sizeof *v);
}

size_t ds_kv_truncate(struct ds_kv *kv, size_t n)
{
	if (pages_of(n) > kv->n_page)
		return n;
	kv->n_page = pages_of(n);
	if (n % DS_KV_PAGE == 0)
		return n;
	for (uint32_t l = 0; l < kv->shape.n_layer; l++)
		for (uint32_t h = 0; h < kv->shape.n_head; h++)
			clear_slots(page_at(kv, l, h, n / DS_KV_PAGE), &kv->shape, n % DS_KV_PAGE);
	return n;
}
