/*
 * quant.c - the decoders of weight types to f32
 *
 * Every block begins or ends with half-precision scales; values follow packed.  The arithmetic is
 * one multiplication (and one addition for types with a minimum), each rounded to f32.
 */
#include "quant/quant.h"

#include <string.h>

static float bits_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

static float half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof h);
	return ds_f16_to_f32(h);
}

static void f32_to_f32(const void *blocks, float *out, size_t n)
{
	memcpy(out, blocks, n * sizeof *out);
}

static void f16_to_f32(const void *blocks, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = half_at((const uint8_t *)blocks + 2 * i);
}

static void bf16_to_f32(const void *blocks, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h;

		memcpy(&h, (const uint8_t *)blocks + 2 * i, sizeof h);
		out[i] = bits_float((uint32_t)h << 16);
	}
}

static void i8_to_f32(const void *blocks, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = ((const int8_t *)blocks)[i];
}

/* 32 values: f16 d, 32 int8 */
static void q8_0_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 32, b += 34) {
		float d = half_at(b);

		for (unsigned j = 0; j < 32; j++)
			out[i + j] = d * (int8_t)b[2 + j];
	}
}

/* 32 values: f16 d, 16 bytes; byte j holds value j (low nibble) and j + 16; value = d (q - 8) */
static void q4_0_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 32, b += 18) {
		float d = half_at(b);

		for (unsigned j = 0; j < 16; j++) {
			out[i + j] = d * ((b[2 + j] & 15) - 8);
			out[i + j + 16] = d * ((b[2 + j] >> 4) - 8);
		}
	}
}

/* 32 values: f16 d, f16 m, nibbles as Q4_0; value = d q + m */
static void q4_1_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 32, b += 20) {
		float d = half_at(b), m = half_at(b + 2);

		for (unsigned j = 0; j < 16; j++) {
			out[i + j] = d * (b[4 + j] & 15) + m;
			out[i + j + 16] = d * (b[4 + j] >> 4) + m;
		}
	}
}

/* Value j of 32 in nibbles with its fifth bit: bit j of high. */
static int five_bits(const uint8_t *nibbles, uint32_t high, unsigned j)
{
	int low = j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4;

	return low | (int)(high >> j & 1) << 4;
}

/* 32 values: f16 d, u32 of fifth bits, nibbles; value = d (q - 16) */
static void q5_0_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 32, b += 22) {
		float d = half_at(b);
		uint32_t high;

		memcpy(&high, b + 2, sizeof high);
		for (unsigned j = 0; j < 32; j++)
			out[i + j] = d * (five_bits(b + 6, high, j) - 16);
	}
}

/* 32 values: f16 d, f16 m, u32 of fifth bits, nibbles; value = d q + m */
static void q5_1_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 32, b += 24) {
		float d = half_at(b), m = half_at(b + 2);
		uint32_t high;

		memcpy(&high, b + 4, sizeof high);
		for (unsigned j = 0; j < 32; j++)
			out[i + j] = d * five_bits(b + 8, high, j) + m;
	}
}

/*
 * Scale and minimum, six bits each, of sub-block j < 8 in the 12 bytes that Q4_K and Q5_K share:
 * 0-3 are the low six bits of bytes 0-3 and 4-7; 4-7 take nibbles of bytes 8-11 and the top two
 * bits of the former.
 */
static void scale_min(const uint8_t *s, unsigned j, int *scale_ret, int *min_ret)
{
	if (j < 4) {
		*scale_ret = s[j] & 63;
		*min_ret = s[j + 4] & 63;
	} else {
		*scale_ret = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		*min_ret = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
}

/* 256 values: f16 d, f16 dmin, 12 bytes of scales, 128 of nibbles: each 32 bytes hold 64 values */
static void q4_k_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 256, b += 144) {
		float d = half_at(b), dmin = half_at(b + 2);

		for (unsigned j = 0; j < 8; j++) {
			const uint8_t *q = b + 16 + j / 2 * 32;
			int scale, min;

			scale_min(b + 4, j, &scale, &min);
			for (unsigned l = 0; l < 32; l++)
				out[i + j * 32 + l] =
					d * scale * (q[l] >> j % 2 * 4 & 15) - dmin * min;
		}
	}
}

/* 256 values: as Q4_K, with 32 bytes of fifth bits (bit j of byte l) before the nibbles */
static void q5_k_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 256, b += 176) {
		float d = half_at(b), dmin = half_at(b + 2);

		for (unsigned j = 0; j < 8; j++) {
			const uint8_t *high = b + 16, *q = b + 48 + j / 2 * 32;
			int scale, min;

			scale_min(b + 4, j, &scale, &min);
			for (unsigned l = 0; l < 32; l++) {
				int v = (q[l] >> j % 2 * 4 & 15) | (high[l] >> j & 1) << 4;

				out[i + j * 32 + l] = d * scale * v - dmin * min;
			}
		}
	}
}

/*
 * 256 values: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales (one for 16 values),
 * f16 d.  Each half of 128 values uses 64 low and 32 high bytes; value = d scale (q - 32).
 */
static void q6_k_to_f32(const void *blocks, float *out, size_t n)
{
	const uint8_t *b = blocks;

	for (size_t i = 0; i < n; i += 256, b += 210) {
		float d = half_at(b + 208);

		for (unsigned j = 0; j < 256; j++) {
			unsigned half = j / 128, r = j % 128, quarter = r / 32;
			uint8_t low = b[half * 64 + r % 64], high = b[128 + half * 32 + r % 32];
			int q = (low >> r / 64 * 4 & 15) | (high >> quarter * 2 & 3) << 4;

			out[i + j] = d * (int8_t)b[192 + j / 16] * (q - 32);
		}
	}
}

static ds_decode_fn *const decoders[] = {
	[0] = f32_to_f32,   [1] = f16_to_f32,	[2] = q4_0_to_f32, [3] = q4_1_to_f32,
	[6] = q5_0_to_f32,  [7] = q5_1_to_f32,	[8] = q8_0_to_f32, [12] = q4_k_to_f32,
	[13] = q5_k_to_f32, [14] = q6_k_to_f32, [24] = i8_to_f32,  [30] = bf16_to_f32,
};

ds_decode_fn *ds_quant_decoder(uint32_t type)
{
	return type < sizeof decoders / sizeof *decoders ? decoders[type] : NULL;
}
