/* lm_session.c - sessions: the memory of one sequence, and reading tokens in passes */
#include <stdlib.h>
#include <string.h>

#include "model/lm_carry.h"
#include "model/lm_net.h"

#define BATCH_DEFAULT 512
#define BATCH_MAX 4096
/* Scratch memory at most: networks far wider than theirs get a smaller batch. */
#define SCRATCH_BYTES_MAX ((uint64_t)1 << 30)

/* Floats of a token, and where the session has them. */
struct buffer {
	float **at;
	uint64_t width;
};
#define N_BUFFER 10

static void list_buffers(struct ds_session *s, struct buffer list[N_BUFFER])
{
	const struct ds_lm_config *c = &s->lm->config;
	const struct buffer all[N_BUFFER] = {
		{&s->x, c->n_embd},
		{&s->q, c->n_head * c->dim_k},
		{&s->k, c->n_head_kv * c->dim_k},
		{&s->v, c->n_head_kv * c->dim_v},
		{&s->gate, c->n_ff},
		{&s->up, c->n_ff},
		{&s->branch, c->n_embd},
		{&s->state, c->n_embd},
		{&s->rope[DS_LM_ROPE], 2 * (uint64_t)s->lm->rope[DS_LM_ROPE].dims},
		{&s->rope[DS_LM_ROPE_WINDOW], 2 * (uint64_t)s->lm->rope[DS_LM_ROPE_WINDOW].dims}};

	memcpy(list, all, sizeof all);
}

static enum ds_status new_buffers(struct ds_session *s, struct ds_err *err)
{
	struct buffer list[N_BUFFER];

	list_buffers(s, list);
	for (size_t i = 0; i < N_BUFFER; i++) {
		if (!list[i].width)
			continue;
		*list[i].at = ds_kern_floats(&s->mem, s->batch * list[i].width);
		if (!*list[i].at)
			return ds_fail_nomem(err, s->batch * list[i].width * sizeof(float));
	}
	return DS_OK;
}

static uint64_t token_bytes(struct ds_session *s)
{
	struct buffer list[N_BUFFER];
	uint64_t n = 0;

	list_buffers(s, list);
	for (size_t i = 0; i < N_BUFFER; i++)
		n += list[i].width;
	return n * sizeof(float);
}

/* Inputs of the widest linear map. */
static uint64_t widest(const struct ds_lm_config *c)
{
	const uint64_t width[] = {c->n_embd,
				  c->n_ff,
				  c->n_head * (c->mla.kv_lora ? c->mla.value : c->dim_v),
				  c->mla.q_lora,
				  c->mla.kv_lora,
				  c->mla.nope,
				  c->moe.n_ff,
				  c->moe.n_ff_shared};
	uint64_t most = 0;

	for (size_t i = 0; i < sizeof width / sizeof *width; i++)
		if (width[i] > most)
			most = width[i];
	return most;
}

static const struct ds_lm_arch *arch_of(const struct ds_session *s)
{
	return (const struct ds_lm_arch *)s->model->arch;
}

/* Memory besides keys, values and the floats of s->mem. */
static uint64_t other_bytes(const struct ds_session *s, size_t batch)
{
	const struct ds_lm_config *c = &s->lm->config;

	return ds_act_bytes(batch, widest(c)) +
	       ds_lora_scratch_bytes(s->model->lora, s->model->n_lora, batch) +
	       (arch_of(s)->extra_bytes ? arch_of(s)->extra_bytes(c, batch) : 0);
}

static enum ds_status set_sizes(struct ds_session *s, const struct ds_session_options *o,
				struct ds_err *err)
{
	uint64_t bytes = token_bytes(s) + other_bytes(s, 1);

