/*
 * ds-bench.c - length x way of reading x task: how well a model reads long documents, at what cost
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kern/kern.h"
#include "task/tune.h"

enum {
	OPT_MATRIX = CLI_LONG,
	OPT_TUNE,
	OPT_WITHIN,
	OPT_GROUPS,
	OPT_TEXT,
	OPT_LENGTHS,
	OPT_CONTEXT,
	OPT_ATTN,
	OPT_TASKS,
	OPT_TEMPLATE,
	OPT_RAW,
	OPT_RUNS,
	OPT_PLOT,
};

static const struct cli_opt options[] = {
	{OPT_MATRIX, "matrix", NULL, "measure every length and task"},
	{OPT_TUNE, "tune", NULL, "find the cheapest attention, layer by layer: a profile"},
	{'m', "model", "MODEL", "GGUF file of a language model (default: $DS_MODEL)"},
	{OPT_TEXT, "text", "FILE", "a long text to read; may be repeated"},
	{OPT_LENGTHS, "lengths", "A,B,...", "tokens of a document (default: 2K,4K,8K)"},
	{OPT_CONTEXT, "context", "N", "carry state to read documents longer than N tokens"},
	{OPT_ATTN, "attn", "A,B,...", "attention policies; the first is the reference"},
	{OPT_TASKS, "tasks", "A,B,...", "of perplexity,needle,extract,summarise (default: all)"},
	{OPT_TEMPLATE, "template", "NAME", "chat template (default: as the model's file says)"},
	{OPT_RAW, "raw", NULL, "no chat template around the document and the questions"},
	{OPT_RUNS, "runs", "N", "read every document N times, the fastest counts (default: 1)"},
	{OPT_WITHIN, "within", "X", "--tune: perplexity at most X % above dense (default: 1)"},
	{OPT_GROUPS, "groups", "N", "--tune: groups of layers that differ (default: 4)"},
	{OPT_PLOT, "plot", "FILE.svg", "draw the rows against the length, too"},
	CLI_OPT_OUTPUT,
	CLI_OPT_FORMAT,
	CLI_OPT_JOBS,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

static const char examples[] =
	"Examples:\n"
	"  ds-bench --matrix -m qwen.gguf --text book.txt --lengths 8K,32K --attn dense,auto\n"
	"  ds-bench --matrix -m qwen.gguf --text a.txt --text b.txt --format jsonl -o rows.jsonl\n";

/* --- options ------------------------------------------------------------------------------- */

/* The next word of a list with commas between; false at its end. */
static bool next_word(const struct cli *cli, const char *opt, const char **list, char word[64])
{
	size_t n = strcspn(*list, ",");

	if (n == 0 || n >= 64)
		cli_usage(cli, "%s: '%s' is no list with commas between", opt, *list);
	memcpy(word, *list, n);
	word[n] = '\0';
	*list += n;
	if (**list == ',')
		return ++*list, true;
	return false;
}

