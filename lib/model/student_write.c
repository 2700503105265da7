/* student_write.c - a student rounded to 8 bits and written as a GGUF file */
#include "model/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf_write.h"
#include "token/vocab_write.h"

#define TYPE_F32 0
#define TYPE_I8 24

/* q [dims] = row / scale, the largest entry 127; returns the scale, 0 for a row of zeros. */
static float round_row(const float *row, size_t dims, int8_t *q)
{
	float largest = 0, scale;

	for (size_t j = 0; j < dims; j++)
		largest = fmaxf(largest, fabsf(row[j]));
	scale = largest / 127;
	for (size_t j = 0; j < dims; j++)
		q[j] = scale > 0 ? (int8_t)lrintf(row[j] / scale) : 0;
	return scale;
}

enum ds_status ds_student_round(struct ds_student *student, struct ds_err *err)
{
	size_t dims = student->dims;
	int8_t *q = ds_alloc(dims, 1);

	if (!q)
		return ds_fail_nomem(err, dims);
	for (size_t i = 0; i < student->n; i++) {
		float *row = student->row + i * dims, scale = round_row(row, dims, q);

		for (size_t j = 0; j < dims; j++)
			row[j] = scale * q[j];
	}
	free(q);
	return DS_OK;
}

static enum ds_status declare(const struct ds_student *student, struct ds_gguf_writer *w,
			      const struct ds_student_about *about, struct ds_err *err)
{
	struct ds_gguf_tensor rows = {
		.name = {"token_embd.weight", 17},
		.type = TYPE_I8,
		.n_dims = 2,
		.dim = {student->dims, student->n, 1, 1},
	};
	struct ds_gguf_tensor scales = {
		.name = {"token_embd.scale", 16},
		.type = TYPE_F32,
		.n_dims = 1,
		.dim = {student->n, 1, 1, 1},
	};
	const struct {
		const char *key, *value;
	} texts[] = {
		{"general.name", about->name},
		{"general.license", about->license},
		{"general.source.url", about->source},
	};

	DS_TRY(ds_gguf_put_str(w, "general.architecture", "static", err));
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].value)
			DS_TRY(ds_gguf_put_str(w, texts[i].key, texts[i].value, err));
	DS_TRY(ds_gguf_put_u32(w, "static.embedding_length", student->dims, err));
	DS_TRY(ds_tokenizer_put(student->tok, student->id, student->n, w, err));
	DS_TRY(ds_gguf_put_tensor(w, &rows, err));
	return ds_gguf_put_tensor(w, &scales, err);
}

static enum ds_status write_rows(const struct ds_student *student, struct ds_gguf_writer *w,
				 int8_t *q, float *scale, struct ds_err *err)
{
	size_t dims = student->dims;

	for (size_t i = 0; i < student->n; i++) {
		scale[i] = round_row(student->row + i * dims, dims, q);
		DS_TRY(ds_gguf_writer_data(w, q, dims, err));
	}
	DS_TRY(ds_gguf_writer_data(w, scale, student->n * sizeof *scale, err));
	return ds_gguf_writer_end(w, err);
}

enum ds_status ds_student_write(const struct ds_student *student, struct ds_out *out,
				const struct ds_student_about *about, struct ds_err *err)
{
	struct ds_gguf_writer w = {0};
	int8_t *q = ds_alloc(student->dims, 1);
	float *scale = ds_alloc(student->n, sizeof *scale);
	enum ds_status st = DS_OK;

	if (!q || !scale)
		st = ds_fail_nomem(err, student->n * sizeof *scale);
	if (st == DS_OK)
		st = declare(student, &w, about, err);
	if (st == DS_OK)
		st = ds_gguf_writer_begin(&w, out, err);
	if (st == DS_OK)
		st = write_rows(student, &w, q, scale, err);
	ds_gguf_writer_fini(&w);
	free(q);
	free(scale);
	return st;
}
