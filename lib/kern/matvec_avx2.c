/* matvec_avx2.c - one token's rows of linear.h for avx2 */
#include "config.h"
#if DS_X86
#include "kern/mv_avx2.h"
#include "kern/matvec.inc"

ds_matvec_fn *const ds_matvec_avx2[DS_LINEAR_TYPES] = MATVEC_TABLE;
#else
typedef int ds_matvec_avx2_unused;
#endif
