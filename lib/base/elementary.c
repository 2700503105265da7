/* elementary.c - exponential and logarithm by series */
#include "base/elementary.h"

#include <math.h>

/* ln 2 in two parts; products of the first with exponents are exact. */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10

/* x = 2^e m, m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(f), f = (m - 1) / (m + 1), |f| < 0.172:
 * the first term left out is below 2^-53 of the sum. */
double ds_log(double x)
{
	double m, f, s, sum = 0;
	int e;

	if (!(x > 0))
		return x == 0 ? -INFINITY : NAN;
	if (isinf(x))
		return x;
	m = frexp(x, &e);
	if (m < 0.70710678118654752440) {
		m *= 2;
		e--;
	}
	f = (m - 1) / (m + 1);
	s = f * f;
	for (int k = 21; k > 1; k -= 2)
		sum = (sum + 1.0 / k) * s;
	return e * LN2_HIGH + (2 * (f + f * sum) + e * LN2_LOW);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; the Taylor series of e^r to r^14. */
double ds_exp(double x)
{
	double n, r, sum = 1;

	if (isnan(x))
		return x;
	if (x > 710)
		return INFINITY;
	if (x < -746)
		return 0;
	n = rint(x * 1.44269504088896340736);
	r = (x - n * LN2_HIGH) - n * LN2_LOW;
	for (int k = 14; k > 0; k--)
		sum = sum * r / k + 1;
	return ldexp(sum, (int)n);
}
