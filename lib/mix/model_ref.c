/* model_ref.c - the step of the mixing coder in plain C */
#include <string.h>

#include "base/loops.h"
#include "mix/model.h"

static inline int32_t clamped(int32_t x)
{
	return x > DS_MIX_LOGIT_MAX    ? DS_MIX_LOGIT_MAX
	       : x < -DS_MIX_LOGIT_MAX ? -DS_MIX_LOGIT_MAX
				       : x;
}

static inline void mix_inputs(struct step *st)
{
	st->known = 0;
	for (int i = 0; i < N_CONTEXT; i++) {
		st->at[i] = st->slot[i][st->nibble];
		st->known += i < N_KNOWN && st->at[i];
	}
	for (int i = 0; i < N_MATCH; i++)
		st->at[N_CONTEXT + i] = st->foreseen[i];
	st->at[N_CHANCE - 1] = (uint8_t)st->node;
	for (int i = 0; i < N_CHANCE; i++) {
		uint32_t v = st->s->chance[i][st->at[i]];

		st->v[i] = v;
		st->input[2 * i] = (int16_t)((int32_t)(v << 20) >> 20);
		st->input[2 * i + 1] = (int16_t)((int32_t)(v >> 20) - 2048);
	}
}

static inline void mix_learn(struct step *st, unsigned bit)
{
	for (int i = 0; i < N_CHANCE; i++) {
		int32_t p = (int32_t)(st->v[i] >> 12);

		p += ((bit ? (1 << 20) - 1 : 0) - p) >> RATE_CHANCE;
		st->v[i] = (uint32_t)p << 12 | ((uint32_t)st->t->stretch[p >> 8] & 0xFFF);
	}
}

static inline void mix_dots(struct step *st)
{
	for (int i = 0; i < N_SET; i++) {
		uint32_t sum = 0;

		for (int j = 0; j < N_INPUT; j++)
			sum += (uint32_t)(st->input[j] * st->row[i][j]);
		st->logit[i] = clamped((int32_t)sum >> 14);
	}
}

static inline int32_t mix_final(const struct step *st)
{
	uint32_t sum = 0;

	for (int i = 0; i < N_SET; i++)
		sum += (uint32_t)(st->logit[i] * (st->final[i] >> 14));
	return (int32_t)sum;
}

static inline void mix_train(struct step *st, int32_t goal)
{
	int32_t e = ((goal - (int32_t)st->p_mix) * RATE_FINAL) >> 8;

	for (int i = 0; i < N_SET; i++) {
		int32_t p = st->t->squash[st->logit[i] + DS_MIX_LOGIT_MAX];
		int32_t miss = ((goal - p) * RATE_MIX) >> 10;

		for (int j = 0; j < N_INPUT; j++) {
			int32_t w = st->row[i][j] + ((st->input[j] * miss + 0x4000) >> 15);

			st->row[i][j] = (int16_t)(w > 32767 ? 32767 : w < -32768 ? -32768 : w);
		}
		st->final[i] += st->logit[i] * e >> 4;
	}
}

#include "mix/model.inc"

const struct ds_mix_kern ds_mix_ref = {"ref", learn, encode, decode};
