/*
 * test_model_lm.c - language models: the same bytes for every split, thread count and instruction
 * set; sessions; refusals; failing memory
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/lm.h"

#define N_TOKEN 530 /* more than a batch of 512 */
#define N_LOGIT 9   /* tokens whose logits are compared; of the others the states are */

static const char *const models[] = {"llama-f32",	   "llama-mix",	      "llama-k",
				     "qwen2-mix",	   "gemma3-f32",      "gemma3-mix",
				     "deepseek2-lite-old", "deepseek2-v3-mix"};
#define N_MODEL (int)(sizeof models / sizeof *models)
static const char *const levels[] = {"ref", "avx2", "avx512", "vnni"};

static char folder[] = "/tmp/test_model_lm.XXXXXX";
static uint32_t ids[N_TOKEN];

static int make_models(void)
{
	char command[400];
	size_t n = (size_t)snprintf(command, sizeof command, "scripts/gen-model --lm %s bad",
				    mkdtemp(folder));

	for (int i = 0; i < N_MODEL; i++)
		n += (size_t)snprintf(command + n, sizeof command - n, " %s", models[i]);
	for (uint32_t i = 0, x = 1; i < N_TOKEN; i++, x = x * 1664525 + 1013904223)
		ids[i] = (x >> 16) % 300;
	return system(command);
}

