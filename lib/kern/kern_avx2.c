/* kern_avx2.c - the kernel table for AVX2 and FMA */
#include "config.h"
#if DS_X86
#include "kern/tables.h"
#include "kern/vec_avx2.h"
#include "kern/rows.inc"

const struct ds_kern ds_kern_avx2 =
	KERN_TABLE("avx2", &ds_linear_avx2, ds_matvec_avx2, &ds_attn8_avx2, ds_scan_avx2);
#else
typedef int ds_kern_avx2_unused;
#endif
