/*
 * ds-infer.c - run a model over what comes in: the options, and which task they start
 */
#include <stdio.h>

#include "infer.h"
#include "kern/kern.h"

enum { OPT_LINES = CLI_LONG, OPT_TYPE };

static const struct cli_opt options[] = {
	{'t', "task", "TASK", "what to do: embed"},
	CLI_OPT_MODEL,
	CLI_OPT_OUTPUT,
	CLI_OPT_FORMAT,
	{OPT_LINES, "lines", NULL, "plain input: a text is a line, not a file"},
	{OPT_TYPE, "type", "TYPE", "values of embeddings: f32, f16 or i8 (default: f32)"},
	CLI_OPT_JOBS,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

static const char examples[] =
	"Examples:\n"
	"  ds-chunk report.txt | ds-infer -t embed | ds-compress -o report.dsz\n"
	"  ds-infer -t embed --lines --format jsonl questions.txt\n";

static void on_option(struct cli *cli, int key, const char *arg)
{
	static const char *const tasks[] = {"embed", NULL};
	static const char *const types[] = {"f32", "f16", "i8", NULL};
	struct infer *cmd = cli->user;

	switch (key) {
	case 't':
		cli_choice(cli, arg, "-t", tasks);
		cmd->task = infer_embed;
		break;
	case OPT_LINES:
		cmd->lines = true;
		break;
	case OPT_TYPE:
		cmd->type = (enum ds_vector_type)cli_choice(cli, arg, "--type", types);
		break;
	}
}

static enum ds_status open_model(struct infer *cmd, struct ds_err *err)
{
	double start = cli_seconds();

	DS_TRY(ds_model_open(&cmd->model, cmd->cli.model, err));
	cli_stat_real(&cmd->cli, "load_ms", 1e3 * (cli_seconds() - start));
	DS_TRY(ds_pool_new(&cmd->pool, cmd->cli.jobs, err));
	cli_note(&cmd->cli, "model %s, kernels %s, %u threads", ds_model_describe(cmd->model),
		 ds_model_kernels(cmd->model), ds_pool_threads(cmd->pool));
	cli_stat_u64(&cmd->cli, "threads", ds_pool_threads(cmd->pool));
	cli_stat_text(&cmd->cli, "cpu", ds_model_kernels(cmd->model));
	return DS_OK;
}

enum ds_status infer_open_output(struct infer *cmd, struct ds_err *err)
{
	DS_TRY(ds_out_open(&cmd->out, cmd->cli.output, err));
	ds_frame_writer_init(&cmd->writer, &cmd->out);
	return DS_OK;
}

static void close_all(struct infer *cmd)
{
	cli_stat_u64(&cmd->cli, "input_bytes", cmd->input_bytes);
	ds_out_abort(&cmd->out);
	ds_frame_writer_fini(&cmd->writer);
	ds_pool_free(cmd->pool);
	ds_model_close(cmd->model);
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
	struct infer cmd = {.out.fd = -1, .out.slot = -1};
	char note[40];
	struct ds_err err;

	cmd.cli = (struct cli){
		.name = "ds-infer",
		.synopsis = "-t TASK [OPTION]... [FILE]...",
		.summary = "run a model over documents: embed chunks or texts",
		.examples = examples,
		.options = options,
		.version_note = kernels(note, sizeof note),
		.on_option = on_option,
		.user = &cmd,
	};
	cli_parse(&cmd.cli, argc, argv);
	if (!cmd.task)
		cli_usage(&cmd.cli, "no task: -t embed expected");
	cli_refuse_terminal(&cmd.cli);
	cli_refuse_overwrite(&cmd.cli);
	cmd.format = cli_format_for_output(&cmd.cli);
	if (open_model(&cmd, &err) != DS_OK || cmd.task(&cmd, &err) != DS_OK)
		cli_error(&cmd.cli, &err);
	close_all(&cmd);
	return cli_finish(&cmd.cli);
}
