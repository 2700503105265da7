/*
 * follow.c - policies at work: their memory, what they keep of a sequence, pairs counted
 */
#include "attn/follow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "attn/audit_rows.h"
#include "attn/decode.h"
#include "attn/mass.h"

#define KEY_SINKS 4
#define PAGE_BLOCKS (DS_KV_PAGE / DS_ATTN8_BLOCK)

static bool by_row(enum ds_attn_kind kind)
{
	return kind == DS_ATTN_TOPK || kind == DS_ATTN_VSA || kind == DS_ATTN_LSH;
}

static bool by_mass(enum ds_attn_kind kind)
{
	return kind == DS_ATTN_MASS || kind == DS_ATTN_AUTO;
}

static bool by_keys(enum ds_attn_kind kind)
{
	return kind == DS_ATTN_KEYS || kind == DS_ATTN_HYBRID || kind == DS_ATTN_HYBRID_SUM;
}

bool ds_attn_policy_reads(const struct ds_attn_policy *policy)
{
	return by_keys(policy->kind);
}

bool ds_attn_policy_answers(const struct ds_attn_policy *policy)
{
	return by_mass(policy->kind) || policy->kind == DS_ATTN_ANSWER;
}

bool ds_follow_by_row(const struct ds_attn *attn)
{
	return by_row(attn->policy.kind);
}

/* Not in the last layer: there queries are made of the wanted tokens only. */
bool ds_follow_by_mass(const struct ds_attn *attn, const struct ds_attn_tile *t)
{
	size_t page = (t->call->pos + t->query) / DS_KV_PAGE;

	if (t->call->question || t->call->answer)
		return false;
	return attn->follow->mass && t->call->layer + 1 < attn->shape.n_layer &&
	       page && (page + 1) * DS_KV_PAGE > attn->policy.break_even;
}

bool ds_follow_by_token(const struct ds_attn *attn, const struct ds_attn_call *call)
{
	return attn->follow && attn->follow->decode && call->answer && !call->window;
}

bool ds_follow_dense(const struct ds_attn *attn, const struct ds_attn_call *call)
{
	if (!attn->follow || call->window)
		return true;
	if (ds_follow_by_token(attn, call))
		return !ds_decode_wants(attn, call);
	return attn->policy.kind == DS_ATTN_ANSWER;
}

void ds_follow_free(struct ds_attn_follower *follow)
{
	if (follow)
		ds_attn_lsh_free(follow->lsh);
}

size_t ds_follow_bytes(const struct ds_attn_follower *follow)
{
	return follow && follow->lsh ? ds_attn_lsh_bytes(follow->lsh) : 0;
}

static size_t blocks_of(const struct ds_attn *attn)
{
	return ((size_t)attn->shape.n_context / DS_KV_PAGE + 1) * PAGE_BLOCKS;
}

static bool new_choice(struct ds_attn *attn, struct ds_attn_choice *c)
{
	size_t n = blocks_of(attn);

	*c = (struct ds_attn_choice){
		.all_block = ds_rounded_blocks(attn),
		.far_block = ds_arena_alloc(&attn->mem, n, sizeof *c->far_block),
		.far_tokens = ds_arena_alloc(&attn->mem, n, sizeof *c->far_tokens),
		.near_tokens = ds_arena_alloc(&attn->mem, n, sizeof *c->near_tokens)};
	return c->far_block && c->far_tokens && c->near_tokens;
}

static bool new_row_memory(struct ds_attn *attn, struct ds_follow_desk *d)
{
	size_t n = blocks_of(attn), rows = n * DS_ATTN8_BLOCK * DS_FOLLOW_ROWS;
	size_t dim_k = attn->shape.dim_k, dim_v = attn->shape.dim_v;

	d->score = ds_kern_floats(&attn->mem, rows);
	if (attn->policy.kind == DS_ATTN_VSA) {
		d->coarse = ds_kern_floats(&attn->mem, rows);
		d->mass = ds_kern_floats(&attn->mem, n * DS_FOLLOW_ROWS);
		d->sum = ds_arena_alloc(&attn->mem, dim_v, 2 * sizeof *d->sum);
		d->left = ds_kern_floats(&attn->mem, DS_FOLLOW_ROWS * dim_v);
		if (!d->coarse || !d->mass || !d->sum || !d->left)
			return false;
	}
	d->work = ds_arena_alloc(&attn->mem, n, DS_ATTN8_BLOCK * sizeof *d->work);
	d->tokens = ds_arena_alloc(&attn->mem, n, sizeof *d->tokens);
	d->vector = ds_kern_floats(&attn->mem, 2 * dim_k);
	return d->score && d->work && d->tokens && d->vector;
}

