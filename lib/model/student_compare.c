/* student_compare.c - how far a student agrees with its teacher on lines of text */
#include "model/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/embed_ids.h"

/* Pairs grow with the square; so many lines, evenly spread, are enough. */
#define LINES_MAX 1000

struct compare {
	const struct ds_student *student;
	struct ds_corpus lines; /* those compared */
	size_t wide;
	uint32_t *row_of;  /* [n_vocab] */
	float *teacher;	   /* [lines][wide] unit vectors */
	float *target;	   /* [lines][dims] the same in the student's components */
	float *own;	   /* [lines][dims] unit vectors */
	struct pair *pair; /* [lines * (lines - 1) / 2] */
};

struct pair {
	float teacher, own; /* similarities */
	double rank;	    /* by teacher */
};

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* LINES_MAX of the lines, evenly spread. */
static enum ds_status sample(struct compare *c, const struct ds_corpus *from, struct ds_err *err)
{
	size_t n = from->n < LINES_MAX ? from->n : LINES_MAX, at = 0;

	c->lines.id = ds_alloc(ds_corpus_tokens(from), sizeof *c->lines.id);
	c->lines.end = ds_alloc(n, sizeof *c->lines.end);
	if (!c->lines.id || !c->lines.end)
		return ds_fail_nomem(err, ds_corpus_tokens(from) * sizeof *c->lines.id);
	for (size_t i = 0; i < n; i++) {
		size_t line = (size_t)((unsigned __int128)i * from->n / n);
		size_t start = ds_corpus_start(from, line), length = from->end[line] - start;

		memcpy(c->lines.id + at, from->id + start, length * sizeof *from->id);
		at += length;
		c->lines.end[i] = at;
	}
	c->lines.n = n;
	return DS_OK;
}

static enum ds_status reserve(struct compare *c, uint32_t n_vocab, struct ds_err *err)
{
	size_t n = c->lines.n, dims = c->student->dims;

	c->row_of = ds_alloc(n_vocab, sizeof *c->row_of);
	c->teacher = ds_alloc(n, c->wide * sizeof(float));
	c->target = ds_alloc(n, dims * sizeof(float));
	c->own = ds_alloc_zero(n, dims * sizeof(float));
	c->pair = ds_alloc(n * (n - 1) / 2, sizeof *c->pair);
	if (!c->row_of || !c->teacher || !c->target || !c->own || !c->pair)
		return ds_fail_nomem(err, n * n / 2 * sizeof *c->pair);
	memset(c->row_of, 0xFF, n_vocab * sizeof *c->row_of);
	for (uint32_t i = 0; i < c->student->n; i++)
		c->row_of[c->student->id[i]] = i;
	return DS_OK;
}

static void embed_own(struct compare *c)
{
	size_t dims = c->student->dims;

	for (size_t i = 0; i < c->lines.n; i++) {
		float *own = c->own + i * dims;
		double length;

		for (size_t k = ds_corpus_start(&c->lines, i); k < c->lines.end[i]; k++) {
			uint32_t row = c->row_of[c->lines.id[k]];

			for (size_t j = 0; row != DS_NO_TOKEN && j < dims; j++)
				own[j] += c->student->row[row * dims + j];
		}
		length = sqrt(dot(own, own, dims));
		for (size_t j = 0; length > 0 && j < dims; j++)
			own[j] = (float)(own[j] / length);
	}
}

static double mean_cosine(const struct compare *c)
{
	size_t dims = c->student->dims;
	double sum = 0;

	for (size_t i = 0; i < c->lines.n; i++) {
		const float *t = c->target + i * dims;
		double length = sqrt(dot(t, t, dims));

		if (length > 0)
			sum += dot(t, c->own + i * dims, dims) / length;
	}
	return sum / (double)c->lines.n;
}

static int by_teacher(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return (x->teacher > y->teacher) - (x->teacher < y->teacher);
}

static int by_own(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return (x->own > y->own) - (x->own < y->own);
}

/* Spearman's rho; ties are rare enough among real numbers to take any order. */
static double spearman(const struct compare *c)
{
	size_t n = c->lines.n, dims = c->student->dims, k = 0;
	double sum = 0, middle, spread;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++, k++)
			c->pair[k] = (struct pair){
				(float)dot(c->teacher + i * c->wide, c->teacher + j * c->wide,
					   c->wide),
				(float)dot(c->own + i * dims, c->own + j * dims, dims), 0};
	if (k < 2)
		return 1;
	qsort(c->pair, k, sizeof *c->pair, by_teacher);
	for (size_t i = 0; i < k; i++)
		c->pair[i].rank = (double)i;
	qsort(c->pair, k, sizeof *c->pair, by_own);
	middle = (double)(k - 1) / 2;
	for (size_t i = 0; i < k; i++)
		sum += ((double)i - middle) * (c->pair[i].rank - middle);
	spread = ((double)k * (double)k - 1) * (double)k / 12;
	return sum / spread;
}

static enum ds_status compare(struct compare *c, struct ds_embedder *emb, uint32_t n_vocab,
			      const struct ds_corpus *lines, struct ds_err *err)
{
	struct ds_id_lines all;

	DS_TRY(sample(c, lines, err));
	DS_TRY(reserve(c, n_vocab, err));
	all = (struct ds_id_lines){.id = c->lines.id, .end = c->lines.end, .n = c->lines.n};
	DS_TRY(ds_embed_ids(emb, &all, c->teacher, err));
	ds_pca_project(&c->student->pca, c->teacher, c->student->pca.mean, c->lines.n, c->target);
	embed_own(c);
	return DS_OK;
}

enum ds_status ds_student_compare(const struct ds_student *student, const struct ds_model *teacher,
				  struct ds_pool *pool, const struct ds_corpus *lines,
				  struct ds_student_report *report_ret, struct ds_err *err)
{
	struct compare c = {.student = student, .wide = ds_model_dims(teacher)};
	struct ds_embedder *emb = NULL;
	enum ds_status st;

	if (lines->n == 0)
		return ds_fail(err, DS_EINVAL, "no lines to compare on");
	st = ds_embedder_new(&emb, teacher, pool, err);
	if (st == DS_OK)
		st = compare(&c, emb, ds_tokenizer_size(student->tok), lines, err);
	if (st == DS_OK)
		*report_ret = (struct ds_student_report){c.lines.n, mean_cosine(&c), spearman(&c)};
	ds_embedder_free(emb);
	ds_corpus_fini(&c.lines);
	free(c.row_of);
	free(c.teacher);
	free(c.target);
	free(c.own);
	free(c.pair);
	return st;
}