	s->context = o->context ? o->context : s->model->context;
	if (s->context > s->model->context)
		return ds_fail_at(err, DS_ELIMIT, s->model->path, DS_NO_OFFSET,
				  "a context of %zu tokens, the model takes %u at most", s->context,
				  s->model->context);
	if (o->carry)
		DS_TRY(ds_lm_carry_context(s, o->carry, err));
	s->batch = o->batch ? o->batch : BATCH_DEFAULT;
	if (s->batch > BATCH_MAX)
		return ds_fail(err, DS_EINVAL, "a batch of %zu tokens, at most %d expected",
			       s->batch, BATCH_MAX);
	if (s->batch > s->context)
		s->batch = s->context;
	while (s->batch > 1 && s->batch * bytes > SCRATCH_BYTES_MAX)
		s->batch /= 2;
	return DS_OK;
}

/* The shape of the session's pages. */
static struct ds_kv_shape shape_of(const struct ds_session *s, const struct ds_session_options *o,
				   uint32_t n_layer)
{
	const struct ds_lm_config *c = &s->lm->config;
	bool exact = c->mla.kv_lora || (o->attn && o->attn->kind == DS_ATTN_EXACT);

	return (struct ds_kv_shape){
		.n_layer = n_layer,
		.n_head = (uint32_t)c->n_head_kv,
		.dim_k = (uint32_t)c->dim_k,
		.dim_v = (uint32_t)c->dim_v,
		.n_context = (uint32_t)s->context,
		/* all that a pass may touch, and one more for short ways back */
		.recent = exact ? 0 : (uint32_t)(s->batch / DS_KV_PAGE + 2)};
}

static enum ds_status init(struct ds_session *s, const struct ds_session_options *options,
			   struct ds_err *err)
{
	const struct ds_lm_config *c = &s->lm->config;
	struct ds_kv_shape shape;
	uint32_t n_layer;
	size_t rank;

	DS_TRY(set_sizes(s, options, err));
	DS_TRY(ds_lm_skip_init(s, options, &n_layer, err));
	DS_TRY(ds_lm_attn_check(s, options, err));
	shape = shape_of(s, options, n_layer);
	DS_TRY(new_buffers(s, err));
	s->id = ds_arena_alloc(&s->mem, s->context, sizeof *s->id);
	if (!s->id)
		return ds_fail_nomem(err, s->context * sizeof *s->id);
	DS_TRY(ds_act_new(&s->act, s->batch, widest(c), err));
	DS_TRY(ds_kv_new(&s->kv, &shape, err));
	DS_TRY(ds_lm_attn_new(s, options, &shape, err));
	rank = ds_lora_rank_max(s->model->lora, s->model->n_lora);
	DS_TRY(ds_linear_new(&s->linear, s->kern, s->pool, widest(c) > rank ? widest(c) : rank,
			     err));
	if (s->carry)
		DS_TRY(ds_lm_carry_init(s, err));
	DS_TRY(ds_lora_scratch_init(&s->lora, s->model->lora, s->model->n_lora, s->batch, err));
	s->bytes = sizeof *s + s->mem.used_bytes + other_bytes(s, s->batch) +
		   ds_kv_bytes(&shape, s->context) + ds_lm_attn_bytes(s) +
		   ds_linear_bytes(s->linear);
	if (arch_of(s)->extra_new)
		DS_TRY(arch_of(s)->extra_new(s, err));
	return DS_OK;
}

enum ds_status ds_session_new(struct ds_session **session_ret, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_session_options *options,
			      struct ds_err *err)
{
	struct ds_session *s;
	enum ds_status st;

	if (!ds_model_is_lm(model))
		return ds_fail_at(err, DS_EINVAL, model->path, DS_NO_OFFSET,
				  "architecture %s is no language model", model->arch->name);
	s = ds_alloc_zero(1, sizeof *s);
	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	s->model = model;
	s->n_before = s->n_prompt = SIZE_MAX;
	s->lm = model->net;
	s->kern = model->kern;
	s->pool = pool;
	ds_arena_init(&s->mem);
	st = init(s, options, err);
	if (st != DS_OK) {
		ds_session_free(s);
		return st;
	}
	*session_ret = s;
	return DS_OK;
}

