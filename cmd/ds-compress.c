/*
 * ds-compress.c - documents into a searchable archive, and back
 */
#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "archive/archive.h"
#include "archive/embeddings.h"
#include "archive/extract.h"
#include "archive/import.h"
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
	{OPT_SALVAGE, "salvage", NULL, "with -x, -d, -l: what is left of a damaged archive"},
	{'C', "directory", "DIR", "extract below DIR (default: .)"},
	{'f', "force", NULL, "extract over files, add in place of documents of the same name"},
	{OPT_LEVEL, "level", "N", "-1 to -22: faster to smaller (default: 19)"},
	{OPT_STRONG, "strong", NULL, "smaller by a fifth or more; slow, and slow to read"},
	{OPT_CHUNK, "chunk", "SIZE", "bytes unpacked to read one passage (default: 256K)"},
	{OPT_LM, "lm", "MODEL",
	 "a language model, GGUF, codes the text (reading: default: $DS_LM)"},
	{OPT_CONTEXT, "context", "N", "tokens that it looks back (default: 1024)"},
	{OPT_NO_INDEX, "no-index", NULL, "text alone: no passages, not searchable"},
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

struct compress {
	struct cli cli;
	int mode; /* 'd', 'x', 'l', 't'; 0: make an archive */
	bool add, remove, force, no_index, embeddings, salvage, join, plain;
	struct span range;
	unsigned bits; /* of embeddings alone; 0: the default */
	const char *folder, *name;
	uint32_t passage_tokens, overlap_tokens;
	struct ds_archive_options archive;
	/* for --stats: of all archives that were made or read */
	struct ds_archive_totals totals;
	uint64_t input_bytes;
	unsigned threads;
};

/* Bytes read at a time for --range. */
#define RANGE_PART ((uint64_t)16 << 20)

static bool has_range(const struct compress *z)
{
	return z->range.start || z->range.end != UINT64_MAX;
}

