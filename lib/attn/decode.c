/*
 * decode.c - the tokens of an answer choose their blocks by gists
 *
 * Gists lie in panels of 16, as keys of a block do, and are made when an answer first needs them.
 * Rough scores are shared by threads in chunks; whoever ends a share's last one chooses for it.
 */
#include "attn/decode.h"

#include <string.h>

#include "attn/audit.h"
#include "attn/follow.h"
#include "attn/mass.h"

#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)
#define LANES DS_KERN_LANES
#define PANEL_PAGES (LANES / PAGE_BLOCKS)
#define CHUNK_PANELS 16
#define KEPT_BLOCKS 4 /* the first, and the last */

/* 16 gists of a layer and KV head. */
struct panel {
	int8_t *k;     /* [2 dim_k / 4][16][4] */
	float *scale;  /* [16] */
	int32_t *zero; /* [16], as of keys */
};

/* Of one KV head, or a part of its query heads. */
struct share {
	struct ds_attn_tile tile;
	struct ds_attn8_rows rows; /* its queries, */
	struct ds_attn8_rows both; /* and with their magnitudes behind them */
	float *mean;		   /* [pages][64] */
	float *score;		   /* [blocks][16] */
	float *part;		   /* [blocks]: what each has */
	uint32_t *block, *edge;	   /* [blocks] */
	struct ds_block_list list;
	atomic_uint done; /* chunks */
};

struct ds_attn_decode {
	double share, least;	 /* of all blocks, or: least share of a head, times blocks */
	size_t n_layer, n_panel; /* of the context */
	size_t *n_page;		 /* [n_layer]: that have gists */
	char *gist;		 /* [n_layer][n_head][n_panel] panels */
	float *none;		 /* [16] */
	char *memory;		 /* [threads][DS_ATTN8_SCRATCH]: of the kernels */
	struct share *of;	 /* [n_share] */
	size_t n_chunk;		 /* of the call */
	struct ds_audited audited;
	float *mass, *max;	      /* [blocks][16], [units][16]: of a query that is audited */
	struct ds_attn8_block *block; /* [DS_ROUNDED_SEGMENT] */
};

static size_t panel_bytes(const struct ds_kv_shape *shape)
{
	return LANES * (2 * (size_t)shape->dim_k + sizeof(float) + sizeof(int32_t));
}

static struct panel panel_at(const struct ds_attn *attn, uint32_t layer, uint32_t head,
			     size_t index)
{
	const struct ds_attn_decode *d = attn->follow->decode;
	size_t all = ((size_t)layer * attn->shape.n_head + head) * d->n_panel + index;
	char *at = d->gist + all * panel_bytes(&attn->shape);
	float *scale = (float *)(void *)(at + LANES * 2 * (size_t)attn->shape.dim_k);

	return (struct panel){(int8_t *)at, scale, (int32_t *)(void *)(scale + LANES)};
}

/* --- gists --------------------------------------------------------------------------------- */

/* A page of a KV head that has none yet. */
static void do_page(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	const struct ds_attn_decode *d = attn->follow->decode;
	const struct ds_attn_call *call = attn->call;
	uint32_t head = (uint32_t)(index % attn->shape.n_head);
	size_t page = d->n_page[call->layer] + index / attn->shape.n_head, dim = attn->shape.dim_k;
	struct panel panel = panel_at(attn, call->layer, head, page / PANEL_PAGES);
	struct ds_page8 p = ds_kv_page8(call->kv, call->layer, head, page);
	struct ds_attn8_gist gist = {.dim_k = dim,
				     .to = panel.k,
				     .to_scale = panel.scale,
				     .to_zero = panel.zero,
				     .lane = page % PANEL_PAGES * PAGE_BLOCKS};

	(void)thread;
	for (size_t i = 0; i < DS_KV_PAGE; i += DS_ATTN8_BLOCK, gist.lane++) {
		gist.k = p.k + i * dim;
		gist.k_scale = p.k_scale + i;
		attn->kern->attn8->gist(&gist);
	}
}

/* --- choosing ------------------------------------------------------------------------------ */

/* Blocks before the page. */
static size_t blocks_before(const struct ds_attn_call *call)
{
	return call->pos / DS_KV_PAGE * PAGE_BLOCKS;
}

