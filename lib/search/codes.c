/* codes.c - embeddings in a few bits a dimension */
#include "search/codes.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

#define ROUNDS 4

static int is_negative(unsigned round, uint32_t i)
{
	uint64_t h = (((uint64_t)round << 32) + i + 1) * 0x9E3779B97F4A7C15u;

	h ^= h >> 29;
	return h * 0xBF58476D1CE4E5B9u >> 63 != 0;
}

static void change_signs(float *x, uint32_t dims, unsigned round)
{
	for (uint32_t i = 0; i < dims; i++)
		x[i] = is_negative(round, i) ? -x[i] : x[i];
}

static uint32_t power_below(uint32_t dims)
{
	uint32_t p = 1;

	while (p <= dims / 2)
		p *= 2;
	return p;
}

/* Its own inverse; p is a power of two. */
static void hadamard(float *x, uint32_t p)
{
	float factor = 1;

	for (uint32_t h = 1; h < p; h *= 2)
		for (uint32_t i = 0; i < p; i += 2 * h)
			for (uint32_t k = i; k < i + h; k++) {
				float a = x[k], b = x[k + h];

				x[k] = a + b;
				x[k + h] = a - b;
			}
	for (uint32_t h = p; h > 1; h /= 4)
		factor *= h == 2 ? 0.70710678F : 0.5F;
	for (uint32_t i = 0; i < p; i++)
		x[i] *= factor;
}

void ds_code_rotate(float *x, uint32_t dims)
{
	const uint32_t p = power_below(dims);

	for (unsigned round = 0; round < ROUNDS; round++) {
		change_signs(x, dims, round);
		hadamard(x + (round & 1 ? dims - p : 0), p);
	}
}

void ds_code_rotate_back(float *x, uint32_t dims)
{
	const uint32_t p = power_below(dims);

	for (unsigned round = ROUNDS; round-- > 0;) {
		hadamard(x + (round & 1 ? dims - p : 0), p);
		change_signs(x, dims, round);
	}
}

/* The distance of two levels, of a normal distribution of variance 1, that loses least. */
static const double steps[DS_CODE_BITS_MAX + 1] = {0, 1, 0.9957, 0.586, 0.3352};

uint16_t ds_code_encode(unsigned bits, float *vector, uint32_t dims, uint8_t *row)
{
	const size_t plane = (dims + 7) / 8;
	const int half = 1 << (bits - 1);
	double squares = 0, product = 0, step;
	uint16_t scale;

	memset(row, 0, ds_code_row_bytes(bits, dims));
	ds_code_rotate(vector, dims);
	for (uint32_t i = 0; i < dims; i++)
		squares += (double)vector[i] * (double)vector[i];
	step = steps[bits] * sqrt(squares / dims);
	if (!(step > 0) || !isfinite(step))
		return 0;
	for (uint32_t i = 0; i < dims; i++) {
		double level = floor((double)vector[i] / step);
		int number = level < -half ? 0 : level >= half ? 2 * half - 1 : (int)level + half;

		product += (double)vector[i] * (2 * number - 2 * half + 1);
		for (unsigned p = 0; p < bits; p++)
			row[p * plane + i / 8] |= (uint8_t)((number >> p & 1) << i % 8);
	}
	scale = ds_f32_to_f16((float)(squares / product));
	if (scale && isfinite(ds_f16_to_f32(scale)))
		return scale;
	memset(row, 0, ds_code_row_bytes(bits, dims));
	return 0;
}

void ds_code_decode(unsigned bits, const uint8_t *row, uint16_t scale, uint32_t dims, float *out)
{
	const size_t plane = (dims + 7) / 8;
	const float s = ds_f16_to_f32(scale);

	for (uint32_t i = 0; i < dims; i++) {
		int number = 0;

		for (unsigned p = 0; p < bits; p++)
			number |= (row[p * plane + i / 8] >> i % 8 & 1) << p;
		out[i] = s * (float)(2 * number - (1 << bits) + 1);
	}
	ds_code_rotate_back(out, dims);
}

void ds_code_blocks(const uint8_t *rows, size_t n, size_t row_bytes, uint8_t *blocks)
{
	for (size_t first = 0; first < n; first += DS_SCAN_ROWS) {
		size_t m = n - first < DS_SCAN_ROWS ? n - first : DS_SCAN_ROWS;

		for (size_t j = 0; j < row_bytes; j++)
			for (size_t r = 0; r < m; r++)
				*blocks++ = rows[(first + r) * row_bytes + j];
	}
}

void ds_code_row(const uint8_t *blocks, size_t n, size_t row_bytes, size_t i, uint8_t *row)
{
	size_t first = i - i % DS_SCAN_ROWS;
	size_t m = n - first < DS_SCAN_ROWS ? n - first : DS_SCAN_ROWS;

	for (size_t j = 0; j < row_bytes; j++)
		row[j] = blocks[first * row_bytes + j * m + i % DS_SCAN_ROWS];
}

/* The four dimensions from i on as integers; those beyond the end are 0. */
static void quantise(const float *query, uint32_t dims, uint32_t i, float inverse, int q[4])
{
	for (uint32_t k = 0; k < 4; k++)
		q[k] = i + k < dims ? (int)lrintf(query[i + k] * inverse) : 0;
}

float ds_code_table(const float *query, uint32_t dims, uint8_t *table)
{
	float most = 0;

	for (uint32_t i = 0; i < dims; i += 4) {
		float sum = 0;

		for (uint32_t k = i; k < i + 4 && k < dims; k++)
			sum += fabsf(query[k]);
		most = fmaxf(most, sum);
	}
	if (!(most > 0) || !isfinite(most) || !isfinite(125 / most)) {
		memset(table, 128, (size_t)(dims + 7) / 8 * 64);
		return 0;
	}
	for (uint32_t i = 0; i < (dims + 7) / 8 * 8; i += 4, table += 32) {
		int q[4];

		quantise(query, dims, i, 125 / most, q); /* rounding adds 2 to four of them */
		for (int number = 0; number < 16; number++) {
			int sum = 128;

			for (int k = 0; k < 4; k++)
				sum += number >> k & 1 ? q[k] : -q[k];
			table[number] = table[number + 16] = (uint8_t)sum;
		}
	}
	return most / 125;
}
