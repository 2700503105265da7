/*
 * score.h - how likely a text is to a model: log-probabilities of its tokens
 *
 * The text is read after the tokens that the tokenizer puts before one (BOS); every token but the
 * first of all is scored given those before it.  A text longer than the context is read in windows
 * of that many tokens, each beginning with BOS again:
 *
 *	overlap	a window begins half a window after the one before and scores its second half, the
 *		first window all: every token is scored, most given half a context or more
 *	halves	windows follow each other without overlap, in each only the tokens after its middle
 *		are scored, what is left of the text after the last whole window is not: the measure
 *		of llama-perplexity, for texts of at least two windows
 *	restart	windows follow each other without overlap, all is scored but the first token of
 *		each: what is lost where nothing is carried over
 *
 * Where the reader's session carries (struct ds_carry), all is one window.
 */
#ifndef DS_TASK_SCORE_H
#define DS_TASK_SCORE_H

#include "base/pool.h"
#include "task/reader.h"

enum ds_windows { DS_WINDOWS_OVERLAP, DS_WINDOWS_HALVES, DS_WINDOWS_RESTART };

/* Tokens that follow each other, with their scores. */
struct ds_scored {
	size_t n;
	uint64_t first, start; /* number of the first, BOS included; the byte it begins at */
	const uint32_t *id;    /* [n] */
	const uint64_t *end;   /* [n] byte that the next one begins at */
	const float *logprob;  /* [n] natural logarithm, NAN where there is none */
};

struct ds_score_totals {
	uint64_t tokens, n_scored;
	uint64_t bytes; /* of the scored tokens */
	double nll;	/* minus the sum of their log-probabilities */
};

struct ds_score_options {
	enum ds_windows windows;
	size_t tokens_max; /* what follows so many is not looked at; 0: all */
	/* called as soon as tokens have their scores, in order; NULL: only totals */
	enum ds_status (*take)(void *user, const struct ds_scored *scored, struct ds_err *err);
	void *user;
};

/*
 * Texts of any length as they come, in the memory of two windows; the scores do not depend on the
 * pieces.  After a failure ds_scorer_reset() forgets the text, and another may begin.  The reader
 * and the pool outlive the scorer.
 */
struct ds_scorer;
enum ds_status ds_scorer_new(struct ds_scorer **scorer_ret, struct ds_reader *reader,
			     struct ds_pool *pool, const struct ds_score_options *options,
			     struct ds_err *err);
void ds_scorer_free(struct ds_scorer *scorer);
enum ds_status ds_scorer_push(struct ds_scorer *scorer, const void *bytes, size_t n,
			      struct ds_err *err);
/* Nothing more has come yet: read what is certain, in however small a pass. */
enum ds_status ds_scorer_idle(struct ds_scorer *scorer, struct ds_err *err);
/* The text has ended.  DS_ELIMIT for halves of a text shorter than two windows. */
enum ds_status ds_scorer_end(struct ds_scorer *scorer, struct ds_score_totals *totals_ret,
			     struct ds_err *err);
void ds_scorer_reset(struct ds_scorer *scorer);

/* A text in memory, and all its scores.  A zeroed struct is empty and may be used for one text
 * after the other. */
struct ds_scores {
	struct ds_tokens tokens; /* BOS included */
	float *logprob;		 /* [tokens.n] */
	size_t cap;
	size_t n_scored;
	uint64_t bytes;
	double nll;
};
enum ds_status ds_score(struct ds_reader *reader, struct ds_pool *pool, const struct ds_part *text,
			enum ds_windows windows, struct ds_scores *scores, struct ds_err *err);
void ds_scores_fini(struct ds_scores *scores);

/* e^(nll / n), and bits a byte; NAN without any. */
double ds_perplexity(double nll, uint64_t n);
double ds_bits_per_byte(double nll, uint64_t bytes);

#endif
