/*
 * tune.h - the cheapest setting that is good enough, by coordinate descent
 *
 * There are groups (of a model's layers) and levels; the highest is good by definition.  Quality is
 * taken to grow with the level, cost not quite: choosing finely may cost more than the
 * highest level, which does without.  Bisection finds the lowest level that is good for all groups
 * alike; where it costs more than the highest, that takes its place.  From there, and from one
 * level above (so that groups which matter little can make room for those that matter), each group
 * in turn goes to the cheapest of the lower levels down to the last with which the whole is good,
 * until no group moves; the cheaper of the two ends is the result, which never costs more than the
 * highest level.  No setting is measured twice.
 */
#ifndef DS_TASK_TUNE_H
#define DS_TASK_TUNE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define DS_TUNE_GROUPS_MAX 64

struct ds_tune_found {
	double cost; /* what is to be small */
	bool good;
};
struct ds_tune {
	size_t n_group, n_level;
	/* measure a setting: level [n_group] */
	enum ds_status (*measure)(void *user, const unsigned *level,
				  struct ds_tune_found *found_ret, struct ds_err *err);
	void *user;
};
/* level_ret [n_group]: the best; *n_ret: settings measured (may be NULL). */
enum ds_status ds_tune(const struct ds_tune *tune, unsigned *level_ret, size_t *n_ret,
		       struct ds_err *err);

#endif
