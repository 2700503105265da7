/*
 * kv.h - keys and values of one sequence, in pages of 64 tokens
 *
 * A page holds one layer's and one KV head's tokens [64 p, 64 p + 64) as f16, in the panels that
 * the kernels multiply by (kern.h), so that nothing is repacked:
 *
 *	keys [64 / 16][dim_k][16 tokens]	values [dim_v / 16][64 tokens][16]
 *
 * Slots not yet written are zero.  With shape.recent, full pages are rounded to int8 (attn8.h) and
 * only the last ones are kept as f16 besides: a token attends exactly to its own page and, rounded,
 * to those before.
 */
#ifndef DS_KV_KV_H
#define DS_KV_KV_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "kern/attn8.h"
#include "kern/kern.h"
#include "kern/rope.h"

#define DS_KV_PAGE 64 /* tokens */
#define DS_KV_DIM_MAX 1024

struct ds_kv_shape {
	uint32_t n_layer, n_head; /* KV heads */
	uint32_t dim_k, dim_v;	  /* of a head; multiples of 16 */
	uint32_t n_context;	  /* tokens at most */
	uint32_t recent;	  /* 0: all pages stay f16; else so many of the last, at least 2 */
};

struct ds_kv;

/* DS_EUNSUPPORTED for dims that are no multiples of 16 up to DS_KV_DIM_MAX.  Pages are taken as the
 * sequence grows; DS_ENOMEM then comes from ds_kv_reserve(). */
enum ds_status ds_kv_new(struct ds_kv **kv_ret, const struct ds_kv_shape *shape,
			 struct ds_err *err);
void ds_kv_free(struct ds_kv *kv);
const struct ds_kv_shape *ds_kv_shape(const struct ds_kv *kv);
/* Bytes of n tokens. */
size_t ds_kv_bytes(const struct ds_kv_shape *shape, size_t n);
/* Make room for n tokens in all; DS_ELIMIT beyond n_context.  With shape.recent, pages of halves so
 * many before give way: put and seal those before going on. */
enum ds_status ds_kv_reserve(struct ds_kv *kv, size_t n, struct ds_err *err);
/* Token pos of a layer: keys [n_head][dim_k], values [n_head][dim_v], rounded to f16.  Different
 * positions may be put by different threads. */
void ds_kv_put(struct ds_kv *kv, const struct ds_kern *kern, uint32_t layer, size_t pos,
	       const float *keys, const float *values);
/* The keys of a page, then its values; with shape.recent one of the last pages. */
const uint16_t *ds_kv_page(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page);
/* Round a full page, one of the recent; before a later token attends to it.  Different pages,
 * heads or layers may be done by different threads. */
void ds_kv_seal(struct ds_kv *kv, const struct ds_kern *kern, uint32_t layer, uint32_t head,
		size_t page);
/* A rounded page. */
struct ds_page8 ds_kv_page8(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page);
/* The mean key and mean value of a rounded page: [dim_k], [dim_v].  Those of the pages of an
 * aligned group of 8 follow each other. */
const float *ds_kv_k_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page);
const float *ds_kv_v_mean(const struct ds_kv *kv, uint32_t layer, uint32_t head, size_t page);
/*
 * Forget what lies at and after token n.  Returns how many tokens are left: n, or with
 * shape.recent fewer, a multiple of 64, when the f16 page that n lies in is gone: the tokens
 * between must be put again.
 */
size_t ds_kv_truncate(struct ds_kv *kv, size_t n);

/*
 * Forget what lies between: page[i] of a layer and head becomes page i, its keys turned back to
 * where they now are (and rounded again).  Pages ascend, page[i] >= i, and are full.  Different
 * heads or layers may be done by different threads; when all are, ds_kv_moved() tells the pages
 * that are left.
 */
struct ds_kv_move {
	uint32_t layer, head;
	const uint32_t *page; /* [n] */
	size_t n;
	const struct ds_rope *rope;
};
void ds_kv_move(struct ds_kv *kv, const struct ds_kern *kern, const struct ds_kv_move *move);
void ds_kv_moved(struct ds_kv *kv, size_t n_page);

#endif
