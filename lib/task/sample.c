/*
 * sample.c - the next token from its logits
 *
 * Candidates are needed greatest first, and few of them: blocks of logits are summed up by their
 * maxima, the k-th greatest maximum bounds the k-th greatest logit from below, and only what
 * reaches that bound goes into a heap from which the candidates are popped.
 */
#include "task/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "base/mem.h"
#include "kern/kern.h"

#define BLOCK 64 /* logits of a block */
#define LANES 16
#define WANT_FIRST 256	   /* candidates gathered where top_k does not say how many */
#define GREEDY_BELOW 1e-4f /* temperature */

const struct ds_sampling ds_sampling_default = {
	.top_k = 40,
	.top_p = 0.95f,
	.min_p = 0.05f,
	.repeat_penalty = 1,
	.repeat_last = 64,
};

struct ds_sampler {
	struct ds_sampling options;
	const struct ds_kern *kern;
	size_t vocab, n_block;
	uint64_t state; /* of the generator */
	uint32_t *last; /* [repeat_last] the tokens penalised, a ring */
	size_t n_last, at;
	/* what sampling needs; NULL when greedy */
	float *block;	/* [n_block] maxima */
	float *value;	/* [vocab] logits, then probabilities, of the candidates */
	float *prob;	/* [vocab] before the temperature */
	uint32_t *id;	/* [vocab] of the candidates */
	uint64_t *heap; /* [vocab] keys not yet popped */
	size_t n_heap, want;
	uint64_t popped; /* the last key */
	bool all;	 /* every logit has been gathered */
};

/* --- keys ---------------------------------------------------------------------------------- */