static int ascending(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void set_lengths(struct bench *b, const char *list)
{
	size_t kept = 0;
	char word[64];
	bool more;

	b->n_length = 0;
	do {
		more = next_word(&b->cli, "--lengths", &list, word);
		if (b->n_length == BENCH_LENGTHS_MAX)
			cli_usage(&b->cli, "--lengths: at most %d", BENCH_LENGTHS_MAX);
		b->length[b->n_length++] = cli_size(&b->cli, word, "--lengths", 1, UINT32_MAX);
	} while (more);
	qsort(b->length, b->n_length, sizeof *b->length, ascending);
	for (size_t i = 0; i < b->n_length; i++)
		if (i == 0 || b->length[i] != b->length[kept - 1])
			b->length[kept++] = b->length[i];
	b->n_length = kept;
}

/* A policy, or "@" and a file of them. */
static void set_way(struct bench *b, struct bench_way *way, const char *text, size_t n)
{
	struct ds_err err;

	if (n >= sizeof way->name)
		cli_usage(&b->cli, "--attn: '%.40s...' is too long", text);
	*way = (struct bench_way){.is_reference = way == b->way};
	memcpy(way->name, text, n);
	if (*way->name == '@')
		return;
	if (ds_attn_policy_parse(&way->policy, way->name, &err) != DS_OK)
		cli_usage(&b->cli, "--attn: %s", err.message);
	ds_attn_policy_text(&way->policy, way->name, sizeof way->name);
}

/* A word that begins with a digit goes on with the numbers of the policy before it. */
static void set_ways(struct bench *b, const char *list)
{
	b->n_way = 0;
	do {
		struct bench_way *way = &b->way[b->n_way];
		size_t n = strcspn(list, ",");

		while (list[n] == ',' && list[n + 1] >= '0' && list[n + 1] <= '9')
			n += 1 + strcspn(list + n + 1, ",");
		if (b->n_way == BENCH_WAYS_MAX)
			cli_usage(&b->cli, "--attn: at most %d policies", BENCH_WAYS_MAX);
		set_way(b, way, list, n);
		for (size_t i = 0; i < b->n_way; i++)
			if (strcmp(way->name, b->way[i].name) == 0)
				cli_usage(&b->cli, "--attn: %s twice", way->name);
		b->n_way++;
		list += n;
	} while (*list++ == ',');
}

static void set_tasks(struct bench *b, const char *list)
{
	char word[64];
	bool more;

	b->tasks = 0;
	do {
		more = next_word(&b->cli, "--tasks", &list, word);
		b->tasks |= 1u << cli_choice(&b->cli, word, "--tasks", ds_bench_task_names);
	} while (more);
}

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct bench *b = cli->user;

	switch (key) {
	case OPT_MATRIX:
		b->matrix = true;
		break;
	case OPT_TUNE:
		b->tune = true;
		break;
	case OPT_WITHIN:
		b->within = cli_real(cli, arg, "--within", 0, 1000);
		break;
	case OPT_GROUPS:
		b->groups = cli_num(cli, arg, "--groups", 1, DS_TUNE_GROUPS_MAX);
		break;
	case OPT_TEXT:
		if (b->n_text == BENCH_TEXTS_MAX)
			cli_usage(cli, "--text: at most %d files", BENCH_TEXTS_MAX);
		b->text[b->n_text++].path = arg;
		break;
	case OPT_LENGTHS:
		set_lengths(b, arg);
		break;
	case OPT_CONTEXT:
		b->context = cli_size(cli, arg, "--context", 1, UINT32_MAX);
		break;
	case OPT_ATTN:
		set_ways(b, arg);
		break;
	case OPT_TASKS:
		set_tasks(b, arg);
		break;
	case OPT_TEMPLATE:
		b->chat = arg;
		break;
	case OPT_RUNS:
		b->runs = (unsigned)cli_num(cli, arg, "--runs", 1, 1000);
		break;
	case OPT_PLOT:
		b->plot = arg;
		break;
	case OPT_RAW:
		b->raw = true;
		break;
	}
}

static void check_template(const struct bench *b)
{
	struct ds_chat chat;
	struct ds_err err;

	if (b->raw && b->chat)
		cli_usage(&b->cli, "--raw is without --template");
	if (b->chat && ds_chat_find(&chat, b->chat, NULL, 0, &err) != DS_OK)
		cli_usage(&b->cli, "--template: %s", err.message);
}

/* Nothing that is read is written, and nothing twice. */
static void check_outputs(const struct bench *b)
{
	struct cli plot = b->cli;

	plot.output = b->plot;
	for (size_t i = 0; i < b->n_text; i++) {
		cli_refuse_same(&b->cli, b->text[i].path);
		cli_refuse_same(&plot, b->text[i].path);
	}
	cli_refuse_same(&b->cli, b->cli.model);
	cli_refuse_same(&plot, b->cli.model);
	if (b->plot && strcmp(b->plot, b->cli.output ? b->cli.output : "-") == 0)
		cli_usage(&b->cli, "--plot: %s is the output already", b->plot);
}

/* What is to be tuned: one policy with a number, at one length, by perplexity and needles. */
static void check_tuning(struct bench *b)
{
	struct cli *cli = &b->cli;

	if (b->n_length != 1)
		cli_usage(cli, "--tune needs one length: --lengths N");
	if (b->n_way != 1 || b->way->name[0] == '@' || !bench_can_tune(&b->way->policy))
		cli_usage(cli, "--tune needs one of mass, auto, stream and topk: --attn POLICY");
	if (b->length[0] <= b->way->policy.break_even)
		cli_usage(cli,
			  "--tune: up to %u tokens %s reads densely: a longer one of --lengths",
			  b->way->policy.break_even, b->way->name);
	if (b->plot || cli->format != CLI_TEXT)
		cli_usage(cli, "--tune writes a profile, without --plot and --format");
	b->tasks = 1u << DS_BENCH_PERPLEXITY | 1u << DS_BENCH_NEEDLE;
}

