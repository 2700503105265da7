/* tune.c - the cheapest setting that is good enough, by coordinate descent */
#include "task/tune.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct setting {
	unsigned level[DS_TUNE_GROUPS_MAX];
	struct ds_tune_found found;
};

struct tuning {
	const struct ds_tune *tune;
	struct setting *seen; /* [n] */
	size_t n, cap;
};

static enum ds_status measure(struct tuning *t, const unsigned *level,
			      struct ds_tune_found *found_ret, struct ds_err *err)
{
	size_t bytes = t->tune->n_group * sizeof *level;
	struct setting *s;

	for (size_t i = 0; i < t->n; i++)
		if (memcmp(t->seen[i].level, level, bytes) == 0) {
			*found_ret = t->seen[i].found;
			return DS_OK;
		}
	DS_TRY(ds_grow(&t->seen, &t->cap, t->n + 1, sizeof *t->seen, err));
	s = &t->seen[t->n];
	memcpy(s->level, level, bytes);
	DS_TRY(t->tune->measure(t->tune->user, level, &s->found, err));
	t->n++;
	*found_ret = s->found;
	return DS_OK;
}

static void set_all(const struct tuning *t, unsigned *level, unsigned to)
{
	for (size_t i = 0; i < t->tune->n_group; i++)
		level[i] = to;
}

/* The lowest level that is good for all groups; best has what the highest gave. */
static enum ds_status bisect(struct tuning *t, unsigned *level, struct ds_tune_found *best,
			     struct ds_err *err)
{
	unsigned low = 0, high = (unsigned)t->tune->n_level - 1; /* high is good */
	struct ds_tune_found found;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		set_all(t, level, middle);
		DS_TRY(measure(t, level, &found, err));
		if (found.good) {
			high = middle;
			*best = found;
		} else {
			low = middle + 1;
		}
	}
	set_all(t, level, high);
	return DS_OK;
}

/* The group goes to the cheapest of the lower levels that are good, if that costs less. */
static enum ds_status descend(struct tuning *t, size_t group, unsigned *level,
			      struct ds_tune_found *best, bool *moved, struct ds_err *err)
{
	struct ds_tune_found found;
	unsigned cheapest = level[group];

	while (level[group] > 0) {
		level[group]--;
		DS_TRY(measure(t, level, &found, err));
		if (!found.good)
			break;
		if (found.cost >= best->cost)
			continue;
		*best = found;
		cheapest = level[group];
		*moved = true;
	}
	level[group] = cheapest;
	return DS_OK;
}

/* From a good setting down to one that no group can leave. */
static enum ds_status settle(struct tuning *t, unsigned *level, struct ds_tune_found *best,
			     struct ds_err *err)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < t->tune->n_group; i++)
			DS_TRY(descend(t, i, level, best, &moved, err));
	}
	return DS_OK;
}

static enum ds_status search(struct tuning *t, unsigned *level, struct ds_err *err)
{
	unsigned above[DS_TUNE_GROUPS_MAX], top = (unsigned)t->tune->n_level - 1;
	struct ds_tune_found highest, best, other;

	set_all(t, level, top);
	DS_TRY(measure(t, level, &highest, err));
	best = highest;
	DS_TRY(bisect(t, level, &best, err));
	if (highest.cost <= best.cost) {
		set_all(t, level, top);
		best = highest;
	}
	if (t->tune->n_group == 1)
		return DS_OK;
	set_all(t, above, level[0] + 1);
	DS_TRY(settle(t, level, &best, err));
	if (above[0] >= t->tune->n_level)
		return DS_OK;
	DS_TRY(measure(t, above, &other, err));
	if (!other.good)
		return DS_OK;
	DS_TRY(settle(t, above, &other, err));
	if (other.cost < best.cost)
		memcpy(level, above, t->tune->n_group * sizeof *level);
	return DS_OK;
}

enum ds_status ds_tune(const struct ds_tune *tune, unsigned *level, size_t *n_ret,
		       struct ds_err *err)
{
	struct tuning t = {.tune = tune};
	enum ds_status st;

	if (tune->n_group < 1 || tune->n_group > DS_TUNE_GROUPS_MAX || tune->n_level < 1)
		return ds_fail(err, DS_EINVAL, "%zu groups, 1 to %d expected", tune->n_group,
			       DS_TUNE_GROUPS_MAX);
	st = search(&t, level, err);
	if (n_ret)
		*n_ret = t.n;
	free(t.seen);
	return st;
}
