/*
 * ds-compress.c - documents into a searchable archive, and back
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "archive/embeddings.h"
#include "cli.h"
#include "compress.h"

enum {
	OPT_ADD = CLI_LONG,
	OPT_BITS,
	OPT_CHUNK,
	OPT_EMBEDDINGS,
	OPT_INDEX_BITS,
	OPT_CONTEXT,
	OPT_JOIN,
	OPT_LEVEL,
	OPT_LM,
	OPT_NAME,
	OPT_NO_INDEX,
	OPT_OVERLAP,
	OPT_PLAIN,
	OPT_RANGE,
	OPT_REMOVE,
	OPT_SALVAGE,
	OPT_STRONG
};

static const struct cli_opt options[] = {
	CLI_OPT_OUTPUT,
	{'d', "decompress", NULL, "write a document, or those named, to standard output"},
	{'x', "extract", NULL, "write documents to files, all or those named"},
	{'l', "list", NULL, "list the documents"},
	{'t', "test", NULL, "check every byte"},
	{OPT_ADD, "add", NULL, "keep what the archive of -o holds, and add to it"},
	{OPT_JOIN, "join", NULL, "one archive of several, as they are"},
	{OPT_REMOVE, "remove", NULL, "take the documents named out of the archive of -o"},
	{OPT_RANGE, "range", "A-B", "with -d: bytes A to B of a document, B not included"},
	{OPT_PLAIN, "plain", NULL, "one document in a form that zstd -d reads"},
	{OPT_SALVAGE, "salvage", NULL, "with -x, -d, -l, -o: what is left of a damaged archive"},
	{'C', "directory", "DIR", "extract below DIR (default: .)"},
	{'f', "force", NULL, "extract over files, add in place of documents of the same name"},
	{OPT_LEVEL, "level", "N", "-1 to -22: faster to smaller (default: 19)"},
	{OPT_STRONG, "strong", NULL, "smaller by a fifth or more; slow, and slow to read"},
	{OPT_CHUNK, "chunk", "SIZE", "bytes unpacked to read one passage (default: 256K)"},
	{OPT_LM, "lm", "MODEL",
	 "a language model, GGUF, codes the text (reading: default: $DS_LM)"},
	{OPT_CONTEXT, "context", "N", "tokens that it looks back (default: 1024)"},
	{OPT_NO_INDEX, "no-index", NULL, "text alone: no passages, not searchable"},
	CLI_OPT_KEY,
	CLI_OPT_PASSPHRASE,
	CLI_OPT_MODEL,
	{'s', "size", "N", "tokens of a passage of plain text (default: 512)"},
	{OPT_OVERLAP, "overlap", "N", "tokens passages share (default: an eighth of -s)"},
	{OPT_INDEX_BITS, "index-bits", "N",
	 "bits of a dimension of the embeddings, 1 to 4 (default: 1; 4 with --lm)"},
	{OPT_EMBEDDINGS, "embeddings", NULL, "only the embeddings of frames; the way back with -d"},
	{OPT_BITS, "bits", "N", "of a component with --embeddings, 2 to 8 (default: 8)"},
	{OPT_NAME, "name", "NAME", "name of the document on standard input"},
	CLI_OPT_FORMAT,
	CLI_OPT_JOBS,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

static const char examples[] =
	"Examples:\n"
	"  ds-compress -o reports.dsz reports/\n"
	"  ds-chunk report.txt | ds-infer -t embed | ds-compress -o report.dsz\n"
	"  ds-compress -d report.dsz | cmp - report.txt\n"
	"  ds-infer -t embed report.txt | ds-compress --embeddings -o report.dsv\n"
	"  ds-compress -x reports.dsz -C restored 'reports/2024*'\n";

/* START-END, START- for all that follows, or -LAST. */
static void get_range(struct cli *cli, const char *arg, struct span *range)
{
	const char *dash = strchr(arg, '-');
	char start[24];

	if (dash == arg && dash[1]) {
		range->last = cli_size(cli, arg + 1, "--range", 1, INT64_MAX);
		return;
	}
	if (!dash || dash == arg || (size_t)(dash - arg) >= sizeof start)
		cli_usage(cli, "--range: '%s' is not START-END", arg);
	memcpy(start, arg, (size_t)(dash - arg));
	start[dash - arg] = '\0';
	range->start = cli_size(cli, start, "--range", 0, INT64_MAX);
	if (dash[1])
		range->end = cli_size(cli, dash + 1, "--range", range->start, INT64_MAX);
}

