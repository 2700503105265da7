/*
 * ds-chunk.c - documents in overlapped chunks of so many tokens, and back
 *
 * Plain inputs are documents; of frame streams, documents are put together from their text or chunk
 * frames and chunked anew.
 */
#define XXH_STATIC_LINKING_ONLY /* the hash state lives on the stack */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/paths.h"
#include "chunk/chunk.h"
#include "cli.h"
#include "frame/frame.h"
#include "frame/join.h"
#include "frame/json.h"
#include "model/model.h"

#define PUSH_BYTES 65536

enum { OPT_OUTPUT = CLI_LONG, OPT_JOIN, OPT_BARE };

static const struct cli_opt options[] = {
	{'s', "size", "TOKENS", "a chunk has at most so many tokens (default: 512)"},
	{'o', "overlap", "TOKENS",
	 "repeat at most so many of the chunk before (default: an eighth of -s, at most 64)"},
	{'b', "boundary", "KIND",
	 "end chunks at: sentence, paragraph, heading, semantic or none (default: sentence)"},
	CLI_OPT_MODEL,
	{OPT_BARE, "bare", NULL, "do not count what the model adds to a text (CLS, SEP, BOS, EOS)"},
	{OPT_JOIN, "join", NULL, "the way back: documents from their chunks, byte for byte"},
	{OPT_OUTPUT, "output", "FILE", "write to FILE, whole or not at all"},
	CLI_OPT_FORMAT,
	CLI_OPT_JOBS,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

static const char examples[] =
	"Examples:\n"
	"  ds-chunk report.txt | ds-infer -t embed | ds-compress -o report.dsz\n"
	"  ds-chunk -s 256 -o 32 -b heading --format jsonl *.md\n"
	"  ds-chunk report.txt | ds-chunk --join | cmp - report.txt\n";

struct chunk {
	struct cli cli;
	struct ds_chunk_options options;
	bool overlap_given, join;
	enum cli_format format;
	struct ds_tokenizer *tok; /* its own, or that of model */
	struct ds_model *model;	  /* semantic only, as are the two below */
	struct ds_pool *pool;
	struct ds_embedder *emb;
	struct ds_chunker *chunker;
	struct ds_out out;
	struct ds_frame_writer writer;
	uint64_t documents, chunks, tokens, input_bytes;
	/* the document being chunked */
	char name[DS_FRAME_NAME_MAX + 1];
	uint64_t size;
	XXH3_state_t hash;
	bool open;
};

static void on_option(struct cli *cli, int key, const char *arg)
{
	static const char *const kinds[] = {
		[DS_BOUNDARY_SENTENCE] = "sentence", [DS_BOUNDARY_PARAGRAPH] = "paragraph",
		[DS_BOUNDARY_HEADING] = "heading",   [DS_BOUNDARY_SEMANTIC] = "semantic",
		[DS_BOUNDARY_NONE] = "none",	     NULL};
	struct chunk *c = cli->user;

	switch (key) {
	case 's':
		c->options.size_tokens = (uint32_t)cli_num(cli, arg, "-s", 1, DS_CHUNK_TOKENS_MAX);
		break;
	case 'o':
		c->options.overlap_tokens =
			(uint32_t)cli_num(cli, arg, "-o", 0, DS_CHUNK_TOKENS_MAX);
		c->overlap_given = true;
		break;
	case 'b':
		c->options.boundary = (enum ds_boundary)cli_choice(cli, arg, "-b", kinds);
		break;
	case OPT_BARE:
		c->options.encode_flags = 0;
		break;
	case OPT_JOIN:
		c->join = true;
		break;
	case OPT_OUTPUT:
		cli->output = arg;
		break;
	}
}

static enum ds_status put_text(struct chunk *c, const struct ds_chunk_frame *f, struct ds_err *err)
{
	char head[160];
	int n = snprintf(head, sizeof head,
			 ":%" PRIu64 "-%" PRIu64 " (%" PRIu32 " tokens, %" PRIu32
			 " repeated; ends at %s)\n",
			 f->start, f->end, f->tokens, f->overlap_tokens,
			 ds_boundary_names[f->boundary]);

	DS_TRY(ds_out_write(&c->out, "== ", 3, err));
	DS_TRY(ds_out_write(&c->out, c->name, strlen(c->name), err));
	DS_TRY(ds_out_write(&c->out, head, (size_t)n, err));
	DS_TRY(ds_out_write(&c->out, f->text, (size_t)(f->end - f->start), err));
	return f->text[f->end - f->start - 1] == '\n' ? DS_OK : ds_out_write(&c->out, "\n", 1, err);
}

static enum ds_status begin(struct chunk *c, const struct ds_document *d, struct ds_err *err)
{
	memcpy(c->name, d->name, d->name_len);
	c->name[d->name_len] = 0;
	c->size = 0;
	c->open = true;
	XXH3_64bits_reset(&c->hash);
	return c->format == CLI_TEXT ? DS_OK : ds_document_put(&c->writer, c->documents, d, err);
}

/* More bytes of the document, and the chunks they complete. */
static enum ds_status push(struct chunk *c, const void *bytes, size_t n, bool last,
			   struct ds_err *err)
{
	struct ds_chunk_frame f;
	enum ds_status st;

	c->size += n;
	XXH3_64bits_update(&c->hash, bytes, n);
	DS_TRY(ds_chunker_push(c->chunker, bytes, n, last, err));
	while ((st = ds_chunker_next(c->chunker, &f, err)) == DS_OK) {
		c->chunks++;
		c->tokens += f.tokens;
		if (c->format == CLI_TEXT)
			DS_TRY(put_text(c, &f, err));
		else
			DS_TRY(ds_chunk_put(&c->writer, c->documents, &f, err));
	}
	return st == DS_END ? DS_OK : st;
}

static enum ds_status finish(struct chunk *c, struct ds_err *err)
{
	struct ds_document_end e;

	DS_TRY(push(c, NULL, 0, true, err));
	e = (struct ds_document_end){c->size, XXH3_64bits_digest(&c->hash)};
	c->input_bytes += c->size;
	if (c->format != CLI_TEXT)
		DS_TRY(ds_document_end_put(&c->writer, c->documents, &e, err));
	c->documents++;
	c->open = false;
	return DS_OK;
}

static enum ds_status chunk_plain(struct chunk *c, struct ds_in *in, const char *path,
				  struct ds_err *err)
{
	struct ds_document d = {.name = path, .name_len = strlen(path), .size = DS_SIZE_UNKNOWN};
	static uint8_t bytes[PUSH_BYTES];
	size_t n;

	if (strcmp(path, "-") == 0)
		d.name_len = 0;
	if (d.name_len)
		ds_document_stat(&d, in->fd);
	DS_TRY(begin(c, &d, err));
	for (;;) {
		DS_TRY(ds_in_read(in, bytes, sizeof bytes, &n, err));
		if (n == 0)
			return finish(c, err);
		DS_TRY(push(c, bytes, n, false, err));
		if (n < sizeof bytes) /* a slow input: what is known of it is not kept waiting */
			DS_TRY(ds_out_flush(&c->out, err));
		cli_progress(&c->cli, in->name, c->size, d.size == DS_SIZE_UNKNOWN ? 0 : d.size);
	}
}

/* A frame of the input; bytes, n: what it adds to its document. */
static enum ds_status take_frame(struct chunk *c, const struct ds_frame *f, const uint8_t *bytes,
				 size_t n, struct ds_err *err)
{
	struct ds_document d;

	if (c->join)
		return ds_out_write(&c->out, bytes, n, err);
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		DS_TRY(ds_document_get(f, &d, err));
		return begin(c, &d, err);
	case DS_FRAME_DOCUMENT_END:
		return finish(c, err);
	}
	while (n) {
		size_t piece = n < PUSH_BYTES ? n : PUSH_BYTES;

		DS_TRY(push(c, bytes, piece, false, err));
		bytes += piece;
		n -= piece;
	}
	return DS_OK;
}

