/*
 * tables.h - constant tables of the mixing coder, computed in integers
 *
 * Logits are natural, in 1/256: stretch(p) = 256 ln(p / (1 - p)).  Probabilities are in 1/65536.
 */
#ifndef DS_MIX_TABLES_H
#define DS_MIX_TABLES_H

#include <stdint.h>

#define DS_MIX_LOGIT_MAX 2815 /* 11 in 1/256: a probability of 1.09 / 65536 */
#define DS_MIX_STATES 256

#define DS_MIX_HASH_A UINT64_C(0x9E3779B97F4A7C15)
#define DS_MIX_HASH_B UINT64_C(0xD6E8FEB86659FD93)

/* H(a, b) of ds-archive(5). */
static inline uint64_t ds_mix_hash(uint64_t a, uint64_t b)
{
	uint64_t h = (a + 1) * DS_MIX_HASH_A ^ (b + 1) * DS_MIX_HASH_B;

	return (h ^ h >> 29) * DS_MIX_HASH_A;
}

struct ds_mix_tables {
	uint16_t squash[2 * DS_MIX_LOGIT_MAX + 1]; /* [logit + DS_MIX_LOGIT_MAX]: 1 to 65535 */
	int16_t stretch[4096 + 1];		   /* [probability / 16]; the last one is padding */
	uint8_t next[DS_MIX_STATES][2];		   /* history after a bit */
	uint8_t zeros[DS_MIX_STATES], ones[DS_MIX_STATES]; /* counts a history stands for */
};

/* Made at the first call; the same for all models. */
const struct ds_mix_tables *ds_mix_tables(void);

#endif