void ds_session_free(struct ds_session *s)
{
	if (!s)
		return;
	if (arch_of(s)->extra_free)
		arch_of(s)->extra_free(s);
	ds_lora_scratch_fini(&s->lora);
	ds_linear_free(s->linear);
	ds_lm_attn_free(s);
	free(s->boundary_of);
	ds_kv_free(s->kv);
	ds_act_free(s->act);
	ds_arena_fini(&s->mem);
	free(s);
}

size_t ds_session_tokens(const struct ds_session *s)
{
	return s->n + (s->carry ? s->carry->forgotten : 0);
}

size_t ds_session_context(const struct ds_session *s)
{
	return s->context;
}

bool ds_session_carries(const struct ds_session *s)
{
	return s->carry;
}

size_t ds_session_rolls(const struct ds_session *s)
{
	return s->carry ? s->carry->rolls : 0;
}

size_t ds_session_batch(const struct ds_session *s)
{
	return s->batch;
}

uint64_t ds_session_bytes(const struct ds_session *s)
{
	return s->bytes;
}

enum ds_status ds_lm_not_finite(struct ds_session *s, struct ds_err *err)
{
	atomic_store(&s->bad, false);
	return ds_fail_at(err, DS_EFORMAT, s->model->path, DS_NO_OFFSET,
			  "the network's values are not finite: "
			  "the model's weights are out of range or not numbers");
}

static enum ds_status check_read(const struct ds_session *s, const uint32_t *id, size_t n,
				 size_t n_want, struct ds_err *err)
{
	if (!s->carry && n > s->context - s->n)
		return ds_fail(err, DS_ELIMIT,
			       "%zu tokens after %zu exceed the context of %zu tokens", n, s->n,
			       s->context);
	if (n_want > n || n_want > s->batch)
		return ds_fail(err, DS_EINVAL, "states of %zu tokens, at most %zu expected", n_want,
			       n < s->batch ? n : s->batch);
	for (size_t i = 0; i < n; i++)
		if (id[i] >= s->lm->n_vocab)
			return ds_fail(err, DS_EINVAL, "token id %u, the vocabulary has %u tokens",
				       id[i], s->lm->n_vocab);
	return DS_OK;
}

/* What is kept of tokens from n on. */
static void forget(struct ds_session *s, size_t n)
{
	s->n_kept = ds_kv_truncate(s->kv, ds_lm_attn_truncate(s, n));
}

/* States that are wanted: of the tokens left from the first-th on; so many are there. */
struct want {
	size_t skip, n;
};

/* A pass from the tokens kept up to token next. */
static enum ds_status read_pass(struct ds_session *s, size_t next, struct want *want,
				struct ds_err *err)
{
	struct ds_lm_pass pass = {.pos = s->n_kept, .n = next - s->n_kept};

	pass.n_out = pass.n > want->skip ? pass.n - want->skip : 0;
	DS_TRY(ds_kv_reserve(s->kv, next, err));
	ds_lm_forward(s, s->id + s->n_kept, &pass, s->state + want->n * s->lm->config.n_embd);
	if (atomic_load(&s->bad))
		return ds_lm_not_finite(s, err);
	s->n_kept = next;
	want->skip -= pass.n - pass.n_out;
	want->n += pass.n_out;
	return DS_OK;
}

void ds_lm_append(struct ds_session *s, const uint32_t *id, size_t n)
{
	memcpy(s->id + s->n, id, n * sizeof *id);
	for (size_t i = 0; s->boundaries && i < n; i++)
		s->boundaries[s->n + i] = s->boundary_of[id[i]];
	s->n += n;
}

/* Up to the end of the context. */
static enum ds_status read_some(struct ds_session *s, const uint32_t *id, size_t n,
				struct want *want, struct ds_err *err)
{
	ds_lm_append(s, id, n);
	while (s->n_kept < s->n) {
		const size_t begin[] = {ds_lm_question(s), ds_lm_answer(s)};
		size_t left = s->n - s->n_kept;

		for (int i = 0; i < 2; i++)
			if (s->n_kept < begin[i] && begin[i] < s->n_kept + left)
				left = begin[i] - s->n_kept;
		DS_TRY(read_pass(s, s->n_kept + (left < s->batch ? left : s->batch), want, err));
	}
	return DS_OK;
}

