/*
 * student_fit.c - fitting a student's vectors to the teacher's embeddings, by OpenBLAS
 *
 * Lines come in a shuffled order that depends on nothing but their number; one thread, so that a
 * machine repeats its result.
 */
#include "model/student_fit.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BATCH 512
#define SIMILARITY 0.05f
#define RATE 1e-3f	      /* falls to 0 over the run */
#define START_MAGNITUDE 0.03f /* mean of the entries, which the rate suits */
#define MOMENT1 0.9f
#define MOMENT2 0.99f

struct fit {
	const struct ds_student_fit *in;
	float *row; /* [n][dims] of the student */
	uint32_t dims;
	float *m, *v;	 /* [n][dims] first and second moments */
	float *gradient; /* [n][dims], zero but for rows in touched */
	uint32_t *touched;
	size_t n_touched;
	uint8_t *is_touched; /* [n] */
	size_t *order;	     /* [lines] */
	float *s, *g;	     /* [BATCH][dims] */
	float *length;	     /* [BATCH] */
	float *t;	     /* [BATCH][teacher_dims] */
	float *pairs;	     /* [BATCH][BATCH] */
	struct ds_arena mem;
};

static float *floats(struct fit *f, size_t n, size_t m)
{
	float *p = ds_arena_alloc(&f->mem, n, m * sizeof *p);

	if (p)
		memset(p, 0, n * m * sizeof *p);
	return p;
}

static enum ds_status init(struct fit *f, const struct ds_student *student, struct ds_err *err)
{
	size_t n = student->n, dims = student->dims, lines = f->in->lines->n;

	f->m = floats(f, n, dims);
	f->v = floats(f, n, dims);
	f->gradient = floats(f, n, dims);
	f->s = floats(f, BATCH, dims);
	f->g = floats(f, BATCH, dims);
	f->length = floats(f, BATCH, 1);
	f->t = floats(f, BATCH, f->in->teacher_dims);
	f->pairs = floats(f, BATCH, BATCH);
	f->touched = ds_arena_alloc(&f->mem, n, sizeof *f->touched);
	f->is_touched = ds_arena_alloc(&f->mem, n, 1);
	f->order = ds_arena_alloc(&f->mem, lines, sizeof *f->order);
	if (!f->m || !f->v || !f->gradient || !f->s || !f->g || !f->length || !f->t || !f->pairs ||
	    !f->touched || !f->is_touched || !f->order)
		return ds_fail_nomem(err, 3 * n * dims * sizeof *f->m);
	memset(f->is_touched, 0, n);
	for (size_t i = 0; i < lines; i++)
		f->order[i] = i;
	return DS_OK;
}

/* Marsaglia's xorshift64*, enough for a shuffle. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1Du;
}

static void shuffle(size_t *order, size_t n, uint64_t *state)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = next_random(state) % i, swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

static float normalise(float *x, size_t n)
{
	float length = cblas_snrm2((int)n, x, 1);

	if (length > 0)
		cblas_sscal((int)n, 1 / length, x, 1);
	return length;
}

/* The student's unit vectors of a batch, and their lengths before. */
static void embed_batch(struct fit *f, const size_t *line, size_t n)
{
	const struct ds_corpus *c = f->in->lines;
	size_t dims = f->dims;

	for (size_t i = 0; i < n; i++) {
		float *s = f->s + i * dims;

		memset(s, 0, dims * sizeof *s);
		for (size_t k = ds_corpus_start(c, line[i]); k < c->end[line[i]]; k++) {
			uint32_t row = f->in->row_of[c->id[k]];

			if (row == DS_NO_TOKEN)
				continue;
			for (size_t j = 0; j < dims; j++)
				s[j] += f->row[row * dims + j];
		}
		f->length[i] = normalise(s, dims);
	}
}

