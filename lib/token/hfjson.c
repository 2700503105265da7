/*
 * hfjson.c - tokenizers from Hugging Face tokenizer.json files
 *
 * The vocabulary is packed as GGUF packs strings, and the parsed file is let go before the engine
 * is built.
 */
#define XXH_INLINE_ALL
#include "token/hfjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "base/io.h"

#define FILE_BYTES_MAX ((size_t)256 << 20)

/* --- members ------------------------------------------------------------------------------- */

enum ds_status ds_hf_fail(const struct ds_hf *hf, const char *key, const char *expected)
{
	return ds_fail_at(hf->err, DS_EFORMAT, hf->path, DS_NO_OFFSET, "%s: %s expected", key,
			  expected);
}

enum ds_status ds_hf_refuse(const struct ds_hf *hf, const char *key, const char *value)
{
	return ds_fail_at(hf->err, DS_EUNSUPPORTED, hf->path, DS_NO_OFFSET,
			  "%s is \"%.100s\", which is not supported", key, value ? value : "null");
}

enum ds_status ds_hf_string(const struct ds_hf *hf, const json_t *object, const char *key,
			    struct ds_str *str_io)
{
	const json_t *v = json_object_get(object, key);

	if (!v || json_is_null(v))
		return DS_OK;
	if (!json_is_string(v))
		return ds_hf_fail(hf, key, "a string");
	*str_io = (struct ds_str){json_string_value(v), json_string_length(v)};
	return DS_OK;
}

enum ds_status ds_hf_bool(const struct ds_hf *hf, const json_t *object, const char *key,
			  bool *value_io)
{
	const json_t *v = json_object_get(object, key);

	if (!v || json_is_null(v))
		return DS_OK;
	if (!json_is_boolean(v))
		return ds_hf_fail(hf, key, "true or false");
	*value_io = json_is_true(v);
	return DS_OK;
}

enum ds_status ds_hf_type(const struct ds_hf *hf, const json_t *object, const char *where,
			  const char **type_ret)
{
	*type_ret = json_string_value(json_object_get(object, "type"));
	return *type_ret ? DS_OK : ds_hf_fail(hf, where, "an object with a type");
}

/* --- vocabulary ---------------------------------------------------------------------------- */

/* The vocabulary before its engine is built. */
struct table {
	struct ds_str *text;	      /* [n] borrowed from the parsed file; s NULL: a hole */
	uint32_t *type;		      /* [n] DS_TYPE_ */
	bool *in_model;		      /* [n] not only an added token */
	struct ds_buf tokens, merges; /* packed */
	size_t n_merge;		      /* strings packed in merges */
	bool pairs;		      /* merges are two strings each */
};

static void table_fini(struct table *t)
{
	free(t->text);
	free(t->type);
	free(t->in_model);
	ds_buf_fini(&t->tokens);
	ds_buf_fini(&t->merges);
}

/* An id below limit. */
static enum ds_status id_of(const struct ds_hf *hf, const json_t *v, const char *key,
			    json_int_t limit, uint32_t *id_ret)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= limit)
		return ds_hf_fail(hf, key, "ids without large gaps");
	*id_ret = (uint32_t)json_integer_value(v);
	return DS_OK;
}

/* The largest id decides the size; ids may leave a few holes. */
static enum ds_status size_table(struct ds_hf *hf, json_t *vocab, const json_t *added,
				 struct table *t)
{
	json_int_t limit =
		(json_int_t)(json_object_size(vocab) + json_array_size(added)) * 2 + 1024;
	uint32_t id, n = 0;
	const char *key;
	json_t *v;
	size_t i;

	if (limit > DS_VOCAB_TOKENS_MAX)
		limit = DS_VOCAB_TOKENS_MAX;
	json_object_foreach(vocab, key, v)
	{
		DS_TRY(id_of(hf, v, "model.vocab", limit, &id));
		n = id >= n ? id + 1 : n;
	}
	json_array_foreach(added, i, v)
	{
		DS_TRY(id_of(hf, json_object_get(v, "id"), "added_tokens.id", limit, &id));
		n = id >= n ? id + 1 : n;
	}
	if (n == 0)
		return ds_hf_fail(hf, "model.vocab", "tokens");
	hf->tok->n = n;
	t->text = ds_alloc_zero(n, sizeof *t->text);
	t->type = ds_alloc_zero(n, sizeof *t->type);
	t->in_model = ds_alloc_zero(n, sizeof *t->in_model);
	if (!t->text || !t->type || !t->in_model)
		return ds_fail_nomem(hf->err, n * sizeof *t->text);
	return DS_OK;
}

