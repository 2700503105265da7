/* plot.c - lines over a logarithmic axis, as SVG */
#include "task/plot.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/elementary.h"
#include "base/utf8.h"

/* Sizes in pixels. */
#define PANEL_WIDTH 430
#define PANEL_HEIGHT 300
#define LEFT 66 /* of a panel's frame, for numbers */
#define RIGHT 14
#define TOP 34
#define BOTTOM 46
#define MARGIN 12
#define LEGEND_ROW 20
#define LETTER 7.2 /* a letter's width in the legend, about */

static const char *const colours[] = {"#000000", "#0072b2", "#d55e00", "#009e73",
				      "#cc79a7", "#e69f00", "#56b4e9", "#8a7a00"};
static const char *const dashes[] = {"", " stroke-dasharray=\"6 3\"", " stroke-dasharray=\"2 3\""};
#define COLOURS (sizeof colours / sizeof *colours)
#define DASHES (sizeof dashes / sizeof *dashes)

struct axis {
	bool log;
	double low, high;   /* of the values, logarithms if log */
	double begin, size; /* in pixels, of low and from there to high */
};

struct drawing {
	const struct ds_plot *plot;
	struct ds_buf *svg;
	struct axis x, y;
	enum ds_status st;
	struct ds_err *err;
};

static void put(struct drawing *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct drawing *d, const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	if (d->st != DS_OK)
		return;
	va_start(ap, format);
	n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < sizeof text);
	d->st = ds_buf_append(d->svg, text, (size_t)n, d->err);
}

/* Foreign text: markup escaped, what XML does not allow as question marks. */
static void put_words(struct drawing *d, const char *text)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
	uint32_t c;

	for (unsigned n; p < end && d->st == DS_OK; p += n) {
		n = ds_utf8_decode(p, end, &c);
		if (c == '<' || c == '>' || c == '&')
			put(d, "&#%u;", c);
		else if (c < ' ' || c == DS_UTF8_INVALID || (c & 0xfffe) == 0xfffe)
			put(d, "?");
		else
			put(d, "%.*s", (int)n, (const char *)p);
	}
}

/* --- axes ---------------------------------------------------------------------------------- */

static double on_scale(const struct axis *a, double value)
{
	return a->log ? ds_log(value) : value;
}

static double pixel(const struct axis *a, double value)
{
	return a->begin + a->size * (on_scale(a, value) - a->low) / (a->high - a->low);
}

static bool shown(const struct drawing *d, const struct ds_plot_series *s, size_t i)
{
	return isfinite(s->x[i]) && s->x[i] > 0 && isfinite(s->y[i]) && (!d->y.log || s->y[i] > 0);
}

/* 1, 2 or 5 times a power of ten, the least that is at least the value. */
static double round_up(double value)
{
	static const double steps[] = {1, 2, 5, 10};
	double power = 1;

	while (power * 10 <= value)
		power *= 10;
	while (power > value)
		power /= 10;
	for (size_t i = 0; i < 3; i++)
		if (steps[i] * power >= value * (1 - 1e-9))
			return steps[i] * power;
	return 10 * power;
}

static void widen(double *low, double *high, double value)
{
	if (value < *low)
		*low = value;
	if (value > *high)
		*high = value;
}

