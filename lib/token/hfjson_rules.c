/*
 * hfjson_rules.c - normalizer, pre_tokenizer and post_processor of a tokenizer.json
 *
 * Source: Hugging Face tokenizers 0.23, the serialised forms in tokenizers/src.
 */
#include <stdio.h>
#include <string.h>

#include "token/bpe.h"
#include "token/hfjson.h"

/* --- normalizer ---------------------------------------------------------------------------- */

static enum ds_status add_step(struct ds_hf *hf, struct ds_norm_step step)
{
	struct ds_norm *norm = &hf->tok->norm;

	if (norm->n == DS_NORM_STEPS_MAX)
		return ds_hf_refuse(hf, "normalizer", "more steps than supported");
	norm->step[norm->n++] = step;
	return DS_OK;
}

/* Strings of the file do not outlive it. */
static enum ds_status keep(struct ds_hf *hf, struct ds_str *str_io)
{
	return ds_vocab_keep(hf->tok, str_io->s, str_io->len, str_io, hf->err);
}

static enum ds_status replace_step(struct ds_hf *hf, const json_t *object)
{
	const json_t *pattern = json_object_get(object, "pattern");
	struct ds_norm_step step = {.kind = DS_NORM_REPLACE};

	if (!json_object_get(pattern, "String"))
		return ds_hf_refuse(hf, "normalizer.pattern", "Regex");
	DS_TRY(ds_hf_string(hf, pattern, "String", &step.a));
	DS_TRY(ds_hf_string(hf, object, "content", &step.b));
	if (step.a.len == 0)
		return ds_hf_fail(hf, "normalizer.pattern", "a string that is not empty");
	DS_TRY(keep(hf, &step.a));
	DS_TRY(keep(hf, &step.b));
	return add_step(hf, step);
}

static enum ds_status bert_normalizer(struct ds_hf *hf, const json_t *object)
{
	bool clean = true, cjk = true, lower = true, accents;

	DS_TRY(ds_hf_bool(hf, object, "clean_text", &clean));
	DS_TRY(ds_hf_bool(hf, object, "handle_chinese_chars", &cjk));
	DS_TRY(ds_hf_bool(hf, object, "lowercase", &lower));
	accents = lower;
	DS_TRY(ds_hf_bool(hf, object, "strip_accents", &accents));
	hf->bert = true;
	hf->bert_flags = (clean ? DS_WP_CLEAN : 0) | (cjk ? DS_WP_CJK : 0) |
			 (lower ? DS_WP_LOWER : 0) | (accents ? DS_WP_ACCENTS : 0);
	return DS_OK;
}

static enum ds_status each(struct ds_hf *hf, const json_t *object, const char *key,
			   enum ds_status (*take)(struct ds_hf *, const json_t *))
{
	const json_t *list = json_object_get(object, key), *item;
	size_t i;

	if (!json_is_array(list))
		return ds_hf_fail(hf, key, "an array");
	json_array_foreach(list, i, item)
	{
		const char *type;

		DS_TRY(ds_hf_type(hf, item, key, &type));
		if (strcmp(type, "Sequence") == 0)
			return ds_hf_refuse(hf, key, "a Sequence in a Sequence");
		DS_TRY(take(hf, item));
	}
	return DS_OK;
}

enum ds_status ds_hf_normalizer(struct ds_hf *hf, const json_t *object)
{
	static const struct {
		const char *type;
		enum ds_norm_kind kind;
	} simple[] = {
		{"NFC", DS_NORM_NFC},	      {"NFD", DS_NORM_NFD},
		{"NFKC", DS_NORM_NFKC},	      {"NFKD", DS_NORM_NFKD},
		{"Lowercase", DS_NORM_LOWER}, {"StripAccents", DS_NORM_ACCENTS},
	};
	struct ds_norm_step step = {0};
	const char *type;

	if (!object || json_is_null(object))
		return DS_OK;
	DS_TRY(ds_hf_type(hf, object, "normalizer", &type));
	for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++)
		if (strcmp(type, simple[i].type) == 0)
			return add_step(hf, (struct ds_norm_step){.kind = simple[i].kind});
	if (strcmp(type, "Sequence") == 0)
		return each(hf, object, "normalizers", ds_hf_normalizer);
	if (strcmp(type, "BertNormalizer") == 0)
		return bert_normalizer(hf, object);
	if (strcmp(type, "Replace") == 0)
		return replace_step(hf, object);
	if (strcmp(type, "Prepend") == 0) {
		step.kind = DS_NORM_PREPEND;
		DS_TRY(ds_hf_string(hf, object, "prepend", &step.b));
		DS_TRY(keep(hf, &step.b));
		return add_step(hf, step);
	}
	if (strcmp(type, "Strip") == 0) {
		step = (struct ds_norm_step){.kind = DS_NORM_STRIP, .left = true, .right = true};
		DS_TRY(ds_hf_bool(hf, object, "strip_left", &step.left));
		DS_TRY(ds_hf_bool(hf, object, "strip_right", &step.right));
		return add_step(hf, step);
	}
	return ds_hf_refuse(hf, "normalizer", type);
}

