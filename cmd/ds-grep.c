/* ds-grep.c - search documents and archives by meaning and by words */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "find/find.h"
#include "frame/frame.h"

enum { OPT_MIN_SCORE = CLI_LONG };

static const struct cli_opt options[] = {
	{'k', "top", "N", "print the N best passages (default: 10)"},
	{'e', "meaning", NULL, "rank by meaning only"},
	{'w', "words", NULL, "rank by words only (BM25)"},
	{OPT_MIN_SCORE, "min-score", "X", "only passages that score X or more"},
	{'s', "size", "N", "passages of plain text have at most N tokens (default: 128)"},
	{'0', "null", NULL, "print a NUL after file names instead of a colon"},
	CLI_OPT_KEY,
	CLI_OPT_PASSPHRASE,
	CLI_OPT_MODEL,
	CLI_OPT_OUTPUT,
	CLI_OPT_JOBS,
	CLI_OPT_FORMAT,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

struct grep {
	size_t k;
	uint32_t size;
	double min_score;
	bool meaning, words, null;
	uint64_t hits;
	bool several; /* archives: names alone do not tell which */
};

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct grep *g = cli->user;

	switch (key) {
	case 'k':
		g->k = cli_num(cli, arg, "-k", 1, 100000);
		break;
	case 'e':
		g->meaning = true;
		break;
	case 'w':
		g->words = true;
		break;
	case OPT_MIN_SCORE:
		g->min_score = cli_real(cli, arg, "--min-score", -1, 1);
		break;
	case 's':
		g->size = (uint32_t)cli_num(cli, arg, "-s", 8, 65536);
		break;
	case '0':
		g->null = true;
		break;
	}
}

static int is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Runs of white space become one space: a hit is one line. */
static size_t fold_space(uint8_t *p, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (!is_space(p[i]))
			p[len++] = p[i];
		else if (len && p[len - 1] != ' ')
			p[len++] = ' ';
	}
	return len;
}

static enum ds_status print_text(const struct grep *g, struct ds_out *out, struct ds_find_hit *h,
				 struct ds_err *err)
{
	char place[64];

	if (g->several && h->archive) {
		DS_TRY(ds_out_write(out, h->archive, strlen(h->archive), err));
		DS_TRY(ds_out_write(out, ":", 1, err));
	}
	DS_TRY(ds_out_write(out, h->name_len ? h->name : "(stdin)", h->name_len ? h->name_len : 7,
			    err));
	snprintf(place, sizeof place, "%c%llu:%.4f:", g->null ? '\0' : ':',
		 (unsigned long long)h->line, (double)h->score);
	DS_TRY(ds_out_write(out, place, g->null ? strlen(place + 1) + 1 : strlen(place), err));
	h->text.len = fold_space(h->text.data, h->text.len);
	DS_TRY(ds_out_write(out, h->text.data, h->text.len, err));
	return ds_out_write(out, "\n", 1, err);
}

static json_t *json_bytes(const void *bytes, size_t n)
{
	json_t *text = json_stringn(bytes, n);

	return text ? text : json_null(); /* not UTF-8 */
}

static enum ds_status print_json(struct ds_out *out, const struct ds_find_hit *h,
				 struct ds_err *err)
{
	json_t *o = json_pack("{so,sI,sI,sI,sf,sf,sf,so}", "name", json_bytes(h->name, h->name_len),
			      "line", (json_int_t)h->line, "start", (json_int_t)h->start, "end",
			      (json_int_t)h->end, "score", (double)h->score, "meaning",
			      (double)h->meaning, "words", (double)h->words, "text",
			      json_bytes(h->text.data, h->text.len));
	enum ds_status st;
	char *line;

	if (o && h->archive)
		json_object_set_new(o, "archive", json_bytes(h->archive, strlen(h->archive)));
	line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
	json_decref(o);
	if (!line)
		return ds_fail_nomem(err, h->text.len);
	st = ds_out_write(out, line, strlen(line), err);
	free(line);
	return st == DS_OK ? ds_out_write(out, "\n", 1, err) : st;
}

static enum ds_status print_hits(struct cli *cli, struct ds_out *out, struct ds_find_hits *hits,
				 struct ds_err *err)
{
	struct grep *g = cli->user;
	struct ds_frame_writer writer;
	enum ds_status st = DS_OK;

	ds_frame_writer_init(&writer, out);
	for (size_t i = 0; i < hits->n && st == DS_OK; i++) {
		struct ds_find_hit *h = &hits->hit[i];
		struct ds_hit_frame frame = {.start = h->start, .end = h->end, .line = h->line,
					     .score = (double)h->score, .name = h->name,
					     .name_len = h->name_len, .text = h->text.data,
					     .text_len = h->text.len};

		if ((double)h->score < g->min_score)
			break;
		g->hits++;
		st = cli->format == CLI_FRAMES	? ds_hit_put(&writer, &frame, err)
		     : cli->format == CLI_JSONL ? print_json(out, h, err)
						: print_text(g, out, h, err);
	}
	if (st == DS_OK && cli->format == CLI_FRAMES)
		st = ds_frame_write_end(&writer, err);
	ds_frame_writer_fini(&writer);
	return st;
}