/* What an option without an argument sets; NULL for others. */
static bool *flag_of(struct compress *z, int key)
{
	switch (key) {
	case 'f':
		return &z->force;
	case OPT_ADD:
		return &z->add;
	case OPT_EMBEDDINGS:
		return &z->embeddings;
	case OPT_JOIN:
		return &z->join;
	case OPT_NO_INDEX:
		return &z->no_index;
	case OPT_PLAIN:
		return &z->plain;
	case OPT_REMOVE:
		return &z->remove;
	case OPT_SALVAGE:
		return &z->salvage;
	}
	return NULL;
}

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct compress *z = cli->user;

	if (flag_of(z, key))
		*flag_of(z, key) = true;
	switch (key) {
	case 'd':
	case 'x':
	case 'l':
	case 't':
		if (z->mode && z->mode != key)
			cli_usage(cli, "-%c and -%c exclude each other", z->mode, key);
		z->mode = key;
		break;
	case 'C':
		z->folder = arg;
		break;
	case 's':
		z->passage_tokens = (uint32_t)cli_num(cli, arg, "-s", 1, 1 << 20);
		break;
	case OPT_BITS:
		z->bits = (unsigned)cli_num(cli, arg, "--bits", DS_EMBEDDINGS_BITS_MIN,
					    DS_EMBEDDINGS_BITS_MAX);
		break;
	case OPT_INDEX_BITS:
		z->archive.bits = (unsigned)cli_num(cli, arg, "--index-bits", 1, 4);
		break;
	case OPT_CHUNK:
		z->archive.block_bytes = (uint32_t)cli_size(
			cli, arg, "--chunk", DS_ARCHIVE_BLOCK_MIN, DS_ARCHIVE_BLOCK_MAX);
		break;
	case OPT_CONTEXT:
		z->archive.lm_context = (uint32_t)cli_num(cli, arg, "--context",
							  DS_ARCHIVE_LM_CONTEXT_MIN, 1 << 20);
		if (z->archive.lm_context % 64)
			cli_usage(cli, "--context must be a multiple of 64");
		break;
	case OPT_LM:
		z->archive.lm = arg;
		break;
	case OPT_LEVEL:
		z->archive.level = (int)cli_num(cli, arg, "--level", 1, 22);
		break;
	case OPT_NAME:
		z->name = arg;
		break;
	case OPT_RANGE:
		get_range(cli, arg, &z->range);
		break;
	case OPT_STRONG:
		z->archive.strong = 1;
		break;
	case OPT_OVERLAP:
		z->overlap_tokens = (uint32_t)cli_num(cli, arg, "--overlap", 0, 1 << 20);
		break;
	}
}

/* -1 .. -22, which getopt cannot tell from -1 -2, become --level. */
static void rewrite_levels(char **argv)
{
	for (int i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++) {
		const char *digits = argv[i] + 1;
		size_t n = strspn(digits, "0123456789");
		static char text[16][16];

		if (argv[i][0] != '-' || n == 0 || n > 2 || digits[n] || i >= 16)
			continue;
		snprintf(text[i], sizeof text[i], "--level=%s", digits);
		argv[i] = text[i];
	}
}

/* Of embeddings alone. */
static void check_embeddings_usage(struct compress *z)
{
	struct cli *cli = &z->cli;

	if (z->add || z->remove || z->name || z->no_index || z->archive.bits || z->archive.lm ||
	    z->archive.strong)
		cli_usage(cli, "--embeddings makes no archive: its options do not fit");
	if (z->mode == 'x' || z->mode == 'l')
		cli_usage(cli, "--embeddings goes with -d and -t, not with -%c", z->mode);
	if (z->mode && z->bits)
		cli_usage(cli, "--bits goes with packing, not with -%c", z->mode);
	if (cli->n_operand > 1)
		cli_usage(cli, "--embeddings takes one file, or standard input");
	if (!z->mode && !cli->output && isatty(STDOUT_FILENO))
		cli_usage(cli, "packed embeddings are not for a terminal; name a file with -o");
	cli_refuse_terminal(cli);
}

static void check_plain_usage(struct compress *z)
{
	struct cli *cli = &z->cli;

	if (z->add || z->remove || z->join || z->salvage || z->archive.strong || z->archive.lm ||
	    z->no_index || z->name)
		cli_usage(cli, "--plain goes with --level, --chunk, -d and -t");
	if (!z->archive.block_bytes)
		z->archive.block_bytes = DS_ARCHIVE_BLOCK_DEFAULT;
	if (!z->mode && !cli->output && isatty(STDOUT_FILENO))
		cli_usage(cli, "packed bytes are not for a terminal; name a file with -o");
	cli_refuse_terminal(cli);
	cli_refuse_overwrite(cli);
}

static void check_reading_usage(const struct compress *z)
{
	const struct cli *cli = &z->cli;

	if (cli->n_operand == 0)
		cli_usage(cli, "-%c needs the archive's name, or - for standard input", z->mode);
	if (z->add || z->remove || z->join || z->name || z->no_index)
		cli_usage(cli,
			  "-%c makes no archive: --add, --remove, --join, --name, "
			  "--no-index do "
			  "not fit",
			  z->mode);
	if (cli->output && z->mode != 'd')
		cli_usage(cli, "-o goes with -d, or with making an archive");
	if (z->archive.lm_context)
		cli_usage(cli, "-%c takes --context from the archive", z->mode);
	if (z->salvage && z->mode == 't')
		cli_usage(cli, "-t tests what --salvage passes over");
}

