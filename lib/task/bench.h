/*
 * bench.h - how well a model reads a long document in some way, and what it costs
 *
 * A document (bench_doc.h) is read once for each way of reading (an attention policy), from an
 * empty session, and asked the questions of the tasks:
 *
 *	perplexity	of the text's tokens in the last half of the document; planted lines do not
 *			count.  Compared over the same tokens with the way that is the reference
 *	needle		the log-probability of the digits of each needle's number after the question
 *			and the beginning of the answer, and whether each digit is the likeliest
 *			token, given those before it
 *	extract		greedy answers to whose each thing of the register is: a fact is found when
 *			the answer holds the name
 *	summarise	the reference writes a summary, greedily; the other ways tell how likely
 *			each of its tokens is to them, and how many they would have written alike
 *			before the first that differs
 *
 * Costs: seconds of reading the document, without what the head of the model takes for perplexity;
 * seconds of a token at the end of it, read alone, with the choice of the next one.
 */
#ifndef DS_TASK_BENCH_H
#define DS_TASK_BENCH_H

#include "task/bench_doc.h"
#include "task/predict.h"

enum ds_bench_task {
	DS_BENCH_PERPLEXITY,
	DS_BENCH_NEEDLE,
	DS_BENCH_EXTRACT,
	DS_BENCH_SUMMARISE,
	DS_BENCH_TASKS
};
extern const char *const ds_bench_task_names[DS_BENCH_TASKS + 1]; /* NULL ends them */

/* A sum of differences of log-probabilities, token by token. */
struct ds_bench_change {
	uint64_t n;
	double sum, squares;
};
/* Perplexity over the reference's less 1, and the standard error of that, tokens being taken as
 * independent; 0 and 0 of nothing. */
double ds_bench_change(const struct ds_bench_change *change);
double ds_bench_change_error(const struct ds_bench_change *change);

/* What was found; sums, so that figures of several documents can be added. */
struct ds_bench_figures {
	unsigned documents;
	/* cost */
	uint64_t tokens, decoded_tokens;
	double read_seconds, read_cpu_seconds, decode_seconds; /* cpu: of all threads */
	uint64_t session_bytes, peak_bytes;		       /* the greatest; peak 0: not known */
	uint64_t pairs, pairs_seen; /* of queries and keys, in reading the document once */
	uint64_t audited;	    /* queries, of policies that choose */
	double mass;		    /* that those kept; sum */
	double mass_p5;		    /* 95 % of them kept more; of several documents the least */
	/* perplexity */
	uint64_t scored;
	double nll;
	struct ds_bench_change change; /* nothing in the reference */
	/* needle, by depth */
	unsigned needles, needles_found; /* found: all of its digits are right */
	unsigned digits[DS_NEEDLE_DEPTHS], digits_right[DS_NEEDLE_DEPTHS];
	double digit_logprob[DS_NEEDLE_DEPTHS]; /* sum */
	/* extract */
	unsigned facts, facts_found;
	/* summarise */
	unsigned summary_tokens, summary_alike; /* alike: tokens before the first that differs */
	double summary_logprob;			/* sum */
};
void ds_bench_add(struct ds_bench_figures *sum, const struct ds_bench_figures *more);

/* What the reference found in a document, for the others to be compared with. */
struct ds_bench_reference {
	float *logprob; /* [n] of the scored tokens */
	size_t n, cap;
	uint32_t summary[DS_SUMMARY_TOKENS_MAX];
	size_t n_summary;
};
void ds_bench_reference_fini(struct ds_bench_reference *reference);

struct ds_bench {
	struct ds_reader
		*reader; /* its context is the document's length, or less when it carries */
	struct ds_pool *pool;
	unsigned tasks; /* bit of each */
	unsigned runs;	/* readings of the document, the fastest counts; 0: 1 */
	/* told between steps; may be NULL */
	void (*progress)(void *user, uint64_t done_tokens, uint64_t all_tokens);
	void *user;
};
/* is_reference: the first way of reading, which fills in reference; later ones compare. */
enum ds_status ds_bench_run(const struct ds_bench *bench, const struct ds_bench_doc *doc,
			    struct ds_bench_reference *reference, bool is_reference,
			    struct ds_bench_figures *figures_ret, struct ds_err *err);

/* Exponent e of seconds = c length^e by least squares of the logarithms; NAN for fewer than two
 * lengths. */
double ds_bench_exponent(const double *length, const double *seconds, size_t n);

#endif
