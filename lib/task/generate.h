/*
 * generate.h - answers to prompts
 *
 * The answer to a prompt depends on the prompt, the options and the model alone: the sampler begins
 * anew for each.
 */
#ifndef DS_TASK_GENERATE_H
#define DS_TASK_GENERATE_H

#include "task/answer.h"
#include "task/reader.h"
#include "task/sample.h"

enum ds_finish {
	DS_FINISH_STOP,	   /* the model ended its turn, or a stop string came */
	DS_FINISH_LENGTH,  /* n_max tokens */
	DS_FINISH_CONTEXT, /* the context is full */
};
extern const char *const ds_finish_names[3]; /* "stop", "length", "context" */

struct ds_generate_options {
	struct ds_sampling sampling;
	size_t n_max;		    /* tokens at most */
	const struct ds_part *stop; /* [n_stop], borrowed */
	size_t n_stop;
};

struct ds_generated {
	enum ds_finish finish;
	size_t prompt_tokens, tokens; /* the token that ends a turn is not counted */
};

struct ds_generator;
enum ds_status ds_generator_new(struct ds_generator **gen_ret, struct ds_reader *reader,
				const struct ds_generate_options *options, struct ds_err *err);
void ds_generator_free(struct ds_generator *gen);
/*
 * Answer the prompt of ds_reader_turn(): take(user, bytes) gets the answer piece by piece.
 * DS_EINVAL for a prompt without tokens, DS_ELIMIT for one that is longer than the context.
 */
enum ds_status ds_generate(struct ds_generator *gen,
			   enum ds_status (*take)(void *user, const uint8_t *bytes, size_t n,
						  struct ds_err *err),
			   void *user, struct ds_generated *made_ret, struct ds_err *err);

/* Totals of all answers; first_token_seconds: of the first, from the beginning of its prompt. */
struct ds_generator_totals {
	uint64_t tokens;
	double seconds, first_token_seconds;
};
const struct ds_generator_totals *ds_generator_totals(const struct ds_generator *gen);

#endif
