/* linear_avx512.c - linear maps with AVX-512 */
#include "config.h"
#if DS_X86
#include "kern/lanes_avx512.h"
#include "kern/tables.h"

#define TOKENS 8 /* whose sums are made side by side */
#include "kern/maddubs.inc"

const struct ds_linear_kern ds_linear_avx512 = {
	.round = round_token,
	.open = OPEN_ROWS,
	.multiply = multiply,
};
#else
typedef int ds_linear_avx512_unused;
#endif
