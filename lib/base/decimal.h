/*
 * decimal.h - f32 in decimal, fast: what printf's "%.9g" gives in the C locale
 */
#ifndef DS_BASE_DECIMAL_H
#define DS_BASE_DECIMAL_H

#include <stddef.h>

#define DS_F32_TEXT_BYTES 24

/* Nine significant digits, with which reading gives the same bits; value is finite.  -0 is "-0.0",
 * since JSON readers take "-0" for an integer.  Returns the length; the text has no NUL. */
size_t ds_f32_text(float value, char text_ret[DS_F32_TEXT_BYTES]);

#endif