static int remove_models(void)
{
	char command[100];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static enum ds_status try_open(struct ds_model **model, const char *name, struct ds_err *err)
{
	char path[100];

	snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
	return ds_model_open(model, path, err);
}

static struct ds_model *open_model(const char *name)
{
	struct ds_model *model;
	struct ds_err err;

	ck_assert_msg(try_open(&model, name, &err) == DS_OK, "%s: %s", name, err.message);
	return model;
}

static struct ds_session *new_session(const struct ds_model *model, struct ds_pool *pool,
				      uint32_t context, uint32_t batch)
{
	struct ds_session_options options = {.context = context, .batch = batch};
	struct ds_session *s;
	struct ds_err err;

	ck_assert_msg(ds_session_new(&s, model, pool, &options, &err) == DS_OK, "%s", err.message);
	return s;
}

static void read_ids(struct ds_session *s, const uint32_t *id, size_t n, size_t want)
{
	struct ds_err err;

	ck_assert_msg(ds_session_read(s, id, n, want, &err) == DS_OK, "%s", err.message);
}

static void get_logits(struct ds_session *s, size_t first, size_t n, float *out)
{
	struct ds_err err;

	ck_assert_int_eq(ds_session_logits(s, first, n, out, &err), DS_OK);
}

/* What a model says of the ids: states of all tokens, logits of the last. */
struct result {
	float *states, *logits;
	size_t n_state, n_logit; /* bytes */
};

static struct result new_result(const struct ds_model *model)
{
	struct result r = {.n_state = N_TOKEN * ds_model_dims(model) * sizeof(float),
			   .n_logit = N_LOGIT * ds_model_vocab(model) * sizeof(float)};

	r.states = calloc(1, r.n_state);
	r.logits = calloc(1, r.n_logit);
	ck_assert(r.states && r.logits);
	return r;
}

static void free_result(struct result *r)
{
	free(r->states);
	free(r->logits);
}

/* Read in calls of split tokens, every state wanted; the logits of the last ones together, or one
 * by one as they come. */
static struct result run(const struct ds_model *model, unsigned threads, uint32_t split)
{
	struct result r = new_result(model);
	size_t dims = ds_model_dims(model), vocab = ds_model_vocab(model);
	struct ds_pool *pool = NULL;
	struct ds_session *s;
	struct ds_err err;

	if (threads)
		ck_assert_int_eq(ds_pool_new(&pool, threads, &err), DS_OK);
	s = new_session(model, pool, N_TOKEN, split);
	for (size_t at = 0; at < N_TOKEN; at += split) {
		size_t n = N_TOKEN - at < split ? N_TOKEN - at : split;

		read_ids(s, ids + at, n, n);
		for (size_t i = 0; i < n; i++) {
			size_t token = at + i;

			memcpy(r.states + token * dims, ds_session_state(s, i),
			       dims * sizeof(float));
			if (token >= N_TOKEN - N_LOGIT && split != 512)
				get_logits(s, i, 1,
					   r.logits + (token - (N_TOKEN - N_LOGIT)) * vocab);
		}
		if (split == 512 && at)
			get_logits(s, n - N_LOGIT, N_LOGIT, r.logits);
	}
	ck_assert_uint_eq(ds_session_tokens(s), N_TOKEN);
	ds_session_free(s);
	ds_pool_free(pool);
	return r;
}

START_TEST(test_same_bytes)
{
	static const struct {
		unsigned threads;
		uint32_t split;
	} ways[] = {{0, 512}, {1, 1}, {2, 7}, {3, 64}, {2, 512}};
	struct result want = {0};

	for (size_t level = 0; level < sizeof levels / sizeof *levels; level++) {
		struct ds_model *model;

		setenv("DS_CPU", levels[level], 1);
		model = open_model(models[_i]);
		/* plain C is slow */
		for (size_t i = 0; i < (level ? sizeof ways / sizeof *ways : 1); i++) {
			struct result r = run(model, ways[i].threads, ways[i].split);

			if (!want.states) {
				want = r;
				continue;
			}
			ck_assert_msg(memcmp(r.states, want.states, want.n_state) == 0,
				      "states: %s, %u threads, %u tokens a call", levels[level],
				      ways[i].threads, ways[i].split);
			ck_assert_msg(memcmp(r.logits, want.logits, want.n_logit) == 0,
				      "logits: %s, %u threads, %u tokens a call", levels[level],
				      ways[i].threads, ways[i].split);
			free_result(&r);
		}
		ds_model_close(model);
	}
	free_result(&want);
}
END_TEST

/* Only the last tokens are wanted, across the border of two passes; one pass wants none. */
START_TEST(test_wanted)
{
	struct ds_model *model = open_model(models[_i]);
	struct result all = run(model, 0, 64);
	size_t dims = ds_model_dims(model);
	static const struct {
		uint32_t batch;
		size_t want;
	} ways[] = {{512, 1}, {512, 30}, {512, 512}, {100, 100}, {100, 31}, {100, 0}, {1, 1}};

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct ds_session *s = new_session(model, NULL, 0, ways[i].batch);

		read_ids(s, ids, N_TOKEN, ways[i].want);
		for (size_t j = 0; j < ways[i].want; j++)
			ck_assert_mem_eq(ds_session_state(s, j),
					 all.states + (N_TOKEN - ways[i].want + j) * dims,
					 dims * sizeof(float));
		ck_assert_ptr_null(ds_session_state(s, ways[i].want));
		ds_session_free(s);
	}
	free_result(&all);
	ds_model_close(model);
}
END_TEST

/* What was forgotten leaves no trace. */
START_TEST(test_truncate)
{
	struct ds_model *model = open_model(models[_i]);
	size_t bytes = ds_model_dims(model) * sizeof(float);
	struct ds_session *a = new_session(model, NULL, 0, 0), *b = new_session(model, NULL, 0, 0);
	static const size_t keep[] = {130, 128, 100, 64, 1, 0};

	read_ids(a, ids, 200, 0);
	for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
		ds_session_truncate(a, keep[i]);
		ck_assert_uint_eq(ds_session_tokens(a), keep[i]);
		read_ids(a, ids + 300, 70, 1);
		ds_session_truncate(b, 0);
		read_ids(b, ids, keep[i], 0);
		read_ids(b, ids + 300, 70, 1);
		ck_assert_mem_eq(ds_session_state(a, 0), ds_session_state(b, 0), bytes);
		ds_session_truncate(a, keep[i]);
	}
	ds_session_free(a);
	ds_session_free(b);
	ds_model_close(model);
}
END_TEST

