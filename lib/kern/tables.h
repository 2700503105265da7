/* tables.h - the tables that kern.c chooses from */
#ifndef DS_KERN_TABLES_H
#define DS_KERN_TABLES_H

#include "kern/attn8.h"
#include "kern/kern.h"
#include "kern/linear_kern.h"
#include "kern/scan.h"

extern const struct ds_kern ds_kern_ref, ds_kern_avx2, ds_kern_avx512, ds_kern_vnni;
extern const struct ds_linear_kern ds_linear_ref, ds_linear_avx2, ds_linear_avx512, ds_linear_vnni;
/* One token's rows, by type. */
extern ds_matvec_fn *const ds_matvec_ref[DS_LINEAR_TYPES];
extern ds_matvec_fn *const ds_matvec_avx2[DS_LINEAR_TYPES];
extern ds_matvec_fn *const ds_matvec_avx512[DS_LINEAR_TYPES];
extern ds_matvec_fn *const ds_matvec_vnni[DS_LINEAR_TYPES];
/* AVX-512 has nothing to add to AVX2 here: blocks have 32 rows, and memory is the limit. */
extern ds_scan_fn ds_scan_ref, ds_scan_avx2;

#endif
