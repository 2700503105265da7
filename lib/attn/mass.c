/*
 * mass.c - groups of queries attend to the blocks that the samples before them gave most mass
 *
 * A page of queries is done by one thread.  Samples of all its heads are taken together, up to 64
 * at a time, sample after sample; then head after head, group after group attends.  What a later
 * call may need of a page that is not whole yet, the mass of its last samples and the lists of the
 * newest, is kept for each layer and head; a sequence is only cut at pages.
 */
#include "attn/mass.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "attn/audit.h"
#include "attn/follow.h"

#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)
#define LANES DS_KERN_LANES
#define ROWS DS_ATTN8_ROWS

/* What a thread works with. */
struct desk {
	float *q;		      /* [64][dim_k] of samples */
	struct ds_attn8_rows sample;  /* up to 64 */
	struct ds_attn8_rows head;    /* the queries of a head */
	float *mean;		      /* [pages][64]: of the head's queries */
	float *max;		      /* [units][64]: of samples */
	float *mass;		      /* [blocks][stride], first those of earlier samples */
	float *own_max, *own, *least; /* [64] */
	uint16_t *picked;	      /* [blocks][4] */
	uint64_t *list;		      /* [samples of a page][heads][words]: blocks as bits */
	struct ds_attn8_block *block; /* [blocks]: of a group, or of a segment */
	float *sum;		      /* [blocks]: of the samples that count */
	uint32_t *chosen, *edge;      /* [blocks] */
	float *group_max, *group_sum; /* [16] */
	struct ds_attn_parts group;   /* of a group's queries */
	void *memory;		      /* of the kernels */
};

/* What goes on in the next call. */
struct kept {
	float *mass;	/* [heads][blocks][samples - 1]: for the heads of a tile together */
	uint64_t *list; /* [heads][words] */
};

struct ds_attn_mass {
	struct ds_mass_rule rule;
	size_t n_block, n_word, n_sample; /* of the context; of a page */
	size_t before, stride;		  /* columns of earlier samples; all columns */
	struct desk *desk;		  /* [threads] */
	struct kept *kept;		  /* [layers][2] */
	uint8_t *turn;			  /* [layers]: which of the two is valid */
	const struct kept *load, *save;
	struct ds_audited audited;
};

static struct ds_mass_rule rule_of(const struct ds_attn_policy *policy)
{
	struct ds_mass_rule rule = {.stride = policy->param[1] > 0 ? (uint32_t)policy->param[1] : 1,
				    .samples = (uint32_t)policy->param[2],
				    .sinks = 64,
				    .local = 64};

	*(policy->kind == DS_ATTN_MASS ? &rule.share : &rule.mass) = policy->param[0];
	return rule;
}

/* A tile at work. */
struct work {
	const struct ds_attn *attn;
	const struct ds_attn_mass *m;
	const struct ds_attn_tile *t;
	struct desk *d;
	unsigned thread;
	size_t at, n_block;   /* the first query's place in its page; blocks before it */
	size_t first, n_at;   /* the first sample that is new; of each head */
	uint32_t audit[ROWS]; /* rows of the tile that are audited */
	size_t n_audit;
};

static struct work work_of(const struct ds_attn *attn, const struct ds_attn_tile *t,
			   unsigned thread)
{
	const struct ds_attn_mass *m = attn->follow->mass;
	size_t pos = t->call->pos + t->query, stride = m->rule.stride;
	struct work w = {.attn = attn, .m = m, .t = t, .d = &m->desk[thread], .thread = thread};

	w.at = pos % DS_KV_PAGE;
	w.n_block = pos / DS_KV_PAGE * PAGE_BLOCKS;
	w.first = (w.at + stride - 1) / stride;
	w.n_at = (w.at + t->n + stride - 1) / stride - w.first;
	for (size_t row = 0; row < t->rows && w.n_audit < ROWS; row++)
		if (ds_audit_wants(t->call, t->head + row % t->n_head, t->query + row / t->n_head))
			w.audit[w.n_audit++] = (uint32_t)row;
	return w;
}

static uint64_t *list_at(const struct work *w, size_t sample, size_t head)
{
	return w->d->list + (sample * w->attn->heads + head) * w->m->n_word;
}