/* Pages whose halves are gone are read again: with a batch of 64, there are three with halves. */
START_TEST(test_truncate_far)
{
	static const size_t keep[] = {500, 450, 449, 300, 129, 64, 10, 520};
	struct ds_model *model = open_model(models[_i]);
	size_t bytes = ds_model_dims(model) * sizeof(float);
	struct ds_session *a = new_session(model, NULL, 0, 64),
			  *b = new_session(model, NULL, 0, 64);

	for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
		size_t n = ds_session_tokens(a);

		read_ids(a, ids + n, N_TOKEN - n, 0);
		ds_session_truncate(a, keep[i] + 3);
		ds_session_truncate(a, keep[i]);
		ck_assert_uint_eq(ds_session_tokens(a), keep[i]);
		ds_session_truncate(b, 0);
		read_ids(b, ids, keep[i], 0);
		read_ids(b, ids + 200, 2, 2);
		read_ids(a, ids + 200, 2, 2);
		ck_assert_mem_eq(ds_session_state(a, 0), ds_session_state(b, 0), bytes);
		ck_assert_mem_eq(ds_session_state(a, 1), ds_session_state(b, 1), bytes);
		ds_session_truncate(a, keep[i]);
	}
	ds_session_free(a);
	ds_session_free(b);
	ds_model_close(model);
}
END_TEST

/* A question attends to all keys, however it comes, and what was one is not taken for a text. */
START_TEST(test_question)
{
	static const struct ds_attn_policy sparse = {.kind = DS_ATTN_AUTO, .param = {0.1, 4, 2}};
	static const size_t splits[] = {400, 1, 7, 100};
	struct ds_session_options options = {.attn = &sparse};
	struct ds_model *model = open_model(models[_i]);
	size_t bytes = ds_model_dims(model) * sizeof(float);
	float *want = malloc(bytes);
	struct ds_session *s;
	struct ds_err err;

	if (strncmp(models[_i], "deepseek2", 9) == 0) {
		ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, &err), DS_EUNSUPPORTED);
		free(want);
		ds_model_close(model);
		return;
	}
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, &err), DS_OK);
	ck_assert(ds_session_chooses(s));
	for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
		ds_session_truncate(s, 0);
		ds_session_question(s, 256);
		for (size_t at = 0, n; at < 400; at += n) {
			n = 400 - at < splits[i] ? 400 - at : splits[i];
			read_ids(s, ids + at, n, at + n == 400);
		}
		ck_assert_uint_eq(ds_session_prompt(s, 256), 400);
		ck_assert_uint_eq(ds_session_prompt(s, 320), 256);
		ck_assert_uint_eq(ds_session_prompt(s, 192), 192);
		if (i == 0)
			memcpy(want, ds_session_state(s, 0), bytes);
		ck_assert_mem_eq(want, ds_session_state(s, 0), bytes);
	}
	ds_session_truncate(s, 256);
	read_ids(s, ids + 256, 144, 1);
	ck_assert_uint_eq(ds_session_prompt(s, 320), 320);
	if (strncmp(models[_i], "gemma3", 6) != 0) /* few of its layers look so far */
		ck_assert_mem_ne(want, ds_session_state(s, 0), bytes);
	ds_session_free(s);
	free(want);
	ds_model_close(model);
}
END_TEST

