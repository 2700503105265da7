/* ds-cat.c - frames to JSON lines, text and .npy, and back; -i describes any file of the tools */
#include "cat.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_FORMAT = CLI_LONG, OPT_FROM, OPT_RECOVER };

static const struct cli_opt options[] = {
	{'i', "inspect", NULL, "describe the files instead of converting them"},
	{OPT_FORMAT, "format", "FORMAT", "output: auto, frames, jsonl, text or npy"},
	{OPT_FROM, "from", "FORMAT", "input: auto, frames, jsonl, npy or text"},
	{'t', "types", "LIST", "pass only frames of these types: chunk,embedding,..."},
	{OPT_RECOVER, "recover", NULL, "pass over damage in frames, report it, exit 1"},
	CLI_OPT_KEY,
	CLI_OPT_PASSPHRASE,
	CLI_OPT_OUTPUT,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_STATS,
	CLI_OPT_END,
};

static const char *const forms[] = {"auto", "frames", "jsonl", "text", "npy", NULL};
static const char *const kinds[] = {"auto", "frames", "jsonl", "npy", "text", NULL};

struct cat {
	enum cat_form form;
	int from; /* enum cat_kind + 1, or 0 for auto */
	bool inspect, recover, some_types;
	bool wanted[256];
	uint64_t input_bytes;
};

static void want_type(const struct cli *cli, struct cat *cat, const char *name, size_t n)
{
	bool found = false;

	for (unsigned type = 0; type < 256; type++) {
		const char *known = ds_frame_type_name((uint8_t)type);

		if (known && strlen(known) == n && memcmp(known, name, n) == 0)
			found = cat->wanted[type] = true;
	}
	if (!found)
		cli_usage(cli, "-t: there is no frame type '%.*s'", (int)n, name);
}

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct cat *cat = cli->user;

	switch (key) {
	case 'i':
		cat->inspect = true;
		break;
	case OPT_FORMAT:
		cat->form = (enum cat_form)cli_choice(cli, arg, "--format", forms);
		break;
	case OPT_FROM:
		cat->from = cli_choice(cli, arg, "--from", kinds);
		break;
	case 't':
		cat->some_types = true;
		while (*arg) {
			size_t n = strcspn(arg, ",");

			want_type(cli, cat, arg, n);
			arg += n + (arg[n] == ',');
		}
		break;
	case OPT_RECOVER:
		cat->recover = true;
		break;
	}
}

/* Where the output is decided by the first input: frames become lines, all else becomes frames. */
static enum cat_form choose_form(const struct cli *cli, const struct cat *cat, enum cat_kind kind)
{
	bool terminal = !cli->output && isatty(STDOUT_FILENO);

	if (cat->form == CAT_AUTO)
		return kind == CAT_IN_FRAMES || terminal ? CAT_JSONL : CAT_FRAMES;
	if (terminal && (cat->form == CAT_FRAMES || cat->form == CAT_NPY))
		cli_usage(cli, "%s are not for a terminal; name a file with -o",
			  cat->form == CAT_FRAMES ? "frames" : ".npy files");
	return cat->form;
}

/* Bytes of an input that was read; archives are mapped, not read. */
static uint64_t bytes_of(const struct ds_in *in)
{
	struct stat st;

	return in->offset == 0 && fstat(in->fd, &st) == 0 ? (uint64_t)st.st_size : in->offset;
}

/* One input; the sink is opened by the first. */
static enum ds_status convert_file(struct cli *cli, const char *path, struct cat_sink *sink,
				   struct ds_out *out, struct ds_err *err)
{
	struct cat *cat = cli->user;
	enum cat_kind kind;
	enum ds_status st;
	struct ds_in in;

	DS_TRY(ds_in_open(&in, path, err));
	in.tie = out;
	st = cat_probe(&in, &kind, err);
	if (cat->from)
		kind = (enum cat_kind)(cat->from - 1);
	if (st == DS_OK && sink->form == CAT_AUTO) {
		st = cat_sink_open(sink, choose_form(cli, cat, kind), out, err);
		sink->wanted = cat->some_types ? cat->wanted : NULL;
	}
	if (st == DS_OK)
		st = cat_source(cli, &in, kind, cat->recover, sink, err);
	cat->input_bytes += bytes_of(&in);
	ds_in_close(&in);
	return st;
}

static void convert(struct cli *cli, char **paths, int n)
{
	struct cat_sink sink = {.npy_fd = -1};
	enum ds_status st = DS_OK;
	struct ds_err err;
	struct ds_out out;
	bool whole = true, ended;

	if (ds_out_open(&out, cli->output, &err) != DS_OK) {
		cli_error(cli, &err);
		return;
	}
	/* after a bad input the others are still looked at, as long as the output is not cut */
	for (int i = 0; i < n && !sink.open; i++) {
		st = convert_file(cli, paths[i], &sink, &out, &err);
		if (st != DS_OK) {
			cli_error(cli, &err);
			whole = false;
		}
	}
	/* after an input that cannot be read: whole documents on standard output still get their
	 * end, so that what reads them knows that they are all */
	ended = whole || (!cli->output && sink.form != CAT_NPY && !sink.open);
	if (ended) {
		st = cat_sink_finish(&sink, &err);
		if (st != DS_OK)
			cli_error(cli, &err);
	}
	cat_sink_close(&sink);
	cli_stat_u64(cli, "input_bytes", ((struct cat *)cli->user)->input_bytes);
	cli_stat_u64(cli, "output_bytes", out.written);
	cli_stat_u64(cli, "documents", sink.documents);
	if (!ended || st != DS_OK)
		ds_out_abort(&out);
	else if (ds_out_commit(&out, &err) != DS_OK)
		cli_error(cli, &err);
}

int main(int argc, char **argv)
{
	struct cat cat = {.form = CAT_AUTO};
	struct cli cli = {
		.name = "ds-cat",
		.synopsis = "[OPTION]... [FILE]...",
		.summary = "frames to JSON lines, text and .npy, and back",
		.examples = "  ds-chunk report.txt | ds-cat | head -n 1\n"
			    "  ds-infer -t embed report.txt | ds-cat --format npy -o report.npy\n"
			    "  ds-cat -i model.gguf\n",
		.options = options,
		.on_option = on_option,
		.user = &cat,
	};
	char *standard_input[] = {"-"};
	char **paths = standard_input;
	int n = 1;

	cli_parse(&cli, argc, argv);
	if (cli.n_operand) {
		paths = cli.operand;
		n = cli.n_operand;
	}
	cli_refuse_terminal(&cli);
	cli_refuse_overwrite(&cli);
	if (cat.inspect && (cat.form != CAT_AUTO || cat.some_types || cli.output))
		cli_usage(&cli, "-i goes with none of --format, -t and -o");
	cli_take_secret(&cli, false);
	if (!cat.inspect)
		convert(&cli, paths, n);
	for (int i = 0; cat.inspect && i < n; i++)
		cat_inspect(&cli, paths[i], cat.recover);
	return cli_finish(&cli);
}
