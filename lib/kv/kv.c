/*
 * kv.c - pages of keys and values
 *
 * Memory is taken in chunks of some pages of every layer and head, [n_layer][n_head][pages]:
 * halves, or with shape.recent rounded pages, followed by their mean keys and by their mean values.
 * Halves are then kept in a ring, [n_layer][n_head][pages].  A page of halves is zeroed when the
 * sequence first reaches it, after a truncation again.
 */
#include "kv/kv.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a chunk: 512 tokens. */
#define CHUNK_PAGES ((size_t)8)
#define LINE ((size_t)64) /* bytes; chunks begin with one */

struct ds_kv {
	struct ds_kv_shape shape;
	size_t page_halves;	/* f16 numbers of a page */
	size_t chunk_pages;	/* of one layer and head */
	size_t n_chunk, n_page; /* allocated; in use, their halves zeroed once */
	void **chunk;		/* [n_chunk of as many as n_context needs] */
	/* with shape.recent: */
	void *ring;
	size_t ring_pages; /* of one layer and head */
	size_t *ring_page; /* [ring_pages]: which page lies there, and 1 */
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

/* Bytes of one layer and head. */
static size_t share_bytes(const struct ds_kv_shape *shape)
{
	size_t dims = (size_t)shape->dim_k + shape->dim_v;
	size_t page = shape->recent
			      ? ds_page8_bytes(shape->dim_k, shape->dim_v) + dims * sizeof(float)
			      : page_halves(shape) * sizeof(uint16_t);

	return chunk_pages(shape) * page;
}

static size_t shares(const struct ds_kv_shape *shape)
{
	return (size_t)shape->n_layer * shape->n_head;
}

static size_t chunk_bytes(const struct ds_kv_shape *shape)
{
	return shares(shape) * share_bytes(shape) + LINE;
}

static size_t ring_pages(const struct ds_kv_shape *shape)
{
	size_t pages = pages_of(shape->n_context);

	return pages < shape->recent ? pages : shape->recent;
}

static size_t ring_bytes(const struct ds_kv_shape *shape)
{
	return shares(shape) * ring_pages(shape) * page_halves(shape) * sizeof(uint16_t) + LINE;
}

/* The first line of what ds_alloc_large() gave. */
static char *first_line(void *memory)
{
	return (char *)(((uintptr_t)memory + LINE - 1) / LINE * LINE);
}

static int dim_fits(uint32_t dim)
{
	return dim > 0 && dim % DS_KERN_LANES == 0 && dim <= DS_KV_DIM_MAX;
}

enum ds_status ds_kv_new(struct ds_kv **kv_ret, const struct ds_kv_shape *shape, struct ds_err *err)
{
	struct ds_kv *kv;
	size_t product, pages;