static enum ds_status read_vocab(struct ds_hf *hf, json_t *vocab, struct table *t)
{
	const char *key;
	json_t *v;

	json_object_foreach(vocab, key, v)
	{
		uint32_t id = (uint32_t)json_integer_value(v);

		if (t->text[id].s)
			return ds_fail_at(hf->err, DS_EFORMAT, hf->path, DS_NO_OFFSET,
					  "model.vocab: two tokens have the id %u", id);
		t->text[id] = (struct ds_str){key, strlen(key)};
		t->type[id] = DS_TYPE_NORMAL;
		t->in_model[id] = true;
	}
	return DS_OK;
}

static enum ds_status read_added(struct ds_hf *hf, const json_t *added, struct table *t)
{
	const json_t *v;
	size_t i;

	json_array_foreach(added, i, v)
	{
		bool special = false, left = false, right = false, word = false;
		uint32_t id = (uint32_t)json_integer_value(json_object_get(v, "id"));
		struct ds_str text = {"", 0}, kept;

		DS_TRY(ds_hf_string(hf, v, "content", &text));
		DS_TRY(ds_hf_bool(hf, v, "special", &special));
		DS_TRY(ds_hf_bool(hf, v, "lstrip", &left));
		DS_TRY(ds_hf_bool(hf, v, "rstrip", &right));
		DS_TRY(ds_hf_bool(hf, v, "single_word", &word));
		if (text.len == 0)
			return ds_hf_fail(hf, "added_tokens.content", "a string");
		DS_TRY(ds_vocab_keep(hf->tok, text.s, text.len, &kept, hf->err));
		t->text[id] = kept;
		t->type[id] = special ? DS_TYPE_CONTROL : DS_TYPE_USER;
		DS_TRY(ds_added_put(
			hf->tok->added, kept, id,
			(special ? DS_ADDED_SPECIAL : 0) | (left ? DS_ADDED_LSTRIP : 0) |
				(right ? DS_ADDED_RSTRIP : 0) | (word ? DS_ADDED_SINGLE_WORD : 0),
			hf->err));
	}
	return DS_OK;
}

static enum ds_status pack(struct ds_buf *buf, struct ds_str s, struct ds_err *err)
{
	uint8_t head[8];

	ds_put_u64(head, s.len);
	DS_TRY(ds_buf_append(buf, head, sizeof head, err));
	return ds_buf_append(buf, s.s, s.len, err);
}

static enum ds_status pack_merges(struct ds_hf *hf, const json_t *merges, struct table *t)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(merges))
		return ds_hf_fail(hf, "model.merges", "an array");
	t->n_merge = json_array_size(merges);
	t->pairs = json_is_array(json_array_get(merges, 0));
	if (t->pairs)
		t->n_merge *= 2;
	json_array_foreach(merges, i, v)
	{
		const json_t *part[2] = {t->pairs ? json_array_get(v, 0) : v, json_array_get(v, 1)};

		for (int k = 0; k <= t->pairs; k++) {
			if (!json_is_string(part[k]))
				return ds_hf_fail(hf, "model.merges",
						  "strings, or pairs of strings");
			DS_TRY(pack(&t->merges,
				    (struct ds_str){json_string_value(part[k]),
						    json_string_length(part[k])},
				    hf->err));
		}
	}
	return DS_OK;
}

/* --- models -------------------------------------------------------------------------------- */

static enum ds_status unk_of(const struct ds_hf *hf, const json_t *model, const struct table *t,
			     uint32_t *id_ret)
{
	struct ds_str unk = {"", 0};

	*id_ret = DS_NO_TOKEN;
	DS_TRY(ds_hf_string(hf, model, "unk_token", &unk));
	for (uint32_t i = 0; unk.len && i < hf->tok->n; i++)
		if (t->text[i].len == unk.len && memcmp(t->text[i].s, unk.s, unk.len) == 0)
			*id_ret = i;
	return DS_OK;
}

static enum ds_status load_wordpiece(struct ds_hf *hf, const json_t *model, struct table *t)
{
	struct ds_tokenizer *tok = hf->tok;
	struct ds_wp_source source = {.n = tok->n, .style = DS_WP_HASHES, .flags = hf->bert_flags};
	const json_t *max = json_object_get(model, "max_input_chars_per_word");
	struct ds_str prefix = {"##", 2}, *kept;

