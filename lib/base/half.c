/* half.c - IEEE 754 binary16 */
#include "base/half.h"

#include <string.h>

static uint32_t float_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

static float bits_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

float ds_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 0x1F, mantissa = h & 0x3FF;

	if (exponent == 0x1F) /* infinity, NaN */
		return bits_float(sign | 0x7F800000 | mantissa << 13);
	if (exponent == 0) { /* zero, subnormal: an exact product */
		float f = (float)mantissa * 0x1p-24f;

		return bits_float(sign | float_bits(f));
	}
	return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t ds_f32_to_f16(float f)
{
	uint32_t u = float_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;

	if (a > 0x7F800000) /* NaN: keep it one, quiet */
		return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x3FF));
	if (a >= 0x477FF000) /* 65520 and above round to infinity */
		return (uint16_t)(sign | 0x7C00);
	if (a < 0x38800000) { /* below 2^-14: adding 0.5 rounds at bit 2^-24, to nearest even */
		uint32_t r = float_bits(bits_float(a) + 0.5f) - float_bits(0.5f);

		return (uint16_t)(sign | r);
	}
	a += 0xFFF + (a >> 13 & 1);
	return (uint16_t)(sign | (a - 0x38000000) >> 13);
}
