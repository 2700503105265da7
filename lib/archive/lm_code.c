/* lm_code.c - text coded by a language model */
#include "archive/lm_code.h"

#include <stdlib.h>
#include <string.h>

#include "archive/record.h"
#include "base/cursor.h"
#include "kern/kern.h"
#include "mix/ids.h"
#include "token/token.h"

/* Lanes that advance together. */
#define STREAMS 64
#define LANE_BYTES ((size_t)16 << 10)
#define FREQUENCY_BITS 24
/* How far a token moves the bias of the logits. */
#define STEP 0.0625f

/* Of a token: what the model gives it, then how often it is expected. */
union chance {
	float p;
	uint32_t frequency;
};

/* One lane of a block on its way. */
struct stream {
	struct block *block; /* NULL: idle */
	size_t lane;
	uint8_t *bytes;	       /* [n] of the block's */
	size_t n, at;	       /* decoding: bytes, encoding: tokens, and those that are done */
	const uint32_t *id;    /* [n] encoding */
	struct ds_buf spelled; /* bytes of tokens */
	uint32_t token;	       /* the last one, which the model reads next */
	float *bias;	       /* [vocab] learnt from the lane so far */
	struct ds_mix_expected expected;
	enum ds_status status;
	struct ds_err err;
};

/* One block on its way: a code, and what its lanes learn together. */
struct block {
	struct ds_lm_job *job;	 /* NULL: none */
	struct ds_tokens tokens; /* encoding */
	struct ds_mix_ids *mix;
	struct ds_arith_enc enc;
	struct ds_arith_dec dec;
	size_t lanes;	/* that are not done */
	size_t longest; /* bytes of a lane */
	struct {
		uint8_t *bytes;	    /* decoding */
		const uint32_t *id; /* encoding */
		size_t n;
	} lane[STREAMS];
	enum ds_status status;
	struct ds_err err;
};

struct ds_lm_code {
	const struct ds_model *model;
	const struct ds_tokenizer *tok;
	const struct ds_kern *kern;
	struct ds_pool *pool;
	struct ds_encoder *enc;
	struct ds_session_options options;
	struct ds_carry carry;
	uint32_t vocab, first; /* first: what every lane is taken to follow */
	float scale;	       /* frequency of a probability of 1, less 1 */
	int decoding;
	struct stream stream[STREAMS];
	struct block block[STREAMS];
	struct ds_lockstep *steps;	     /* decoding; of n_stream */
	struct ds_session *session[STREAMS]; /* encoding: tokens are read before they are coded */
	float *state;			     /* encoding: [n_stream][n_embd] of this step */
	size_t n_stream;
	union chance *chance; /* [n_stream][vocab] */
	float *bias;	      /* [n_stream][vocab] */
	uint32_t *sums;
	uint32_t now[STREAMS];	       /* streams of this step, in the order of blocks and lanes */
	size_t first_now[STREAMS + 1]; /* where those of a block begin in it */
};

static uint32_t first_token(const struct ds_tokenizer *tok)
{
	static const enum ds_special which[] = {DS_BOS, DS_EOT, DS_EOS};

	for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
		uint32_t id = ds_tokenizer_special(tok, which[i]);

		if (id != DS_NO_TOKEN)
			return id;
	}
	return 0;
}

static enum ds_status init(struct ds_lm_code *c, struct ds_err *err)
{
	if (!ds_model_is_lm(c->model))
		return ds_fail(err, DS_EINVAL, "the model is no language model");
	c->vocab = ds_model_vocab(c->model);
	if (c->vocab >= 1u << (FREQUENCY_BITS - 2))
		return ds_fail(err, DS_ELIMIT, "a vocabulary of %u tokens, at most %u can be coded",
			       c->vocab, (1u << (FREQUENCY_BITS - 2)) - 1);
	c->first = first_token(c->tok);
	/* their sum stays below 2^24: what softmax rounds is far less */
	c->scale = (float)((1u << FREQUENCY_BITS) - c->vocab) * (1 - 0x1p-11f);
	DS_TRY(ds_kern_choose(&c->kern, err));
	return ds_encoder_new(&c->enc, c->tok, err);
}

