/*
 * bench_tune.c - ds-bench --tune: the cheapest policy of each group of layers that keeps the
 * quality
 *
 * Levels of a group are the policies below, and dense above them.  A setting is good when
 * perplexity is within the bound of dense attention's and no needle that it finds is lost.  Its
 * cost is the time of all processors, which other work on the machine disturbs least.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/profile.h"
#include "bench.h"
#include "task/tune.h"

#define LEVELS_MAX 10

/* The numbers to try for the kinds that can be tuned, cheapest first. */
static const struct family {
	enum ds_attn_kind kind;
	const char *level[LEVELS_MAX]; /* ended by NULL */
} families[] = {
	{DS_ATTN_MASS,
	 {"mass:0.1,8", "mass:0.2,8", "mass:0.2,4", "mass:0.3,4", "mass:0.2,2", "mass:0.3,2",
	  "mass:0.3,1", "mass:0.5,1"}},
	{DS_ATTN_AUTO,
	 {"auto:0.3,8", "auto:0.5,8", "auto:0.5,4", "auto:0.5,2", "auto:0.7,2", "auto:0.5,1",
	  "auto:0.7,1", "auto:0.8,1"}},
	{DS_ATTN_STREAM,
	 {"stream:64,256", "stream:64,512", "stream:64,1024", "stream:64,2048", "stream:64,4096"}},
	{DS_ATTN_TOPK, {"topk:128", "topk:256", "topk:512", "topk:1024", "topk:2048"}},
};
#define FAMILIES (sizeof families / sizeof *families)

struct tuning {
	struct bench *b;
	size_t n_layer, n_level; /* levels with dense, the last */
	struct ds_attn_policy level[LEVELS_MAX];
	struct ds_attn_policy *policy; /* [n_layer] of the setting at hand */
	struct ds_bench_figures reference, last;
};

/* The first layer of a group. */
static size_t first_layer(const struct tuning *t, size_t group)
{
	return group * t->n_layer / t->b->groups;
}

static void set_layers(struct tuning *t, const unsigned *level)
{
	for (size_t g = 0; g < t->b->groups; g++)
		for (size_t i = first_layer(t, g); i < first_layer(t, g + 1); i++)
			t->policy[i] = t->level[level[g]];
}

/* All texts, with the policies at hand. */
static enum ds_status read_texts(struct tuning *t, bool is_reference, struct ds_bench_figures *sum,
				 struct ds_err *err)
{
	const struct bench_way way = {
		.is_reference = is_reference,
		.profile = {.policy = t->policy, .n_layer = (uint32_t)t->n_layer}};

	*sum = (struct ds_bench_figures){0};
	for (size_t i = 0; i < t->b->n_text; i++) {
		struct ds_bench_figures one;

		DS_TRY(bench_measure(t->b, &t->b->text[i], 0, &way, &one, err));
		ds_bench_add(sum, &one);
	}
	return DS_OK;
}

static bool is_good(const struct tuning *t, const struct ds_bench_figures *f)
{
	return 100 * ds_bench_change(&f->change) <= t->b->within &&
	       f->needles_found >= t->reference.needles_found;
}

static enum ds_status measure(void *user, const unsigned *level, struct ds_tune_found *found,
			      struct ds_err *err)
{
	struct tuning *t = user;
	struct ds_bench_figures *f = &t->last;
	char text[512];
	size_t n = 0;

	set_layers(t, level);
	DS_TRY(read_texts(t, false, f, err));
	*found = (struct ds_tune_found){f->read_cpu_seconds, is_good(t, f)};
	for (size_t g = 0; g < t->b->groups && n < sizeof text; g++) {
		char policy[DS_ATTN_TEXT_BYTES];

		ds_attn_policy_text(&t->level[level[g]], policy, sizeof policy);
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", g ? " " : "", policy);
	}
	cli_note(&t->b->cli, "%s: %+.2f %%, %u of %u needles, %.2f s%s", text,
		 100 * ds_bench_change(&f->change), f->needles_found, t->reference.needles_found,
		 f->read_cpu_seconds, found->good ? "" : ": not good enough");
	return DS_OK;
}

static enum ds_status set_levels(struct tuning *t, struct ds_err *err)
{
	const struct bench *b = t->b;
	const struct family *f = families;

	while (f->kind != b->way->policy.kind)
		f++;
	while (f->level[t->n_level]) {
		DS_TRY(ds_attn_policy_parse(&t->level[t->n_level], f->level[t->n_level], err));
		t->n_level++;
	}
	return ds_attn_policy_parse(&t->level[t->n_level++], "dense", err);
}

static enum ds_status put_profile(struct tuning *t, const struct ds_bench_figures *f,
				  struct ds_err *err)
{
	struct ds_attn_profile profile = {.model = ds_model_id(t->b->model),
					  .length = (uint32_t)t->b->length[0],
					  .n_layer = (uint32_t)t->n_layer,
					  .policy = t->policy};
	struct ds_buf text = {0};
	enum ds_status st;
	char note[400];

	snprintf(
		note, sizeof note,
		"%.150s\n%zu text%s; against dense: perplexity %+.2f +- %.2f %%, %u of %u needles, "
		"%.2f of the time",
		ds_model_describe(t->b->model), t->b->n_text, t->b->n_text > 1 ? "s" : "",
		100 * ds_bench_change(&f->change), 100 * ds_bench_change_error(&f->change),
		f->needles_found, t->reference.needles_found,
		f->read_cpu_seconds / t->reference.read_cpu_seconds);
	st = ds_attn_profile_write(&profile, note, &text, err);
	if (st == DS_OK)
		st = ds_out_write(&t->b->out, text.data, text.len, err);
	ds_buf_fini(&text);
	return st;
}

static enum ds_status tune(struct tuning *t, struct ds_err *err)
{
	unsigned level[DS_TUNE_GROUPS_MAX];
	struct ds_tune search = {t->b->groups, 0, measure, t};
	struct ds_tune_found found;
	size_t n;

	DS_TRY(set_levels(t, err));
	search.n_level = t->n_level;
	for (size_t g = 0; g < t->b->groups; g++)
		level[g] = (unsigned)t->n_level - 1;
	set_layers(t, level);
	DS_TRY(read_texts(t, true, &t->reference, err));
	DS_TRY(ds_tune(&search, level, &n, err));
	DS_TRY(measure(t, level, &found, err)); /* once more, for the record */
	cli_stat_u64(&t->b->cli, "settings", n);
	return put_profile(t, &t->last, err);
}

bool bench_can_tune(const struct ds_attn_policy *policy)
{
	for (size_t i = 0; i < FAMILIES; i++)
		if (families[i].kind == policy->kind)
			return true;
	return false;
}

enum ds_status bench_tune(struct bench *b, struct ds_err *err)
{
	struct tuning t = {.b = b, .n_layer = ds_model_layers(b->model)};
	enum ds_status st;

	if (b->groups > t.n_layer)
		b->groups = t.n_layer;
	t.policy = ds_alloc(t.n_layer, sizeof *t.policy);
	st = t.policy ? tune(&t, err) : ds_fail_nomem(err, t.n_layer * sizeof *t.policy);
	free(t.policy);
	return st;
}
