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

/* Blocks between the first and the last tokens are chosen, [begin, end). */
struct range {
	size_t begin, end;
};

static struct range range_of(const struct ds_mass_choice *c)
{
	size_t begin = c->rule->sinks / DS_ATTN8_BLOCK, local = c->rule->local / DS_ATTN8_BLOCK;
	size_t end = c->n_block > local ? c->n_block - local : 0;

	return (struct range){begin < end ? begin : end, end};
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

/* The last one of the greatest want of a range, want >= 1. */
static uint32_t last_of(const struct ds_mass_choice *c, struct range r, size_t want)
{
	uint32_t count[BUCKETS] = {0}, k = BUCKETS - 1;
	size_t n = 0;

	for (size_t b = r.begin; b < r.end; b++)
		count[bucket_of(c->mass[b])]++;
	for (; count[k] < want; k--)
		want -= count[k];
	for (size_t b = r.begin; b < r.end; b++)
		if (bucket_of(c->mass[b]) == k)
			c->edge[n++] = (uint32_t)b;
	qsort_r(c->edge, n, sizeof *c->edge, compare, c->mass);
	return c->edge[want - 1];
}

/* Those of the range with more mass than least, or as much up to block last; the others all. */
static size_t list(const struct ds_mass_choice *c, struct range r, float least, uint32_t last,
		   uint32_t *block)
{
	size_t n = 0;

	for (size_t b = 0; b < r.begin; b++)
		block[n++] = (uint32_t)b;
	for (size_t b = r.begin; b < r.end; b++) {
		block[n] = (uint32_t)b;
		n += c->mass[b] > least || (c->mass[b] == least && b <= last);
	}
	for (size_t b = r.end; b < c->n_block; b++)
		block[n++] = (uint32_t)b;
	return n;
}

static size_t choose_share(const struct ds_mass_choice *c, struct range r, uint32_t *block)
{
	size_t want = (size_t)ceil(c->rule->share * (double)c->n_block - 1e-6);
	size_t forced = c->n_block - (r.end - r.begin);
	uint32_t last;

	if (want >= c->n_block)
		return list(c, r, 0, UINT32_MAX, block);
	if (want <= forced)
		return list(c, r, INFINITY, 0, block);
	last = last_of(c, r, want - forced);
	return list(c, r, c->mass[last], last, block);
}

/* What the newest sample keeps. */
static double kept_of(const struct ds_mass_choice *c, const uint32_t *block, size_t n)
{
	double kept = c->newest_own;

	for (size_t i = 0; i < n; i++)
		kept += (double)c->newest[block[i]];
	return kept;
}

/*
 * Blocks with less than their part of what may be dropped are dropped: of all samples together that
 * is as much as may be.  Where it is too much of the newest one, half of it has to do, and so on.
 */
static size_t choose_mass(const struct ds_mass_choice *c, struct range r, uint32_t *block)
{
	double least =
		(1 - c->rule->mass) * (double)c->n_sample / (double)(c->n_block ? c->n_block : 1);

	for (int i = 0; i < DS_MASS_TIGHTENED && least > 0; i++, least /= 2) {
		size_t n = list(c, r, (float)least, UINT32_MAX, block);

		if (kept_of(c, block, n) >= c->rule->mass)
			return n;
	}
	return list(c, r, 0, UINT32_MAX, block);
}

size_t ds_mass_choose(const struct ds_mass_choice *c, uint32_t *block)
{
	struct range r = range_of(c);

	return c->rule->share > 0 ? choose_share(c, r, block) : choose_mass(c, r, block);
}