/* Documents that have no text (but a size) cannot be chunked or joined. */
static enum ds_status check_text(const struct ds_frame *f, const struct ds_join *j,
				 struct ds_err *err)
{
	struct ds_document_end e;

	if (f->type != DS_FRAME_DOCUMENT_END || j->any)
		return DS_OK;
	DS_TRY(ds_document_end_get(f, &e, err));
	if (e.size == 0)
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, NULL, f->offset,
			  "a document without text or chunk frames, expected one of them");
}

static enum ds_status read_frames(struct chunk *c, struct ds_in *in, struct ds_join *j,
				  struct ds_err *err)
{
	struct ds_frame_reader r;
	struct ds_frame f;
	const uint8_t *bytes;
	enum ds_status st;
	size_t n;

	ds_frame_reader_init(&r, in);
	while ((st = ds_frame_next(&r, &f, err)) == DS_OK) {
		st = ds_join_take(j, &f, &bytes, &n, err);
		if (st == DS_OK)
			st = check_text(&f, j, err);
		if (st == DS_OK)
			st = take_frame(c, &f, bytes, n, err);
		if (st != DS_OK)
			break;
		if (c->join) {
			c->documents += f.type == DS_FRAME_DOCUMENT_END;
			c->input_bytes += n;
		}
		cli_progress(&c->cli, in->name, r.offset, 0);
	}
	ds_frame_reader_fini(&r);
	return st == DS_END ? DS_OK : st;
}

