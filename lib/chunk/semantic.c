/* semantic.c - see semantic.h */
#include "chunk/semantic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SIDE_TOKENS 64

/* A sentence: the text between two marks. */
struct unit {
	uint64_t start, end;
	uint64_t tokens;
	ptrdiff_t mark; /* the index, this time, of the mark at its start; -1: none */
};

struct ds_semantic {
	ds_embed_fn *embed;
	void *user;
	size_t dims;
	struct unit *unit; /* [n], without gaps */
	float *vector;	   /* [n][dims] */
	size_t n, n_embedded, cap, vector_cap;
	struct ds_part *part; /* scratch, [part_cap] */
	size_t part_cap;
	float *side; /* scratch, [2][dims] */
};

enum ds_status ds_semantic_new(struct ds_semantic **s_ret, const struct ds_chunk_options *options,
			       struct ds_err *err)
{
	struct ds_semantic *s = ds_alloc_zero(1, sizeof *s);

	if (!s)
		return ds_fail_nomem(err, sizeof *s);
	s->embed = options->embed;
	s->user = options->embed_user;
	s->dims = options->embed_dims;
	s->side = ds_alloc(2 * s->dims, sizeof *s->side);
	if (!s->side) {
		free(s);
		return ds_fail_nomem(err, 2 * (uint64_t)options->embed_dims * sizeof(float));
	}
	*s_ret = s;
	return DS_OK;
}

void ds_semantic_reset(struct ds_semantic *s)
{
	s->n = s->n_embedded = 0;
}

void ds_semantic_free(struct ds_semantic *s)
{
	if (!s)
		return;
	free(s->unit);
	free(s->vector);
	free(s->part);
	free(s->side);
	free(s);
}

/* Forget the units that end before the chunk begins. */
static void drop_units(struct ds_semantic *s, uint64_t start)
{
	size_t gone = 0;

	while (gone < s->n && s->unit[gone].end <= start)
		gone++;
	if (gone == 0)
		return;
	memmove(s->unit, s->unit + gone, (s->n - gone) * sizeof *s->unit);
	memmove(s->vector, s->vector + gone * s->dims, (s->n - gone) * s->dims * sizeof *s->vector);
	s->n -= gone;
	s->n_embedded = s->n;
}

/* The units from where they end so far to the horizon; every unit learns its mark's index. */
static enum ds_status add_units(struct ds_semantic *s, const struct ds_semantic_view *v,
				struct ds_err *err)
{
	uint64_t from = s->n ? s->unit[s->n - 1].end : v->start;
	size_t known = 0;
	ptrdiff_t at = -1;

	for (size_t k = 0; k < s->n; k++)
		s->unit[k].mark = -1;
	for (size_t i = 0; i < v->scan->n && v->scan->mark[i].pos <= v->horizon; i++) {
		const struct ds_mark *mark = &v->scan->mark[i];

		if (mark->rank < DS_RANK_SENTENCE)
			continue;
		while (known < s->n && s->unit[known].start < mark->pos)
			known++;
		if (known < s->n && s->unit[known].start == mark->pos)
			s->unit[known].mark = (ptrdiff_t)i;
		if (mark->pos > from) {
			DS_TRY(ds_grow(&s->unit, &s->cap, s->n + 1, sizeof *s->unit, err));
			s->unit[s->n++] = (struct unit){
				.start = from,
				.end = mark->pos,
				.tokens = ds_counter_estimate(v->counter, mark->pos) -
					  ds_counter_estimate(v->counter, from),
				.mark = at,
			};
			from = mark->pos;
		}
		at = mark->pos == from ? (ptrdiff_t)i : -1;
	}
	return DS_OK;
}

static enum ds_status embed_units(struct ds_semantic *s, const struct ds_semantic_view *v,
				  struct ds_err *err)
{
	size_t new = s->n - s->n_embedded;

	if (new == 0)
		return DS_OK;
	DS_TRY(ds_grow(&s->vector, &s->vector_cap, s->n * s->dims, sizeof *s->vector, err));
	DS_TRY(ds_grow(&s->part, &s->part_cap, new, sizeof *s->part, err));
	for (size_t k = 0; k < new; k++) {
		const struct unit *u = &s->unit[s->n_embedded + k];

		s->part[k].bytes = v->window->data + (u->start - v->window->base);
		s->part[k].len = (size_t)(u->end - u->start);
	}
	DS_TRY(s->embed(s->user, s->part, new, s->vector + s->n_embedded * s->dims, err));
	s->n_embedded = s->n;
	return DS_OK;
}

/* The sum of the units' vectors from unit k on in steps of dir, each weighted by its tokens. */
static void sum_side(const struct ds_semantic *s, size_t k, int dir, float *sum)
{
	uint64_t tokens = 0;

	memset(sum, 0, s->dims * sizeof *sum);
	for (; k < s->n && tokens < SIDE_TOKENS; k += (size_t)dir) {
		const float *vector = s->vector + k * s->dims;
		float weight = (float)s->unit[k].tokens;

		for (size_t d = 0; d < s->dims; d++)
			sum[d] += weight * vector[d];
		tokens += s->unit[k].tokens;
	}
}

/* How far apart the texts on both sides of unit k's beginning are: 1 - cosine. */
static double distance(const struct ds_semantic *s, size_t k)
{
	const float *a = s->side, *b = s->side + s->dims;
	double ab = 0, aa = 0, bb = 0;

	sum_side(s, k - 1, -1, s->side);
	sum_side(s, k, 1, s->side + s->dims);
	for (size_t d = 0; d < s->dims; d++) {
		ab += (double)a[d] * b[d];
		aa += (double)a[d] * a[d];
		bb += (double)b[d] * b[d];
	}
	return aa > 0 && bb > 0 ? 1 - ab / sqrt(aa * bb) : 0;
}

enum ds_status ds_semantic_choose(struct ds_semantic *s, const struct ds_semantic_view *v,
				  ptrdiff_t *mark_ret, struct ds_err *err)
{
	uint64_t min = ds_counter_estimate(v->counter, v->covered) + v->tokens_min;
	double best = -1;
	size_t choices = 0;
	ptrdiff_t mark = -1;

	*mark_ret = -1;
	drop_units(s, v->start);
	DS_TRY(add_units(s, v, err));
	DS_TRY(embed_units(s, v, err));
	for (size_t k = 1; k < s->n; k++) {
		const struct unit *u = &s->unit[k];
		double far;

		if (u->mark < 0 || u->start <= v->covered || u->mark > (ptrdiff_t)v->last ||
		    ds_counter_estimate(v->counter, u->start) < min)
			continue;
		choices++;
		far = distance(s, k);
		if (far >= best) {
			best = far;
			mark = u->mark;
		}
	}
	if (choices > 1)
		*mark_ret = mark;
	return DS_OK;
}
