/*
 * pretok.h - inside of the pretokenizers (bpe.h is what others use)
 *
 * A fast pretokenizer is one state machine that cuts a text in a single pass.  The others are lists
 * of levels: level i finds matches in every piece of level i-1, and matches and gaps are pieces.
 */
#ifndef DS_TOKEN_PRETOK_H
#define DS_TOKEN_PRETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "token/bpe.h"

#define DS_PRETOK_LEVELS 8

struct ds_span {
	const uint8_t *start, *end;
};

struct ds_pcre;	      /* a compiled pattern, shared */
struct ds_pcre_state; /* what one thread needs to match it */

struct ds_pretok_level {
	/* The first match in [p, end), not empty: true and *match_ret.  Or pcre is set. */
	bool (*find)(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
	struct ds_pcre *pcre;
};

/* What surely ends a pretoken, for ds_pretok_cut(): the byte before is an ASCII letter (or, with
 * CUT_CJK, a CJK letter, with CUT_LETTER any letter), the byte after is one of these. */
enum {
	DS_CUT_NEVER = 0,
	DS_CUT_SPACE = 1, /* ASCII white space */
	DS_CUT_PUNCT = 2, /* other ASCII that is no letter and no apostrophe */
	DS_CUT_QUOTE = 4, /* the apostrophe */
	DS_CUT_CJK = 8,	  /* U+4E00..U+9FA5 before U+3001, U+3002, U+FF01, U+FF0C, U+FF1B, U+FF1F */
	DS_CUT_LETTER = 32, /* ASCII white space, after a letter of any script */
	DS_CUT_LINE = 16, /* only after a line feed, before something else */
};

struct ds_pretok {
	const char *name;
	/* Write the ends of up to cap pretokens of text[pos..n) to end_ret; how many. */
	size_t (*split)(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
	struct ds_pretok_level level[DS_PRETOK_LEVELS]; /* when split is NULL */
	unsigned n_levels;
	unsigned cut;	/* DS_CUT_ bits */
	bool owned;	/* made by ds_pretok_open(): freed by ds_pretok_close() */
};

/* A text being cut.  Zeroed, then ds_pretok_start(). */
struct ds_pretok_walk {
	const struct ds_pretok *pre;
	const uint8_t *text;
	size_t pos, n;
	unsigned depth;
	struct {
		const uint8_t *start, *pos, *end;
		struct ds_span match; /* found, not yet given; .start NULL: not looked for */
	} at[DS_PRETOK_LEVELS + 1];
	struct ds_pcre_state *pcre;
};

void ds_pretok_walk_init(struct ds_pretok_walk *walk, const struct ds_pretok *pre);
void ds_pretok_walk_fini(struct ds_pretok_walk *walk);
void ds_pretok_start(struct ds_pretok_walk *walk, const void *text, size_t n);
/* Ends (offsets in text) of the next pretokens, at most cap; 0 at the end of the text. */
enum ds_status ds_pretok_next(struct ds_pretok_walk *walk, size_t *end_ret, size_t cap,
			      size_t *n_ret, struct ds_err *err);

/* pretok_fast.c */
size_t ds_split_none(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_gpt2(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_smollm(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_llama3(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_qwen2(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_qwen35(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);
size_t ds_split_deepseek3(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap);

/* pretok_level.c */
bool ds_find_line_end(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_space_end(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_cased(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_letters(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_punct(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_punct_llm(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_punct_falcon(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_punct_default(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_asian(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_numbers(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_number(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_3_digits(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_gpt2(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);
bool ds_find_lines(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret);

/* pcre.c */
enum ds_status ds_pcre_compile(struct ds_pcre **pcre_ret, struct ds_str pattern,
			       struct ds_err *err);
void ds_pcre_free(struct ds_pcre *pcre);
enum ds_status ds_pcre_state_new(struct ds_pcre_state **state_ret, struct ds_err *err);
void ds_pcre_state_free(struct ds_pcre_state *state);
/* The first match in text at from or later, not empty if at from; start NULL: none. */
enum ds_status ds_pcre_find(const struct ds_pcre *pcre, struct ds_pcre_state *state,
			    struct ds_span text, const uint8_t *from, struct ds_span *match_ret,
			    struct ds_err *err);

#endif
