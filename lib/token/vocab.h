/*
 * vocab.h - a tokenizer as its file describes it (internal to lib/token)
 *
 * The loaders (vocab_gguf.c, hfjson.c) fill struct ds_tokenizer; token.c does the rest.
 */
#ifndef DS_TOKEN_VOCAB_H
#define DS_TOKEN_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "token/bpe.h"
#include "token/normal.h"
#include "token/pairs.h"
#include "token/special.h"
#include "token/spm.h"
#include "token/token.h"
#include "token/wordpiece.h"

enum ds_family { DS_FAMILY_WORDPIECE, DS_FAMILY_BPE, DS_FAMILY_SPM };

/* tokenizer.ggml.token_type */
enum {
	DS_TYPE_NORMAL = 1,
	DS_TYPE_UNKNOWN,
	DS_TYPE_CONTROL,
	DS_TYPE_USER,
	DS_TYPE_UNUSED,
	DS_TYPE_BYTE
};

#define DS_VOCAB_TOKENS_MAX ((uint32_t)1 << 24)
#define DS_SPECIALS (DS_EOT + 1)
#define DS_AFFIX_MAX 8

struct ds_tokenizer {
	enum ds_family family;
	struct ds_gguf gguf;   /* when opened by path; else empty */
	struct ds_arena arena; /* what the engines borrow */
	uint32_t n;
	/* the engine of the family */
	struct ds_wp *wp;
	struct ds_bpe *bpe;
	const struct ds_pretok *pre;
	struct ds_spm *spm;
	struct ds_pairs *pairs; /* BPE without pretokens: where text may be cut */
	bool meta;		/* BPE: U+2581 and <0x0A> stand for a space and a byte */
	/* what is done before it */
	struct ds_added *added;
	struct ds_norm norm;

	bool strip_space; /* decoding drops one space that encoding puts before a text */
	uint32_t special[DS_SPECIALS];
	uint32_t prefix[DS_AFFIX_MAX], suffix[DS_AFFIX_MAX];
	size_t n_prefix, n_suffix;
	uint64_t id;
	char describe[160];
};

enum ds_status ds_vocab_from_gguf(struct ds_tokenizer *tok, const struct ds_gguf *gguf,
				  struct ds_err *err);

/* The file's bytes are needed during the call only. */
enum ds_status ds_vocab_from_json(struct ds_tokenizer *tok, const void *bytes, size_t n,
				  const char *path, struct ds_err *err);

/* n bytes that outlive the call, in the tokenizer's arena. */
enum ds_status ds_vocab_keep(struct ds_tokenizer *tok, const void *bytes, size_t n,
			     struct ds_str *str_ret, struct ds_err *err);

#endif