	tok->family = DS_FAMILY_WORDPIECE;
	DS_TRY(ds_hf_string(hf, model, "continuing_subword_prefix", &prefix));
	if (!ds_str_is(prefix, "##"))
		return ds_hf_refuse(hf, "model.continuing_subword_prefix", "another than ##");
	if (!hf->bert_split)
		return ds_hf_refuse(hf, "pre_tokenizer", "another than BertPreTokenizer");
	if (tok->norm.n)
		return ds_hf_refuse(hf, "normalizer", "another than BertNormalizer");
	source.word_chars_max = 100;
	if (json_is_integer(max) && json_integer_value(max) > 0 && json_integer_value(max) < 10000)
		source.word_chars_max = (uint32_t)json_integer_value(max);
	kept = ds_arena_alloc(&tok->arena, tok->n, sizeof *kept);
	if (!kept)
		return ds_fail_nomem(hf->err, tok->n * sizeof *kept);
	for (uint32_t i = 0; i < tok->n; i++)
		DS_TRY(ds_vocab_keep(tok, t->text[i].s ? t->text[i].s : "", t->text[i].len,
				     &kept[i], hf->err));
	source.token = kept;
	DS_TRY(unk_of(hf, model, t, &source.unk));
	if (source.unk == DS_NO_TOKEN)
		return ds_hf_fail(hf, "model.unk_token", "a token of the vocabulary");
	tok->special[DS_UNK] = source.unk;
	return ds_wp_build(&tok->wp, &source, hf->err);
}

static enum ds_status refuse_bpe_options(const struct ds_hf *hf, const json_t *model)
{
	const json_t *dropout = json_object_get(model, "dropout");
	struct ds_str prefix = {"", 0}, suffix = {"", 0};
	bool fuse = false, fallback = false;

	DS_TRY(ds_hf_string(hf, model, "continuing_subword_prefix", &prefix));
	DS_TRY(ds_hf_string(hf, model, "end_of_word_suffix", &suffix));
	DS_TRY(ds_hf_bool(hf, model, "fuse_unk", &fuse));
	DS_TRY(ds_hf_bool(hf, model, "byte_fallback", &fallback));
	if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
		return ds_hf_refuse(hf, "model.dropout", "not null");
	if (prefix.len)
		return ds_hf_refuse(hf, "model.continuing_subword_prefix", prefix.s);
	if (suffix.len)
		return ds_hf_refuse(hf, "model.end_of_word_suffix", suffix.s);
	if (fuse && !fallback && !hf->byte_level)
		return ds_hf_refuse(hf, "model.fuse_unk", "true without byte_fallback");
	if (hf->bert || hf->bert_split)
		return ds_hf_refuse(hf, "normalizer", "BertNormalizer of a BPE model");
	return DS_OK;
}

/* Without pretokens a text is cut where no token reaches over. */
static enum ds_status note_pairs(struct ds_tokenizer *tok, const struct table *t,
				 struct ds_err *err)
{
	DS_TRY(ds_pairs_new(&tok->pairs, tok->n, err));
	for (uint32_t i = 0; i < tok->n; i++)
		if (t->text[i].s && t->type[i] == DS_TYPE_NORMAL)
			ds_pairs_note(tok->pairs, t->text[i]);
	return DS_OK;
}

static enum ds_status load_bpe(struct ds_hf *hf, const json_t *model, struct table *t)
{
	struct ds_tokenizer *tok = hf->tok;
	struct ds_bpe_source source = {.token = {.n = tok->n}, .type = (const uint8_t *)t->type};
	bool ignore = false, fallback = false;

	tok->family = DS_FAMILY_BPE;
	DS_TRY(refuse_bpe_options(hf, model));
	DS_TRY(ds_hf_bool(hf, model, "ignore_merges", &ignore));
	DS_TRY(ds_hf_bool(hf, model, "byte_fallback", &fallback));
	DS_TRY(pack_merges(hf, json_object_get(model, "merges"), t));
	for (uint32_t i = 0; i < tok->n; i++)
		DS_TRY(pack(&t->tokens, t->text[i], hf->err));
	DS_TRY(unk_of(hf, model, t, &source.unk));
	tok->special[DS_UNK] = source.unk;
	/* Gemma has runs of spaces as added tokens, but they are made by merging all the same */
	for (uint32_t i = 0; i < tok->n && !hf->byte_level; i++)
		if (t->in_model[i])
			t->type[i] = DS_TYPE_NORMAL;
	source.token.packed = t->tokens.data;
	source.merge = (struct ds_bpe_strings){.n = t->n_merge, .packed = t->merges.data};
	source.flags = (hf->byte_level ? DS_BPE_BYTE_ENCODED : 0) |
		       (ignore ? DS_BPE_IGNORE_MERGES : 0) | (t->pairs ? DS_BPE_MERGE_PAIRS : 0);
	tok->meta = !hf->byte_level;
	DS_TRY(ds_pretok_open(&tok->pre, hf->pattern, hf->n_pattern, hf->err));
	if (hf->n_pattern == 0)
		DS_TRY(note_pairs(tok, t, hf->err));
	return ds_bpe_build(&tok->bpe, &source, hf->err);
}

