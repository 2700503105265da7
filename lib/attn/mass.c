/*
 * mass.c - groups of queries attend to the blocks that the samples before them gave most mass
 *
 * A page of queries is done by one thread.  What a later call may need of a page that is not whole
 * yet, the mass of its last samples, is kept for each layer and head; a sequence is only cut at
 * pages.
 */
#include "attn/mass.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/follow.h"

#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)

#define AUDIT_EVERY 256

/* What a thread works with. */
struct desk {
	float *q;		    /* [64][dim_k] of samples, or of a group */
	float *score;		    /* see ds_rounded_masses() */
	float *found, *max;	    /* [blocks][64], [segments][64] */
	float *mass;		    /* [heads][samples of a page][blocks] */
	double *own;		    /* [heads][samples of a page] */
	float *sum;		    /* [blocks]: of the samples that count */
	uint32_t *block, *edge;	    /* [blocks] */
	struct ds_attn_parts group; /* of a group */
};

/* The last samples of a page that is not whole, of all heads. */
struct kept {
	float *mass; /* [heads][samples][blocks] */
	double *own; /* [heads][samples] */
};

struct ds_attn_mass {
	struct ds_mass_rule rule;
	size_t n_block, n_sample; /* of the context, of a page */
	struct desk *desk;	  /* [threads] */
	struct kept *kept;	  /* [layers][2] */
	uint8_t *turn;		  /* [layers]: which of the two is valid */
	const struct kept *load, *save;
	/* of audited queries: how many kept so much of their mass; their sum */
	atomic_ullong audited[DS_AUDIT_STEPS + 1], audited_mass;
};

static struct ds_mass_rule rule_of(const struct ds_attn_policy *policy)
{
	struct ds_mass_rule rule = {.stride = (uint32_t)policy->param[1],
				    .samples = (uint32_t)policy->param[2],
				    .sinks = 64,
				    .local = 64};

	*(policy->kind == DS_ATTN_MASS ? &rule.share : &rule.mass) = policy->param[0];
	return rule;
}

/* 2^x for x <= 0, in a written order. */
static double power(double x)
{
	static const double c[] = {
		1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
		1.0 / 24,      1.0 / 6,	     0.5,	  1,	      1};
	double n = rint(x), r = (x - n) * 0.693147180559945309417, y = 0;

	if (!(x > -1000))
		return 0;
	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		y = y * r + c[i];
	return ldexp(y, (int)n);
}

static float *mass_at(const struct ds_attn_mass *m, const struct desk *d, size_t head,
		      size_t sample)
{
	return d->mass + (head * m->n_sample + sample) * m->n_block;
}

/* Some samples of a tile: their rows. */
struct some {
	const struct ds_attn_tile *tile;
	size_t first, n_at; /* the first sample of the tile; samples of a head */
	size_t begin, n;    /* of all, head after head */
};

static size_t some_head(const struct some *s, size_t i)
{
	return (s->begin + i) / s->n_at;
}

static size_t some_sample(const struct some *s, size_t i)
{
	return s->first + (s->begin + i) % s->n_at;
}

/* The row of the tile that is a sample. */
static size_t some_row(const struct ds_attn_mass *m, const struct some *s, size_t i)
{
	const struct ds_attn_tile *t = s->tile;
	size_t at = (t->call->pos + t->query) % DS_KV_PAGE;

	return (some_sample(s, i) * m->rule.stride - at) * t->n_head + some_head(s, i);
}

/* Mass that was found of a row, the i-th of rows padded to ld, becomes shares of 1 into to; returns
 * its own page's, part being what it found there. */
static double shares_of(const struct desk *d, size_t i, size_t ld, const struct ds_attn_part *part,
			size_t n_block, float *to)
{
	double max = (double)*part->max, own = 0, total = 0;

	for (size_t b = 0; b < n_block; b += DS_ROUNDED_SEGMENT)
		max = fmax(max, (double)d->max[b / DS_ROUNDED_SEGMENT * ld + i]);
	for (size_t j = 0; j < DS_KERN_LANES; j++)
		own += (double)part->sum[j];
	own *= power((double)*part->max - max) * 0x1p20;
	for (size_t b = 0; b < n_block; b += DS_ROUNDED_SEGMENT) {
		double factor = power((double)d->max[b / DS_ROUNDED_SEGMENT * ld + i] - max);
		size_t end = ds_attn_smaller(b + DS_ROUNDED_SEGMENT, n_block);

		for (size_t j = b; j < end; j++) {
			double x = (double)d->found[j * ld + i] * factor;

			to[j] = (float)x;
			total += x;
		}
	}
	total += own;
	for (size_t b = 0; b < n_block; b++) {
		float x = (float)((double)to[b] / total);

		to[b] = x > 0 ? x : 0; /* not a number: nor are the states */
	}
	return own / total;
}

