/* kern_ref.c - the kernel table in plain C, the oracle of the others */
#include "kern/tables.h"
#include "kern/vec_ref.h"
#include "kern/rows.inc"

const struct ds_kern ds_kern_ref =
	KERN_TABLE("ref", &ds_linear_ref, ds_matvec_ref, &ds_attn8_ref, ds_scan_ref);
