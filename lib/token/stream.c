/* stream.c - documents of any length as tokens, in pieces, on several threads */
#include "token/stream.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)128 << 10)
#define PIECES_PER_THREAD 8

/* A piece at work, with the memory that serves it from batch to batch. */
struct job {
	struct ds_token_piece piece;
	struct ds_tokens tokens;
	enum ds_status st;
	struct ds_err err;
};

struct ds_token_stream {
	struct ds_token_stream_options o;
	unsigned threads;
	struct ds_encoder **encoder; /* [threads], made when first needed */
	struct job *job;	     /* [jobs] */
	size_t jobs;
	struct ds_buf buf;  /* bytes of the document that are not yet tokens */
	uint64_t start;	    /* of buf in the document */
	size_t batch_bytes; /* work begins when so many are there */
	bool last;	    /* the document ends with buf */
};

enum ds_status ds_token_stream_new(struct ds_token_stream **s_ret,
				   const struct ds_token_stream_options *options,
				   struct ds_err *err)
{
	struct ds_token_stream *s = ds_alloc_zero(1, sizeof *s);

	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	s->o = *options;
	s->threads = ds_pool_threads(options->pool);
	s->jobs = (size_t)s->threads * PIECES_PER_THREAD;
	s->batch_bytes = s->jobs * PIECE_BYTES;
	s->encoder = ds_alloc_zero(s->threads, sizeof *s->encoder);
	s->job = ds_alloc_zero(s->jobs, sizeof *s->job);
	if (!s->encoder || !s->job) {
		ds_token_stream_free(s);
		return ds_fail_nomem(err, s->jobs * sizeof *s->job);
	}
	*s_ret = s;
	return DS_OK;
}

void ds_token_stream_free(struct ds_token_stream *s)
{
	if (!s)
		return;
	for (unsigned i = 0; s->encoder && i < s->threads; i++)
		ds_encoder_free(s->encoder[i]);
	for (size_t i = 0; s->job && i < s->jobs; i++) {
		ds_tokens_fini(&s->job[i].tokens);
		ds_buf_fini(&s->job[i].piece.made);
	}
	free(s->encoder);
	free(s->job);
	ds_buf_fini(&s->buf);
	free(s);
}

static enum ds_status encoder_of(struct ds_token_stream *s, unsigned thread,
				 struct ds_encoder **enc_ret, struct ds_err *err)
{
	if (!s->encoder[thread])
		DS_TRY(ds_encoder_new(&s->encoder[thread], s->o.tok, err));
	*enc_ret = s->encoder[thread];
	return DS_OK;
}

/* ds_encode() puts both ends of an affix around a text; a piece may want one of them. */
static enum ds_status put_affix(struct ds_tokens *t, const uint32_t *id, size_t n, uint64_t end,
				struct ds_err *err)
{
	DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + n, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + n, sizeof *t->end, err));
	for (size_t i = 0; i < n; i++) {
		t->id[t->n] = id[i];
		t->end[t->n++] = end;
	}
	return DS_OK;
}

static enum ds_status encode(struct ds_token_stream *s, struct job *job, unsigned thread,
			     struct ds_err *err)
{
	struct ds_token_piece *piece = &job->piece;
	unsigned flags = (s->o.flags & DS_ENCODE_SPECIAL) | (piece->first ? 0 : DS_ENCODE_CONTINUE);
	bool affixed = s->o.flags & DS_ENCODE_AFFIX;
	struct ds_affix affix;
	struct ds_encoder *enc;

	DS_TRY(encoder_of(s, thread, &enc, err));
	ds_tokenizer_affix(s->o.tok, &affix);
	if (s->o.count) {
		DS_TRY(ds_encode_count(enc, piece->text, piece->len, flags, &piece->n, err));
		if (affixed)
			piece->n += (piece->first ? affix.n_prefix : 0) +
				    (piece->last ? affix.n_suffix : 0);
		return DS_OK;
	}
	job->tokens.n = 0;
	if (affixed && piece->first)
		DS_TRY(put_affix(&job->tokens, affix.prefix, affix.n_prefix, 0, err));
	DS_TRY(ds_encode(enc, piece->text, piece->len, flags, &job->tokens, err));
	if (affixed && piece->last)
		DS_TRY(put_affix(&job->tokens, affix.suffix, affix.n_suffix, piece->len, err));
	piece->n = job->tokens.n;
	piece->id = job->tokens.id;
	piece->end = job->tokens.end;
	return DS_OK;
}

