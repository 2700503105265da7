/* bench_plot.c - rows of ds-bench as a picture: a panel a figure, a line a way of reading */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "task/plot.h"
#include "task/score.h"

static double seconds(const struct ds_bench_figures *f)
{
	return bench_per(f->read_seconds, f->documents);
}

static double perplexity(const struct ds_bench_figures *f)
{
	return ds_perplexity(f->nll, f->scored);
}

static double change(const struct ds_bench_figures *f)
{
	return 100 * ds_bench_change(&f->change);
}

static double change_error(const struct ds_bench_figures *f)
{
	return 100 * ds_bench_change_error(&f->change);
}

static double digits(const struct ds_bench_figures *f)
{
	return 100 * bench_per(bench_digits(f->digits_right), bench_digits(f->digits));
}

static double facts(const struct ds_bench_figures *f)
{
	return 100 * bench_per(f->facts_found, f->facts);
}

static double summary(const struct ds_bench_figures *f)
{
	return bench_per(f->summary_logprob, f->summary_tokens);
}

static double peak(const struct ds_bench_figures *f)
{
	return f->peak_bytes ? 1e-6 * (double)f->peak_bytes : NAN;
}

/* Each is for a task, or with -1 for all; only with several ways, with one, or with 0 always. */
static const struct figure {
	const char *title;
	bool log;
	double high; /* as in a panel */
	int task, ways;
	double (*of)(const struct ds_bench_figures *f);
	double (*error)(const struct ds_bench_figures *f);
} figures[] = {
	{"Reading the document, seconds", true, 0, -1, 0, seconds, NULL},
	{"Reading, tokens a second", false, 0, -1, 0, bench_read_rate, NULL},
	{"Perplexity", false, 0, DS_BENCH_PERPLEXITY, 1, perplexity, NULL},
	{"Perplexity against the first, %", false, 0, DS_BENCH_PERPLEXITY, 2, change, change_error},
	{"Digits of needles right, %", false, 100, DS_BENCH_NEEDLE, 0, digits, NULL},
	{"Facts found, %", false, 100, DS_BENCH_EXTRACT, 0, facts, NULL},
	{"Summary of the first, nats a token", false, 0, DS_BENCH_SUMMARISE, 0, summary, NULL},
	{"Decoding at the end, tokens a second", false, 0, -1, 0, bench_decode_rate, NULL},
	{"Density: share of pairs attended to", false, 1, -1, 2, bench_density, NULL},
	{"Mass that attention kept, mean", false, 1, -1, 2, bench_mass, NULL},
	{"Peak memory, MB", false, 0, -1, 0, peak, NULL},
};
#define FIGURES (sizeof figures / sizeof *figures)

/* Whether there is something to draw. */
static bool wanted(const struct bench *b, const struct figure *f)
{
	size_t n = 0;

	if ((f->task >= 0 && !(b->tasks >> f->task & 1)) ||
	    (f->ways && f->ways != (b->n_way > 1 ? 2 : 1)))
		return false;
	for (size_t i = 0; i < b->n_row; i++)
		n += isfinite(f->of(&b->row[i].figures)) != 0;
	return n;
}

/* Values of one figure and way. */
struct line {
	double x[BENCH_LENGTHS_MAX], y[BENCH_LENGTHS_MAX], error[BENCH_LENGTHS_MAX];
};

static void fill(const struct bench *b, const struct figure *f, size_t way, struct line *line,
		 struct ds_plot_series *series)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_row && n < b->n_length; i++) {
		const struct bench_row *r = &b->row[i];

		if (strcmp(r->attn, b->way[way].name) != 0 || (r->text && b->n_text > 1))
			continue;
		line->x[n] = (double)r->length;
		line->y[n] = f->of(&r->figures);
		line->error[n++] = f->error ? f->error(&r->figures) : 0;
	}
	*series = (struct ds_plot_series){line->x, line->y, line->error, n};
}

static enum ds_status draw(const struct bench *b, struct ds_plot_series *series, struct line *line,
			   struct ds_buf *svg, struct ds_err *err)
{
	struct ds_plot_panel panel[FIGURES];
	double tick[BENCH_LENGTHS_MAX];
	char title[200];
	const char *name[BENCH_WAYS_MAX];
	struct ds_plot plot = {.title = title,
			       .name = name,
			       .n_series = b->n_way,
			       .panel = panel,
			       .tick = tick,
			       .n_tick = b->n_length};

	snprintf(title, sizeof title, "%.150s, %zu text%s", ds_model_describe(b->model), b->n_text,
		 b->n_text > 1 ? "s" : "");
	for (size_t i = 0; i < b->n_way; i++)
		name[i] = b->way[i].name;
	for (size_t i = 0; i < b->n_length; i++)
		tick[i] = (double)b->length[i];
	for (size_t i = 0; i < FIGURES; i++) {
		const struct figure *f = &figures[i];

		if (!wanted(b, f))
			continue;
		panel[plot.n_panel++] = (struct ds_plot_panel){f->title, "tokens of the document",
							       f->log, f->high, series};
		for (size_t w = 0; w < b->n_way; w++)
			fill(b, f, w, line++, series++);
	}
	return ds_plot_svg(&plot, svg, err);
}

static enum ds_status write_file(const char *path, const struct ds_buf *svg, struct ds_err *err)
{
	struct ds_out out;
	enum ds_status st;

	DS_TRY(ds_out_open(&out, path, err));
	st = ds_out_write(&out, svg->data, svg->len, err);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

enum ds_status bench_plot(struct bench *b, struct ds_err *err)
{
	struct ds_plot_series *series = ds_alloc(FIGURES * b->n_way, sizeof *series);
	struct line *line = ds_alloc(FIGURES * b->n_way, sizeof *line);
	struct ds_buf svg = {0};
	enum ds_status st = DS_OK;

	if (!series || !line)
		st = ds_fail_nomem(err, FIGURES * b->n_way * sizeof *line);
	if (st == DS_OK)
		st = draw(b, series, line, &svg, err);
	if (st == DS_OK)
		st = write_file(b->plot, &svg, err);
	free(series);
	free(line);
	ds_buf_fini(&svg);
	return st;
}