/* --- pre_tokenizer ------------------------------------------------------------------------- */

static enum ds_status add_pattern(struct ds_hf *hf, const char *s, size_t len)
{
	if (hf->n_pattern == DS_HF_PATTERNS_MAX)
		return ds_hf_refuse(hf, "pre_tokenizer", "more splits than supported");
	return ds_vocab_keep(hf->tok, s, len, &hf->pattern[hf->n_pattern++], hf->err);
}

static enum ds_status byte_level(struct ds_hf *hf, const json_t *object)
{
	bool prefix = true, regex = true;

	DS_TRY(ds_hf_bool(hf, object, "add_prefix_space", &prefix));
	DS_TRY(ds_hf_bool(hf, object, "use_regex", &regex));
	hf->byte_level = true;
	if (prefix)
		DS_TRY(add_step(hf, (struct ds_norm_step){.kind = DS_NORM_PREPEND,
							  .b = {" ", 1},
							  .unless = true}));
	return regex ? add_pattern(hf, DS_PRETOK_GPT2, strlen(DS_PRETOK_GPT2)) : DS_OK;
}

/* A string as a regular expression. */
static enum ds_status add_literal(struct ds_hf *hf, struct ds_str s)
{
	char quoted[256];

	if (s.len + 4 > sizeof quoted || memmem(s.s, s.len, "\\E", 2))
		return ds_hf_refuse(hf, "pre_tokenizer.pattern", "a string this long");
	memcpy(quoted, "\\Q", 2);
	memcpy(quoted + 2, s.s, s.len);
	memcpy(quoted + 2 + s.len, "\\E", 2);
	return add_pattern(hf, quoted, s.len + 4);
}

/* Whether the normalizer leaves no space in the text. */
static bool spaces_replaced(const struct ds_hf *hf)
{
	for (size_t i = 0; i < hf->tok->norm.n; i++)
		if (hf->tok->norm.step[i].kind == DS_NORM_REPLACE &&
		    ds_str_is(hf->tok->norm.step[i].a, " "))
			return true;
	return false;
}

static enum ds_status split(struct ds_hf *hf, const json_t *object)
{
	const json_t *pattern = json_object_get(object, "pattern");
	struct ds_str behavior = {"", 0}, regex = {"", 0}, string = {"", 0};
	bool invert = false;

	DS_TRY(ds_hf_string(hf, object, "behavior", &behavior));
	DS_TRY(ds_hf_bool(hf, object, "invert", &invert));
	DS_TRY(ds_hf_string(hf, pattern, "Regex", &regex));
	DS_TRY(ds_hf_string(hf, pattern, "String", &string));
	/* Gemma: where there are no spaces, splitting at them does nothing */
	if (ds_str_is(string, " ") && spaces_replaced(hf))
		return DS_OK;
	if (!ds_str_is(behavior, "Isolated"))
		return ds_hf_refuse(hf, "pre_tokenizer.behavior",
				    json_string_value(json_object_get(object, "behavior")));
	if (invert)
		return ds_hf_refuse(hf, "pre_tokenizer.invert", "true");
	if (regex.len)
		return add_pattern(hf, regex.s, regex.len);
	if (string.len)
		return add_literal(hf, string);
	return ds_hf_fail(hf, "pre_tokenizer.pattern", "Regex or String");
}

static enum ds_status metaspace(struct ds_hf *hf, const json_t *object)
{
	struct ds_str mark = {"\xE2\x96\x81", 3}, scheme = {"always", 6};
	bool prefix = true, cut = true;

	DS_TRY(ds_hf_string(hf, object, "replacement", &mark));
	DS_TRY(ds_hf_string(hf, object, "prepend_scheme", &scheme));
	DS_TRY(ds_hf_bool(hf, object, "add_prefix_space", &prefix));
	DS_TRY(ds_hf_bool(hf, object, "split", &cut));
	if (!ds_str_is(mark, "\xE2\x96\x81"))
		return ds_hf_refuse(hf, "pre_tokenizer.replacement", "another than U+2581");
	mark.s = "\xE2\x96\x81"; /* which outlives the file */
	DS_TRY(add_step(hf,
			(struct ds_norm_step){.kind = DS_NORM_REPLACE, .a = {" ", 1}, .b = mark}));
	if (prefix && !ds_str_is(scheme, "never"))
		DS_TRY(add_step(hf, (struct ds_norm_step){.kind = DS_NORM_PREPEND,
							  .b = mark,
							  .unless = true,
							  .at_start = ds_str_is(scheme, "first")}));
	return cut ? add_pattern(hf, "\xE2\x96\x81[^\xE2\x96\x81]*", 10) : DS_OK;
}

