/* act.c - memory and layout of activations */
#include "kern/act.h"

#include <assert.h>
#include <stdlib.h>

#include "kern/linear_kern.h"

#define LINE 64 /* bytes of a cache line */

/* Parts of the memory: bytes for each value of x, and for each group. */
enum { X_BYTES = sizeof(float), GROUP_FIGURES = 5, GROUP_BYTES = 32 + GROUP_FIGURES * 4 };

static size_t pad_k(size_t k)
{
	return (k + DS_ACT_GROUP - 1) / DS_ACT_GROUP * DS_ACT_GROUP;
}

/* Values of x, or SIZE_MAX when the memory would not fit into a size_t. */
static size_t values(size_t n_max, size_t k_max)
{
	size_t k = pad_k(k_max), max = SIZE_MAX / (X_BYTES + GROUP_BYTES) - 2 * LINE;

	if (k < k_max || (k && n_max > max / k))
		return SIZE_MAX;
	return n_max * k;
}

size_t ds_act_bytes(size_t n_max, size_t k_max)
{
	size_t n = values(n_max, k_max);

	if (n == SIZE_MAX)
		return SIZE_MAX;
	/* every array begins a line of its own */
	return sizeof(struct ds_act) + n * X_BYTES + n / DS_ACT_GROUP * GROUP_BYTES +
	       (GROUP_FIGURES + 3) * LINE;
}

/* The next n bytes, from a cache line on. */
static void *take(uint8_t **free_io, size_t n)
{
	uint8_t *p = *free_io;

	*free_io = p + (n + LINE - 1) / LINE * LINE;
	return p;
}

enum ds_status ds_act_new(struct ds_act **act_ret, size_t n_max, size_t k_max, struct ds_err *err)
{
	size_t n = values(n_max, k_max), figures = n / DS_ACT_GROUP * 4;
	struct ds_act *act = ds_alloc_zero(1, sizeof *act);
	uint8_t *p;

	if (act)
		act->memory = ds_alloc(ds_act_bytes(n_max, k_max), 1);
	if (!act || !act->memory) {
		free(act);
		return ds_fail_nomem(err, ds_act_bytes(n_max, k_max));
	}
	act->n_max = n_max;
	act->k_max = pad_k(k_max);
	p = (uint8_t *)(((uintptr_t)act->memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	act->x = take(&p, n * X_BYTES);
	act->a = take(&p, n);
	act->scale = take(&p, figures);
	act->scale_sum = take(&p, figures);
	act->zero = take(&p, figures);
	act->zero_lo = take(&p, figures);
	act->zero_hi = take(&p, figures);
	*act_ret = act;
	return DS_OK;
}

void ds_act_free(struct ds_act *act)
{
	if (!act)
		return;
	free(act->memory);
	free(act);
}

void ds_act_begin(struct ds_act *act, size_t n, size_t k)
{
	assert(n <= act->n_max && k <= act->k_max);
	act->n = n;
	act->k = k;
	act->n_tile = (n + DS_ACT_TILE - 1) / DS_ACT_TILE;
}

float *ds_act_row(struct ds_act *act, size_t i)
{
	return act->x + i * act->k;
}

void ds_act_round(const struct ds_kern *kern, struct ds_act *act, size_t i)
{
	if (act->k % DS_ACT_GROUP == 0)
		kern->linear->round(act, i);
}
