/*
 * attn8.h - attention of rounded queries over rounded keys and values
 *
 * A row is one query of one head, times scale / ln 2.  Keys and values lie in blocks of 16 tokens,
 * four to a page of 64; keys less the mean key of their page.  Rows and these residuals are turned
 * first, which spreads what a few dims hold over all, and leaves inner products as they are: for
 * h = 1, 2, 4 ... as long as 2 h divides the dims, of each 2 h of them
 *
 *	x[i], x[i + h] = x[i] + x[i + h], x[i] - x[i + h]		(i < h)
 *
 * (a Hadamard matrix of span = 2 h for the last h, times its square root: inner products are span
 * times too great).  Everything is rounded to int8 once:
 *
 *	a = round to even (x * (127 / max |x|)),  s = max |x| / 127	(0 where max < 2^-100)
 *
 * with one s for a row, over span, one for each key and one for each value.  A mean key sums
 * the tokens of the four blocks in 16 lanes, ascending, and then the lanes (v16_sum); a mean value
 * sums its tokens, ascending; both times 1 / 64.  The blocks that a
 * row attends to are taken in the order of the list, up to four at a time (a unit), and with I the
 * exact inner product of a row and a key,
 *
 *	score = fma(I ks, qs, mean)		mean = row times mean key, in f32 (kern.h: gemm)
 *
 * -FLT_MAX for keys that the row does not see.  With u the greatest score of a unit (at least
 * -FLT_MAX / 2), vmax the greatest value scale, that of tokens not seen too, and
 * e = 2^20 2^(score - u) by the polynomial of attn8.inc:
 *
 *	Z = sum of round(e),  b = round(e w), w = vs (255 2^-20 / vmax),  Y = sum of b v
 *
 * Z and Y are exact integers.  A row has a maximum, a sum and values; a unit makes of them
 *
 *	max' = greater of max and u,  keep = 2^(max - max'),  f = 2^(u - max')
 *	sum = fma(Z 2^-20, f, sum keep),  value = fma(Y, f (vmax / 255), value keep)
 *
 * (every product rounded once).  So nothing depends on how many rows are taken together.
 */
#ifndef DS_KERN_ATTN8_H
#define DS_KERN_ATTN8_H

#include <stddef.h>
#include <stdint.h>

#define DS_ATTN8_BLOCK 16 /* tokens */
#define DS_ATTN8_UNIT 4	  /* blocks */
#define DS_ATTN8_PAGE 64  /* tokens */
#define DS_ATTN8_ROWS 64  /* rows of a call at most */
#define DS_ATTN8_DIM_MAX 1024

/* A page of one layer and KV head, rounded.  All of it in one piece of memory. */
struct ds_page8 {
	int8_t *k;	 /* [4 blocks][dim_k / 4][16 tokens][4], turned */
	int8_t *v;	 /* [16 fours of tokens][dim_v][4 tokens] */
	float *k_scale;	 /* [64] */
	int32_t *k_zero; /* [64]: -128 times the sum of the key's values */
	float *v_scale;	 /* [64] */
};

/* Bytes of a page; a multiple of 64. */
static inline size_t ds_page8_bytes(size_t dim_k, size_t dim_v)
{
	return DS_ATTN8_PAGE * (dim_k + dim_v + 12);
}

static inline struct ds_page8 ds_page8_at(void *memory, size_t dim_k, size_t dim_v)
{
	int8_t *k = (int8_t *)memory, *v = k + DS_ATTN8_PAGE * dim_k;
	float *scale = (float *)(void *)(v + DS_ATTN8_PAGE * dim_v);

	return (struct ds_page8){.k = k,
				 .v = v,
				 .k_scale = scale,
				 .k_zero = (int32_t *)(void *)(scale + DS_ATTN8_PAGE),
				 .v_scale = scale + (size_t)2 * DS_ATTN8_PAGE};
}

/* The dims that are turned together: the greatest power of two that divides dim. */
static inline size_t ds_attn8_span(size_t dim)
{
	return dim & (~dim + 1);
}

/* Turn x as above; twice gives span times x. */
void ds_attn8_turn(float *x, size_t dim);
/* A key less the mean key, turned back: x [dim]. */
void ds_page8_key(const struct ds_page8 *page, size_t dim, size_t token, float *x);

/* A full page of halves as in kv.h: keys [4][dim_k][16], values [dim_v / 16][64][16]. */
struct ds_page8_seal {
	const uint16_t *half;
	size_t dim_k, dim_v;
	struct ds_page8 page;
	float *k_mean; /* [dim_k] */
	float *v_mean; /* [dim_v] */
};

struct ds_attn8_block {
	const int8_t *k;       /* [dim_k / 4][16][4] */
	const int8_t *v;       /* [4][dim_v][4] */
	const float *k_scale;  /* [16] */
	const int32_t *k_zero; /* [16] */
	const float *v_scale;  /* [16] */
	const float *mean;     /* [ld]: of the rows */
	int32_t pos;	       /* of the first token */
	uint16_t tokens;       /* bit t: token t is seen (by all rows that see its position) */
};

/*
 * Some rows.  What lies behind n in arrays of ld is zero for q_scale (then the results there mean
 * nothing), and may be anything else.
 */
struct ds_attn8_rows {
	size_t n, ld; /* ld: a multiple of 16 up to 64, at least n */
	size_t dim_k, dim_v;
	uint8_t *q;	/* [dim_k / 4][ld][4]: a + 128 */
	float *q_scale; /* [ld] */
	float *q_float; /* [ld / 16][dim_k][16]: neither turned nor rounded, a panel of gemm */
	/* a row sees positions from first on; NULL: all */
	const int32_t *first; /* [ld] */
	float *max, *sum;     /* [ld] */
	float *value;	      /* [dim_v][ld] */
};

