/*
 * skip.h - layers that a text is read without, and what that costs
 *
 * Layers are chosen by their block influence on the text's own beginning (ds_session_measure()):
 * the least go, but never the first or the last.  The cost is the perplexity of that beginning with
 * and without them.
 */
#ifndef DS_TASK_SKIP_H
#define DS_TASK_SKIP_H

#include "task/reader.h"

/* The beginning of a text: its first bytes, and of their tokens the first, BOS included. */
#define DS_SKIP_BYTES ((size_t)16 << 10)
#define DS_SKIP_TOKENS 512

struct ds_skip_cost {
	size_t tokens; /* of the sample that have a probability */
	double perplexity, perplexity_whole;
};

/*
 * The n layers of least influence on the text, ascending, into skip [n]; DS_EUNSUPPORTED where
 * fewer may go.  A text of less than two tokens tells nothing: *n_ret is 0 then, else n.
 */
enum ds_status ds_skip_choose(const struct ds_reader *reader, const struct ds_part *text, size_t n,
			      uint32_t *skip, size_t *n_ret, struct ds_err *err);
/* What leaving out these layers costs on the text; NAN without tokens. */
enum ds_status ds_skip_measure(const struct ds_reader *reader, const struct ds_part *text,
			       const uint32_t *skip, size_t n, struct ds_skip_cost *cost_ret,
			       struct ds_err *err);

#endif
