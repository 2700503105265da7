/*
 * test_task_plot.c - pictures are well-formed whatever is drawn, and points are where they belong
 */
#include <check.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "task/plot.h"

/* Elements nest, attributes are quoted, text has no markup and is valid UTF-8 of ASCII here. */
static void check_xml(const struct ds_buf *svg)
{
	const char *p = (const char *)svg->data, *end = p + svg->len;
	char open[16][16];
	size_t depth = 0;

	while (p < end) {
		const char *tag = p, *close;
		size_t n = 0;
		char name[16];

		if (*p != '<') {
			ck_assert(*p != '>' && (unsigned char)*p < 0x80);
			ck_assert(*p != '&' || p[1] == '#');
			p++;
			continue;
		}
		close = memchr(p, '>', (size_t)(end - p));
		ck_assert_ptr_nonnull(close);
		p = close + 1;
		if (tag[1] == '?')
			continue;
		for (const char *c = tag + 1 + (tag[1] == '/'); isalpha((unsigned char)*c); c++)
			name[n++] = *c;
		name[n] = '\0';
		if (tag[1] == '/') {
			ck_assert(depth > 0);
			ck_assert_str_eq(open[--depth], name);
		} else if (close[-1] != '/') {
			ck_assert(depth < 16);
			memcpy(open[depth++], name, n + 1);
		}
	}
	ck_assert_uint_eq(depth, 0);
	ck_assert_ptr_null(memmem(svg->data, svg->len, "nan", 3));
	ck_assert_ptr_null(memmem(svg->data, svg->len, "inf", 3));
}

#define SERIES 20
static const double x[4] = {2048, 4096, 8192, 16384};
static const double tick[5] = {1000, 2048, 4096, 8192, 16384};
static const double tame[4] = {1, 2, 4, 8};
static const double wild[4] = {-3, NAN, INFINITY, 0};
static const double huge[4] = {1e-9, 1e9, 1, 0};
static const double error[4] = {0.5, NAN, 0, 1};

static enum ds_status draw(size_t n_series, const double *y, bool log_y, struct ds_buf *svg,
			   struct ds_err *err)
{
	struct ds_plot_series series[SERIES];
	const char *name[SERIES];
	struct ds_plot_panel panel[3];

	for (size_t i = 0; i < SERIES; i++) {
		series[i] = (struct ds_plot_series){x, y, error, 4 - i % 5};
		name[i] = i % 2 ? "a<b>&\"c\"\x01\xff" : "dense";
	}
	for (size_t i = 0; i < 3; i++)
		panel[i] = (struct ds_plot_panel){"t & u", "x < y", log_y, i ? 0 : 100, series};
	return ds_plot_svg(&(struct ds_plot){.title = "<title>",
					     .name = name,
					     .n_series = n_series,
					     .panel = panel,
					     .n_panel = 3,
					     .tick = tick,
					     .n_tick = 5},
			   svg, err);
}

START_TEST(test_well_formed)
{
	static const double *const values[] = {tame, wild, huge};
	static const size_t counts[] = {0, 1, 2, SERIES};

	for (size_t v = 0; v < 3; v++)
		for (size_t c = 0; c < 4; c++)
			for (int log_y = 0; log_y < 2; log_y++) {
				struct ds_buf svg = {0};
				struct ds_err err;

				ck_assert_int_eq(draw(counts[c], values[v], log_y, &svg, &err),
						 DS_OK);
				check_xml(&svg);
				ds_buf_fini(&svg);
			}
}
END_TEST

/* On two logarithmic axes a power is a straight line of equal steps. */
START_TEST(test_places)
{
	struct ds_plot_series series = {x, tame, NULL, 4};
	struct ds_plot_panel panel = {"t", "x", true, 0, &series};
	const char *name = "one", *p;
	struct ds_plot plot = {"t", &name, 1, &panel, 1, tick, 5};
	double at[4][2];
	struct ds_buf svg = {0};
	struct ds_err err;

	ck_assert_int_eq(ds_plot_svg(&plot, &svg, &err), DS_OK);
	ck_assert_int_eq(ds_buf_append(&svg, "", 1, &err), DS_OK);
	p = strstr((char *)svg.data, "class=\"f\"");
	ck_assert_ptr_nonnull(p);
	for (int i = 0; i < 4; i++) {
		p = strstr(p, "<circle");
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(sscanf(p, "<circle cx=\"%lf\" cy=\"%lf\"", &at[i][0], &at[i][1]),
				 2);
		p++;
	}
	for (int i = 2; i < 4; i++)
		for (int k = 0; k < 2; k++)
			ck_assert_double_eq_tol(at[i][k] - at[i - 1][k], at[1][k] - at[0][k], 0.21);
	ck_assert(at[1][0] > at[0][0] && at[1][1] < at[0][1]);
	ds_buf_fini(&svg);
}
END_TEST

START_TEST(test_memory_out)
{
	size_t n = 0;

	for (enum ds_status st = DS_ENOMEM; st != DS_OK; n++) {
		struct ds_buf svg = {0};
		struct ds_err err;

		ds_alloc_fail_after(n);
		st = draw(SERIES, tame, false, &svg, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ds_buf_fini(&svg);
	}
	ck_assert_uint_gt(n, 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("task_plot");
	TCase *c = tcase_create("plot");
	SRunner *runner;
	int failed;

	tcase_add_test(c, test_well_formed);
	tcase_add_test(c, test_places);
	tcase_add_test(c, test_memory_out);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