static struct ds_attn_part own_part(const struct ds_attn *attn, unsigned thread, size_t row)
{
	const struct ds_attn_parts *p = &attn->scratch[thread].part;

	return (struct ds_attn_part){p->max + row, p->sum + row * DS_KERN_LANES,
				     p->value + row * attn->shape.dim_v};
}

static size_t blocks_before(const struct ds_attn_tile *t)
{
	return (t->call->pos + t->query) / DS_KV_PAGE * PAGE_BLOCKS;
}

/* Up to 64 samples: their mass. */
static void take_some(const struct ds_attn *attn, const struct some *s, unsigned thread)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	const struct ds_attn_scratch *scratch = &attn->scratch[thread];
	struct desk *d = &m->desk[thread];
	struct ds_attn_tile rows = *s->tile;
	size_t dim = attn->shape.dim_k;

	for (size_t i = 0; i < s->n; i++)
		memcpy(d->q + i * dim, scratch->q + some_row(m, s, i) * dim, dim * sizeof *d->q);
	rows.rows = s->n;
	ds_rounded_masses(attn, &rows, thread, d->q,
			  &(struct ds_rounded_found){d->score, d->found, d->max});
	for (size_t i = 0; i < s->n; i++) {
		struct ds_attn_part own = own_part(attn, thread, some_row(m, s, i));
		size_t h = some_head(s, i), k = some_sample(s, i);

		d->own[h * m->n_sample + k] = shares_of(
			d, i, ds_kern_pad(s->n), &own, blocks_before(s->tile), mass_at(m, d, h, k));
	}
}

/* All samples of a tile. */
static void take_samples(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	size_t stride = m->rule.stride, at = (t->call->pos + t->query) % DS_KV_PAGE;
	size_t first = (at + stride - 1) / stride, end = (at + t->n + stride - 1) / stride;
	struct some s = {.tile = t, .first = first, .n_at = end - first};

	for (; s.begin < s.n_at * t->n_head; s.begin += DS_ATTN8_ROWS) {
		s.n = ds_attn_smaller(s.n_at * t->n_head - s.begin, DS_ATTN8_ROWS);
		take_some(attn, &s, thread);
	}
}

/* The last samples before place end of a page, to or from what is kept. */
static void keep(const struct ds_attn *attn, const struct ds_attn_tile *t, struct desk *d,
		 size_t end, const struct kept *kept, bool load)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	size_t n = m->rule.samples, last = (end + m->rule.stride - 1) / m->rule.stride;
	size_t bytes = blocks_before(t) * sizeof(float);

	for (size_t h = 0; h < t->n_head; h++)
		for (size_t k = last > n ? last - n : 0; k < last; k++) {
			size_t at = (t->head + h) * n + k % n;
			float *here = mass_at(m, d, h, k), *there = kept->mass + at * m->n_block;
			double *own = &d->own[h * m->n_sample + k];

			memcpy(load ? here : there, load ? there : here, bytes);
			*(load ? own : &kept->own[at]) = *(load ? &kept->own[at] : own);
		}
}

/* The list of a group: that of a head, after its sample. */
static struct ds_block_list choose(const struct ds_attn *attn, const struct ds_attn_tile *t,
				   size_t head, size_t sample, struct desk *d)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	size_t n = m->rule.samples, first = sample + 1 > n ? sample + 1 - n : 0;
	struct ds_mass_choice c = {.rule = &m->rule,
				   .mass = d->sum,
				   .n_sample = sample + 1 - first,
				   .n_block = blocks_before(t),
				   .newest = mass_at(m, d, head, sample),
				   .newest_own = d->own[head * m->n_sample + sample],
				   .edge = d->edge};

	memcpy(d->sum, mass_at(m, d, head, first), c.n_block * sizeof *d->sum);
	for (size_t k = first + 1; k <= sample; k++) {
		const float *mass = mass_at(m, d, head, k);

		for (size_t b = 0; b < c.n_block; b++)
			d->sum[b] += mass[b];
	}
	return (struct ds_block_list){.n = ds_mass_choose(&c, d->block), .block = d->block};
}

