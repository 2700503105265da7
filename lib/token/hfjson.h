/*
 * hfjson.h - reading a Hugging Face tokenizer.json (internal)
 *
 * hfjson.c reads the vocabulary, hfjson_rules.c what is done before and after it.  What this
 * version does not do is refused by the name of its key: ids are right or there are none.
 */
#ifndef DS_TOKEN_HFJSON_H
#define DS_TOKEN_HFJSON_H

#include <jansson.h>
#include <stdbool.h>

#include "token/vocab.h"

#define DS_HF_PATTERNS_MAX 16

struct ds_hf {
	struct ds_tokenizer *tok;
	const char *path;
	struct ds_err *err;
	/* found by the rules, for the model */
	struct ds_str pattern[DS_HF_PATTERNS_MAX]; /* of the pretokenizers, in order */
	size_t n_pattern;
	bool byte_level; /* pretokenizer ByteLevel */
	bool bert_split; /* pretokenizer BertPreTokenizer */
	bool bert;	 /* normalizer BertNormalizer */
	unsigned bert_flags;
};

/* "what expected" about a key, DS_EFORMAT; DS_EUNSUPPORTED for what is well formed. */
enum ds_status ds_hf_fail(const struct ds_hf *hf, const char *key, const char *expected);
enum ds_status ds_hf_refuse(const struct ds_hf *hf, const char *key, const char *value);

/* Members of an object; a missing one or null gives the default. */
enum ds_status ds_hf_string(const struct ds_hf *hf, const json_t *object, const char *key,
			    struct ds_str *str_io);
enum ds_status ds_hf_bool(const struct ds_hf *hf, const json_t *object, const char *key,
			  bool *value_io);
/* The object's "type", or an error that names where it stands. */
enum ds_status ds_hf_type(const struct ds_hf *hf, const json_t *object, const char *where,
			  const char **type_ret);

enum ds_status ds_hf_normalizer(struct ds_hf *hf, const json_t *object);
enum ds_status ds_hf_pretokenizer(struct ds_hf *hf, const json_t *object);
enum ds_status ds_hf_postprocessor(struct ds_hf *hf, const json_t *object);

#endif
