/*
 * linear.c - products of weight matrices and activations: which thread does which rows, and how
 *
 * Rows are independent, so they are what threads share.  One token is multiplied by the packed
 * rows; a batch opens a slab of a few panels of 16 rows into its thread's scratch memory, where it
 * stays in the second-level cache while all tiles of tokens pass.
 */
#include "kern/linear.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/types.h"
#include "kern/linear_kern.h"
#include "kern/tables.h"

#define R DS_PANEL_ROWS
#define LINE 64

/* Panels of a slab: two share a tile of activations while it is in the first-level cache, and the
 * float gemm works on two. */
#define SLAB_PANELS 2
/* Packed bytes that one token's item reads at least: less than a microsecond of work is not worth
 * handing out. */
#define MATVEC_BYTES 32768
/* Tokens that the float gemm takes at a time when the result is not stored as it is. */
#define GEMM_TOKENS 48

struct ds_linear {
	const struct ds_kern *kern;
	struct ds_pool *pool;
	size_t k_max;
	size_t thread_bytes; /* scratch memory of one thread */
	uint8_t *scratch;    /* [threads][thread_bytes], from a cache line on */
	void *memory;
};

struct job {
	const struct ds_linear *lin;
	const struct ds_product *product;
	size_t n_product;
	const struct ds_act *act;
};

/* Rows of one product that one thread does. */
struct slab {
	const struct ds_product *p;
	size_t row0, n_row;
};

static bool is_float(uint32_t type)
{
	return type == DS_GGML_F32 || type == DS_GGML_F16 || type == DS_GGML_BF16;
}

enum ds_status ds_matrix_init(struct ds_matrix *m, uint32_t type, const void *data, size_t n,
			      size_t k, struct ds_err *err)
{
	const struct ds_ggml_type *t = ds_ggml_type(type);
	size_t bytes;

	if (type >= DS_LINEAR_TYPES || !ds_matvec_ref[type]) {
		if (!t)
			return ds_fail(err, DS_EUNSUPPORTED, "weights of unknown type %u",
				       (unsigned)type);
		return ds_fail(err, DS_EUNSUPPORTED,
			       "weights of type %s: expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, "
			       "Q5_0, Q5_1, Q4_K, Q5_K or Q6_K",
			       t->name);
	}
	if (k == 0 || k % t->block_values)
		return ds_fail(err, DS_EFORMAT, "rows of %zu values: %s comes in blocks of %u", k,
			       t->name, (unsigned)t->block_values);
	DS_TRY(ds_mul(k / t->block_values, t->block_bytes, &bytes, err));
	*m = (struct ds_matrix){.type = type, .n = n, .k = k, .row_bytes = bytes, .data = data};
	return DS_OK;
}

enum ds_status ds_linear_new(struct ds_linear **lin_ret, const struct ds_kern *kern,
			     struct ds_pool *pool, size_t k_max, struct ds_err *err)
{
	struct ds_linear *lin = ds_alloc_zero(1, sizeof *lin);
	size_t bytes;

