/*
 * test_kern_attn8.c - attention in int8: the same bytes from every table, nothing touched beyond
 * the ends, and near attention in double precision
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "base/half.h"
#include "kern/attn8.h"

#define ROUNDS 60
#define PAGES 4
#define BLOCKS_MAX 40

/* What is to be freed after a round. */
static struct {
	void *map;
	size_t size;
} mapped[256];
static size_t n_mapped;

/* size bytes that end where a page begins that cannot be touched; what they hold is random */
static void *guarded(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size + page - 1) / page * page;
	uint8_t *p = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	ck_assert(p != MAP_FAILED && n_mapped < sizeof mapped / sizeof *mapped);
	ck_assert_int_eq(mprotect(p + bytes, page, PROT_NONE), 0);
	mapped[n_mapped].map = p;
	mapped[n_mapped++].size = bytes + page;
	for (size_t i = bytes - size; i < bytes; i++)
		p[i] = (uint8_t)draw(256);
	return p + bytes - size;
}

static void unmap_to(size_t n)
{
	while (n_mapped > n) {
		n_mapped--;
		munmap(mapped[n_mapped].map, mapped[n_mapped].size);
	}
}

static float *guarded_floats(size_t n)
{
	return guarded(n * sizeof(float));
}

/* Pages and the queries of some rows. */
struct world {
	size_t dim_k, dim_v, n, ld;
	uint16_t *half[PAGES];
	struct ds_page8 page[PAGES];
	float *k_mean; /* [PAGES][dim_k] */
	float *v_mean[PAGES];
	float *x; /* [n][stride] */
	size_t stride;
	float factor;
	struct ds_attn8_rows rows;
	float *mean; /* [PAGES][ld] */
	struct ds_attn8_block block[BLOCKS_MAX];
	uint32_t number[BLOCKS_MAX]; /* of the block among those of all pages */
	size_t n_block;
	int32_t *first;
};

static struct ds_attn8_rows new_rows(const struct world *w)
{
	struct ds_attn8_rows r = {.n = w->n, .ld = w->ld, .dim_k = w->dim_k, .dim_v = w->dim_v};

	r.q = guarded(w->dim_k * w->ld);
	r.q_scale = guarded_floats(w->ld);
	r.q_float = guarded_floats(w->dim_k * w->ld);
	r.max = guarded_floats(w->ld);
	r.sum = guarded_floats(w->ld);
	r.value = guarded_floats(w->dim_v * w->ld);
	return r;
}

static void start_rows(struct ds_attn8_rows *r)
{
	for (size_t i = 0; i < r->ld; i++) {
		r->max[i] = -FLT_MAX;
		r->sum[i] = 0;
	}
	memset(r->value, 0, r->dim_v * r->ld * sizeof(float));
}

/* EVEN: between -1 and 1.  WILD: with some that are huge, tiny or zero. */
enum numbers { EVEN, PLAIN, WILD };

static float some_value(enum numbers kind)
{
	if (kind == EVEN)
		return (float)((int)draw(2001) - 1000) / 1000;
	switch (kind == WILD ? draw(40) : 40) {
	case 0:
		return 0;
	case 1:
		return 60000;
	case 2:
		return -6e-8f;
	default:
		return real();
	}
}

static void seal_pages(const struct ds_kern *kern, struct world *w, enum numbers kind)
{
	size_t bytes = ds_page8_bytes(w->dim_k, w->dim_v);

	w->k_mean = guarded_floats(PAGES * w->dim_k);
	for (size_t p = 0; p < PAGES; p++) {
		size_t n = DS_ATTN8_PAGE * (w->dim_k + w->dim_v);
		float size = kind == WILD && draw(4) == 0 ? 0 : 1;
		struct ds_page8_seal s = {.dim_k = w->dim_k, .dim_v = w->dim_v};
		void *want = guarded(bytes), *got = guarded(bytes);
		float *k_mean = guarded_floats(w->dim_k), *v_mean = guarded_floats(w->dim_v);

		w->half[p] = guarded(n * sizeof(uint16_t));
		w->v_mean[p] = guarded_floats(w->dim_v);
		for (size_t i = 0; i < n; i++)
			w->half[p][i] = ds_f32_to_f16(size * some_value(kind));
		s.half = w->half[p];
		s.page = ds_page8_at(want, w->dim_k, w->dim_v);
		s.k_mean = k_mean;
		s.v_mean = v_mean;
		ref()->attn8->seal(&s);
		s.page = w->page[p] = ds_page8_at(got, w->dim_k, w->dim_v);
		s.k_mean = w->k_mean + p * w->dim_k;
		s.v_mean = w->v_mean[p];
		kern->attn8->seal(&s);
		ck_assert_mem_eq(want, got, bytes);
		ck_assert_mem_eq(k_mean, s.k_mean, w->dim_k * sizeof(float));
		ck_assert_mem_eq(v_mean, s.v_mean, w->dim_v * sizeof(float));
	}
}

