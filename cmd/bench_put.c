/* bench_put.c - rows of ds-bench as a table or JSON lines */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "frame/json.h"
#include "task/score.h"

#define CELL_BYTES 64

double bench_per(double sum, double n)
{
	return n > 0 ? sum / n : NAN;
}

double bench_read_rate(const struct ds_bench_figures *f)
{
	return bench_per((double)f->tokens, f->read_seconds);
}

double bench_decode_rate(const struct ds_bench_figures *f)
{
	return bench_per((double)f->decoded_tokens, f->decode_seconds);
}

double bench_density(const struct ds_bench_figures *f)
{
	return bench_per((double)f->pairs_seen, (double)f->pairs);
}

double bench_mass(const struct ds_bench_figures *f)
{
	return bench_per(f->mass, (double)f->audited);
}

unsigned bench_digits(const unsigned n[DS_NEEDLE_DEPTHS])
{
	unsigned sum = 0;

	for (size_t i = 0; i < DS_NEEDLE_DEPTHS; i++)
		sum += n[i];
	return sum;
}

/* --- the table ----------------------------------------------------------------------------- */

static void put_length(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%zu", r->length);
}

static void put_attn(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s", r->attn);
}

static void put_perplexity(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.3f", ds_perplexity(r->figures.nll, r->figures.scored));
}

static void put_change(const struct bench_row *r, char *cell)
{
	const struct ds_bench_change *c = &r->figures.change;

	if (c->n)
		snprintf(cell, CELL_BYTES, "%+.2f ± %.2f", 100 * ds_bench_change(c),
			 100 * ds_bench_change_error(c));
	else
		snprintf(cell, CELL_BYTES, "-");
}

static void put_needles(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%u/%u", r->figures.needles_found, r->figures.needles);
}

static void put_digits(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%u/%u", bench_digits(r->figures.digits_right),
		 bench_digits(r->figures.digits));
}

static void put_digit_logprobs(const struct bench_row *r, char *cell)
{
	const struct ds_bench_figures *f = &r->figures;
	int n = 0;

	for (size_t i = 0; i < DS_NEEDLE_DEPTHS; i++)
		n += snprintf(cell + n, CELL_BYTES - (size_t)n, "%s%.2f", i ? " " : "",
			      bench_per(f->digit_logprob[i], f->digits[i]));
}

static void put_facts(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%u/%u", r->figures.facts_found, r->figures.facts);
}

static void put_summary(const struct bench_row *r, char *cell)
{
	const struct ds_bench_figures *f = &r->figures;

	snprintf(cell, CELL_BYTES, "%u/%u %.2f", f->summary_alike, f->summary_tokens,
		 bench_per(f->summary_logprob, f->summary_tokens));
}

static void put_density(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.3f", bench_density(&r->figures));
}

static void put_mass(const struct bench_row *r, char *cell)
{
	if (r->figures.audited)
		snprintf(cell, CELL_BYTES, "%.3f %.3f", bench_mass(&r->figures),
			 r->figures.mass_p5);
	else
		snprintf(cell, CELL_BYTES, "-");
}

static void put_seconds(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.3f",
		 bench_per(r->figures.read_seconds, r->figures.documents));
}

static void put_read_rate(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.1f", bench_read_rate(&r->figures));
}

static void put_decode_rate(const struct bench_row *r, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.1f", bench_decode_rate(&r->figures));
}

static void put_peak(const struct bench_row *r, char *cell)
{
	if (r->figures.peak_bytes)
		snprintf(cell, CELL_BYTES, "%.1f", 1e-6 * (double)r->figures.peak_bytes);
	else
		snprintf(cell, CELL_BYTES, "-");
}

static const struct column {
	const char *head;
	int width; /* negative: to the left */
	int task;  /* that it belongs to, or -1 */
	void (*put)(const struct bench_row *row, char *cell);
} columns[] = {
	{"length", 7, -1, put_length},
	{"attention", -16, -1, put_attn},
	{"perplexity", 10, DS_BENCH_PERPLEXITY, put_perplexity},
	{"change %", 14, DS_BENCH_PERPLEXITY, put_change},
	{"needles", 7, DS_BENCH_NEEDLE, put_needles},
	{"digits", 7, DS_BENCH_NEEDLE, put_digits},
	{"nats 10 50 90 %", 17, DS_BENCH_NEEDLE, put_digit_logprobs},
	{"facts", 6, DS_BENCH_EXTRACT, put_facts},
	{"summary nats", 14, DS_BENCH_SUMMARISE, put_summary},
	{"density", 7, -1, put_density},
	{"mass mean p5", 12, -1, put_mass},
	{"read s", 8, -1, put_seconds},
	{"tokens/s", 8, -1, put_read_rate},
	{"decode/s", 8, -1, put_decode_rate},
	{"peak MB", 8, -1, put_peak},
};
#define COLUMNS (sizeof columns / sizeof *columns)

