/*
 * attn.c - attention: its memory, and the exact way, page by page
 *
 * The rows of a tile take two matrix products a page.  Where tiles leave threads without work (one
 * token), the segments of a tile are done apart and joined by whoever ends last.
 */
#include "attn/attn.h"

#include <assert.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "attn/audit_rows.h"
#include "attn/follow.h"
#include "attn/tile.h"

#define SEGMENT_PAGES (DS_ATTN_SEGMENT / DS_KV_PAGE)
/* Rows under work at a time: a multiple of the kernels' 12, at least so many.  A tile is some such
 * blocks, for which pages are opened once; few enough to keep all threads at work. */
#define BLOCK_ROWS 48
#define TILE_BLOCKS 4
#define ENOUGH_TILES 4 /* a thread */
#define GEMM_ROWS 12
#define PART_HEADS 16
/* From so many rows on a page is worth opening to floats. */
#define OPEN_ROWS 24
/* Segments that are done apart: so many at a time, of tiles with so many rows at most. */
#define ROUND_SEGMENTS 16
#define SPLIT_ROWS 24

#define LOG2_E 1.44269504f

struct queries {
	size_t pos, n;
};

/* A page under work: where it lies, whether its floats are in scratch. */
struct open_page {
	size_t index;
	const uint16_t *keys; /* and values */
	const struct ds_attn_parts *part;
	bool open;
};

struct ds_attn_tile ds_attn_tile_of(const struct ds_attn *attn, size_t share, size_t query,
				    size_t n)
{
	size_t n_part = attn->n_share / attn->shape.n_head;
	uint32_t first = (uint32_t)(share % n_part) * attn->heads;
	struct ds_attn_tile t = {.call = attn->call, .kv_head = (uint32_t)(share / n_part)};

	t.head = t.kv_head * attn->group + first;
	t.n_head = attn->group - first < attn->heads ? attn->group - first : attn->heads;
	t.query = query;
	t.n = n;
	t.rows = t.n * t.n_head;
	t.window = t.call->window;
	return t;
}

static struct ds_attn_tile tile_of(const struct ds_attn *attn, size_t share, size_t index)
{
	size_t query = index * attn->tile;

	return ds_attn_tile_of(attn, share, query,
			       ds_attn_smaller(attn->call->n - query, attn->tile));
}

void ds_attn_load_queries(const struct ds_attn *attn, const struct ds_attn_tile *t, float *q)
{
	const struct ds_attn_call *call = t->call;
	size_t dim = attn->shape.dim_k;

	/* the heads of a query lie together */
	for (size_t i = 0; i < t->n; i++)
		attn->kern->scale(call->q + (t->query + i) * call->q_stride + t->head * dim,
				  q + i * t->n_head * dim, t->n_head * dim, call->scale * LOG2_E);
}

static struct ds_attn_part row_part(const struct ds_attn_parts *p, size_t row, size_t dim)
{
	return (struct ds_attn_part){p->max + row, p->sum + row * DS_KERN_LANES,
				     p->value + row * dim};
}

/* The keys of a page that the rows of some queries see; false when all see all. */
static bool page_ranges(const struct ds_attn_tile *t, size_t page, struct queries in,
			struct ds_key_range *range)
{
	size_t begin = page * DS_KV_PAGE, last = in.pos + in.n - 1;

	if (ds_attn_first_key(t->call, last) <= begin && in.pos + 1 >= begin + DS_KV_PAGE)
		return false;
	for (size_t pos = in.pos; pos <= last; pos++) {
		size_t end = pos + 1, first = ds_attn_first_key(t->call, pos);
		struct ds_key_range r;

		end = end < begin ? 0 : ds_attn_smaller(end - begin, DS_KV_PAGE);
		first = first < begin ? 0 : ds_attn_smaller(first - begin, end);
		r = (struct ds_key_range){(uint8_t)first, (uint8_t)end};
		for (uint32_t h = 0; h < t->n_head; h++)
			*range++ = r;
	}
	return true;
}

