/*
 * linear.h - weight matrices times activations, on the packed weights of model files
 *
 * One written order for every instruction set, thread count and batch.  Activations are rounded
 * once, per token and group of 32 values:
 *
 *	s = max |x| / 127,  a = round to even (x * (127 / max |x|)), all zero where max < 2^-100
 *
 * (s is NaN, and so is every output, where x holds one or an infinity), and an output starts as the
 * bias (or 0) and takes the groups g of K in ascending order.  With I = sum of q a over the group,
 * exact in int32, q the stored integer (less 8 for Q4_0, 16 for Q5_0), d and m the group's scale
 * and minimum in f32 (Q4_K: d sc and -(dmin m), each product rounded once), A = sum of a:
 *
 *	Q8_0 Q4_0 Q5_0			y = fma(I d, s, y)
 *	Q4_1 Q5_1 Q4_K Q5_K		y = fma(I d, s, y), then y = fma(m, s A, y)
 *	Q6_K (I0, I1 the halves)	y = fma(fma(I1, d sc1, I0 (d sc0)), s, y)
 *	F32 F16 BF16			y = fma(w, x, y) for every value, on the unrounded x
 *
 * (I d, s A and the inner products are rounded to f32.)  So a token's outputs have the same bytes
 * whether it comes alone (decode) or in a batch (prefill).
 */
#ifndef DS_KERN_LINEAR_H
#define DS_KERN_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kern/kern.h"

/* n rows of k values, borrowed from the file: row r begins at data + r * row_bytes. */
struct ds_matrix {
	uint32_t type; /* ggml type number */
	size_t n, k;
	size_t row_bytes;
	const uint8_t *data;
};

/*
 * The matrix of n rows of k values of that type; DS_EUNSUPPORTED for a type without kernels,
 * DS_EFORMAT when k does not fit the type's blocks (integer types: multiples of 32 or 256).
 */
enum ds_status ds_matrix_init(struct ds_matrix *m, uint32_t type, const void *data, size_t n,
			      size_t k, struct ds_err *err);

/*
 * Activations of up to n_max tokens of up to k_max values: as written (floats), and rounded, in
 * the layout of the kernels.
 */
struct ds_act;
enum ds_status ds_act_new(struct ds_act **act_ret, size_t n_max, size_t k_max, struct ds_err *err);
void ds_act_free(struct ds_act *act);
/* Bytes that ds_act_new() would take. */
size_t ds_act_bytes(size_t n_max, size_t k_max);
/* From now on n tokens of k values (k a multiple of 32 unless all weights are floats). */
void ds_act_begin(struct ds_act *act, size_t n, size_t k);
/* Where the k floats of token i are written, one token behind the other; then ds_act_round() of it,
 * by any thread. */
float *ds_act_row(struct ds_act *act, size_t i);
void ds_act_round(const struct ds_kern *kern, struct ds_act *act, size_t i);

/* y[token][row] = bias[row] + w x, stored or added (add: y += the finished sum, one addition). */
struct ds_product {
	const struct ds_matrix *w;
	const float *bias; /* [w->n], or NULL */
	float *y;	   /* [n tokens][ld] */
	size_t ld;
	bool add;
	const struct ds_act *act; /* of this product alone, or NULL: those of the run */
};

/* Scratch memory (an open panel) for each thread of pool. */
struct ds_linear;
enum ds_status ds_linear_new(struct ds_linear **lin_ret, const struct ds_kern *kern,
			     struct ds_pool *pool, size_t k_max, struct ds_err *err);
void ds_linear_free(struct ds_linear *lin);
/* Bytes of scratch memory. */
size_t ds_linear_bytes(const struct ds_linear *lin);
/* All products in one parallel region: q, k, v together; gate and up.  act may be NULL when every
 * product has its own. */
void ds_linear_run(struct ds_linear *lin, const struct ds_product *product, size_t n_product,
		   const struct ds_act *act);

#endif
