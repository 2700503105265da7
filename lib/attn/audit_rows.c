/*
 * audit_rows.c - rows that are audited: their choice and their scores, up to 16 of a KV head at a
 * time
 */
#include "attn/audit_rows.h"

#include <float.h>
#include <string.h>

#include "attn/audit.h"
#include "attn/follow.h"

#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)
#define ROWS DS_FOLLOW_ROWS
#define SEGMENT DS_ROUNDED_SEGMENT

/* What a thread audits with. */
struct desk {
	size_t n, n_block[ROWS]; /* rows; before their pages */
	float *q;		 /* [16][dim_k] */
	float *score;		 /* [keys of a segment][16] */
	float *mass;		 /* [blocks of a segment][16] */
	uint16_t *tokens;	 /* [16][blocks of the context]: chosen */
	/* first of the own page alone, then of all and of what was chosen */
	struct ds_attn_parts all, kept;
};

struct ds_audit_rows {
	struct desk *desk; /* [threads] */
	size_t n_block;	   /* of the context */
	struct ds_audited audited;
};

void ds_audit_rows_add(const struct ds_audit_rows *rows, struct ds_attn_audit *audit)
{
	ds_audit_add(&rows->audited, audit);
}

static struct ds_attn_part part_of(const struct ds_attn *attn, const struct ds_attn_parts *p,
				   size_t row)
{
	return (struct ds_attn_part){p->max + row, p->sum + row * DS_KERN_LANES,
				     p->value + row * attn->shape.dim_v};
}

/* The tokens of a list from position first on; returns how many are new. */
static size_t add_list(const struct ds_block_list *list, size_t first, uint16_t *tokens)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		size_t b = list->block[i];
		unsigned seen = ds_list_tokens(list, i, first) & ~(unsigned)tokens[b];

		tokens[b] |= (uint16_t)seen;
		n += (size_t)__builtin_popcount(seen);
	}
	return n;
}

/* What a tile of one row attends to before its page, as rounded.c has it; returns how many. */
static size_t choose_tokens(const struct ds_attn *attn, const struct ds_attn_tile *one,
			    unsigned thread, const float *q, uint16_t *tokens)
{
	size_t pos = one->call->pos + one->query, n_block = pos / DS_KV_PAGE * PAGE_BLOCKS;
	const struct ds_block_list all = {.n = n_block, .block = ds_rounded_blocks(attn)};
	const struct ds_attn_choice *c;
	size_t n;

	if (attn->follow && ds_follow_by_row(attn))
		return ds_follow_row(attn, one, thread, q, tokens);
	memset(tokens, 0, n_block * sizeof *tokens);
	if (!attn->follow)
		return add_list(&all, ds_attn_first_of(one->window, pos), tokens);
	c = ds_follow_choice(attn, one, thread);
	n = add_list(&c->far, 0, tokens);
	return n + add_list(&c->near, ds_attn_first_of(c->window, pos), tokens);
}

/* A row that leaves something out gets a place on the desk. */
static void add_row(const struct ds_attn *attn, size_t head, size_t query, unsigned thread)
{
	struct desk *d = &attn->audit->desk[thread];
	struct ds_attn_scratch *s = &attn->scratch[thread];
	struct ds_attn_tile one = {.call = attn->call,
				   .kv_head = (uint32_t)(head / attn->group),
				   .head = (uint32_t)head,
				   .n_head = 1,
				   .query = query,
				   .n = 1,
				   .rows = 1,
				   .window = attn->call->window};
	size_t page = (one.call->pos + query) / DS_KV_PAGE, dim = attn->shape.dim_k, i = d->n;
	struct ds_attn_part own = part_of(attn, &d->all, i), copy = part_of(attn, &d->kept, i);
	const struct ds_attn_parts at = {own.max, own.sum, own.value};

	ds_attn_load_queries(attn, &one, s->q);
	memcpy(d->q + i * dim, s->q, dim * sizeof *s->q);
	if (choose_tokens(attn, &one, thread, d->q + i * dim,
			  d->tokens + i * attn->audit->n_block) == page * DS_KV_PAGE)
		return;
	ds_attn_begin(attn, 1, &at);
	ds_attn_page(attn, &one, s, page, &at);
	*copy.max = *own.max;
	memcpy(copy.sum, own.sum, DS_KERN_LANES * sizeof *own.sum);
	d->n_block[i] = page * PAGE_BLOCKS;
	d->n++;
}

/* Scores of a segment lose what a row's mask leaves out; NULL: what is not before its page. */
static void hide(struct desk *d, size_t begin, size_t n, const uint16_t *tokens, size_t stride)
{
	for (size_t r = 0; r < d->n; r++)
		for (size_t b = 0; b < n; b++) {
			unsigned seen = tokens ? tokens[r * stride + begin + b] : UINT16_MAX;

			if (begin + b >= d->n_block[r])
				seen = 0;
			for (size_t t = 0; seen != UINT16_MAX && t < DS_ATTN8_BLOCK; t++)
				if (!(seen >> t & 1))
					d->score[(b * DS_ATTN8_BLOCK + t) * ROWS + r] = -FLT_MAX;
		}
}