enum ds_status ds_lm_code_new(struct ds_lm_code **code_ret, const struct ds_model *model,
			      struct ds_pool *pool, const struct ds_lm_code_rule *rule,
			      struct ds_err *err)
{
	struct ds_lm_code *c = ds_alloc_zero(1, sizeof *c);
	enum ds_status st;

	if (!c)
		return ds_fail_nomem(err, sizeof *c);
	c->model = model;
	c->tok = ds_model_tokenizer(model);
	c->pool = pool;
	c->carry.chosen = DS_CARRY_DEFAULT;
	c->options.context = rule->context;
	c->options.carry = &c->carry;
	st = init(c, err);
	if (st != DS_OK) {
		ds_lm_code_free(c);
		return st;
	}
	*code_ret = c;
	return DS_OK;
}

/* What blocks are coded with. */
static void drop(struct ds_lm_code *c)
{
	for (size_t i = 0; i < STREAMS; i++) {
		ds_mix_ids_free(c->block[i].mix);
		c->block[i].mix = NULL;
		c->block[i].job = NULL;
		c->stream[i].block = NULL;
	}
	for (size_t i = 0; i < STREAMS; i++) {
		ds_session_free(c->session[i]);
		c->session[i] = NULL;
	}
	ds_lockstep_free(c->steps);
	free(c->state);
	free(c->chance);
	free(c->bias);
	free(c->sums);
	c->steps = NULL;
	c->state = NULL;
	c->chance = NULL;
	c->bias = NULL;
	c->sums = NULL;
	c->n_stream = 0;
}

void ds_lm_code_free(struct ds_lm_code *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < STREAMS; i++) {
		ds_tokens_fini(&c->block[i].tokens);
		ds_buf_fini(&c->stream[i].spelled);
	}
	drop(c);
	ds_encoder_free(c->enc);
	free(c);
}

static size_t lanes_of(size_t bytes)
{
	const size_t lanes = (bytes + LANE_BYTES - 1) / LANE_BYTES;

	return lanes < STREAMS ? lanes : STREAMS;
}

/* What reads the streams: together a token of each, or each as many as are read at a time. */
static enum ds_status sessions(struct ds_lm_code *c, struct ds_err *err)
{
	c->options.batch = STREAMS;
	if (c->decoding)
		return ds_lockstep_new(&c->steps, c->model, c->pool, &c->options, c->n_stream, err);
	for (size_t i = 0; i < c->n_stream; i++)
		DS_TRY(ds_session_new(&c->session[i], c->model, c->pool, &c->options, err));
	c->state = ds_alloc(c->n_stream * ds_model_dims(c->model), sizeof *c->state);
	return c->state ? DS_OK : ds_fail_nomem(err, c->n_stream * sizeof *c->state);
}

/* Memory of as many streams as the jobs can use. */
static enum ds_status prepare(struct ds_lm_code *c, const struct ds_lm_job *job, size_t n,
			      struct ds_err *err)
{
	const size_t sums = ds_mix_ids_sums(c->vocab);
	size_t lanes = 0;

	for (size_t i = 0; i < n && lanes < STREAMS; i++)
		lanes += lanes_of(job[i].n);
	c->n_stream = lanes = lanes < 1 ? 1 : lanes < STREAMS ? lanes : STREAMS;
	c->chance = ds_alloc(lanes * c->vocab, sizeof *c->chance);
	c->bias = ds_alloc(lanes * c->vocab, sizeof *c->bias);
	c->sums = ds_alloc(lanes * sums, sizeof *c->sums);
	if (!c->chance || !c->bias || !c->sums)
		return ds_fail_nomem(err, lanes * c->vocab * sizeof *c->bias);
	for (size_t i = 0; i < lanes; i++)
		c->stream[i].bias = c->bias + i * c->vocab;
	return sessions(c, err);
}

static enum ds_status spell(struct ds_lm_code *c, struct ds_buf *spelled, const uint32_t *id,
			    size_t n, struct ds_err *err)
{
	spelled->len = 0;
	return ds_decode(c->tok, id, n, DS_ENCODE_CONTINUE, spelled, err);
}

/* The block's tokens, as many of them for each lane; the job is unfit when they do not spell its
 * text.  The code begins with the bytes of the lanes but the last one. */
static enum ds_status divide_tokens(struct ds_lm_code *c, struct block *b, struct ds_err *err)
{
	struct ds_lm_job *job = b->job;
	struct ds_buf *spelled = &c->stream[0].spelled;
	size_t from = 0;