static void work(void *arg, size_t index, unsigned thread)
{
	struct ds_token_stream *s = arg;
	struct job *job = &s->job[index];

	job->st = encode(s, job, thread, &job->err);
	job->piece.made.len = 0;
	if (job->st == DS_OK && s->o.make)
		job->st = s->o.make(s->o.user, &job->piece, &job->err);
}

/* The end of the piece that begins at, or 0 when more bytes are needed to know it. */
static size_t cut(struct ds_token_stream *s, const struct ds_encoder *enc, size_t at)
{
	size_t left = s->buf.len - at;

	for (size_t n = PIECE_BYTES;; n *= 2) {
		size_t p;

		if (n >= left && s->last)
			return s->buf.len;
		if (n > left)
			n = left;
		p = ds_encoder_cut(enc, s->buf.data + at, n);
		if (p)
			return at + p;
		if (n == left)
			return 0;
	}
}

/* Cut, tokenize and hand over as many pieces as there are jobs; the bytes that they took. */
static enum ds_status run_batch(struct ds_token_stream *s, size_t from, size_t *taken_ret,
				struct ds_err *err)
{
	struct ds_encoder *enc;
	size_t n = 0, at = from;

	DS_TRY(encoder_of(s, 0, &enc, err));
	while (n < s->jobs && (at < s->buf.len || (s->last && at == from && n == 0))) {
		size_t end = at < s->buf.len ? cut(s, enc, at) : at;
		struct ds_token_piece *piece = &s->job[n].piece;

		if (end == 0 && at < s->buf.len)
			break;
		piece->text = s->buf.data ? s->buf.data + at : (const uint8_t *)"";
		piece->len = end - at;
		piece->start = s->start + at;
		piece->first = piece->start == 0;
		piece->last = s->last && end == s->buf.len;
		at = end;
		n++;
	}
	ds_pool_run(s->o.pool, n, work, s);
	for (size_t i = 0; i < n; i++) {
		if (s->job[i].st != DS_OK) {
			if (err)
				*err = s->job[i].err;
			return s->job[i].st;
		}
		DS_TRY(s->o.take(s->o.user, &s->job[i].piece, err));
	}
	*taken_ret = at - from;
	return DS_OK;
}

enum ds_status ds_token_stream_room(struct ds_token_stream *s, uint8_t **bytes_ret, size_t *cap_ret,
				    struct ds_err *err)
{
	size_t want = s->batch_bytes > s->buf.len ? s->batch_bytes - s->buf.len : 1;

	/* small documents need no large buffer */
	if (want > PIECE_BYTES && s->buf.cap - s->buf.len < want)
		want = PIECE_BYTES;
	DS_TRY(ds_buf_reserve(&s->buf, want, err));
	*bytes_ret = s->buf.data + s->buf.len;
	*cap_ret = want;
	return DS_OK;
}

enum ds_status ds_token_stream_push(struct ds_token_stream *s, size_t n, bool last,
				    struct ds_err *err)
{
	size_t at = 0, taken;

	s->buf.len += n;
	s->last = last;
	if (!last && s->buf.len < s->batch_bytes)
		return DS_OK;
	do {
		DS_TRY(run_batch(s, at, &taken, err));
		at += taken;
		/* a last bit of what was read waits for the next batch, to keep the threads busy */
	} while (taken && (last ? at < s->buf.len : s->buf.len - at >= s->batch_bytes / 2));
	s->start += at;
	ds_buf_consume(&s->buf, at);
	/* nowhere to cut: wait for twice as much, so that looking stays linear */
	s->batch_bytes = s->jobs * PIECE_BYTES;
	if (s->buf.len >= s->batch_bytes / 2)
		s->batch_bytes = s->buf.len * 2;
	if (last) {
		s->start = 0;
		s->last = false;
	}
	return DS_OK;
}
