/* kern_vnni.c - the kernel table for AVX-512 with VNNI: its linear maps differ, its rows do not */
#include "config.h"
#if DS_X86
#include "kern/tables.h"
#include "kern/vec_avx512.h"
#include "kern/rows.inc"

const struct ds_kern ds_kern_vnni =
	KERN_TABLE("vnni", &ds_linear_vnni, ds_matvec_vnni, &ds_attn8_vnni, ds_scan_avx2);
#else
typedef int ds_kern_vnni_unused;
#endif
