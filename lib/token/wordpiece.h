/*
 * wordpiece.h - WordPiece over BERT's normaliser and word splitter (internal to lib/token)
 *
 * Text is cleaned, lowercased and stripped of accents as Hugging Face's BertNormalizer does, split
 * into words, punctuation and CJK characters as BertPreTokenizer does, and each word is covered by
 * the longest tokens from its start.  Spans are those of the original bytes: what stands between
 * words belongs to the token that follows, what follows the last token to the last.
 */
#ifndef DS_TOKEN_WORDPIECE_H
#define DS_TOKEN_WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "token/token.h"

enum ds_wp_style {
	DS_WP_HASHES, /* "word", "##piece" */
	DS_WP_GGUF,   /* "\u2581word", "piece"; "[...]" stands for itself */
};

enum {
	DS_WP_CLEAN = 1,   /* drop controls, all white space is a space */
	DS_WP_CJK = 2,	   /* every CJK ideograph is a word */
	DS_WP_ACCENTS = 4, /* decompose and drop nonspacing marks */
	DS_WP_LOWER = 8,
};

struct ds_wp_source {
	size_t n;
	const struct ds_str *token; /* [n]; kept: must outlive the result */
	enum ds_wp_style style;
	unsigned flags;
	uint32_t unk;
	uint32_t word_chars_max; /* a longer word is unk */
};

struct ds_wp;
struct ds_wp_encoder;

enum ds_status ds_wp_build(struct ds_wp **wp_ret, const struct ds_wp_source *source,
			   struct ds_err *err);
void ds_wp_free(struct ds_wp *wp);
/* Whether token id goes on with the word before it. */
int ds_wp_continues(const struct ds_wp *wp, uint32_t id);
/* The token's text without the mark of its style. */
struct ds_str ds_wp_text(const struct ds_wp *wp, uint32_t id);
/* DS_WP_ bits it was built with. */
unsigned ds_wp_flags(const struct ds_wp *wp);
/* The token that begins a word with exactly these (normalised) bytes, or DS_NO_TOKEN. */
uint32_t ds_wp_find(const struct ds_wp *wp, const void *bytes, size_t n);

enum ds_status ds_wp_encoder_new(struct ds_wp_encoder **enc_ret, const struct ds_wp *wp,
				 struct ds_err *err);
void ds_wp_encoder_free(struct ds_wp_encoder *enc);
/* Append the tokens of text to tokens; ends are base + offset in text.  White space at the end of
 * text is in no span: the caller gives it to what follows, or to the last token. */
enum ds_status ds_wp_encode(struct ds_wp_encoder *enc, const void *text, size_t n, uint64_t base,
			    struct ds_tokens *tokens, struct ds_err *err);
/* Add the number of tokens of text to *count_io. */
enum ds_status ds_wp_count(struct ds_wp_encoder *enc, const void *text, size_t n, size_t *count_io,
			   struct ds_err *err);
/* As ds_encoder_cut(). */
size_t ds_wp_cut(const struct ds_wp *wp, const void *text, size_t n);

#endif