static void round_rows(const struct ds_kern *kern, struct world *w, enum numbers kind)
{
	struct ds_attn8_rows want = new_rows(w);
	size_t stride = w->dim_k + draw(3), n = (w->n - 1) * stride + w->dim_k;
	struct ds_gemm g = {.m = PAGES, .n = w->n, .k = w->dim_k, .lda = w->dim_k, .ldc = w->ld};
	float factor = kind == WILD && draw(3) == 0 ? 1e20f : 0.25f;

	w->rows = new_rows(w);
	w->x = guarded_floats(n);
	w->stride = stride;
	w->factor = factor;
	for (size_t i = 0; i < n; i++)
		w->x[i] = kind == WILD && draw(10) == 0 ? 1e-40f : some_value(kind);
	for (size_t i = 0; kind == WILD && i < w->dim_k; i++)
		w->x[(w->n - 1) * stride + i] = 0;
	ref()->attn8->round(&want, w->x, stride, factor);
	kern->attn8->round(&w->rows, w->x, stride, factor);
	ck_assert_mem_eq(want.q, w->rows.q, w->dim_k * w->ld);
	ck_assert_mem_eq(want.q_scale, w->rows.q_scale, w->ld * sizeof(float));
	ck_assert_mem_eq(want.q_float, w->rows.q_float, w->dim_k * w->ld * sizeof(float));
	for (size_t i = 0; i < w->ld * w->dim_k; i++) {
		size_t row = i / (w->dim_k * 16) * 16 + i % 16, d = i / 16 % w->dim_k;
		float x = row < w->n ? w->x[row * stride + d] * factor : 0;

		ck_assert(w->rows.q_float[i] == x);
	}
	w->mean = guarded_floats(PAGES * w->ld);
	g.a = w->k_mean;
	g.panel = w->rows.q_float;
	g.c = w->mean;
	kern->gemm(&g);
}

static void list_blocks(struct world *w, int all)
{
	w->n_block = all ? PAGES * 4 : draw(BLOCKS_MAX + 1);
	for (size_t i = 0; i < w->n_block; i++) {
		uint32_t number = all ? (uint32_t)i : draw(PAGES * 4);
		const struct ds_page8 *p = &w->page[number / 4];
		size_t part = number % 4;

		w->number[i] = number;
		w->block[i] = (struct ds_attn8_block){
			.k = p->k + part * 16 * w->dim_k,
			.v = p->v + part * 16 * w->dim_v,
			.k_scale = p->k_scale + part * 16,
			.k_zero = p->k_zero + part * 16,
			.v_scale = p->v_scale + part * 16,
			.mean = w->mean + number / 4 * w->ld,
			.pos = (int32_t)number * 16,
			.tokens = all || draw(3) ? 0xFFFF : (uint16_t)draw(0x10000)};
		if (!all && draw(12) == 0)
			w->block[i].tokens = 0;
	}
	w->rows.first = NULL;
	if (!all && draw(2)) {
		int32_t *first = guarded(w->ld * sizeof *first);
		uint32_t way = draw(3); /* everywhere, nothing seen, around one block */

		for (size_t i = 0; i < w->ld; i++)
			first[i] = way == 0   ? (int32_t)draw(PAGES * 64 + 1)
				   : way == 1 ? PAGES * 64
					      : 16 + (int32_t)draw(18);
		w->rows.first = first;
	}
}

static void compare_lanes(const float *a, const float *b, const struct world *w, size_t vectors)
{
	for (size_t i = 0; i < vectors; i++)
		ck_assert_mem_eq(a + i * w->ld, b + i * w->ld, w->n * sizeof *a);
}