/* The row of the tile that query i of a group is. */
static size_t group_row(const struct ds_attn_tile *t, const struct ds_attn_tile *group, size_t i)
{
	return (group->query - t->query + i) * t->n_head + group->head - t->head;
}

/* Of a query that is audited: the mass of its list and its own page. */
static void audit(const struct ds_attn *attn, const struct ds_attn_tile *t,
		  const struct ds_attn_tile *group, size_t i, const struct ds_block_list *list,
		  unsigned thread)
{
	struct ds_attn_mass *m = attn->follow->mass;
	struct desk *d = &m->desk[thread];
	size_t row = group_row(t, group, i), dim = attn->shape.dim_k;
	struct ds_attn_part part = own_part(attn, thread, row);
	struct ds_attn_tile one = *group;
	double kept;

	one.query += i;
	one.n = one.rows = 1;
	ds_rounded_masses(attn, &one, thread, attn->scratch[thread].q + row * dim,
			  &(struct ds_rounded_found){d->score, d->found, d->max});
	kept = shares_of(d, 0, DS_KERN_LANES, &part, blocks_before(t), d->sum);
	for (size_t j = 0; j < list->n; j++)
		kept += (double)d->sum[list->block[j]];
	kept = kept > 0 ? kept < 1 ? kept : 1 : 0;
	atomic_fetch_add(&m->audited[(size_t)(kept * DS_AUDIT_STEPS)], 1);
	atomic_fetch_add(&m->audited_mass, (uint64_t)(kept * DS_AUDIT_ONE + 0.5));
}

/* One of 256 queries of a head. */
static bool is_audited(const struct ds_attn_call *call, size_t head, size_t query)
{
	return (call->pos + query + head * 37 + call->layer * 101) % AUDIT_EVERY == 3;
}

/* A group of one head attends to its list and its own page, which is in the thread's part. */
static void attend(const struct ds_attn *attn, const struct ds_attn_tile *t,
		   const struct ds_attn_tile *group, const struct ds_block_list *list,
		   unsigned thread)
{
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct desk *d = &attn->follow->mass->desk[thread];
	size_t dim_k = attn->shape.dim_k, dim_v = attn->shape.dim_v;

	for (size_t i = 0; i < group->n; i++)
		memcpy(d->q + i * dim_k, s->q + group_row(t, group, i) * dim_k,
		       dim_k * sizeof *d->q);
	ds_rounded_attend(attn, group, list, thread, d->q, &d->group);
	for (size_t i = 0; i < group->n; i++) {
		struct ds_attn_part own = own_part(attn, thread, group_row(t, group, i));
		struct ds_attn_part part = {d->group.max + i, d->group.sum + i * DS_KERN_LANES,
					    d->group.value + i * dim_v};

		attn->kern->attn_join(&part, &own, dim_v);
	}
	ds_attn_finish(attn, group, &d->group);
}

/* The groups of a head, one after the other. */
static void attend_head(const struct ds_attn *attn, const struct ds_attn_tile *t, size_t head,
			unsigned thread)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	struct desk *d = &m->desk[thread];
	size_t stride = m->rule.stride, at = (t->call->pos + t->query) % DS_KV_PAGE;
	struct ds_attn_tile group = *t;
	uint64_t seen = 0;

	group.head += (uint32_t)head;
	group.n_head = 1;
	for (size_t i = 0; i < t->n; i += group.n) {
		struct ds_block_list list = choose(attn, t, head, (at + i) / stride, d);

		group.query = t->query + i;
		group.n = ds_attn_smaller(stride - (at + i) % stride, t->n - i);
		group.rows = group.n;
		attend(attn, t, &group, &list, thread);
		for (size_t j = 0; j < group.n; j++) {
			seen += list.n * DS_ATTN8_BLOCK + at + i + j + 1;
			if (is_audited(t->call, group.head, group.query + j))
				audit(attn, t, &group, j, &list, thread);
		}
	}
	ds_follow_count(attn, seen, 0);
}

void ds_mass_tile(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct desk *d = &m->desk[thread];
	size_t pos = t->call->pos + t->query, at = pos % DS_KV_PAGE;

	ds_attn_begin(attn, t->rows, &s->part);
	ds_attn_page(attn, t, s, pos / DS_KV_PAGE, &s->part);
	if (at)
		keep(attn, t, d, at, m->load, true);
	take_samples(attn, t, thread);
	for (size_t h = 0; h < t->n_head; h++)
		attend_head(attn, t, h, thread);
	if ((at + t->n) % DS_KV_PAGE)
		keep(attn, t, d, at + t->n, m->save, false);
}