/* The mass of n blocks' scores joins that of the rows. */
static void add_mass(const struct ds_attn *attn, struct desk *d, size_t n,
		     const struct ds_attn_parts *into)
{
	float max[ROWS];
	const struct ds_attn8_rows rows = {.n = ROWS, .ld = ROWS, .max = max};

	for (size_t r = 0; r < ROWS; r++)
		max[r] = -FLT_MAX / 2;
	for (size_t t = 0; t < n * DS_ATTN8_BLOCK; t++)
		for (size_t r = 0; r < ROWS; r++)
			max[r] = d->score[t * ROWS + r] > max[r] ? d->score[t * ROWS + r] : max[r];
	attn->kern->attn8->mass(&rows, d->score, n, d->mass);
	for (size_t r = 0; r < d->n; r++) {
		const struct ds_attn_part to = part_of(attn, into, r);
		float sum[DS_KERN_LANES] = {0};
		double units = 0;

		for (size_t b = 0; b < n; b++)
			units += (double)d->mass[b * ROWS + r];
		sum[0] = (float)(units * 0x1p-20);
		attn->kern->attn_join(&to, &(struct ds_attn_part){&max[r], sum, NULL}, 0);
	}
}

static double sum_of(const struct ds_attn_part *part)
{
	double sum = 0;

	for (size_t i = 0; i < DS_KERN_LANES; i++)
		sum += (double)part->sum[i];
	return sum;
}

/* The rows on the desk, which is free then. */
static void weigh_rows(const struct ds_attn *attn, uint32_t kv_head, unsigned thread)
{
	struct desk *d = &attn->audit->desk[thread];
	const struct ds_attn_tile t = {
		.call = attn->call, .kv_head = kv_head, .n_head = 1, .n = d->n, .rows = d->n};
	size_t end = 0, n_block = attn->audit->n_block;

	for (size_t r = 0; r < d->n; r++)
		end = d->n_block[r] > end ? d->n_block[r] : end;
	if (end)
		ds_rounded_load(attn, &t, thread, d->q);
	for (size_t b = 0; b < end; b += SEGMENT) {
		size_t n = ds_attn_smaller(end - b, SEGMENT);

		ds_rounded_score(attn, &t, thread, (struct ds_block_range){b, n}, d->score);
		hide(d, b, n, NULL, 0);
		add_mass(attn, d, n, &d->all);
		hide(d, b, n, d->tokens, n_block);
		add_mass(attn, d, n, &d->kept);
	}
	for (size_t r = 0; r < d->n; r++) {
		struct ds_attn_part all = part_of(attn, &d->all, r);
		struct ds_attn_part kept = part_of(attn, &d->kept, r);
		double sum = sum_of(&all);

		/* relative to the maximum of all */
		memset(all.sum, 0, DS_KERN_LANES * sizeof *all.sum);
		attn->kern->attn_join(&all, &kept, 0);
		if (sum > 0)
			ds_audit_note(&attn->audit->audited, sum_of(&all) / sum);
	}
	d->n = 0;
}

/* All audited rows of a KV head. */
static void audit_head(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	struct desk *d = &attn->audit->desk[thread];

	for (size_t h = 0; h < attn->group; h++) {
		size_t head = index * attn->group + h;

		for (size_t i = 0; i < attn->call->n; i++) {
			if (ds_audit_wants(attn->call, head, i))
				add_row(attn, head, i, thread);
			if (d->n == ROWS)
				weigh_rows(attn, (uint32_t)index, thread);
		}
	}
	weigh_rows(attn, (uint32_t)index, thread);
}

static bool any_audited(const struct ds_attn_call *call)
{
	for (size_t i = 0; i < call->n; i++)
		for (size_t head = 0; head < call->n_head; head++)
			if (ds_audit_wants(call, head, i))
				return true;
	return false;
}

/* A window of the call's own is no choice, unless the policy made it narrower. */
void ds_audit_rows_call(const struct ds_attn *attn)
{
	const struct ds_attn_call *call = attn->call;

	if (attn->audit && (!call->window || call == &attn->own_call) && any_audited(call))
		ds_pool_run(attn->pool, attn->shape.n_head, audit_head, (void *)attn);
}

static bool new_desk(struct ds_attn *attn, const struct ds_audit_rows *a, struct desk *d)
{
	struct ds_arena *mem = &attn->mem;

	*d = (struct desk){.n = 0};
	d->q = ds_kern_floats(mem, ROWS * attn->shape.dim_k);
	d->score = ds_kern_floats(mem, (size_t)SEGMENT * DS_ATTN8_BLOCK * ROWS);
	d->mass = ds_kern_floats(mem, (size_t)SEGMENT * ROWS);
	d->tokens = ds_arena_alloc(mem, ROWS * a->n_block, sizeof *d->tokens);
	return d->q && d->score && d->mass && d->tokens && ds_attn_new_parts(attn, &d->all, ROWS) &&
	       ds_attn_new_parts(attn, &d->kept, ROWS);
}

enum ds_status ds_audit_rows_new(struct ds_audit_rows **audit_ret, struct ds_attn *attn,
				 struct ds_err *err)
{
	struct ds_audit_rows *a = ds_arena_alloc(&attn->mem, 1, sizeof *a);
	unsigned threads = ds_pool_threads(attn->pool);

	if (!a)
		return ds_fail_nomem(err, sizeof *a);
	memset(a, 0, sizeof *a);
	a->n_block = ((size_t)attn->shape.n_context / DS_KV_PAGE + 1) * PAGE_BLOCKS;
	*audit_ret = a;
	a->desk = ds_arena_alloc(&attn->mem, threads, sizeof *a->desk);
	for (unsigned i = 0; a->desk && i < threads; i++)
		if (!new_desk(attn, a, &a->desk[i]))
			a->desk = NULL;
	return a->desk ? DS_OK : ds_fail_nomem(err, ds_attn_bytes(attn));
}