static void new_world(struct world *w, const struct ds_kern *kern, enum numbers kind,
		      size_t dim_max)
{
	memset(w, 0, sizeof *w);
	w->dim_k = 16 * (1 + draw((uint32_t)dim_max / 16));
	w->dim_v = 16 * (1 + draw((uint32_t)dim_max / 16));
	w->n = draw(3) ? 1 + draw(64) : 1 + draw(9);
	w->ld = (w->n + 15) / 16 * 16;
	w->ld += 16 * draw((uint32_t)(64 - w->ld) / 16 + 1);
	seal_pages(kern, w, kind);
	round_rows(kern, w, kind);
}

START_TEST(test_same_bytes)
{
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH), *other = guarded(DS_ATTN8_SCRATCH);
	size_t keep = n_mapped;

	for (int round = 0; round < ROUNDS; round++) {
		struct world w;
		struct ds_attn8_rows want;
		float *score[2], *mass[2];

		new_world(&w, kern, PLAIN + draw(2), 256);
		want = new_rows(&w);
		start_rows(&w.rows);
		start_rows(&want);
		for (int call = 0; call < 3; call++) { /* the later ones go on */
			list_blocks(&w, 0);
			want.first = w.rows.first;
			want.q = w.rows.q;
			want.q_scale = w.rows.q_scale;
			ref()->attn8->attend(&want, w.block, w.n_block, scratch);
			kern->attn8->attend(&w.rows, w.block, w.n_block, other);
			compare_lanes(want.max, w.rows.max, &w, 1);
			compare_lanes(want.sum, w.rows.sum, &w, 1);
			compare_lanes(want.value, w.rows.value, &w, w.dim_v);
		}
		for (int i = 0; i < 2; i++) {
			score[i] = guarded_floats(w.n_block * 16 * w.ld);
			mass[i] = guarded_floats(w.n_block * w.ld);
		}
		ref()->attn8->score(&want, w.block, w.n_block, score[0], scratch);
		kern->attn8->score(&w.rows, w.block, w.n_block, score[1], other);
		compare_lanes(score[0], score[1], &w, w.n_block * 16);
		ref()->attn8->mass(&want, score[0], w.n_block, mass[0]);
		kern->attn8->mass(&w.rows, score[1], w.n_block, mass[1]);
		compare_lanes(mass[0], mass[1], &w, w.n_block);
		unmap_to(keep);
	}
	unmap_to(0);
}
END_TEST

/* A few of the rows with their values one after the other, and the mass of blocks. */
START_TEST(test_few_and_mass)
{
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH);
	size_t keep = n_mapped;

	for (int round = 0; round < ROUNDS; round++) {
		struct world w;
		struct ds_attn8_rows few;
		struct ds_attn8_mass mass[2];
		size_t begin, stride;

		new_world(&w, kern, PLAIN + draw(2), 256);
		list_blocks(&w, 0);
		w.rows.first = NULL;
		start_rows(&w.rows);
		ref()->attn8->attend(&w.rows, w.block, w.n_block, scratch);
		few = w.rows;
		begin = draw((uint32_t)w.n);
		few.n = 1 + draw((uint32_t)(w.n - begin < 8 ? w.n - begin : 8));
		few.q += begin * 4;
		few.q_scale += begin;
		few.max = guarded_floats(16);
		few.sum = guarded_floats(16);
		few.value = guarded_floats(few.n * w.dim_v);
		for (size_t i = 0; i < 16; i++) {
			few.max[i] = -FLT_MAX;
			few.sum[i] = 0;
		}
		memset(few.value, 0, few.n * w.dim_v * sizeof *few.value);
		for (size_t i = 0; i < w.n_block; i++)
			w.block[i].mean += begin;
		kern->attn8->attend_few(&few, w.block, w.n_block, scratch);
		for (size_t i = 0; i < w.n_block; i++)
			w.block[i].mean -= begin;
		ck_assert_mem_eq(few.max, w.rows.max + begin, few.n * sizeof(float));
		ck_assert_mem_eq(few.sum, w.rows.sum + begin, few.n * sizeof(float));
		for (size_t i = 0; i < few.n * w.dim_v; i++)
			ck_assert_mem_eq(few.value + i,
					 w.rows.value + i % w.dim_v * w.ld + begin + i / w.dim_v,
					 sizeof(float));
		stride = w.ld + draw(40);
		for (int i = 0; i < 2; i++) {
			float *all = guarded_floats(w.n_block * stride);

			mass[i] = (struct ds_attn8_mass){
				all, stride, guarded_floats((w.n_block + 3) / 4 * w.ld)};
			(i ? kern : ref())
				->attn8->weigh(&w.rows, w.block, w.n_block, &mass[i], scratch);
		}
		for (size_t b = 0; b < w.n_block; b++)
			ck_assert_mem_eq(mass[0].mass + b * stride, mass[1].mass + b * stride,
					 w.n * sizeof(float));
		compare_lanes(mass[0].max, mass[1].max, &w, (w.n_block + 3) / 4);
		unmap_to(keep);
	}
	unmap_to(0);
}
END_TEST

