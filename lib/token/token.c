/* token.c - the one door to all tokenizers: opening, encoding, cutting, decoding */
#include "token/token.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/unicode.h"
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
	static const char *const families[] = {"wordpiece", "bpe", "sentencepiece bpe"};

	snprintf(tok->describe, sizeof tok->describe, "%s%s%s, %u tokens, Unicode %s",
		 families[tok->family], tok->pre ? " " : "",
		 tok->pre ? ds_pretok_name(tok->pre) : "", tok->n, ds_unicode_version);
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

static enum ds_status open_json(struct ds_tokenizer **tok_ret, const char *path,
				const struct ds_map *map, struct ds_err *err)
{
	struct ds_tokenizer *tok = NULL;
	enum ds_status st = tokenizer_new(&tok, err);

	if (st == DS_OK)
		st = ds_vocab_from_json(tok, map->data, map->len, path, err);
	if (st != DS_OK) {
		ds_err_set_path(err, path);
		ds_tokenizer_close(tok);
		return st;
	}
	describe(tok);
	*tok_ret = tok;
	return DS_OK;
}

static enum ds_status open_file(struct ds_tokenizer **tok_ret, const char *path, struct ds_err *err)
{
	struct ds_gguf gguf;
	enum ds_status st;
	struct ds_map map;
	bool json;

	DS_TRY(ds_map_open(&map, path, err));
	json = map.len < 4 || memcmp(map.data, "GGUF", 4) != 0;
	st = json ? open_json(tok_ret, path, &map, err) : DS_OK;
	ds_map_close(&map);
	if (json)
		return st;
	DS_TRY(ds_gguf_open(&gguf, path, err));
	st = ds_tokenizer_open_gguf(tok_ret, &gguf, err);
	if (st == DS_OK)
		(*tok_ret)->gguf = gguf;
	else
		ds_gguf_close(&gguf);
	return st;
}

enum ds_status ds_tokenizer_open(struct ds_tokenizer **tok_ret, const char *path,
				 struct ds_err *err)
{
	char inside[4096];
	struct stat info;

	if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
		snprintf(inside, sizeof inside, "%s/tokenizer.json", path);
		path = inside;
	}
	return open_file(tok_ret, path, err);
}

void ds_tokenizer_close(struct ds_tokenizer *tok)
{
	if (!tok)
		return;
	ds_wp_free(tok->wp);
	ds_bpe_free(tok->bpe);
	ds_pretok_close(tok->pre);
	ds_spm_free(tok->spm);
	ds_pairs_free(tok->pairs);
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

	if (id != DS_NO_TOKEN)
		return id;
	switch (tok->family) {
	case DS_FAMILY_WORDPIECE:
		return ds_wp_find(tok->wp, bytes, n);
	case DS_FAMILY_BPE:
		return ds_bpe_find(tok->bpe, bytes, n);
	case DS_FAMILY_SPM:
		return ds_spm_find(tok->spm, bytes, n);
	}
	return DS_NO_TOKEN;
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
	/* the one of the family */
	struct ds_wp_encoder *wp;
	struct ds_bpe_encoder *bpe;
	struct ds_spm_encoder *spm;
	struct ds_normed normed;
	struct ds_tokens counted; /* scratch of counting */
};

static enum ds_status engine_new(struct ds_encoder *enc, struct ds_err *err)
{
	const struct ds_tokenizer *tok = enc->tok;

	switch (tok->family) {
	case DS_FAMILY_WORDPIECE:
		return ds_wp_encoder_new(&enc->wp, tok->wp, err);
	case DS_FAMILY_BPE:
		return ds_bpe_encoder_new(&enc->bpe, tok->bpe, tok->pre, err);
	case DS_FAMILY_SPM:
		return ds_spm_encoder_new(&enc->spm, tok->spm, err);
	}
	return DS_OK;
}

enum ds_status ds_encoder_new(struct ds_encoder **enc_ret, const struct ds_tokenizer *tok,
			      struct ds_err *err)
{
	struct ds_encoder *enc = ds_alloc_zero(1, sizeof *enc);
	enum ds_status st;

