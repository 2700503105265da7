/*
 * test_model_skip.c - sessions that leave layers out are those of a model without them; how much
 * each layer changes the stream
 *
 * The models are those of scripts/gen-model --lm, made in a temporary folder.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/lm.h"

#define N_TOKEN 140

static char folder[] = "/tmp/test_model_skip.XXXXXX";
static uint32_t ids[N_TOKEN];

static int make_models(void)
{
	char command[200];

	for (uint32_t i = 0, x = 1; i < N_TOKEN; i++, x = x * 1664525 + 1013904223)
		ids[i] = (x >> 16) % 300;
	snprintf(command, sizeof command,
		 "scripts/gen-model --lm %s llama-mix llama-mix-cut deepseek2-v3 deepseek2-v3-cut "
		 "gemma3-f32",
		 mkdtemp(folder));
	return system(command);
}

static int remove_models(void)
{
	char command[100];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static struct ds_model *open_model(const char *name)
{
	struct ds_model *model;
	struct ds_err err;
	char path[100];

	snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
	ck_assert_msg(ds_model_open(&model, path, &err) == DS_OK, "%s: %s", name, err.message);
	return model;
}

static struct ds_session *new_session(const struct ds_model *model, const uint32_t *skip, size_t n)
{
	struct ds_session_options o = {.skip = skip, .n_skip = n};
	struct ds_session *s;
	struct ds_err err;

	ck_assert_msg(ds_session_new(&s, model, NULL, &o, &err) == DS_OK, "%s", err.message);
	return s;
}

static const struct {
	const char *whole, *cut;
	uint32_t skip;
} cuts[] = {{"llama-mix", "llama-mix-cut", 1}, {"deepseek2-v3", "deepseek2-v3-cut", 2}};

START_TEST(test_cut)
{
	struct ds_model *whole = open_model(cuts[_i].whole), *cut = open_model(cuts[_i].cut);
	const uint32_t twice[] = {cuts[_i].skip, cuts[_i].skip};
	struct ds_session *a = new_session(whole, twice, 2), *b = new_session(cut, NULL, 0),
			  *all = new_session(whole, NULL, 0);
	size_t bytes = ds_model_vocab(whole) * sizeof(float);
	float *x = malloc(bytes), *y = malloc(bytes);
	struct ds_err err;

	ck_assert_uint_eq(ds_model_layers(whole), ds_model_layers(cut) + 1);
	ck_assert_uint_lt(ds_session_bytes(a), ds_session_bytes(all));
	for (size_t at = 0; at < N_TOKEN; at += 70) {
		ck_assert_int_eq(ds_session_read(a, ids + at, 70, 1, &err), DS_OK);
		ck_assert_int_eq(ds_session_read(b, ids + at, 70, 1, &err), DS_OK);
		ck_assert_int_eq(ds_session_logits(a, 0, 1, x, &err), DS_OK);
		ck_assert_int_eq(ds_session_logits(b, 0, 1, y, &err), DS_OK);
		ck_assert_mem_eq(x, y, bytes);
	}
	ds_session_free(a);
	ds_session_free(b);
	ds_session_free(all);
	free(x);
	free(y);
	ds_model_close(whole);
	ds_model_close(cut);
}
END_TEST

/* The same bytes for every split and thread count; a layer left out has no influence to tell. */
START_TEST(test_influence)
{
	static const size_t splits[] = {N_TOKEN, 1, 7, 64};
	struct ds_model *model = open_model("gemma3-f32");
	uint32_t n_layer = ds_model_layers(model), skip = 3;
	double want[64], got;
	struct ds_err err;

	for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
		struct ds_session *s;
		struct ds_pool *pool;

		ck_assert_int_eq(ds_pool_new(&pool, 1 + (unsigned)i % 3, &err), DS_OK);
		ck_assert_int_eq(
			ds_session_new(&s, model, pool, &(struct ds_session_options){0}, &err),
			DS_OK);
		ck_assert_int_eq(ds_session_measure(s, &err), DS_OK);
		ck_assert(isnan(ds_session_influence(s, 1)));
		for (size_t at = 0, n; at < N_TOKEN; at += n) {
			n = N_TOKEN - at < splits[i] ? N_TOKEN - at : splits[i];
			ck_assert_int_eq(ds_session_read(s, ids + at, n, n, &err), DS_OK);
		}
		for (uint32_t l = 0; l < n_layer; l++) {
			got = ds_session_influence(s, l);
			ck_assert(got > 0 && got < 2);
			if (i == 0)
				want[l] = got;
			ck_assert_mem_eq(&got, &want[l], sizeof got);
		}
		ds_session_free(s);
		ds_pool_free(pool);
	}
	{
		struct ds_session *s = new_session(model, &skip, 1);

		ck_assert_int_eq(ds_session_measure(s, &err), DS_OK);
		ck_assert_int_eq(ds_session_read(s, ids, 9, 0, &err), DS_OK);
		ck_assert(isnan(ds_session_influence(s, skip)));
		ck_assert(ds_session_influence(s, skip + 1) > 0);
		ds_session_free(s);
	}
	ds_model_close(model);
}
END_TEST

START_TEST(test_refusals)
{
	struct ds_model *model = open_model("llama-mix");
	const uint32_t beyond = 3, all[] = {0, 1, 2};
	struct ds_session_options o = {.skip = &beyond, .n_skip = 1};
	struct ds_session *s;
	struct ds_err err;

	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "no layer 3 to leave out"));
	o = (struct ds_session_options){.skip = all, .n_skip = 3};
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_EINVAL);
	/* the first and the last may go when asked for by number */
	o.skip = (const uint32_t[]){2, 0};
	o.n_skip = 2;
	ck_assert_int_eq(ds_session_new(&s, model, NULL, &o, &err), DS_OK);
	ck_assert_int_eq(ds_session_read(s, ids, 100, 1, &err), DS_OK);
	ds_session_free(s);
	ds_model_close(model);
}
END_TEST

/* Memory runs out at every place in turn. */
START_TEST(test_memory_out)
{
	struct ds_model *model = open_model("llama-mix");
	struct ds_session *s = NULL;
	struct ds_err err;
	enum ds_status st = DS_ENOMEM;

	for (size_t i = 0; st != DS_OK; i++) {
		s = new_session(model, NULL, 0);
		ds_alloc_fail_after(i);
		st = ds_session_measure(s, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		if (st == DS_ENOMEM)
			ck_assert_int_eq(ds_session_read(s, ids, 9, 1, &err), DS_OK);
		ds_session_free(s);
	}
	ds_model_close(model);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("skip");
	TCase *t = tcase_create("skip");
	SRunner *r;
	int failed;

	if (make_models() != 0)
		return 1;
	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, test_cut, 0, sizeof cuts / sizeof *cuts);
	tcase_add_test(t, test_influence);
	tcase_add_test(t, test_refusals);
	tcase_add_test(t, test_memory_out);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return remove_models() != 0 || failed;
}
