/*
 * test_kern_pick.c - shares of mass and the blocks picked by them (kern/attn8.h), every table
 * against loops of single floats
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kern_guard.h"
#include "kern/attn8.h"

#define BLOCKS 64

/* What is picked from, after columns of earlier rows. */
struct world {
	struct ds_attn8_pick p;
	size_t before;
	float *all, *max;
};

static struct world new_world(void)
{
	struct world w = {.before = draw(40)};
	struct ds_attn8_pick *p = &w.p;
	size_t samples = 1 + draw(4);

	p->n = 1 + draw(64);
	p->ld = (p->n + 15) / 16 * 16;
	p->n_block = 4 * (1 + draw(BLOCKS / 4));
	p->samples = samples;
	p->step = samples > 1 ? draw((uint32_t)(w.before / (samples - 1)) + 1) : 7;
	p->stride = w.before + p->ld;
	p->end = draw((uint32_t)p->n_block + 1);
	p->begin = draw((uint32_t)p->end + 1);
	p->keep = (float)draw(100) / 100;
	w.all = malloc(p->n_block * p->stride * sizeof(float));
	w.max = malloc(p->n_block / 4 * p->ld * sizeof(float));
	p->own_max = malloc(p->ld * sizeof(float));
	p->own = malloc(p->ld * sizeof(float));
	p->mass = w.all + w.before;
	for (size_t i = 0; i < p->n_block * p->stride; i++)
		w.all[i] = draw(9) ? fabsf(real()) * 16 : 0;
	for (size_t i = 0; i < p->n_block / 4 * p->ld; i++)
		w.max[i] = draw(20) ? 8 * real() : -FLT_MAX / 2;
	for (size_t i = 0; i < p->ld; i++) {
		p->own_max[i] = 8 * real();
		p->own[i] = draw(30) ? fabsf(real()) : NAN;
	}
	return w;
}

static struct world copy_world(const struct world *w)
{
	struct world c = *w;
	size_t all = w->p.n_block * w->p.stride * sizeof(float), ld = w->p.ld * sizeof(float);

	c.all = memcpy(malloc(all), w->all, all);
	c.p.mass = c.all + w->before;
	c.p.own = memcpy(malloc(ld), w->p.own, ld);
	c.p.own_max = memcpy(malloc(ld), w->p.own_max, ld);
	return c;
}

static void drop(struct world *w)
{
	free(w->all);
	free(w->p.own);
	free(w->p.own_max);
}

static double power(double x)
{
	return exp2(x < -126 ? -126 : x);
}

/* Shares near those in double; nothing where something is no number. */
static void check_shares(const struct world *was, const struct world *is)
{
	const struct ds_attn8_pick *p = &was->p;

	for (size_t r = 0; r < p->n; r++) {
		double most = (double)p->own_max[r], total, own;

		for (size_t u = 0; u < p->n_block / 4; u++)
			most = fmax(most, (double)was->max[u * p->ld + r]);
		own = total = (double)p->own[r] * power((double)p->own_max[r] - most);
		for (size_t b = 0; b < p->n_block; b++)
			total += (double)p->mass[b * p->stride + r] *
				 power((double)was->max[b / 4 * p->ld + r] - most);
		for (size_t b = 0; b < p->n_block; b++) {
			double want = (double)p->mass[b * p->stride + r] *
				      power((double)was->max[b / 4 * p->ld + r] - most) / total;

			ck_assert(fabs((double)is->p.mass[b * p->stride + r] -
				       (isnan(want) ? 0 : want)) < 6e-3);
		}
		ck_assert(fabs((double)is->p.own[r] - (isnan(total) ? 0 : own / total)) < 6e-3);
	}
}

/* Of row r: is block b picked with least of all samples? */
static bool is_picked(const struct ds_attn8_pick *p, size_t r, size_t b, float least)
{
	const float *mass = p->mass + b * p->stride + r;
	float sum = *mass;

	for (size_t i = 1; i < p->samples; i++)
		sum += *(mass - i * p->step);
	return sum >= least;
}

static float least_that_keeps(const struct ds_attn8_pick *p, size_t r)
{
	float least = p->least[r], forced = p->own[r];

	for (size_t b = 0; b < p->n_block; b++)
		forced += b < p->begin || b >= p->end ? p->mass[b * p->stride + r] : 0;
	for (int i = 0; i < DS_ATTN8_TIGHTENED; i++, least /= 2) {
		float kept = 0;

		for (size_t b = p->begin; b < p->end; b++)
			kept += is_picked(p, r, b, least) ? p->mass[b * p->stride + r] : 0;
		if (forced + kept >= p->keep)
			return least;
	}
	return 0;
}

static void check_picked(const struct ds_attn8_pick *p)
{
	for (size_t r = 0; r < p->n; r++) {
		float least = least_that_keeps(p, r);

		for (size_t b = p->begin; b < p->end; b++)
			ck_assert_int_eq(p->picked[b * p->ld / 16 + r / 16] >> r % 16 & 1,
					 is_picked(p, r, b, least));
	}
}

START_TEST(test_pick)
{
	const struct ds_kern *kern = table(_i);
	uint16_t picked[BLOCKS * 4], other[BLOCKS * 4];
	float least[64];

	for (int round = 0; round < 300; round++) {
		struct world w = new_world(), a = copy_world(&w), b = copy_world(&w);

		ref()->attn8->share(&a.p, w.max);
		kern->attn8->share(&b.p, w.max);
		check_shares(&w, &a);
		for (size_t i = 0; i < w.p.n_block; i++)
			ck_assert_mem_eq(a.p.mass + i * w.p.stride, b.p.mass + i * w.p.stride,
					 w.p.n * sizeof(float));
		ck_assert_mem_eq(a.p.own, b.p.own, w.p.n * sizeof(float));
		for (size_t i = 0; i < 64; i++)
			least[i] = fabsf(real()) * 4 / (float)w.p.n_block;
		a.p.least = b.p.least = least;
		a.p.picked = picked;
		b.p.picked = other;
		ref()->attn8->pick(&a.p);
		kern->attn8->pick(&b.p);
		check_picked(&a.p);
		check_picked(&b.p);
		drop(&w);
		drop(&a);
		drop(&b);
		free(w.max);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kern_pick");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_pick, 0, 4);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
