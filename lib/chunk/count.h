/*
 * count.h - how many tokens any part of a document has by itself
 *
 * The document is tokenized once, in short pieces between places where it may be cut exactly
 * (ds_encoder_cut()).  The tokens of a part alone differ from those it has in the document only
 * near its ends, so only its first and last few bytes are encoded again.
 */
#ifndef DS_CHUNK_COUNT_H
#define DS_CHUNK_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "chunk/scan.h"
#include "token/token.h"

/* A place where the document's tokens are those of both sides. */
struct ds_cut {
	uint64_t pos;
	uint64_t seen;	 /* known from the bytes before seen, whatever follows them */
	uint64_t tokens; /* of the document before pos */
	uint32_t hard;	 /* cuts so far that were forced, where no exact one was in sight */
};

/* How many cuts after a place may matter to what is said about it. */
#define DS_COUNTER_AHEAD 4

struct ds_counter {
	struct ds_encoder *enc;
	const struct ds_window *window; /* as of the last run */
	size_t want;			/* bytes to look for the next cut in */
	struct ds_cut *cut;		/* [n], ascending, at least one */
	size_t n, cap;
	struct ds_tokens tokens; /* scratch */
	/* the last beginning asked for, and the cut from which its tokens are the document's */
	uint64_t head_pos, head_tokens;
	struct ds_cut head_cut;
	bool head_known, head_exact;
	/* the last tail counted */
	uint64_t tail_from, tail_end, tail_tokens;
	/* the last part counted as a whole */
	uint64_t whole_start, whole_end, whole_tokens;
};

enum ds_status ds_counter_init(struct ds_counter *c, const struct ds_tokenizer *tok,
			       struct ds_err *err);
void ds_counter_reset(struct ds_counter *c); /* a new document */
void ds_counter_fini(struct ds_counter *c);
/* Tokenize as far as the window allows; it is kept. */
enum ds_status ds_counter_run(struct ds_counter *c, const struct ds_window *w, struct ds_err *err);
/* Forget what only parts that begin before pos need. */
void ds_counter_forget(struct ds_counter *c, uint64_t pos);

/* The index of the last cut at or before pos. */
size_t ds_counter_cut_before(const struct ds_counter *c, uint64_t pos);
/* About how many tokens of the document end before pos. */
uint64_t ds_counter_estimate(const struct ds_counter *c, uint64_t pos);
/* About where so many tokens of the document have ended. */
uint64_t ds_counter_locate(const struct ds_counter *c, uint64_t tokens);
/* Exactly how many tokens the bytes [start, end) have alone, without affixes. */
enum ds_status ds_counter_alone(struct ds_counter *c, uint64_t start, uint64_t end,
				uint64_t *tokens_ret, struct ds_err *err);

/* Where bytes from start on reach a limit of tokens, off by a few. */
struct ds_reach {
	uint64_t start, limit;
	uint64_t bound; /* the end is not beyond it; the document is tokenized to it */
	uint64_t end;	/* found: the end of a token; start when one is too many */
	uint64_t over;	/* found: beyond it the limit is passed for sure */
	bool hard;	/* found: no exact cut is in sight, so every count takes its time */
};
enum ds_status ds_counter_reach(struct ds_counter *c, struct ds_reach *r, struct ds_err *err);

#endif
