/*
 * test_kern_matvec.c - one token times packed rows: every type and table gives the bytes of ref for
 * any rows of a matrix that ends at a page that cannot be touched, or begins after one
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/types.h"
#include "kern/act.h"
#include "kern/linear.h"
#include "../kern_guard.h"

static const uint32_t types[] = {
	DS_GGML_Q8_0, DS_GGML_Q4_0, DS_GGML_Q4_1, DS_GGML_Q5_0, DS_GGML_Q5_1, DS_GGML_Q4_K,
	DS_GGML_Q5_K, DS_GGML_Q6_K, DS_GGML_F32,  DS_GGML_F16,	DS_GGML_BF16,
};
#define N_TYPE ((int)(sizeof types / sizeof *types))
#define MATRIX_BYTES ((size_t)1 << 18)
#define K_MAX 1024

/* A page that cannot be touched, MATRIX_BYTES, and another. */
static uint8_t *between_guards(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = mmap(NULL, MATRIX_BYTES + 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(p != MAP_FAILED);
	ck_assert_int_eq(mprotect(p, page, PROT_NONE), 0);
	ck_assert_int_eq(mprotect(p + page + MATRIX_BYTES, page, PROT_NONE), 0);
	return p + page;
}

static size_t random_k(const struct ds_ggml_type *t)
{
	size_t most = K_MAX / t->block_values;

	return t->block_values * (1 + draw((uint32_t)most));
}

/* The rows of ref among others that stay what they are. */
static void check_rows(const struct ds_kern *kern, const struct ds_matrix *w,
		       const struct ds_act *act)
{
	size_t row0 = draw((uint32_t)w->n), n = 1 + draw((uint32_t)(w->n - row0));
	float *want = end_floats(WANT, n + 1), *got = end_floats(OUT, n + 1);

	if (draw(2)) {
		row0 = 0;
		n = n < 50 ? n : draw(50) + 1;
		want = end_floats(WANT, n + 1);
		got = end_floats(OUT, n + 1);
	}
	for (size_t i = 0; i < n + 1; i++)
		want[i] = got[i] = draw(3) ? real() : 0;
	ref()->matvec[w->type](w, row0, n, act, want + 1);
	kern->matvec[w->type](w, row0, n, act, got + 1);
	ck_assert_mem_eq(got, want, (n + 1) * sizeof *got);
}

START_TEST(test_any_rows)
{
	const struct ds_kern *kern = table(_i / N_TYPE);
	const struct ds_ggml_type *t = ds_ggml_type(types[_i % N_TYPE]);
	uint8_t *memory = between_guards();
	struct ds_act *act;
	struct ds_err err;

	ck_assert_int_eq(ds_act_new(&act, 1, K_MAX, &err), DS_OK);
	for (int round = 0; round < 60; round++) {
		size_t k = random_k(t), bytes = k / t->block_values * t->block_bytes;
		size_t most = MATRIX_BYTES / bytes < 70 ? MATRIX_BYTES / bytes : 70;
		size_t n = 1 + draw((uint32_t)most);
		uint8_t *data = round % 2 ? memory : memory + MATRIX_BYTES - n * bytes;
		struct ds_matrix w;

		for (size_t i = 0; i < n * bytes; i++)
			data[i] =
				draw(256) & (i % 2 ? 0xBB : 0xFF); /* no scale is infinite or NaN */
		ck_assert_int_eq(ds_matrix_init(&w, types[_i % N_TYPE], data, n, k, &err), DS_OK);
		ds_act_begin(act, 1, k);
		for (size_t i = 0; i < k; i++)
			ds_act_row(act, 0)[i] = draw(50) ? real() : 0;
		ds_act_round(ref(), act, 0);
		for (int i = 0; i < 5; i++)
			check_rows(kern, &w, act);
	}
	ds_act_free(act);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_matvec");
	TCase *tc = tcase_create("all");
	const struct ds_kern *const *all;
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_any_rows, 0, N_TYPE * (int)ds_kern_all(&all));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
