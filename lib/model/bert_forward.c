/*
 * bert_forward.c - the forward pass of a BERT encoder
 *
 * Sequences lie one behind the other without padding: the matrix products take all tokens of a
 * block at once, attention each sequence alone.  Attention is two products as well: the keys (and
 * the values) of a head are packed as if they were weights.
 */
#include "model/bert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A block holds a longest sequence or so many tokens: enough rows for the products to be fast. */
#define BLOCK_TOKENS 256
/* Query rows at a time: their scores stay in cache. */
#define QUERY_ROWS 48

size_t ds_bert_block(const struct ds_bert *bert)
{
	size_t context = bert->config.n_context;

	return context > BLOCK_TOKENS ? context : BLOCK_TOKENS;
}

static size_t head_size(const struct ds_bert *bert)
{
	return bert->config.n_embd / bert->config.n_head;
}

/* Columns of the context rows: a head of odd size is written up to a multiple of 16. */
static size_t context_stride(const struct ds_bert *bert)
{
	return bert->config.n_embd + DS_KERN_LANES;
}

static enum ds_status fill_scratch(struct ds_bert_scratch *s, const struct ds_bert *bert,
				   struct ds_err *err)
{
	const struct ds_bert_config *c = &bert->config;
	size_t n = ds_bert_block(bert), keys = ds_kern_pad(c->n_context), head = head_size(bert);
	size_t wide = c->n_ff > c->n_embd ? c->n_ff : c->n_embd;
	struct {
		float **array;
		size_t n, size;
	} want[] = {
		{&s->qkv, n, 3 * c->n_embd},	{&s->context, n, context_stride(bert)},
		{&s->keys, keys, head},		{&s->values, ds_kern_pad(head), c->n_context},
		{&s->scores, QUERY_ROWS, keys},
	};

	DS_TRY(ds_act_new(&s->x, n, c->n_embd, err));
	DS_TRY(ds_act_new(&s->inner, n, wide, err));
	DS_TRY(ds_linear_new(&s->linear, bert->kern, NULL, wide, err));
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		*want[i].array = ds_kern_floats(&s->mem, want[i].n * want[i].size);
		if (!*want[i].array)
			return ds_fail_nomem(err, want[i].n * want[i].size * sizeof(float));
	}
	return DS_OK;
}

enum ds_status ds_bert_new_scratch(const void *net, void **scratch_ret, struct ds_err *err)
{
	struct ds_bert_scratch *s = ds_alloc_zero(1, sizeof *s);
	enum ds_status st;

	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	ds_arena_init(&s->mem);
	st = fill_scratch(s, net, err);
	if (st == DS_OK)
		*scratch_ret = s;
	else
		ds_bert_free_scratch(s);
	return st;
}

void ds_bert_free_scratch(void *scratch)
{
	struct ds_bert_scratch *s = scratch;

	ds_act_free(s->x);
	ds_act_free(s->inner);
	ds_linear_free(s->linear);
	ds_arena_fini(&s->mem);
	free(s);
}

/* The states of a sequence whose first token is token first of the block. */
static void embed_tokens(const struct ds_bert *bert, struct ds_bert_scratch *s,
			 const struct ds_bert_seq *seq, size_t first)
{
	const struct ds_kern *kern = bert->kern;
	size_t n_embd = bert->config.n_embd;
	size_t row_bytes = bert->words->bytes / bert->config.n_vocab;

	for (size_t t = 0; t < seq->n; t++) {
		float *x = ds_act_row(s->x, first + t);

		bert->words_decode(bert->words->data + seq->id[t] * row_bytes, x, n_embd);
		kern->add(x, bert->positions + t * n_embd, n_embd);
		kern->layernorm(x, bert->norm, x, n_embd, bert->config.eps);
		ds_act_round(kern, s->x, first + t);
	}
}

/* Values [n][3 n_embd] of a head to panels [pad(head) / 16][n][16]. */
static void pack_values(const float *v, size_t n, size_t head, size_t stride, float *panel)
{
	for (size_t j = 0; j < head; j += DS_KERN_LANES) {
		size_t lanes = head - j < DS_KERN_LANES ? head - j : DS_KERN_LANES;

		for (size_t t = 0; t < n; t++, panel += DS_KERN_LANES) {
			memset(panel, 0, DS_KERN_LANES * sizeof *panel);
			memcpy(panel, v + t * stride + j, lanes * sizeof *panel);
		}
	}
}

/* One head of one sequence: qkv its first row, context the columns it writes. */
static void attend(const struct ds_bert *bert, struct ds_bert_scratch *s, const float *qkv,
		   size_t n, float *context)
{
	const struct ds_kern *kern = bert->kern;
	size_t n_embd = bert->config.n_embd, head = head_size(bert), stride = 3 * n_embd;
	float scale = 1 / sqrtf((float)head);

	ds_kern_pack(qkv + n_embd, n, head, stride, s->keys);
	pack_values(qkv + 2 * n_embd, n, head, stride, s->values);
	for (size_t i = 0; i < n; i += QUERY_ROWS) {
		size_t rows = n - i < QUERY_ROWS ? n - i : QUERY_ROWS, ld = ds_kern_pad(n);
		struct ds_gemm score = {.m = rows,
					.n = n,
					.k = head,
					.a = qkv + i * stride,
					.lda = stride,
					.panel = s->keys,
					.c = s->scores,
					.ldc = ld};
		struct ds_gemm mix = {.m = rows,
				      .n = head,
				      .k = n,
				      .a = s->scores,
				      .lda = ld,
				      .panel = s->values,
				      .c = context + i * context_stride(bert),
				      .ldc = context_stride(bert)};

		kern->gemm(&score);
		for (size_t r = 0; r < rows; r++)
			kern->softmax(s->scores + r * ld, n, scale);
		kern->gemm(&mix);
	}
}