/* The last tile saves while the first one may still load: to different places, then. */
void ds_mass_call(struct ds_attn *attn)
{
	struct ds_attn_mass *m = attn->follow->mass;
	const struct ds_attn_call *call = attn->call;
	const struct kept *kept = m->kept + (size_t)2 * call->layer;
	uint8_t *turn = &m->turn[call->layer];

	m->load = &kept[*turn];
	if (call->pos / DS_KV_PAGE != (call->pos + call->n - 1) / DS_KV_PAGE)
		*turn ^= 1;
	m->save = &kept[*turn];
}

static bool new_desk(struct ds_attn *attn, const struct ds_attn_mass *m, struct desk *d)
{
	struct ds_arena *mem = &attn->mem;
	size_t rows = DS_ATTN8_ROWS, samples = attn->heads * m->n_sample;

	d->q = ds_kern_floats(mem, rows * attn->shape.dim_k);
	d->score = ds_kern_floats(mem, rows * DS_ATTN_SEGMENT);
	d->found = ds_kern_floats(mem, rows * m->n_block);
	d->max = ds_kern_floats(mem, rows * (m->n_block / DS_ROUNDED_SEGMENT + 1));
	d->mass = ds_kern_floats(mem, samples * m->n_block);
	d->own = ds_arena_alloc(mem, samples, sizeof *d->own);
	d->sum = ds_kern_floats(mem, m->n_block);
	d->block = ds_arena_alloc(mem, m->n_block, sizeof *d->block);
	d->edge = ds_arena_alloc(mem, m->n_block, sizeof *d->edge);
	return d->q && d->score && d->found && d->max && d->mass && d->own && d->sum && d->block &&
	       d->edge && ds_attn_new_parts(attn, &d->group, m->rule.stride);
}

static bool new_kept(struct ds_attn *attn, const struct ds_attn_mass *m, struct kept *kept)
{
	size_t n = (size_t)attn->group * attn->shape.n_head * m->rule.samples;

	kept->mass = ds_arena_alloc(&attn->mem, n * m->n_block, sizeof *kept->mass);
	kept->own = ds_arena_alloc(&attn->mem, n, sizeof *kept->own);
	return kept->mass && kept->own;
}

static bool new_memory(struct ds_attn *attn, struct ds_attn_mass *m)
{
	unsigned threads = ds_pool_threads(attn->pool);
	size_t layers = attn->shape.n_layer;

	m->desk = ds_arena_alloc(&attn->mem, threads, sizeof *m->desk);
	m->kept = ds_arena_alloc(&attn->mem, layers, 2 * sizeof *m->kept);
	m->turn = ds_arena_alloc(&attn->mem, layers, sizeof *m->turn);
	if (!m->desk || !m->kept || !m->turn)
		return false;
	memset(m->turn, 0, layers * sizeof *m->turn);
	for (unsigned i = 0; i < threads; i++)
		if (!new_desk(attn, m, &m->desk[i]))
			return false;
	for (size_t i = 0; i < 2 * layers; i++)
		if (!new_kept(attn, m, &m->kept[i]))
			return false;
	return true;
}

enum ds_status ds_attn_mass_new(struct ds_attn_mass **mass_ret, struct ds_attn *attn,
				const struct ds_attn_policy *policy, struct ds_err *err)
{
	struct ds_attn_mass *m = ds_arena_alloc(&attn->mem, 1, sizeof *m);

	if (!m)
		return ds_fail_nomem(err, sizeof *m);
	memset(m, 0, sizeof *m);
	m->rule = rule_of(policy);
	m->n_sample = (DS_KV_PAGE + m->rule.stride - 1) / m->rule.stride;
	m->n_block = ((size_t)attn->shape.n_context / DS_KV_PAGE + 1) * PAGE_BLOCKS;
	if (!new_memory(attn, m))
		return ds_fail_nomem(err, ds_attn_bytes(attn));
	*mass_ret = m;
	return DS_OK;
}

void ds_mass_audit(const struct ds_attn_mass *m, struct ds_attn_audit *audit)
{
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		audit->rows[i] += atomic_load(&m->audited[i]);
	audit->mass += atomic_load(&m->audited_mass);
}