	b->tokens.n = b->longest = 0;
	DS_TRY(ds_encode(c->enc, job->bytes, job->n, DS_ENCODE_CONTINUE, &b->tokens, err));
	DS_TRY(spell(c, spelled, b->tokens.id, b->tokens.n, err));
	job->unfit = spelled->len != job->n || b->tokens.n < b->lanes ||
		     memcmp(spelled->data, job->bytes, job->n) != 0;
	for (size_t i = 0; !job->unfit && i < b->lanes; i++) {
		const size_t end = b->tokens.n * (i + 1) / b->lanes;

		DS_TRY(spell(c, spelled, b->tokens.id + from, end - from, err));
		b->lane[i].id = b->tokens.id + from;
		b->lane[i].n = end - from;
		if (i + 1 < b->lanes)
			DS_TRY(ds_varint_put(job->code, spelled->len, err));
		b->longest = spelled->len > b->longest ? spelled->len : b->longest;
		job->unfit = spelled->len < end - from; /* a token that spells nothing */
		from = end;
	}
	return DS_OK;
}

/* The lanes as the code tells them; DS_EFORMAT where they make no sense. */
static enum ds_status divide_bytes(struct block *b, struct ds_cursor *cur)
{
	struct ds_lm_job *job = b->job;
	uint64_t at = 0, n;

	ds_cursor_init(cur, job->code->data, job->code->len, NULL);
	b->longest = 0;
	for (size_t i = 0; i < b->lanes; i++) {
		n = job->n - at;
		if (i + 1 < b->lanes)
			DS_TRY(ds_varint_get(cur, &n));
		if (n < 1 || n > job->n - at)
			return DS_EFORMAT;
		b->lane[i].bytes = job->bytes + at;
		b->lane[i].n = n;
		b->longest = n > b->longest ? n : b->longest;
		at += n;
	}
	return DS_OK;
}

static void end_block(struct ds_lm_code *c, struct block *b)
{
	for (size_t i = 0; i < c->n_stream; i++)
		if (c->stream[i].block == b)
			c->stream[i].block = NULL;
	ds_mix_ids_free(b->mix);
	b->mix = NULL;
	b->job = NULL;
}

/* What the lanes of a block are; its job is done at once where there are none. */
static enum ds_status divide(struct ds_lm_code *c, struct block *b, struct ds_err *err)
{
	struct ds_cursor cur;

	if (c->decoding) {
		b->job->status = divide_bytes(b, &cur);
		if (b->job->status == DS_OK)
			ds_arith_dec_init(&b->dec, cur.data + cur.pos, ds_cursor_left(&cur));
	} else {
		DS_TRY(divide_tokens(c, b, err));
		ds_arith_enc_init(&b->enc, b->job->code);
	}
	if (b->job->status != DS_OK || b->job->unfit) {
		end_block(c, b);
		return DS_OK;
	}
	return ds_mix_ids_new(&b->mix, c->vocab, b->lanes, b->longest, err);
}

static void begin_lane(struct ds_lm_code *c, struct block *b, size_t lane, struct stream *s)
{
	const uint32_t i = (uint32_t)(s - c->stream);

	s->block = b;
	s->lane = lane;
	s->bytes = b->lane[lane].bytes;
	s->id = b->lane[lane].id;
	s->n = b->lane[lane].n;
	s->at = 0;
	s->token = c->first;
	s->status = DS_OK;
	s->expected.sum = c->sums + i * ds_mix_ids_sums(c->vocab);
	memset(s->bias, 0, c->vocab * sizeof *s->bias);
	ds_session_truncate(c->decoding ? ds_lockstep_session(c->steps, i) : c->session[i], 0);
}

/* Begin with a job in streams that are idle, which are enough for its lanes. */
static enum ds_status begin_block(struct ds_lm_code *c, struct ds_lm_job *job, struct ds_err *err)
{
	struct stream *s = c->stream;
	struct block *b = c->block;

	job->status = DS_OK;
	job->unfit = false;
	if (!job->n)
		return DS_OK;
	while (b->job)
		b++;
	b->job = job;
	b->lanes = lanes_of(job->n);
	b->status = DS_OK;
	DS_TRY(divide(c, b, err));
	for (size_t lane = 0; b->job && lane < b->lanes; lane++) {
		while (s->block)
			s++;
		begin_lane(c, b, lane, s);
	}
	return DS_OK;
}