static enum ds_status load_model(struct ds_hf *hf, const json_t *root, struct table *t)
{
	json_t *model = json_object_get(root, "model"), *vocab;
	const json_t *added = json_object_get(root, "added_tokens");
	const char *type = json_string_value(json_object_get(model, "type"));

	if (!json_is_object(model))
		return ds_hf_fail(hf, "model", "an object");
	if (!type) /* files of old versions */
		type = json_object_get(model, "merges") ? "BPE" : "WordPiece";
	if (strcmp(type, "BPE") != 0 && strcmp(type, "WordPiece") != 0)
		return ds_hf_refuse(hf, "model.type", type);
	vocab = json_object_get(model, "vocab");
	if (!json_is_object(vocab))
		return ds_hf_fail(hf, "model.vocab", "an object");
	DS_TRY(size_table(hf, vocab, added, t));
	DS_TRY(read_vocab(hf, vocab, t));
	DS_TRY(read_added(hf, added, t));
	DS_TRY(ds_hf_normalizer(hf, json_object_get(root, "normalizer")));
	DS_TRY(ds_hf_pretokenizer(hf, json_object_get(root, "pre_tokenizer")));
	DS_TRY(ds_hf_postprocessor(hf, json_object_get(root, "post_processor")));
	return strcmp(type, "BPE") == 0 ? load_bpe(hf, model, t) : load_wordpiece(hf, model, t);
}

/* --- special tokens ------------------------------------------------------------------------ */

/* What common files call them; tokenizer_config.json beside the file knows better. */
static const struct {
	enum ds_special which;
	const char *key, *usual[2];
} names[] = {
	{DS_BOS, "bos_token", {"<s>", "<bos>"}},       {DS_EOS, "eos_token", {"</s>", "<eos>"}},
	{DS_UNK, "unk_token", {"[UNK]", "<unk>"}},     {DS_SEP, "sep_token", {"[SEP]", NULL}},
	{DS_PAD, "pad_token", {"[PAD]", "<pad>"}},     {DS_CLS, "cls_token", {"[CLS]", NULL}},
	{DS_MASK, "mask_token", {"[MASK]", "<mask>"}},
};

static void name_specials(struct ds_tokenizer *tok, const json_t *config)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const json_t *v = json_object_get(config, names[i].key);
		const char *text =
			json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
		uint32_t id = text ? ds_added_find(tok->added, text, strlen(text)) : DS_NO_TOKEN;

		for (int k = 0; k < 2 && id == DS_NO_TOKEN && !text; k++)
			if (names[i].usual[k])
				id = ds_added_find(tok->added, names[i].usual[k],
						   strlen(names[i].usual[k]));
		if (id != DS_NO_TOKEN)
			tok->special[names[i].which] = id;
	}
}

static json_t *read_config(const char *path)
{
	char name[4096];
	const char *slash = strrchr(path, '/');

	snprintf(name, sizeof name, "%.*stokenizer_config.json",
		 slash ? (int)(slash - path + 1) : 0, path);
	return json_load_file(name, 0, NULL);
}

enum ds_status ds_vocab_from_json(struct ds_tokenizer *tok, const void *bytes, size_t n,
				  const char *path, struct ds_err *err)
{
	struct ds_hf hf = {.tok = tok, .path = path, .err = err};
	struct table table = {0};
	json_error_t what;
	json_t *root, *config;
	enum ds_status st;

	root = json_loadb(bytes, n, JSON_ALLOW_NUL, &what);
	if (!root)
		return ds_fail_at(err, DS_EFORMAT, path, (uint64_t)what.position,
				  "not JSON: %.160s", what.text);
	st = load_model(&hf, root, &table);
	table_fini(&table);
	json_decref(root);
	if (st != DS_OK)
		return st;
	config = read_config(path);
	name_specials(tok, config);
	json_decref(config);
	tok->id = XXH3_64bits(bytes, n);
	return DS_OK;
}