/* The same rows in calls of their own, a few or one at a time. */
START_TEST(test_split_of_rows)
{
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH);
	size_t keep = n_mapped;

	for (int round = 0; round < ROUNDS; round++) {
		struct world w;
		struct ds_attn8_rows part;
		size_t begin, n;

		new_world(&w, kern, PLAIN, 96);
		list_blocks(&w, 0);
		start_rows(&w.rows);
		kern->attn8->attend(&w.rows, w.block, w.n_block, scratch);
		begin = draw((uint32_t)w.n);
		n = 1 + draw((uint32_t)(w.n - begin < 20 ? w.n - begin : 20));
		part = new_rows(&w);
		part.n = n;
		kern->attn8->round(&part, w.x + begin * w.stride, w.stride, w.factor);
		if (w.rows.first) {
			int32_t *first = guarded(w.ld * sizeof *first);

			memcpy(first, w.rows.first + begin, n * sizeof *first);
			part.first = first;
		}
		for (size_t i = 0; i < w.n_block; i++) {
			float *mean = guarded_floats(w.ld);

			memcpy(mean, w.block[i].mean + begin, n * sizeof *mean);
			w.block[i].mean = mean;
		}
		start_rows(&part);
		kern->attn8->attend(&part, w.block, w.n_block, scratch);
		ck_assert_mem_eq(part.max, w.rows.max + begin, n * sizeof(float));
		ck_assert_mem_eq(part.sum, w.rows.sum + begin, n * sizeof(float));
		for (size_t d = 0; d < w.dim_v; d++)
			ck_assert_mem_eq(part.value + d * w.ld, w.rows.value + d * w.ld + begin,
					 n * sizeof(float));
		unmap_to(keep);
	}
	unmap_to(0);
}
END_TEST

/* Rows that see nothing have no sum and no values, and go on as if they had not been asked. */
START_TEST(test_nothing_seen)
{
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH);
	size_t keep = n_mapped;

	for (int round = 0; round < 10; round++) {
		struct world w;
		struct ds_attn8_rows want;
		int32_t *first;
		float *mass;

		new_world(&w, kern, PLAIN, 64);
		list_blocks(&w, 1);
		first = guarded(w.ld * sizeof *first);
		for (size_t i = 0; i < w.ld; i++)
			first[i] = PAGES * 64;
		w.rows.first = first;
		start_rows(&w.rows);
		kern->attn8->attend(&w.rows, w.block, 7, scratch);
		for (size_t i = 0; i < w.n; i++) {
			ck_assert(w.rows.max[i] == -FLT_MAX / 2 && w.rows.sum[i] == 0);
			for (size_t d = 0; d < w.dim_v; d++)
				ck_assert(w.rows.value[d * w.ld + i] == 0);
		}
		mass = guarded_floats(16 * 16 * w.ld + w.ld);
		kern->attn8->score(&w.rows, w.block, 1, mass, scratch);
		kern->attn8->mass(&w.rows, mass, 1, mass + 16 * w.ld);
		for (size_t i = 0; i < w.n; i++)
			ck_assert(mass[16 * w.ld + i] == 0);
		want = new_rows(&w);
		want.q = w.rows.q;
		want.q_scale = w.rows.q_scale;
		start_rows(&want);
		w.rows.first = NULL;
		kern->attn8->attend(&w.rows, w.block, 16, scratch);
		kern->attn8->attend(&want, w.block, 16, scratch);
		compare_lanes(want.max, w.rows.max, &w, 1);
		compare_lanes(want.sum, w.rows.sum, &w, 1);
		compare_lanes(want.value, w.rows.value, &w, w.dim_v);
		unmap_to(keep);
	}
	unmap_to(0);
}
END_TEST

