/* lm_code.c - text coded by a language model */
#include "archive/lm_code.h"

#include <stdlib.h>
#include <string.h>

#include "kern/kern.h"
#include "mix/arith.h"
#include "token/token.h"

/* Blocks that are decoded, or encoded, at a time. */
#define STREAMS 64
#define LANES 4
/* Tokens of a block that are encoded at a time: what fits, at most so many. */
#define LANE_ROWS 64
#define LANE_BYTES ((size_t)64 << 20)
#define FREQUENCY_BITS 24
/* How far a token moves the bias of the logits. */
#define STEP 0.0625f

/* One block on its way. */
struct stream {
	struct ds_lm_job *job;	 /* NULL: idle */
	struct ds_tokens tokens; /* encoding */
	size_t at;		 /* tokens, or decoding: bytes, that are done */
	struct ds_arith_enc enc;
	struct ds_arith_dec dec;
	struct ds_buf spelled; /* bytes of tokens */
	uint32_t token;	       /* the last one, which the model reads next */
	float *bias;	       /* [vocab] learnt from the block so far */
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
	uint32_t vocab, first; /* first: what every block is taken to follow */
	float scale;	       /* frequency of a probability of 1, less 1 */
	struct stream stream[STREAMS];
	struct ds_lockstep *steps;	   /* decoding; of n_stream */
	struct ds_session *session[LANES]; /* encoding */
	size_t n_stream, rows;
	float *logits, *bias;  /* of the streams */
	uint32_t now[STREAMS]; /* streams of this step */
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
	for (size_t i = 0; i < LANES; i++) {
		ds_session_free(c->session[i]);
		c->session[i] = NULL;
	}
	ds_lockstep_free(c->steps);
	free(c->logits);
	free(c->bias);
	c->steps = NULL;
	c->logits = c->bias = NULL;
	c->n_stream = 0;
}

void ds_lm_code_free(struct ds_lm_code *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < STREAMS; i++) {
		ds_tokens_fini(&c->stream[i].tokens);
		ds_buf_fini(&c->stream[i].spelled);
	}
	drop(c);
	ds_encoder_free(c->enc);
	free(c);
}

/* Memory of n streams that take so many rows of logits at a time. */
static enum ds_status prepare(struct ds_lm_code *c, size_t n, size_t rows, struct ds_err *err)
{
	c->n_stream = n;
	c->rows = rows;
	c->logits = ds_alloc(n * rows * c->vocab, sizeof *c->logits);
	c->bias = ds_alloc(n * c->vocab, sizeof *c->bias);
	if (!c->logits || !c->bias)
		return ds_fail_nomem(err, n * rows * c->vocab * sizeof *c->logits);
	for (size_t i = 0; i < n; i++) {
		c->stream[i].job = NULL;
		c->stream[i].bias = c->bias + i * c->vocab;
	}
	return DS_OK;
}

static enum ds_status spell(struct ds_lm_code *c, struct stream *s, const uint32_t *id, size_t n,
			    struct ds_err *err)
{
	s->spelled.len = 0;
	return ds_decode(c->tok, id, n, DS_ENCODE_CONTINUE, &s->spelled, err);
}

/* The job's tokens; unfit when they do not spell its text. */
static enum ds_status begin_encoding(struct ds_lm_code *c, struct stream *s, struct ds_err *err)
{
	struct ds_lm_job *job = s->job;

	s->tokens.n = 0;
	DS_TRY(ds_encode(c->enc, job->bytes, job->n, DS_ENCODE_CONTINUE, &s->tokens, err));
	DS_TRY(spell(c, s, s->tokens.id, s->tokens.n, err));
	job->unfit = s->spelled.len != job->n || memcmp(s->spelled.data, job->bytes, job->n) != 0;
	if (job->unfit) {
		s->job = NULL;
		return DS_OK;
	}
	ds_arith_enc_init(&s->enc, job->code);
	return DS_OK;
}

