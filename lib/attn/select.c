/*
 * select.c - rows that choose for themselves: scores, a choice, and attention to it, row by row
 */
#include "attn/select.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/follow.h"

#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)
#define LSH_WINDOW 64
#define LSH_SINKS 4

/* Some rows of a tile, up to 16, and their scores. */
struct rows {
	const struct ds_attn *attn;
	struct ds_attn_tile tile; /* its n_head is that of the whole tile */
	const float *q;
	size_t first, n_block; /* the first of them in the tile; before their page */
	struct ds_follow_desk *desk;
	unsigned thread;
};

static size_t row_pos(const struct rows *rows, size_t row)
{
	const struct ds_attn_tile *t = &rows->tile;

	return t->call->pos + t->query + (rows->first + row) / t->n_head;
}

static struct ds_attn_scores scores_of(const struct rows *rows, const float *score, size_t row)
{
	return (struct ds_attn_scores){score + row, DS_FOLLOW_ROWS, rows->n_block};
}

/* A share of n tokens, at least one. */
static size_t share_of(double share, size_t n)
{
	size_t k = (size_t)ceil(share * (double)n - 1e-6);

	return k ? k : 1;
}

/* The best by rough scores, of these the best; rough scores become those of what was left out. */
static size_t choose_vsa(const struct rows *rows, size_t row, uint16_t *tokens)
{
	struct ds_follow_desk *d = rows->desk;
	const struct ds_attn_scores rough = scores_of(rows, d->coarse, row),
				    exact = scores_of(rows, d->score, row);
	const double *param = rows->attn->policy.param;
	size_t n = rows->n_block * DS_ATTN8_BLOCK, kept;

	kept = ds_attn_keep_best(&rough, share_of(param[0], n), tokens, d->work);
	for (size_t t = 0; t < n; t++)
		if (tokens[t / DS_ATTN8_BLOCK] >> t % DS_ATTN8_BLOCK & 1)
			d->coarse[t * DS_FOLLOW_ROWS + row] = exact.score[t * DS_FOLLOW_ROWS];
	kept = ds_attn_keep_best(&exact, share_of(param[1], kept), tokens, d->work);
	for (size_t t = 0; t < n; t++)
		if (tokens[t / DS_ATTN8_BLOCK] >> t % DS_ATTN8_BLOCK & 1)
			d->coarse[t * DS_FOLLOW_ROWS + row] = -FLT_MAX;
	return kept;
}

/* Tokens with a hash in common, those close by, and the first. */
static size_t choose_lsh(const struct rows *rows, size_t row, uint16_t *tokens)
{
	const struct ds_attn_lsh *lsh = rows->attn->follow->lsh;
	size_t dim = rows->attn->shape.dim_k, near = row_pos(rows, row) + 1, kept = 0;
	uint16_t code[DS_ATTN_LSH_ROUNDS_MAX];

	near = near > LSH_WINDOW ? near - LSH_WINDOW : 0;
	ds_attn_lsh_hash(lsh, rows->q + row * dim, code);
	ds_attn_lsh_match(lsh, rows->tile.call->layer, rows->tile.kv_head, code, rows->n_block,
			  tokens);
	tokens[0] |= (1u << LSH_SINKS) - 1;
	for (size_t t = near; t < rows->n_block * DS_ATTN8_BLOCK; t++)
		tokens[t / DS_ATTN8_BLOCK] |= (uint16_t)(1u << t % DS_ATTN8_BLOCK);
	for (size_t b = 0; b < rows->n_block; b++)
		kept += (size_t)__builtin_popcount(tokens[b]);
	return kept;
}

/* Tokens before the page that a row attends to; returns how many. */
static size_t choose(const struct rows *rows, size_t row)
{
	const struct ds_attn_policy *policy = &rows->attn->policy;
	const struct ds_attn_scores s = scores_of(rows, rows->desk->score, row);
	uint16_t *tokens = rows->desk->tokens;

	memset(tokens, 0xFF, rows->n_block * sizeof *tokens);
	if (row_pos(rows, row) / DS_KV_PAGE * DS_KV_PAGE + DS_KV_PAGE <= policy->break_even)
		return rows->n_block * DS_ATTN8_BLOCK;
	if (policy->kind == DS_ATTN_TOPK)
		return ds_attn_keep_best(&s, (size_t)policy->param[0], tokens, rows->desk->work);
	if (policy->kind == DS_ATTN_VSA)
		return choose_vsa(rows, row, tokens);
	return choose_lsh(rows, row, tokens);
}

