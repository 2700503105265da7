/* linear_avx2.c - linear maps with AVX2 */
#include "config.h"
#if DS_X86
#include "kern/lanes_avx2.h"
#include "kern/tables.h"

#define TOKENS 4 /* whose sums are made side by side */
#include "kern/maddubs.inc"

const struct ds_linear_kern ds_linear_avx2 = {
	.round = round_token,
	.open = OPEN_ROWS,
	.multiply = multiply,
};
#else
typedef int ds_linear_avx2_unused;
#endif
