/* vector.c - embeddings in a few bits a dimension: coding, and scores against a query */
#include "archive/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"

static float largest(const float *vector, uint32_t dims)
{
	float max = 0;

	for (uint32_t i = 0; i < dims; i++)
		max = fabsf(vector[i]) > max ? fabsf(vector[i]) : max;
	return max;
}

/* The nearest of the integers -limit..limit. */
static int quantum(float x, int limit)
{
	int v = (int)lrintf(x);

	return v > limit ? limit : v < -limit ? -limit : v;
}

/* What is lost by the square when components are multiples of scale up to limit. */
static float loss(const float *vector, uint32_t dims, float scale, int limit)
{
	float sum = 0;

	for (uint32_t i = 0; i < dims; i++) {
		float d = vector[i] - scale * (float)quantum(vector[i] / scale, limit);

		sum += d * d;
	}
	return sum;
}

/* A coarse grid is better fine in the middle than wide enough for the largest component. */
static float best_scale(const float *vector, uint32_t dims, int limit)
{
	static const float clip[] = {1.0F, 0.9F, 0.8F, 0.7F, 0.6F, 0.5F};
	float max = largest(vector, dims), best = 0, least = INFINITY;

	if (!(max > 0) || !isfinite(max))
		return 0;
	for (size_t i = 0; i < sizeof clip / sizeof clip[0]; i++) {
		float scale = ds_f16_to_f32(ds_f32_to_f16(clip[i] * max / (float)limit));
		float l = scale > 0 ? loss(vector, dims, scale, limit) : INFINITY;

		if (l < least) {
			least = l;
			best = scale;
		}
	}
	return best;
}

uint16_t ds_vector_encode(enum ds_vector_code code, const float *vector, uint32_t dims,
			  uint8_t *row)
{
	const int limit = code == DS_VECTOR_CODE_I4 ? 7 : 127;
	float scale;

	if (code == DS_VECTOR_CODE_I4) {
		scale = best_scale(vector, dims, limit);
		memset(row, 0x88, ds_vector_row_bytes(code, dims));
	} else {
		scale = ds_f16_to_f32(ds_f32_to_f16(largest(vector, dims) / (float)limit));
		memset(row, 0, dims);
	}
	if (!(scale > 0) || !isfinite(scale))
		return 0;
	for (uint32_t i = 0; i < dims; i++) {
		int v = quantum(vector[i] / scale, limit);

		if (code == DS_VECTOR_CODE_I8)
			row[i] = (uint8_t)(int8_t)v;
		else if (i & 1)
			row[i / 2] = (uint8_t)((row[i / 2] & 0x0F) | (v + 8) << 4);
		else
			row[i / 2] = (uint8_t)((row[i / 2] & 0xF0) | (v + 8));
	}
	return ds_f32_to_f16(scale);
}

void ds_vector_decode(enum ds_vector_code code, const uint8_t *row, uint16_t scale, uint32_t dims,
		      float *out)
{
	float s = ds_f16_to_f32(scale);

	for (uint32_t i = 0; i < dims; i++) {
		int v = code == DS_VECTOR_CODE_I8 ? (int8_t)row[i]
						  : (row[i / 2] >> (i & 1 ? 4 : 0) & 0x0F) - 8;

		out[i] = s * (float)v;
	}
}

enum ds_status ds_vector_query_init(struct ds_vector_query *q, const float *vector, uint32_t dims,
				    struct ds_err *err)
{
	float max = largest(vector, dims);

	*q = (struct ds_vector_query){.dims = dims, .scale = max / 127.0F};
	q->value = ds_alloc_zero(dims, 1);
	if (!q->value)
		return ds_fail_nomem(err, dims);
	for (uint32_t i = 0; q->scale > 0 && i < dims; i++) {
		q->value[i] = (int8_t)quantum(vector[i] / q->scale, 127);
		q->sum += q->value[i];
	}
	return DS_OK;
}

void ds_vector_query_fini(struct ds_vector_query *q)
{
	free(q->value);
	*q = (struct ds_vector_query){0};
}

static int32_t dot_i8(const uint8_t *row, const int8_t *query, uint32_t dims)
{
	int32_t sum = 0;

	for (uint32_t i = 0; i < dims; i++)
		sum += (int8_t)row[i] * query[i];
	return sum;
}

/* Stored values are 8 too large; the sum of the query takes that back. */
static int32_t dot_i4(const uint8_t *row, const struct ds_vector_query *q)
{
	int32_t sum = 0;
	uint32_t i = 0;

	for (; i + 1 < q->dims; i += 2)
		sum += (row[i / 2] & 0x0F) * q->value[i] + (row[i / 2] >> 4) * q->value[i + 1];
	if (i < q->dims)
		sum += (row[i / 2] & 0x0F) * q->value[i];
	return sum - 8 * q->sum;
}

void ds_vector_scores(const struct ds_archive_vectors *v, const struct ds_vector_query *q,
		      uint32_t first, uint32_t n, float *score)
{
	const size_t row_bytes = ds_vector_row_bytes(v->code, v->dims);
	const uint8_t *row = v->rows + first * row_bytes;

	for (uint32_t i = 0; i < n; i++, row += row_bytes) {
		float scale = ds_f16_to_f32(ds_get_u16(v->scale + 2 * ((size_t)first + i)));
		int32_t dot = v->code == DS_VECTOR_CODE_I4 ? dot_i4(row, q)
							   : dot_i8(row, q->value, v->dims);

		score[i] = scale * q->scale * (float)dot;
	}
}