/* How far rounded pages take the states of later tokens from those of exact attention. */
START_TEST(test_exact)
{
	static const struct ds_attn_policy exact = {.kind = DS_ATTN_EXACT},
					   dense = {.kind = DS_ATTN_DENSE};
	struct ds_session_options options = {.attn = &exact};
	struct ds_model *model = open_model(models[_i]);
	struct ds_session *a, *b;
	size_t dims = ds_model_dims(model);
	double off = 0, squares = 0;
	struct ds_err err;

	ck_assert_int_eq(ds_session_new(&a, model, NULL, &options, &err), DS_OK);
	options.attn = &dense;
	ck_assert_int_eq(ds_session_new(&b, model, NULL, &options, &err), DS_OK);
	read_ids(a, ids, 500, 500);
	read_ids(b, ids, 500, 500);
	for (size_t i = 0; i < 500; i++)
		for (size_t d = 0; d < dims; d++) {
			double x = ds_session_state(a, i)[d], y = ds_session_state(b, i)[d];

			if (i < 64)
				ck_assert(x == y);
			off += (x - y) * (x - y);
			squares += x * x;
		}
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s: off by %.2g\n", models[_i], sqrt(off / squares));
	if (strncmp(models[_i], "deepseek2", 9) == 0)
		ck_assert(off == 0);
	else
		ck_assert(off > 0 && sqrt(off / squares) < 0.05);
	ck_assert_uint_gt(ds_session_bytes(a), 0);
	ds_session_free(a);
	ds_session_free(b);
	ds_model_close(model);
}
END_TEST

/* The states of 300 tokens under policies; their status when they cannot be. */
static enum ds_status states(const struct ds_model *model, const struct ds_attn_policy *attn,
			     size_t n_attn, float *out)
{
	struct ds_session_options options = {.attn = attn, .n_attn = n_attn};
	size_t dims = ds_model_dims(model);
	struct ds_session *s;
	struct ds_err err;

	DS_TRY(ds_session_new(&s, model, NULL, &options, &err));
	read_ids(s, ids, 300, 300);
	for (size_t i = 0; i < 300; i++)
		memcpy(out + i * dims, ds_session_state(s, i), dims * sizeof *out);
	ds_session_free(s);
	return DS_OK;
}

/* Policies of layers: alike they are one for all, and only the layers that differ differ. */
START_TEST(test_policies_of_layers)
{
	static const struct ds_attn_policy exact = {.kind = DS_ATTN_EXACT},
					   window = {.kind = DS_ATTN_WINDOW, .param = {64}};
	struct ds_model *model = open_model(models[_i]);
	size_t n = ds_model_layers(model), bytes = 300 * ds_model_dims(model) * sizeof(float);
	struct ds_attn_policy *all = ds_alloc_zero(n + 1, sizeof *all);
	float *want = ds_alloc(bytes, 1), *got = ds_alloc(bytes, 1);

	ck_assert_int_eq(states(model, NULL, 0, want), DS_OK);
	ck_assert_int_eq(states(model, all, n, got), DS_OK);
	ck_assert(memcmp(want, got, bytes) == 0);
	ck_assert_int_eq(states(model, all, n + 1, got), DS_EINVAL);
	all[0] = exact;
	ck_assert_int_eq(states(model, all, n, got), DS_EINVAL);
	for (size_t i = 0; i < n; i++)
		all[i] = window;
	if (strncmp(models[_i], "deepseek2", 9) == 0) {
		ck_assert_int_eq(states(model, all, n, got), DS_EUNSUPPORTED);
	} else {
		ck_assert_int_eq(states(model, &window, 1, want), DS_OK);
		ck_assert_int_eq(states(model, all, n, got), DS_OK);
		ck_assert(memcmp(want, got, bytes) == 0);
		for (size_t i = 1; i < n; i++)
			all[i].kind = DS_ATTN_DENSE;
		ck_assert_int_eq(states(model, all, n, got), DS_OK);
		ck_assert(strncmp(models[_i], "gemma3", 6) == 0 || memcmp(want, got, bytes) != 0);
	}
	free(want);
	free(got);
	free(all);
	ds_model_close(model);
}
END_TEST

