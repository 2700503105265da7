/*
 * rounded.c - attention to rounded pages (kern/attn8.h), and to a tile's own page exactly
 *
 * A tile lies in one page.  Its rows are taken in groups of 64 side by side; a segment of its list
 * of blocks is attended to by all groups before the next one, so that it stays in cache.  Where
 * tiles leave threads without work (one token), segments are done apart and joined by whoever ends
 * last.
 */
#include <assert.h>
#include <float.h>
#include <string.h>

#include "attn/decode.h"
#include "attn/follow.h"
#include "attn/mass.h"
#include "attn/select.h"
#include "attn/tile.h"

#define SEGMENT_BLOCKS DS_ROUNDED_SEGMENT
#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)
/* Means of so many pages are taken together at most: they follow each other. */
#define MEAN_PAGES 8
#define ENOUGH_TILES 4 /* a thread */
/* Segments that are done apart: so many at a time, of tiles with so many rows at most. */
#define ROUND_SEGMENTS 64
#define SPLIT_ROWS 32

/* Rows of a tile, in groups of 64, and what they have found so far. */
struct group {
	struct ds_attn8_rows rows;
	int32_t *first; /* of the rows, in windows */
	struct ds_attn_columns total;
};

/* What a thread works with. */
struct desk {
	struct group *group; /* [(DS_KV_PAGE * heads + 63) / 64] */
	struct ds_attn_columns part;
	struct ds_attn8_block block[SEGMENT_BLOCKS];
	float *mean;	/* [SEGMENT_BLOCKS pages][64] */
	int8_t *coarse; /* [dim_k / 4][16][4] */
	void *memory;	/* of the kernels */
};

struct ds_rounded {
	struct desk *desk;   /* [threads] */
	uint32_t *all;	     /* [blocks of the context]: 0, 1, 2, ... */
	struct share *share; /* [n_share], or NULL: tiles suffice */
};

/* A share of one tile whose segments are done apart. */
struct share {
	struct group group;	       /* its total: of all segments */
	struct ds_attn_columns *split; /* [ROUND_SEGMENTS] */
	struct ds_attn_parts own, sum; /* of the tile's own page, of all */
	struct ds_attn_tile tile;
	struct ds_block_list list;
};

/* A segment of a list: its blocks, and the pages they lie in. */
struct segment {
	const struct ds_block_list *list;
	size_t begin, n;
};

static size_t own_page(const struct ds_attn_tile *t)
{
	return (t->call->pos + t->query) / DS_KV_PAGE;
}

/* All that the queries of a page may see before it, in whole pages. */
static struct ds_block_list dense_list(const struct ds_attn *attn, const struct ds_attn_tile *t)
{
	size_t page = own_page(t);
	size_t first = ds_attn_first_key(t->call, page * DS_KV_PAGE) / DS_KV_PAGE;

	return (struct ds_block_list){.n = (page - first) * PAGE_BLOCKS,
				      .block = attn->rounded->all + first * PAGE_BLOCKS};
}

const uint32_t *ds_rounded_blocks(const struct ds_attn *attn)
{
	return attn->rounded->all;
}

static size_t segments_of(const struct ds_block_list *list)
{
	return (list->n + SEGMENT_BLOCKS - 1) / SEGMENT_BLOCKS;
}

static struct segment segment_of(const struct ds_block_list *list, size_t index)
{
	size_t begin = index * SEGMENT_BLOCKS;

	return (struct segment){list, begin, ds_attn_smaller(list->n - begin, SEGMENT_BLOCKS)};
}

void ds_rounded_block(const struct ds_attn *attn, const struct ds_attn_tile *t, uint32_t index,
		      struct ds_attn8_block *b)
{
	size_t i = index % PAGE_BLOCKS * DS_ATTN8_BLOCK;
	struct ds_page8 p =
		ds_kv_page8(t->call->kv, t->call->layer, t->kv_head, index / PAGE_BLOCKS);