/* One page for the rows of some queries, those from row on of the tile. */
static void attend_block(const struct ds_attn *attn, const struct ds_attn_tile *t,
			 const struct ds_attn_scratch *s, struct queries in, size_t row,
			 const struct open_page *page)
{
	size_t dim_k = attn->shape.dim_k, dim_v = attn->shape.dim_v;
	size_t begin = page->index * DS_KV_PAGE, lowest = ds_attn_first_key(t->call, in.pos);
	/* columns that any row sees, in whole vectors */
	size_t first = (lowest > begin ? lowest - begin : 0) / DS_KERN_LANES * DS_KERN_LANES;
	size_t end = ds_kern_pad(ds_attn_smaller(in.pos + in.n - begin, DS_KV_PAGE));
	struct ds_attn_part part = row_part(page->part, row, dim_v);
	struct ds_gemm score = {.m = in.n * t->n_head,
				.n = end - first,
				.k = dim_k,
				.a = s->q + row * dim_k,
				.lda = dim_k,
				.c = s->score + first,
				.ldc = DS_KV_PAGE};
	struct ds_page_softmax soft = {.n = score.m,
				       .score = s->score,
				       .stride = DS_KV_PAGE,
				       .first = (unsigned)first,
				       .end = (unsigned)end,
				       .max = part.max,
				       .factor = s->factor,
				       .sum = part.sum};
	struct ds_gemm mix = {.m = score.m,
			      .n = dim_v,
			      .k = end - first,
			      .a = s->score + first,
			      .lda = DS_KV_PAGE,
			      .c = part.value,
			      .ldc = dim_v,
			      .panel_rows = DS_KV_PAGE,
			      .keep = s->factor};

	if (page_ranges(t, page->index, in, s->range))
		soft.range = s->range;
	if (page->open) {
		score.panel = s->keys + first * dim_k;
		mix.panel = s->values + first * DS_KERN_LANES;
	} else {
		score.half = page->keys + first * dim_k;
		mix.half = page->keys + DS_KV_PAGE * dim_k + first * DS_KERN_LANES;
	}
	attn->kern->gemm(&score);
	attn->kern->page_softmax(&soft);
	attn->kern->gemm(&mix);
}

/* A block of queries at a time: their scores stay in cache, and few keys are masked. */
void ds_attn_page(const struct ds_attn *attn, const struct ds_attn_tile *t,
		  const struct ds_attn_scratch *s, size_t index, const struct ds_attn_parts *part)
{
	size_t dim_k = attn->shape.dim_k, pos = t->call->pos + t->query;
	struct open_page page = {.index = index, .part = part, .open = t->rows >= OPEN_ROWS};

	page.keys = ds_kv_page(t->call->kv, t->call->layer, t->kv_head, index);
	if (page.open) {
		attn->kern->from_half(page.keys, s->keys, DS_KV_PAGE * dim_k);
		attn->kern->from_half(page.keys + DS_KV_PAGE * dim_k, s->values,
				      DS_KV_PAGE * (size_t)attn->shape.dim_v);
	}
	for (size_t i = 0; i < t->n; i += attn->block) {
		struct queries in = {pos + i, ds_attn_smaller(t->n - i, attn->block)};

		if (index * DS_KV_PAGE < in.pos + in.n &&
		    (index + 1) * DS_KV_PAGE > ds_attn_first_key(t->call, in.pos))
			attend_block(attn, t, s, in, i * t->n_head, &page);
	}
}

void ds_attn_begin(const struct ds_attn *attn, size_t rows, const struct ds_attn_parts *part)
{
	for (size_t r = 0; r < rows; r++)
		part->max[r] = -FLT_MAX;
	memset(part->sum, 0, rows * DS_KERN_LANES * sizeof *part->sum);
	memset(part->value, 0, rows * attn->shape.dim_v * sizeof *part->value);
}