/* What a failure leaves: the tokens that were there before, or none when some are forgotten. */
static enum ds_status read_back(struct ds_session *s, size_t tokens, enum ds_status st)
{
	if (st != DS_OK) {
		forget(s, s->n_kept);
		ds_session_truncate(s, tokens);
	}
	return st;
}

enum ds_status ds_session_read(struct ds_session *s, const uint32_t *id, size_t n, size_t n_want,
			       struct ds_err *err)
{
	size_t start = ds_session_tokens(s);
	struct want want = {.skip = s->n - s->n_kept + n - n_want};

	DS_TRY(check_read(s, id, n, n_want, err));
	s->n_want = 0;
	while (n) {
		size_t some;

		if (s->n == s->context)
			ds_lm_carry_roll(s);
		some = n < s->context - s->n ? n : s->context - s->n;
		DS_TRY(read_back(s, start, read_some(s, id, some, &want, err)));
		id += some;
		n -= some;
	}
	s->n_want = n_want;
	return DS_OK;
}

const float *ds_session_state(const struct ds_session *s, size_t i)
{
	return i < s->n_want ? s->state + i * s->lm->config.n_embd : NULL;
}

enum ds_status ds_session_head(struct ds_session *s, const float *state, size_t n, float *out,
			       struct ds_err *err)
{
	if (n > s->batch)
		return ds_fail(err, DS_EINVAL, "logits of %zu states, at most %zu expected", n,
			       s->batch);
	if (n == 0)
		return DS_OK;
	ds_lm_head(s, state, n, out);
	return atomic_load(&s->bad) ? ds_lm_not_finite(s, err) : DS_OK;
}

enum ds_status ds_session_logits(struct ds_session *s, size_t first, size_t n, float *out,
				 struct ds_err *err)
{
	if (first > s->n_want || n > s->n_want - first)
		return ds_fail(err, DS_EINVAL, "logits of tokens %zu..%zu, of %zu wanted ones",
			       first, first + n, s->n_want);
	return ds_session_head(s, s->state + first * s->lm->config.n_embd, n, out, err);
}

void ds_session_answer(struct ds_session *s)
{
	if (s->chooses && s->n_prompt == SIZE_MAX)
		s->n_prompt = ds_session_tokens(s);
}

bool ds_session_chooses(const struct ds_session *s)
{
	return s->chooses;
}

void ds_session_question(struct ds_session *s, size_t n)
{
	if (s->chooses)
		s->n_before = n;
}

size_t ds_session_prompt(const struct ds_session *s, size_t question)
{
	size_t n = ds_session_tokens(s);

	if (!s->chooses)
		return n;
	n = n < s->n_prompt ? n : s->n_prompt;
	if (s->n_before == question)
		return n;
	n = n < s->n_before ? n : s->n_before;
	return n < question ? n : question;
}

/* Where a token lies now. */
static size_t place_of(const struct ds_session *s, size_t token)
{
	size_t forgotten = s->carry ? s->carry->forgotten : 0;

	if (token == SIZE_MAX)
		return SIZE_MAX;
	return token > forgotten ? token - forgotten : 0;
}

size_t ds_lm_question(const struct ds_session *s)
{
	return place_of(s, s->n_before);
}

size_t ds_lm_answer(const struct ds_session *s)
{
	return place_of(s, s->n_prompt);
}

size_t ds_session_truncate(struct ds_session *s, size_t n)
{
	struct ds_lm_carry *c = s->carry;

	if (n <= s->n_prompt)
		s->n_prompt = SIZE_MAX;
	if (n <= s->n_before)
		s->n_before = SIZE_MAX;
	if (c && c->forgotten && n < ds_session_tokens(s)) {
		n = n < c->forgotten + c->begin ? 0 : n - c->forgotten;
		if (n == 0)
			c->forgotten = c->begin = 0;
	}
	if (n < s->n)
		s->n = n;
	if (n < s->n_kept)
		forget(s, n);
	return ds_session_tokens(s);
}
