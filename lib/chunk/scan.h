/*
 * scan.h - where a text may be cut well: sentences, lines, paragraphs, fences, headings
 *
 * One pass over the bytes.  What is decided at a position depends only on DS_SCAN_BACK bytes before
 * it and DS_SCAN_AHEAD after it (and on the lines above it, through the state), so that the marks
 * are the same however the text arrives, and a line of any length passes in constant memory.
 */
#ifndef DS_CHUNK_SCAN_H
#define DS_CHUNK_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DS_SCAN_BACK 64
#define DS_SCAN_AHEAD 512

/* How good a place is, worst first. */
enum ds_rank {
	DS_RANK_LINE,	   /* a line begins */
	DS_RANK_SENTENCE,  /* a sentence or a list item begins */
	DS_RANK_PARAGRAPH, /* after a blank line */
	DS_RANK_GAP,	   /* after several blank lines, a rule or a form feed */
	DS_RANK_FENCE,	   /* the edge of a code fence */
	DS_RANK_HEADING,   /* a heading begins */
};

struct ds_mark {
	uint64_t pos; /* in the document: the next chunk would begin here */
	uint8_t rank; /* enum ds_rank */
	uint8_t opens_fence;
};

/* What a line was, for the one below it; ITEM: blank, after an item of a list. */
enum ds_above {
	DS_ABOVE_NONE,
	DS_ABOVE_BLANK,
	DS_ABOVE_ITEM,
	DS_ABOVE_TEXT,
	DS_ABOVE_HEADING,
	DS_ABOVE_FENCE_END,
};

struct ds_scan {
	uint64_t pos; /* all marks before it are known */
	bool line_start;
	bool sentence_ended;  /* the line above ends with a sentence */
	bool item;	      /* the last line that was not blank is an item of a list */
	bool glue;	      /* only headings and blank lines since the last heading began */
	uint8_t above;	      /* enum ds_above */
	uint8_t heading_left; /* lines that still belong to the heading above */
	uint32_t blank_lines;
	uint8_t fence; /* '`' or '~' inside a code fence, else 0 */
	uint32_t fence_len;
	struct ds_mark *mark; /* [n], ascending */
	size_t n, cap;
};

/* Bytes [base, base + n) of the document; last: it ends with them. */
struct ds_window {
	const uint8_t *data;
	uint64_t base;
	size_t n;
	bool last;
};

void ds_scan_reset(struct ds_scan *s); /* a new document; keeps the memory */
/* Go on as far as the window allows. */
enum ds_status ds_scan_run(struct ds_scan *s, const struct ds_window *w, struct ds_err *err);
/* Forget marks before pos. */
void ds_scan_forget(struct ds_scan *s, uint64_t pos);
void ds_scan_fini(struct ds_scan *s);

/* sentence.c: */

/* The classes of bytes that can begin a sentence stop; 0: none. */
enum { DS_BYTE_STOP = 1, DS_BYTE_NEWLINE = 2, DS_BYTE_LEAD = 4 };
extern const uint8_t ds_sentence_byte[256];
/*
 * At p stands a byte of class STOP or LEAD; lo <= p < hi bound what may be looked at.  Returns the
 * bytes to go on by; *ends_ret tells whether a sentence ends there (closing quotes, brackets and
 * blanks on the line included, the line end not).
 */
size_t ds_sentence_stop(const uint8_t *lo, const uint8_t *p, const uint8_t *hi, bool *ends_ret);

/* outline.c: */

/* A line without the blanks around it; empty: p == end. */
struct ds_line {
	const uint8_t *p, *end;
	const uint8_t *next; /* the line below, or the end of what may be seen */
	size_t indent;
};
struct ds_line ds_outline_line(const uint8_t *p, const uint8_t *hi);
/* The lines of the heading that begins with l (0: none), lines over and under the title included;
 * above: what the line before it was.  hi bounds what may be seen. */
uint8_t ds_outline_heading(const struct ds_line *l, const uint8_t *hi, enum ds_above above);
/* The line is only punctuation of one kind, as under or over a title. */
bool ds_outline_rule(const struct ds_line *l);
/* The line is an item of a list. */
bool ds_outline_item(const struct ds_line *l);
/* The length of the run of ` or ~ that makes the line a fence; else 0. */
uint32_t ds_outline_fence(const struct ds_line *l);

#endif