/* Queries, rounded, and their magnitudes. */
static void load_queries(struct ds_attn *attn, struct share *s, size_t index)
{
	size_t dim = attn->shape.dim_k, n = dim * LANES;
	float *q = attn->scratch->q;

	s->tile = ds_attn_tile_of(attn, index, 0, 1);
	ds_attn_load_queries(attn, &s->tile, q);
	s->rows.n = s->both.n = s->tile.rows;
	attn->kern->attn8->round(&s->rows, q, dim, 1);
	memcpy(s->both.q, s->rows.q, n);
	for (size_t i = 0; i < n; i++) {
		uint8_t a = s->rows.q[i];

		s->both.q[n + i] = a < 128 ? (uint8_t)(256 - a) : a;
	}
}

static void choose(const struct ds_attn_decode *d, struct share *s, size_t n_block)
{
	size_t end = n_block > KEPT_BLOCKS ? n_block - KEPT_BLOCKS : 0;
	size_t begin = ds_attn_smaller(KEPT_BLOCKS, end), n = 0;
	float least = (float)(d->least * s->tile.n_head / (double)n_block);
	struct ds_mass_choice by_share = {.share = d->share,
					  .mass = s->part,
					  .n_block = n_block,
					  .begin = begin,
					  .end = end,
					  .edge = s->edge};

	if (d->share > 0) {
		n = ds_mass_choose(&by_share, s->block);
	} else {
		for (size_t b = 0; b < n_block; b++) {
			s->block[n] = (uint32_t)b;
			n += b < begin || b >= end || s->part[b] >= least;
		}
	}
	s->list = (struct ds_block_list){.n = n, .block = s->block};
}

/* Rough scores of a chunk of panels. */
static void score_chunk(const struct ds_attn *attn, struct share *s, size_t chunk, unsigned thread)
{
	const struct ds_attn_decode *d = attn->follow->decode;
	const struct ds_attn_tile *t = &s->tile;
	size_t panels = (blocks_before(t->call) + LANES - 1) / LANES, first = chunk * CHUNK_PANELS;
	size_t page = first * PANEL_PAGES, end = ds_attn_smaller(panels, first + CHUNK_PANELS);
	size_t pages = ds_attn_smaller(t->call->pos / DS_KV_PAGE, end * PANEL_PAGES) - page;
	struct ds_attn8_block block[CHUNK_PANELS];

	for (size_t i = first; i < end; i++) {
		struct panel p = panel_at(attn, t->call->layer, t->kv_head, i);

		block[i - first] = (struct ds_attn8_block){.k = p.k,
							   .k_scale = p.scale,
							   .k_zero = p.zero,
							   .mean = d->none,
							   .tokens = 0xFFFF};
	}
	ds_rounded_means(attn, t, page, pages, &s->rows, s->mean + page * DS_ATTN8_ROWS);
	attn->kern->attn8->score(&s->both, block, end - first, s->score + first * LANES * LANES,
				 d->memory + thread * DS_ATTN8_SCRATCH);
}

static void do_chunk(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	struct ds_attn_decode *d = attn->follow->decode;
	struct share *s = &d->of[index / d->n_chunk];
	struct ds_attn8_guess guess = {.n = s->tile.rows,
				       .n_block = blocks_before(s->tile.call),
				       .score = s->score,
				       .mean = s->mean,
				       .share = s->part};

	score_chunk(attn, s, index % d->n_chunk, thread);
	if (atomic_fetch_add(&s->done, 1) + 1 < d->n_chunk)
		return;
	attn->kern->attn8->guess(&guess);
	choose(d, s, guess.n_block);
}

/* --- audit --------------------------------------------------------------------------------- */