/* The range of a panel's values, to whole ticks; *step_ret: between those of a linear axis. */
static void set_range(struct drawing *d, const struct ds_plot_panel *p, double *step_ret)
{
	double low = p->log_y ? INFINITY : 0, high = p->log_y ? -INFINITY : p->high;

	for (size_t k = 0; k < d->plot->n_series; k++)
		for (size_t i = 0; i < p->series[k].n; i++) {
			const struct ds_plot_series *s = &p->series[k];
			double error = s->error && isfinite(s->error[i]) ? s->error[i] : 0;

			if (!shown(d, s, i))
				continue;
			widen(&low, &high, s->y[i] - (p->log_y ? 0 : error));
			widen(&low, &high, s->y[i] + (p->log_y ? 0 : error));
		}
	if (!(low < high)) { /* one value, or none */
		double middle = isfinite(low) ? low : 1;

		low = p->log_y ? middle / 2 : middle;
		high = p->log_y ? middle * 2 : middle + 1;
	}
	if (p->log_y) {
		d->y.low = ds_log(low) - 0.1;
		d->y.high = ds_log(high) + 0.1;
		return;
	}
	*step_ret = round_up((high - low) / 6);
	d->y.low = *step_ret * floor(low / *step_ret + 1e-9);
	d->y.high = *step_ret * ceil(high / *step_ret - 1e-9);
}

static void put_y_tick(struct drawing *d, double value)
{
	double y = pixel(&d->y, value);

	put(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"g\"/>\n", d->x.begin,
	    y, d->x.begin + d->x.size, y);
	put(d, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", d->x.begin - 6, y + 4,
	    value);
}

static void put_y_axis(struct drawing *d, double step)
{
	static const double parts[] = {1, 2, 5};
	double range = d->y.high - d->y.low;

	if (!d->y.log) {
		/* counted, so that no rounding adds up */
		long first = lround(d->y.low / step), last = lround(d->y.high / step);

		for (long i = first; i <= last; i++)
			put_y_tick(d, (double)i * step);
		return;
	}
	for (double power = 1e-12; power < 1e15; power *= 10)
		for (size_t i = 0; i < (range < 7 ? 3 : 1); i++) {
			double value = ds_log(parts[i] * power);

			if (value >= d->y.low && value <= d->y.high)
				put_y_tick(d, parts[i] * power);
		}
}

static void put_x_axis(struct drawing *d, const char *label)
{
	double bottom = d->y.begin, last = -INFINITY;

	for (size_t i = 0; i < d->plot->n_tick; i++) {
		double value = d->plot->tick[i], x = pixel(&d->x, value);

		put(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"g\"/>\n", x,
		    bottom, x, bottom + d->y.size);
		if (x - last < 4 * LETTER) /* no room for the number */
			continue;
		last = x;
		put(d, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x, bottom + 16);
		if (value >= 1024 && fmod(value, 1024) == 0)
			put(d, "%.0fK</text>\n", value / 1024);
		else
			put(d, "%g</text>\n", value);
	}
	put(d, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", d->x.begin + d->x.size / 2,
	    bottom + 34);
	put_words(d, label);
	put(d, "</text>\n");
}

/* --- series -------------------------------------------------------------------------------- */

static void put_series(struct drawing *d, const struct ds_plot_series *s, size_t k)
{
	const char *colour = colours[k % COLOURS], *dash = dashes[k / COLOURS % DASHES];
	bool begun = false;

	put(d, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\"%s d=\"", colour, dash);
	for (size_t i = 0; i < s->n; i++)
		if (shown(d, s, i)) {
			put(d, "%s%.1f %.1f", begun ? "L" : "M", pixel(&d->x, s->x[i]),
			    pixel(&d->y, s->y[i]));
			begun = true;
		}
	put(d, "%s\"/>\n", begun ? "" : "M0 0");
	for (size_t i = 0; i < s->n; i++) {
		double x, y;

		if (!shown(d, s, i))
			continue;
		x = pixel(&d->x, s->x[i]);
		y = pixel(&d->y, s->y[i]);
		put(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, colour);
		if (!s->error || !(s->error[i] > 0) || d->y.log)
			continue;
		y = pixel(&d->y, s->y[i] - s->error[i]);
		put(d,
		    "<path stroke=\"%s\" d=\"M%.1f %.1fH%.1fM%.1f %.1fV%.1fM%.1f %.1fH%.1f\"/>\n",
		    colour, x - 3, y, x + 3, x, y, pixel(&d->y, s->y[i] + s->error[i]), x - 3,
		    pixel(&d->y, s->y[i] + s->error[i]), x + 3);
	}
}

