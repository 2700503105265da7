/*
 * bench.h - ds-bench inside: the matrix and how it is told
 */
#ifndef BENCH_H
#define BENCH_H

#include "attn/profile.h"
#include "cli.h"
#include "model/model.h"
#include "task/bench.h"

#define BENCH_TEXTS_MAX 64
#define BENCH_LENGTHS_MAX 16
#define BENCH_WAYS_MAX 24
#define BENCH_NAME_BYTES 256
#define BENCH_TEXT_BYTES_MAX ((size_t)256 << 20)

/* A text, and the documents of each length that begin with it. */
struct bench_text {
	const char *path;
	struct ds_buf bytes;
	struct ds_tokens tokens;
	struct ds_bench_doc doc[BENCH_LENGTHS_MAX];
	struct ds_bench_reference reference;
};

/* A way of reading: attention policies. */
struct bench_way {
	char name[BENCH_NAME_BYTES]; /* the policy as text, or "@FILE" */
	bool is_reference;
	struct ds_attn_policy policy;
	struct ds_attn_profile profile; /* of the file, then */
};

/* One cell; text NULL: all texts. */
struct bench_row {
	const char *text, *attn;
	size_t length;
	struct ds_bench_figures figures;
};

struct bench {
	struct cli cli;
	struct bench_text text[BENCH_TEXTS_MAX];
	size_t n_text;
	size_t length[BENCH_LENGTHS_MAX]; /* ascending */
	size_t n_length;
	size_t context; /* longer documents are read with carried state; 0: none */
	struct bench_way way[BENCH_WAYS_MAX];
	size_t n_way;
	unsigned tasks, runs;
	bool matrix, tune, raw;
	const char *plot; /* file of the picture, or NULL */
	const char *chat; /* its template; NULL: the model's own */

	/* of --tune */
	double within; /* percent that perplexity may rise */
	size_t groups; /* of layers */

	struct ds_model *model;
	struct ds_pool *pool;
	struct ds_out out;
	struct bench_row *row; /* [n_row] */
	size_t n_row, cap_row;
};

/* Read a text's document of length b->length[l] in that way and ask. */
enum ds_status bench_measure(struct bench *b, struct bench_text *text, size_t l,
			     const struct bench_way *way, struct ds_bench_figures *figures_ret,
			     struct ds_err *err);

/* Whether there are numbers of this policy to try. */
bool bench_can_tune(const struct ds_attn_policy *policy);
/* The cheapest profile that is good enough, to b->out. */
enum ds_status bench_tune(struct bench *b, struct ds_err *err);

/* The head of the table, a row, and what is said when all rows are there. */
enum ds_status bench_put_head(struct bench *b, struct ds_err *err);
enum ds_status bench_put_row(struct bench *b, const struct bench_row *row, struct ds_err *err);
enum ds_status bench_put_end(struct bench *b, struct ds_err *err);

/* The rows as a picture, into the file of --plot. */
enum ds_status bench_plot(struct bench *b, struct ds_err *err);

/* Of figures: NAN of nothing. */
double bench_read_rate(const struct ds_bench_figures *f);   /* tokens a second */
double bench_decode_rate(const struct ds_bench_figures *f); /* tokens a second */
double bench_density(const struct ds_bench_figures *f);
double bench_mass(const struct ds_bench_figures *f); /* the mean that was kept */
double bench_per(double sum, double n);
unsigned bench_digits(const unsigned n[DS_NEEDLE_DEPTHS]); /* of all depths */

#endif