/* Two attentions of their own become one, 0.7 and 0.3 of them, into the first. */
void ds_attn_mix(const struct ds_attn *attn, const struct ds_attn_tile *t,
		 const struct ds_attn_parts *into, const struct ds_attn_parts *part)
{
	size_t dim = attn->shape.dim_v;

	for (size_t r = 0; r < t->rows; r++) {
		struct ds_attn_part a = row_part(into, r, dim), b = row_part(part, r, dim);

		attn->kern->attn_finish(&a, a.value, dim);
		attn->kern->attn_finish(&b, b.value, dim);
		for (size_t d = 0; d < dim; d++)
			a.value[d] = 0.7f * a.value[d] + 0.3f * b.value[d];
		memset(a.sum, 0, DS_KERN_LANES * sizeof *a.sum);
		a.sum[0] = 1;
	}
}

/* The pages of a segment that the tile sees. */
static void attend_segment(const struct ds_attn *attn, const struct ds_attn_tile *t,
			   struct ds_attn_scratch *s, size_t segment,
			   const struct ds_attn_parts *part)
{
	size_t first_pos = t->call->pos + t->query,
	       page = ds_attn_first_key(t->call, first_pos) / DS_KV_PAGE;
	size_t end = (first_pos + t->n - 1) / DS_KV_PAGE + 1;

	if (page < segment * SEGMENT_PAGES)
		page = segment * SEGMENT_PAGES;
	ds_attn_begin(attn, t->rows, part);
	for (; page < ds_attn_smaller(end, (segment + 1) * SEGMENT_PAGES); page++)
		ds_attn_page(attn, t, s, page, part);
}

void ds_attn_join(const struct ds_attn *attn, const struct ds_attn_tile *t,
		  const struct ds_attn_parts *into, const struct ds_attn_parts *part)
{
	for (size_t r = 0; r < t->rows; r++) {
		struct ds_attn_part a = row_part(into, r, attn->shape.dim_v);
		struct ds_attn_part b = row_part(part, r, attn->shape.dim_v);

		attn->kern->attn_join(&a, &b, attn->shape.dim_v);
	}
}

void ds_attn_finish(const struct ds_attn *attn, const struct ds_attn_tile *t,
		    const struct ds_attn_parts *part)
{
	size_t dim = attn->shape.dim_v;

	for (size_t r = 0; r < t->rows; r++) {
		struct ds_attn_part p = row_part(part, r, dim);
		size_t query = t->query + r / t->n_head, head = t->head + r % t->n_head;

		attn->kern->attn_finish(&p, t->call->out + query * t->call->out_stride + head * dim,
					dim);
	}
}

static size_t first_segment(const struct ds_attn_tile *t)
{
	return ds_attn_first_key(t->call, t->call->pos + t->query) / DS_ATTN_SEGMENT;
}

static size_t last_segment(const struct ds_attn_tile *t)
{
	return (t->call->pos + t->query + t->n - 1) / DS_ATTN_SEGMENT;
}

/* Late tiles see the most keys: they come first. */
static void do_tile(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct ds_attn_tile t =
		tile_of(attn, index % attn->n_share, attn->n_tile - 1 - index / attn->n_share);
	size_t segment = first_segment(&t), last = last_segment(&t);

	ds_attn_load_queries(attn, &t, s->q);
	attend_segment(attn, &t, s, segment, &s->total);
	while (segment++ < last) {
		attend_segment(attn, &t, s, segment, &s->part);
		ds_attn_join(attn, &t, &s->total, &s->part);
	}
	ds_attn_finish(attn, &t, &s->total);
}

/* One segment of one share; the last to end joins those of the round. */
static void do_segment(void *arg, size_t index, unsigned thread)
{
	struct ds_attn *attn = arg;
	struct ds_attn_scratch *s = &attn->scratch[thread];
	size_t share = index / attn->n_segment, i = index % attn->n_segment;
	const struct ds_attn_parts *split = attn->split + share * ROUND_SEGMENTS;
	const struct ds_attn_parts *joined = &attn->joined[share];
	struct ds_attn_tile t = tile_of(attn, share, 0);
	bool first_round = attn->segment == first_segment(&t);

	ds_attn_load_queries(attn, &t, s->q);
	/* the first segment of all is what the others are joined to */
	attend_segment(attn, &t, s, attn->segment + i, first_round && i == 0 ? joined : &split[i]);
	if (atomic_fetch_add(&attn->done[share], 1) + 1 < attn->n_segment)
		return;
	atomic_store(&attn->done[share], 0);
	for (i = first_round; i < attn->n_segment; i++)
		ds_attn_join(attn, &t, joined, &split[i]);
	if (attn->segment + attn->n_segment > attn->last_segment)
		ds_attn_finish(attn, &t, joined);
}