/* Shares of all blocks, and of the own page, of a tile that is one query. */
static struct ds_attn8_pick shares_of(struct ds_attn *attn, const struct share *s,
				      const struct ds_attn_tile *t, float own[2][LANES])
{
	struct ds_attn_decode *d = attn->follow->decode;
	struct ds_attn_scratch *scratch = attn->scratch;
	struct ds_attn8_rows rows = s->rows;
	struct ds_attn8_pick p = {.n = 1,
				  .ld = LANES,
				  .n_block = blocks_before(t->call),
				  .mass = d->mass,
				  .stride = LANES,
				  .own_max = own[0],
				  .own = own[1]};

	rows.n = 1;
	ds_attn_load_queries(attn, t, scratch->q);
	ds_attn_begin(attn, 1, &scratch->part);
	ds_attn_page(attn, t, scratch, t->call->pos / DS_KV_PAGE, &scratch->part);
	for (size_t i = 0; i < LANES; i++) {
		own[0][i] = *scratch->part.max;
		own[1][0] += scratch->part.sum[i];
	}
	attn->kern->attn8->round(&rows, scratch->q, attn->shape.dim_k, 1);
	ds_rounded_means(attn, t, 0, p.n_block / PAGE_BLOCKS, &rows, s->mean);
	for (size_t b = 0; b < p.n_block; b += DS_ROUNDED_SEGMENT) {
		size_t n = ds_attn_smaller(p.n_block - b, DS_ROUNDED_SEGMENT);
		struct ds_attn8_mass to = {p.mass + b * LANES, LANES,
					   d->max + b / DS_ATTN8_UNIT * LANES};

		for (size_t i = 0; i < n; i++) {
			ds_rounded_block(attn, t, (uint32_t)(b + i), &d->block[i]);
			d->block[i].mean = s->mean + (b + i) / PAGE_BLOCKS * DS_ATTN8_ROWS;
		}
		attn->kern->attn8->weigh(&rows, d->block, n, &to, d->memory);
	}
	attn->kern->attn8->share(&p, d->max);
	return p;
}

/* What a query head keeps by its share's list. */
static void audit(struct ds_attn *attn, const struct share *s, uint32_t head)
{
	float own[2][LANES] = {{0}};
	struct ds_attn_tile one = s->tile;
	struct ds_attn8_pick p;
	double kept;

	one.head = head;
	one.n_head = 1;
	one.rows = 1;
	p = shares_of(attn, s, &one, own);
	kept = (double)*p.own;
	for (size_t i = 0; i < s->list.n; i++)
		kept += (double)p.mass[s->list.block[i] * LANES];
	ds_audit_note(&attn->follow->decode->audited, kept);
}

void ds_decode_audit(const struct ds_attn_decode *d, struct ds_attn_audit *to)
{
	ds_audit_add(&d->audited, to);
}

/* --- door ---------------------------------------------------------------------------------- */

bool ds_decode_wants(const struct ds_attn *attn, const struct ds_attn_call *call)
{
	size_t page = call->pos / DS_KV_PAGE;

	return attn->follow && attn->follow->decode && call->answer && !call->window && page &&
	       (page + 1) * DS_KV_PAGE > attn->policy.break_even;
}

void ds_decode_choose(struct ds_attn *attn)
{
	struct ds_attn_decode *d = attn->follow->decode;
	const struct ds_attn_call *call = attn->call;
	size_t *known = &d->n_page[call->layer], pages = call->pos / DS_KV_PAGE, seen = 0;

	if (pages > *known) {
		ds_pool_run(attn->pool, (pages - *known) * attn->shape.n_head, do_page, attn);
		*known = pages;
	}
	d->n_chunk = (pages + PANEL_PAGES * CHUNK_PANELS - 1) / (PANEL_PAGES * CHUNK_PANELS);
	for (size_t i = 0; i < attn->n_share; i++) {
		load_queries(attn, &d->of[i], i);
		atomic_store(&d->of[i].done, 0);
	}
	ds_pool_run(attn->pool, attn->n_share * d->n_chunk, do_chunk, attn);
	for (size_t i = 0; i < attn->n_share; i++) {
		const struct share *s = &d->of[i];

		seen += (s->list.n * DS_ATTN8_BLOCK + call->pos % DS_KV_PAGE + 1) * s->tile.n_head;
		for (uint32_t h = s->tile.head; h < s->tile.head + s->tile.n_head; h++)
			if (ds_audit_wants(call, h, 0))
				audit(attn, s, h);
	}
	ds_follow_count(attn, seen, 0);
}

struct ds_block_list ds_decode_list(const struct ds_attn *attn, size_t share)
{
	return attn->follow->decode->of[share].list;
}