static void attend_all(const struct ds_bert *bert, struct ds_bert_scratch *s,
		       const struct ds_bert_seq *seq, size_t n_seq)
{
	size_t head = head_size(bert), row = 0;

	for (size_t i = 0; i < n_seq; row += seq[i++].n) {
		const float *qkv = s->qkv + row * 3 * bert->config.n_embd;
		float *context = s->context + row * context_stride(bert);

		/* ascending: what a head writes beyond its columns the next one overwrites */
		for (size_t h = 0; h < bert->config.n_head; h++)
			attend(bert, s, qkv + h * head, seq[i].n, context + h * head);
	}
}

static struct ds_product product(const struct ds_bert_map *linear, float *y, size_t ld)
{
	return (struct ds_product){.w = &linear->w, .bias = linear->bias, .y = y, .ld = ld};
}

static void normalise(const struct ds_bert *bert, struct ds_bert_scratch *s, const float *norm,
		      size_t m)
{
	size_t n_embd = bert->config.n_embd;

	for (size_t t = 0; t < m; t++) {
		float *x = ds_act_row(s->x, t);

		bert->kern->layernorm(x, norm, x, n_embd, bert->config.eps);
		ds_act_round(bert->kern, s->x, t);
	}
}

/* x += out (context), x = norm(x) */
static void attention_output(const struct ds_bert *bert, struct ds_bert_scratch *s,
			     const struct ds_bert_layer *layer, size_t m)
{
	size_t n_embd = bert->config.n_embd;
	struct ds_product out = product(&layer->out, ds_act_row(s->x, 0), n_embd);

	out.add = true;
	ds_act_begin(s->inner, m, n_embd);
	for (size_t t = 0; t < m; t++) {
		memcpy(ds_act_row(s->inner, t), s->context + t * context_stride(bert),
		       n_embd * sizeof(float));
		ds_act_round(bert->kern, s->inner, t);
	}
	ds_linear_run(s->linear, &out, 1, s->inner);
	normalise(bert, s, layer->attn_norm, m);
}

/* x += down (gelu (up x)), x = norm(x) */
static void feed_forward(const struct ds_bert *bert, struct ds_bert_scratch *s,
			 const struct ds_bert_layer *layer, size_t m)
{
	size_t n_embd = bert->config.n_embd, n_ff = bert->config.n_ff;
	struct ds_product up, down = product(&layer->down, ds_act_row(s->x, 0), n_embd);

	down.add = true;
	ds_act_begin(s->inner, m, n_ff);
	up = product(&layer->up, ds_act_row(s->inner, 0), n_ff);
	ds_linear_run(s->linear, &up, 1, s->x);
	for (size_t t = 0; t < m; t++) {
		bert->kern->gelu(ds_act_row(s->inner, t), n_ff);
		ds_act_round(bert->kern, s->inner, t);
	}
	ds_linear_run(s->linear, &down, 1, s->inner);
	normalise(bert, s, layer->ffn_norm, m);
}

static void layer_forward(const struct ds_bert *bert, struct ds_bert_scratch *s,
			  const struct ds_bert_layer *layer, const struct ds_bert_seq *seq,
			  size_t n_seq)
{
	size_t n_embd = bert->config.n_embd, m = 0;
	struct ds_product qkv[3];

	for (size_t i = 0; i < n_seq; i++)
		m += seq[i].n;
	for (size_t i = 0; i < 3; i++)
		qkv[i] = product(&layer->qkv[i], s->qkv + i * n_embd, 3 * n_embd);
	ds_linear_run(s->linear, qkv, 3, s->x);
	attend_all(bert, s, seq, n_seq);
	attention_output(bert, s, layer, m);
	feed_forward(bert, s, layer, m);
}

void ds_bert_forward(const struct ds_bert *bert, struct ds_bert_scratch *s,
		     const struct ds_bert_seq *seq, size_t n_seq, float *out)
{
	size_t n_embd = bert->config.n_embd, m = 0, row = 0;

	for (size_t i = 0; i < n_seq; i++)
		m += seq[i].n;
	ds_act_begin(s->x, m, n_embd);
	for (size_t i = 0; i < n_seq; row += seq[i++].n)
		embed_tokens(bert, s, &seq[i], row);
	for (size_t l = 0; l < bert->config.n_layer; l++)
		layer_forward(bert, s, &bert->layer[l], seq, n_seq);
	row = 0;
	for (size_t i = 0; i < n_seq; row += seq[i++].n) {
		size_t rows = bert->config.pooling == DS_POOL_CLS ? 1 : seq[i].n;

		memcpy(out + i * n_embd, ds_act_row(s->x, row), n_embd * sizeof *out);
		for (size_t t = 1; t < rows; t++)
			bert->kern->add(out + i * n_embd, ds_act_row(s->x, row + t), n_embd);
	}
}
