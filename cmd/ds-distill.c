/*
 * ds-distill.c - an encoder in, a static student out
 *
 * Everything is held in memory: the teacher's embeddings of the lines to fit are the most of it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "model/student.h"

#define FILES_MAX 64
/* The share of a token at which its weight is halved; the best of a sweep on retrieval. */
#define SIF_DEFAULT 1e-3
#define DIMS_DEFAULT 256
#define PASSES_DEFAULT 6
#define TOKENS_DEFAULT 64

enum {
	OPT_DIMS = CLI_LONG,
	OPT_VOCAB,
	OPT_WEIGHTS,
	OPT_FIT,
	OPT_REPORT,
	OPT_REQUIRE,
	OPT_DROP,
	OPT_SIF,
	OPT_PASSES,
	OPT_TOKENS,
	OPT_NAME,
	OPT_LICENSE,
	OPT_SOURCE,
};

static const struct cli_opt options[] = {
	{'m', "model", "MODEL", "the teacher: GGUF file or HF folder of a BERT encoder"},
	CLI_OPT_OUTPUT,
	{OPT_FIT, "fit", "TEXT", "fit the student to the teacher on the lines of TEXT"},
	{OPT_WEIGHTS, "weights", "TEXT",
	 "count token frequencies in TEXT (default: that of --fit)"},
	{OPT_REPORT, "report", "TEXT", "print the agreement with the teacher on the lines of TEXT"},
	{OPT_REQUIRE, "require", "X", "exit 3, writing nothing, when a reported cosine is below X"},
	{OPT_DIMS, "dims", "N", "dimensions of the student (default: 256)"},
	{OPT_VOCAB, "vocab", "WHICH", "tokens to keep: used, all or the N most frequent"},
	{OPT_SIF, "sif", "A", "weigh tokens by A / (A + frequency), 0: not (default: 0.001)"},
	{OPT_DROP, "drop", "N", "leave out the N leading principal components (default: 0)"},
	{OPT_PASSES, "passes", "N", "passes over the lines of --fit (default: 6)"},
	{OPT_TOKENS, "tokens", "N", "cut lines of text after N tokens (default: 64)"},
	{OPT_NAME, "name", "NAME", "general.name in the file"},
	{OPT_LICENSE, "license", "ID", "general.license in the file, an SPDX identifier"},
	{OPT_SOURCE, "source", "URL", "general.source.url in the file"},
	CLI_OPT_JOBS,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

static const char examples[] = "Examples:\n"
			       "  ds-distill -m minilm/ --fit glosses.txt -o student.gguf\n"
			       "  ds-distill -m minilm/ --dims 128 --weights corpus.txt --report "
			       "test.txt -o student.gguf\n";

struct files {
	const char *path[FILES_MAX];
	int n;
};

struct distill {
	struct cli cli;
	struct ds_student_options options;
	struct ds_student_about about;
	struct files weights, fit, report;
	size_t tokens_max;
	double require;
	double cosine, spearman; /* the least of all reports */
	struct ds_model *teacher;
	struct ds_pool *pool;
	struct ds_corpus weights_text, fit_text;
	struct ds_student student;
};

static void add_file(struct cli *cli, struct files *files, const char *opt, const char *path)
{
	if (files->n == FILES_MAX)
		cli_usage(cli, "%s: more than %d files", opt, FILES_MAX);
	files->path[files->n++] = path;
}

static void choose_vocab(struct distill *d, const char *arg)
{
	static const char *const names[] = {"used", "all", NULL};

	if (*arg >= '0' && *arg <= '9')
		d->options.vocab_max = (uint32_t)cli_num(&d->cli, arg, "--vocab", 1, UINT32_MAX);
	else
		d->options.placeholders = cli_choice(&d->cli, arg, "--vocab", names) == 1;
}

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct distill *d = cli->user;

	switch (key) {
	case OPT_FIT:
		add_file(cli, &d->fit, "--fit", arg);
		break;
	case OPT_WEIGHTS:
		add_file(cli, &d->weights, "--weights", arg);
		break;
	case OPT_REPORT:
		add_file(cli, &d->report, "--report", arg);
		break;
	case OPT_REQUIRE:
		d->require = cli_real(cli, arg, "--require", -1, 1);
		break;
	case OPT_DIMS:
		d->options.dims = (uint32_t)cli_num(cli, arg, "--dims", 1, 65536);
		break;
	case OPT_VOCAB:
		choose_vocab(d, arg);
		break;
	case OPT_SIF:
		d->options.sif = cli_real(cli, arg, "--sif", 0, 1e9);
		break;
	case OPT_DROP:
		d->options.drop = (uint32_t)cli_num(cli, arg, "--drop", 0, 65536);
		break;
	case OPT_PASSES:
		d->options.passes = (unsigned)cli_num(cli, arg, "--passes", 1, 1000);
		break;
	case OPT_TOKENS:
		d->tokens_max = cli_num(cli, arg, "--tokens", 1, 65536);
		break;
	case OPT_NAME:
		d->about.name = arg;
		break;
	case OPT_LICENSE:
		d->about.license = arg;
		break;
	case OPT_SOURCE:
		d->about.source = arg;
		break;
	}
}

static void on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	cli_progress_steps(arg, what, done, total);
}

static enum ds_status read_files(const struct distill *d, const struct files *files,
				 struct ds_corpus *corpus, struct ds_err *err)
{
	size_t room = ds_model_context(d->teacher) - 2;

	for (int i = 0; i < files->n; i++)
		DS_TRY(ds_corpus_read(corpus, ds_model_tokenizer(d->teacher), files->path[i],
				      d->tokens_max < room ? d->tokens_max : room, err));
	return DS_OK;
}