	*b = (struct ds_attn8_block){.k = p.k + i * attn->shape.dim_k,
				     .v = p.v + i * attn->shape.dim_v,
				     .k_scale = p.k_scale + i,
				     .k_zero = p.k_zero + i,
				     .v_scale = p.v_scale + i,
				     .pos = (int32_t)(index * DS_ATTN8_BLOCK),
				     .tokens = 0xFFFF};
}

/* The segment's blocks; they have their means' places in desk->mean, page by page. */
static void list_blocks(const struct ds_attn *attn, const struct ds_attn_tile *t,
			const struct segment *seg, struct desk *d)
{
	const uint32_t *index = seg->list->block + seg->begin;
	float *mean = d->mean;

	for (size_t i = 0; i < seg->n; i++) {
		ds_rounded_block(attn, t, index[i], &d->block[i]);
		if (seg->list->tokens)
			d->block[i].tokens = seg->list->tokens[seg->begin + i];
		if (i && index[i] / PAGE_BLOCKS != index[i - 1] / PAGE_BLOCKS)
			mean += DS_ATTN8_ROWS;
		d->block[i].mean = mean;
	}
}

/* Means of pages that follow each other lie together up to a multiple of MEAN_PAGES. */
void ds_rounded_means(const struct ds_attn *attn, const struct ds_attn_tile *t, size_t first,
		      size_t n, const struct ds_attn8_rows *rows, float *mean)
{
	struct ds_gemm g = {.n = rows->ld,
			    .k = attn->shape.dim_k,
			    .lda = attn->shape.dim_k,
			    .panel = rows->q_float,
			    .c = mean,
			    .ldc = DS_ATTN8_ROWS};

	for (size_t end = first + n; first < end; first += g.m, g.c += g.m * g.ldc) {
		g.a = ds_kv_k_mean(t->call->kv, t->call->layer, t->kv_head, first);
		g.m = ds_attn_smaller(MEAN_PAGES - first % MEAN_PAGES, end - first);
		attn->kern->gemm(&g);
	}
}

/* Scores of the pages' mean keys, for as many pages at a time as follow each other. */
static void score_means(const struct ds_attn *attn, const struct ds_attn_tile *t,
			const struct segment *seg, const struct ds_attn8_rows *rows, struct desk *d)
{
	const uint32_t *index = seg->list->block + seg->begin;
	float *mean = d->mean;

	for (size_t i = 0; i < seg->n;) {
		size_t first = index[i] / PAGE_BLOCKS, page;

		do
			page = index[i++] / PAGE_BLOCKS;
		while (i < seg->n && index[i] / PAGE_BLOCKS <= page + 1);
		ds_rounded_means(attn, t, first, page - first + 1, rows, mean);
		mean += (page - first + 1) * DS_ATTN8_ROWS;
	}
}

/* Pieces of pages, from the call's first one on. */
static struct ds_attn_tile tile_of(const struct ds_attn *attn, size_t share, size_t index)
{
	size_t pos = attn->call->pos, end = pos + attn->call->n;
	size_t from = (pos / attn->tile + index) * attn->tile, to = from + attn->tile;

	from = from < pos ? pos : from;
	return ds_attn_tile_of(attn, share, from - pos, ds_attn_smaller(to, end) - from);
}

static void begin_columns(const struct ds_attn *attn, const struct ds_attn_columns *c)
{
	for (size_t r = 0; r < c->ld; r++)
		c->max[r] = -FLT_MAX;
	memset(c->sum, 0, c->ld * sizeof *c->sum);
	memset(c->value, 0, c->ld * attn->shape.dim_v * sizeof *c->value);
}

/* A segment whose blocks are on the desk, for some rows. */
static void attend_segment(const struct ds_attn *attn, const struct ds_attn_tile *t,
			   const struct segment *seg, const struct ds_attn8_rows *rows,
			   struct desk *d, const struct ds_attn_columns *into)
{
	struct ds_attn8_rows now = *rows;

	now.max = into->max;
	now.sum = into->sum;
	now.value = into->value;
	begin_columns(attn, into);
	score_means(attn, t, seg, rows, d);
	attn->kern->attn8->attend(&now, d->block, seg->n, d->memory);
}

