/*
 * vocab_gguf.c - tokenizers from the metadata of GGUF files
 *
 * Source: github.com/ggml-org/ggml/blob/master/docs/gguf.md, tokenizer.ggml.*; what the keys leave
 * open is as llama.cpp has it, whose recorded ids the tests compare.
 */
#define XXH_INLINE_ALL
#include "token/vocab.h"

#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "base/cursor.h"

static const char *const special_keys[DS_SPECIALS] = {
	[DS_BOS] = "tokenizer.ggml.bos_token_id",
	[DS_EOS] = "tokenizer.ggml.eos_token_id",
	[DS_UNK] = "tokenizer.ggml.unknown_token_id",
	[DS_SEP] = "tokenizer.ggml.seperator_token_id",
	[DS_PAD] = "tokenizer.ggml.padding_token_id",
	[DS_CLS] = "tokenizer.ggml.cls_token_id",
	[DS_MASK] = "tokenizer.ggml.mask_token_id",
	[DS_EOT] = "tokenizer.ggml.eot_token_id",
};

/* A key that may be absent: *value_io stays as it is then. */
static enum ds_status optional(const struct ds_gguf *gguf, const char *key, uint64_t *value_io,
			       struct ds_err *err)
{
	if (!ds_gguf_find(gguf, key))
		return DS_OK;
	return ds_gguf_u64(gguf, key, value_io, err);
}

static enum ds_status read_specials(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
				    struct ds_err *err)
{
	for (int i = 0; i < DS_SPECIALS; i++) {
		const struct ds_gguf_kv *kv = ds_gguf_find(gguf, special_keys[i]);
		uint64_t id = DS_NO_TOKEN;

		/* -1 and UINT32_MAX stand for "none" in files of some converters */
		if (kv && kv->type == DS_GGUF_I32 && ds_get_u32(kv->data) == UINT32_MAX)
			kv = NULL;
		if (kv)
			DS_TRY(ds_gguf_u64(gguf, special_keys[i], &id, err));
		if (id != DS_NO_TOKEN && id >= tok->n)
			return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, kv),
					  "%s is %llu, below %u expected", special_keys[i],
					  (unsigned long long)id, tok->n);
		tok->special[i] = (uint32_t)id;
	}
	return DS_OK;
}

static void put_prefix(struct ds_tokenizer *tok, uint32_t id)
{
	if (id != DS_NO_TOKEN)
		tok->prefix[tok->n_prefix++] = id;
}

static void put_suffix(struct ds_tokenizer *tok, uint32_t id)
{
	if (id != DS_NO_TOKEN)
		tok->suffix[tok->n_suffix++] = id;
}

static enum ds_status read_affix(struct ds_tokenizer *tok, const struct ds_gguf *gguf, uint64_t bos,
				 uint64_t sep, struct ds_err *err)
{
	uint64_t eos = 0;

	DS_TRY(optional(gguf, "tokenizer.ggml.add_bos_token", &bos, err));
	DS_TRY(optional(gguf, "tokenizer.ggml.add_eos_token", &eos, err));
	DS_TRY(optional(gguf, "tokenizer.ggml.add_sep_token", &sep, err));
	if (bos)
		put_prefix(tok, tok->special[DS_BOS] != DS_NO_TOKEN ? tok->special[DS_BOS]
								    : tok->special[DS_CLS]);
	if (sep)
		put_suffix(tok, tok->special[DS_SEP]);
	if (eos)
		put_suffix(tok, tok->special[DS_EOS]);
	return DS_OK;
}

static enum ds_status read_text(struct ds_tokenizer *tok, const struct ds_gguf_kv *tokens,
				const struct ds_str **text_ret, struct ds_err *err)
{
	struct ds_str *text = ds_arena_alloc(&tok->arena, tok->n, sizeof *text);
	size_t pos = 0;

	if (!text)
		return ds_fail_nomem(err, tok->n * sizeof *text);
	for (uint32_t i = 0; i < tok->n; i++)
		text[i] = ds_gguf_next_str(tokens, &pos);
	*text_ret = text;
	return DS_OK;
}

/* Control, unknown and user-defined tokens are found in text as a whole. */
static enum ds_status read_added(struct ds_tokenizer *tok, const struct ds_gguf_kv *tokens,
				 const uint8_t *types, struct ds_err *err)
{
	size_t pos = 0;

	for (uint32_t i = 0; i < tok->n; i++) {
		struct ds_str text = ds_gguf_next_str(tokens, &pos);
		uint32_t type = ds_get_u32(types + (size_t)i * 4);

		if (type == DS_TYPE_CONTROL || type == DS_TYPE_UNKNOWN)
			DS_TRY(ds_added_put(tok->added, text, i, DS_ADDED_SPECIAL, err));
		else if (type == DS_TYPE_USER)
			DS_TRY(ds_added_put(tok->added, text, i, 0, err));
	}
	return DS_OK;
}