START_TEST(test_session_refusals)
{
	struct ds_model *model = open_model("small"), *encoder;
	struct ds_session_options options = {.context = 65};
	struct ds_session *s;
	struct ds_err err;
	uint32_t vocab = ds_model_vocab(model);
	float *logits = calloc(vocab, sizeof *logits);

	ck_assert(ds_model_is_lm(model));
	ck_assert_uint_eq(ds_model_context(model), 64);
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, &err), DS_ELIMIT);
	options = (struct ds_session_options){.batch = 5000};
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &options, &err), DS_EINVAL);
	ck_assert_int_eq(ds_model_open(&encoder, "tests/fuzz/corpus/fuzz_model/good-bert", &err),
			 DS_OK);
	ck_assert_int_eq(ds_session_new(&s, encoder, NULL, &options, &err), DS_EINVAL);
	ds_model_close(encoder);

	s = new_session(model, NULL, 40, 16);
	ck_assert_uint_eq(ds_session_context(s), 40);
	ck_assert_uint_eq(ds_session_batch(s), 16);
	ck_assert_uint_gt(ds_session_bytes(s), 16 * 32 * sizeof(float));
	read_ids(s, ids, 30, 2);
	ck_assert_int_eq(ds_session_read(s, ids, 11, 1, &err), DS_ELIMIT);
	ck_assert_int_eq(ds_session_read(s, &vocab, 1, 1, &err), DS_EINVAL);
	ck_assert_int_eq(ds_session_read(s, ids, 3, 4, &err), DS_EINVAL);
	ck_assert_uint_eq(ds_session_tokens(s), 30);
	ck_assert_int_eq(ds_session_logits(s, 2, 1, logits, &err), DS_EINVAL);
	ck_assert_int_eq(ds_session_logits(s, 0, 3, logits, &err), DS_EINVAL);
	get_logits(s, 1, 1, logits);
	read_ids(s, ids, 10, 1);
	ds_session_free(s);
	free(logits);
	ds_model_close(model);
}
END_TEST

/* Weights that are no numbers come to light when they are used, and name their file. */
START_TEST(test_not_finite)
{
	static const char *const names[] = {"bad-nan-embedding", "bad-nan-matrix", "bad-inf-scale",
					    "bad-inf-min", "bad-router-nan"};
	static const uint32_t id[] = {1, 2, 3, 84, 5}; /* 84 is poisoned */
	struct ds_model *model = open_model(names[_i]);
	struct ds_session *s = new_session(model, NULL, 0, 0);
	struct ds_err err;

	ck_assert_int_eq(ds_session_read(s, id, 5, 1, &err), DS_EFORMAT);
	ck_assert_ptr_nonnull(strstr(err.path, names[_i]));
	ck_assert_ptr_nonnull(strstr(err.message, "finite"));
	ck_assert_uint_eq(ds_session_tokens(s), 0);
	if (_i == 0)
		read_ids(s, id, 3, 1);
	ds_session_free(s);
	ds_model_close(model);
}
END_TEST