/* Rows begin .. of a tile, whose scaled queries are q, become a group. */
static void load_group(const struct ds_attn *attn, const struct ds_attn_tile *t, const float *q,
		       size_t begin, struct group *g)
{
	size_t dim = attn->shape.dim_k;
	struct ds_attn8_rows *rows = &g->rows;

	rows->n = ds_attn_smaller(t->rows - begin, DS_ATTN8_ROWS);
	rows->ld = g->total.ld = ds_kern_pad(rows->n);
	attn->kern->attn8->round(rows, q + begin * dim, dim, 1);
	rows->first = t->window ? g->first : NULL;
	for (size_t r = 0; rows->first && r < rows->ld; r++) {
		size_t row = ds_attn_smaller(begin + r, t->rows - 1);
		size_t pos = t->call->pos + t->query + row / t->n_head;

		g->first[r] = (int32_t)ds_attn_first_of(t->window, pos);
	}
}

static void columns_to_rows(const struct ds_attn *attn, const struct group *g, size_t row,
			    const struct ds_attn_parts *parts)
{
	size_t dim = attn->shape.dim_v;
	struct ds_attn_part first = {parts->max + row, parts->sum + row * DS_KERN_LANES,
				     parts->value + row * dim};

	attn->kern->attn_turn(&g->total, g->rows.n, &first, dim);
}

void ds_rounded_attend(const struct ds_attn *attn, const struct ds_attn_tile *t,
		       const struct ds_block_list *list, unsigned thread, const float *q,
		       const struct ds_attn_parts *found)
{
	struct desk *d = &attn->rounded->desk[thread];
	size_t n_group = (t->rows + DS_ATTN8_ROWS - 1) / DS_ATTN8_ROWS, dim_v = attn->shape.dim_v;

	for (size_t g = 0; g < n_group; g++)
		load_group(attn, t, q, g * DS_ATTN8_ROWS, &d->group[g]);
	for (size_t i = 0; i < segments_of(list); i++) {
		struct segment seg = segment_of(list, i);

		list_blocks(attn, t, &seg, d);
		for (size_t g = 0; g < n_group; g++) {
			struct group *group = &d->group[g];

			d->part.ld = group->total.ld;
			attend_segment(attn, t, &seg, &group->rows, d,
				       i ? &d->part : &group->total);
			if (i)
				attn->kern->attn_join_columns(&group->total, &d->part, dim_v);
		}
	}
	for (size_t g = 0; g < n_group; g++)
		columns_to_rows(attn, &d->group[g], g * DS_ATTN8_ROWS, found);
}

void ds_rounded_load(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		     const float *q)
{
	load_group(attn, t, q, 0, attn->rounded->desk[thread].group);
}

/* The blocks of a range become the desk's; their means are scored. */
static const struct ds_attn8_rows *take_blocks(const struct ds_attn *attn,
					       const struct ds_attn_tile *t, unsigned thread,
					       struct ds_block_range blocks)
{
	struct desk *d = &attn->rounded->desk[thread];
	const struct ds_block_list list = {.n = blocks.begin + blocks.n,
					   .block = attn->rounded->all};
	const struct segment seg = {&list, blocks.begin, blocks.n};

	list_blocks(attn, t, &seg, d);
	score_means(attn, t, &seg, &d->group->rows, d);
	return &d->group->rows;
}

void ds_rounded_score(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		      struct ds_block_range blocks, float *out)
{
	struct desk *d = &attn->rounded->desk[thread];

	attn->kern->attn8->score(take_blocks(attn, t, thread, blocks), d->block, blocks.n, out,
				 d->memory);
}

static void score_coarse(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
			 struct ds_block_range blocks, float *out)
{
	struct desk *d = &attn->rounded->desk[thread];
	const struct ds_attn8_rows *rows = take_blocks(attn, t, thread, blocks);
	struct ds_attn_coarse small = {.k = d->coarse};

