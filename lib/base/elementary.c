/* elementary.c - exponential, logarithm, sine and cosine by series */
#include "base/elementary.h"

#include <math.h>
#include <stddef.h>

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

/* pi / 2 as a double, and what that leaves */
#define HALF_PI_HIGH 0x1.921fb54442d18p+0
#define HALF_PI_LOW 0x1.1a62633145c07p-54

/* Taylor coefficients of r^18 .. r^2, the leading r or 1 apart; the next term is below 2^-54. */
static const double sin_series[] = {-1.0 / 121645100408832000.,
				    1.0 / 355687428096000.,
				    -1.0 / 1307674368000.,
				    1.0 / 6227020800.,
				    -1.0 / 39916800.,
				    1.0 / 362880.,
				    -1.0 / 5040.,
				    1.0 / 120.,
				    -1.0 / 6.};
static const double cos_series[] = {-1.0 / 6402373705728000.,
				    1.0 / 20922789888000.,
				    -1.0 / 87178291200.,
				    1.0 / 479001600.,
				    -1.0 / 3628800.,
				    1.0 / 40320.,
				    -1.0 / 720.,
				    1.0 / 24.,
				    -1.0 / 2.};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static double polynomial(const double *c, size_t n, double x)
{
	double sum = c[0];

	for (size_t i = 1; i < n; i++)
		sum = sum * x + c[i];
	return sum;
}

void ds_sincos(double x, double *sin_ret, double *cos_ret)
{
	double n = rint(x / HALF_PI_HIGH), r, square, s, c;

	/* the inner difference is exact: a multiple of 2^-52 below 1 */
	r = fma(-n, HALF_PI_LOW, fma(-n, HALF_PI_HIGH, x));
	square = r * r;
	s = r + r * square * polynomial(sin_series, COUNT(sin_series), square);
	c = 1 + square * polynomial(cos_series, COUNT(cos_series), square);
	switch ((long long)n & 3) {
	case 0:
		*sin_ret = s;
		*cos_ret = c;
		break;
	case 1:
		*sin_ret = c;
		*cos_ret = -s;
		break;
	case 2:
		*sin_ret = -s;
		*cos_ret = -c;
		break;
	default:
		*sin_ret = -c;
		*cos_ret = s;
	}
}