	if (!dim_fits(shape->dim_k) || !dim_fits(shape->dim_v))
		return ds_fail(err, DS_EUNSUPPORTED,
			       "heads of %u and %u values: expected multiples of %d up to %d",
			       (unsigned)shape->dim_k, (unsigned)shape->dim_v, DS_KERN_LANES,
			       DS_KV_DIM_MAX);
	if (!shape->n_layer || !shape->n_head || !shape->n_context)
		return ds_fail(err, DS_EINVAL, "keys and values of no layer, head or token");
	if (shape->recent == 1)
		return ds_fail(err, DS_EINVAL, "one recent page, at least 2 expected");
	pages = ring_pages(shape) > CHUNK_PAGES ? ring_pages(shape) : CHUNK_PAGES;
	DS_TRY(ds_mul(shape->n_layer, shape->n_head, &product, err));
	DS_TRY(ds_mul(product, pages, &product, err));
	DS_TRY(ds_mul(product, 2 * page_halves(shape) * sizeof(uint16_t), &product, err));
	kv = ds_alloc_zero(1, sizeof *kv);
	if (!kv)
		return ds_fail_nomem(err, sizeof *kv);
	kv->shape = *shape;
	kv->page_halves = page_halves(shape);
	kv->chunk_pages = chunk_pages(shape);
	kv->ring_pages = ring_pages(shape);
	kv->chunk = ds_alloc_zero(chunks_of(shape, shape->n_context), sizeof *kv->chunk);
	kv->ring_page = ds_alloc_zero(kv->ring_pages, sizeof *kv->ring_page);
	if (!kv->chunk || !kv->ring_page) {
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
	free(kv->ring);
	free(kv->ring_page);
	free(kv);
}

const struct ds_kv_shape *ds_kv_shape(const struct ds_kv *kv)
{
	return &kv->shape;
}

size_t ds_kv_bytes(const struct ds_kv_shape *shape, size_t n)
{
	size_t ring = n && shape->recent ? ring_bytes(shape) : 0;

	return chunks_of(shape, n) * chunk_bytes(shape) + ring;
}

static size_t share_of(const struct ds_kv *kv, uint32_t layer, uint32_t head)
{
	return (size_t)layer * kv->shape.n_head + head;
}

/* What a chunk has of a layer and head. */
static char *share_at(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return first_line(kv->chunk[page / kv->chunk_pages]) +
	       share_of(kv, layer, head) * share_bytes(&kv->shape);
}

static uint16_t *page_at(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	uint16_t *ring;

	if (!kv->shape.recent)
		return (uint16_t *)(void *)share_at(kv, layer, head, page) +
		       page % kv->chunk_pages * kv->page_halves;
	ring = (uint16_t *)(void *)first_line(kv->ring);
	return ring + (share_of(kv, layer, head) * kv->ring_pages + page % kv->ring_pages) *
			      kv->page_halves;
}

const uint16_t *ds_kv_page(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	assert(!kv->shape.recent || kv->ring_page[page % kv->ring_pages] == page + 1);
	return page_at(kv, layer, head, page);
}

struct ds_page8 ds_kv_page8(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	uint32_t dim_k = kv->shape.dim_k, dim_v = kv->shape.dim_v;

	return ds_page8_at(share_at(kv, layer, head, page) +
				   page % kv->chunk_pages * ds_page8_bytes(dim_k, dim_v),
			   dim_k, dim_v);
}

/* The mean keys of a chunk's pages, then their mean values. */
static float *means_at(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	size_t pages = kv->chunk_pages * ds_page8_bytes(kv->shape.dim_k, kv->shape.dim_v);

	return (float *)(void *)(share_at(kv, layer, head, page) + pages);
}

static float *k_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return means_at(kv, layer, head, page) + page % kv->chunk_pages * kv->shape.dim_k;
}

static float *v_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return means_at(kv, layer, head, page) + kv->chunk_pages * kv->shape.dim_k +
	       page % kv->chunk_pages * kv->shape.dim_v;
}

const float *ds_kv_k_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return k_mean(kv, layer, head, page);
}

const float *ds_kv_v_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page)
{
	return v_mean(kv, layer, head, page);
}

void ds_kv_seal(struct ds_kv *kv, const struct ds_kern *kern, uint32_t layer, uint32_t head,
		size_t page)
{
	struct ds_page8_seal seal = {.half = ds_kv_page(kv, layer, head, page),
				     .dim_k = kv->shape.dim_k,
				     .dim_v = kv->shape.dim_v,
				     .page = ds_kv_page8(kv, layer, head, page),
				     .k_mean = k_mean(kv, layer, head, page),
				     .v_mean = v_mean(kv, layer, head, page)};

	kern->attn8->seal(&seal);
}

/* The sequence reaches the page. */
static void open_page(struct ds_kv *kv, size_t page)
{
	if (kv->shape.recent)
		kv->ring_page[page % kv->ring_pages] = page + 1;
	for (uint32_t l = 0; l < kv->shape.n_layer; l++)
		for (uint32_t h = 0; h < kv->shape.n_head; h++)
			memset(page_at(kv, l, h, page), 0, kv->page_halves * sizeof(uint16_t));
}

enum ds_status ds_kv_reserve(struct ds_kv *kv, size_t n, struct ds_err *err)
{
	const struct ds_kv_shape *shape = &kv->shape;

	if (n > shape->n_context)
		return ds_fail(err, DS_ELIMIT, "%zu tokens: the context holds %u", n,
			       (unsigned)shape->n_context);
	if (shape->recent && n && !kv->ring) {
		kv->ring = ds_alloc_large(ring_bytes(shape), 1);
		if (!kv->ring)
			return ds_fail_nomem(err, ring_bytes(shape));
	}
	while (kv->n_chunk < chunks_of(shape, n)) {
		kv->chunk[kv->n_chunk] = ds_alloc_large(chunk_bytes(shape), 1);
		if (!kv->chunk[kv->n_chunk])
			return ds_fail_nomem(err, chunk_bytes(shape));
		kv->n_chunk++;
	}
	for (; kv->n_page < pages_of(n); kv->n_page++)
		open_page(kv, kv->n_page);
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
	size_t page = n / DS_KV_PAGE;

	if (pages_of(n) > kv->n_page)
		return n;
	if (n % DS_KV_PAGE != 0 && kv->shape.recent &&
	    kv->ring_page[page % kv->ring_pages] != page + 1)
		n = page * DS_KV_PAGE;
	kv->n_page = pages_of(n);
	if (n % DS_KV_PAGE == 0)
		return n;
	for (uint32_t l = 0; l < kv->shape.n_layer; l++)
		for (uint32_t h = 0; h < kv->shape.n_head; h++)
			clear_slots(page_at(kv, l, h, page), &kv->shape, n % DS_KV_PAGE);
	return n;
}

