/* decimal.c - nine digits of an f32 from one double multiplication; printf where that cannot tell
 */
#include "base/decimal.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const double power[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

/* What the fast way cannot do. */
static size_t slow_text(float value, char *text)
{
	int n = snprintf(text, DS_F32_TEXT_BYTES, "%.9g", (double)value);
	char *comma = memchr(text, ',', (size_t)n);

	if (comma) /* the locale's */
		*comma = '.';
	return (size_t)n;
}

/* Digits without the zeros at their end, at most nine of them, the point after the first whole. */
static size_t place_digits(uint64_t digits, int exponent, char *out)
{
	char nine[9], *p = out;
	int n = 9, whole = exponent + 1;

	for (int i = 8; i >= 0; i--, digits /= 10)
		nine[i] = (char)('0' + digits % 10);
	while (n > 1 && n > whole && nine[n - 1] == '0')
		n--;
	if (whole <= 0) {
		memcpy(p, "0.0000", 6);
		p += 2 - whole;
		whole = 0;
	}
	memcpy(p, nine, (size_t)whole);
	p += whole;
	if (whole && n > whole)
		*p++ = '.';
	memcpy(p, nine + whole, (size_t)(n - whole));
	return (size_t)(p + (n - whole) - out);
}

size_t ds_f32_text(float value, char text_ret[DS_F32_TEXT_BYTES])
{
	double magnitude = fabs((double)value), scaled, fraction;
	char *text = text_ret;
	int exponent = -4;
	uint64_t digits;

	if (value == 0) {
		memcpy(text, "-0.0", 4);
		if (signbit(value))
			return 4;
		*text = '0';
		return 1;
	}
	if (!(magnitude >= 1e-4 && magnitude < 1e8))
		return slow_text(value, text);
	while (exponent < 0 ? magnitude * power[-exponent] >= 10 : magnitude >= power[exponent + 1])
		exponent++;
	/* relative error 2^-53, so the nine digits are right unless they are within 1e-6 of a tie
	 */
	scaled = magnitude * power[8 - exponent];
	digits = (uint64_t)scaled;
	fraction = scaled - (double)digits;
	if (fabs(fraction - 0.5) < 1e-6)
		return slow_text(value, text);
	digits += fraction > 0.5;
	if (digits < 100000000 || digits >= 1000000000)
		return slow_text(value, text);
	if (value < 0)
		*text++ = '-';
	return (size_t)(text - text_ret) + place_digits(digits, exponent, text);
}