	for (size_t b = 0; b < blocks.n; b++) {
		struct ds_attn8_block block =
			ds_attn_coarse_block(&small, &d->block[b], attn->shape.dim_k);

		attn->kern->attn8->score(rows, &block, 1, out + b * DS_ATTN8_BLOCK * rows->ld,
					 d->memory);
	}
}

void ds_rounded_scores(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread,
		       const float *q, bool coarse, float *out)
{
	size_t n = own_page(t) * PAGE_BLOCKS, ld = ds_kern_pad(t->rows);

	ds_rounded_load(attn, t, thread, q);
	for (size_t b = 0; b < n; b += SEGMENT_BLOCKS) {
		struct ds_block_range blocks = {b, ds_attn_smaller(n - b, SEGMENT_BLOCKS)};
		float *to = out + b * DS_ATTN8_BLOCK * ld;

		if (coarse)
			score_coarse(attn, t, thread, blocks, to);
		else
			ds_rounded_score(attn, t, thread, blocks, to);
	}
}

/* The lists of a choice, and the tile's own page, of which the window is that of the call. */
static void attend_choice(const struct ds_attn *attn, const struct ds_attn_tile *t,
			  const struct ds_attn_choice *c, unsigned thread)
{
	struct ds_attn_scratch *s = &attn->scratch[thread];
	const struct ds_block_list *lists[] = {&c->far, &c->near};
	const struct ds_attn_parts *found = &s->total;
	struct ds_attn_tile tile = *t;

	for (int i = c->apart; i < 2; i++) {
		tile.window = i ? c->window : 0;
		if (lists[i]->n == 0)
			continue;
		ds_rounded_attend(attn, &tile, lists[i], thread, s->q, found);
		if (found == &s->part)
			ds_attn_join(attn, t, &s->total, &s->part);
		found = &s->part;
	}
	ds_attn_begin(attn, t->rows, found);
	ds_attn_page(attn, t, s, own_page(t), found);
	if (found == &s->part)
		ds_attn_join(attn, t, &s->total, &s->part);
	if (c->apart && c->far.n) {
		tile.window = 0;
		ds_rounded_attend(attn, &tile, &c->far, thread, s->q, &s->part);
		ds_attn_mix(attn, t, &s->total, &s->part);
	}
	ds_attn_finish(attn, t, &s->total);
}

/* Late tiles see the most keys: they come first. */
static void do_tile(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct ds_attn_tile t =
		tile_of(attn, index % attn->n_share, attn->n_tile - 1 - index / attn->n_share);
	struct ds_attn_choice dense = {.near = dense_list(attn, &t), .window = t.window};

	ds_attn_load_queries(attn, &t, s->q);
	if (ds_decode_wants(attn, t.call))
		dense.near = ds_decode_list(attn, index % attn->n_share);
	if (ds_follow_dense(attn, t.call) || ds_decode_wants(attn, t.call))
		attend_choice(attn, &t, &dense, thread);
	else if (ds_follow_by_mass(attn, &t))
		ds_mass_tile(attn, &t, thread);
	else if (ds_follow_by_row(attn))
		ds_follow_rows(attn, &t, thread);
	else
		attend_choice(attn, &t, ds_follow_choose(attn, &t, thread), thread);
}

/* The tile's own page, or a segment of its list. */
static void do_part(struct ds_attn *attn, struct share *share, size_t segment, unsigned thread)
{
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct desk *d = &attn->rounded->desk[thread];
	struct segment seg;

	if (segment > segments_of(&share->list))
		return;
	if (segment == segments_of(&share->list)) {
		ds_attn_load_queries(attn, &share->tile, s->q);
		ds_attn_begin(attn, share->tile.rows, &share->own);
		ds_attn_page(attn, &share->tile, s, own_page(&share->tile), &share->own);
		return;
	}
	seg = segment_of(&share->list, segment);
	list_blocks(attn, &share->tile, &seg, d);
	attend_segment(attn, &share->tile, &seg, &share->group.rows, d,
		       segment ? &share->split[segment % ROUND_SEGMENTS] : &share->group.total);
}

