/*
 * test_task_tune.c - the search for the cheapest setting, on costs and qualities made up
 */
#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "task/tune.h"

#define GROUPS 4
#define LEVELS 8

/* A group's loss is its weight times the levels below the top; cost is the sum of levels. */
struct world {
	double weight[GROUPS], bound;
	size_t measured;
	bool fail, hump; /* hump: the levels below the top cost more than it */
};

static enum ds_status measure(void *user, const unsigned *level, struct ds_tune_found *found,
			      struct ds_err *err)
{
	struct world *w = user;
	double loss = 0;

	if (w->fail && w->measured == 3)
		return ds_fail(err, DS_EIO, "made up");
	w->measured++;
	found->cost = 0;
	for (size_t i = 0; i < GROUPS; i++) {
		ck_assert_uint_lt(level[i], LEVELS);
		loss += w->weight[i] * (LEVELS - 1 - level[i]);
		found->cost += level[i];
		if (w->hump && level[i] > 3 && level[i] < LEVELS - 1)
			found->cost += LEVELS;
	}
	found->good = loss <= w->bound;
	return DS_OK;
}

static unsigned run(struct world *w, unsigned level[GROUPS])
{
	struct ds_tune t = {GROUPS, LEVELS, measure, w};
	struct ds_err err;
	size_t n;
	unsigned sum = 0;
	double loss = 0;

	w->measured = 0;
	ck_assert_int_eq(ds_tune(&t, level, &n, &err), DS_OK);
	ck_assert_uint_eq(n, w->measured); /* none twice */
	for (size_t i = 0; i < GROUPS; i++) {
		sum += level[i];
		loss += w->weight[i] * (LEVELS - 1 - level[i]);
	}
	ck_assert(loss <= w->bound);
	return sum;
}

START_TEST(test_ends)
{
	struct world all = {{0, 0, 0, 0}, 1, 0, false, false},
		     none = {{1, 1, 1, 1}, 0, 0, false, false};
	unsigned level[GROUPS];

	ck_assert_uint_eq(run(&all, level), 0);
	ck_assert_uint_le(all.measured, 8);
	ck_assert_uint_eq(run(&none, level), GROUPS * (LEVELS - 1));
}
END_TEST

/* Groups that matter keep their level, the others give theirs. */
START_TEST(test_groups)
{
	struct world w = {{10, 0.1, 0.1, 0.1}, 5, 0, false, false};
	unsigned level[GROUPS];

	ck_assert_uint_eq(run(&w, level), LEVELS - 1);
	ck_assert_uint_eq(level[0], LEVELS - 1);
	w = (struct world){{1, 1, 1, 1}, 14, 0, false, false};
	ck_assert_uint_eq(run(&w, level), GROUPS * (LEVELS - 1) - 14);
	w = (struct world){{3, 0, 0, 1}, 4, 0, false, false};
	ck_assert_uint_le(run(&w, level), 12);
}
END_TEST

/* What costs more than the top is no result, and what lies below it is found all the same. */
START_TEST(test_hump)
{
	struct world w = {{1, 1, 1, 1}, 8, 0, false, true};
	unsigned level[GROUPS];

	ck_assert_uint_le(run(&w, level), 3 * (LEVELS - 1));
	for (size_t i = 0; i < GROUPS; i++)
		ck_assert(level[i] <= 3 || level[i] == LEVELS - 1);
	w = (struct world){{1, 1, 1, 1}, 2, 0, false, true};
	ck_assert_uint_eq(run(&w, level), GROUPS * (LEVELS - 1));
}
END_TEST

START_TEST(test_one_group_and_one_level)
{
	struct world w = {{1, 1, 1, 1}, 100, 0, false, false};
	struct ds_tune t = {GROUPS, 1, measure, &w};
	unsigned level[GROUPS];
	struct ds_err err;

	ck_assert_int_eq(ds_tune(&t, level, NULL, &err), DS_OK);
	ck_assert_uint_eq(level[0], 0);
	t.n_group = 0;
	ck_assert_int_eq(ds_tune(&t, level, NULL, &err), DS_EINVAL);
	t.n_group = DS_TUNE_GROUPS_MAX + 1;
	ck_assert_int_eq(ds_tune(&t, level, NULL, &err), DS_EINVAL);
}
END_TEST

START_TEST(test_failures)
{
	struct world w = {{1, 1, 1, 1}, 14, 0, true, false};
	struct ds_tune t = {GROUPS, LEVELS, measure, &w};
	enum ds_status st = DS_ENOMEM;
	unsigned level[GROUPS];
	struct ds_err err;
	size_t n = 0;

	ck_assert_int_eq(ds_tune(&t, level, NULL, &err), DS_EIO);
	w.fail = false;
	for (; st != DS_OK; n++) {
		ds_alloc_fail_after(n);
		st = ds_tune(&t, level, NULL, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
	}
	ck_assert_uint_gt(n, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("task_tune");
	TCase *c = tcase_create("tune");
	SRunner *runner;
	int failed;

	tcase_add_test(c, test_ends);
	tcase_add_test(c, test_groups);
	tcase_add_test(c, test_hump);
	tcase_add_test(c, test_one_group_and_one_level);
	tcase_add_test(c, test_failures);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