/* Columns of text on the screen: bytes that begin a character. */
static int shown(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static enum ds_status put_line(struct bench *b, const struct bench_row *row, const char *last,
			       struct ds_err *err)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		const struct column *c = &columns[i];
		char cell[CELL_BYTES], padded[2 * CELL_BYTES];
		int n;

		if (c->task >= 0 && !(b->tasks >> c->task & 1))
			continue;
		snprintf(cell, sizeof cell, "%s", row ? "" : c->head);
		if (row)
			c->put(row, cell);
		n = (c->width < 0 ? -c->width : c->width) - shown(cell);
		n = snprintf(padded, sizeof padded, "%s%*s%s%*s", i ? "  " : "",
			     c->width > 0 && n > 0 ? n : 0, "", cell, c->width < 0 && n > 0 ? n : 0,
			     "");
		DS_TRY(ds_out_write(&b->out, padded, (size_t)n, err));
	}
	if (b->n_text > 1) {
		DS_TRY(ds_out_write(&b->out, "  ", 2, err));
		DS_TRY(ds_out_write(&b->out, last, strlen(last), err));
	}
	DS_TRY(ds_out_write(&b->out, "\n", 1, err));
	return b->cli.output ? DS_OK : ds_out_flush(&b->out, err);
}

/* --- JSON lines ---------------------------------------------------------------------------- */

static enum ds_status json_real(struct ds_buf *line, const char *key, double value,
				struct ds_err *err)
{
	char text[80];
	int n = isfinite(value) ? snprintf(text, sizeof text, ",\"%s\":%.9g", key, value)
				: snprintf(text, sizeof text, ",\"%s\":null", key);

	return ds_buf_append(line, text, (size_t)n, err);
}

static enum ds_status json_count(struct ds_buf *line, const char *key, uint64_t value,
				 struct ds_err *err)
{
	char text[80];
	int n = snprintf(text, sizeof text, ",\"%s\":%llu", key, (unsigned long long)value);

	return ds_buf_append(line, text, (size_t)n, err);
}

static enum ds_status json_perplexity(struct ds_buf *line, const struct ds_bench_figures *f,
				      struct ds_err *err)
{
	DS_TRY(json_count(line, "scored_tokens", f->scored, err));
	DS_TRY(json_real(line, "perplexity", ds_perplexity(f->nll, f->scored), err));
	if (f->change.n == 0)
		return DS_OK;
	DS_TRY(json_real(line, "perplexity_change", ds_bench_change(&f->change), err));
	return json_real(line, "perplexity_change_error", ds_bench_change_error(&f->change), err);
}

static enum ds_status json_needle(struct ds_buf *line, const struct ds_bench_figures *f,
				  struct ds_err *err)
{
	static const char *const keys[DS_NEEDLE_DEPTHS] = {"digit_logprob_10", "digit_logprob_50",
							   "digit_logprob_90"};

	DS_TRY(json_count(line, "needles", f->needles, err));
	DS_TRY(json_count(line, "needles_found", f->needles_found, err));
	DS_TRY(json_count(line, "digits", bench_digits(f->digits), err));
	DS_TRY(json_count(line, "digits_right", bench_digits(f->digits_right), err));
	for (size_t i = 0; i < DS_NEEDLE_DEPTHS; i++)
		DS_TRY(json_real(line, keys[i], bench_per(f->digit_logprob[i], f->digits[i]), err));
	return DS_OK;
}

