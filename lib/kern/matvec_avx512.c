/* matvec_avx512.c - one token's rows of linear.h for avx512 */
#include "config.h"
#if DS_X86
#include "kern/mv_avx512.h"
#include "kern/matvec.inc"

ds_matvec_fn *const ds_matvec_avx512[DS_LINEAR_TYPES] = MATVEC_TABLE;
#else
typedef int ds_matvec_avx512_unused;
#endif