/* Samples that are new, sample after sample, then what is audited: i-th row's row of the tile. */
static size_t row_of(const struct work *w, size_t i)
{
	size_t n_head = w->t->n_head, n = w->n_at * n_head;

	if (i >= n)
		return w->audit[i - n];
	return ((w->first + i / n_head) * w->m->rule.stride - w->at) * n_head + i % n_head;
}

static struct ds_attn_part own_part(const struct work *w, size_t row)
{
	const struct ds_attn_parts *p = &w->attn->scratch[w->thread].part;

	return (struct ds_attn_part){p->max + row, p->sum + row * LANES,
				     p->value + row * w->attn->shape.dim_v};
}

/* Mass of rows begin .. begin + n, as shares. */
static struct ds_attn8_pick take(const struct work *w, size_t begin, size_t n)
{
	const struct ds_attn *attn = w->attn;
	struct desk *d = w->d;
	size_t dim = attn->shape.dim_k;
	struct ds_attn8_pick p = {.n = n,
				  .ld = ds_kern_pad(n),
				  .n_block = w->n_block,
				  .mass = d->mass + w->m->before,
				  .stride = w->m->stride,
				  .own_max = d->own_max,
				  .own = d->own,
				  .least = d->least,
				  .picked = d->picked};

	for (size_t i = 0; i < p.ld; i++) {
		struct ds_attn_part own = own_part(w, row_of(w, begin + (i < n ? i : 0)));
		double sum = 0;

		for (size_t j = 0; j < LANES; j++)
			sum += (double)own.sum[j];
		d->own_max[i] = *own.max;
		d->own[i] = (float)sum;
	}
	for (size_t i = 0; i < n; i++)
		memcpy(d->q + i * dim, attn->scratch[w->thread].q + row_of(w, begin + i) * dim,
		       dim * sizeof *d->q);
	d->sample.n = n;
	d->sample.ld = p.ld;
	attn->kern->attn8->round(&d->sample, d->q, dim, 1);
	for (size_t b = 0; b < w->n_block; b += DS_ROUNDED_SEGMENT) {
		size_t count = ds_attn_smaller(w->n_block - b, DS_ROUNDED_SEGMENT);
		struct ds_attn8_mass to = {p.mass + b * p.stride, p.stride,
					   d->max + b / DS_ATTN8_UNIT * p.ld};

		ds_rounded_means(attn, w->t, b / PAGE_BLOCKS, count / PAGE_BLOCKS, &d->sample,
				 d->mean);
		for (size_t i = 0; i < count; i++) {
			ds_rounded_block(attn, w->t, (uint32_t)(b + i), &d->block[i]);
			d->block[i].mean = d->mean + i / PAGE_BLOCKS * ROWS;
		}
		attn->kern->attn8->weigh(&d->sample, d->block, count, &to, d->memory);
	}
	attn->kern->attn8->share(&p, d->max);
	return p;
}

static void add_block(uint64_t *list, size_t block)
{
	list[block / 64] |= (uint64_t)1 << block % 64;
}

/* Blocks between the first and the last tokens: [begin, end). */
static size_t first_free(const struct work *w, size_t *end_ret)
{
	size_t begin = w->m->rule.sinks / DS_ATTN8_BLOCK;
	size_t local = w->m->rule.local / DS_ATTN8_BLOCK;

	*end_ret = w->n_block > local ? w->n_block - local : 0;
	return ds_attn_smaller(begin, *end_ret);
}

/* Lists of a share of the blocks: those with the most mass. */
static void choose_share(const struct work *w, const struct ds_attn8_pick *p, size_t sample,
			 size_t row, uint64_t *list)
{
	struct desk *d = w->d;
	size_t count = ds_attn_smaller(sample + 1, w->m->rule.samples), n;
	struct ds_mass_choice c = {.share = w->m->rule.share,
				   .mass = d->sum,
				   .n_block = w->n_block,
				   .begin = p->begin,
				   .end = p->end,
				   .edge = d->edge};

	for (size_t b = 0; b < w->n_block; b++) {
		const float *mass = p->mass + b * p->stride + row;

		d->sum[b] = *mass;
		for (size_t i = 1; i < count; i++)
			d->sum[b] += *(mass - i * p->step);
	}
	n = ds_mass_choose(&c, d->chosen);
	for (size_t i = 0; i < n; i++)
		add_block(list, d->chosen[i]);
}

