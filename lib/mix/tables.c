/*
 * tables.c - logistic function, its inverse, and histories of bits
 *
 * A history stands for how many zeros and ones a context has seen, roughly, and for the last bit
 * where there were both.  Counts are bounded: the greater one by a limit that falls as the lesser
 * one grows; and a bit takes from a large count of the other bit, since what came last tells more.
 */
#include "mix/tables.h"

#include <pthread.h>
#include <string.h>

static struct ds_mix_tables tables;

/* Numbers of histories: 61 + 94 + 46 + 26 + 18 + 6 = 251; see man page. */
static const uint8_t count_max[] = {30, 24, 13, 9, 8, 6};
#define LESSER_MAX (sizeof count_max - 1)

static int allowed(unsigned zeros, unsigned ones)
{
	unsigned lesser = zeros < ones ? zeros : ones, greater = zeros < ones ? ones : zeros;

	return lesser <= LESSER_MAX && greater <= count_max[lesser];
}

/* What is left of a count when the other bit comes. */
static unsigned discount(unsigned n)
{
	return n <= 4 ? n : 4 + (n - 1) / 6;
}

/* [zeros][ones][last bit]: 0 where there is no such history */
static uint8_t number_of[32][32][2];

static void number_histories(void)
{
	unsigned n = 0;

	/* by sum, so that the empty history is 0 */
	for (unsigned sum = 0; sum <= 30; sum++)
		for (unsigned zeros = 0; zeros <= sum; zeros++) {
			unsigned ones = sum - zeros;

			if (!allowed(zeros, ones))
				continue;
			for (unsigned last = 0; last < 2; last++) {
				/* where only one bit was seen it was the last */
				if ((zeros == 0 && last == 0 && ones) || (ones == 0 && last == 1))
					continue;
				tables.zeros[n] = (uint8_t)zeros;
				tables.ones[n] = (uint8_t)ones;
				number_of[zeros][ones][last] = (uint8_t)n++;
			}
		}
}

static uint8_t follow(unsigned zeros, unsigned ones, unsigned bit)
{
	unsigned count[2] = {zeros, ones};

	count[!bit] = discount(count[!bit]);
	count[bit]++;
	while (!allowed(count[0], count[1]))
		count[bit] > count[!bit] || count[!bit] == 0 ? count[bit]-- : count[!bit]--;
	return number_of[count[0]][count[1]][bit];
}

static void make(void)
{
	/* e^-(1/256) and the power reached, both times 2^60 */
	const uint64_t one = UINT64_C(1) << 60, step = UINT64_C(1148426689630428643);
	uint64_t power = one;
	unsigned n = 0;

	for (int x = 0; x <= DS_MIX_LOGIT_MAX; x++) {
		uint32_t p = (uint32_t)(((unsigned __int128)one << 16) / (one + power));

		p = p > 65535 ? 65535 : p;
		tables.squash[DS_MIX_LOGIT_MAX + x] = (uint16_t)p;
		tables.squash[DS_MIX_LOGIT_MAX - x] = (uint16_t)(65536 - p);
		power = (uint64_t)((unsigned __int128)power * step >> 60);
	}
	for (int i = 0; i < 4096; i++) {
		while (n < 2 * DS_MIX_LOGIT_MAX && tables.squash[n] < 16 * i + 8)
			n++;
		int x = (int)n - DS_MIX_LOGIT_MAX;

		tables.stretch[i] = (int16_t)(x < -2048 ? -2048 : x > 2047 ? 2047 : x);
	}
	number_histories();
	for (unsigned i = 0; i < DS_MIX_STATES; i++)
		for (unsigned bit = 0; bit < 2; bit++)
			tables.next[i][bit] = follow(tables.zeros[i], tables.ones[i], bit);
}

const struct ds_mix_tables *ds_mix_tables(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make);
	return &tables;
}