static void put_panel(struct drawing *d, const struct ds_plot_panel *p, double left, double top)
{
	const struct ds_plot *plot = d->plot;
	double step = 1;

	d->x = (struct axis){.log = true,
			     .low = ds_log(plot->tick[0]) - 0.08,
			     .high = ds_log(plot->tick[plot->n_tick - 1]) + 0.08,
			     .begin = left + LEFT,
			     .size = PANEL_WIDTH - LEFT - RIGHT};
	d->y = (struct axis){.log = p->log_y,
			     .begin = top + PANEL_HEIGHT - BOTTOM,
			     .size = -(PANEL_HEIGHT - TOP - BOTTOM)};
	set_range(d, p, &step);
	put(d, "<text x=\"%.1f\" y=\"%.1f\" class=\"t\">", d->x.begin, top + TOP - 10);
	put_words(d, p->title);
	put(d, "</text>\n");
	put_y_axis(d, step);
	put_x_axis(d, p->x_label);
	put(d, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"f\"/>\n",
	    d->x.begin, d->y.begin + d->y.size, d->x.size, -d->y.size);
	for (size_t k = 0; k < plot->n_series; k++)
		put_series(d, &p->series[k], k);
}

/* --- the whole ----------------------------------------------------------------------------- */

/* Where the legend's entries end: rows of them, each after the one before. */
static double put_legend(struct drawing *d, double left, double top, double width)
{
	double x = left, y = top;

	for (size_t k = 0; k < d->plot->n_series; k++) {
		double entry = 34 + LETTER * (double)strlen(d->plot->name[k]) + 18;

		if (x > left && x + entry > left + width) {
			x = left;
			y += LEGEND_ROW;
		}
		if (d->svg) {
			put(d, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\"%s",
			    colours[k % COLOURS], dashes[k / COLOURS % DASHES]);
			put(d, " d=\"M%.1f %.1fh26\"/>\n", x, y - 4);
			put(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x + 13,
			    y - 4, colours[k % COLOURS]);
			put(d, "<text x=\"%.1f\" y=\"%.1f\">", x + 34, y);
			put_words(d, d->plot->name[k]);
			put(d, "</text>\n");
		}
		x += entry;
	}
	return y + LEGEND_ROW;
}

enum ds_status ds_plot_svg(const struct ds_plot *plot, struct ds_buf *svg, struct ds_err *err)
{
	size_t columns = plot->n_panel > 1 ? 2 : 1, rows = (plot->n_panel + columns - 1) / columns;
	double width = (double)columns * PANEL_WIDTH + 2 * MARGIN, top, height;
	struct drawing d = {.plot = plot, .err = err};

	assert(plot->n_tick > 0 && plot->n_tick <= DS_PLOT_TICKS_MAX);
	top = put_legend(&d, MARGIN, 46, width - 2 * MARGIN); /* how high it is */
	height = top + (double)rows * PANEL_HEIGHT;
	d.svg = svg;
	put(&d, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	put(&d,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
	    "viewBox=\"0 0 %.0f %.0f\">\n",
	    width, height, width, height);
	put(&d, "<style>text{font:12px sans-serif;fill:#222}.t{font-weight:bold}"
		".g{stroke:#ddd}.f{fill:none;stroke:#888}</style>\n");
	put(&d, "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n");
	put(&d, "<text x=\"%d\" y=\"22\" class=\"t\">", MARGIN);
	put_words(&d, plot->title);
	put(&d, "</text>\n");
	put_legend(&d, MARGIN, 46, width - 2 * MARGIN);
	for (size_t i = 0; i < plot->n_panel; i++)
		put_panel(&d, &plot->panel[i], MARGIN + (double)(i % columns) * PANEL_WIDTH,
			  top + (double)(i / columns) * PANEL_HEIGHT);
	put(&d, "</svg>\n");
	return d.st;
}
