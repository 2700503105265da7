/*
 * token.h - text to token ids and back
 *
 * One door for byte-level BPE, SentencePiece BPE and WordPiece vocabularies, read from GGUF files
 * and from Hugging Face tokenizer.json.  Any bytes are accepted; ids carry byte spans that cover
 * the input without gaps.  A tokenizer is immutable once open and may be shared by threads; an
 * encoder holds caches and belongs to one thread.
 */
#ifndef DS_TOKEN_TOKEN_H
#define DS_TOKEN_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct ds_tokenizer;
struct ds_encoder;
struct ds_gguf;

/* path: a GGUF file, a tokenizer.json, or a folder that holds one. */
enum ds_status ds_tokenizer_open(struct ds_tokenizer **tok_ret, const char *path,
				 struct ds_err *err);
/* From the metadata of an open GGUF file, which must outlive the tokenizer. */
enum ds_status ds_tokenizer_open_gguf(struct ds_tokenizer **tok_ret, const struct ds_gguf *gguf,
				      struct ds_err *err);
void ds_tokenizer_close(struct ds_tokenizer *tok);

/* Fingerprint of vocabulary, merges and rules: equal ids mean equal encodings. */
uint64_t ds_tokenizer_id(const struct ds_tokenizer *tok);
uint32_t ds_tokenizer_size(const struct ds_tokenizer *tok); /* ids are 0..size-1 */
/* One line for people: "bpe llama-bpe, 128256 tokens, Unicode 15.0". */
const char *ds_tokenizer_describe(const struct ds_tokenizer *tok);

#define DS_NO_TOKEN UINT32_MAX
enum ds_special { DS_BOS, DS_EOS, DS_UNK, DS_SEP, DS_PAD, DS_CLS, DS_MASK, DS_EOT };
uint32_t ds_tokenizer_special(const struct ds_tokenizer *tok, enum ds_special which);
/* The tokens that DS_ENCODE_AFFIX puts around a text, for who encodes it in pieces. */
struct ds_affix {
	const uint32_t *prefix, *suffix; /* [n_prefix], [n_suffix] */
	size_t n_prefix, n_suffix;
};
void ds_tokenizer_affix(const struct ds_tokenizer *tok, struct ds_affix *affix_ret);
/* The id of exactly these bytes as a token (special tokens included), or DS_NO_TOKEN. */
uint32_t ds_tokenizer_find(const struct ds_tokenizer *tok, const void *bytes, size_t n);

/* Ids and byte spans; token i covers bytes [i ? end[i-1] : 0, end[i]) of the text given.  Tokens
 * without bytes (BOS, CLS) have empty spans.  A zeroed struct is empty. */
struct ds_tokens {
	uint32_t *id;  /* [n] */
	uint64_t *end; /* [n] */
	size_t n, cap_id, cap_end;
};
void ds_tokens_fini(struct ds_tokens *tokens);

enum {
	DS_ENCODE_SPECIAL = 1,	/* special tokens spelled out in text become their ids */
	DS_ENCODE_AFFIX = 2,	/* add BOS/EOS (CLS/SEP) as the model's rules say */
	DS_ENCODE_CONTINUE = 4, /* text goes on from a ds_encoder_cut(): no prefix space */
};

enum ds_status ds_encoder_new(struct ds_encoder **enc_ret, const struct ds_tokenizer *tok,
			      struct ds_err *err);
void ds_encoder_free(struct ds_encoder *enc);
/* Append the tokens of text to *tokens (spans relative to text, plus the last end already there is
 * NOT added: they start from 0 for this text). */
enum ds_status ds_encode(struct ds_encoder *enc, const void *text, size_t n, unsigned flags,
			 struct ds_tokens *tokens, struct ds_err *err);
/* The number of tokens ds_encode() would give, without storing them. */
enum ds_status ds_encode_count(struct ds_encoder *enc, const void *text, size_t n, unsigned flags,
			       size_t *count_ret, struct ds_err *err);
/*
 * The largest p <= n such that, whatever bytes follow text, its tokens are those of text[0..p)
 * followed by those of text[p..): where a stream may be cut.  0 when no such place is known.
 */
size_t ds_encoder_cut(const struct ds_encoder *enc, const void *text, size_t n);

/* Append the bytes of ids to buf: the inverse of ds_encode() where the vocabulary allows one.
 * Special tokens give no bytes unless DS_ENCODE_SPECIAL.  DS_EINVAL for an id out of range. */
enum ds_status ds_decode(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
			 unsigned flags, struct ds_buf *buf, struct ds_err *err);

#endif
