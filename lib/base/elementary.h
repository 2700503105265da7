/*
 * elementary.h - exp, log, sine and cosine in double precision, the same bits everywhere
 *
 * The C library's may differ in the last bit from version to version.  These are series in plain
 * arithmetic of one written order, good to about 2 units in the last place.
 */
#ifndef DS_BASE_ELEMENTARY_H
#define DS_BASE_ELEMENTARY_H

double ds_log(double x); /* -inf for 0, NaN below */
double ds_exp(double x);
void ds_sincos(double x, double *sin_ret, double *cos_ret); /* |x| up to 2^40 */

#endif