static void begin(struct ds_lm_code *c, struct stream *s, struct ds_lm_job *job)
{
	job->status = DS_OK;
	job->unfit = false;
	s->at = 0;
	s->token = c->first;
	s->status = DS_OK;
	memset(s->bias, 0, c->vocab * sizeof *s->bias);
	s->job = job->n ? job : NULL;
}

static inline uint32_t frequency(const struct ds_lm_code *c, float p)
{
	return 1 + (uint32_t)(p * c->scale);
}

/* What the model expects, from its logits. */
static void expect(const struct ds_lm_code *c, const struct stream *s, float *p)
{
	c->kern->add(p, s->bias, c->vocab);
	c->kern->softmax(p, c->vocab, 1);
}

/* The token came: its logit is moved up, others down, as they were expected; p is lost. */
static void learn(const struct ds_lm_code *c, struct stream *s, float *p, uint32_t id)
{
	c->kern->scale(p, p, c->vocab, -STEP);
	c->kern->add(s->bias, p, c->vocab);
	s->bias[id] += STEP;
	s->token = id;
}

static void encode_token(const struct ds_lm_code *c, struct stream *s, float *p)
{
	uint32_t before = 0, id = s->tokens.id[s->at++];

	expect(c, s, p);
	for (uint32_t i = 0; i < id; i++)
		before += frequency(c, p[i]);
	ds_arith_encode(&s->enc, before, frequency(c, p[id]), FREQUENCY_BITS);
	learn(c, s, p, id);
}

/* What is wrong with the code ends the job, not the others. */
static void end_decoding(struct stream *s, enum ds_status st)
{
	s->job->status = st;
	s->job = NULL;
}

static enum ds_status decode_token(struct ds_lm_code *c, struct stream *s, float *p)
{
	uint32_t point = ds_arith_decode_point(&s->dec, FREQUENCY_BITS), before = 0, id = 0, f;
	struct ds_lm_job *job = s->job;

	expect(c, s, p);
	f = frequency(c, p[0]);
	while (before + f <= point && ++id < c->vocab) {
		before += f;
		f = frequency(c, p[id]);
	}
	if (id == c->vocab || id >= ds_tokenizer_size(c->tok) ||
	    ds_arith_dec_starved(&s->dec)) {
		end_decoding(s, DS_EFORMAT);
		return DS_OK;
	}
	ds_arith_decode_take(&s->dec, before, f, FREQUENCY_BITS);
	DS_TRY(spell(c, s, &id, 1, &s->err));
	if (s->spelled.len == 0 || s->spelled.len > job->n - s->at) {
		end_decoding(s, DS_EFORMAT);
		return DS_OK;
	}
	memcpy(job->bytes + s->at, s->spelled.data, s->spelled.len);
	s->at += s->spelled.len;
	learn(c, s, p, id);
	if (s->at == job->n)
		end_decoding(s, ds_arith_dec_finish(&s->dec, NULL));
	return DS_OK;
}

static void decode_stream(void *arg, size_t index, unsigned thread)
{
	struct ds_lm_code *c = arg;
	struct stream *s = &c->stream[c->now[index]];

	(void)thread;
	s->status = decode_token(c, s, c->logits + index * c->vocab);
}

/* Streams of this step; the first failure among n of them. */
static enum ds_status failure(const struct ds_lm_code *c, size_t n, struct ds_err *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct stream *s = &c->stream[c->now[i]];

		if (s->status != DS_OK) {
			*err = s->err;
			return s->status;
		}
	}
	return DS_OK;
}

/* One token of every stream that has a job. */
static enum ds_status decode_step(struct ds_lm_code *c, size_t n, struct ds_err *err)
{
	uint32_t token[STREAMS];

	for (size_t i = 0; i < n; i++)
		token[i] = c->stream[c->now[i]].token;
	DS_TRY(ds_lockstep_read(c->steps, c->now, token, n, err));
	DS_TRY(ds_lockstep_logits(c->steps, 0, n, c->logits, err));
	ds_pool_run(c->pool, n, decode_stream, c);
	return failure(c, n, err);
}

