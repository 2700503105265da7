/* cpu.c - which instructions this machine has */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#if DS_X86
#include <cpuid.h>
#endif

static const char *const level_name[] = {"ref", "avx2", "avx512", "vnni"};
enum { N_LEVEL = sizeof level_name / sizeof *level_name };

#if DS_X86
/* conversion of halves; not every compiler knows its name */
static int has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

enum ds_cpu_level ds_cpu_level(void)
{
#if DS_X86
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !__builtin_cpu_supports("bmi2") || !has_f16c())
		return DS_CPU_REF;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
		return DS_CPU_AVX2;
	return __builtin_cpu_supports("avx512vnni") ? DS_CPU_VNNI : DS_CPU_AVX512;
#else
	return DS_CPU_REF;
#endif
}

enum ds_status ds_cpu_choose(enum ds_cpu_level *level_ret, struct ds_err *err)
{
	const char *cap = getenv("DS_CPU");
	unsigned level = N_LEVEL - 1, have = ds_cpu_level();

	if (cap && *cap) {
		for (level = 0; level < N_LEVEL && strcmp(cap, level_name[level]) != 0; level++)
			;
		if (level == N_LEVEL)
			return ds_fail(err, DS_EINVAL,
				       "DS_CPU=%.20s: expected ref, avx2, avx512 or vnni", cap);
	}
	*level_ret = level < have ? level : have;
	return DS_OK;
}