/* Jobs begin in their order, each when there are streams for it. */
static enum ds_status begin_blocks(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
				   size_t *next_io, struct ds_err *err)
{
	for (; *next_io < n; ++*next_io) {
		size_t idle = 0;

		for (size_t i = 0; i < c->n_stream; i++)
			idle += !c->stream[i].block;
		if (lanes_of(job[*next_io].n) > idle)
			break;
		DS_TRY(begin_block(c, &job[*next_io], err));
	}
	return DS_OK;
}

/* The streams of this step; *blocks_ret blocks have some. */
static size_t choose(struct ds_lm_code *c, size_t *blocks_ret)
{
	size_t n = 0, blocks = 0;

	for (size_t b = 0; b < STREAMS; b++) {
		if (!c->block[b].job)
			continue;
		c->first_now[blocks++] = n;
		for (uint32_t i = 0; i < c->n_stream; i++) /* lanes lie in order */
			if (c->stream[i].block == &c->block[b])
				c->now[n++] = i;
	}
	c->first_now[blocks] = n;
	*blocks_ret = blocks;
	return n;
}

/* What the model expects of a stream's next token, from its logits. */
static void expect_stream(void *arg, size_t index, unsigned thread)
{
	struct ds_lm_code *c = arg;
	struct stream *s = &c->stream[c->now[index]];
	union chance *x = c->chance + index * c->vocab;

	(void)thread;
	c->kern->add(&x->p, s->bias, c->vocab);
	c->kern->softmax(&x->p, c->vocab, 1);
	for (size_t i = 0; i < c->vocab; i++)
		x[i].frequency = 1 + (uint32_t)(x[i].p * c->scale);
	s->expected.frequency = &x->frequency;
	ds_mix_ids_sum(&s->expected, c->vocab);
}

/* A token of each lane of a block, in their order: what one learns is of use to the next. */
static void code_block(void *arg, size_t index, unsigned thread)
{
	struct ds_lm_code *c = arg;
	const size_t from = c->first_now[index], end = c->first_now[index + 1];
	struct block *b = c->stream[c->now[from]].block;

	(void)thread;
	if (!c->decoding)
		b->status = ds_arith_enc_reserve(&b->enc, (end - from) * 32, &b->err);
	for (size_t i = from; b->status == DS_OK && i < end; i++) {
		struct stream *s = &c->stream[c->now[i]];

		if (c->decoding) {
			s->token = ds_mix_ids_decode(b->mix, s->lane, &s->expected, &b->dec);
		} else {
			s->token = s->id[s->at];
			ds_mix_ids_encode(b->mix, s->lane, &s->expected, &b->enc, s->token);
		}
	}
}

/* The bytes of a decoded token; those of foreign code may be none, or too many. */
static enum ds_status put_token(struct ds_lm_code *c, struct stream *s, struct ds_err *err)
{
	if (s->token >= ds_tokenizer_size(c->tok) || ds_arith_dec_starved(&s->block->dec))
		return DS_EFORMAT;
	DS_TRY(spell(c, &s->spelled, &s->token, 1, err));
	if (s->spelled.len == 0 || s->spelled.len > s->n - s->at)
		return DS_EFORMAT;
	memcpy(s->bytes + s->at, s->spelled.data, s->spelled.len);
	s->at += s->spelled.len;
	return DS_OK;
}

/* The token came: its logit is moved up, others down, as they were expected. */
static void learn_stream(void *arg, size_t index, unsigned thread)
{
	struct ds_lm_code *c = arg;
	struct stream *s = &c->stream[c->now[index]];
	const union chance *x = c->chance + index * c->vocab;
	const float step = STEP / c->scale;

	(void)thread;
	for (size_t i = 0; i < c->vocab; i++)
		s->bias[i] -= step * (float)(x[i].frequency - 1);
	s->bias[s->token] += STEP;
	if (c->decoding)
		s->status = put_token(c, s, &s->err);
	else
		s->at++;
}

static enum ds_status end_job(struct ds_lm_code *c, struct block *b, struct ds_err *err)
{
	enum ds_status st = DS_OK;

	if (c->decoding)
		b->job->status = ds_arith_dec_finish(&b->dec, NULL);
	else
		st = ds_arith_enc_finish(&b->enc, err);
	end_block(c, b);
	return st;
}

