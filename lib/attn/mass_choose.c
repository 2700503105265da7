/*
 * mass_choose.c - the blocks with the most mass: so many, or until they have enough of it
 *
 * Positive floats are ordered as their bits are.  Blocks are counted by their highest bits; whole
 * buckets are taken from above, and of the one that is too much the greatest, one by one.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attn/mass.h"
#include "kern/attn8.h"

#define BUCKET_BITS 19 /* what is left of a float below a bucket */

static uint32_t bits_of(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof u);
	return u;
}

/* What is to be reached, and what is. */
struct goal {
	size_t n, n_want;
	double mass, mass_want;
};

static bool reached(const struct goal *g)
{
	return g->n >= g->n_want && g->mass >= g->mass_want;
}

static bool is_forced(const struct ds_mass_choice *c, size_t block)
{
	return block < c->rule->sinks / DS_ATTN8_BLOCK ||
	       block + c->rule->local / DS_ATTN8_BLOCK >= c->n_block;
}

static struct goal goal_of(const struct ds_mass_choice *c)
{
	if (c->rule->share > 0)
		return (struct goal){
			.n_want = (size_t)ceil(c->rule->share * (double)c->n_block - 1e-6)};
	return (struct goal){.mass = c->own, .mass_want = c->rule->mass * (double)c->n_sample};
}

/* By falling mass, then rising index. */
static int compare_edge(const void *a, const void *b, void *user)
{
	const float *mass = user;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (mass[x] != mass[y])
		return mass[x] > mass[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

/* Forced blocks are reached; the others counted. */
static void count(const struct ds_mass_choice *c, struct goal *g)
{
	memset(c->bucket, 0, DS_MASS_BUCKETS * sizeof *c->bucket);
	memset(c->sum, 0, DS_MASS_BUCKETS * sizeof *c->sum);
	for (size_t b = 0; b < c->n_block; b++) {
		if (is_forced(c, b)) {
			g->n++;
			g->mass += (double)c->mass[b];
		} else {
			uint32_t k = bits_of(c->mass[b]) >> BUCKET_BITS;

			c->bucket[k]++;
			c->sum[k] += (double)c->mass[b];
		}
	}
}

/* Whole buckets as long as the goal is not reached by them; returns the one that would, or -1. */
static long take_buckets(const struct ds_mass_choice *c, struct goal *g)
{
	for (long k = DS_MASS_BUCKETS - 1; k >= 0; k--) {
		struct goal next = *g;

		if (!c->bucket[k])
			continue;
		next.n += c->bucket[k];
		next.mass += c->sum[k];
		if (reached(&next))
			return k;
		*g = next;
	}
	return -1;
}

/* The greatest of a bucket until the goal is reached; the last one that is taken. */
static uint32_t take_edge(const struct ds_mass_choice *c, struct goal *g, uint32_t bucket)
{
	size_t n = 0, i = 0;

	for (size_t b = 0; b < c->n_block; b++)
		if (bits_of(c->mass[b]) >> BUCKET_BITS == bucket && !is_forced(c, b))
			c->edge[n++] = (uint32_t)b;
	qsort_r(c->edge, n, sizeof *c->edge, compare_edge, c->mass);
	for (; i < n && !reached(g); i++) {
		g->n++;
		g->mass += (double)c->mass[c->edge[i]];
	}
	return c->edge[i ? i - 1 : 0];
}

size_t ds_mass_choose(const struct ds_mass_choice *c, uint32_t *block)
{
	struct goal g = goal_of(c);
	float least = 0;
	uint32_t last = UINT32_MAX; /* of those with the least mass */
	size_t n = 0;

	count(c, &g);
	if (reached(&g)) {
		least = INFINITY;
	} else {
		long k = take_buckets(c, &g);

		if (k >= 0) {
			last = take_edge(c, &g, (uint32_t)k);
			least = c->mass[last];
		}
	}
	for (size_t b = 0; b < c->n_block; b++)
		if (is_forced(c, b) || c->mass[b] > least || (c->mass[b] == least && b <= last))
			block[n++] = (uint32_t)b;
	return n;
}