static enum ds_status chunk_frames(struct chunk *c, struct ds_in *in, struct ds_err *err)
{
	struct ds_join join;
	enum ds_status st;

	DS_TRY(ds_join_init(&join, err));
	st = read_frames(c, in, &join, err);
	ds_join_fini(&join);
	return st;
}

static enum ds_status take_input(struct chunk *c, const char *path, struct ds_err *err)
{
	const uint8_t *first;
	enum ds_status st;
	struct ds_in in;
	size_t n;

	DS_TRY(ds_in_open(&in, path, err));
	st = ds_in_peek(&in, DS_FRAME_PROBE_BYTES, &first, &n, err);
	if (st == DS_OK && ds_frame_probe(first, n))
		st = chunk_frames(c, &in, err);
	else if (st == DS_OK && c->join)
		st = ds_fail_at(err, DS_EFORMAT, in.name, 0, "no frames, --join expects chunks");
	else if (st == DS_OK)
		st = chunk_plain(c, &in, path, err);
	if (st != DS_OK)
		ds_err_set_path(err, in.name);
	ds_in_close(&in);
	return st;
}

/* All inputs.  After one that cannot be read the others still follow; a document that breaks off
 * ends the output without its end frame, so that nobody takes it for whole. */
static void take_all(struct chunk *c)
{
	static char *standard_input[] = {"-"};
	char **path = c->cli.n_operand ? c->cli.operand : standard_input;
	int n = c->cli.n_operand ? c->cli.n_operand : 1;
	enum ds_status st = DS_OK;
	bool whole = true;
	struct ds_err err;

	for (int i = 0; i < n && !c->open; i++) {
		st = take_input(c, path[i], &err);
		if (st != DS_OK) {
			cli_error(&c->cli, &err);
			whole = false;
		}
	}
	if (!c->open && c->format != CLI_TEXT && !c->join && (whole || !c->cli.output)) {
		st = ds_frame_write_end(&c->writer, &err);
		if (st != DS_OK)
			cli_error(&c->cli, &err);
		whole = whole && st == DS_OK;
	}
	if (!whole && c->cli.output)
		ds_out_abort(&c->out);
	else if (ds_out_commit(&c->out, &err) != DS_OK)
		cli_error(&c->cli, &err);
}

static enum ds_status embed(void *user, const struct ds_part *texts, size_t n, float *out,
			    struct ds_err *err)
{
	return ds_embed(user, texts, n, out, err);
}

