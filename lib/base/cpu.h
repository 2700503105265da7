/*
 * cpu.h - which instructions this machine has
 *
 * Levels rise: each has what the one before it has.  Kernels of every level give the same bytes.
 */
#ifndef DS_BASE_CPU_H
#define DS_BASE_CPU_H

#include "base/err.h"

enum ds_cpu_level { DS_CPU_REF, DS_CPU_AVX2, DS_CPU_AVX512, DS_CPU_VNNI };

enum ds_cpu_level ds_cpu_level(void);
/* The same, capped by the environment variable DS_CPU (ref, avx2, avx512 or vnni); DS_EINVAL for
 * another value. */
enum ds_status ds_cpu_choose(enum ds_cpu_level *level_ret, struct ds_err *err);

#endif
