/* recall.c - the softmax mass that queries give to pages */
#include "attn/recall.h"

#include <float.h>

#define LOG2_E 1.44269504f
#define ROWS DS_ATTN8_ROWS
#define BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)

struct ds_recall {
	const struct ds_kern *kern;
	struct ds_attn8_rows rows; /* of one call's queries, 64 at most at a time */
	float *q;		   /* [64][dim_k]: scaled */
	float *mean;		   /* [64]: scores of a page's mean key */
	float *by_row;		   /* [64][64]: scores of halves */
	float *score;		   /* [64 keys][64] */
	float *block;		   /* [4][64]: masses of blocks */
	float *page;		   /* [pages of the context][64]: masses of pages */
	void *memory;		   /* of the kernels */
};

struct ds_recall *ds_recall_new(struct ds_arena *mem, const struct ds_kern *kern,
				const struct ds_kv_shape *shape)
{
	struct ds_recall *r = ds_arena_alloc(mem, 1, sizeof *r);
	size_t dim = shape->dim_k;

	if (!r)
		return NULL;
	*r = (struct ds_recall){.kern = kern, .rows = {.dim_k = dim, .dim_v = shape->dim_v}};
	r->rows.q = (uint8_t *)ds_kern_floats(mem, ROWS * dim / sizeof(float));
	r->rows.q_scale = ds_kern_floats(mem, ROWS);
	r->rows.q_float = ds_kern_floats(mem, ROWS * dim);
	r->rows.max = ds_kern_floats(mem, ROWS);
	r->q = ds_kern_floats(mem, ROWS * dim);
	r->mean = ds_kern_floats(mem, ROWS);
	r->by_row = ds_kern_floats(mem, (size_t)ROWS * DS_KV_PAGE);
	r->score = ds_kern_floats(mem, (size_t)ROWS * DS_KV_PAGE);
	r->block = ds_kern_floats(mem, (size_t)ROWS * BLOCKS);
	r->page = ds_kern_floats(mem, ((size_t)shape->n_context / DS_KV_PAGE + 1) * ROWS);
	r->memory = ds_kern_floats(mem, DS_ATTN8_SCRATCH / sizeof(float));
	if (!r->rows.q || !r->rows.q_scale || !r->rows.q_float || !r->rows.max || !r->q ||
	    !r->mean || !r->by_row || !r->score || !r->block || !r->page || !r->memory)
		return NULL;
	return r;
}

/* Scores of a rounded page into r->score. */
static void score_rounded(struct ds_recall *r, const struct ds_recall_call *call, uint32_t page)
{
	struct ds_page8 p = ds_kv_page8(call->kv, call->layer, call->head, page);
	struct ds_attn8_block block[BLOCKS];
	const struct ds_gemm mean = {.m = 1,
				     .n = r->rows.ld,
				     .k = r->rows.dim_k,
				     .a = ds_kv_k_mean(call->kv, call->layer, call->head, page),
				     .lda = r->rows.dim_k,
				     .panel = r->rows.q_float,
				     .c = r->mean,
				     .ldc = ROWS};

	r->kern->gemm(&mean);
	for (size_t i = 0; i < BLOCKS; i++)
		block[i] = (struct ds_attn8_block){.k = p.k + i * DS_ATTN8_BLOCK * r->rows.dim_k,
						   .v = p.v + i * DS_ATTN8_BLOCK * r->rows.dim_v,
						   .k_scale = p.k_scale + i * DS_ATTN8_BLOCK,
						   .k_zero = p.k_zero + i * DS_ATTN8_BLOCK,
						   .v_scale = p.v_scale + i * DS_ATTN8_BLOCK,
						   .mean = r->mean,
						   .tokens = 0xFFFF};
	r->kern->attn8->score(&r->rows, block, BLOCKS, r->score, r->memory);
}

/* Of a page of halves. */
static void score_half(struct ds_recall *r, const struct ds_recall_call *call, uint32_t page)
{
	const struct ds_gemm g = {.m = r->rows.n,
				  .n = DS_KV_PAGE,
				  .k = r->rows.dim_k,
				  .a = r->q,
				  .lda = r->rows.dim_k,
				  .half = ds_kv_page(call->kv, call->layer, call->head, page),
				  .c = r->by_row,
				  .ldc = DS_KV_PAGE};

	r->kern->gemm(&g);
	for (size_t row = 0; row < r->rows.n; row++)
		for (size_t t = 0; t < DS_KV_PAGE; t++)
			r->score[t * r->rows.ld + row] = r->by_row[row * DS_KV_PAGE + t];
}

static void score_page(struct ds_recall *r, const struct ds_recall_call *call, uint32_t page)
{
	if (ds_kv_shape(call->kv)->recent)
		score_rounded(r, call, page);
	else
		score_half(r, call, page);
}

/* Masses of the rows in the page that is scored, in units of 2^-20. */
static void weigh_page(struct ds_recall *r, float *mass)
{
	r->kern->attn8->mass(&r->rows, r->score, BLOCKS, r->block);
	for (size_t row = 0; row < r->rows.n; row++) {
		mass[row] = 0;
		for (size_t i = 0; i < BLOCKS; i++)
			mass[row] += r->block[i * r->rows.ld + row];
	}
}

/* Queries begin .. become the rows. */
static void load_rows(struct ds_recall *r, const struct ds_recall_call *call, size_t begin)
{
	size_t dim = r->rows.dim_k;

	r->rows.n = call->n - begin < ROWS ? call->n - begin : ROWS;
	r->rows.ld = ds_kern_pad(r->rows.n);
	r->kern->scale(call->q + begin * dim, r->q, r->rows.n * dim, call->scale * LOG2_E);
	r->kern->attn8->round(&r->rows, r->q, dim, 1);
	for (size_t row = 0; row < ROWS; row++)
		r->rows.max[row] = -FLT_MAX;
}

static void raise_max(const struct ds_recall *r)
{
	const struct ds_attn8_rows *rows = &r->rows;

	for (size_t t = 0; t < DS_KV_PAGE; t++)
		for (size_t row = 0; row < rows->n; row++)
			if (r->score[t * rows->ld + row] > rows->max[row])
				rows->max[row] = r->score[t * rows->ld + row];
}

/* The rows' greatest scores, then their masses, then what each gives to each page. */
static void run_rows(struct ds_recall *r, const struct ds_recall_call *call, double *mass)
{
	size_t n = call->end - call->first;

	for (size_t i = 0; i < n; i++) {
		score_page(r, call, call->first + (uint32_t)i);
		raise_max(r);
	}
	for (size_t i = 0; i < n; i++) {
		score_page(r, call, call->first + (uint32_t)i);
		weigh_page(r, r->page + i * ROWS);
	}
	for (size_t row = 0; row < r->rows.n; row++) {
		double sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (double)r->page[i * ROWS + row];
		for (size_t i = 0; sum > 0 && i < n; i++)
			mass[i] += (double)r->page[i * ROWS + row] / sum;
	}
}

void ds_recall_run(struct ds_recall *r, const struct ds_recall_call *call, double *mass)
{
	for (size_t begin = 0; begin < call->n; begin += ROWS) {
		load_rows(r, call, begin);
		run_rows(r, call, mass);
	}
}