/* One part of one share; the last to end joins those of the round. */
static void do_split(void *arg, size_t index, unsigned thread)
{
	struct ds_attn *attn = arg;
	size_t i = index / attn->n_segment;
	struct share *share = &attn->rounded->share[i];
	size_t end = attn->segment + attn->n_segment, last = segments_of(&share->list);

	do_part(attn, share, attn->segment + index % attn->n_segment, thread);
	if (atomic_fetch_add(&attn->done[i], 1) + 1 < attn->n_segment)
		return;
	atomic_store(&attn->done[i], 0);
	for (i = attn->segment ? attn->segment : 1; i < ds_attn_smaller(end, last); i++)
		attn->kern->attn_join_columns(&share->group.total,
					      &share->split[i % ROUND_SEGMENTS], attn->shape.dim_v);
	if (end <= last || attn->segment > last)
		return;
	columns_to_rows(attn, &share->group, 0, &share->sum);
	ds_attn_join(attn, &share->tile, &share->sum, &share->own);
	ds_attn_finish(attn, &share->tile, &share->sum);
}

/* What a share of the call's only tile attends to. */
static struct ds_block_list list_of_share(const struct ds_attn *attn, size_t index,
					  const struct ds_attn_tile *t)
{
	if (ds_decode_wants(attn, t->call))
		return ds_decode_list(attn, index);
	return dense_list(attn, t);
}

/* One tile a share, its segments apart. */
static void run_split(struct ds_attn *attn)
{
	struct ds_rounded *r = attn->rounded;
	size_t parts = 0; /* the list's, and the own page */

	for (size_t i = 0; i < attn->n_share; i++) {
		struct share *share = &r->share[i];

		share->tile = ds_attn_tile_of(attn, i, 0, attn->call->n);
		share->list = list_of_share(attn, i, &share->tile);
		if (segments_of(&share->list) >= parts)
			parts = segments_of(&share->list) + 1;
		ds_attn_load_queries(attn, &share->tile, attn->scratch->q);
		load_group(attn, &share->tile, attn->scratch->q, 0, &share->group);
		for (size_t j = 0; j < ROUND_SEGMENTS; j++)
			share->split[j].ld = share->group.total.ld;
	}
	for (attn->segment = 0; attn->segment < parts; attn->segment += attn->n_segment) {
		attn->n_segment = ds_attn_smaller(parts - attn->segment, ROUND_SEGMENTS);
		ds_pool_run(attn->pool, attn->n_share * attn->n_segment, do_split, attn);
	}
}

void ds_rounded_run(struct ds_attn *attn)
{
	const struct ds_attn_call *call = attn->call;
	size_t threads = ds_pool_threads(attn->pool), first = call->pos / DS_KV_PAGE;
	size_t end = (call->pos + call->n - 1) / DS_KV_PAGE + 1;
	struct ds_attn_tile t = ds_attn_tile_of(attn, 0, 0, call->n);
	bool chooses = ds_decode_wants(attn, call);

	if (chooses)
		ds_decode_choose(attn);
	if (attn->rounded->share && (chooses || ds_follow_dense(attn, call)) && end == first + 1 &&
	    t.rows <= SPLIT_ROWS && dense_list(attn, &t).n) {
		run_split(attn);
		return;
	}
	/* pieces of pages */
	attn->tile = DS_KV_PAGE;
	while (attn->tile > DS_KERN_LANES && !(attn->follow && attn->follow->mass) &&
	       attn->n_share * call->n < ENOUGH_TILES * threads * attn->tile)
		attn->tile /= 2;
	attn->n_tile = (call->pos + call->n - 1) / attn->tile + 1 - call->pos / attn->tile;
	ds_pool_run(attn->pool, attn->n_share * attn->n_tile, do_tile, attn);
}

static bool new_columns(struct ds_attn *attn, struct ds_attn_columns *c, size_t ld)
{
	c->ld = ld;
	c->max = ds_kern_floats(&attn->mem, ld);
	c->sum = ds_kern_floats(&attn->mem, ld);
	c->value = ds_kern_floats(&attn->mem, ld * attn->shape.dim_v);
	return c->max && c->sum && c->value;
}