static void check_options(struct bench *b)
{
	struct cli *cli = &b->cli;

	check_template(b);

	if (cli->n_operand)
		cli_usage(cli, "unexpected operand '%s'; texts are given with --text",
			  cli->operand[0]);
	if (b->matrix == b->tune)
		cli_usage(cli, b->tune ? "--matrix and --tune exclude each other"
				       : "nothing to do: --matrix or --tune expected");
	if (!cli->model)
		cli_usage(cli, "no language model: -m FILE expected");
	if (b->n_text == 0)
		cli_usage(cli, "no text: --text FILE expected, quality is measured on real text");
	if (cli->format == CLI_FRAMES)
		cli_usage(cli, "--format: text or jsonl");
	if (cli->format == CLI_AUTO)
		cli->format = CLI_TEXT;
	if (b->tune)
		check_tuning(b);
	check_outputs(b);
}

/* --- work ---------------------------------------------------------------------------------- */

static void on_progress(void *user, uint64_t done, uint64_t all)
{
	struct bench *b = user;

	if (done < all)
		cli_progress_steps(&b->cli, "reading tokens", done, all);
	else
		cli_progress_erase();
}

static enum ds_status open_reader(struct bench *b, struct ds_reader *reader, size_t length,
				  const struct bench_way *way, struct ds_err *err)
{
	const struct ds_attn_profile *profile = &way->profile;
	static const struct ds_carry carry = {.chosen = DS_CARRY_DEFAULT};
	bool carries = b->context && b->context < length;
	struct ds_reader_options o = {.context = (uint32_t)(carries ? b->context : length),
				      .carry = carries ? &carry : NULL,
				      .raw = b->raw,
				      .chat = b->chat,
				      .attn = profile->policy ? profile->policy : &way->policy,
				      .n_attn = profile->n_layer};
	enum ds_status st = ds_reader_open(reader, b->model, b->pool, &o, err);

	if (st != DS_OK && !err->path[0])
		ds_err_set_path(err, b->cli.model);
	return st;
}

/* Profiles of --attn; they are for one model. */
static enum ds_status read_profiles(struct bench *b, struct ds_err *err)
{
	uint32_t n_layer = ds_model_layers(b->model);
	uint64_t id = ds_model_id(b->model);

	for (size_t i = 0; i < b->n_way; i++) {
		struct bench_way *way = &b->way[i];

		if (way->name[0] == '@')
			DS_TRY(ds_attn_profile_read(&way->profile, way->name + 1, id, n_layer,
						    err));
	}
	return DS_OK;
}

/* Every document before the first is read: what is too short is told at once. */
static enum ds_status make_documents(struct bench *b, struct bench_text *text,
				     struct ds_reader *reader, struct ds_err *err)
{
	DS_TRY(ds_read_all(text->path, BENCH_TEXT_BYTES_MAX, &text->bytes, err));
	DS_TRY(ds_encode(reader->enc, text->bytes.data, text->bytes.len, 0, &text->tokens, err));
	for (size_t i = 0; i < b->n_length; i++)
		DS_TRY(ds_bench_doc_make(&text->doc[i], reader, &text->tokens, text->bytes.data,
					 b->length[i], err));
	return DS_OK;
}

static enum ds_status prepare(struct bench *b, struct ds_err *err)
{
	double start = cli_seconds();
	struct ds_reader reader;
	uint64_t input_bytes = 0;
	enum ds_status st = DS_OK;

	DS_TRY(ds_model_open(&b->model, b->cli.model, err));
	DS_TRY(ds_pool_new(&b->pool, b->cli.jobs, err));
	cli_stat_real(&b->cli, "load_ms", 1e3 * (cli_seconds() - start));
	cli_stat_u64(&b->cli, "threads", ds_pool_threads(b->pool));
	cli_stat_text(&b->cli, "cpu", ds_model_kernels(b->model));
	if (ds_model_is_lm(b->model))
		DS_TRY(read_profiles(b, err));
	DS_TRY(open_reader(b, &reader, b->length[b->n_length - 1], b->way, err));
	cli_note(&b->cli, "model %s, template %s, kernels %s, %u threads",
		 ds_model_describe(b->model), ds_chat_name(&reader.chat),
		 ds_model_kernels(b->model), ds_pool_threads(b->pool));
	for (size_t i = 0; i < b->n_text && st == DS_OK; i++) {
		st = make_documents(b, &b->text[i], &reader, err);
		if (st != DS_OK)
			ds_err_set_path(err, b->text[i].path);
		input_bytes += b->text[i].bytes.len;
	}
	ds_reader_close(&reader);
	cli_stat_u64(&b->cli, "input_bytes", input_bytes);
	return st;
}

static enum ds_status add_row(struct bench *b, const struct bench_row *row, struct ds_err *err)
{
	DS_TRY(ds_grow(&b->row, &b->cap_row, b->n_row + 1, sizeof *b->row, err));
	b->row[b->n_row++] = *row;
	return bench_put_row(b, row, err);
}

