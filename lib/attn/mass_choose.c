/*
 * mass_choose.c - the blocks with the most mass: so many of them, or all that have enough
 *
 * Positive floats are ordered as their bits are.  To find the least mass of so many blocks, they
 * are counted by their highest bits, and those of the bucket that it lies in are sorted.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attn/mass.h"
#include "kern/attn8.h"

#define BUCKET_BITS 20 /* what is left of a float below a bucket */
#define BUCKETS 2048   /* of floats that are not negative */

static uint32_t bucket_of(float mass)
{
	uint32_t u;

	memcpy(&u, &mass, sizeof u);
	return u >> BUCKET_BITS;
}

/* By falling mass, then rising index. */
static int compare(const void *a, const void *b, void *user)
{
	const float *mass = user;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (mass[x] != mass[y])
		return mass[x] > mass[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

/* The last one of the greatest want of those between, want >= 1. */
static uint32_t last_of(const struct ds_mass_choice *c, size_t want)
{
	uint32_t count[BUCKETS] = {0}, k = BUCKETS - 1;
	size_t n = 0;

	for (size_t b = c->begin; b < c->end; b++)
		count[bucket_of(c->mass[b])]++;
	for (; count[k] < want; k--)
		want -= count[k];
	for (size_t b = c->begin; b < c->end; b++)
		if (bucket_of(c->mass[b]) == k)
			c->edge[n++] = (uint32_t)b;
	qsort_r(c->edge, n, sizeof *c->edge, compare, c->mass);
	return c->edge[want - 1];
}

/* Those between with more mass than least, or as much up to block last; the others all. */
static size_t list(const struct ds_mass_choice *c, float least, uint32_t last, uint32_t *block)
{
	size_t n = 0;

	for (size_t b = 0; b < c->begin; b++)
		block[n++] = (uint32_t)b;
	for (size_t b = c->begin; b < c->end; b++) {
		block[n] = (uint32_t)b;
		n += c->mass[b] > least || (c->mass[b] == least && b <= last);
	}
	for (size_t b = c->end; b < c->n_block; b++)
		block[n++] = (uint32_t)b;
	return n;
}

size_t ds_mass_choose(const struct ds_mass_choice *c, uint32_t *block)
{
	size_t want = (size_t)ceil(c->share * (double)c->n_block - 1e-6);
	size_t forced = c->n_block - (c->end - c->begin);
	uint32_t last;

	if (want >= c->n_block)
		return list(c, 0, UINT32_MAX, block);
	if (want <= forced)
		return list(c, INFINITY, 0, block);
	last = last_of(c, want - forced);
	return list(c, c->mass[last], last, block);
}
