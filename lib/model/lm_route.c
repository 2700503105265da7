/*
 * lm_route.c - which experts a token goes to, and with what weights
 *
 * In double and in one order, so that a near tie falls the same way on every machine.
 */
#include "model/lm_route.h"

#include <math.h>

#include "base/elementary.h"

/* The sum that weights are divided by is at least the least normal f16, as in llama.cpp. */
#define SUM_MIN 6.103515625e-5

enum ds_status ds_route_check(const struct ds_route *route, struct ds_err *err)
{
	uint32_t groups = route->n_group > 1 ? route->n_group : 1;

	if (route->n_expert == 0 || route->n_expert > DS_EXPERTS_MAX)
		return ds_fail(err, DS_EFORMAT, "%u experts: expected 1 to %d", route->n_expert,
			       DS_EXPERTS_MAX);
	if (route->n_used == 0 || route->n_used > route->n_expert)
		return ds_fail(err, DS_EFORMAT, "%u experts used of %u", route->n_used,
			       route->n_expert);
	if (route->n_expert % groups || (groups > 1 && route->n_expert / groups < 2))
		return ds_fail(err, DS_EFORMAT,
			       "%u groups of %u experts: expected two or more each", route->n_group,
			       route->n_expert);
	if (groups > 1 && (route->n_group_used == 0 || route->n_group_used > groups ||
			   route->n_used > route->n_group_used * (route->n_expert / groups)))
		return ds_fail(err, DS_EFORMAT, "%u experts used of %u of %u groups of %u",
			       route->n_used, route->n_group_used, groups,
			       route->n_expert / groups);
	if (route->gating != DS_GATING_SOFTMAX && route->gating != DS_GATING_SIGMOID)
		return ds_fail(err, DS_EUNSUPPORTED,
			       "expert gating function %u: expected 1 (softmax) or 2 (sigmoid)",
			       (unsigned)route->gating);
	if (!isfinite(route->scale))
		return ds_fail(err, DS_EFORMAT, "expert weights scale %g", (double)route->scale);
	return DS_OK;
}

static void gate(const struct ds_route *route, const float *logits, double *p)
{
	double max = (double)logits[0], sum = 0;

	if (route->gating == DS_GATING_SIGMOID) {
		for (uint32_t i = 0; i < route->n_expert; i++)
			p[i] = 1 / (1 + ds_exp(-(double)logits[i]));
		return;
	}
	for (uint32_t i = 1; i < route->n_expert; i++)
		max = fmax(max, (double)logits[i]);
	for (uint32_t i = 0; i < route->n_expert; i++)
		sum += p[i] = ds_exp((double)logits[i] - max);
	for (uint32_t i = 0; i < route->n_expert; i++)
		p[i] /= sum;
}

/* Mark the k greatest of score[0..n), the lower of equals first. */
static void mark_best(const double *score, uint32_t n, uint32_t k, bool *marked)
{
	for (uint32_t i = 0; i < n; i++)
		marked[i] = false;
	while (k--) {
		uint32_t best = n;

		for (uint32_t i = 0; i < n; i++)
			if (!marked[i] && (best == n || score[i] > score[best]))
				best = i;
		marked[best] = true;
	}
}

/* Experts outside of the best groups lose all chances. */
static void keep_groups(const struct ds_route *route, double *score)
{
	uint32_t per = route->n_expert / route->n_group;
	double group[DS_EXPERTS_MAX];
	bool kept[DS_EXPERTS_MAX];

	for (uint32_t g = 0; g < route->n_group; g++) {
		double first = -INFINITY, second = -INFINITY;

		for (uint32_t i = g * per; i < (g + 1) * per; i++) {
			second = fmax(second, fmin(first, score[i]));
			first = fmax(first, score[i]);
		}
		group[g] = first + second;
	}
	mark_best(group, route->n_group, route->n_group_used, kept);
	for (uint32_t i = 0; i < route->n_expert; i++)
		if (!kept[i / per])
			score[i] = -INFINITY;
}

void ds_route(const struct ds_route *route, const float *logits, const float *bias,
	      struct ds_pick *picks)
{
	double p[DS_EXPERTS_MAX], score[DS_EXPERTS_MAX] = {0}, sum = 0, factor;
	bool taken[DS_EXPERTS_MAX];

	gate(route, logits, p);
	for (uint32_t i = 0; i < route->n_expert; i++)
		score[i] = p[i] + (bias ? (double)bias[i] : 0);
	if (route->n_group > 1)
		keep_groups(route, score);
	mark_best(score, route->n_expert, route->n_used, taken);
	for (uint32_t i = 0; i < route->n_expert; i++)
		if (taken[i])
			sum += p[i];
	factor = (double)route->scale / (route->normalise ? fmax(sum, SUM_MIN) : 1);
	for (uint32_t i = 0; i < route->n_expert; i++)
		if (taken[i])
			*picks++ = (struct ds_pick){i, (float)(p[i] * factor)};
}
