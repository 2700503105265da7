/*
 * attn8.c - how near the kernels of attention in int8 come to the peak of vpdpbusd
 *
 *	attn8	one JSON object a line
 *
 * One thread, the best of many rounds.  A cycle is the time of one vpdpbusd on registers, so that
 * the floor of a row and 64 keys is dim_k + dim_v cycles of 64 products each.  Pages are as many as
 * fit in the second-level cache, and for few rows far more than fit in any.
 */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "kern/attn8.h"
#include "kern/kern.h"

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *aligned(size_t size)
{
	void *p = aligned_alloc(64, (size + 63) / 64 * 64);

	if (!p) {
		fprintf(stderr, "attn8: out of memory\n");
		exit(1);
	}
	memset(p, 0, size);
	return p;
}

#define VNNI(r) "vpdpbusd %%zmm31, %%zmm31, %%zmm" #r "\n\t"

/* Seconds of a vpdpbusd; the registers keep what they hold. */
static double cycle(void)
{
	double best = 1;

	if (!__builtin_cpu_supports("avx512vnni"))
		return 0;
	for (int round = 0; round < 50; round++) {
		size_t n = 100000;
		double t = seconds();

		__asm__ volatile("1:\n\t" VNNI(16) VNNI(17) VNNI(18) VNNI(19) VNNI(20) VNNI(21)
					 VNNI(22) VNNI(23) VNNI(24) VNNI(25) VNNI(26)
						 VNNI(27) "dec %0\n\tjnz 1b"
				 : "+r"(n)::"cc");
		t = (seconds() - t) / (12 * 100000);
		best = t < best ? t : best;
	}
	return best;
}

static uint32_t draw(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 8;
}

struct work {
	const struct ds_kern *kern;
	struct ds_attn8_rows rows;
	struct ds_attn8_block *block;
	size_t n_block;
	void *pages, *scratch;
	float *score;
};

static void build(struct work *w, size_t dim, size_t n, size_t n_page)
{
	size_t ld = (n + 15) / 16 * 16, bytes = ds_page8_bytes(dim, dim);
	uint16_t *half = aligned(DS_ATTN8_PAGE * 2 * dim * sizeof *half);
	float *mean = aligned(2 * dim * sizeof *mean), *x = aligned(n * dim * sizeof *x);
	struct ds_attn8_rows *r = &w->rows;

	w->pages = aligned(n_page * bytes);
	w->scratch = aligned(DS_ATTN8_SCRATCH);
	w->n_block = n_page * 4;
	w->block = aligned(w->n_block * sizeof *w->block);
	w->score = aligned(w->n_block * 16 * ld * sizeof(float));
	*r = (struct ds_attn8_rows){.n = n, .ld = ld, .dim_k = dim, .dim_v = dim};
	r->q = aligned(dim * ld);
	r->q_scale = aligned(ld * sizeof(float));
	r->q_float = aligned(dim * ld * sizeof(float));
	r->max = aligned(ld * sizeof(float));
	r->sum = aligned(ld * sizeof(float));
	r->value = aligned(dim * ld * sizeof(float));
	for (size_t i = 0; i < DS_ATTN8_PAGE * 2 * dim; i++)
		half[i] = ds_f32_to_f16((float)(draw() % 2001) / 1000 - 1);
	for (size_t i = 0; i < n * dim; i++)
		x[i] = (float)(draw() % 2001) / 1000 - 1;
	for (size_t i = 0; i < n_page; i++) {
		struct ds_page8 p = ds_page8_at((char *)w->pages + i * bytes, dim, dim);
		struct ds_page8_seal s = {half, dim, dim, p, mean, mean + dim};

		if (i == 0)
			w->kern->attn8->seal(&s);
		else
			memcpy(p.k, w->pages, bytes);
		for (size_t b = 0; b < 4; b++)
			w->block[4 * i + b] = (struct ds_attn8_block){
				.k = p.k + b * 16 * dim,
				.v = p.v + b * 16 * dim,
				.k_scale = p.k_scale + b * 16,
				.k_zero = p.k_zero + b * 16,
				.v_scale = p.v_scale + b * 16,
				.mean = r->value, /* zeros: as good as any */
				.pos = (int32_t)(64 * i + 16 * b),
				.tokens = 0xFFFF};
	}
	w->kern->attn8->round(r, x, dim, 0.1f);
	free(x);
	free(mean);
	free(half);
}

static void drop(struct work *w)
{
	struct ds_attn8_rows *r = &w->rows;
	void *all[] = {r->q,	 r->q_scale, r->q_float, r->max,     r->sum,
		       r->value, w->block,   w->pages,	 w->scratch, w->score};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]);
}

enum what { ATTEND, SCORE, MASS };

static void once(struct work *w, enum what what)
{
	struct ds_attn8_rows *r = &w->rows;
	const struct ds_attn8_kern *k = w->kern->attn8;

	switch (what) {
	case ATTEND:
		for (size_t i = 0; i < r->ld; i++) {
			r->max[i] = -FLT_MAX;
			r->sum[i] = 0;
		}
		k->attend(r, w->block, w->n_block, w->scratch);
		break;
	case SCORE:
		k->score(r, w->block, w->n_block, w->score, w->scratch);
		break;
	case MASS:
		k->mass(r, w->score, w->n_block, r->value);
		break;
	}
}

static void measure(const struct ds_kern *kern, size_t dim, size_t n, size_t n_page, double tick)
{
	static const char *const name[] = {"attend", "score", "mass"};
	struct work w = {.kern = kern};

	build(&w, dim, n, n_page);
	/* mass() gives more floats than value has when there are many pages */
	free(w.rows.value);
	w.rows.value = aligned((dim + w.n_block) * w.rows.ld * sizeof(float));
	for (size_t i = 0; i < w.n_block; i++)
		w.block[i].mean = w.rows.value;
	for (enum what what = ATTEND; what <= MASS; what++) {
		double best = 1e9, page = (double)ds_page8_bytes(dim, dim);

		for (int round = 0; round < 30; round++) {
			double t = seconds();

			once(&w, what);
			t = seconds() - t;
			best = t < best ? t : best;
		}
		best /= (double)n_page;
		printf("{\"kernel\":\"%s\",\"what\":\"%s\",\"dim\":%zu,\"rows\":%zu,\"pages\":%zu,"
		       "\"cycles_row_page\":%.1f,\"page_GBps\":%.1f}\n",
		       kern->name, name[what], dim, n, n_page,
		       tick > 0 ? best / tick / (double)n : 0, page / best * 1e-9);
	}
	drop(&w);
}

int main(void)
{
	static const size_t dims[] = {64, 128, 256};
	const struct ds_kern *kern;
	double tick = cycle();

	if (ds_kern_choose(&kern, NULL) != DS_OK)
		return 2;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
		static const size_t rows[] = {64, 16, 8, 4, 1};

		for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
			measure(kern, dims[i], rows[j], 24, tick);
		measure(kern, dims[i], 4, ((size_t)128 << 20) / ds_page8_bytes(dims[i], dims[i]),
			tick);
	}
	return 0;
}
