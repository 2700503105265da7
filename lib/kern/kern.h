/*
 * kern.h - the kernel table: inner loops, one row of functions an instruction set
 *
 * Every table gives the same bytes: sums run over 16 lanes in one written order, multiply-adds are
 * fused where written, exp and friends are the polynomials of rows.inc.  The loops are written once
 * (rows.inc) over a vector of 16 floats (vec_*.h) and compiled for each instruction set; "ref" is
 * plain C and serves as the oracle of the others.
 */
#ifndef DS_KERN_KERN_H
#define DS_KERN_KERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* Floats in a vector; panels and padded rows are multiples of it. */
#define DS_KERN_LANES 16

static inline size_t ds_kern_pad(size_t n)
{
	return (n + DS_KERN_LANES - 1) / DS_KERN_LANES * DS_KERN_LANES;
}

/*
 * c[i][j] = bias[j] + sum over k of a[i][k] * w[j][k], fused multiply-adds, k ascending.
 * w is packed (ds_kern_pack) as [pad(n) / 16][k][16]; c is written up to column pad(n).  With keep,
 * the sum starts at c[i][j] * keep[i] instead of bias[j].
 */
struct ds_gemm {
	size_t m, n, k;
	const float *a; /* [m][lda] */
	size_t lda;
	const float *panel; /* [pad(n) / 16][k][16] */
	const float *bias;  /* [pad(n)], or NULL for zeros */
	float *c;	    /* [m][ldc], ldc >= pad(n) */
	size_t ldc;
	const uint16_t *half; /* the panels as f16, instead of panel */
	size_t panel_rows;    /* rows of a panel from one to the next; 0: k */
	const float *keep;    /* [m], or NULL */
};

/* Keys [first, end) of a page. */
struct ds_key_range {
	uint8_t first, end;
};

/*
 * One page of attention for n queries.  For each: its scores' maximum and the one so far become
 * max; factor = 2^(the old - the new); scores become 2^(score - max), 0 outside of its range; they
 * are summed over 16 lanes, ascending, and sum = sum * factor + these.
 */
struct ds_page_softmax {
	size_t n;
	float *score; /* [n][stride], columns first .. end - 1 are used; multiples of 16 */
	size_t stride;
	unsigned first, end;
	const struct ds_key_range *range; /* [n], or NULL: all of first .. end - 1 */
	float *max, *factor;		  /* [n]; the first max: -FLT_MAX */
	float *sum;			  /* [n][16] */
};

/* Attention of a query over some keys: maximum, sum of powers in 16 lanes, weighted values. */
struct ds_attn_part {
	float *max, *sum, *value;
};

/* The same of some rows side by side, their sums whole. */
struct ds_attn_columns {
	size_t ld;	  /* a multiple of 16 */
	float *max, *sum; /* [ld] */
	float *value;	  /* [dim][ld] */
};

struct ds_attn8_kern;
struct ds_scan;
struct ds_matrix;
struct ds_act;
/*
 * Packed rows times one token: y[i] += row row0 + i of w times act, for i < n_row; the additions
 * as in linear.h, so that y is the bias on entry.
 */
typedef void ds_matvec_fn(const struct ds_matrix *w, size_t row0, size_t n_row,
			  const struct ds_act *act, float *y);

struct ds_kern {
	const char *name;
	const struct ds_linear_kern *linear; /* rows of linear.h; see linear_kern.h */
	ds_matvec_fn *const *matvec;	     /* by weight type; NULL for unknown types */
	const struct ds_attn8_kern *attn8;   /* attn8.h */
	void (*scan)(const struct ds_scan *s, const uint8_t *block, int32_t *out); /* scan.h */
	void (*gemm)(const struct ds_gemm *g);
	/* y = (x - mean) / sqrt(variance + eps) * gain + bias, over n values; y may be x */
	void (*layernorm)(const float *x, const float *gain_bias, float *y, size_t n, float eps);
	/* x = x Phi(x), Phi the normal distribution (gelu, erf form) */
	void (*gelu)(float *x, size_t n);
	/* x = softmax(scale x) */
	void (*softmax)(float *x, size_t n, float scale);
	/* y += x */
	void (*add)(float *y, const float *x, size_t n);
	/* y = x * factor; y may be x */
	void (*scale)(const float *x, float *y, size_t n, float factor);
	/* x = x / |x|; returns |x|^2 (x stays when it is 0) */
	float (*normalise)(float *x, size_t n);
	float (*dot)(const float *a, const float *b, size_t n);
	int32_t (*dot_i8)(const int8_t *a, const int8_t *b, size_t n); /* exact; n <= 131072 */
	/* for each id in order: sum += scale[id] * rows[id] (scale NULL: 1); rows are [..][n] */
	void (*gather)(float *sum, size_t n, const float *rows, const float *scale,
		       const uint32_t *id, size_t n_id);
	void (*gather_i8)(float *sum, size_t n, const int8_t *rows, const float *scale,
			  const uint32_t *id, size_t n_id);

	/* y = x / sqrt(mean of squares + eps) * gain; y may be x */
	void (*rmsnorm)(const float *x, const float *gain, float *y, size_t n, float eps);
	/* y = gate / (1 + e^-gate) * up; y may be gate or up */
	void (*silu_mul)(const float *gate, const float *up, float *y, size_t n);
	/* y = gelu(gate) * up in the tanh form of gelu; y may be gate or up */
	void (*gelu_mul)(const float *gate, const float *up, float *y, size_t n);
	/* turn the pairs of a head by a table of rope.h: [dims] cosines, [dims] signed sines */
	void (*rope_halves)(float *x, const float *table, size_t dims);
	void (*rope_pairs)(float *x, const float *table, size_t dims);
	/* f32 to f16 (to nearest even) and back */
	void (*to_half)(const float *x, uint16_t *h, size_t n);
	void (*from_half)(const uint16_t *h, float *x, size_t n);
	/* index of the greatest value, the lowest of equals; NaN is passed over */
	size_t (*argmax)(const float *x, size_t n);
	/* ln of the sum of e^x, n >= 1: the log-probability of i is x[i] - logsumexp(x) */
	double (*logsumexp)(const float *x, size_t n);

	void (*page_softmax)(const struct ds_page_softmax *s);
	/* into = into and part together; dim values, a multiple of 16 */
	void (*attn_join)(const struct ds_attn_part *into, const struct ds_attn_part *part,
			  size_t dim);
	void (*attn_join_columns)(const struct ds_attn_columns *into,
				  const struct ds_attn_columns *part, size_t dim);
	/* The first n columns become n parts, one after the other; their sums in lane 0. */
	void (*attn_turn)(const struct ds_attn_columns *columns, size_t n,
			  const struct ds_attn_part *first, size_t dim);
	/* out = value / sum */
	void (*attn_finish)(const struct ds_attn_part *part, float *out, size_t dim);
};

/*
 * The best table of this CPU, capped by the environment variable DS_CPU (ref, avx2, avx512 or
 * vnni); DS_EINVAL for another value.
 */
enum ds_status ds_kern_choose(const struct ds_kern **kern_ret, struct ds_err *err);
/* Every table this CPU can run, the first being ref: for tests. */
size_t ds_kern_all(const struct ds_kern *const **tables_ret);

/* n floats that begin a cache line; NULL when memory is out. */
float *ds_kern_floats(struct ds_arena *arena, size_t n);

/* w [n][k] to panels [pad(n) / 16][k][16], the missing rows zero. */
void ds_kern_pack(const float *w, size_t n, size_t k, size_t stride, float *panel);

#endif