/* The mass of blocks for some rows, relative to maxima of each unit of blocks. */
struct ds_attn8_mass {
	float *mass;   /* [blocks][stride]: sums of 2^(score - max) */
	size_t stride; /* at least ld */
	float *max;    /* [units][ld]: at least -FLT_MAX / 2 */
};

/*
 * Which blocks some rows give their mass to.  Rows stand in the order they came in, step of them
 * at a time, so that the row step places before is an earlier sample of the same head; what lies
 * before mass is of rows before these (or zero).
 */
struct ds_attn8_pick {
	size_t n, ld;	/* rows; ld as in struct ds_attn8_rows */
	size_t n_block; /* a multiple of 4 */
	float *mass;	/* [n_block][stride] */
	size_t stride;
	float *own_max; /* [ld] of keys beside the blocks: their maximum, */
	float *own;	/* [ld] and mass relative to it; then its share */
	size_t samples, step;
	size_t begin, end;  /* blocks to choose among; the others are kept */
	const float *least; /* [ld] of the last samples together */
	float keep;	    /* of the newest one: what has to be kept at least */
	uint16_t *picked;   /* [n_block][ld / 16]: bit r: row r keeps the block */
};
#define DS_ATTN8_TIGHTENED 8

/*
 * A gist of a block: of each channel of its 16 residuals the mean, then of each half the standard
 * deviation (of none below 0), sums as v16_sum; rounded as above with one scale.  16 gists lie
 * together as 16 keys of 2 dim_k values do.
 */
struct ds_attn8_gist {
	size_t dim_k;
	const int8_t *k; /* the block's */
	const float *k_scale;
	int8_t *to; /* [2 dim_k / 4][16][4] */
	float *to_scale;
	int32_t *to_zero;
	size_t lane; /* which of the 16 */
};

/* What blocks would have of the softmax of up to 16 rows, if all their keys had one rough score. */
struct ds_attn8_guess {
	size_t n, n_block; /* n_block: a multiple of 4 */
	float *score;	   /* [n_block][16]: less the mean's; scratch afterwards */
	const float *mean; /* [n_block / 4][64] */
	float *share;	   /* [n_block]: out, of all rows together */
};

struct ds_attn8_kern {
	void (*seal)(const struct ds_page8_seal *s);
	/* Rows from x [n][dim_k], stride floats apart, times factor: q, q_scale and q_float. */
	void (*round)(const struct ds_attn8_rows *rows, const float *x, size_t stride,
		      float factor);
	/*
	 * Attend to n blocks.  Starts from max, sum and value as they are (at first -FLT_MAX, 0,
	 * 0). scratch: DS_ATTN8_SCRATCH bytes, aligned to 64.
	 */
	void (*attend)(const struct ds_attn8_rows *rows, const struct ds_attn8_block *block,
		       size_t n, void *scratch);
	/* The same for up to 8 rows, values [n][dim_v]; ld is that of q alone, max and sum
	 * have 16. */
	void (*attend_few)(const struct ds_attn8_rows *rows, const struct ds_attn8_block *block,
			   size_t n, void *scratch);
	/*
	 * Scores of the rows with the keys of n blocks: out [n][16][ld], as above, those not seen
	 * -FLT_MAX.
	 */
	void (*score)(const struct ds_attn8_rows *rows, const struct ds_attn8_block *block,
		      size_t n, float *out, void *scratch);
	/*
	 * The softmax mass of blocks: out [n][ld] = sum over the block's keys of 2^(score - max) of
	 * the row, in units of 2^-20 (exact sums of rounded powers), given scores as score() makes
	 * them and each row's max (at least -FLT_MAX / 2); scores above it count as equal to it.
	 */
	void (*mass)(const struct ds_attn8_rows *rows, const float *score, size_t n, float *out);
	/*
	 * Roughly the same for choosing: 2^x = 1 + r (0.7035 + 0.2422 r), times 2^n, x = n + r, at
	 * least 2^-126, summed over even tokens and odd ones, and then both.
	 */
	void (*weigh)(const struct ds_attn8_rows *rows, const struct ds_attn8_block *block,
		      size_t n, const struct ds_attn8_mass *to, void *scratch);
	/* Mass becomes shares of what blocks and own have together, summed own first; nothing
	 * where that is no number.  max as in struct ds_attn8_mass. */
	void (*share)(const struct ds_attn8_pick *p, const float *max);
	/*
	 * Blocks of which the last samples have at least least together are kept.  Where the newest
	 * keeps less than keep, least is halved, up to 7 times, and then all are kept.
	 */
	void (*pick)(const struct ds_attn8_pick *p);
	void (*gist)(const struct ds_attn8_gist *g);
	/* Powers as weigh() has them, relative to each row's greatest score, by their sum,
	 * ascending; the rows summed (v16_sum).  A score that is no number counts as 2^-126. */
	void (*guess)(const struct ds_attn8_guess *g);
};

/* Scores, weights and sums of a unit; room for the widest heads. */
#define DS_ATTN8_SCRATCH                                                                           \
	((size_t)DS_ATTN8_UNIT * DS_ATTN8_BLOCK * DS_ATTN8_ROWS * (sizeof(float) + 2) +            \
	 (size_t)DS_ATTN8_UNIT * DS_ATTN8_BLOCK * DS_ATTN8_DIM_MAX * 4 + 4096)

extern const struct ds_attn8_kern ds_attn8_ref, ds_attn8_avx2, ds_attn8_avx512, ds_attn8_vnni;

#endif
