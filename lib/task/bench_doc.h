/*
 * bench_doc.h - a long document of exactly so many tokens, with facts planted in it to ask for
 *
 * A document is the beginning of a chat turn of the model's template (without one: BOS), text, and
 * lines that are planted between its sentences.  Questions come after a part of the document, its
 * body, so that body, question and answer stay within the length; what is left of the length goes
 * on with the text.  Reading all of it measures time and perplexity, and cut back to the body it
 * answers every question without being read again.
 *
 * Needles (after Kamradt's needle in a haystack): nine sentences that tell a number of five digits,
 * in three wordings, each near 10, 50 and 90 % of the body.  Facts: lines of a register, a thing
 * and whose it is, at other places.
 */
#ifndef DS_TASK_BENCH_DOC_H
#define DS_TASK_BENCH_DOC_H

#include "task/reader.h"

#define DS_NEEDLE_DEPTHS 3
#define DS_NEEDLE_WORDINGS 3
#define DS_NEEDLES (DS_NEEDLE_DEPTHS * DS_NEEDLE_WORDINGS)
#define DS_NEEDLE_DIGITS 5
#define DS_FACTS 6
#define DS_FACT_TOKENS_MAX 16	 /* of an answer */
#define DS_SUMMARY_TOKENS_MAX 64 /* of a summary */

struct ds_bench_doc {
	uint32_t *id;	  /* [n] */
	uint8_t *planted; /* [n] 1: no text of the document's own */
	size_t n;	  /* the length asked for */
	size_t body;	  /* questions follow so many tokens */
	size_t text_used; /* tokens of the text */
};

/* What follows the body: a question, and the answer as far as it is given. */
struct ds_bench_question {
	uint32_t *id;	/* [n] */
	uint8_t *digit; /* [n] how many digits of the needle's number the token spells */
	size_t n, cap, cap_digit;
	size_t n_asked; /* tokens before the needle's number, or all */
};

/*
 * text: tokens of the text, spans included, of the bytes given.  DS_ELIMIT when there are too few
 * of them for the length, or the length leaves no room for what is planted and asked.
 */
enum ds_status ds_bench_doc_make(struct ds_bench_doc *doc, struct ds_reader *reader,
				 const struct ds_tokens *text, const void *bytes, size_t length,
				 struct ds_err *err);
void ds_bench_doc_fini(struct ds_bench_doc *doc);

/* The question for a needle's number, with the number; needle i is of wording i % 3 and depth
 * i / 3.  A zeroed struct may be used for one question after the other. */
enum ds_status ds_bench_ask_needle(struct ds_bench_question *q, struct ds_reader *reader, size_t i,
				   struct ds_err *err);
/* The question whose a thing is; *answer_ret: the name. */
enum ds_status ds_bench_ask_fact(struct ds_bench_question *q, struct ds_reader *reader, size_t i,
				 const char **answer_ret, struct ds_err *err);
enum ds_status ds_bench_ask_summary(struct ds_bench_question *q, struct ds_reader *reader,
				    struct ds_err *err);
void ds_bench_question_fini(struct ds_bench_question *q);

#endif
