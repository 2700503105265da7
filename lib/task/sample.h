/*
 * sample.h - the next token from its logits
 *
 * The steps are those of llama.cpp, in its order; each works on what the one before kept:
 *
 *	penalty		the logit of every token among the last repeat_last ones is divided by
 *			repeat_penalty where it is positive, else multiplied (once, however often
 *			the token occurred)
 *	top_k		the k greatest logits
 *	top_p		the fewest of them, greatest first, whose probabilities reach p in sum;
 *			probabilities before the temperature
 *	min_p		those of at least min_p times the probability of the greatest
 *	temperature	logits divided by it; 0 (and below 1e-4): the greatest is taken, no draw
 *
 * Of equal logits the lowest id comes first.  The draw takes one number of SplitMix64 (Steele, Lea,
 * Flood, 2014) begun with the seed: u = its upper 53 bits / 2^53, and the first candidate at which
 * the running sum of probabilities exceeds u times their sum.  Exponentials are those of the kernel
 * rows, so the same logits, options and seed give the same tokens on every machine.
 */
#ifndef DS_TASK_SAMPLE_H
#define DS_TASK_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ds_sampling {
	float temperature;    /* 0: greedy */
	uint32_t top_k;	      /* 0: all */
	float top_p;	      /* 1: all */
	float min_p;	      /* 0: all */
	float repeat_penalty; /* 1: none */
	uint32_t repeat_last; /* tokens; 0: no penalty */
	uint64_t seed;
};
/* Greedy; top_k 40, top_p 0.95, min_p 0.05 once a temperature is set; the last 64 tokens. */
extern const struct ds_sampling ds_sampling_default;

/* One caller's; nothing is allocated after _new. */
struct ds_sampler;
enum ds_status ds_sampler_new(struct ds_sampler **sampler_ret, const struct ds_sampling *options,
			      size_t vocab, struct ds_err *err);
void ds_sampler_free(struct ds_sampler *sampler);
/* As new: the seed again, no tokens. */
void ds_sampler_reset(struct ds_sampler *sampler);
/* Tokens of the text so far, oldest first, for the penalty; the prompt's count too. */
void ds_sampler_accept(struct ds_sampler *sampler, const uint32_t *id, size_t n);
/* The next token; logits [vocab] are spent.  DS_EFORMAT when the greatest is not finite. */
enum ds_status ds_sampler_choose(struct ds_sampler *sampler, float *logits, uint32_t *id_ret,
				 struct ds_err *err);

#endif