static enum ds_status decode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			     struct ds_err *err)
{
	size_t next = 0, busy;

	DS_TRY(prepare(c, n < STREAMS ? n : STREAMS, 1, err));
	DS_TRY(ds_lockstep_new(&c->steps, c->model, c->pool, &c->options, c->n_stream, err));
	do {
		busy = 0;
		for (uint32_t i = 0; i < c->n_stream; i++) {
			struct stream *s = &c->stream[i];

			while (!s->job && next < n) {
				begin(c, s, &job[next++]);
				if (s->job)
					ds_arith_dec_init(&s->dec, s->job->code->data,
							  s->job->code->len);
				ds_session_truncate(ds_lockstep_session(c->steps, i), 0);
			}
			if (s->job)
				c->now[busy++] = i;
		}
		if (busy)
			DS_TRY(decode_step(c, busy, err));
	} while (busy);
	return DS_OK;
}

enum ds_status ds_lm_decode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			    struct ds_err *err)
{
	enum ds_status st = n ? decode(c, job, n, err) : DS_OK;

	drop(c);
	return st;
}

/* The tokens of a lane's rows. */
static void encode_stream(void *arg, size_t index, unsigned thread)
{
	struct ds_lm_code *c = arg;
	struct stream *s = &c->stream[c->now[index]];
	size_t n = s->tokens.n - s->at < c->rows ? s->tokens.n - s->at : c->rows;

	(void)thread;
	s->status = ds_arith_enc_reserve(&s->enc, n, &s->err);
	for (size_t i = 0; s->status == DS_OK && i < n; i++)
		encode_token(c, s, c->logits + (c->now[index] * c->rows + i) * c->vocab);
	if (s->status != DS_OK || s->at < s->tokens.n)
		return;
	s->job = NULL;
	s->status = ds_arith_enc_finish(&s->enc, &s->err);
}

/* The logits before a lane's next tokens. */
static enum ds_status read_rows(struct ds_lm_code *c, size_t lane, struct ds_err *err)
{
	const struct stream *s = &c->stream[lane];
	struct ds_session *session = c->session[lane];
	size_t n = s->tokens.n - s->at < c->rows ? s->tokens.n - s->at : c->rows;
	uint32_t id[LANE_ROWS];

	id[0] = s->token;
	memcpy(id + 1, s->tokens.id + s->at, (n - 1) * sizeof *id);
	DS_TRY(ds_session_read(session, id, n, n, err));
	return ds_session_logits(session, 0, n, c->logits + lane * c->rows * c->vocab, err);
}

static enum ds_status encode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			     struct ds_err *err)
{
	size_t rows = LANE_BYTES / LANES / sizeof(float) / c->vocab, next = 0, busy;

	rows = rows < 1 ? 1 : rows > LANE_ROWS ? LANE_ROWS : rows;
	DS_TRY(prepare(c, n < LANES ? n : LANES, rows, err));
	c->options.batch = (uint32_t)rows;
	for (size_t i = 0; i < c->n_stream; i++)
		DS_TRY(ds_session_new(&c->session[i], c->model, c->pool, &c->options, err));
	do {
		busy = 0;
		for (uint32_t i = 0; i < c->n_stream; i++) {
			struct stream *s = &c->stream[i];

			while (!s->job && next < n) {
				begin(c, s, &job[next++]);
				if (s->job)
					DS_TRY(begin_encoding(c, s, err));
				ds_session_truncate(c->session[i], 0);
			}
			if (!s->job)
				continue;
			c->now[busy++] = i;
			DS_TRY(read_rows(c, i, err));
		}
		ds_pool_run(c->pool, busy, encode_stream, c);
		DS_TRY(failure(c, busy, err));
	} while (busy);
	return DS_OK;
}

enum ds_status ds_lm_encode(struct ds_lm_code *c, struct ds_lm_job *job, size_t n,
			    struct ds_err *err)
{
	enum ds_status st = n ? encode(c, job, n, err) : DS_OK;

	drop(c);
	return st;
}
