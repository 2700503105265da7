/* kern.c - which kernel table to use */
#include "kern/kern.h"

#include "base/cpu.h"
#include "config.h"
#include "kern/tables.h"

/* One a level of ds_cpu_level(). */
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
	size_t n = sizeof tables / sizeof *tables, level = ds_cpu_level();

	*tables_ret = tables;
	return level + 1 < n ? level + 1 : n;
}

enum ds_status ds_kern_choose(const struct ds_kern **kern_ret, struct ds_err *err)
{
	enum ds_cpu_level level;

	DS_TRY(ds_cpu_choose(&level, err));
	*kern_ret = tables[level];
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
