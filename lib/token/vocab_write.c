/* vocab_write.c - a WordPiece tokenizer, or a part of its vocabulary, as keys of a GGUF file */
#include "token/vocab_write.h"

#include <stdlib.h>
#include <string.h>

#include "token/vocab.h"

static const char word_mark[] = "\u2581";

/* Keys of GGUF, as llama.cpp spells them. */
static const struct special_key {
	enum ds_special which;
	const char *key;
} special_keys[] = {
	{DS_UNK, "tokenizer.ggml.unknown_token_id"}, {DS_SEP, "tokenizer.ggml.seperator_token_id"},
	{DS_PAD, "tokenizer.ggml.padding_token_id"}, {DS_CLS, "tokenizer.ggml.cls_token_id"},
	{DS_MASK, "tokenizer.ggml.mask_token_id"},
};
#define SPECIAL_KEYS (sizeof special_keys / sizeof *special_keys)

enum ds_status ds_tokenizer_writable(const struct ds_tokenizer *tok, struct ds_err *err)
{
	if (tok->family == DS_FAMILY_WORDPIECE && tok->wp)
		return DS_OK;
	return ds_fail(err, DS_EUNSUPPORTED, "its vocabulary is not WordPiece");
}

struct ds_str ds_tokenizer_piece(const struct ds_tokenizer *tok, uint32_t id, int *continues_ret)
{
	*continues_ret = ds_wp_continues(tok->wp, id);
	return ds_wp_text(tok->wp, id);
}

int ds_tokenizer_is_special(const struct ds_tokenizer *tok, uint32_t id)
{
	for (size_t i = 0; i < SPECIAL_KEYS; i++)
		if (tok->special[special_keys[i].which] == id)
			return 1;
	return 0;
}

/* The token as GGUF spells it, into the arena. */
static enum ds_status spell(const struct ds_tokenizer *tok, uint32_t id, struct ds_arena *arena,
			    struct ds_str *str_ret, struct ds_err *err)
{
	int continues;
	struct ds_str text = ds_tokenizer_piece(tok, id, &continues);
	size_t mark = continues || ds_tokenizer_is_special(tok, id) ? 0 : sizeof word_mark - 1;
	char *p = ds_arena_alloc(arena, mark + text.len, 1);

	if (!p)
		return ds_fail_nomem(err, mark + text.len);
	memcpy(p, word_mark, mark);
	memcpy(p + mark, text.s, text.len);
	*str_ret = (struct ds_str){p, mark + text.len};
	return DS_OK;
}

static enum ds_status put_tokens(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
				 struct ds_gguf_writer *w, struct ds_err *err)
{
	struct ds_arena arena;
	struct ds_str *str;
	int32_t *type;
	enum ds_status st = DS_OK;

	ds_arena_init(&arena);
	str = ds_arena_alloc(&arena, n, sizeof *str);
	type = ds_arena_alloc(&arena, n, sizeof *type);
	if (!str || !type)
		st = ds_fail_nomem(err, n * sizeof *str);
	for (size_t i = 0; st == DS_OK && i < n; i++) {
		type[i] = ds_tokenizer_is_special(tok, id[i]) ? DS_TYPE_CONTROL : DS_TYPE_NORMAL;
		st = spell(tok, id[i], &arena, &str[i], err);
	}
	if (st == DS_OK)
		st = ds_gguf_put_strs(w, "tokenizer.ggml.tokens", str, n, err);
	if (st == DS_OK)
		st = ds_gguf_put_i32s(w, "tokenizer.ggml.token_type", type, n, err);
	ds_arena_fini(&arena);
	return st;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

enum ds_status ds_tokenizer_put(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
				struct ds_gguf_writer *w, struct ds_err *err)
{
	unsigned flags;

	DS_TRY(ds_tokenizer_writable(tok, err));
	flags = ds_wp_flags(tok->wp);
	DS_TRY(ds_gguf_put_str(w, "tokenizer.ggml.model", "bert", err));
	DS_TRY(put_tokens(tok, id, n, w, err));
	for (size_t i = 0; i < SPECIAL_KEYS; i++) {
		uint32_t special = tok->special[special_keys[i].which];
		const uint32_t *at;

		if (special == DS_NO_TOKEN)
			continue;
		at = bsearch(&special, id, n, sizeof *id, compare_ids);
		if (!at)
			return ds_fail(err, DS_EINVAL, "special token %u is not kept", special);
		DS_TRY(ds_gguf_put_u32(w, special_keys[i].key, (uint32_t)(at - id), err));
	}
	DS_TRY(ds_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", flags & DS_WP_LOWER,
				err));
	return ds_gguf_put_bool(w, "tokenizer.ggml.normalizer.strip_accents", flags & DS_WP_ACCENTS,
				err);
}
