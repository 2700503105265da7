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
 */
#ifndef DS_TASK_SCORE_H
#define DS_TASK_SCORE_H

#include "base/pool.h"
#include "task/reader.h"

enum ds_windows { DS_WINDOWS_OVERLAP, DS_WINDOWS_HALVES };

/* A zeroed struct is empty and may be used for one text after the other. */
struct ds_scores {
	struct ds_tokens tokens; /* BOS included */
	float *logprob;		 /* [tokens.n] natural logarithm, NAN where there is none */
	size_t cap;
	size_t n_scored;
	uint64_t bytes; /* of the scored tokens */
	double nll;	/* minus the sum of their log-probabilities */
};
/* DS_ELIMIT for halves of a text shorter than two windows. */
enum ds_status ds_score(struct ds_reader *reader, struct ds_pool *pool, const struct ds_part *text,
			enum ds_windows windows, struct ds_scores *scores, struct ds_err *err);
void ds_scores_fini(struct ds_scores *scores);

/* e^(nll / n), and bits a byte; NAN without any. */
double ds_perplexity(double nll, uint64_t n);
double ds_bits_per_byte(double nll, uint64_t bytes);

#endif