static enum ds_status open_model(struct chunk *c, struct ds_err *err)
{
	const struct ds_tokenizer *tok;
	const char *path = c->cli.model;
	char builtin[4096];

	if (c->options.boundary == DS_BOUNDARY_SEMANTIC) {
		DS_TRY(ds_model_open(&c->model, path, err));
		DS_TRY(ds_pool_new(&c->pool, c->cli.jobs, err));
		DS_TRY(ds_embedder_new(&c->emb, c->model, c->pool, err));
		c->options.embed = embed;
		c->options.embed_user = c->emb;
		c->options.embed_dims = ds_model_dims(c->model);
		tok = ds_model_tokenizer(c->model);
		cli_note(&c->cli, "model %s", ds_model_describe(c->model));
	} else {
		if (!path) {
			DS_TRY(ds_builtin_path(builtin, sizeof builtin, err));
			path = builtin;
		}
		DS_TRY(ds_tokenizer_open(&c->tok, path, err));
		tok = c->tok;
		cli_note(&c->cli, "tokenizer %s", ds_tokenizer_describe(tok));
	}
	return ds_chunker_new(&c->chunker, tok, &c->options, err);
}

static enum ds_status open_all(struct chunk *c, struct ds_err *err)
{
	double start = cli_seconds();

	if (!c->join) {
		DS_TRY(open_model(c, err));
		cli_stat_real(&c->cli, "load_ms", 1e3 * (cli_seconds() - start));
	}
	DS_TRY(ds_out_open(&c->out, c->cli.output, err));
	ds_frame_writer_init(&c->writer, &c->out);
	c->writer.jsonl = c->format == CLI_JSONL;
	return DS_OK;
}

static void close_all(struct chunk *c)
{
	ds_frame_writer_fini(&c->writer);
	ds_chunker_free(c->chunker);
	ds_embedder_free(c->emb);
	ds_pool_free(c->pool);
	ds_model_close(c->model);
	ds_tokenizer_close(c->tok);
}

static void add_stats(struct chunk *c)
{
	cli_stat_u64(&c->cli, "input_bytes", c->input_bytes);
	cli_stat_u64(&c->cli, "documents", c->documents);
	if (c->join)
		return;
	cli_stat_u64(&c->cli, "chunks", c->chunks);
	cli_stat_u64(&c->cli, "tokens", c->tokens);
	if (c->model) {
		cli_stat_u64(&c->cli, "threads", ds_pool_threads(c->pool));
		cli_stat_text(&c->cli, "cpu", ds_model_kernels(c->model));
	}
}

int main(int argc, char **argv)
{
	static struct chunk c;
	struct ds_err err;

	c.options = (struct ds_chunk_options){.size_tokens = 512, .encode_flags = DS_ENCODE_AFFIX};
	c.cli = (struct cli){
		.name = "ds-chunk",
		.synopsis = "[OPTION]... [FILE]...",
		.summary = "documents in overlapped chunks of so many tokens, and back",
		.examples = examples,
		.options = options,
		.on_option = on_option,
		.user = &c,
	};
	cli_parse(&c.cli, argc, argv);
	if (!c.overlap_given)
		c.options.overlap_tokens =
			c.options.size_tokens < 512 ? c.options.size_tokens / 8 : 64;
	else if (c.options.overlap_tokens >= c.options.size_tokens)
		cli_usage(&c.cli, "-o %" PRIu32 " is not less than -s %" PRIu32,
			  c.options.overlap_tokens, c.options.size_tokens);
	if (c.join && c.cli.format != CLI_AUTO)
		cli_usage(&c.cli, "--join writes the bytes of documents, --format is not for it");
	cli_refuse_terminal(&c.cli);
	cli_refuse_overwrite(&c.cli);
	c.format = cli_format_for_output(&c.cli);
	if (open_all(&c, &err) == DS_OK)
		take_all(&c);
	else
		cli_error(&c.cli, &err);
	add_stats(&c);
	close_all(&c);
	return cli_finish(&c.cli);
}