static void score_rows(const struct rows *rows)
{
	const struct ds_attn *attn = rows->attn;
	const struct ds_attn_tile *t = &rows->tile;

	if (attn->policy.kind != DS_ATTN_LSH)
		ds_rounded_scores(attn, t, rows->thread, rows->q, false, rows->desk->score);
	if (attn->policy.kind == DS_ATTN_VSA)
		ds_rounded_scores(attn, t, rows->thread, rows->q, true, rows->desk->coarse);
}

size_t ds_follow_row(const struct ds_attn *attn, const struct ds_attn_tile *one, unsigned thread,
		     const float *q, uint16_t *tokens)
{
	const struct rows rows = {.attn = attn,
				  .tile = *one,
				  .q = q,
				  .n_block =
					  (one->call->pos + one->query) / DS_KV_PAGE * PAGE_BLOCKS,
				  .desk = &attn->follow->desk[thread],
				  .thread = thread};
	size_t n;

	if (!rows.n_block)
		return 0;
	score_rows(&rows);
	n = choose(&rows, 0);
	memcpy(tokens, rows.desk->tokens, rows.n_block * sizeof *tokens);
	return n;
}

/* Blocks with tokens that are chosen. */
static struct ds_block_list list_of(const struct rows *rows)
{
	struct ds_attn_choice *c = &rows->desk->choice;
	size_t n = 0;

	for (size_t b = 0; b < rows->n_block; b++)
		if (rows->desk->tokens[b]) {
			c->far_block[n] = (uint32_t)b;
			c->far_tokens[n++] = rows->desk->tokens[b];
		}
	return (struct ds_block_list){n, c->far_block, c->far_tokens};
}

static void attend(const struct rows *rows, size_t row, const struct ds_block_list *list)
{
	const struct ds_attn *attn = rows->attn;
	struct ds_attn_tile one = rows->tile;
	size_t at = rows->first + row, dim_v = attn->shape.dim_v;
	const struct ds_attn_parts *total = &attn->scratch[rows->thread].total;
	struct ds_attn_parts found = {total->max + at, total->sum + at * DS_KERN_LANES,
				      total->value + at * dim_v};

	one.rows = one.n = one.n_head = 1;
	ds_rounded_attend(attn, &one, list, rows->thread, rows->q + row * attn->shape.dim_k,
			  &found);
}

/* The mean value of what a row leaves out, n_left tokens of all before its page, into value; sum:
 * that of all, then room for those left. */
static void mean_left(const struct rows *rows, size_t n_left, float *value)
{
	const struct ds_attn *attn = rows->attn;
	const struct ds_attn_call *call = rows->tile.call;
	size_t dim = attn->shape.dim_v;
	double *left = rows->desk->sum + dim;

	memcpy(left, rows->desk->sum, dim * sizeof *left);
	for (size_t t = 0; t < rows->n_block * DS_ATTN8_BLOCK; t++) {
		struct ds_page8 p;
		size_t i = t % DS_KV_PAGE;

		if (!(rows->desk->tokens[t / DS_ATTN8_BLOCK] >> t % DS_ATTN8_BLOCK & 1))
			continue;
		p = ds_kv_page8(call->kv, call->layer, rows->tile.kv_head, t / DS_KV_PAGE);
		for (size_t d = 0; d < dim; d++)
			left[d] -=
				(double)(p.v_scale[i] * (float)p.v[(i / 4 * dim + d) * 4 + i % 4]);
	}
	for (size_t d = 0; d < dim; d++)
		value[d] = (float)(left[d] / (double)n_left);
}

/* What rows leave out, n_left of each, counts as its mean value, with the mass that its scores
 * tell. */
