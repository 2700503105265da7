/* token.c - the one door to all tokenizers: opening, encoding, cutting, decoding */
#include "token/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "token/vocab.h"

/* --- opening ------------------------------------------------------------------------------- */

static enum ds_status tokenizer_new(struct ds_tokenizer **tok_ret, struct ds_err *err)
{
	struct ds_tokenizer *tok = ds_alloc_zero(1, sizeof *tok);

	if (!tok)
		return ds_fail_nomem(err, sizeof *tok);
	ds_arena_init(&tok->arena);
	for (int i = 0; i < DS_SPECIALS; i++)
		tok->special[i] = DS_NO_TOKEN;
	*tok_ret = tok;
	return ds_added_new(&tok->added, err);
}

enum ds_status ds_vocab_keep(struct ds_tokenizer *tok, const void *bytes, size_t n,
			     struct ds_str *str_ret, struct ds_err *err)
{
	char *p = ds_arena_alloc(&tok->arena, n, 1);

	if (!p)
		return ds_fail_nomem(err, n);
	memcpy(p, bytes, n);
	*str_ret = (struct ds_str){p, n};
	return DS_OK;
}

static void describe(struct ds_tokenizer *tok)
{
	snprintf(tok->describe, sizeof tok->describe, "wordpiece, %u tokens, Unicode %s", tok->n,
		 utf8proc_unicode_version());
}

enum ds_status ds_tokenizer_open_gguf(struct ds_tokenizer **tok_ret, const struct ds_gguf *gguf,
				      struct ds_err *err)
{
	struct ds_tokenizer *tok = NULL;
	enum ds_status st = tokenizer_new(&tok, err);

	if (st == DS_OK)
		st = ds_vocab_from_gguf(tok, gguf, err);
	if (st != DS_OK) {
		ds_err_set_path(err, gguf->path);
		ds_tokenizer_close(tok);
		return st;
	}
	describe(tok);
	*tok_ret = tok;
	return DS_OK;
}

enum ds_status ds_tokenizer_open(struct ds_tokenizer **tok_ret, const char *path,
				 struct ds_err *err)
{
	struct ds_gguf gguf;
	enum ds_status st;

	DS_TRY(ds_gguf_open(&gguf, path, err));
	st = ds_tokenizer_open_gguf(tok_ret, &gguf, err);
	if (st == DS_OK)
		(*tok_ret)->gguf = gguf;
	else
		ds_gguf_close(&gguf);
	return st;
}

void ds_tokenizer_close(struct ds_tokenizer *tok)
{
	if (!tok)
		return;
	ds_wp_free(tok->wp);
	ds_added_free(tok->added);
	ds_arena_fini(&tok->arena);
	ds_gguf_close(&tok->gguf);
	free(tok);
}

uint64_t ds_tokenizer_id(const struct ds_tokenizer *tok)
{
	return tok->id;
}

uint32_t ds_tokenizer_size(const struct ds_tokenizer *tok)
{
	return tok->n;
}

const char *ds_tokenizer_describe(const struct ds_tokenizer *tok)
{
	return tok->describe;
}

uint32_t ds_tokenizer_special(const struct ds_tokenizer *tok, enum ds_special which)
{
	return tok->special[which];
}

uint32_t ds_tokenizer_find(const struct ds_tokenizer *tok, const void *bytes, size_t n)
{
	uint32_t id = ds_added_find(tok->added, bytes, n);

	return id != DS_NO_TOKEN ? id : ds_wp_find(tok->wp, bytes, n);
}

void ds_tokenizer_affix(const struct ds_tokenizer *tok, struct ds_affix *affix_ret)
{
	*affix_ret = (struct ds_affix){tok->prefix, tok->suffix, tok->n_prefix, tok->n_suffix};
}

void ds_tokens_fini(struct ds_tokens *tokens)
{
	free(tokens->id);
	free(tokens->end);
	*tokens = (struct ds_tokens){0};
}

/* --- encoding ------------------------------------------------------------------------------ */

struct ds_encoder {
	const struct ds_tokenizer *tok;
	struct ds_wp_encoder *wp;
};

enum ds_status ds_encoder_new(struct ds_encoder **enc_ret, const struct ds_tokenizer *tok,
			      struct ds_err *err)
{
	struct ds_encoder *enc = ds_alloc_zero(1, sizeof *enc);
	enum ds_status st;

	if (!enc)
		return ds_fail_nomem(err, sizeof *enc);
	enc->tok = tok;
	st = ds_wp_encoder_new(&enc->wp, tok->wp, err);
	if (st != DS_OK) {
		ds_encoder_free(enc);
		return st;
	}
	*enc_ret = enc;
	return DS_OK;
}

void ds_encoder_free(struct ds_encoder *enc)
{
	if (!enc)
		return;
	ds_wp_encoder_free(enc->wp);
	free(enc);
}

