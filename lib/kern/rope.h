/*
 * rope.h - rotary positions: which pairs of a head turn, how fast, and the table of one position
 *
 * Pair i of position pos turns by the angle pos f_i, f_i = base^(-2 i / dims) / factors[i], and
 * (YaRN, arXiv:2309.00071, as llama.cpp computes it)
 *
 *	f_i (scale (1 - ext r_i) + ext r_i),  r_i = 1 - clamp((i - low) / max(high - low, 0.001))
 *
 * where low and high are the pairs that turn beta_fast and beta_slow times within n_context_orig.
 * Cosine and sine are multiplied by attn_factor, for ext_factor != 0 times 1 + ln(1 / scale) / 10.
 */
#ifndef DS_KERN_ROPE_H
#define DS_KERN_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kern/kern.h"

#define DS_ROPE_DIMS_MAX 512

/* A zero of scale or attn_factor stands for 1. */
struct ds_rope_config {
	uint32_t dims;	      /* leading values of a head that turn; even */
	bool pairs;	      /* values 2i and 2i + 1 are a pair (llama); else i, i + dims / 2 */
	double base;	      /* rope.freq_base */
	double scale;	      /* of positions: 1 / rope.scaling.factor */
	const float *factors; /* [dims / 2] rope_freqs.weight, or NULL */
	double ext_factor;    /* YaRN: 1; 0: off */
	double attn_factor, beta_fast, beta_slow;
	uint32_t n_context_orig;
};

struct ds_rope {
	uint32_t dims;
	bool pairs;
	double magnitude;
	double frequency[DS_ROPE_DIMS_MAX / 2];
};

/* DS_EFORMAT for settings out of range (they come from a file). */
enum ds_status ds_rope_init(struct ds_rope *rope, const struct ds_rope_config *config,
			    struct ds_err *err);
/* table [2 dims]: the cosines of the values' pairs, then the sines, negative for a pair's first. */
void ds_rope_table(const struct ds_rope *rope, size_t pos, float *table);
/* The same, of the turn that takes a head from any position to the one so many before it. */
void ds_rope_back_table(const struct ds_rope *rope, size_t back, float *table);
/* Turn n heads, stride floats apart, by a table. */
void ds_rope_apply(const struct ds_rope *rope, const struct ds_kern *kern, const float *table,
		   float *x, size_t n, size_t stride);

#endif