static void correct(const struct rows *rows, const size_t n_left[DS_FOLLOW_ROWS])
{
	const struct ds_attn *attn = rows->attn;
	struct ds_follow_desk *d = rows->desk;
	size_t dim = attn->shape.dim_v;
	const struct ds_attn_parts *total = &attn->scratch[rows->thread].total;
	float max[DS_FOLLOW_ROWS];
	const struct ds_attn8_rows all = {.n = DS_FOLLOW_ROWS, .ld = DS_FOLLOW_ROWS, .max = max};

	for (size_t r = 0; r < DS_FOLLOW_ROWS; r++)
		max[r] = -FLT_MAX;
	for (size_t t = 0; t < rows->n_block * DS_ATTN8_BLOCK; t++)
		for (size_t r = 0; r < DS_FOLLOW_ROWS; r++)
			max[r] = fmaxf(max[r], d->coarse[t * DS_FOLLOW_ROWS + r]);
	attn->kern->attn8->mass(&all, d->coarse, rows->n_block, d->mass);
	for (size_t r = 0; r < rows->tile.rows; r++) {
		size_t at = rows->first + r;
		const struct ds_attn_part into = {total->max + at, total->sum + at * DS_KERN_LANES,
						  total->value + at * dim};
		float *value = d->left + r * dim, sum[DS_KERN_LANES] = {0};
		double units = 0;

		if (!n_left[r])
			continue;
		for (size_t b = 0; b < rows->n_block; b++)
			units += (double)d->mass[b * DS_FOLLOW_ROWS + r];
		sum[0] = (float)(units * 0x1p-20);
		for (size_t i = 0; i < dim; i++)
			value[i] *= sum[0];
		attn->kern->attn_join(&into, &(struct ds_attn_part){&max[r], sum, value}, dim);
	}
}

/* The sum of all values before the page. */
static void sum_values(const struct rows *rows)
{
	const struct ds_attn_call *call = rows->tile.call;
	size_t dim = rows->attn->shape.dim_v;
	double *sum = rows->desk->sum;

	memset(sum, 0, dim * sizeof *sum);
	for (size_t p = 0; p < rows->n_block / PAGE_BLOCKS; p++) {
		const float *mean = ds_kv_v_mean(call->kv, call->layer, rows->tile.kv_head, p);

		for (size_t d = 0; d < dim; d++)
			sum[d] += DS_KV_PAGE * (double)mean[d];
	}
}

static void do_rows(const struct rows *rows)
{
	const struct ds_attn *attn = rows->attn;
	struct ds_follow_desk *d = rows->desk;
	size_t n_token = rows->n_block * DS_ATTN8_BLOCK, n_left[DS_FOLLOW_ROWS];
	uint64_t seen = 0;

	score_rows(rows);
	if (attn->policy.kind == DS_ATTN_VSA)
		sum_values(rows);
	for (size_t r = 0; r < rows->tile.rows; r++) {
		size_t kept = choose(rows, r);
		struct ds_block_list list = list_of(rows);

		attend(rows, r, &list);
		n_left[r] = n_token - kept;
		if (attn->policy.kind == DS_ATTN_VSA && n_left[r])
			mean_left(rows, n_left[r], d->left + r * attn->shape.dim_v);
		seen += kept;
	}
	if (attn->policy.kind == DS_ATTN_VSA)
		correct(rows, n_left);
	ds_follow_count(attn, seen, 0);
}

void ds_follow_rows(const struct ds_attn *attn, const struct ds_attn_tile *t, unsigned thread)
{
	struct ds_attn_scratch *s = &attn->scratch[thread];
	size_t pos = t->call->pos + t->query, page = pos / DS_KV_PAGE;
	const struct ds_attn_parts *own = page ? &s->part : &s->total;
	uint64_t seen = 0;

	ds_attn_begin(attn, t->rows, own);
	ds_attn_page(attn, t, s, page, own);
	for (size_t i = 0; i < t->rows && page; i += DS_FOLLOW_ROWS) {
		struct rows rows = {.attn = attn,
				    .tile = *t,
				    .q = s->q + i * attn->shape.dim_k,
				    .first = i,
				    .n_block = page * PAGE_BLOCKS,
				    .desk = &attn->follow->desk[thread],
				    .thread = thread};

		rows.tile.rows = ds_attn_smaller(t->rows - i, DS_FOLLOW_ROWS);
		do_rows(&rows);
	}
	if (page)
		ds_attn_join(attn, t, &s->total, own);
	ds_attn_finish(attn, t, &s->total);
	for (size_t i = 0; i < t->n; i++)
		seen += (pos + i + 1 - page * DS_KV_PAGE) * t->n_head;
	ds_follow_count(attn, seen, 0);
}