static enum ds_status load_wordpiece(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
				     const struct ds_gguf_kv *tokens, struct ds_err *err)
{
	uint64_t lower = 1, accents;
	struct ds_wp_source source = {
		.n = tok->n,
		.style = DS_WP_GGUF,
		.flags = DS_WP_CLEAN | DS_WP_CJK,
		.word_chars_max = 100,
	};

	tok->family = DS_FAMILY_WORDPIECE;
	DS_TRY(read_text(tok, tokens, &source.token, err));
	if (tok->special[DS_UNK] == DS_NO_TOKEN)
		tok->special[DS_UNK] = ds_added_find(tok->added, "[UNK]", 5);
	if (tok->special[DS_UNK] == DS_NO_TOKEN)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET, "key %s is missing",
				  special_keys[DS_UNK]);
	DS_TRY(optional(gguf, "tokenizer.ggml.normalizer.lowercase", &lower, err));
	accents = lower;
	DS_TRY(optional(gguf, "tokenizer.ggml.normalizer.strip_accents", &accents, err));
	source.flags |= (lower ? DS_WP_LOWER : 0) | (accents ? DS_WP_ACCENTS : 0);
	source.unk = tok->special[DS_UNK];
	DS_TRY(ds_wp_build(&tok->wp, &source, err));
	return read_affix(tok, gguf, 1, 1, err);
}

/* Names of tokenizer.ggml.pre whose merges are passed over when a whole pretoken is a token, and
 * those that put BOS before a text unless told otherwise.  Source: llama.cpp, llama-vocab.cpp. */
static bool named(struct ds_str pre, const char *const *names)
{
	for (; *names; names++)
		if (ds_str_is(pre, *names))
			return true;
	return false;
}

static const char *const ignore_merges[] = {
	"llama3",  "llama-v3", "llama-bpe", "falcon3",	    "falcon-h1",
	"pixtral", "midm-2.0", "lfm2",	    "jina-v5-nano", "glm4",
	"glm5",	   "tekken",   "youtu",	    "minicpm5",	    NULL,
};
static const char *const adds_bos[] = {
	"llama3",   "llama-v3", "llama-bpe",	"falcon3", "falcon-h1", "pixtral",
	"midm-2.0", "lfm2",	"jina-v5-nano", "tekken",  "chameleon", NULL,
};
/* Hugging Face normalises these to NFC; the keys do not say so.  (qwen35 is not among them.) */
static const char *const composes[] = {"qwen2", "deepseek-r1-qwen", NULL};
static const char *const adds_sep[] = {"jina-v1-en", "roberta-bpe", NULL};

static enum ds_status load_bpe(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
			       const struct ds_gguf_kv *tokens, const struct ds_gguf_kv *types,
			       struct ds_err *err)
{
	const struct ds_gguf_kv *merges;
	struct ds_bpe_source source = {
		.token = {.n = tok->n, .packed = tokens->data},
		.type = types ? types->data : NULL,
		.flags = DS_BPE_BYTE_ENCODED,
		.unk = tok->special[DS_UNK],
	};
	struct ds_str pre, model;

	tok->family = DS_FAMILY_BPE;
	DS_TRY(ds_gguf_str(gguf, "tokenizer.ggml.model", &model, err));
	if (ds_str_is(model,
		      "gemma4")) { /* merges over text with U+2581 for spaces, no byte alphabet */
		source.flags = 0;
		tok->meta = true;
		tok->norm.step[tok->norm.n++] = (struct ds_norm_step){
			.kind = DS_NORM_REPLACE, .a = {" ", 1}, .b = {"\xE2\x96\x81", 3}};
	}
	DS_TRY(ds_gguf_array(gguf, "tokenizer.ggml.merges", DS_GGUF_STRING, &merges, err));
	source.merge = (struct ds_bpe_strings){.n = merges->n, .packed = merges->data};
	if (tok->meta)
		pre = model; /* the only way to split, which files need not name */
	else if (!ds_gguf_find(gguf, "tokenizer.ggml.pre"))
		return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, DS_NO_OFFSET,
				  "key tokenizer.ggml.pre is missing: how text is split before "
				  "merging is not known (convert the model anew)");
	else
		DS_TRY(ds_gguf_str(gguf, "tokenizer.ggml.pre", &pre, err));
	DS_TRY(ds_pretok_named(&tok->pre, pre.s, pre.len, err));
	if (named(pre, ignore_merges))
		source.flags |= DS_BPE_IGNORE_MERGES;
	if (named(pre, composes))
		tok->norm.step[tok->norm.n++].kind = DS_NORM_NFC;
	DS_TRY(ds_bpe_build(&tok->bpe, &source, err));
	return read_affix(tok, gguf, tok->meta || named(pre, adds_bos), named(pre, adds_sep), err);
}

/* Phi-3's special tokens take the white space after them; files do not say so. */
static enum ds_status strip_phi3(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
				 const struct ds_gguf_kv *tokens, const uint8_t *types,
				 struct ds_err *err)
{
	struct ds_str architecture;
	size_t pos = 0;