static enum ds_status push(struct ds_tokens *tokens, const uint32_t *id, size_t n, uint64_t end,
			   struct ds_err *err)
{
	DS_TRY(ds_grow(&tokens->id, &tokens->cap_id, tokens->n + n, sizeof *tokens->id, err));
	DS_TRY(ds_grow(&tokens->end, &tokens->cap_end, tokens->n + n, sizeof *tokens->end, err));
	for (size_t i = 0; i < n; i++) {
		tokens->id[tokens->n] = id[i];
		tokens->end[tokens->n++] = end;
	}
	return DS_OK;
}

/* Where the tokens of one text go: stored, or only counted. */
struct sink {
	struct ds_encoder *enc;
	const uint8_t *text;
	struct ds_tokens *tokens; /* NULL: count */
	size_t count;
};

/* text[from..to) holds no added tokens. */
static enum ds_status put_plain(struct sink *sink, size_t from, size_t to, struct ds_err *err)
{
	if (from == to)
		return DS_OK;
	if (sink->tokens)
		return ds_wp_encode(sink->enc->wp, sink->text + from, to - from, from, sink->tokens,
				    err);
	return ds_wp_count(sink->enc->wp, sink->text + from, to - from, &sink->count, err);
}

static enum ds_status put_ids(struct sink *sink, const uint32_t *id, size_t n, uint64_t end,
			      struct ds_err *err)
{
	sink->count += n;
	return sink->tokens ? push(sink->tokens, id, n, end, err) : DS_OK;
}

static enum ds_status put_text(struct sink *sink, size_t n, unsigned flags, struct ds_err *err)
{
	const struct ds_added *added = sink->enc->tok->added;
	struct ds_added_hit hit;
	size_t at = 0;

	while (ds_added_search(added, sink->text, n, at, flags & DS_ENCODE_SPECIAL, &hit)) {
		DS_TRY(put_plain(sink, at, hit.start, err));
		DS_TRY(put_ids(sink, &hit.id, 1, hit.end, err));
		at = hit.end;
	}
	return put_plain(sink, at, n, err);
}

static enum ds_status encode(struct sink *sink, size_t n, unsigned flags, struct ds_err *err)
{
	const struct ds_tokenizer *tok = sink->enc->tok;
	size_t first;

	if (flags & DS_ENCODE_AFFIX)
		DS_TRY(put_ids(sink, tok->prefix, tok->n_prefix, 0, err));
	first = sink->tokens ? sink->tokens->n : 0;
	if (n)
		DS_TRY(put_text(sink, n, flags, err));
	/* what no token covers at the end of the text belongs to the last one */
	if (sink->tokens && sink->tokens->n > first)
		sink->tokens->end[sink->tokens->n - 1] = n;
	if (flags & DS_ENCODE_AFFIX)
		DS_TRY(put_ids(sink, tok->suffix, tok->n_suffix, n, err));
	return DS_OK;
}

enum ds_status ds_encode(struct ds_encoder *enc, const void *text, size_t n, unsigned flags,
			 struct ds_tokens *tokens, struct ds_err *err)
{
	struct sink sink = {enc, text, tokens, 0};

	return encode(&sink, n, flags, err);
}

enum ds_status ds_encode_count(struct ds_encoder *enc, const void *text, size_t n, unsigned flags,
			       size_t *count_ret, struct ds_err *err)
{
	struct sink sink = {enc, text, NULL, 0};

	DS_TRY(encode(&sink, n, flags, err));
	*count_ret = sink.count;
	return DS_OK;
}

size_t ds_encoder_cut(const struct ds_encoder *enc, const void *text, size_t n)
{
	size_t p = n, safe;

	/* a smaller n means less is known of what follows: still right, only more careful */
	while (p) {
		p = ds_wp_cut(enc->tok->wp, text, p);
		safe = ds_added_cut(enc->tok->added, text, n, p);
		if (safe == p)
			break;
		p = safe;
	}
	return p;
}

/* --- decoding ------------------------------------------------------------------------------ */

enum ds_status ds_decode(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
			 unsigned flags, struct ds_buf *buf, struct ds_err *err)
{
	int first = 1;

	for (size_t i = 0; i < n; i++) {
		struct ds_str text;

		if (id[i] >= tok->n)
			return ds_fail(err, DS_EINVAL, "token id %u, below %u expected", id[i],
				       tok->n);
		if (!(flags & DS_ENCODE_SPECIAL) && ds_added_is_special(tok->added, id[i]))
			continue;
		if (!first && !ds_wp_continues(tok->wp, id[i]))
			DS_TRY(ds_buf_append(buf, " ", 1, err));
		text = ds_wp_text(tok->wp, id[i]);
		DS_TRY(ds_buf_append(buf, text.s, text.len, err));
		first = 0;
	}
	return DS_OK;
}