/* g [n][dims] = gradient of the loss by the student's unit vectors. */
static void batch_gradient(struct fit *f, const size_t *line, size_t n)
{
	size_t dims = f->dims, wide = f->in->teacher_dims;

	for (size_t i = 0; i < n; i++) {
		float *g = f->g + i * dims;

		memcpy(f->t + i * wide, f->in->teacher + line[i] * wide, wide * sizeof *f->t);
		memcpy(g, f->in->target + line[i] * dims, dims * sizeof *g);
		normalise(g, dims);
		cblas_sscal((int)dims, -1, g, 1);
	}
	/* pairs = s s' - t t', nothing on the diagonal; g += 4 SIMILARITY pairs s */
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n, (int)dims, 1, f->s,
		    (int)dims, f->s, (int)dims, 0, f->pairs, BATCH);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n, (int)wide, -1, f->t,
		    (int)wide, f->t, (int)wide, 1, f->pairs, BATCH);
	for (size_t i = 0; i < n; i++)
		f->pairs[i * BATCH + i] = 0;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)dims, (int)n,
		    4 * SIMILARITY, f->pairs, BATCH, f->s, (int)dims, 1, f->g, (int)dims);
}

/* Through the normalisation, onto the rows of the tokens. */
static void spread_gradient(struct fit *f, const size_t *line, size_t n)
{
	const struct ds_corpus *c = f->in->lines;
	size_t dims = f->dims;

	for (size_t i = 0; i < n; i++) {
		float *g = f->g + i * dims, *s = f->s + i * dims;

		if (!(f->length[i] > 0))
			continue;
		cblas_saxpy((int)dims, -cblas_sdot((int)dims, g, 1, s, 1), s, 1, g, 1);
		cblas_sscal((int)dims, 1 / f->length[i], g, 1);
		for (size_t k = ds_corpus_start(c, line[i]); k < c->end[line[i]]; k++) {
			uint32_t row = f->in->row_of[c->id[k]];

			if (row == DS_NO_TOKEN)
				continue;
			if (!f->is_touched[row]) {
				f->is_touched[row] = 1;
				f->touched[f->n_touched++] = row;
			}
			for (size_t j = 0; j < dims; j++)
				f->gradient[row * dims + j] += g[j];
		}
	}
}

static void step(struct fit *f, float rate)
{
	size_t dims = f->dims;

	for (size_t i = 0; i < f->n_touched; i++) {
		size_t at = f->touched[i] * dims;

		for (size_t j = at; j < at + dims; j++) {
			float g = f->gradient[j];

			f->m[j] = MOMENT1 * f->m[j] + (1 - MOMENT1) * g;
			f->v[j] = MOMENT2 * f->v[j] + (1 - MOMENT2) * g * g;
			f->row[j] -= rate * f->m[j] / (sqrtf(f->v[j]) + 1e-7f);
			f->gradient[j] = 0;
		}
		f->is_touched[f->touched[i]] = 0;
	}
	f->n_touched = 0;
}

static void scale_rows(const struct ds_student *student)
{
	size_t n = (size_t)student->n * student->dims;
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += fabsf(student->row[i]);
	if (sum > 0)
		for (size_t i = 0; i < n; i++)
			student->row[i] *= (float)(START_MAGNITUDE * (double)n / sum);
}

static void run(struct fit *f)
{
	const struct ds_student_options *o = f->in->options;
	size_t lines = f->in->lines->n, total = lines * o->passes, done = 0;
	uint64_t state = 0x9E3779B97F4A7C15u;

	for (unsigned pass = 0; pass < o->passes; pass++) {
		shuffle(f->order, lines, &state);
		for (size_t i = 0; i < lines; i += BATCH) {
			size_t n = lines - i < BATCH ? lines - i : BATCH;

			embed_batch(f, f->order + i, n);
			batch_gradient(f, f->order + i, n);
			spread_gradient(f, f->order + i, n);
			step(f, RATE * (1 - (float)done / (float)total));
			done += n;
			if (o->progress)
				o->progress(o->progress_arg, "lines fitted", done, total);
		}
	}
}

enum ds_status ds_student_fit(struct ds_student *student, const struct ds_student_fit *fit,
			      struct ds_err *err)
{
	struct fit f = {.in = fit, .row = student->row, .dims = student->dims};
	enum ds_status st;

	openblas_set_num_threads(1);
	ds_arena_init(&f.mem);
	st = init(&f, student, err);
	if (st == DS_OK) {
		scale_rows(student);
		run(&f);
	}
	ds_arena_fini(&f.mem);
	return st;
}