	if (!enc)
		return ds_fail_nomem(err, sizeof *enc);
	enc->tok = tok;
	st = engine_new(enc, err);
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
	ds_bpe_encoder_free(enc->bpe);
	ds_spm_encoder_free(enc->spm);
	ds_normed_fini(&enc->normed);
	ds_tokens_fini(&enc->counted);
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

/* Append the tokens of normalised text. */
/* Byte-level pretokens, or pieces between which no token reaches over. */
static enum ds_status run_bpe(struct ds_encoder *enc, const struct ds_part *text, uint64_t base,
			      struct ds_tokens *tokens, struct ds_err *err)
{
	const uint8_t *p = text->bytes, *start = p, *end = p + text->len;

	if (!enc->tok->pairs)
		return ds_bpe_encode(enc->bpe, text->bytes, text->len, base, tokens, err);
	while (p < end) {
		const uint8_t *next = ds_pairs_next(enc->tok->pairs, p, end);

		DS_TRY(ds_bpe_encode(enc->bpe, p, (size_t)(next - p), base + (uint64_t)(p - start),
				     tokens, err));
		p = next;
	}
	return DS_OK;
}

static enum ds_status run_engine(struct ds_encoder *enc, const struct ds_part *text,
				 enum ds_text_place place, uint64_t base, struct ds_tokens *tokens,
				 struct ds_err *err)
{
	switch (enc->tok->family) {
	case DS_FAMILY_WORDPIECE:
		return ds_wp_encode(enc->wp, text->bytes, text->len, base, tokens, err);
	case DS_FAMILY_BPE:
		return run_bpe(enc, text, base, tokens, err);
	case DS_FAMILY_SPM:
		return ds_spm_encode(enc->spm, text,
				     enc->tok->strip_space && place != DS_TEXT_CONTINUES, base,
				     tokens, err);
	}
	return DS_OK;
}

static enum ds_status encode_plain(struct ds_encoder *enc, const struct ds_part *text,
				   enum ds_text_place place, uint64_t base,
				   struct ds_tokens *tokens, struct ds_err *err)
{
	struct ds_normed *normed = &enc->normed;
	size_t before = tokens->n;

	if (enc->tok->norm.n == 0)
		return run_engine(enc, text, place, base, tokens, err);
	DS_TRY(ds_norm_run(&enc->tok->norm, text, place, normed, err));
	DS_TRY(run_engine(enc, &(struct ds_part){normed->text, normed->len}, place, base, tokens,
			  err));
	ds_norm_ends(normed, tokens->end + before, tokens->n - before, base);
	return DS_OK;
}

/* text[from..to) holds no added tokens. */
static enum ds_status put_plain(struct sink *sink, size_t from, size_t to, enum ds_text_place place,
				struct ds_err *err)
{
	struct ds_encoder *enc = sink->enc;
	const struct ds_part text = {sink->text + from, to - from};

	if (from == to)
		return DS_OK;
	if (sink->tokens)
		return encode_plain(enc, &text, place, from, sink->tokens, err);
	if (enc->tok->norm.n == 0 && enc->wp)
		return ds_wp_count(enc->wp, text.bytes, text.len, &sink->count, err);
	if (enc->tok->norm.n == 0 && enc->bpe && !enc->tok->pairs)
		return ds_bpe_count(enc->bpe, text.bytes, text.len, &sink->count, err);
	enc->counted.n = 0;
	DS_TRY(encode_plain(enc, &text, place, from, &enc->counted, err));
	sink->count += enc->counted.n;
	return DS_OK;
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
	enum ds_text_place place = flags & DS_ENCODE_CONTINUE ? DS_TEXT_CONTINUES : DS_TEXT_START;
	size_t at = 0;

