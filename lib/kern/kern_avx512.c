/* kern_avx512.c - the kernel table for AVX-512 F, BW, VL, DQ */
#include "config.h"
#if DS_X86
#include "kern/tables.h"
#include "kern/vec_avx512.h"
#include "kern/rows.inc"

const struct ds_kern ds_kern_avx512 =
	KERN_TABLE("avx512", &ds_linear_avx512, ds_matvec_avx512, &ds_attn8_avx512, ds_scan_avx2);
#else
typedef int ds_kern_avx512_unused;
#endif