static void check_usage(struct compress *z)
{
	struct cli *cli = &z->cli;

	if (compress_has_range(z) && (z->mode != 'd' || z->salvage))
		cli_usage(cli, "--range goes with -d");
	if ((z->plain || z->embeddings) && (cli->key_path || cli->passphrase))
		cli_usage(cli, "--key and --passphrase are of archives");
	if (z->plain) {
		check_plain_usage(z);
		return;
	}
	if (z->embeddings) {
		check_embeddings_usage(z);
		return;
	}
	if (z->bits)
		cli_usage(cli, "--bits goes with --embeddings");
	if (z->no_index && z->archive.bits)
		cli_usage(cli, "--index-bits and --no-index exclude each other");
	if (z->mode) {
		check_reading_usage(z);
		return;
	}
	if (z->salvage && (!cli->output || cli->n_operand != 1 || z->add || z->remove || z->join ||
			   z->name || z->no_index))
		cli_usage(cli, "--salvage goes with -x, -d or -l, or with -o NEW and one archive");
	z->archive.lm_old = compress_lm(z);
	if (z->archive.lm_context && !z->archive.lm)
		cli_usage(cli, "--context goes with --lm");
	if (!z->archive.lm_context)
		z->archive.lm_context = DS_ARCHIVE_LM_CONTEXT_DEFAULT;
	if (!z->archive.block_bytes)
		z->archive.block_bytes =
			z->archive.lm ? DS_ARCHIVE_LM_BLOCK_DEFAULT : DS_ARCHIVE_BLOCK_DEFAULT;
	if (z->folder[0] != '.' || z->folder[1])
		cli_usage(cli, "-C goes with -x");
	if (z->force && !z->add && !z->join)
		cli_usage(cli, "-f goes with -x, --add or --join");
	if (z->add + z->remove + z->join > 1)
		cli_usage(cli, "--add, --remove and --join exclude each other");
	if ((z->remove || z->join) && cli->n_operand == 0)
		cli_usage(cli, "--%s needs the names of %s", z->join ? "join" : "remove",
			  z->join ? "archives" : "documents");
	if ((z->add || z->remove || z->force) && (!cli->output || strcmp(cli->output, "-") == 0))
		cli_usage(cli, "--%s needs the archive: -o FILE",
			  z->add      ? "add"
			  : z->remove ? "remove"
				      : "force");
	if (!cli->output && isatty(STDOUT_FILENO))
		cli_usage(cli, "an archive is not for a terminal; name a file with -o");
	if (z->overlap_tokens == UINT32_MAX)
		z->overlap_tokens = z->passage_tokens / 8;
	if (z->overlap_tokens >= z->passage_tokens)
		cli_usage(cli, "--overlap must be smaller than -s");
	if (!z->remove && !z->join)
		cli_refuse_terminal(cli);
}

static void take_secret(struct compress *z)
{
	struct cli *cli = &z->cli;
	bool makes = !z->mode && !z->add && !z->remove && !z->salvage;

	if (!z->embeddings && !z->plain)
		cli_take_secret(cli, makes);
	z->archive.secret = cli->secret;
	z->archive.sealed = makes && (cli->key_path || cli->passphrase);
}

int main(int argc, char **argv)
{
	struct compress z = {
		.folder = ".",
		.passage_tokens = 512,
		.overlap_tokens = UINT32_MAX,
		.threads = 1,
		.range = {0, UINT64_MAX},
		.archive = {.level = DS_ARCHIVE_LEVEL_DEFAULT},
	};
	struct ds_err err;

	z.cli = (struct cli){
		.name = "ds-compress",
		.synopsis = "[OPTION]... [FILE]...",
		.summary = "documents into a searchable archive, and back",
		.examples = examples,
		.options = options,
		.on_option = on_option,
		.user = &z,
	};
	rewrite_levels(argv);
	cli_parse(&z.cli, argc, argv);
	check_usage(&z);
	take_secret(&z);
	if (z.embeddings) {
		compress_embeddings(&z.cli, z.mode, z.bits ? z.bits : DS_EMBEDDINGS_BITS_MAX,
				    z.archive.level);
		return cli_finish(&z.cli);
	}
	if (z.plain || ((z.mode == 'd' || z.mode == 't') && z.cli.n_operand == 1 &&
			compress_is_plain(z.cli.operand[0]))) {
		const struct plain_options o = {
			.level = z.archive.level,
			.frame_bytes = z.archive.block_bytes,
			.range = z.range,
		};

		compress_plain(&z.cli, z.mode, &o);
		return cli_finish(&z.cli);
	}
	if (!z.mode && (z.salvage  ? compress_salvage
			: z.remove ? compress_remove
				   : compress_make)(&z, &err) != DS_OK)
		cli_error(&z.cli, &err);
	for (int i = 0; z.mode && i < (z.mode == 't' ? z.cli.n_operand : 1); i++)
		if (compress_read(&z, z.cli.operand[i], &err) != DS_OK)
			cli_error(&z.cli, &err);
	compress_put_stats(&z);
	return cli_finish(&z.cli);
}