	while (ds_added_search(added, sink->text, n, at, flags & DS_ENCODE_SPECIAL, &hit)) {
		DS_TRY(put_plain(sink, at, hit.start, place, err));
		DS_TRY(put_ids(sink, &hit.id, 1, hit.end, err));
		at = hit.end;
		place = DS_TEXT_AFTER_TOKEN;
	}
	return put_plain(sink, at, n, place, err);
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

/* Whether something is put before a text, and before each after an added token. */
static bool puts_prefix(const struct ds_tokenizer *tok)
{
	for (size_t i = 0; i < tok->norm.n; i++)
		if (tok->norm.step[i].kind == DS_NORM_PREPEND)
			return true;
	return tok->strip_space;
}

static size_t engine_cut(const struct ds_tokenizer *tok, const uint8_t *text, size_t n)
{
	switch (tok->family) {
	case DS_FAMILY_WORDPIECE:
		return ds_wp_cut(tok->wp, text, n);
	case DS_FAMILY_BPE:
		return tok->pairs ? ds_pairs_cut(tok->pairs, text, n)
				  : ds_pretok_cut(tok->pre, text, n);
	case DS_FAMILY_SPM:
		return ds_spm_cut(tok->spm, text, n);
	}
	return 0;
}

size_t ds_encoder_cut(const struct ds_encoder *enc, const void *text, size_t n)
{
	const struct ds_tokenizer *tok = enc->tok;
	const uint8_t *t = text;
	size_t p = n;

	/* a smaller n means less is known of what follows: still right, only more careful */
	while ((p = engine_cut(tok, t, p)) > 0) {
		size_t safe = ds_added_cut(tok->added, t, n, p);

		if (safe == p && p < n && ds_norm_may_cut(&tok->norm, t, n, p) &&
		    !(puts_prefix(tok) && ds_added_ends_at(tok->added, t, p)))
			break;
		p = safe < p ? safe : p - 1;
	}
	return p;
}

/* --- decoding ------------------------------------------------------------------------------ */

/* A token in which U+2581 and <0x0A> stand for a space and a byte. */
static enum ds_status put_meta(const struct ds_tokenizer *tok, struct ds_str text, bool first,
			       struct ds_buf *buf, struct ds_err *err)
{
	int byte = ds_spm_byte(text);
	size_t before = buf->len;

	if (byte >= 0)
		return ds_buf_append(buf, &(uint8_t){(uint8_t)byte}, 1, err);
	DS_TRY(ds_buf_reserve(buf, text.len, err));
	buf->len += ds_spm_unescape(text, (char *)buf->data + before);
	if (first && puts_prefix(tok) && buf->len > before && buf->data[before] == ' ') {
		memmove(buf->data + before, buf->data + before + 1, buf->len - before - 1);
		buf->len--;
	}
	return DS_OK;
}

/* The bytes of one token; first: it is the first of a text. */
static enum ds_status put_token(const struct ds_tokenizer *tok, uint32_t id, bool first,
				struct ds_buf *buf, struct ds_err *err)
{
	struct ds_str text = {"", 0};

	switch (tok->family) {
	case DS_FAMILY_WORDPIECE:
		text = ds_wp_text(tok->wp, id);
		if (!first && !ds_wp_continues(tok->wp, id))
			DS_TRY(ds_buf_append(buf, " ", 1, err));
		break;
	case DS_FAMILY_BPE:
		text = ds_bpe_token(tok->bpe, id);
		if (tok->meta)
			return put_meta(tok, text, first, buf, err);
		break;
	case DS_FAMILY_SPM:
		text = ds_spm_token(tok->spm, id);
		if (first && tok->strip_space && text.len && text.s[0] == ' ') {
			text.s++;
			text.len--;
		}
		break;
	}
	return ds_buf_append(buf, text.s, text.len, err);
}

enum ds_status ds_decode(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
			 unsigned flags, struct ds_buf *buf, struct ds_err *err)
{
	bool first = !(flags & DS_ENCODE_CONTINUE);

	for (size_t i = 0; i < n; i++) {
		bool special = ds_added_is_special(tok->added, id[i]);

		if (id[i] >= tok->n)
			return ds_fail(err, DS_EINVAL, "token id %u, below %u expected", id[i],
				       tok->n);

		if (!special || (flags & DS_ENCODE_SPECIAL))
			DS_TRY(put_token(tok, id[i], first, buf, err));
		/* SentencePiece puts a space before every text between special tokens */
		first = special && (first || tok->family == DS_FAMILY_SPM);
	}
	return DS_OK;
}