/* The lists of rows begin .. that are samples. */
static void choose(const struct work *w, struct ds_attn8_pick *p, size_t begin, size_t n)
{
	const struct ds_mass_rule *rule = &w->m->rule;
	size_t n_head = w->t->n_head, vectors = p->ld / LANES;
	uint64_t *list[ROWS];

	p->n = n;
	p->samples = rule->samples;
	p->step = n_head;
	p->begin = first_free(w, &p->end);
	p->keep = rule->mass < 1 ? (float)rule->mass : 0;
	for (size_t i = 0; i < n; i++) {
		size_t sample = w->first + (begin + i) / n_head;
		double count = (double)ds_attn_smaller(sample + 1, rule->samples);

		w->d->least[i] = (float)((1 - rule->mass) * count / (double)w->n_block);
		list[i] = list_at(w, sample, (begin + i) % n_head);
		memset(list[i], 0, w->m->n_word * sizeof *list[i]);
		if (rule->share > 0)
			choose_share(w, p, sample, i, list[i]);
	}
	if (rule->share > 0)
		return;
	w->attn->kern->attn8->pick(p);
	for (size_t b = 0; b < w->n_block; b++)
		for (size_t v = 0; v * LANES < n; v++) {
			bool free = b >= p->begin && b < p->end;
			unsigned bits = free ? p->picked[b * vectors + v] : 0xFFFF;

			if (n - v * LANES < LANES)
				bits &= (1u << (n - v * LANES)) - 1;
			for (; bits; bits &= bits - 1)
				add_block(list[v * LANES + (size_t)__builtin_ctz(bits)], b);
		}
}

/* Of n rows that are audited, from first on, in columns from column on: the mass of their lists and
 * own page. */
static void audit(const struct work *w, const struct ds_attn8_pick *p, size_t first, size_t column,
		  size_t n)
{
	struct ds_attn_mass *m = w->attn->follow->mass;

	for (size_t i = 0; i < n; i++) {
		size_t row = w->audit[first + i], query = w->at + row / w->t->n_head;
		const uint64_t *list = list_at(w, query / m->rule.stride, row % w->t->n_head);
		double kept = (double)p->own[column + i];

		for (size_t word = 0; word < m->n_word; word++)
			for (uint64_t bits = list[word]; bits; bits &= bits - 1) {
				size_t b = word * 64 + (size_t)__builtin_ctzll(bits);

				kept += (double)p->mass[b * p->stride + column + i];
			}
		ds_audit_note(&m->audited, kept);
	}
}

/* The columns of the last samples, n of them new, go before those to come. */
static void move_columns(const struct work *w, size_t n)
{
	size_t bytes = (w->m->rule.samples - 1) * w->t->n_head * sizeof(float);

	for (size_t b = 0; bytes && b < w->n_block; b++) {
		float *end = w->d->mass + b * w->m->stride + w->m->before;

		memmove((char *)end - bytes, (char *)(end + n) - bytes, bytes);
	}
}

/* All samples of a tile: their lists; and its audit. */
static void take_samples(const struct work *w)
{
	size_t n_sample = w->n_at * w->t->n_head, n_row = n_sample + w->n_audit;

	for (size_t begin = 0; begin < n_row; begin += ROWS) {
		size_t n = ds_attn_smaller(n_row - begin, ROWS);
		size_t samples = n_sample > begin ? ds_attn_smaller(n_sample - begin, ROWS) : 0;
		struct ds_attn8_pick p = take(w, begin, n);

		if (samples)
			choose(w, &p, begin, samples);
		if (samples < n)
			audit(w, &p, begin + samples - n_sample, samples, n - samples);
		move_columns(w, samples);
	}
}

/* Where the last samples of a tile's heads are kept, [blocks][samples - 1][heads]. */
static float *kept_mass(const struct work *w, const struct kept *kept)
{
	return kept->mass + w->t->head * (w->m->rule.samples - 1) * w->m->n_block;
}

