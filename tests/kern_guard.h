/*
 * kern_guard.h - what the tests of kernel tables share: random numbers, buffers that end where a
 * page begins that cannot be touched, the tables to compare
 */
#ifndef TESTS_KERN_GUARD_H
#define TESTS_KERN_GUARD_H

#include <check.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kern/kern.h"

static uint64_t seed;

static inline uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

static inline float real(void)
{
	float f = (float)((int32_t)draw(2000001) - 1000000) * 1e-6f;

	return draw(16) ? f : f * 40;
}

/* Buffers that end where a page begins that cannot be touched. */
#define GUARDED_BYTES ((size_t)1 << 20)
enum { A, B, BIAS, PANEL, OUT, WANT, N_GUARDED };
static uint8_t *guard[N_GUARDED];

static inline void map_guarded(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < N_GUARDED; i++) {
		uint8_t *p = mmap(NULL, GUARDED_BYTES + page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ck_assert(p != MAP_FAILED);
		ck_assert_int_eq(mprotect(p + GUARDED_BYTES, page, PROT_NONE), 0);
		guard[i] = p + GUARDED_BYTES;
	}
}

/* The last n floats before the guard of buffer i. */
static inline float *end_floats(int i, size_t n)
{
	return (float *)(void *)(guard[i] - n * sizeof(float));
}

static inline float *random_floats(int i, size_t n)
{
	float *p = end_floats(i, n);

	for (size_t j = 0; j < n; j++)
		p[j] = real();
	return p;
}

/* Tables of this machine besides ref; the loop index of a test counts table and round. */
static inline const struct ds_kern *table(int index)
{
	const struct ds_kern *const *all;
	size_t n = ds_kern_all(&all);

	seed = 0x9E3779B97F4A7C15u + (uint64_t)index;
	map_guarded();
	return all[n - 1 - (size_t)index % n];
}

static inline const struct ds_kern *ref(void)
{
	const struct ds_kern *const *all;

	ds_kern_all(&all);
	return all[0];
}

#endif