static enum ds_status json_cost(struct ds_buf *line, const struct ds_bench_figures *f,
				struct ds_err *err)
{
	DS_TRY(json_count(line, "prompt_tokens", f->tokens, err));
	DS_TRY(json_real(line, "density", bench_density(f), err));
	if (f->audited) {
		DS_TRY(json_count(line, "audited", f->audited, err));
		DS_TRY(json_real(line, "mass_mean", bench_mass(f), err));
		DS_TRY(json_real(line, "mass_p5", f->mass_p5, err));
	}
	DS_TRY(json_real(line, "prompt_seconds", f->read_seconds, err));
	DS_TRY(json_real(line, "prompt_cpu_seconds", f->read_cpu_seconds, err));
	DS_TRY(json_real(line, "prompt_tokens_per_second", bench_read_rate(f), err));
	DS_TRY(json_real(line, "decode_tokens_per_second", bench_decode_rate(f), err));
	DS_TRY(json_count(line, "session_bytes", f->session_bytes, err));
	return f->peak_bytes ? json_count(line, "peak_rss_bytes", f->peak_bytes, err) : DS_OK;
}

static enum ds_status json_row(struct bench *b, const struct bench_row *row, struct ds_buf *line,
			       struct ds_err *err)
{
	const struct ds_bench_figures *f = &row->figures;

	DS_TRY(ds_buf_append(line, "{", 1, err));
	DS_TRY(ds_json_string("attention", row->attn, strlen(row->attn), line, err));
	if (row->text)
		DS_TRY(ds_json_string("text", row->text, strlen(row->text), line, err));
	else
		DS_TRY(ds_buf_append(line, ",\"text\":null", 12, err));
	DS_TRY(json_count(line, "length", row->length, err));
	if (b->tasks >> DS_BENCH_PERPLEXITY & 1)
		DS_TRY(json_perplexity(line, f, err));
	if (b->tasks >> DS_BENCH_NEEDLE & 1)
		DS_TRY(json_needle(line, f, err));
	if (b->tasks >> DS_BENCH_EXTRACT & 1) {
		DS_TRY(json_count(line, "facts", f->facts, err));
		DS_TRY(json_count(line, "facts_found", f->facts_found, err));
	}
	if (b->tasks >> DS_BENCH_SUMMARISE & 1) {
		DS_TRY(json_count(line, "summary_tokens", f->summary_tokens, err));
		DS_TRY(json_count(line, "summary_alike", f->summary_alike, err));
		DS_TRY(json_real(line, "summary_logprob",
				 bench_per(f->summary_logprob, f->summary_tokens), err));
	}
	DS_TRY(json_cost(line, f, err));
	return ds_buf_append(line, "}\n", 2, err);
}

/* ------------------------------------------------------------------------------------------- */

enum ds_status bench_put_head(struct bench *b, struct ds_err *err)
{
	return b->cli.format == CLI_TEXT ? put_line(b, NULL, "text", err) : DS_OK;
}

enum ds_status bench_put_row(struct bench *b, const struct bench_row *row, struct ds_err *err)
{
	struct ds_buf line = {0};
	enum ds_status st;

	if (b->cli.format == CLI_TEXT)
		return put_line(b, row, row->text ? row->text : "all", err);
	st = json_row(b, row, &line, err);
	if (st == DS_OK)
		st = ds_out_write(&b->out, line.data, line.len, err);
	if (st == DS_OK && !b->cli.output)
		st = ds_out_flush(&b->out, err);
	ds_buf_fini(&line);
	return st;
}

/* How seconds grow with the length, over all texts. */
enum ds_status bench_put_end(struct bench *b, struct ds_err *err)
{
	for (size_t w = 0; w < b->n_way && b->n_length > 1; w++) {
		double length[BENCH_LENGTHS_MAX], seconds[BENCH_LENGTHS_MAX];
		char line[160];
		size_t n = 0;
		int len;

		for (size_t i = 0; i < b->n_row && n < b->n_length; i++) {
			const struct bench_row *r = &b->row[i];

			if (strcmp(r->attn, b->way[w].name) != 0 || (r->text && b->n_text > 1))
				continue;
			length[n] = (double)r->length;
			seconds[n++] = r->figures.read_seconds;
		}
		len = snprintf(line, sizeof line,
			       b->cli.format == CLI_TEXT
				       ? "%s: seconds grow as length to the power of %.2f\n"
				       : "{\"attention\":\"%s\",\"exponent\":%.4f}\n",
			       b->way[w].name, ds_bench_exponent(length, seconds, n));
		DS_TRY(ds_out_write(&b->out, line, (size_t)len, err));
	}
	return DS_OK;
}