static const struct {
	const char *name;
	enum ds_status status;
	const char *message; /* a part of it */
} refusals[] = {
	{"missing-tensor", DS_EFORMAT, "tensor blk.0.ffn_up.weight is missing"},
	{"missing-norm", DS_EFORMAT, "tensor output_norm.weight is missing"},
	{"missing-embeddings", DS_EFORMAT, "tensor token_embd.weight is missing"},
	{"dims", DS_EFORMAT, "blk.0.attn_k.weight has dimensions 32 x 15 x 1, expected 32 x 16"},
	{"transposed", DS_EFORMAT, "blk.0.ffn_down.weight has dimensions 32 x 64 x 1"},
	{"type", DS_EUNSUPPORTED, "blk.0.attn_q.weight is of type I32 (26)"},
	{"unknown-type", DS_EUNSUPPORTED, "blk.0.attn_q.weight is of type unknown (77)"},
	{"architecture", DS_EUNSUPPORTED, "architecture mamba, "},
	{"vocabulary", DS_EFORMAT, "tensor output.weight has dimensions"},
	{"tokens", DS_EFORMAT, "tensor token_embd.weight has dimensions"},
	{"context-0", DS_EFORMAT, "llama.context_length is 0"},
	{"layers-0", DS_EFORMAT, "llama.block_count is 0"},
	{"layers-huge", DS_EFORMAT, "llama.block_count is 4294967295"},
	{"layers-more", DS_EFORMAT, "tensor blk.1."},
	{"embd-huge", DS_EFORMAT, "llama.embedding_length is 4294967280"},
	{"embd-0", DS_EFORMAT, "llama.embedding_length is 0"},
	{"ff-huge", DS_EFORMAT, "llama.feed_forward_length is 4294967264"},
	{"heads-0", DS_EFORMAT, "llama.attention.head_count is 0"},
	{"heads", DS_EFORMAT, "llama.attention."},
	{"heads-huge", DS_EFORMAT, "llama.attention.head_count is 2147483648"},
	{"kv-heads", DS_EFORMAT, "llama.attention.head_count_kv is 3"},
	{"kv-heads-0", DS_EFORMAT, "llama.attention.head_count_kv is 0"},
	{"head-dim", DS_EUNSUPPORTED, "a multiple of 16 expected"},
	{"rope-dim", DS_EFORMAT, "rotary positions of 7 values"},
	{"rope-base", DS_EFORMAT, "rotary base nan"},
	{"rope-scaling", DS_EUNSUPPORTED, "llama.rope.scaling.type is longrope"},
	{"eps", DS_EFORMAT, "llama.attention.layer_norm_rms_epsilon is -1, 0..1 expected"},
	{"no-eps", DS_EFORMAT, "llama.attention.layer_norm_rms_epsilon is missing"},
	{"no-heads", DS_EFORMAT, "key llama.attention.head_count is missing"},
	{"nan", DS_EFORMAT, "tensor blk.0.ffn_norm.weight holds NaN"},
	{"freqs", DS_EFORMAT, "tensor rope_freqs.weight has dimensions"},
	{"freqs-0", DS_EFORMAT, "rotary factor 0 is 0"},
	{"q-norm", DS_EFORMAT, "tensor blk.3.attn_q_norm.weight is missing"},
	{"experts-0", DS_EFORMAT, "deepseek2.expert_count is 0"},
	{"experts-huge", DS_EFORMAT, "deepseek2.expert_count is 4294967295"},
	{"experts-used", DS_EFORMAT, "deepseek2.expert_used_count is 5, 1..4"},
	{"experts-used-0", DS_EFORMAT, "deepseek2.expert_used_count is 0"},
	{"experts-dims", DS_EFORMAT, "has dimensions 32 x 16 x 3, expected 32 x 16 x 4"},
	{"experts-flat", DS_EFORMAT, "has dimensions 32 x 64 x 1, expected 32 x 16 x 4"},
	{"groups", DS_EFORMAT, "3 groups of 4 experts"},
	{"groups-used", DS_EFORMAT, "2 experts used of 3 of 2 groups of 2"},
	{"gating", DS_EUNSUPPORTED, "expert gating function 9"},
	{"kv-lora", DS_EFORMAT, "key deepseek2.attention.kv_lora_rank is missing"},
	{"mla-dims", DS_EFORMAT, "deepseek2.attention.key_length_mla is 16"},
	{"mla-half", DS_EFORMAT, "one of attention.key_length_mla and value_length_mla alone"},
	{"k-b", DS_EFORMAT, "tensor blk.0.attn_k_b.weight is missing"},
	{"dense-lead", DS_EFORMAT, "deepseek2.leading_dense_block_count is 3"},
	{"truncated", DS_ETRUNCATED, "ends after the file"},
};
#define N_REFUSAL (int)(sizeof refusals / sizeof *refusals)

START_TEST(test_refusals)
{
	struct ds_model *model;
	struct ds_err err;
	char name[60];

	snprintf(name, sizeof name, "bad-%s", refusals[_i].name);
	ck_assert_int_eq(try_open(&model, name, &err), refusals[_i].status);
	ck_assert_msg(strstr(err.message, refusals[_i].message), "%s: %s", name, err.message);
	ck_assert_msg(strstr(err.path, name), "%s: %s", name, err.path);
}
END_TEST

