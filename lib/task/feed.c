/* feed.c - a text that is still coming, as tokens */
#include "task/feed.h"

#define TRY_BYTES ((size_t)4 << 10)

enum ds_status ds_feed_push(struct ds_feed *f, const void *bytes, size_t n, struct ds_err *err)
{
	return ds_buf_append(&f->pending, bytes, n, err);
}

/* The first n pending bytes. */
static enum ds_status encode(struct ds_feed *f, size_t n, struct ds_tokens *tokens,
			     struct ds_err *err)
{
	unsigned flags = f->flags | (f->start ? DS_ENCODE_CONTINUE : 0);
	size_t first = tokens->n;

	DS_TRY(ds_encode(f->enc, f->pending.data ? f->pending.data : (const uint8_t *)"", n, flags,
			 tokens, err));
	for (size_t i = first; i < tokens->n; i++)
		tokens->end[i] += f->start;
	f->start += n;
	ds_buf_consume(&f->pending, n);
	return DS_OK;
}

enum ds_status ds_feed_take(struct ds_feed *f, size_t hold, bool now, struct ds_tokens *tokens,
			    struct ds_err *err)
{
	size_t n = f->pending.len > hold ? f->pending.len - hold : 0, cut;

	if (n == 0 || (!now && n < TRY_BYTES) || n < f->try_at)
		return DS_OK;
	cut = ds_encoder_cut(f->enc, f->pending.data, n);
	/* nowhere to cut: looking again at twice as much stays linear */
	f->try_at = cut ? 0 : n < TRY_BYTES ? n + n / 4 : 2 * n;
	return cut ? encode(f, cut, tokens, err) : DS_OK;
}

enum ds_status ds_feed_end(struct ds_feed *f, struct ds_tokens *tokens, struct ds_err *err)
{
	enum ds_status st = DS_OK;

	if (f->pending.len)
		st = encode(f, f->pending.len, tokens, err);
	ds_feed_reset(f);
	return st;
}

void ds_feed_reset(struct ds_feed *f)
{
	f->pending.len = f->start = f->try_at = 0;
}

void ds_feed_fini(struct ds_feed *f)
{
	ds_buf_fini(&f->pending);
}