static enum ds_status open_all(struct distill *d, struct ds_err *err)
{
	double start = cli_seconds();

	DS_TRY(ds_model_open(&d->teacher, d->cli.model, err));
	DS_TRY(ds_pool_new(&d->pool, d->cli.jobs, err));
	cli_stat_real(&d->cli, "load_ms", 1e3 * (cli_seconds() - start));
	cli_stat_u64(&d->cli, "threads", ds_pool_threads(d->pool));
	cli_stat_text(&d->cli, "cpu", ds_model_kernels(d->teacher));
	DS_TRY(read_files(d, &d->fit, &d->fit_text, err));
	DS_TRY(read_files(d, &d->weights, &d->weights_text, err));
	cli_stat_u64(&d->cli, "input_bytes", d->fit_text.bytes + d->weights_text.bytes);
	d->options.fit = &d->fit_text;
	d->options.weights = d->weights.n ? &d->weights_text : &d->fit_text;
	cli_note(&d->cli, "teacher %s; %zu lines, %zu tokens to fit", ds_model_describe(d->teacher),
		 d->fit_text.n, ds_corpus_tokens(&d->fit_text));
	return DS_OK;
}

/* A line of figures for each text of --report; false when --require is not met. */
static enum ds_status report(struct distill *d, bool *met_ret, struct ds_err *err)
{
	*met_ret = true;
	for (int i = 0; i < d->report.n; i++) {
		struct files one = {{d->report.path[i]}, 1};
		struct ds_corpus lines = {0};
		struct ds_student_report r;
		enum ds_status st = read_files(d, &one, &lines, err);

		if (st == DS_OK)
			st = ds_student_compare(&d->student, d->teacher, d->pool, &lines, &r, err);
		ds_corpus_fini(&lines);
		if (st != DS_OK) {
			ds_err_set_path(err, d->report.path[i]);
			return st;
		}
		printf("%s: %zu lines, cosine %.4f, spearman %.4f\n", d->report.path[i], r.lines,
		       r.cosine, r.spearman);
		d->cosine = fmin(d->cosine, r.cosine);
		d->spearman = fmin(d->spearman, r.spearman);
		if (r.cosine >= d->require)
			continue;
		cli_warn(&d->cli, "%s: cosine %.4f, at least %.4f required", d->report.path[i],
			 r.cosine, d->require);
		*met_ret = false;
	}
	if (d->report.n) {
		cli_stat_real(&d->cli, "cosine", d->cosine);
		cli_stat_real(&d->cli, "spearman", d->spearman);
	}
	return DS_OK;
}

static enum ds_status write_student(struct distill *d, struct ds_err *err)
{
	struct ds_out out;
	enum ds_status st;

	DS_TRY(ds_out_open(&out, d->cli.output, err));
	st = ds_student_write(&d->student, &out, &d->about, err);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

static enum ds_status run(struct distill *d, struct ds_err *err)
{
	bool met;

	DS_TRY(open_all(d, err));
	DS_TRY(ds_student_make(&d->student, d->teacher, d->pool, &d->options, err));
	DS_TRY(ds_student_round(&d->student, err));
	cli_note(&d->cli, "%u tokens, %u dimensions, %.1f %% of the variance", d->student.n,
		 d->student.dims, 100 * d->student.pca.explained);
	cli_stat_u64(&d->cli, "tokens", d->student.n);
	cli_stat_real(&d->cli, "explained", d->student.pca.explained);
	DS_TRY(report(d, &met, err));
	if (!met) {
		d->cli.status = CLI_UNMET;
		return DS_OK;
	}
	return write_student(d, err);
}

static void close_all(struct distill *d)
{
	ds_student_fini(&d->student);
	ds_corpus_fini(&d->fit_text);
	ds_corpus_fini(&d->weights_text);
	ds_pool_free(d->pool);
	ds_model_close(d->teacher);
}

static void refuse_inputs(const struct cli *cli, const struct files *files)
{
	for (int i = 0; i < files->n; i++)
		cli_refuse_same(cli, files->path[i]);
}

int main(int argc, char **argv)
{
	struct distill d = {
		.options = {.dims = DIMS_DEFAULT, .sif = SIF_DEFAULT, .passes = PASSES_DEFAULT},
		.tokens_max = TOKENS_DEFAULT,
		.require = -1,
		.cosine = INFINITY,
		.spearman = INFINITY,
	};
	struct ds_err err;

	d.cli = (struct cli){
		.name = "ds-distill",
		.synopsis = "-m TEACHER -o FILE [OPTION]...",
		.summary = "make a static embedding model of an encoder",
		.examples = examples,
		.options = options,
		.on_option = on_option,
		.user = &d,
	};
	cli_parse(&d.cli, argc, argv);
	if (d.cli.n_operand)
		cli_usage(&d.cli, "unexpected operand '%s'", d.cli.operand[0]);
	if (!d.cli.model)
		cli_usage(&d.cli, "no teacher: -m MODEL expected");
	if (!d.cli.output || strcmp(d.cli.output, "-") == 0)
		cli_usage(&d.cli, "no output: -o FILE expected");
	cli_refuse_same(&d.cli, d.cli.model);
	refuse_inputs(&d.cli, &d.fit);
	refuse_inputs(&d.cli, &d.weights);
	refuse_inputs(&d.cli, &d.report);
	d.options.progress = on_progress;
	d.options.progress_arg = &d.cli;
	if (run(&d, &err) != DS_OK)
		cli_error(&d.cli, &err);
	close_all(&d);
	return cli_finish(&d.cli);
}