/* Weights, settings and vocabulary tell models apart. */
START_TEST(test_fingerprint)
{
	static const char *const names[] = {"llama-f32", "llama-mix", "llama-k",
					    "qwen2-mix", "small",     "bad-nan-embedding"};
	enum { N = sizeof names / sizeof *names };
	uint64_t id[N];

	for (int i = 0; i < N; i++) {
		struct ds_model *a = open_model(names[i]), *b = open_model(names[i]);

		id[i] = ds_model_id(a);
		ck_assert_uint_eq(ds_model_id(b), id[i]);
		for (int j = 0; j < i; j++)
			ck_assert_uint_ne(id[i], id[j]);
		ds_model_close(a);
		ds_model_close(b);
	}
}
END_TEST

static enum ds_status open_and_read(const char *name, struct ds_err *err)
{
	struct ds_session_options options = {.context = 20};
	struct ds_session *s;
	struct ds_model *model;
	enum ds_status st = try_open(&model, name, err);
	float logits[512];

	if (st != DS_OK)
		return st;
	ck_assert_uint_le(ds_model_vocab(model), 512);
	st = ds_session_new(&s, model, NULL, &options, err);
	if (st == DS_OK) {
		st = ds_session_read(s, ids, 20, 1, err);
		if (st == DS_OK)
			st = ds_session_logits(s, 0, 1, logits, err);
		ds_session_free(s);
	}
	ds_model_close(model);
	return st;
}

/* Sessions whose layers attend in several ways. */
START_TEST(test_no_memory_for_policies)
{
	static const char *const texts[] = {"keys:64,20", "topk:5", "vsa", "lsh:2,3", "auto"};
	struct ds_model *model = open_model("llama-mix");
	struct ds_attn_policy all[8];
	struct ds_session_options o = {
		.context = 200, .attn = all, .n_attn = ds_model_layers(model)};
	enum ds_status st = DS_ENOMEM;
	struct ds_session *s = NULL;
	struct ds_err err;

	ck_assert_uint_le(o.n_attn, 8);
	for (size_t i = 0; i < o.n_attn; i++)
		ck_assert_int_eq(ds_attn_policy_parse(&all[i], texts[(i + (size_t)_i) % 5], &err),
				 DS_OK);
	for (size_t n = 0; st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = ds_session_new(&s, model, NULL, &o, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || (st == DS_ENOMEM && n < 1000));
	}
	ck_assert_int_eq(ds_session_read(s, ids, 150, 1, &err), DS_OK);
	ds_session_free(s);
	ds_model_close(model);
}
END_TEST

START_TEST(test_no_memory)
{
	struct ds_err err;
	enum ds_status st;
	size_t after = 0;

	do {
		ds_alloc_fail_after(after++);
		st = open_and_read(models[_i], &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	} while (st != DS_OK && after < 10000);
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_int_eq(st, DS_OK);
	ck_assert_uint_gt(after, 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_lm");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, test_no_memory_for_policies, 0, 5);
	tcase_add_loop_test(tc, test_same_bytes, 0, N_MODEL);
	tcase_add_loop_test(tc, test_wanted, 0, N_MODEL);
	tcase_add_loop_test(tc, test_truncate, 0, N_MODEL);
	tcase_add_loop_test(tc, test_truncate_far, 0, N_MODEL);
	tcase_add_loop_test(tc, test_question, 0, N_MODEL);
	tcase_add_loop_test(tc, test_exact, 0, N_MODEL);
	tcase_add_loop_test(tc, test_policies_of_layers, 0, N_MODEL);
	tcase_add_test(tc, test_session_refusals);
	tcase_add_loop_test(tc, test_not_finite, 0, 5);
	tcase_add_loop_test(tc, test_refusals, 0, N_REFUSAL);
	tcase_add_test(tc, test_fingerprint);
	tcase_add_loop_test(tc, test_no_memory, 0, N_MODEL);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_models() != 0 || failed != 0;
}
