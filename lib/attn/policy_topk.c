/*
 * policy_topk.c - the tokens of the highest scores
 */
#include <string.h>

#include "attn/select.h"

/* Greater for a higher score, then for an earlier token: no two are equal. */
static uint64_t rank(float score, size_t token)
{
	uint32_t bits;

	score += 0.0f; /* -0 is 0 */
	memcpy(&bits, &score, sizeof bits);
	bits = bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
	return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)token);
}

static void swap(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	*a = *b;
	*b = t;
}

/* The k-th greatest of n, k from 1 on; their order changes. */
static uint64_t kth_greatest(uint64_t *x, size_t n, size_t k)
{
	while (n > 1) {
		uint64_t pivot = x[n / 2];
		size_t i = 0, j = n - 1;

		for (;;) {
			while (x[i] > pivot)
				i++;
			while (x[j] < pivot)
				j--;
			if (i >= j)
				break;
			swap(&x[i], &x[j]);
		}
		/* x[i] is the pivot, with i greater ones before it */
		if (k == i + 1)
			return pivot;
		if (k <= i) {
			n = i;
		} else {
			x += i + 1;
			n -= i + 1;
			k -= i + 1;
		}
	}
	return *x;
}

size_t ds_attn_keep_best(const struct ds_attn_scores *s, size_t k, uint16_t *tokens, uint64_t *work)
{
	size_t n = 0;
	uint64_t least;

	for (size_t b = 0; b < s->n_block; b++)
		for (unsigned mask = tokens[b]; mask; mask &= mask - 1) {
			size_t t = b * DS_ATTN8_BLOCK + (size_t)__builtin_ctz(mask);

			work[n++] = rank(s->score[t * s->ld], t);
		}
	if (n <= k)
		return n;
	least = k ? kth_greatest(work, n, k) : UINT64_MAX;
	for (size_t b = 0; b < s->n_block; b++)
		for (unsigned mask = tokens[b]; mask; mask &= mask - 1) {
			size_t t = b * DS_ATTN8_BLOCK + (size_t)__builtin_ctz(mask);

			if (rank(s->score[t * s->ld], t) < least)
				tokens[b] &= (uint16_t) ~(1u << t % DS_ATTN8_BLOCK);
		}
	return k;
}
