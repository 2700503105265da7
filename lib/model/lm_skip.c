/* lm_skip.c - layers that a session leaves out, and how much each changes the stream */
#include <math.h>
#include <string.h>

#include "model/lm_net.h"

/* Of the tokens that go on after a layer. */
struct ds_lm_influence {
	float *before;	/* [batch][n_embd] */
	double *change; /* [batch] 1 - cos */
	double *sum;	/* [n_layer] over tokens in order */
	uint64_t *n;	/* [n_layer] tokens */
};

uint32_t ds_model_layers(const struct ds_model *model)
{
	const struct ds_lm *lm = model->net;

	return (uint32_t)lm->config.n_layer;
}

enum ds_status ds_lm_skip_init(struct ds_session *s, const struct ds_session_options *options,
			       uint32_t *n_kept_ret, struct ds_err *err)
{
	uint32_t n_layer = ds_model_layers(s->model), kept = 0;

	s->kv_layer = ds_arena_alloc(&s->mem, n_layer, sizeof *s->kv_layer);
	if (!s->kv_layer)
		return ds_fail_nomem(err, n_layer * sizeof *s->kv_layer);
	memset(s->kv_layer, 0, n_layer * sizeof *s->kv_layer);
	for (size_t i = 0; i < options->n_skip; i++) {
		if (options->skip[i] >= n_layer)
			return ds_fail_at(err, DS_EINVAL, s->model->path, DS_NO_OFFSET,
					  "no layer %u to leave out: the model has 0 to %u",
					  options->skip[i], n_layer - 1);
		s->kv_layer[options->skip[i]] = DS_LM_SKIPPED;
	}
	for (uint32_t i = 0; i < n_layer; i++)
		if (s->kv_layer[i] != DS_LM_SKIPPED) {
			s->kv_layer[i] = kept++;
			s->last_layer = i;
		}
	*n_kept_ret = kept;
	return kept ? DS_OK
		    : ds_fail_at(err, DS_EINVAL, s->model->path, DS_NO_OFFSET,
				 "all %u layers left out", n_layer);
}

enum ds_status ds_session_measure(struct ds_session *s, struct ds_err *err)
{
	size_t n_layer = s->lm->config.n_layer, n_float = s->batch * s->lm->config.n_embd;
	struct ds_lm_influence *in = s->influence;

	if (!in) {
		in = ds_arena_alloc(&s->mem, 1, sizeof *in);
		if (!in)
			return ds_fail_nomem(err, sizeof *in);
		in->before = ds_kern_floats(&s->mem, n_float);
		in->change = ds_arena_alloc(&s->mem, s->batch, sizeof *in->change);
		in->sum = ds_arena_alloc(&s->mem, n_layer, sizeof *in->sum);
		in->n = ds_arena_alloc(&s->mem, n_layer, sizeof *in->n);
		if (!in->before || !in->change || !in->sum || !in->n)
			return ds_fail_nomem(err, n_float * sizeof *in->before);
		s->influence = in;
	}
	memset(in->sum, 0, n_layer * sizeof *in->sum);
	memset(in->n, 0, n_layer * sizeof *in->n);
	return DS_OK;
}

double ds_session_influence(const struct ds_session *s, uint32_t layer)
{
	const struct ds_lm_influence *in = s->influence;

	return in && in->n[layer] ? in->sum[layer] / (double)in->n[layer] : NAN;
}

void ds_lm_influence_before(struct ds_session *s, const struct ds_lm_pass *pass)
{
	if (s->influence)
		memcpy(s->influence->before, ds_lm_stream_out(s, pass),
		       pass->n_out * s->lm->config.n_embd * sizeof(float));
}

static void measure_token(const struct ds_lm_step *step, size_t i)
{
	struct ds_session *s = step->s;
	size_t n = s->lm->config.n_embd;
	const float *x = s->influence->before + i * n, *y = step->in + i * n;
	double xx = 0, yy = 0, xy = 0;

	for (size_t k = 0; k < n; k++) {
		xx += (double)x[k] * x[k];
		yy += (double)y[k] * y[k];
		xy += (double)x[k] * y[k];
	}
	s->influence->change[i] = xx > 0 && yy > 0 ? 1 - xy / sqrt(xx * yy) : 1;
}

void ds_lm_influence_after(struct ds_session *s, const struct ds_lm_layer *layer,
			   const struct ds_lm_pass *pass)
{
	struct ds_lm_influence *in = s->influence;
	struct ds_lm_step step = {.s = s, .in = ds_lm_stream_out(s, pass)};

	if (!in)
		return;
	ds_lm_each(&step, pass->n_out, measure_token);
	for (size_t i = 0; i < pass->n_out; i++)
		in->sum[layer->index] += in->change[i];
	in->n[layer->index] += pass->n_out;
}