/* Ascending keys are descending logits, and of equal ones ascending ids. */
static uint64_t key_of(float logit, size_t id)
{
	uint32_t bits;

	logit += 0.0f; /* -0 is 0 */
	memcpy(&bits, &logit, sizeof bits);
	bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
	return (uint64_t)~bits << 32 | (uint32_t)id;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
	uint64_t key = heap[i];
	size_t child;

	while ((child = 2 * i + 1) < n) {
		child += child + 1 < n && heap[child + 1] < heap[child];
		if (heap[child] >= key)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = key;
}

static void heapify(uint64_t *heap, size_t n)
{
	for (size_t i = n / 2; i > 0; i--)
		sift_down(heap, n, i - 1);
}

static uint64_t pop(uint64_t *heap, size_t *n_io)
{
	uint64_t key = heap[0];

	heap[0] = heap[--*n_io];
	if (*n_io)
		sift_down(heap, *n_io, 0);
	return key;
}

/* --- candidates, greatest first ------------------------------------------------------------ */

/* The greatest of n logits, NaN passed over; in lanes, so that the compiler takes vectors. */
static float greatest(const float *x, size_t n)
{
	float lane[LANES], max = -INFINITY;
	size_t i = 0;

	for (size_t j = 0; j < LANES; j++)
		lane[j] = -INFINITY;
	for (; i + LANES <= n; i += LANES)
		for (size_t j = 0; j < LANES; j++)
			lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
	for (; i < n; i++)
		lane[0] = x[i] > lane[0] ? x[i] : lane[0];
	for (size_t j = 0; j < LANES; j++)
		max = lane[j] > max ? lane[j] : max;
	return max;
}

static size_t block_tokens(const struct ds_sampler *s, size_t b)
{
	return (b + 1) * BLOCK < s->vocab ? BLOCK : s->vocab - b * BLOCK;
}

static float summarise(struct ds_sampler *s, const float *logits)
{
	for (size_t b = 0; b < s->n_block; b++)
		s->block[b] = greatest(logits + b * BLOCK, block_tokens(s, b));
	return greatest(s->block, s->n_block);
}

/* A bound that at least want logits reach. */
static float bound(struct ds_sampler *s, size_t want)
{
	size_t n = s->n_block;
	uint64_t key = 0;

	if (want >= n)
		return -INFINITY;
	for (size_t b = 0; b < n; b++)
		s->heap[b] = key_of(s->block[b], b);
	heapify(s->heap, n);
	for (size_t i = 0; i < want; i++)
		key = pop(s->heap, &n);
	return s->block[(uint32_t)key];
}

/* At least want candidates, those popped before included, or all that are left. */
static void gather(struct ds_sampler *s, const float *logits)
{
	float least = bound(s, s->want);

	s->n_heap = 0;
	s->all = least == -INFINITY;
	for (size_t b = 0; b < s->n_block; b++) {
		size_t i = b * BLOCK, end = i + block_tokens(s, b);

		if (s->block[b] < least)
			continue;
		for (; i < end; i++)
			if (logits[i] >= least && logits[i] > -INFINITY) {
				uint64_t key = key_of(logits[i], i);

				if (key > s->popped)
					s->heap[s->n_heap++] = key;
			}
	}
	heapify(s->heap, s->n_heap);
}

static bool next(struct ds_sampler *s, const float *logits, uint32_t *id_ret)
{
	while (s->n_heap == 0 && !s->all) {
		s->want *= 16;
		gather(s, logits);
	}
	if (s->n_heap == 0)
		return false;
	s->popped = pop(s->heap, &s->n_heap);
	*id_ret = (uint32_t)s->popped;
	return true;
}

/* --- the steps ----------------------------------------------------------------------------- */

static void penalise(const struct ds_sampler *s, float *logits)
{
	float penalty = s->options.repeat_penalty;

	for (size_t i = 0; i < s->n_last; i++) {
		uint32_t id = s->last[i];
		size_t before = 0;

		while (before < i && s->last[before] != id)
			before++;
		if (before == i)
			logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
	}
}

/* The k greatest, cut where their probabilities reach top_p; returns how many. */
static size_t keep_top(struct ds_sampler *s, const float *logits, size_t k)
{
	bool whole = k == s->vocab;
	float sum = 0;
	size_t n = 0;

	s->want = whole ? WANT_FIRST : k;
	s->popped = 0;
	gather(s, logits);
	if (whole) { /* probabilities by id, candidates only as far as they are needed */
		memcpy(s->prob, logits, s->vocab * sizeof *logits);
		s->kern->softmax(s->prob, s->vocab, 1);
		while (sum < s->options.top_p && next(s, logits, &s->id[n]))
			sum += s->prob[s->id[n++]];
		n += n == 0 && next(s, logits, &s->id[0]);
	} else {
		while (n < k && next(s, logits, &s->id[n])) {
			s->prob[n] = logits[s->id[n]];
			n++;
		}
		if (s->options.top_p < 1) {
			size_t cut = 0;

			s->kern->softmax(s->prob, n, 1);
			do
				sum += s->prob[cut++];
			while (cut < n && sum < s->options.top_p);
			n = cut;
		}
	}
	for (size_t i = 0; i < n; i++)
		s->value[i] = logits[s->id[i]];
	return n;
}

/* Those of at least min_p times the greatest probability, of the n candidates. */
static size_t keep_likely(struct ds_sampler *s, size_t n, float least)
{
	while (n > 1 && s->value[n - 1] < least)
		n--;
	return n;
}

/* The same without an order, of all. */
static size_t keep_likely_of_all(struct ds_sampler *s, const float *logits, float least)
{
	size_t n = 0;

	for (size_t i = 0; i < s->vocab; i++)
		if (logits[i] >= least && logits[i] > -INFINITY) {
			s->id[n] = (uint32_t)i;
			s->value[n++] = logits[i];
		}
	return n;
}

static double uniform(struct ds_sampler *s)
{
	uint64_t z = s->state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1p-53;
}

static uint32_t draw(struct ds_sampler *s, size_t n)
{
	double total = 0, sum = 0, at;

	s->kern->softmax(s->value, n, 1 / s->options.temperature);
	for (size_t i = 0; i < n; i++)
		total += s->value[i];
	at = uniform(s) * total;
	for (size_t i = 0; i < n; i++) {
		sum += s->value[i];
		if (sum > at)
			return s->id[i];
	}
	return s->id[n - 1];
}

static enum ds_status check_max(float max, struct ds_err *err)
{
	return isfinite(max) ? DS_OK : ds_fail(err, DS_EFORMAT, "no logit of a token is finite");
}

static enum ds_status choose_greatest(const struct ds_sampler *s, const float *logits,
				      uint32_t *id_ret, struct ds_err *err)
{
	*id_ret = (uint32_t)s->kern->argmax(logits, s->vocab);
	return check_max(logits[*id_ret], err);
}

enum ds_status ds_sampler_choose(struct ds_sampler *s, float *logits, uint32_t *id_ret,
				 struct ds_err *err)
{
	const struct ds_sampling *o = &s->options;
	size_t k = o->top_k && o->top_k < s->vocab ? o->top_k : s->vocab, n;
	float max, least;

	if (s->last)
		penalise(s, logits);
	if (!s->heap)
		return choose_greatest(s, logits, id_ret, err);
	max = summarise(s, logits);
	DS_TRY(check_max(max, err));
	least = o->min_p > 0 ? max + (float)ds_log(o->min_p) : -INFINITY;
	if (k < s->vocab || o->top_p < 1)
		n = keep_likely(s, keep_top(s, logits, k), least);
	else
		n = keep_likely_of_all(s, logits, least);
	*id_ret = draw(s, n);
	return DS_OK;
}

/* --- life ---------------------------------------------------------------------------------- */

void ds_sampler_reset(struct ds_sampler *s)
{
	s->state = s->options.seed;
	s->n_last = s->at = 0;
}

void ds_sampler_accept(struct ds_sampler *s, const uint32_t *id, size_t n)
{
	if (!s->last)
		return;
	for (size_t i = n > s->options.repeat_last ? n - s->options.repeat_last : 0; i < n; i++) {
		s->last[s->at] = id[i];
		s->at = (s->at + 1) % s->options.repeat_last;
		s->n_last += s->n_last < s->options.repeat_last;
	}
}

static bool allocate(struct ds_sampler *s)
{
	const struct ds_sampling *o = &s->options;

	if (o->repeat_last && o->repeat_penalty != 1) {
		s->last = ds_alloc(o->repeat_last, sizeof *s->last);
		if (!s->last)
			return false;
	}
	if (o->temperature < GREEDY_BELOW)
		return true;
	s->block = ds_alloc(s->n_block, sizeof *s->block);
	s->value = ds_alloc(s->vocab, sizeof *s->value);
	s->prob = ds_alloc(s->vocab, sizeof *s->prob);
	s->id = ds_alloc(s->vocab + 1, sizeof *s->id);
	s->heap = ds_alloc(s->vocab, sizeof *s->heap);
	return s->block && s->value && s->prob && s->id && s->heap;
}

enum ds_status ds_sampler_new(struct ds_sampler **sampler_ret, const struct ds_sampling *options,
			      size_t vocab, struct ds_err *err)
{
	const struct ds_kern *kern;
	struct ds_sampler *s;

	if (vocab == 0)
		return ds_fail(err, DS_EINVAL, "a vocabulary without tokens");
	DS_TRY(ds_kern_choose(&kern, err));
	s = ds_alloc_zero(1, sizeof *s);
	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	s->options = *options;
	s->kern = kern;
	s->vocab = vocab;
	s->n_block = (vocab + BLOCK - 1) / BLOCK;
	if (!allocate(s)) {
		ds_sampler_free(s);
		return ds_fail_nomem(err, vocab * (3 * sizeof(float) + sizeof(uint64_t)));
	}
	ds_sampler_reset(s);
	*sampler_ret = s;
	return DS_OK;
}

void ds_sampler_free(struct ds_sampler *s)
{
	if (!s)
		return;
	free(s->last);
	free(s->block);
	free(s->value);
	free(s->prob);
	free(s->id);
	free(s->heap);
	free(s);
}
