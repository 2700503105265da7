/* model_ref.c - the step of the mixing coder in plain C */
#include <string.h>

#include "mix/model.h"

static inline int32_t clamped(int32_t x)
{
	return x > DS_MIX_LOGIT_MAX    ? DS_MIX_LOGIT_MAX
	       : x < -DS_MIX_LOGIT_MAX ? -DS_MIX_LOGIT_MAX
				       : x;
}

static inline void mix_inputs(uint32_t *const *chance, uint32_t *v, int16_t *input)
{
	for (int i = 0; i < N_CHANCE; i++) {
		v[i] = *chance[i];
		input[2 * i] = (int16_t)((int32_t)(v[i] << 20) >> 20);
		input[2 * i + 1] = (int16_t)((int32_t)(v[i] >> 20) - 2048);
	}
}

static inline void mix_learn(uint32_t *v, unsigned bit, const int16_t *stretch)
{
	for (int i = 0; i < N_CHANCE; i++) {
		int32_t p = (int32_t)(v[i] >> 12);

		p += ((bit ? (1 << 20) - 1 : 0) - p) >> RATE_CHANCE;
		v[i] = (uint32_t)p << 12 | ((uint32_t)stretch[p >> 8] & 0xFFF);
	}
}

static inline void mix_dots(const int16_t *input, int16_t *const *row, int32_t *logit)
{
	for (int i = 0; i < N_SET; i++) {
		uint32_t sum = 0;

		for (int j = 0; j < N_INPUT; j++)
			sum += (uint32_t)(input[j] * row[i][j]);
		logit[i] = clamped((int32_t)sum >> 14);
	}
}

static inline int32_t mix_final(const int32_t *logit, const int32_t *weight)
{
	uint32_t sum = 0;

	for (int i = 0; i < N_SET; i++)
		sum += (uint32_t)(logit[i] * (weight[i] >> 14));
	return (int32_t)sum;
}

static inline void mix_train(const int16_t *input, int16_t *const *row, const int32_t *miss)
{
	for (int i = 0; i < N_SET; i++)
		for (int j = 0; j < N_INPUT; j++) {
			int32_t w = row[i][j] + ((input[j] * miss[i] + 0x4000) >> 15);

			row[i][j] = (int16_t)(w > 32767 ? 32767 : w < -32768 ? -32768 : w);
		}
}

#include "mix/model.inc"

const struct ds_mix_kern ds_mix_ref = {"ref", learn, encode, decode};