static void load(const struct work *w)
{
	size_t n = (w->m->rule.samples - 1) * w->t->n_head, words = w->m->n_word;
	const float *from = kept_mass(w, w->m->load);

	for (size_t b = 0; b < w->n_block; b++) {
		float *end = w->d->mass + b * w->m->stride + w->m->before;

		if (w->at)
			memcpy(end - n, from + b * n, n * sizeof *end);
		else
			memset(end - n, 0, n * sizeof *end);
	}
	if (w->at % w->m->rule.stride)
		memcpy(list_at(w, w->at / w->m->rule.stride, 0),
		       w->m->load->list + w->t->head * words,
		       w->t->n_head * words * sizeof(uint64_t));
}

static void save(const struct work *w)
{
	size_t n = (w->m->rule.samples - 1) * w->t->n_head, words = w->m->n_word;
	float *to = kept_mass(w, w->m->save);

	for (size_t b = 0; b < w->n_block; b++)
		memcpy(to + b * n, w->d->mass + b * w->m->stride + w->m->before - n,
		       n * sizeof *to);
	memcpy(w->m->save->list + w->t->head * words,
	       list_at(w, (w->at + w->t->n - 1) / w->m->rule.stride, 0),
	       w->t->n_head * words * sizeof(uint64_t));
}

/* The blocks of a list, with the means of a head's queries from row on. */
static size_t list_blocks(const struct work *w, const uint64_t *list, size_t row)
{
	struct desk *d = w->d;
	size_t n = 0;

	for (size_t word = 0; word * 64 < w->n_block; word++)
		for (uint64_t bits = list[word]; bits; bits &= bits - 1) {
			size_t b = word * 64 + (size_t)__builtin_ctzll(bits);

			ds_rounded_block(w->attn, w->t, (uint32_t)b, &d->block[n]);
			d->block[n++].mean = d->mean + b / PAGE_BLOCKS * ROWS + row;
		}
	return n;
}

/* Queries of a head attend to n blocks and their own page; row: the first one's of the head. */
static void attend(const struct work *w, const struct ds_attn_tile *group, size_t n)
{
	const struct ds_attn *attn = w->attn;
	struct desk *d = w->d;
	size_t dim = attn->shape.dim_v, row = group->query - w->t->query;
	struct ds_attn8_rows rows = d->head;

	rows.n = group->n;
	rows.q += row * 4;
	rows.q_scale += row;
	rows.max = d->group_max;
	rows.sum = d->group_sum;
	rows.value = d->group.value;
	ds_attn_begin(attn, group->n, &d->group);
	for (size_t i = 0; i < LANES; i++) {
		rows.max[i] = -FLT_MAX;
		rows.sum[i] = 0;
	}
	attn->kern->attn8->attend_few(&rows, d->block, n, d->memory);
	for (size_t i = 0; i < group->n; i++) {
		struct ds_attn_part own =
			own_part(w, (row + i) * w->t->n_head + group->head - w->t->head);
		struct ds_attn_part part = {d->group.max + i, d->group.sum + i * LANES,
					    d->group.value + i * dim};

		*part.max = rows.max[i];
		*part.sum = rows.sum[i];
		attn->kern->attn_join(&part, &own, dim);
	}
	ds_attn_finish(attn, group, &d->group);
}

/* The groups of a head, one after the other. */
static void attend_head(const struct work *w, size_t head)
{
	const struct ds_attn *attn = w->attn;
	struct desk *d = w->d;
	size_t stride = w->m->rule.stride, dim = attn->shape.dim_k;
	struct ds_attn_tile group = *w->t;
	uint64_t seen = 0;

	d->head.n = w->t->n;
	d->head.ld = ds_kern_pad(w->t->n);
	attn->kern->attn8->round(&d->head, attn->scratch[w->thread].q + head * dim,
				 w->t->n_head * dim, 1);
	ds_rounded_means(attn, w->t, 0, w->n_block / PAGE_BLOCKS, &d->head, d->mean);
	group.head += (uint32_t)head;
	group.n_head = 1;
	for (size_t i = 0; i < w->t->n; i += group.n) {
		size_t n = list_blocks(w, list_at(w, (w->at + i) / stride, head), i);

		group.query = w->t->query + i;
		group.n = ds_attn_smaller(stride - (w->at + i) % stride, w->t->n - i);
		group.rows = group.n;
		attend(w, &group, n);
		for (size_t j = 0; j < group.n; j++)
			seen += n * DS_ATTN8_BLOCK + w->at + i + j + 1;
	}
	ds_follow_count(attn, seen, 0);
}