static enum ds_status answer(struct cli *cli, struct ds_find *find, struct ds_err *err)
{
	struct grep *g = cli->user;
	struct ds_find_hits hits;
	struct ds_out out;
	enum ds_status st;

	DS_TRY(ds_find_query(find, cli->operand[0], g->k, &hits, err));
	st = ds_out_open(&out, cli->output, err);
	if (st == DS_OK) {
		st = print_hits(cli, &out, &hits, err);
		if (st == DS_OK)
			st = ds_out_commit(&out, err);
		else
			ds_out_abort(&out);
	}
	ds_find_hits_fini(&hits);
	return st;
}

static void add_inputs(struct cli *cli, struct ds_find *find)
{
	struct grep *g = cli->user;
	struct ds_err err;

	if (cli->n_operand == 1 && ds_find_add(find, "-", &err) != DS_OK)
		cli_error(cli, &err);
	for (int i = 1; i < cli->n_operand; i++)
		if (ds_find_add(find, cli->operand[i], &err) != DS_OK)
			cli_error(cli, &err);
	g->several = cli->n_operand > 2;
}

static enum ds_status search(struct cli *cli, const struct ds_model *model, struct ds_pool *pool,
			     struct ds_err *err)
{
	struct grep *g = cli->user;
	struct ds_find_options o = {
		.mode = g->meaning == g->words ? DS_SEARCH_BOTH
			: g->meaning	       ? DS_SEARCH_MEANING
					       : DS_SEARCH_WORDS,
		.model = model,
		.pool = pool,
		.passage_tokens = g->size,
		.lm = getenv("DS_LM"),
		.secret = cli->secret,
	};
	struct ds_find_stats stats;
	struct ds_find *find;
	enum ds_status st;

	DS_TRY(ds_find_new(&find, &o, err));
	add_inputs(cli, find);
	ds_find_stats(find, &stats);
	cli_note(cli, "%llu documents, %llu passages", (unsigned long long)stats.documents,
		 (unsigned long long)stats.passages);
	cli_stat_u64(cli, "documents", stats.documents);
	cli_stat_u64(cli, "passages", stats.passages);
	cli_stat_u64(cli, "input_bytes", stats.input_bytes);
	st = answer(cli, find, err);
	cli_stat_u64(cli, "hits", g->hits);
	cli_stat_u64(cli, "threads", ds_pool_threads(pool));
	ds_find_free(find);
	return st;
}

static void run(struct cli *cli)
{
	double start = cli_seconds();
	struct ds_model *model = NULL;
	struct ds_pool *pool = NULL;
	struct ds_err err;
	enum ds_status st = ds_model_open(&model, cli->model, &err);

	if (st == DS_OK) {
		cli_note(cli, "%s", ds_model_describe(model));
		cli_stat_real(cli, "load_ms", 1e3 * (cli_seconds() - start));
		cli_stat_text(cli, "cpu", ds_model_kernels(model));
		st = ds_pool_new(&pool, cli->jobs, &err);
	}
	if (st == DS_OK)
		st = search(cli, model, pool, &err);
	if (st != DS_OK)
		cli_error(cli, &err);
	ds_pool_free(pool);
	ds_model_close(model);
}

int main(int argc, char **argv)
{
	struct grep grep = {.k = 10, .size = 128, .min_score = -1};
	struct cli cli = {
		.name = "ds-grep",
		.synopsis = "[OPTION]... QUERY [FILE]...",
		.summary = "search documents and archives by meaning and by words",
		.examples = "Examples:\n"
			    "  ds-grep 'who may terminate the contract' report.dsz\n"
			    "  ds-grep -w -k 3 'exit status' man/*.1\n"
			    "  ds-chunk book.txt | ds-grep --format jsonl 'how does it end'\n",
		.options = options,
		.on_option = on_option,
		.user = &grep,
	};

	cli_parse(&cli, argc, argv);
	cli_refuse_overwrite(&cli);
	if (cli.n_operand == 0)
		cli_usage(&cli, "no query given");
	if (cli.n_operand == 1 && isatty(STDIN_FILENO))
		cli_usage(&cli, "nothing to search: no file named, standard input is a terminal");
	if (grep.meaning && grep.words)
		cli_usage(&cli, "-e and -w exclude each other (the default is both)");
	cli_take_secret(&cli, false);
	run(&cli);
	if (cli.status == CLI_DONE && grep.hits == 0)
		cli.status = CLI_FAILED;
	return cli_finish(&cli);
}