	if (!lin)
		return ds_fail_nomem(err, sizeof *lin);
	*lin = (struct ds_linear){.kern = kern, .pool = pool, .k_max = k_max};
	/* panels of floats are the largest */
	if (ds_mul(k_max, SLAB_PANELS * R * sizeof(float), &lin->thread_bytes, err) != DS_OK ||
	    ds_mul(lin->thread_bytes, ds_pool_threads(pool), &bytes, err) != DS_OK) {
		free(lin);
		return DS_ELIMIT;
	}
	lin->memory = ds_alloc_large(bytes + LINE, 1);
	if (!lin->memory) {
		free(lin);
		return ds_fail_nomem(err, bytes);
	}
	lin->scratch = (uint8_t *)(((uintptr_t)lin->memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	*lin_ret = lin;
	return DS_OK;
}

size_t ds_linear_bytes(const struct ds_linear *lin)
{
	return sizeof *lin + lin->thread_bytes * ds_pool_threads(lin->pool) + LINE;
}

void ds_linear_free(struct ds_linear *lin)
{
	if (!lin)
		return;
	free(lin->memory);
	free(lin);
}

static size_t slab_rows(const struct ds_matrix *w, size_t n_token)
{
	if (n_token == 1 && w->row_bytes < MATVEC_BYTES / R)
		return MATVEC_BYTES / w->row_bytes / R * R;
	return n_token == 1 ? R : SLAB_PANELS * R;
}

static size_t slabs(const struct ds_matrix *w, size_t n_token)
{
	size_t rows = slab_rows(w, n_token);

	return w->n / rows + (w->n % rows != 0);
}

static void load_bias(const struct slab *s, float *bias, size_t n)
{
	memset(bias, 0, n * sizeof *bias);
	if (s->p->bias)
		memcpy(bias, s->p->bias + s->row0, s->n_row * sizeof *bias);
}

/* At most n of the slab's rows, from row on. */
static struct slab part(const struct slab *s, size_t row, size_t n)
{
	return (struct slab){s->p, s->row0 + row, s->n_row - row < n ? s->n_row - row : n};
}

/* Sums of some tokens, ld apart. */
struct sums {
	const float *sum;
	size_t ld, token, n;
};

/* Bring sums to their place in y. */
static void put(const struct ds_kern *kern, const struct slab *s, const struct sums *sums)
{
	const float *sum = sums->sum;

	for (size_t i = 0; i < sums->n; i++, sum += sums->ld) {
		float *y = s->p->y + (sums->token + i) * s->p->ld + s->row0;

		if (s->p->add)
			kern->add(y, sum, s->n_row);
		else
			memcpy(y, sum, s->n_row * sizeof *y);
	}
}

static void run_one_token(const struct job *job, const struct slab *s)
{
	const struct ds_matrix *w = s->p->w;
	float sum[R], *y = s->p->y + s->row0;
	size_t step = s->p->add ? R : s->n_row;

	for (size_t row = 0; row < s->n_row; row += step) {
		struct slab some = part(s, row, step);
		float *to = s->p->add ? sum : y;

		load_bias(&some, to, some.n_row);
		job->lin->kern->matvec[w->type](w, some.row0, some.n_row, job->act, to);
		if (s->p->add)
			put(job->lin->kern, &some, &(struct sums){sum, R, 0, 1});
	}
}

static void run_floats(const struct job *job, const struct slab *s, uint8_t *scratch)
{
	const struct ds_matrix *w = s->p->w;
	const struct ds_kern *kern = job->lin->kern;
	struct ds_panel panel = {.type = w->type, .f = (float *)(void *)scratch};
	float bias[SLAB_PANELS * R], sum[GEMM_TOKENS * SLAB_PANELS * R];
	size_t n = job->act->n, step;
	bool direct = s->n_row % R == 0 && !s->p->add;
	struct ds_gemm g = {.n = s->n_row, .k = w->k, .lda = w->k, .bias = bias};

	g.panel = panel.f;
	for (size_t row = 0; row < s->n_row; row += R, panel.f += w->k * R) {
		struct slab some = part(s, row, R);

		kern->linear->open[w->type](w, some.row0, some.n_row, &panel);
	}
	load_bias(s, bias, sizeof bias / sizeof *bias);
	step = direct ? n : GEMM_TOKENS;
	for (size_t i = 0; i < n; i += step) {
		g.m = n - i < step ? n - i : step;
		g.a = job->act->x + i * w->k;
		g.c = direct ? s->p->y + s->row0 : sum;
		g.ldc = direct ? s->p->ld : ds_kern_pad(s->n_row);
		kern->gemm(&g);
		if (!direct)
			put(kern, s, &(struct sums){sum, g.ldc, i, g.m});
	}
}

static void run_integers(const struct job *job, const struct slab *s, uint8_t *scratch)
{
	const struct ds_linear_kern *rows = job->lin->kern->linear;
	const struct ds_matrix *w = s->p->w;
	struct ds_panel_group *group = (struct ds_panel_group *)(void *)scratch;
	struct ds_panel panel[SLAB_PANELS];
	float bias[SLAB_PANELS][R], sum[DS_ACT_TILE * R];
	size_t n_panel = (s->n_row + R - 1) / R;

	for (size_t i = 0; i < n_panel; i++) {
		struct slab some = part(s, i * R, R);

		panel[i] = (struct ds_panel){.type = w->type,
					     .group = group + i * (2 * w->k / DS_ACT_GROUP)};
		rows->open[w->type](w, some.row0, some.n_row, &panel[i]);
		load_bias(&some, bias[i], R);
	}
	for (size_t t = 0; t < job->act->n_tile; t++) {
		struct ds_act_tile tile = ds_act_tile(job->act, t);

		for (size_t i = 0; i < n_panel; i++) {
			struct slab some = part(s, i * R, R);
			bool direct = some.n_row == R && !s->p->add;
			float *y = s->p->y + tile.first * s->p->ld + some.row0;

			rows->multiply(&panel[i], &tile, bias[i], direct ? y : sum,
				       direct ? s->p->ld : R);
			if (!direct)
				put(job->lin->kern, &some,
				    &(struct sums){sum, R, tile.first, tile.width});
		}
	}
}

/* Of no rows when there are no tokens. */
static size_t product_slabs(const struct ds_product *p, const struct ds_act *act)
{
	const struct ds_act *own = p->act ? p->act : act;

	return own->n ? slabs(p->w, own->n) : 0;
}

static void run_item(void *arg, size_t index, unsigned thread)
{
	struct job own = *(const struct job *)arg, *job = &own;
	const struct ds_product *p = job->product;
	uint8_t *scratch = job->lin->scratch + thread * job->lin->thread_bytes;
	size_t n, count, rows;
	struct slab s;

	for (; index >= (count = product_slabs(p, job->act)); p++)
		index -= count;
	if (p->act)
		own.act = p->act;
	n = own.act->n;
	rows = slab_rows(p->w, n);
	s = (struct slab){.p = p, .row0 = index * rows};
	s.n_row = p->w->n - s.row0 < rows ? p->w->n - s.row0 : rows;
	if (n == 1)
		run_one_token(job, &s);
	else if (is_float(p->w->type))
		run_floats(job, &s, scratch);
	else
		run_integers(job, &s, scratch);
}

void ds_linear_run(struct ds_linear *lin, const struct ds_product *product, size_t n_product,
		   const struct ds_act *act)
{
	struct job job = {.lin = lin, .product = product, .n_product = n_product, .act = act};
	size_t items = 0;

	for (size_t i = 0; i < n_product; i++) {
		assert(product[i].w->k == (product[i].act ? product[i].act : act)->k);
		assert(product[i].w->k <= lin->k_max);
		items += product_slabs(&product[i], act);
	}
	ds_pool_run(lin->pool, items, run_item, &job);
}