void ds_mass_tile(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread)
{
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct work w = work_of(attn, t, thread);

	ds_attn_begin(attn, t->rows, &s->part);
	ds_attn_page(attn, t, s, w.n_block / PAGE_BLOCKS, &s->part);
	load(&w);
	take_samples(&w);
	for (size_t h = 0; h < t->n_head; h++)
		attend_head(&w, h);
	if ((w.at + t->n) % DS_KV_PAGE)
		save(&w);
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

static bool new_rows(struct ds_attn *attn, struct ds_attn8_rows *rows)
{
	size_t dim = attn->shape.dim_k;

	*rows = (struct ds_attn8_rows){.dim_k = dim, .dim_v = attn->shape.dim_v};
	rows->q = (uint8_t *)ds_kern_floats(&attn->mem, ROWS * dim / sizeof(float));
	rows->q_scale = ds_kern_floats(&attn->mem, ROWS);
	rows->q_float = ds_kern_floats(&attn->mem, ROWS * dim);
	return rows->q && rows->q_scale && rows->q_float;
}

static bool new_desk(struct ds_attn *attn, const struct ds_attn_mass *m, struct desk *d)
{
	struct ds_arena *mem = &attn->mem;
	size_t n = m->n_block;

	d->q = ds_kern_floats(mem, ROWS * attn->shape.dim_k);
	d->mean = ds_kern_floats(mem, n / PAGE_BLOCKS * ROWS);
	d->max = ds_kern_floats(mem, n / DS_ATTN8_UNIT * ROWS);
	d->mass = ds_kern_floats(mem, n * m->stride);
	d->own_max = ds_kern_floats(mem, ROWS);
	d->own = ds_kern_floats(mem, ROWS);
	d->least = ds_kern_floats(mem, ROWS);
	d->picked = ds_arena_alloc(mem, n * ROWS / LANES, sizeof *d->picked);
	d->list = ds_arena_alloc(mem, m->n_sample * attn->heads * m->n_word, sizeof *d->list);
	d->block = ds_arena_alloc(mem, n + DS_ROUNDED_SEGMENT, sizeof *d->block);
	d->sum = ds_kern_floats(mem, n);
	d->chosen = ds_arena_alloc(mem, n, sizeof *d->chosen);
	d->edge = ds_arena_alloc(mem, n, sizeof *d->edge);
	d->group_max = ds_kern_floats(mem, LANES);
	d->group_sum = ds_kern_floats(mem, LANES);
	d->memory = ds_kern_floats(mem, DS_ATTN8_SCRATCH / sizeof(float));
	return d->q && d->mean && d->max && d->mass && d->own_max && d->own && d->least &&
	       d->picked && d->list && d->block && d->sum && d->chosen && d->edge && d->group_max &&
	       d->group_sum && d->memory && new_rows(attn, &d->sample) &&
	       new_rows(attn, &d->head) && ds_attn_new_parts(attn, &d->group, m->rule.stride);
}

static bool new_kept(struct ds_attn *attn, const struct ds_attn_mass *m, struct kept *kept)
{
	size_t n = (size_t)attn->group * attn->shape.n_head;

	kept->mass = ds_arena_alloc(&attn->mem, n * (m->rule.samples - 1) * m->n_block,
				    sizeof *kept->mass);
	kept->list = ds_arena_alloc(&attn->mem, n * m->n_word, sizeof *kept->list);
	return kept->mass && kept->list;
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
	m->n_word = (m->n_block + 63) / 64;
	m->before = ds_kern_pad((m->rule.samples - 1) * attn->heads);
	m->stride = m->before + ROWS;
	if (!new_memory(attn, m))
		return ds_fail_nomem(err, ds_attn_bytes(attn));
	*mass_ret = m;
	return DS_OK;
}

void ds_mass_audit(const struct ds_attn_mass *m, struct ds_attn_audit *audit)
{
	ds_audit_add(&m->audited, audit);
}
