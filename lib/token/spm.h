/*
 * spm.h - SentencePiece BPE: merges by the score of the token they make, byte fallback (internal)
 *
 * A text is first cut where no token of the vocabulary reaches over (before most spaces, say):
 * the pieces are independent, so they are cached and long texts need no long lists.
 */
#ifndef DS_TOKEN_SPM_H
#define DS_TOKEN_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "token/token.h"

/* The byte that "<0x0A>" stands for, or -1. */
int ds_spm_byte(struct ds_str s);
/* Copy s to out, which has room for it, with spaces for U+2581; the length. */
size_t ds_spm_unescape(struct ds_str s, char *out);

struct ds_spm_source {
	size_t n;
	const struct ds_gguf_kv *token; /* n strings; U+2581 stands for a space */
	const uint8_t *type;		/* [n] i32 */
	const uint8_t *score;		/* [n] f32 */
	uint32_t unk;			/* for bytes without a token; or DS_NO_TOKEN */
};

struct ds_spm;
struct ds_spm_encoder;

/* The source's strings are needed during the call only. */
enum ds_status ds_spm_build(struct ds_spm **spm_ret, const struct ds_spm_source *source,
			    struct ds_err *err);
void ds_spm_free(struct ds_spm *spm);
/* The bytes of a token: spaces are spaces, byte tokens their byte. */
struct ds_str ds_spm_token(const struct ds_spm *spm, uint32_t id);
/* The ordinary token of exactly these bytes, or DS_NO_TOKEN. */
uint32_t ds_spm_find(const struct ds_spm *spm, const void *bytes, size_t n);
/* The largest p <= n such that text[0..p) and text[p..) are independent; 0 when none is known. */
size_t ds_spm_cut(const struct ds_spm *spm, const void *text, size_t n);

enum ds_status ds_spm_encoder_new(struct ds_spm_encoder **enc_ret, const struct ds_spm *spm,
				  struct ds_err *err);
void ds_spm_encoder_free(struct ds_spm_encoder *enc);
/* Append the tokens of text, with a space put before it if prefix; ends are base + offset. */
enum ds_status ds_spm_encode(struct ds_spm_encoder *enc, const struct ds_part *text, bool prefix,
			     uint64_t base, struct ds_tokens *tokens, struct ds_err *err);

#endif