/* --- moving -------------------------------------------------------------------------------- */

/* A key of a page of halves, turned in place. */
static void turn_half(uint16_t *key, const struct ds_kern *kern, const struct ds_kv_move *move,
		      const float *table, size_t dim)
{
	uint16_t half[DS_KV_DIM_MAX];
	float x[DS_KV_DIM_MAX];

	for (size_t d = 0; d < dim; d++)
		half[d] = key[d * DS_KERN_LANES];
	kern->from_half(half, x, dim);
	ds_rope_apply(move->rope, kern, table, x, 1, dim);
	kern->to_half(x, half, dim);
	for (size_t d = 0; d < dim; d++)
		key[d * DS_KERN_LANES] = half[d];
}

/* A residual, moved in place, and then turned and rounded as attn8.h says. */
static void turn_rounded(const struct ds_page8 *page, size_t token, const struct ds_kern *kern,
			 const struct ds_kv_move *move, const float *table, size_t dim)
{
	int8_t *key = page->k + token / DS_ATTN8_BLOCK * DS_ATTN8_BLOCK * dim +
		      token % DS_ATTN8_BLOCK * 4;
	float x[DS_KV_DIM_MAX], max = 0, factor;
	int32_t sum = 0;

	ds_page8_key(page, dim, token, x);
	ds_rope_apply(move->rope, kern, table, x, 1, dim);
	ds_attn8_turn(x, dim);
	for (size_t d = 0; d < dim; d++)
		max = fabsf(x[d]) > max ? fabsf(x[d]) : max;
	factor = max < 0x1p-100f ? 0 : 127 / max;
	for (size_t d = 0; d < dim; d++) {
		int32_t a = (int32_t)rintf(x[d] * factor);

		a = a > 127 ? 127 : a < -127 ? -127 : a;
		key[d / 4 * 4 * DS_ATTN8_BLOCK + d % 4] = (int8_t)a;
		sum += a;
	}
	page->k_scale[token] = max < 0x1p-100f ? 0 : max / 127;
	page->k_zero[token] = -128 * sum;
}

static void move_half(struct ds_kv *kv, const struct ds_kern *kern, const struct ds_kv_move *move,
		      size_t to, const float *table)
{
	uint16_t *page = page_at(kv, move->layer, move->head, to);
	size_t dim = kv->shape.dim_k;

	memcpy(page, page_at(kv, move->layer, move->head, move->page[to]),
	       kv->page_halves * sizeof *page);
	for (size_t t = 0; t < DS_KV_PAGE; t++)
		turn_half(page + t / DS_KERN_LANES * DS_KERN_LANES * dim + t % DS_KERN_LANES, kern,
			  move, table, dim);
}

static void move_rounded(struct ds_kv *kv, const struct ds_kern *kern,
			 const struct ds_kv_move *move, size_t to, const float *table)
{
	uint32_t l = move->layer, h = move->head, from = move->page[to];
	size_t dim_k = kv->shape.dim_k, dim_v = kv->shape.dim_v;
	struct ds_page8 page = ds_kv_page8(kv, l, h, to);

	memcpy(page.k, ds_kv_page8(kv, l, h, from).k, ds_page8_bytes(dim_k, dim_v));
	memcpy(v_mean(kv, l, h, to), v_mean(kv, l, h, from), dim_v * sizeof(float));
	memcpy(k_mean(kv, l, h, to), k_mean(kv, l, h, from), dim_k * sizeof(float));
	ds_rope_apply(move->rope, kern, table, k_mean(kv, l, h, to), 1, dim_k);
	for (size_t t = 0; t < DS_KV_PAGE; t++)
		turn_rounded(&page, t, kern, move, table, dim_k);
}

void ds_kv_move(struct ds_kv *kv, const struct ds_kern *kern, const struct ds_kv_move *move)
{
	float table[2 * DS_ROPE_DIMS_MAX];
	size_t last = 0;

	for (size_t to = 0; to < move->n; to++) {
		size_t back = (move->page[to] - to) * DS_KV_PAGE;

		if (back == 0)
			continue;
		if (back != last)
			ds_rope_back_table(move->rope, back, table);
		last = back;
		if (kv->shape.recent)
			move_rounded(kv, kern, move, to, table);
		else
			move_half(kv, kern, move, to, table);
	}
}

void ds_kv_moved(struct ds_kv *kv, size_t n_page)
{
	/* what the ring holds lies elsewhere now */
	for (size_t i = 0; i < kv->ring_pages; i++)
		kv->ring_page[i] = 0;
	kv->n_page = n_page;
}