static bool new_memory(struct ds_attn *attn, struct ds_attn_follower *f)
{
	unsigned threads = ds_pool_threads(attn->pool);

	f->desk = ds_arena_alloc(&attn->mem, threads, sizeof *f->desk);
	f->keys.tokens = ds_arena_alloc(&attn->mem, blocks_of(attn), sizeof *f->keys.tokens);
	if (!f->desk || !f->keys.tokens)
		return false;
	for (unsigned i = 0; i < threads; i++)
		if (!new_choice(attn, &f->desk[i].choice) ||
		    (by_row(attn->policy.kind) && !new_row_memory(attn, &f->desk[i])))
			return false;
	return true;
}

/* Of every 512 tokens. */
static unsigned key_tokens(const struct ds_attn_policy *policy)
{
	double n = policy->kind == DS_ATTN_KEYS ? policy->param[1]
						: policy->param[1] * DS_ATTN_KEY_TOKENS;

	return (unsigned)(n + 0.5);
}

enum ds_status ds_attn_follow(struct ds_attn *attn, const struct ds_attn_policy *policy,
			      struct ds_err *err)
{
	enum ds_attn_kind kind = policy->kind;
	const unsigned rounds_bits[2] = {(unsigned)policy->param[0], (unsigned)policy->param[1]};
	struct ds_attn_follower *f;

	assert(!attn->follow && (kind == DS_ATTN_EXACT) == !attn->shape.recent);
	attn->policy = *policy;
	if (kind == DS_ATTN_DENSE || kind == DS_ATTN_EXACT)
		return DS_OK;
	if (!ds_attn_policy_answers(policy))
		DS_TRY(ds_audit_rows_new(&attn->audit, attn, err));
	if (kind == DS_ATTN_WINDOW)
		return DS_OK;
	f = ds_arena_alloc(&attn->mem, 1, sizeof *f);
	if (!f)
		return ds_fail_nomem(err, sizeof *f);
	*f = (struct ds_attn_follower){
		.keys = {.n_key = key_tokens(policy),
			 .sinks = kind == DS_ATTN_HYBRID_SUM ? 0 : KEY_SINKS}};
	if (!new_memory(attn, f))
		return ds_fail_nomem(err, ds_attn_bytes(attn));
	if (kind == DS_ATTN_LSH)
		DS_TRY(ds_attn_lsh_new(&f->lsh, attn->kern, &attn->shape, rounds_bits, err));
	if (by_mass(kind))
		DS_TRY(ds_attn_mass_new(&f->mass, attn, policy, err));
	if (ds_attn_policy_answers(policy))
		DS_TRY(ds_decode_new(&f->decode, attn, policy, err));
	attn->follow = f;
	return DS_OK;
}

size_t ds_attn_truncate(struct ds_attn *attn, size_t n)
{
	struct ds_attn_follower *f = attn->follow;

	if (!f)
		return n;
	ds_attn_keys_forget(&f->keys, n);
	for (uint32_t l = 0; f->lsh && l < attn->shape.n_layer; l++)
		if (f->lsh->n_page[l] > n / DS_KV_PAGE)
			f->lsh->n_page[l] = n / DS_KV_PAGE;
	if (f->decode)
		ds_decode_forget(f->decode, n);
	return f->mass ? n / DS_KV_PAGE * DS_KV_PAGE : n;
}

/* A page of a KV head that is not hashed yet. */
static void hash_page(void *arg, size_t index, unsigned thread)
{
	const struct ds_attn *attn = arg;
	const struct ds_attn_lsh *lsh = attn->follow->lsh;
	const struct ds_attn_call *call = attn->call;
	uint32_t n_head = attn->shape.n_head;

	ds_attn_lsh_page(lsh, call->kv, call->layer, (uint32_t)(index % n_head),
			 lsh->n_page[call->layer] + index / n_head,
			 attn->follow->desk[thread].vector);
}

/* Pairs of a call that sees all of its window. */
static uint64_t pairs_of(const struct ds_attn_call *call, uint32_t window)
{
	uint64_t n = 0;

	for (size_t pos = call->pos; pos < call->pos + call->n; pos++)
		n += pos + 1 - ds_attn_first_of(window, pos);
	return n * call->n_head;
}

void ds_follow_count(const struct ds_attn *attn, uint64_t seen, uint64_t causal)
{
	atomic_fetch_add_explicit(&attn->pairs->seen, seen, memory_order_relaxed);
	atomic_fetch_add_explicit(&attn->pairs->causal, causal, memory_order_relaxed);
}

