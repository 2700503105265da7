/*
 * bpe.h - byte-level BPE: the part of the room below token.h (not a public header)
 *
 * struct ds_pretok cuts text into pretokens, struct ds_bpe holds vocabulary and merges, struct
 * ds_bpe_encoder does the work of one thread.  Special tokens, normalisation, BOS/EOS and decoding
 * rules are the caller's.
 */
#ifndef DS_TOKEN_BPE_H
#define DS_TOKEN_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "token/token.h"

/* --- pretokenizers ------------------------------------------------------------------------- */

struct ds_pretok;

/* By tokenizer.ggml.pre name ("llama-bpe", "deepseek-v3", ...; aliases included).  NULL *pre_ret
 * with DS_EUNSUPPORTED for a name that is not known. */
enum ds_status ds_pretok_named(const struct ds_pretok **pre_ret, const char *name, size_t len,
			       struct ds_err *err);
/*
 * By a list of regular expressions, applied one after the other, each to all pieces of the one
 * before; matches and the gaps between them are pieces (Hugging Face: a Sequence of Split with
 * behavior Isolated).  Lists that a hand-written pretokenizer does are recognised by their text;
 * others are compiled with PCRE2.  n = 0: the text is one piece.
 *   Digits(individual) is "\p{N}", Digits(together) is "\p{N}+", ByteLevel(use_regex) is
 *   DS_PRETOK_GPT2, Punctuation is DS_PRETOK_PUNCT.
 */
#define DS_PRETOK_GPT2                                                                   \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|" \
	"\\s+"
#define DS_PRETOK_PUNCT "[\\p{P}!-/:-@\\[-`{-~]"
enum ds_status ds_pretok_open(const struct ds_pretok **pre_ret, const struct ds_str *pattern,
			      size_t n, struct ds_err *err);
/* Harmless for NULL and for what ds_pretok_named() gave. */
void ds_pretok_close(const struct ds_pretok *pre);
/* The name of the hand-written one ("deepseek-v3"), or "pcre2". */
const char *ds_pretok_name(const struct ds_pretok *pre);

/*
 * The largest p <= n found such that pretokens end at p whatever bytes follow text, and text[p..)
 * is cut as if it stood alone; 0 when none is known.
 */
size_t ds_pretok_cut(const struct ds_pretok *pre, const void *text, size_t n);

/* --- vocabulary ---------------------------------------------------------------------------- */

/* n strings: in an array, or as GGUF packs them (u64 length + bytes, each; bounds already checked
 * by ds_gguf_open()).  Only one of the two is set. */
struct ds_bpe_strings {
	size_t n;
	const struct ds_str *str; /* [n] */
	const uint8_t *packed;
};

enum {
	DS_BPE_BYTE_ENCODED = 1, /* strings are written in GPT-2's byte alphabet */
	DS_BPE_IGNORE_MERGES = 2, /* a pretoken that is a token is that token, merges or not */
	DS_BPE_MERGE_PAIRS = 4,	 /* merges: 2 strings each, not "left right" */
};

struct ds_bpe_source {
	struct ds_bpe_strings token; /* index is the id; an empty string is no token */
	struct ds_bpe_strings merge; /* in rank order */
	const uint8_t *type;	     /* [token.n] i32 little-endian, unaligned, as in GGUF: 1 is
					ordinary; NULL: all are */
	unsigned flags;
	/* Without DS_BPE_BYTE_ENCODED text starts as code points; one that is no token becomes the
	 * tokens byte_id[] of its bytes, or unk where those are DS_NO_TOKEN. */
	const uint32_t *byte_id; /* [256], or NULL: "<0x00>".."<0xFF>" are looked up */
	uint32_t unk;		 /* or DS_NO_TOKEN: then every byte must have a token */
};

struct ds_bpe;

/* The source's strings are needed during the call only. */
enum ds_status ds_bpe_build(struct ds_bpe **bpe_ret, const struct ds_bpe_source *source,
			    struct ds_err *err);
void ds_bpe_free(struct ds_bpe *bpe);
/* The bytes that token id stands for (decoded from the byte alphabet; strings that are not written
 * in it, as special tokens are, come as they are); empty for ids out of range. */
struct ds_str ds_bpe_token(const struct ds_bpe *bpe, uint32_t id);
/* The ordinary token of exactly these bytes, or DS_NO_TOKEN. */
uint32_t ds_bpe_find(const struct ds_bpe *bpe, const void *bytes, size_t n);
/* XXH3 of tokens, merges and flags. */
uint64_t ds_bpe_hash(const struct ds_bpe *bpe);

/* --- encoding ------------------------------------------------------------------------------ */

struct ds_bpe_encoder; /* one thread's caches; tens of megabytes at most */

enum ds_status ds_bpe_encoder_new(struct ds_bpe_encoder **enc_ret, const struct ds_bpe *bpe,
				  const struct ds_pretok *pre, struct ds_err *err);
void ds_bpe_encoder_free(struct ds_bpe_encoder *enc);
/* Append the tokens of text, which holds no special tokens; ends are base + offset in text. */
enum ds_status ds_bpe_encode(struct ds_bpe_encoder *enc, const void *text, size_t n, uint64_t base,
			     struct ds_tokens *tokens, struct ds_err *err);
/* Add the number of tokens of text to *count_io. */
enum ds_status ds_bpe_count(struct ds_bpe_encoder *enc, const void *text, size_t n,
			    size_t *count_io, struct ds_err *err);

#endif
