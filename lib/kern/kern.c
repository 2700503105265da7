/* kern.c - which kernel table to use */
#include "kern/kern.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#if DS_X86
#include <cpuid.h>
#endif
#include "kern/tables.h"

/* Rising levels of DS_CPU, one a table. */
static const char *const level_name[] = {"ref", "avx2", "avx512", "vnni"};
enum { LEVEL_REF, LEVEL_AVX2, LEVEL_AVX512, LEVEL_VNNI, N_LEVEL };

#if DS_X86
/* conversion of halves; not every compiler knows its name */
static int has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static int cpu_level(void)
{
#if DS_X86
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !__builtin_cpu_supports("bmi2") || !has_f16c())
		return LEVEL_REF;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
		return LEVEL_AVX2;
	return __builtin_cpu_supports("avx512vnni") ? LEVEL_VNNI : LEVEL_AVX512;
#else
	return LEVEL_REF;
#endif
}

static const struct ds_kern *const tables[] = {
	&ds_kern_ref,
#if DS_X86
	&ds_kern_avx2,
	&ds_kern_avx512,
	&ds_kern_vnni,
#endif
};

size_t ds_kern_all(const struct ds_kern *const **tables_ret)
{
	size_t n = sizeof tables / sizeof *tables, level = (size_t)cpu_level();

	*tables_ret = tables;
	return level + 1 < n ? level + 1 : n;
}

enum ds_status ds_kern_choose(const struct ds_kern **kern_ret, struct ds_err *err)
{
	const char *cap = getenv("DS_CPU");
	const struct ds_kern *const *all;
	size_t level = N_LEVEL - 1, n = ds_kern_all(&all);

	if (cap && *cap) {
		for (level = 0; level < N_LEVEL && strcmp(cap, level_name[level]) != 0; level++)
			;
		if (level == N_LEVEL)
			return ds_fail(err, DS_EINVAL,
				       "DS_CPU=%.20s: expected ref, avx2, avx512 or vnni", cap);
	}
	*kern_ret = all[level < n ? level : n - 1];
	return DS_OK;
}

float *ds_kern_floats(struct ds_arena *arena, size_t n)
{
	const uintptr_t line = 64;
	uintptr_t p = (uintptr_t)ds_arena_alloc(arena, n + line / sizeof(float), sizeof(float));

	return p ? (float *)((p + line - 1) & ~(line - 1)) : NULL;
}

void ds_kern_pack(const float *w, size_t n, size_t k, size_t stride, float *panel)
{
	for (size_t j = 0; j < n; j += DS_KERN_LANES) {
		size_t lanes = n - j < DS_KERN_LANES ? n - j : DS_KERN_LANES;
		const float *row = w + j * stride;

		for (size_t i = 0; i < k; i++, panel += DS_KERN_LANES)
			for (size_t lane = 0; lane < DS_KERN_LANES; lane++)
				panel[lane] = lane < lanes ? row[lane * stride + i] : 0;
	}
}
