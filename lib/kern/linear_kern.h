/*
 * linear_kern.h - the rows of a kernel table that linear.h needs
 *
 * A batch opens 16 rows of a matrix into a panel (integers, or floats for the float types) and
 * multiplies it by tiles of tokens.  Rows of types without kernels are NULL.  One token is
 * multiplied by the packed rows instead: ds_kern.matvec.
 */
#ifndef DS_KERN_LINEAR_KERN_H
#define DS_KERN_LINEAR_KERN_H

#include "gguf/types.h"
#include "kern/act.h"
#include "kern/linear.h"

#define DS_LINEAR_TYPES (DS_GGML_BF16 + 1)
#define DS_PANEL_ROWS 16

/* 32 values of 16 rows.  The order of q is the table's own; a table may take two for a group. */
struct ds_panel_group {
	uint8_t q[DS_ACT_GROUP * DS_PANEL_ROWS];
	float d[DS_PANEL_ROWS];
	float m[DS_PANEL_ROWS]; /* minima; Q6_K: scales of the second half */
};

/* An open panel, from a cache line on; floats as the panels of struct ds_gemm. */
struct ds_panel {
	uint32_t type;
	union {
		struct ds_panel_group *group; /* [k / 32], or twice that */
		float *f;		      /* [k][16] */
	};
};

struct ds_linear_kern {
	/* See linear.h: round token of act, whose x is written. */
	void (*round)(struct ds_act *act, size_t token);
	/* Rows row0 .. row0 + n_row - 1 (at most 16) of w; what stands in for missing rows is of no
	 * importance. */
	void (*open[DS_LINEAR_TYPES])(const struct ds_matrix *w, size_t row0, size_t n_row,
				      struct ds_panel *panel);
	/* Integer types: y[token][16] (ld apart) = bias[16] + panel times the tile's tokens. */
	void (*multiply)(const struct ds_panel *panel, const struct ds_act_tile *tile,
			 const float *bias, float *y, size_t ld);
};

#endif