static bool new_group(struct ds_attn *attn, struct group *g, size_t ld)
{
	size_t dim_k = attn->shape.dim_k;
	struct ds_attn8_rows *rows = &g->rows;

	*rows = (struct ds_attn8_rows){.dim_k = dim_k, .dim_v = attn->shape.dim_v};
	rows->q = (uint8_t *)ds_kern_floats(&attn->mem, ld * dim_k / sizeof(float));
	rows->q_scale = ds_kern_floats(&attn->mem, ld);
	rows->q_float = ds_kern_floats(&attn->mem, ld * dim_k);
	g->first = (int32_t *)(void *)ds_kern_floats(&attn->mem, ld);
	return rows->q && rows->q_scale && rows->q_float && g->first &&
	       new_columns(attn, &g->total, ld);
}

static bool new_desk(struct ds_attn *attn, struct desk *d)
{
	d->group = ds_arena_alloc(&attn->mem, attn->heads, sizeof *d->group);
	d->mean = ds_kern_floats(&attn->mem, (size_t)SEGMENT_BLOCKS * DS_ATTN8_ROWS);
	d->memory = ds_kern_floats(&attn->mem, DS_ATTN8_SCRATCH / sizeof(float));
	d->coarse = ds_arena_alloc(&attn->mem, attn->shape.dim_k, DS_ATTN8_BLOCK);
	if (!d->group || !d->mean || !d->memory || !d->coarse)
		return false;
	for (uint32_t i = 0; i < attn->heads; i++)
		if (!new_group(attn, &d->group[i], DS_ATTN8_ROWS))
			return false;
	return new_columns(attn, &d->part, DS_ATTN8_ROWS);
}

static bool new_share(struct ds_attn *attn, struct share *share)
{
	share->split = ds_arena_alloc(&attn->mem, ROUND_SEGMENTS, sizeof *share->split);
	if (!share->split || !new_group(attn, &share->group, SPLIT_ROWS) ||
	    !ds_attn_new_parts(attn, &share->own, SPLIT_ROWS) ||
	    !ds_attn_new_parts(attn, &share->sum, SPLIT_ROWS))
		return false;
	for (size_t i = 0; i < ROUND_SEGMENTS; i++)
		if (!new_columns(attn, &share->split[i], SPLIT_ROWS))
			return false;
	return true;
}

static bool new_shares(struct ds_attn *attn)
{
	struct ds_rounded *r = attn->rounded;

	r->share = ds_arena_alloc(&attn->mem, attn->n_share, sizeof *r->share);
	attn->done = ds_arena_alloc(&attn->mem, attn->n_share, sizeof *attn->done);
	if (!r->share || !attn->done)
		return false;
	for (size_t i = 0; i < attn->n_share; i++) {
		atomic_init(&attn->done[i], 0);
		if (!new_share(attn, &r->share[i]))
			return false;
	}
	return true;
}

bool ds_rounded_new(struct ds_attn *attn, unsigned threads)
{
	size_t n_block = (attn->shape.n_context / DS_KV_PAGE + 1) * PAGE_BLOCKS;
	struct ds_rounded *r = ds_arena_alloc(&attn->mem, 1, sizeof *r);

	attn->rounded = r;
	if (!r)
		return false;
	*r = (struct ds_rounded){0};
	r->all = ds_arena_alloc(&attn->mem, n_block, sizeof *r->all);
	r->desk = ds_arena_alloc(&attn->mem, threads, sizeof *r->desk);
	if (!r->all || !r->desk)
		return false;
	for (size_t i = 0; i < n_block; i++)
		r->all[i] = (uint32_t)i;
	for (unsigned i = 0; i < threads; i++)
		if (!new_desk(attn, &r->desk[i]))
			return false;
	/* heads alone keep all threads at work where they are many */
	return threads == 1 || attn->n_share >= (size_t)2 * threads || new_shares(attn);
}
