/* vector.c - embeddings in a few bits a dimension */
#include "archive/vector.h"

#include <math.h>
#include <string.h>

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