	if (!ds_gguf_find(gguf, "general.architecture"))
		return DS_OK;
	DS_TRY(ds_gguf_str(gguf, "general.architecture", &architecture, err));
	if (!ds_str_is(architecture, "phi3"))
		return DS_OK;
	for (uint32_t i = 0; i < tok->n; i++) {
		struct ds_str text = ds_gguf_next_str(tokens, &pos);
		uint32_t type = ds_get_u32(types + (size_t)i * 4);

		if (type != DS_TYPE_CONTROL && type != DS_TYPE_USER)
			continue;
		if (ds_str_is(text, "<s>") || ds_str_is(text, "<|endoftext|>"))
			continue;
		DS_TRY(ds_added_put(
			tok->added, text, i,
			DS_ADDED_RSTRIP | (type == DS_TYPE_CONTROL ? DS_ADDED_SPECIAL : 0), err));
	}
	return DS_OK;
}

static enum ds_status load_spm(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
			       const struct ds_gguf_kv *tokens, const struct ds_gguf_kv *types,
			       struct ds_err *err)
{
	const struct ds_gguf_kv *scores;
	struct ds_spm_source source = {.n = tok->n, .token = tokens, .unk = tok->special[DS_UNK]};
	uint64_t prefix = 1;

	tok->family = DS_FAMILY_SPM;
	if (!types)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET,
				  "key tokenizer.ggml.token_type is missing");
	DS_TRY(ds_gguf_array(gguf, "tokenizer.ggml.scores", DS_GGUF_F32, &scores, err));
	if (scores->n != tok->n)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, scores),
				  "%llu scores, one for each of %u tokens expected",
				  (unsigned long long)scores->n, tok->n);
	source.type = types->data;
	source.score = scores->data;
	DS_TRY(optional(gguf, "tokenizer.ggml.add_space_prefix", &prefix, err));
	tok->strip_space = prefix != 0;
	DS_TRY(strip_phi3(tok, gguf, tokens, types->data, err));
	DS_TRY(ds_spm_build(&tok->spm, &source, err));
	return read_affix(tok, gguf, 1, 0, err);
}

/* The vocabulary's arrays and rules as they stand in the file. */
static uint64_t fingerprint(const struct ds_gguf *gguf)
{
	static const char *const keys[] = {
		"tokenizer.ggml.model",
		"tokenizer.ggml.pre",
		"tokenizer.ggml.tokens",
		"tokenizer.ggml.token_type",
		"tokenizer.ggml.merges",
		"tokenizer.ggml.scores",
		"tokenizer.ggml.add_space_prefix",
		"tokenizer.ggml.normalizer.lowercase",
		"tokenizer.ggml.normalizer.strip_accents",
	};
	uint64_t hash = 1;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const struct ds_gguf_kv *kv = ds_gguf_find(gguf, keys[i]);

		if (kv)
			hash = XXH3_64bits_withSeed(kv->data, kv->data_len, hash);
	}
	return hash;
}

enum ds_status ds_vocab_from_gguf(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
				  struct ds_err *err)
{
	const struct ds_gguf_kv *tokens, *types = NULL;
	struct ds_str model;

	DS_TRY(ds_gguf_str(gguf, "tokenizer.ggml.model", &model, err));
	DS_TRY(ds_gguf_array(gguf, "tokenizer.ggml.tokens", DS_GGUF_STRING, &tokens, err));
	if (tokens->n == 0 || tokens->n > DS_VOCAB_TOKENS_MAX)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, tokens),
				  "%llu tokens, 1..%u expected", (unsigned long long)tokens->n,
				  DS_VOCAB_TOKENS_MAX);
	tok->n = (uint32_t)tokens->n;
	DS_TRY(read_specials(tok, gguf, err));
	if (ds_gguf_find(gguf, "tokenizer.ggml.token_type")) {
		DS_TRY(ds_gguf_array(gguf, "tokenizer.ggml.token_type", DS_GGUF_I32, &types, err));
		if (types->n != tok->n)
			return ds_fail_at(err, DS_EFORMAT, gguf->path, ds_gguf_offset(gguf, types),
					  "%llu token types, one for each of %u tokens expected",
					  (unsigned long long)types->n, tok->n);
		DS_TRY(read_added(tok, tokens, types->data, err));
	}
	tok->id = fingerprint(gguf);
	if (ds_str_is(model, "bert"))
		return load_wordpiece(tok, gguf, tokens, err);
	if (ds_str_is(model, "gpt2") || ds_str_is(model, "gemma4"))
		return load_bpe(tok, gguf, tokens, types, err);
	if (ds_str_is(model, "llama"))
		return load_spm(tok, gguf, tokens, types, err);
	return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, DS_NO_OFFSET,
			  "tokenizer.ggml.model is \"%.*s\": gpt2, gemma4, llama or bert expected",
			  model.len > 64 ? 64 : (int)model.len, model.s);
}