void ds_decode_forget(struct ds_attn_decode *d, size_t n)
{
	for (size_t l = 0; l < d->n_layer; l++)
		if (d->n_page[l] > n / DS_KV_PAGE)
			d->n_page[l] = n / DS_KV_PAGE;
}

/* --- memory -------------------------------------------------------------------------------- */

static bool new_share(struct ds_attn *attn, const struct ds_attn_decode *d, struct share *s)
{
	struct ds_arena *mem = &attn->mem;
	size_t dim = attn->shape.dim_k, blocks = d->n_panel * LANES;

	s->rows = (struct ds_attn8_rows){.ld = LANES, .dim_k = dim};
	s->rows.q = (uint8_t *)ds_kern_floats(mem, LANES * dim / sizeof(float));
	s->rows.q_scale = ds_kern_floats(mem, LANES);
	s->rows.q_float = ds_kern_floats(mem, LANES * dim);
	s->both = s->rows;
	s->both.dim_k = 2 * dim;
	s->both.q = (uint8_t *)ds_kern_floats(mem, 2 * LANES * dim / sizeof(float));
	s->mean = ds_kern_floats(mem, blocks / PAGE_BLOCKS * DS_ATTN8_ROWS);
	s->score = ds_kern_floats(mem, blocks * LANES);
	s->part = ds_kern_floats(mem, blocks);
	s->block = ds_arena_alloc(mem, blocks, sizeof *s->block);
	s->edge = ds_arena_alloc(mem, blocks, sizeof *s->edge);
	atomic_init(&s->done, 0);
	return s->rows.q && s->rows.q_scale && s->rows.q_float && s->both.q && s->mean &&
	       s->score && s->part && s->block && s->edge;
}

static bool new_memory(struct ds_attn *attn, struct ds_attn_decode *d)
{
	const struct ds_kv_shape *shape = &attn->shape;
	size_t panels = (size_t)shape->n_layer * shape->n_head * d->n_panel;

	d->n_page = ds_arena_alloc(&attn->mem, shape->n_layer, sizeof *d->n_page);
	d->gist = (char *)ds_kern_floats(&attn->mem, panels * panel_bytes(shape) / sizeof(float));
	d->none = ds_kern_floats(&attn->mem, LANES);
	d->memory = (char *)ds_kern_floats(&attn->mem, ds_pool_threads(attn->pool) *
							       DS_ATTN8_SCRATCH / sizeof(float));
	d->mass = ds_kern_floats(&attn->mem, d->n_panel * LANES * LANES);
	d->max = ds_kern_floats(&attn->mem, d->n_panel * LANES / DS_ATTN8_UNIT * LANES);
	d->block = ds_arena_alloc(&attn->mem, DS_ROUNDED_SEGMENT, sizeof *d->block);
	d->of = ds_arena_alloc(&attn->mem, attn->n_share, sizeof *d->of);
	if (!d->n_page || !d->gist || !d->none || !d->memory || !d->mass || !d->max || !d->block ||
	    !d->of)
		return false;
	memset(d->n_page, 0, shape->n_layer * sizeof *d->n_page);
	memset(d->none, 0, LANES * sizeof *d->none);
	for (size_t i = 0; i < attn->n_share; i++)
		if (!new_share(attn, d, &d->of[i]))
			return false;
	return true;
}

enum ds_status ds_decode_new(struct ds_attn_decode **decode_ret, struct ds_attn *attn,
			     const struct ds_attn_policy *policy, struct ds_err *err)
{
	struct ds_attn_decode *d = ds_arena_alloc(&attn->mem, 1, sizeof *d);

	if (!d)
		return ds_fail_nomem(err, sizeof *d);
	memset(d, 0, sizeof *d);
	d->n_layer = attn->shape.n_layer;
	d->n_panel = (size_t)attn->shape.n_context / (DS_KV_PAGE * PANEL_PAGES) + 1;
	if (policy->kind == DS_ATTN_MASS)
		d->share = policy->param[0];
	else
		d->least = DS_DECODE_PART * (1 - policy->param[0]);
	if (!new_memory(attn, d))
		return ds_fail_nomem(err, ds_attn_bytes(attn));
	*decode_ret = d;
	return DS_OK;
}