/* Tokens that choose by themselves come one by one. */
static void run_each(struct ds_attn *attn, const struct ds_attn_call *call)
{
	for (size_t i = 0; i < call->n; i++) {
		struct ds_attn_call one = *call;

		one.pos += i;
		one.n = 1;
		one.q += i * call->q_stride;
		one.out += i * call->out_stride;
		ds_attn_run(attn, &one);
	}
}

void ds_attn_run(struct ds_attn *attn, const struct ds_attn_call *call)
{
	size_t threads = ds_pool_threads(attn->pool);
	struct ds_attn_tile t;

	assert(call->n_head == attn->group * attn->shape.n_head);
	if (call->n == 0)
		return;
	if (call->n > 1 && ds_follow_by_token(attn, call)) {
		run_each(attn, call);
		return;
	}
	attn->call = ds_follow_call(attn, call);
	if (attn->rounded) {
		ds_rounded_run(attn);
		ds_audit_rows_call(attn);
		return;
	}
	attn->tile = attn->tile_most;
	while (attn->tile > attn->block &&
	       attn->n_share * call->n < ENOUGH_TILES * threads * attn->tile)
		attn->tile /= 2;
	attn->n_tile = (call->n + attn->tile - 1) / attn->tile;
	t = tile_of(attn, 0, 0);
	attn->segment = first_segment(&t);
	attn->last_segment = last_segment(&t);
	if (!attn->split || attn->n_tile > 1 || call->n * attn->heads > SPLIT_ROWS ||
	    attn->segment == attn->last_segment) {
		ds_pool_run(attn->pool, attn->n_share * attn->n_tile, do_tile, attn);
		return;
	}
	for (; attn->segment <= attn->last_segment; attn->segment += attn->n_segment) {
		attn->n_segment =
			ds_attn_smaller(attn->last_segment + 1 - attn->segment, ROUND_SEGMENTS);
		ds_pool_run(attn->pool, attn->n_share * attn->n_segment, do_segment, attn);
	}
}

bool ds_attn_new_parts(struct ds_attn *attn, struct ds_attn_parts *p, size_t rows)
{
	p->max = ds_kern_floats(&attn->mem, rows);
	p->sum = ds_kern_floats(&attn->mem, rows * DS_KERN_LANES);
	p->value = ds_kern_floats(&attn->mem, rows * attn->shape.dim_v);
	return p->max && p->sum && p->value;
}

static bool new_scratch(struct ds_attn *attn, struct ds_attn_scratch *s)
{
	const struct ds_kv_shape *shape = &attn->shape;
	size_t block = attn->block * attn->heads, rows = attn->tile_most * attn->heads;

	s->q = ds_kern_floats(&attn->mem, rows * shape->dim_k);
	s->score = ds_kern_floats(&attn->mem, block * DS_KV_PAGE);
	s->factor = ds_kern_floats(&attn->mem, block);
	s->keys = ds_kern_floats(&attn->mem, (size_t)DS_KV_PAGE * shape->dim_k);
	s->values = ds_kern_floats(&attn->mem, (size_t)DS_KV_PAGE * shape->dim_v);
	s->range = ds_arena_alloc(&attn->mem, block, sizeof *s->range);
	return s->q && s->score && s->factor && s->keys && s->values && s->range &&
	       ds_attn_new_parts(attn, &s->part, rows) && ds_attn_new_parts(attn, &s->total, rows);
}

