/*
 * half.h - half-precision numbers to f32 and back
 */
#ifndef DS_BASE_HALF_H
#define DS_BASE_HALF_H

#include <stdint.h>

float ds_f16_to_f32(uint16_t h);
uint16_t ds_f32_to_f16(float f); /* round to nearest even */

#endif
