/* vectors.c - cosines of a query with stored vectors */
#include <math.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/half.h"
#include "search/search.h"

/* query as int8 with one scale: value = scale * stored */
static float quantise(const float *query, uint32_t dims, int8_t *out)
{
	float most = 0;

	for (uint32_t i = 0; i < dims; i++)
		most = fmaxf(most, fabsf(query[i]));
	for (uint32_t i = 0; i < dims; i++)
		out[i] = most > 0 ? (int8_t)lrintf(query[i] * (127 / most)) : 0;
	return most / 127;
}

static void unpack_i4(const uint8_t *row, uint32_t dims, int8_t *out)
{
	for (uint32_t i = 0; i < dims / 2; i++) {
		out[2 * i] = (int8_t)((row[i] & 15) - 8);
		out[2 * i + 1] = (int8_t)((row[i] >> 4) - 8);
	}
	if (dims & 1)
		out[dims - 1] = (int8_t)((row[dims / 2] & 15) - 8);
}

enum ds_status ds_vectors_score(const struct ds_vectors *v, const struct ds_kern *kern,
				const float *query, float *score, struct ds_err *err)
{
	size_t stride = v->type == DS_VECTORS_I4 ? ((size_t)v->dims + 1) / 2 : v->dims;
	int8_t *q, *row;
	float unit;

	if (v->type == DS_VECTORS_F32) {
		for (size_t i = 0; i < v->n; i++)
			score[i] = kern->dot((const float *)v->rows + i * v->dims, query, v->dims);
		return DS_OK;
	}
	q = ds_alloc(2, v->dims);
	if (!q)
		return ds_fail_nomem(err, 2 * (uint64_t)v->dims);
	row = q + v->dims;
	unit = quantise(query, v->dims, q);
	for (size_t i = 0; i < v->n; i++) {
		const int8_t *stored = (const int8_t *)v->rows + i * stride;
		float scale = ds_f16_to_f32(ds_get_u16(v->scale + 2 * i));

		if (v->type == DS_VECTORS_I4) {
			unpack_i4((const uint8_t *)stored, v->dims, row);
			stored = row;
		}
		score[i] = (float)kern->dot_i8(stored, q, v->dims) * (unit * scale);
	}
	free(q);
	return DS_OK;
}
