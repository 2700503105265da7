/*
 * plot.h - lines over a logarithmic axis, as SVG: panels in a grid, one legend for all of them
 *
 * The file needs nothing else: no scripts, no fonts of its own.  Series keep their colour in all
 * panels (the eight of Okabe and Ito, then the same with dashes).
 */
#ifndef DS_TASK_PLOT_H
#define DS_TASK_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

#define DS_PLOT_TICKS_MAX 16

/* Points whose x or y is not finite (of a logarithmic axis: not positive) are left out. */
struct ds_plot_series {
	const double *x, *y; /* [n], x ascending */
	const double *error; /* [n] half the height of a bar; or NULL */
	size_t n;
};
struct ds_plot_panel {
	const char *title, *x_label;
	bool log_y;			     /* else linear, 0 included */
	double high;			     /* of a linear axis, at least; 0: of the values */
	const struct ds_plot_series *series; /* [n_series] of the plot */
};
struct ds_plot {
	const char *title;
	const char *const *name; /* [n_series] */
	size_t n_series;
	const struct ds_plot_panel *panel; /* [n_panel] */
	size_t n_panel;
	const double *tick; /* [n_tick] of all x axes, ascending; at most DS_PLOT_TICKS_MAX */
	size_t n_tick;
};
/* Append the picture to svg. */
enum ds_status ds_plot_svg(const struct ds_plot *plot, struct ds_buf *svg, struct ds_err *err);

#endif