/* The score of a row and token, in double precision from what was rounded. */
static double exact_score(const struct world *w, size_t row, uint32_t token)
{
	const uint16_t *half = w->half[token / 64] + token % 64 / 16 * w->dim_k * 16;
	double s = 0;

	for (size_t d = 0; d < w->dim_k; d++)
		s += (double)w->x[row * w->stride + d] * (double)w->factor *
		     (double)ds_f16_to_f32(half[d * 16 + token % 16]);
	return s;
}

static double exact_value(const struct world *w, uint32_t token, size_t d)
{
	const uint16_t *half = w->half[token / 64] + w->dim_k * 64;

	return (double)ds_f16_to_f32(half[(d / 16 * 64 + token % 64) * 16 + d % 16]);
}

/* Of a row's values: the error's square and that of the values. */
static void value_error(const struct world *w, size_t row, const double *e, double square[2])
{
	double sum = 0;

	for (uint32_t t = 0; t < PAGES * 64; t++)
		sum += e[t];
	square[0] = square[1] = 0;
	for (size_t d = 0; d < w->dim_v; d++) {
		double y = 0, got = (double)w->rows.value[d * w->ld + row];

		for (uint32_t t = 0; t < PAGES * 64; t++)
			y += e[t] / sum * exact_value(w, t, d);
		got = got / (double)w->rows.sum[row] - y;
		square[0] += got * got;
		square[1] += y * y;
	}
}

/*
 * Queries and keys of -1 to 1, turned, are nearly normal with a deviation of 0.58, of which the
 * greatest of 128 is about 2.6 times as great.  Each is rounded to steps of 1.5 / 127, errors of
 * 1.5 / (127 sqrt 12): with D dims, a score's error has the deviation 1.5 sqrt(D / 18) / 127 times
 * the factor 1/4, 0.008 for 128 dims; six of them are allowed.  Sums of many average it.  Values
 * have errors of half a percent from their own rounding and one from that of small weights, of
 * which many average too.
 */
START_TEST(test_near_double)
{
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH);
	size_t keep = n_mapped;

	for (int round = 0; round < 8; round++) {
		struct world w;
		double square[2] = {0, 0};
		struct ds_attn8_mass rough;
		float *score, *mass;

		new_world(&w, kern, EVEN, 128);
		list_blocks(&w, 1);
		start_rows(&w.rows);
		score = guarded_floats(w.n_block * 16 * w.ld);
		mass = guarded_floats(w.n_block * w.ld);
		kern->attn8->attend(&w.rows, w.block, w.n_block, scratch);
		kern->attn8->score(&w.rows, w.block, w.n_block, score, scratch);
		kern->attn8->mass(&w.rows, score, w.n_block, mass);
		rough = (struct ds_attn8_mass){guarded_floats(w.n_block * w.ld), w.ld,
					       guarded_floats(w.n_block * w.ld)};
		kern->attn8->weigh(&w.rows, w.block, w.n_block, &rough, scratch);
		for (size_t row = 0; row < w.n; row++) {
			double e[PAGES * 64], sum = 0, all = 0, about = 0, one[2];

			for (uint32_t t = 0; t < PAGES * 64; t++) {
				double s = exact_score(&w, row, t);

				ck_assert(fabs(s - (double)score[t * w.ld + row]) < 0.05);
				sum += e[t] = exp2(s - (double)w.rows.max[row]);
			}
			ck_assert(fabs(log2(sum / (double)w.rows.sum[row])) < 0.01);
			for (size_t i = 0; i < w.n_block; i++)
				all += ldexp((double)mass[i * w.ld + row], -20);
			ck_assert(fabs(all / (double)w.rows.sum[row] - 1) < 1e-4);
			for (size_t i = 0; i < w.n_block; i++)
				about += (double)rough.mass[i * w.ld + row] *
					 exp2((double)rough.max[i / 4 * w.ld + row] -
					      (double)w.rows.max[row]);
			ck_assert(fabs(about / (double)w.rows.sum[row] - 1) < 2.6e-3);
			value_error(&w, row, e, one);
			square[0] += one[0];
			square[1] += one[1];
		}
		ck_assert(square[0] < 0.01 * 0.01 * square[1]);
		unmap_to(keep);
	}
	unmap_to(0);
}
END_TEST