/* After a token of each of n streams: lanes and blocks that are done, or damaged, end. */
static enum ds_status finish(struct ds_lm_code *c, size_t n, struct ds_err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct stream *s = &c->stream[c->now[i]];
		struct block *b = s->block;

		if (!b) /* another lane of it is damaged */
			continue;
		if (b->status != DS_OK) {
			*err = b->err;
			return b->status;
		}
		if (s->status == DS_EFORMAT) { /* it ends the job, not the others */
			b->job->status = DS_EFORMAT;
			end_block(c, b);
			continue;
		}
		if (s->status != DS_OK) {
			*err = s->err;
			return s->status;
		}
		if (s->at < s->n)
			continue;
		s->block = NULL;
		if (--b->lanes == 0)
			DS_TRY(end_job(c, b, err));
	}
	return DS_OK;
}

/* Read the next tokens of a stream that encodes, if those it has read are coded. */
static enum ds_status read_on(struct ds_lm_code *c, size_t i, size_t *row_ret, struct ds_err *err)
{
	struct ds_session *session = c->session[i];
	struct stream *s = &c->stream[i];
	const size_t batch = ds_session_batch(session);
	const size_t n = s->n - s->at < batch ? s->n - s->at : batch;
	uint32_t id[STREAMS];

	*row_ret = s->at % batch;
	if (*row_ret)
		return DS_OK;
	id[0] = s->token;
	memcpy(id + 1, s->id + s->at, (n - 1) * sizeof *id);
	return ds_session_read(session, id, n, n, err);
}

/* The logits of n streams that encode: sessions may read fewer tokens at a time than these. */
static enum ds_status read_known(struct ds_lm_code *c, size_t n, struct ds_err *err)
{
	const size_t dims = ds_model_dims(c->model), batch = ds_session_batch(c->session[0]);
	size_t row;

	for (size_t i = 0; i < n; i++) {
		DS_TRY(read_on(c, c->now[i], &row, err));
		memcpy(c->state + i * dims, ds_session_state(c->session[c->now[i]], row),
		       dims * sizeof *c->state);
	}
	for (size_t i = 0; i < n; i += batch)
		DS_TRY(ds_session_head(c->session[0], c->state + i * dims,
				       n - i < batch ? n - i : batch, &c->chance[i * c->vocab].p,
				       err));
	return DS_OK;
}

/* The logits of n streams that decode. */
static enum ds_status read_next(struct ds_lm_code *c, size_t n, struct ds_err *err)
{
	uint32_t token[STREAMS];

	for (size_t i = 0; i < n; i++)
		token[i] = c->stream[c->now[i]].token;
	DS_TRY(ds_lockstep_read(c->steps, c->now, token, n, err));
	return ds_lockstep_logits(c->steps, 0, n, &c->chance->p, err);
}

/* One token of every stream that has a lane. */
static enum ds_status step(struct ds_lm_code *c, size_t n, size_t blocks, struct ds_err *err)
{
	DS_TRY((c->decoding ? read_next : read_known)(c, n, err));
	ds_pool_run(c->pool, n, expect_stream, c);
	ds_pool_run(c->pool, blocks, code_block, c);
	ds_pool_run(c->pool, n, learn_stream, c);
	return finish(c, n, err);
}

static enum ds_status code_jobs(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
				struct ds_err *err)
{
	size_t next = 0, busy, blocks;

	DS_TRY(prepare(c, job, n, err));
	do {
		DS_TRY(begin_blocks(c, job, n, &next, err));
		busy = choose(c, &blocks);
		if (busy)
			DS_TRY(step(c, busy, blocks, err));
	} while (busy || next < n);
	return DS_OK;
}

static enum ds_status run(struct ds_lm_code *c, int decoding, struct ds_lm_job *job, size_t n,
			  struct ds_err *err)
{
	enum ds_status st;

	c->decoding = decoding;
	st = n ? code_jobs(c, job, n, err) : DS_OK;
	drop(c);
	return st;
}

enum ds_status ds_lm_encode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			    struct ds_err *err)
{
	return run(c, 0, job, n, err);
}

enum ds_status ds_lm_decode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			    struct ds_err *err)
{
	return run(c, 1, job, n, err);
}