enum ds_status bench_measure(struct bench *b, struct bench_text *text, size_t l,
			     const struct bench_way *way, struct ds_bench_figures *figures,
			     struct ds_err *err)
{
	struct ds_reader reader;
	struct ds_bench bench = {.reader = &reader,
				 .pool = b->pool,
				 .tasks = b->tasks,
				 .runs = b->runs,
				 .progress = on_progress,
				 .user = b};
	enum ds_status st;

	DS_TRY(open_reader(b, &reader, b->length[l], way, err));
	st = ds_bench_run(&bench, &text->doc[l], &text->reference, way->is_reference, figures, err);
	ds_reader_close(&reader);
	return st;
}

static enum ds_status measure_length(struct bench *b, size_t l, struct ds_err *err)
{
	struct bench_row all[BENCH_WAYS_MAX] = {{0}};

	for (size_t t = 0; t < b->n_text; t++)
		for (size_t w = 0; w < b->n_way; w++) {
			struct bench_row row = {.text = b->text[t].path,
						.attn = b->way[w].name,
						.length = b->length[l]};

			DS_TRY(bench_measure(b, &b->text[t], l, &b->way[w], &row.figures, err));
			DS_TRY(add_row(b, &row, err));
			all[w].attn = row.attn;
			all[w].length = row.length;
			ds_bench_add(&all[w].figures, &row.figures);
		}
	for (size_t w = 0; w < b->n_way && b->n_text > 1; w++)
		DS_TRY(add_row(b, &all[w], err));
	return DS_OK;
}

static enum ds_status run(struct bench *b, struct ds_err *err)
{
	DS_TRY(prepare(b, err));
	DS_TRY(ds_out_open(&b->out, b->cli.output, err));
	if (b->tune) {
		DS_TRY(bench_tune(b, err));
		return ds_out_commit(&b->out, err);
	}
	DS_TRY(bench_put_head(b, err));
	for (size_t i = 0; i < b->n_length; i++)
		DS_TRY(measure_length(b, i, err));
	DS_TRY(bench_put_end(b, err));
	DS_TRY(ds_out_commit(&b->out, err));
	return b->plot ? bench_plot(b, err) : DS_OK;
}

static void close_all(struct bench *b)
{
	struct ds_bench_figures sum = {0};

	for (size_t i = 0; i < b->n_row; i++)
		if (b->row[i].text)
			ds_bench_add(&sum, &b->row[i].figures);
	cli_stat_u64(&b->cli, "documents", sum.documents);
	cli_stat_u64(&b->cli, "prompt_tokens", sum.tokens);
	cli_stat_real(&b->cli, "prompt_seconds", sum.read_seconds);
	cli_stat_u64(&b->cli, "generated_tokens", sum.decoded_tokens);
	cli_stat_real(&b->cli, "generate_seconds", sum.decode_seconds);
	ds_out_abort(&b->out);
	for (size_t i = 0; i < b->n_text; i++) {
		ds_buf_fini(&b->text[i].bytes);
		ds_tokens_fini(&b->text[i].tokens);
		ds_bench_reference_fini(&b->text[i].reference);
		for (size_t k = 0; k < b->n_length; k++)
			ds_bench_doc_fini(&b->text[i].doc[k]);
	}
	for (size_t i = 0; i < b->n_way; i++)
		ds_attn_profile_fini(&b->way[i].profile);
	free(b->row);
	ds_pool_free(b->pool);
	ds_model_close(b->model);
}

static const char *kernels(char *text, size_t size)
{
	const struct ds_kern *kern;

	if (ds_kern_choose(&kern, NULL) != DS_OK)
		return NULL;
	snprintf(text, size, "kernels: %s", kern->name);
	return text;
}

int main(int argc, char **argv)
{
	static struct bench b = {.out.fd = -1,
				 .out.slot = -1,
				 .length = {2048, 4096, 8192},
				 .n_length = 3,
				 .within = 1,
				 .groups = 4,
				 .tasks = (1u << DS_BENCH_TASKS) - 1};
	struct ds_err err;
	char note[40];

	b.cli = (struct cli){
		.name = "ds-bench",
		.synopsis = "--matrix -m MODEL --text FILE [OPTION]...",
		.summary = "measure how well a model reads long documents, and what it costs",
		.examples = examples,
		.options = options,
		.version_note = kernels(note, sizeof note),
		.on_option = on_option,
		.user = &b,
	};
	set_ways(&b, "dense");
	cli_parse(&b.cli, argc, argv);
	check_options(&b);
	if (run(&b, &err) != DS_OK)
		cli_error(&b.cli, &err);
	close_all(&b);
	return cli_finish(&b.cli);
}