/* Of keys of which a few dims hold almost all, the small ones are not lost in queries that have
 * those dims too. */
START_TEST(test_turned)
{
	enum { DIM = 48, N = 16 };
	const struct ds_kern *kern = table(_i);
	void *scratch = guarded(DS_ATTN8_SCRATCH), *memory = guarded(ds_page8_bytes(DIM, 16));
	struct world w = {.dim_k = DIM, .dim_v = 16, .n = N, .ld = N, .stride = DIM, .factor = 1};
	struct ds_page8 *p = &w.page[0];
	float key[DIM], *score = guarded_floats((size_t)64 * N), worst = 0;

	ck_assert_uint_eq(ds_attn8_span(DIM), 16);
	w.half[0] = guarded(64 * (DIM + 16) * sizeof(uint16_t));
	for (size_t i = 0; i < 64 * (DIM + 16); i++)
		w.half[0][i] = ds_f32_to_f16(some_value(EVEN) * (i / 16 % DIM == 5 ? 30.0f : 1.0f));
	w.k_mean = guarded_floats(DIM);
	w.mean = guarded_floats(N);
	*p = ds_page8_at(memory, DIM, 16);
	kern->attn8->seal(&(struct ds_page8_seal){.half = w.half[0],
						  .dim_k = DIM,
						  .dim_v = 16,
						  .page = *p,
						  .k_mean = w.k_mean,
						  .v_mean = guarded_floats(16)});
	for (size_t t = 0; t < 64; t++) {
		ds_page8_key(p, DIM, t, key);
		for (size_t d = 0; d < DIM; d++) {
			const uint16_t *half = w.half[0] + t / 16 * 16 * DIM;
			float off = ds_f16_to_f32(half[d * 16 + t % 16]) - w.k_mean[d] - key[d];

			worst = fabsf(off) > worst ? fabsf(off) : worst;
		}
	}
	/* spread over 16 dims, 30 is 7.5: errors of 7.5 / (127 sqrt 12), 0.017 */
	ck_assert_float_lt(worst, 0.09f);
	w.x = guarded_floats((size_t)N * DIM);
	for (size_t i = 0; i < (size_t)N * DIM; i++)
		w.x[i] = some_value(EVEN) * (i % DIM == 5 ? 0.1f : i % DIM == 37 ? 10.0f : 1.0f);
	w.rows = new_rows(&w);
	kern->attn8->round(&w.rows, w.x, DIM, 1);
	kern->gemm(&(struct ds_gemm){.m = 1,
				     .n = N,
				     .k = DIM,
				     .a = w.k_mean,
				     .lda = DIM,
				     .panel = w.rows.q_float,
				     .c = w.mean,
				     .ldc = N});
	for (size_t i = 0; i < 4; i++) {
		struct ds_attn8_block b = {.k = p->k + i * 16 * DIM,
					   .k_scale = p->k_scale + i * 16,
					   .k_zero = p->k_zero + i * 16,
					   .mean = w.mean,
					   .tokens = 0xFFFF};

		kern->attn8->score(&w.rows, &b, 1, score + i * 16 * N, scratch);
	}
	for (size_t row = 0; row < N; row++)
		for (uint32_t t = 0; t < 64; t++)
			ck_assert(fabs(exact_score(&w, row, t) - (double)score[t * N + row]) < 1);
	unmap_to(0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_attn8");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_same_bytes, 0, 4);
	tcase_add_loop_test(tc, test_few_and_mass, 0, 4);
	tcase_add_loop_test(tc, test_split_of_rows, 0, 4);
	tcase_add_loop_test(tc, test_nothing_seen, 0, 4);
	tcase_add_loop_test(tc, test_near_double, 0, 4);
	tcase_add_loop_test(tc, test_turned, 0, 4);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
