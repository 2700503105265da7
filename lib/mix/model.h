/*
 * model.h - the state of a mixing coder
 *
 * Three parts, by how a block's changes are undone: the lines of the hash table are logged before
 * their first change, struct ds_mix_state is kept as a whole, and what was appended is dropped.
 */
#ifndef DS_MIX_MODEL_H
#define DS_MIX_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mix/arith.h"
#include "mix/mix.h"
#include "mix/tables.h"

enum {
	N_MATCH = 2,	/* places in the text before that are followed */
	N_CONTEXT = 13, /* contexts with histories in the hash table */
	RATE_APM = 6,
	RATE_MIX = 40,
	RATE_FINAL = 20,
	RATE_CHANCE = 7,
	N_CHANCE = N_CONTEXT + N_MATCH + 1, /* and one of order 0: 16 */
	N_INPUT = 2 * N_CHANCE,		    /* logits, then differences from a half */
	N_KNOWN = 7,	 /* the first ones are counted where they were seen before */
	N_SET = 8,	 /* weight sets, one row of each used for a bit */
	LINE_BYTES = 64, /* four slots of a check and 15 histories */
	SLOT_BYTES = 16,
	APM_STEPS = 23,
	APM_ROW = 32,	  /* a cache line; the rest is padding */
	RECENT_BITS = 16, /* of the table of a block's own places */
	SET_ROWS = 256,
};

struct match {
	uint32_t at;	   /* what comes next, as offset in the history; 0: nothing followed */
	uint32_t length;   /* how many bytes before agree, as far as known */
	uint32_t misses;   /* bits: the last 8 bytes not foreseen */
	uint32_t expected; /* the byte there, with a bit above it; 0 when it is out */
	uint32_t context;  /* of its counter for this byte */
};

/*
 * A chance is 20 bits of probability above 12 bits of its logit (signed), which is an input of the
 * mixer; another is the probability less a half.
 */
/* What is known at the next byte, and all that is learnt but histories and text. */
struct ds_mix_state {
	uint64_t last8; /* bytes before, the last one lowest */
	uint32_t word, word1,
		word2; /* hashes of the word that is being written and the ones before */
	struct match match[N_MATCH];
	uint32_t recent[N_MATCH][1 << RECENT_BITS]; /* places in the block */
	/* by history of a context; by context << 1 | expected bit of a match, 0: none; by node */
	uint32_t chance[N_CHANCE][256];
	int16_t weight[N_SET][SET_ROWS][N_INPUT] __attribute__((aligned(64)));
	int32_t final[256][N_SET] __attribute__((aligned(64)));
	uint16_t apm1[1 << 16][APM_ROW] __attribute__((aligned(64)));
	uint16_t apm2[1 << 16][APM_ROW];
};

struct log_entry {
	uint8_t line[LINE_BYTES];
};

struct ds_mix {
	const struct ds_mix_tables *tables;
	const struct ds_mix_kern *kern;
	unsigned line_bits;
	uint8_t *lines;			 /* [1 << line_bits][LINE_BYTES] */
	struct ds_mix_state *now, *kept; /* kept: as it was frozen, or NULL */
	void *owner[3];			 /* what holds lines, now and place */

	uint8_t *text; /* all bytes learnt or coded */
	size_t len, cap, frozen_len;
	uint32_t *place[N_MATCH]; /* [1 << place_bits] in the frozen text */
	unsigned place_bits;

	uint64_t *logged; /* [1 << line_bits] bits */
	struct log_entry *log;
	uint32_t *log_line;
	size_t n_log, cap_log;
};

/* A bit that is being coded. */
struct step {
	struct ds_mix *m;
	struct ds_mix_state *s;
	const struct ds_mix_tables *t;
	uint32_t node;	 /* the bits of this byte so far, with a one above them */
	uint32_t nibble; /* the same of its half */
	uint64_t hash[N_CONTEXT];
	uint8_t *slot[N_CONTEXT];
	uint32_t *recent[N_MATCH], *place[N_MATCH];
	uint32_t candidate[N_MATCH][2];

	uint8_t foreseen[N_MATCH];			     /* which chance of each match */
	uint8_t at[N_CHANCE] __attribute__((aligned(16)));   /* which chance of each */
	uint32_t v[N_CHANCE] __attribute__((aligned(64)));   /* these */
	int16_t input[N_INPUT] __attribute__((aligned(64))); /* of the mixers */
	unsigned known;					     /* contexts seen before */
	int16_t *row[N_SET];
	int32_t logit[N_SET] __attribute__((aligned(32)));
	int32_t *final;
	int32_t sum;
	uint32_t p_mix;
	uint16_t *apm[2];
};

struct ds_mix_kern {
	const char *name;
	void (*learn)(struct ds_mix *m, const uint8_t *bytes, size_t n);
	void (*encode)(struct ds_mix *m, const uint8_t *bytes, size_t n, struct ds_arith_enc *enc);
	void (*decode)(struct ds_mix *m, uint8_t *bytes, size_t n, struct ds_arith_dec *dec);
};

extern const struct ds_mix_kern ds_mix_ref, ds_mix_avx2;
/* Every one this CPU can run, ref first: for tests. */
size_t ds_mix_kerns(const struct ds_mix_kern *const **kerns_ret);

#endif