/* START-END, or START- for all that follows. */
static void get_range(struct cli *cli, const char *arg, struct span *range)
{
	const char *dash = strchr(arg, '-');
	char start[24];

	if (!dash || dash == arg || (size_t)(dash - arg) >= sizeof start)
		cli_usage(cli, "--range: '%s' is not START-END", arg);
	memcpy(start, arg, (size_t)(dash - arg));
	start[dash - arg] = '\0';
	range->start = cli_num(cli, start, "--range", 0, INT64_MAX);
	if (dash[1])
		range->end = cli_num(cli, dash + 1, "--range", range->start, INT64_MAX);
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

static void skipped(void *user, const char *path, const char *why)
{
	const struct compress *z = user;

	cli_warn(&z->cli, "%s: %s: left out", path, why);
}

static void progress(void *user, uint64_t bytes)
{
	struct compress *z = user;

	cli_progress(&z->cli, "compressing", bytes, 0);
}

static enum ds_status import(struct compress *z, struct ds_import *im, const char *path,
			     struct ds_err *err)
{
	struct ds_in in;
	enum ds_status st;

	if (strcmp(path, "-") != 0)
		return ds_import_path(im, path, err);
	DS_TRY(ds_in_open(&in, "-", err));
	st = ds_import_stream(im, &in, z->name ? z->name : "", err);
	ds_in_close(&in);
	return st;
}

static double ratio(const struct ds_archive_totals *t)
{
	return t->text_bytes ? (double)t->file_bytes / (double)t->text_bytes : 0;
}

static void put_stats(struct compress *z)
{
	const struct ds_archive_totals *t = &z->totals;
	struct cli *cli = &z->cli;

	cli_stat_u64(cli, "input_bytes", z->input_bytes);
	cli_stat_u64(cli, "text_bytes", t->text_bytes);
	if (!z->mode)
		cli_stat_u64(cli, "output_bytes", t->file_bytes);
	cli_stat_u64(cli, "index_bytes", t->vector_bytes + t->word_bytes);
	cli_stat_u64(cli, "duplicate_bytes", t->text_bytes - t->stored_text);
	cli_stat_u64(cli, "dictionary_text_bytes", t->dictionary_text);
	cli_stat_u64(cli, "dictionary_bytes", t->dictionary_bytes);
	for (unsigned i = 0; i < DS_ARCHIVE_CODERS; i++) {
		char key[64];

		if (!ds_archive_coder(i))
			continue;
		snprintf(key, sizeof key, "%s_bytes", ds_archive_coder(i));
		cli_stat_u64(cli, key, t->coder_bytes[i]);
	}
	cli_stat_real(cli, "ratio", ratio(t));
	cli_stat_u64(cli, "documents", t->documents);
	cli_stat_u64(cli, "chunks", t->passages);
	cli_stat_u64(cli, "threads", z->threads);
}

static void tell_totals(struct compress *z, const struct ds_archive_totals *t, uint64_t input)
{
	struct ds_archive_totals *sum = &z->totals;

	z->input_bytes += input;
	sum->documents += t->documents;
	sum->text_bytes += t->text_bytes;
	sum->passages += t->passages;
	sum->file_bytes += t->file_bytes;
	sum->vector_bytes += t->vector_bytes;
	sum->word_bytes += t->word_bytes;
	sum->stored_text += t->stored_text;
	sum->dictionary_text += t->dictionary_text;
	sum->dictionary_bytes += t->dictionary_bytes;
	for (unsigned i = 0; i < DS_ARCHIVE_CODERS; i++)
		sum->coder_bytes[i] += t->coder_bytes[i];
	cli_note(&z->cli,
		 "%llu documents, %llu bytes -> %llu (%.2f %%): text %llu, embeddings %llu, words "
		 "%llu",
		 (unsigned long long)t->documents, (unsigned long long)t->text_bytes,
		 (unsigned long long)t->file_bytes, 100 * ratio(t),
		 (unsigned long long)(t->block_bytes + t->dictionary_bytes),
		 (unsigned long long)t->vector_bytes, (unsigned long long)t->word_bytes);
}

static enum ds_status fill(struct compress *z, struct ds_archive_writer *w, uint64_t *input_ret,
			   struct ds_err *err)
{
	const struct ds_import_options o = {
		.writer = w,
		.index = !z->no_index,
		.model = z->cli.model,
		.pool = z->archive.pool,
		.passage_tokens = z->passage_tokens,
		.overlap_tokens = z->overlap_tokens,
		.skipped = skipped,
		.progress = progress,
		.user = z,
	};
	enum ds_status st = DS_OK;
	struct ds_import *im;

	DS_TRY(ds_import_new(&im, &o, err));
	if (z->cli.n_operand == 0)
		st = import(z, im, "-", err);
	for (int i = 0; st == DS_OK && i < z->cli.n_operand; i++)
		st = import(z, im, z->cli.operand[i], err);
	*input_ret = ds_import_bytes(im);
	ds_import_free(im);
	return st;
}

/* All of the archives given into one. */
static enum ds_status join(struct compress *z, struct ds_archive_writer *w, uint64_t *input_ret,
			   struct ds_err *err)
{
	enum ds_status st = DS_OK;

	for (int i = 0; st == DS_OK && i < z->cli.n_operand; i++) {
		struct ds_archive_totals t;
		struct ds_archive *a;

		DS_TRY(ds_archive_open(&a, z->cli.operand[i], err));
		ds_archive_totals(a, &t);
		*input_ret += t.file_bytes;
		st = ds_archive_join(w, a, err);
		ds_archive_close(a);
	}
	return st;
}

static enum ds_status make_archive(struct compress *z, struct ds_err *err)
{
	struct ds_archive_writer *w;
	struct ds_archive_totals totals;
	uint64_t input = 0;
	enum ds_status st;

	z->archive.words = !z->no_index;
	z->archive.replace = z->force;
	DS_TRY(ds_pool_new(&z->archive.pool, z->cli.jobs, err));
	st = (z->add ? ds_archive_append : ds_archive_create)(&w, z->cli.output, &z->archive, err);
	if (st == DS_OK) {
		st = (z->join ? join : fill)(z, w, &input, err);
		if (st != DS_OK)
			ds_archive_abort(w);
		else
			st = ds_archive_commit(w, &totals, err);
	}
	if (st == DS_OK)
		tell_totals(z, &totals, input);
	z->threads = ds_pool_threads(z->archive.pool);
	ds_pool_free(z->archive.pool);
	return st;
}

/* Whether a member is one of the names: a path, a folder above it, or a pattern. */
static bool is_wanted(const char *member, char **names, int n, bool *used)
{
	bool wanted = n == 0;

	for (int i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		bool hit;

		while (len > 1 && names[i][len - 1] == '/')
			len--;
		hit = (strncmp(member, names[i], len) == 0 &&
		       (member[len] == '\0' || member[len] == '/')) ||
		      fnmatch(names[i], member, FNM_LEADING_DIR) == 0;
		used[i] |= hit;
		wanted |= hit;
	}
	return wanted;
}

/* Set chosen[] for the members that the names are of; every name must be of one. */
static enum ds_status choose(const struct ds_archive *a, const char *path, char **names, int n,
			     uint8_t **chosen_ret, struct ds_err *err)
{
	uint64_t members = ds_archive_members(a);
	bool *used = calloc((size_t)n + 1, sizeof *used);
	uint8_t *chosen = calloc(members + 1, 1);
	enum ds_status st = used && chosen ? DS_OK : ds_fail_nomem(err, members);
	struct ds_archive_member m;

	for (uint64_t i = 0; st == DS_OK && i < members; i++) {
		st = ds_archive_member(a, i, &m, err);
		if (st == DS_OK)
			chosen[i] = is_wanted(m.document.name, names, n, used);
	}
	for (int i = 0; st == DS_OK && i < n; i++)
		if (!used[i])
			st = ds_fail_at(err, DS_EINVAL, path, DS_NO_OFFSET,
					"no document '%s' in it", names[i]);
	free(used);
	if (st != DS_OK)
		free(chosen);
	else
		*chosen_ret = chosen;
	return st;
}

/* The language model of what is read. */
static const char *lm_of(const struct compress *z)
{
	const char *path = z->archive.lm ? z->archive.lm : getenv("DS_LM");

	return path && *path ? path : NULL;
}

static enum ds_status remove_members(struct compress *z, struct ds_err *err)
{
	struct ds_archive_totals totals;
	struct ds_archive *a;
	uint8_t *removed = NULL;
	enum ds_status st;

	DS_TRY(ds_archive_open(&a, z->cli.output, err));
	ds_archive_set_lm(a, lm_of(z), z->cli.jobs);
	st = choose(a, z->cli.output, z->cli.operand, z->cli.n_operand, &removed, err);
	if (st == DS_OK)
		st = ds_pool_new(&z->archive.pool, z->cli.jobs, err);
	if (st == DS_OK)
		st = ds_archive_remove(a, z->cli.output, removed, &z->archive, &totals, err);
	if (st == DS_OK) {
		tell_totals(z, &totals, totals.file_bytes);
		z->threads = ds_pool_threads(z->archive.pool);
	}
	ds_pool_free(z->archive.pool);
	free(removed);
	ds_archive_close(a);
	return st;
}

static enum ds_status to_stdout(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	return ds_out_write(user, bytes, n, err);
}

static void print_text(const struct compress *z, const struct ds_archive_member *m,
		       uint64_t unpacked)
{
	const struct ds_document *d = &m->document;
	const char *name = d->name_len ? d->name : "(stdin)";
	time_t seconds = (time_t)(d->mtime_ns / 1000000000);
	char when[32] = "-";
	struct tm tm;

	if (d->mtime_ns && gmtime_r(&seconds, &tm))
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (z->cli.verbose)
		printf("%04o %s %016llx ", d->mode, when, (unsigned long long)m->hash);
	printf("%12llu %8llu %8llu %s\n", (unsigned long long)d->size,
	       (unsigned long long)m->chunks, (unsigned long long)unpacked, name);
}

static void print_json(const struct ds_archive_member *m, uint64_t unpacked)
{
	const struct ds_document *d = &m->document;
	json_t *name = json_stringn(d->name, d->name_len);
	char hash[20];
	json_t *o;
	char *line;

	snprintf(hash, sizeof hash, "%016llx", (unsigned long long)m->hash);
	o = json_pack("{so,sI,sI,sI,sI,si,ss}", "name", name ? name : json_null(), "size",
		      (json_int_t)d->size, "chunks", (json_int_t)m->chunks, "unpacked",
		      (json_int_t)unpacked, "mtime_ns", (json_int_t)d->mtime_ns, "mode",
		      (int)d->mode, "hash", hash);
	line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (line)
		puts(line);
	free(line);
	json_decref(o);
}

static void tell_damage(void *user, const struct ds_err *damage)
{
	struct compress *z = user;

	cli_error(&z->cli, damage);
}

/* The bytes of --range of a member. */
static enum ds_status copy_range(const struct compress *z, struct ds_archive *a, uint64_t index,
				 void *out, struct ds_err *err)
{
	uint64_t at = z->range.start, end = z->range.end;
	struct ds_archive_member m;
	struct ds_buf text = {0};
	enum ds_status st;

	DS_TRY(ds_archive_member(a, index, &m, err));
	end = end == UINT64_MAX ? m.document.size : end;
	do {
		uint64_t n = end - at < RANGE_PART ? end - at : RANGE_PART;

		text.len = 0;
		st = ds_archive_read(a, index, at, at + n, &text, err);
		if (st == DS_OK)
			st = ds_out_write(out, text.data, text.len, err);
		at += n;
	} while (st == DS_OK && at < end);
	ds_buf_fini(&text);
	return st;
}

/* Do with one member what the mode says. */
static enum ds_status use_member(struct compress *z, struct ds_archive *a, uint64_t index,
				 void *target, struct ds_err *err)
{
	const struct ds_salvage salvage = {tell_damage, z};
	struct ds_archive_member m;
	struct ds_rest rest = {.write = to_stdout, .user = target};
	uint64_t unpacked;

	DS_TRY(ds_archive_member(a, index, &m, err));
	if (z->mode == 'd' && z->salvage)
		return ds_archive_copy_rest(a, index, &salvage, &rest, err);
	if (z->mode == 'd' && has_range(z))
		return copy_range(z, a, index, target, err);
	if (z->mode == 'd')
		return ds_archive_copy(a, index, to_stdout, target, err);
	if (z->mode == 'x' && z->salvage)
		return ds_extract_rest(target, a, index, &salvage, err);
	if (z->mode == 'x') {
		cli_note(&z->cli, "%s", m.document.name);
		return ds_extract_member(target, a, index, err);
	}
	DS_TRY(ds_archive_unpacked(a, index, &unpacked, err));
	if (z->cli.format == CLI_JSONL)
		print_json(&m, unpacked);
	else
		print_text(z, &m, unpacked);
	return DS_OK;
}

/* The members that the operands after the archive name. */
static enum ds_status use_members(struct compress *z, struct ds_archive *a, void *target,
				  struct ds_err *err)
{
	char **names = z->cli.operand + 1;
	enum ds_status st = DS_OK;
	uint8_t *chosen;

	DS_TRY(choose(a, z->cli.operand[0], names, z->cli.n_operand - 1, &chosen, err));
	ds_archive_plan(a, chosen);
	for (uint64_t i = 0; st == DS_OK && i < ds_archive_members(a); i++) {
		st = chosen[i] ? use_member(z, a, i, target, err) : DS_OK;
		if (st == DS_OK || z->mode != 'x')
			continue;
		cli_error(&z->cli, err); /* the others may be sound */
		st = DS_OK;
	}
	ds_archive_plan(a, NULL);
	free(chosen);
	return st;
}

static enum ds_status decompress(struct compress *z, struct ds_archive *a, struct ds_err *err)
{
	struct ds_out out;
	enum ds_status st;

	if (z->cli.n_operand == 1 && ds_archive_members(a) != 1)
		return ds_fail_at(err, DS_EINVAL, z->cli.operand[0], DS_NO_OFFSET,
				  "holds %llu documents: name those to write, or extract with -x",
				  (unsigned long long)ds_archive_members(a));
	DS_TRY(ds_out_open(&out, z->cli.output, err));
	st = use_members(z, a, &out, err);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

static enum ds_status extract(struct compress *z, struct ds_archive *a, struct ds_err *err)
{
	struct ds_extract x;
	enum ds_status st;

	DS_TRY(ds_extract_open(&x, z->folder, z->force, err));
	st = use_members(z, a, &x, err);
	ds_extract_close(&x);
	return st;
}

static enum ds_status read_archive(struct compress *z, const char *path, struct ds_err *err)
{
	const struct ds_salvage salvage = {tell_damage, z};
	struct ds_archive_totals totals;
	struct ds_archive *a;
	enum ds_status st;

	if (z->salvage)
		DS_TRY(ds_archive_salvage(&a, path, &salvage, err));
	else
		DS_TRY(ds_archive_open(&a, path, err));
	ds_archive_set_lm(a, lm_of(z), z->cli.jobs);
	ds_archive_totals(a, &totals);
	switch (z->mode) {
	case 'd':
		st = decompress(z, a, err);
		break;
	case 'x':
		st = extract(z, a, err);
		break;
	case 'l':
		st = use_members(z, a, NULL, err);
		break;
	default:
		st = ds_archive_test(a, err);
	}
	ds_archive_close(a);
	if (st == DS_OK)
		tell_totals(z, &totals, totals.file_bytes);
	return st;
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

static void check_usage(struct compress *z)
{
	struct cli *cli = &z->cli;

	if (has_range(z) && (z->mode != 'd' || z->salvage))
		cli_usage(cli, "--range goes with -d");
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
		if (cli->n_operand == 0)
			cli_usage(cli, "-%c needs the archive's name, or - for standard input",
				  z->mode);
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
		return;
	}
	if (z->salvage)
		cli_usage(cli, "--salvage goes with -x, -d or -l");
	z->archive.lm_old = lm_of(z);
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
	if (!z.mode && (z.remove ? remove_members : make_archive)(&z, &err) != DS_OK)
		cli_error(&z.cli, &err);
	for (int i = 0; z.mode && i < (z.mode == 't' ? z.cli.n_operand : 1); i++)
		if (read_archive(&z, z.cli.operand[i], &err) != DS_OK)
			cli_error(&z.cli, &err);
	put_stats(&z);
	return cli_finish(&z.cli);
}