static bool new_split(struct ds_attn *attn)
{
	attn->split =
		ds_arena_alloc(&attn->mem, attn->n_share * ROUND_SEGMENTS, sizeof *attn->split);
	attn->joined = ds_arena_alloc(&attn->mem, attn->n_share, sizeof *attn->joined);
	attn->done = ds_arena_alloc(&attn->mem, attn->n_share, sizeof *attn->done);
	if (!attn->split || !attn->joined || !attn->done)
		return false;
	for (size_t i = 0; i < attn->n_share; i++) {
		atomic_init(&attn->done[i], 0);
		if (!ds_attn_new_parts(attn, &attn->joined[i], SPLIT_ROWS))
			return false;
		for (size_t j = 0; j < ROUND_SEGMENTS; j++)
			if (!ds_attn_new_parts(attn, &attn->split[i * ROUND_SEGMENTS + j],
					       SPLIT_ROWS))
				return false;
	}
	return true;
}

static bool new_memory(struct ds_attn *attn, unsigned threads)
{
	attn->pairs = ds_arena_alloc(&attn->mem, 1, sizeof *attn->pairs);
	attn->scratch = ds_arena_alloc(&attn->mem, threads, sizeof *attn->scratch);
	if (!attn->pairs || !attn->scratch)
		return false;
	atomic_init(&attn->pairs->seen, 0);
	atomic_init(&attn->pairs->causal, 0);
	for (unsigned i = 0; i < threads; i++)
		if (!new_scratch(attn, &attn->scratch[i]))
			return false;
	if (attn->shape.recent)
		return ds_rounded_new(attn, threads);
	/* heads alone keep all threads at work where they are many */
	return threads == 1 || attn->n_share >= (size_t)2 * threads || new_split(attn);
}

/* Queries that make the rows of a block a multiple of GEMM_ROWS. */
static size_t block_queries(size_t heads)
{
	size_t step = GEMM_ROWS;

	for (size_t d = 2; d <= 3; d++)
		while (step % d == 0 && heads * (step / d) % GEMM_ROWS == 0)
			step /= d;
	return (BLOCK_ROWS + step * heads - 1) / (step * heads) * step;
}

enum ds_status ds_attn_new(struct ds_attn **attn_ret, const struct ds_kern *kern,
			   struct ds_pool *pool, const struct ds_kv_shape *shape, uint32_t n_head,
			   struct ds_err *err)
{
	struct ds_attn *attn;
	uint32_t n_part;

	if (!n_head || n_head % shape->n_head)
		return ds_fail(err, DS_EUNSUPPORTED, "%u heads share %u of keys and values",
			       (unsigned)n_head, (unsigned)shape->n_head);
	attn = ds_alloc_zero(1, sizeof *attn);
	if (!attn)
		return ds_fail_nomem(err, sizeof *attn);
	attn->kern = kern;
	attn->pool = pool;
	attn->shape = *shape;
	attn->group = n_head / shape->n_head;
	n_part = (attn->group + PART_HEADS - 1) / PART_HEADS;
	attn->heads = (attn->group + n_part - 1) / n_part;
	n_part = (attn->group + attn->heads - 1) / attn->heads;
	attn->n_share = (size_t)shape->n_head * n_part;
	attn->block = block_queries(attn->heads);
	attn->tile_most = shape->recent ? DS_KV_PAGE : attn->block * TILE_BLOCKS;
	ds_arena_init(&attn->mem);
	if (!new_memory(attn, ds_pool_threads(pool))) {
		ds_fail_nomem(err, ds_attn_bytes(attn));
		ds_attn_free(attn);
		return DS_ENOMEM;
	}
	*attn_ret = attn;
	return DS_OK;
}

void ds_attn_free(struct ds_attn *attn)
{
	if (!attn)
		return;
	ds_follow_free(attn->follow);
	ds_arena_fini(&attn->mem);
	free(attn);
}

size_t ds_attn_bytes(const struct ds_attn *attn)
{
	return sizeof *attn + attn->mem.used_bytes + ds_follow_bytes(attn->follow);
}