enum ds_status ds_hf_pretokenizer(struct ds_hf *hf, const json_t *object)
{
	struct ds_str behavior = {"Isolated", 8};
	bool one = false;
	const char *type;

	if (!object || json_is_null(object))
		return DS_OK;
	DS_TRY(ds_hf_type(hf, object, "pre_tokenizer", &type));
	if (hf->byte_level)
		return ds_hf_refuse(hf, "pre_tokenizer", "ByteLevel that is not the last");
	if (strcmp(type, "Sequence") == 0)
		return each(hf, object, "pretokenizers", ds_hf_pretokenizer);
	if (strcmp(type, "ByteLevel") == 0)
		return byte_level(hf, object);
	if (strcmp(type, "Split") == 0)
		return split(hf, object);
	if (strcmp(type, "Metaspace") == 0)
		return metaspace(hf, object);
	if (strcmp(type, "Digits") == 0) {
		DS_TRY(ds_hf_bool(hf, object, "individual_digits", &one));
		return add_pattern(hf, "\\p{N}+", one ? 5 : 6);
	}
	if (strcmp(type, "Punctuation") == 0) {
		DS_TRY(ds_hf_string(hf, object, "behavior", &behavior));
		if (!ds_str_is(behavior, "Isolated"))
			return ds_hf_refuse(hf, "pre_tokenizer.behavior", "not Isolated");
		return add_pattern(hf, DS_PRETOK_PUNCT, strlen(DS_PRETOK_PUNCT));
	}
	if (strcmp(type, "BertPreTokenizer") == 0) {
		hf->bert_split = true;
		return DS_OK;
	}
	return ds_hf_refuse(hf, "pre_tokenizer", type);
}

/* --- post_processor ------------------------------------------------------------------------ */

static enum ds_status add_affix(struct ds_hf *hf, bool after, const json_t *id)
{
	struct ds_tokenizer *tok = hf->tok;
	size_t *n = after ? &tok->n_suffix : &tok->n_prefix;

	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= tok->n)
		return ds_hf_fail(hf, "post_processor", "ids of the vocabulary");
	if (*n == DS_AFFIX_MAX)
		return ds_hf_refuse(hf, "post_processor", "more tokens than supported");
	(after ? tok->suffix : tok->prefix)[(*n)++] = (uint32_t)json_integer_value(id);
	return DS_OK;
}

static enum ds_status template_token(struct ds_hf *hf, const json_t *object, const json_t *token,
				     bool after)
{
	const char *name = json_string_value(json_object_get(token, "id"));
	const json_t *special = json_object_get(object, "special_tokens"), *ids, *id;
	size_t i;

	ids = name ? json_object_get(json_object_get(special, name), "ids") : NULL;
	if (!json_is_array(ids))
		return ds_hf_fail(hf, "post_processor.special_tokens", "ids of each token");
	json_array_foreach(ids, i, id) DS_TRY(add_affix(hf, after, id));
	return DS_OK;
}

static enum ds_status template(struct ds_hf *hf, const json_t *object) {
	const json_t *single = json_object_get(object, "single"), *item; bool after = false;
	size_t i;

	if (!json_is_array(single)) return ds_hf_fail(hf, "post_processor.single", "an array");
	json_array_foreach(single, i, item){
		const json_t *token = json_object_get(item, "SpecialToken");

		if (json_object_get(item, "Sequence")) after = true;
		else if (token) DS_TRY(template_token(hf, object, token, after));
		else return ds_hf_fail(hf, "post_processor.single", "SpecialToken or Sequence");}
return DS_OK;
}

enum ds_status ds_hf_postprocessor(struct ds_hf *hf, const json_t *object)
{
	const char *type;

	if (!object || json_is_null(object))
		return DS_OK;
	DS_TRY(ds_hf_type(hf, object, "post_processor", &type));
	if (strcmp(type, "ByteLevel") == 0) /* about offsets only */
		return DS_OK;
	if (strcmp(type, "Sequence") == 0)
		return each(hf, object, "processors", ds_hf_postprocessor);
	if (strcmp(type, "TemplateProcessing") == 0)
		return template(hf, object);
	if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
		const json_t *cls = json_object_get(object, "cls");
		const json_t *sep = json_object_get(object, "sep");

		DS_TRY(add_affix(hf, false, json_array_get(cls, 1)));
		return add_affix(hf, true, json_array_get(sep, 1));
	}
	return ds_hf_refuse(hf, "post_processor", type);
}
