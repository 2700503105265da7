/* skip.c - layers that a text is read without */
#include "task/skip.h"

#include <math.h>
#include <stdlib.h>

#include "task/score.h"

/* Score the beginning of the text by a session of its own; influence [layers] or NULL. */
static enum ds_status score_sample(struct ds_reader *sample, const struct ds_part *text,
				   double *influence, struct ds_score_totals *totals_ret,
				   struct ds_err *err)
{
	struct ds_score_options o = {.tokens_max = DS_SKIP_TOKENS};
	size_t n = text->len < DS_SKIP_BYTES ? text->len : DS_SKIP_BYTES;
	uint32_t n_layer = ds_model_layers(sample->model);
	struct ds_scorer *s;
	enum ds_status st;

	DS_TRY(ds_scorer_new(&s, sample, sample->pool, &o, err));
	st = influence ? ds_session_measure(sample->session, err) : DS_OK;
	if (st == DS_OK)
		st = ds_scorer_push(s, text->bytes, n, err);
	if (st == DS_OK)
		st = ds_scorer_end(s, totals_ret, err);
	for (uint32_t i = 0; influence && i < n_layer; i++)
		influence[i] = ds_session_influence(sample->session, i);
	ds_scorer_free(s);
	return st;
}

/* Layers left out. */
struct less {
	const uint32_t *skip;
	size_t n;
};
static const struct less nothing;

static enum ds_status run_sample(const struct ds_reader *r, const struct ds_part *text,
				 const struct less *less, double *influence,
				 struct ds_score_totals *totals_ret, struct ds_err *err)
{
	struct ds_reader_options o = r->options;
	struct ds_reader sample;
	enum ds_status st;

	o.raw = true;
	o.progress = NULL;
	o.carry = NULL;
	o.context = (uint32_t)(r->context < DS_SKIP_TOKENS ? r->context : DS_SKIP_TOKENS);
	o.skip = less->skip;
	o.n_skip = less->n;
	DS_TRY(ds_reader_open(&sample, r->model, r->pool, &o, err));
	st = score_sample(&sample, text, influence, totals_ret, err);
	ds_reader_close(&sample);
	return st;
}

/* The n least of the inner layers, the lowest number of equals. */
static void choose(double *influence, uint32_t n_layer, size_t n, uint32_t *skip)
{
	for (size_t k = 0; k < n; k++) {
		uint32_t best = 0, at = (uint32_t)k;

		for (uint32_t i = 1; i + 1 < n_layer; i++)
			if (!isnan(influence[i]) && (!best || influence[i] < influence[best]))
				best = i;
		for (; at > 0 && skip[at - 1] > best; at--)
			skip[at] = skip[at - 1];
		skip[at] = best;
		influence[best] = NAN;
	}
}

enum ds_status ds_skip_choose(const struct ds_reader *r, const struct ds_part *text, size_t n,
			      uint32_t *skip, size_t *n_ret, struct ds_err *err)
{
	uint32_t n_layer = ds_model_layers(r->model);
	struct ds_score_totals totals;
	double *influence;
	enum ds_status st;

	if (n + 2 > n_layer)
		return ds_fail(err, DS_EUNSUPPORTED,
			       "%zu layers cannot be left out: the model has %u, and the first and "
			       "the last stay",
			       n, n_layer);
	influence = ds_alloc(n_layer, sizeof *influence);
	if (!influence)
		return ds_fail_nomem(err, n_layer * sizeof *influence);
	st = run_sample(r, text, &nothing, influence, &totals, err);
	*n_ret = st == DS_OK && totals.tokens > 1 ? n : 0;
	choose(influence, n_layer, *n_ret, skip);
	free(influence);
	return st;
}

enum ds_status ds_skip_measure(const struct ds_reader *r, const struct ds_part *text,
			       const uint32_t *skip, size_t n, struct ds_skip_cost *cost_ret,
			       struct ds_err *err)
{
	const struct less less = {skip, n};
	struct ds_score_totals a, b;

	DS_TRY(run_sample(r, text, &nothing, NULL, &a, err));
	DS_TRY(run_sample(r, text, &less, NULL, &b, err));
	*cost_ret = (struct ds_skip_cost){.tokens = a.n_scored,
					  .perplexity = ds_perplexity(b.nll, b.n_scored),
					  .perplexity_whole = ds_perplexity(a.nll, a.n_scored)};
	return DS_OK;
}