void ds_attn_pairs(const struct ds_attn *attn, uint64_t *seen_ret, uint64_t *causal_ret)
{
	*seen_ret = atomic_load(&attn->pairs->seen);
	*causal_ret = atomic_load(&attn->pairs->causal);
}

void ds_attn_audit(const struct ds_attn *attn, struct ds_attn_audit *audit)
{
	if (attn->audit)
		ds_audit_rows_add(attn->audit, audit);
	if (attn->follow && attn->follow->mass)
		ds_mass_audit(attn->follow->mass, audit);
	if (attn->follow && attn->follow->decode)
		ds_decode_audit(attn->follow->decode, audit);
}

const struct ds_attn_call *ds_follow_call(struct ds_attn *attn, const struct ds_attn_call *call)
{
	struct ds_attn_follower *f = attn->follow;
	uint32_t window = call->window;
	size_t pages = (call->pos + call->n - 1) / DS_KV_PAGE;

	if (attn->policy.kind == DS_ATTN_WINDOW &&
	    (!window || window > (uint32_t)attn->policy.param[0])) {
		window = (uint32_t)attn->policy.param[0];
		attn->own_call = *call;
		attn->own_call.window = window;
		call = &attn->own_call;
	}
	if (ds_follow_dense(attn, call)) {
		ds_follow_count(attn, pairs_of(call, window), pairs_of(call, 0));
		return call;
	}
	ds_follow_count(attn, 0, pairs_of(call, 0));
	attn->call = call;
	if (f->mass && !call->answer && !call->question)
		ds_mass_call(attn);
	if (by_keys(attn->policy.kind)) {
		assert(call->boundaries);
		f->keys.boundaries = call->boundaries;
		ds_attn_keys_note(&f->keys, call->pos + call->n);
	}
	if (f->lsh && pages > f->lsh->n_page[call->layer]) {
		size_t *n_page = &f->lsh->n_page[call->layer];

		ds_pool_run(attn->pool, (pages - *n_page) * attn->shape.n_head, hash_page, attn);
		*n_page = pages;
	}
	return call;
}

uint16_t ds_list_tokens(const struct ds_block_list *list, size_t i, size_t first)
{
	size_t begin = (size_t)list->block[i] * DS_ATTN8_BLOCK;
	unsigned tokens = list->tokens ? list->tokens[i] : UINT16_MAX;

	if (begin + DS_ATTN8_BLOCK <= first)
		return 0;
	return (uint16_t)(begin < first ? tokens & ~0u << (first - begin) : tokens);
}

static uint64_t list_tokens(const struct ds_block_list *list, size_t first)
{
	uint64_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += (unsigned)__builtin_popcount(ds_list_tokens(list, i, first));
	return n;
}

/* Pairs of a tile: a token in both lists counts twice. */
static uint64_t tile_pairs(const struct ds_attn_choice *c, const struct ds_attn_tile *t)
{
	size_t pos = t->call->pos + t->query, begin = pos / DS_KV_PAGE * DS_KV_PAGE;
	uint64_t far = list_tokens(&c->far, 0), n = 0;

	for (size_t end = pos + t->n; pos < end; pos++)
		n += far + list_tokens(&c->near, ds_attn_first_of(c->window, pos)) + pos + 1 -
		     begin;
	return n * t->n_head;
}

const struct ds_attn_choice *ds_follow_choice(const struct ds_attn *attn,
					      const struct ds_attn_tile *t, unsigned thread)
{
	struct ds_attn_follower *f = attn->follow;
	struct ds_attn_choice *c = &f->desk[thread].choice;
	const double *param = attn->policy.param;
	size_t page = (t->call->pos + t->query) / DS_KV_PAGE;

	if (f->mass || (page + 1) * DS_KV_PAGE <= attn->policy.break_even)
		ds_attn_choose_all(c, page);
	else if (attn->policy.kind == DS_ATTN_STREAM)
		ds_attn_choose_stream(c, page, (size_t)param[0], (uint32_t)param[1]);
	else if (attn->policy.kind == DS_ATTN_HYBRID_SUM)
		ds_attn_choose_keys_apart(c, page, &f->keys, (uint32_t)param[0]);
	else
		ds_attn_choose_keys(c, page, &f->keys, (uint32_t)param[0]);
	return c;
}

const struct ds_attn_choice *ds_follow_choose(const struct ds_attn *attn,
					      const struct ds_attn_tile *t, unsigned thread)
{
	const struct ds_attn_choice *c = ds_follow_choice(attn, t, thread);

	ds_follow_count(attn, tile_pairs(c, t), 0);
	return c;
}
