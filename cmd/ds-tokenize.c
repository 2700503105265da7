/*
 * ds-tokenize.c - text to token ids and back
 *
 * Documents stream through in pieces (token/stream.h) on several threads; what a piece becomes in
 * the output is made on the thread that tokenized it.
 */
#define XXH_STATIC_LINKING_ONLY /* the hash state lives in the struct */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/paths.h"
#include "cli.h"
#include "frame/frame.h"
#include "frame/join.h"
#include "token/stream.h"
#include "token/token.h"

enum { OPT_IDS = CLI_LONG, OPT_SPECIAL, OPT_AFFIX };

static const struct cli_opt options[] = {
	{OPT_IDS, "ids", NULL, "print token ids, a document a line (as --format text)"},
	{'c', "count", NULL, "print numbers of tokens instead of tokens"},
	{'d', "decode", NULL, "the way back: from ids or token frames to text"},
	CLI_OPT_MODEL,
	{OPT_SPECIAL, "special", NULL, "special tokens spelled out in text become their ids"},
	{OPT_AFFIX, "affix", NULL, "add what the model has around a text (BOS, EOS, CLS, SEP)"},
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
	"  ds-tokenize --ids report.txt\n"
	"  ds-tokenize -c *.md\n"
	"  ds-tokenize --ids report.txt | ds-tokenize -d | cmp - report.txt\n";

struct tokenize {
	struct cli cli;
	bool count, decode;
	unsigned flags; /* of ds_encode() */
	enum cli_format format;
	struct ds_tokenizer *tok;
	struct ds_pool *pool;
	struct ds_token_stream *stream;
	struct ds_out out;
	struct ds_frame_writer writer;
	uint64_t documents, tokens, input_bytes;
	/* the document at work */
	char name[DS_FRAME_NAME_MAX + 1];
	uint64_t document_tokens;
	uint64_t covered; /* bytes before it are in token frames */
	uint64_t size;
	XXH3_state_t hash;
	bool echo; /* its text is not in the input's frames: write it */
	bool open;
	struct ds_buf bytes; /* decoding */
};

static void on_option(struct cli *cli, int key, const char *arg)
{
	struct tokenize *t = cli->user;

	(void)arg;
	switch (key) {
	case OPT_IDS:
		cli->format = CLI_TEXT;
		break;
	case 'c':
		t->count = true;
		break;
	case 'd':
		t->decode = true;
		break;
	case OPT_SPECIAL:
		t->flags |= DS_ENCODE_SPECIAL;
		break;
	case OPT_AFFIX:
		t->flags |= DS_ENCODE_AFFIX;
		break;
	}
}

/* --- pieces out ---------------------------------------------------------------------------- */

static size_t put_decimal(uint8_t *out, uint32_t v)
{
	uint8_t digits[10];
	size_t n = 0;

	do {
		digits[n++] = (uint8_t)('0' + v % 10);
		v /= 10;
	} while (v);
	for (size_t i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	return n;
}

/* Ids as text, each with a space before it but the first of a document. */
static enum ds_status make_ids(void *user, struct ds_token_piece *piece, struct ds_err *err)
{
	struct ds_buf *made = &piece->made;

	(void)user;
	DS_TRY(ds_buf_reserve(made, piece->n * 11 + 1, err));
	for (size_t i = 0; i < piece->n; i++) {
		made->data[made->len++] = ' ';
		made->len += put_decimal(made->data + made->len, piece->id[i]);
	}
	return DS_OK;
}

/* The ends of a token frame: 32 bits, from the start of the piece. */
static enum ds_status make_ends(void *user, struct ds_token_piece *piece, struct ds_err *err)
{
	struct ds_buf *made = &piece->made;
	uint32_t *end;

	(void)user;
	if (piece->len > UINT32_MAX)
		return ds_fail(err, DS_ELIMIT, "%zu bytes of text without a place to cut",
			       piece->len);
	DS_TRY(ds_buf_reserve(made, piece->n * sizeof *end, err));
	end = (uint32_t *)(void *)made->data;
	for (size_t i = 0; i < piece->n; i++)
		end[i] = (uint32_t)piece->end[i];
	made->len = piece->n * sizeof *end;
	return DS_OK;
}

/* Tokens that one frame holds: a piece has more only where text cannot be cut. */
#define FRAME_TOKENS_MAX ((size_t)1 << 22)

static enum ds_status put_token_frames(struct tokenize *t, const struct ds_token_piece *piece,
				       struct ds_err *err)
{
	uint32_t *end = (uint32_t *)(void *)piece->made.data;
	/* white space that ended the piece before belongs to this one's first token */
	uint32_t back = (uint32_t)(piece->start - t->covered), from = 0;
	struct ds_token_frame frame = {.vocabulary = ds_tokenizer_id(t->tok)};

	for (size_t i = 0; i < piece->n; i += frame.n) {
		frame.n = (uint32_t)(piece->n - i < FRAME_TOKENS_MAX ? piece->n - i
								     : FRAME_TOKENS_MAX);
		for (size_t k = i; k < i + frame.n; k++)
			end[k] = end[k] + back - from;
		frame.start = t->covered;
		frame.first = t->document_tokens + i;
		frame.id = piece->id + i;
		frame.end = end + i;
		DS_TRY(ds_tokens_put(&t->writer, t->documents, &frame, err));
		from += end[i + frame.n - 1];
		t->covered = frame.start + end[i + frame.n - 1];
	}
	return DS_OK;
}

static enum ds_status take_piece(void *user, const struct ds_token_piece *piece, struct ds_err *err)
{
	struct tokenize *t = user;
	size_t skip = t->document_tokens == 0 && piece->made.len > 0;

	if (t->count)
		;
	else if (t->format == CLI_TEXT)
		DS_TRY(ds_out_write(&t->out, piece->made.data + skip, piece->made.len - skip, err));
	else {
		if (t->echo && piece->len)
			DS_TRY(ds_text_put(&t->writer, t->documents,
					   &(struct ds_text){piece->start, piece->text, piece->len},
					   err));
		DS_TRY(put_token_frames(t, piece, err));
	}
	t->document_tokens += piece->n;
	return DS_OK;
}

/* --- documents ----------------------------------------------------------------------------- */

static enum ds_status begin(struct tokenize *t, const struct ds_document *d, struct ds_err *err)
{
	memcpy(t->name, d->name, d->name_len);
	t->name[d->name_len] = 0;
	t->document_tokens = t->covered = t->size = 0;
	t->open = true;
	XXH3_64bits_reset(&t->hash);
	return t->format == CLI_TEXT ? DS_OK : ds_document_put(&t->writer, t->documents, d, err);
}

static enum ds_status push(struct tokenize *t, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	while (n) {
		uint8_t *room;
		size_t cap;

		DS_TRY(ds_token_stream_room(t->stream, &room, &cap, err));
		if (cap > n)
			cap = n;
		memcpy(room, bytes, cap);
		DS_TRY(ds_token_stream_push(t->stream, cap, false, err));
		bytes += cap;
		n -= cap;
		t->size += cap;
	}
	return DS_OK;
}

static enum ds_status put_count(struct tokenize *t, uint64_t n, const char *name,
				struct ds_err *err)
{
	char text[32];
	int len = snprintf(text, sizeof text, "%" PRIu64, n);

	DS_TRY(ds_out_write(&t->out, text, (size_t)len, err));
	if (name) {
		DS_TRY(ds_out_write(&t->out, " ", 1, err));
		DS_TRY(ds_out_write(&t->out, name, strlen(name), err));
	}
	return ds_out_write(&t->out, "\n", 1, err);
}

static enum ds_status end(struct tokenize *t, const struct ds_document_end *d, struct ds_err *err)
{
	uint8_t *room;
	size_t cap;

	DS_TRY(ds_token_stream_room(t->stream, &room, &cap, err));
	DS_TRY(ds_token_stream_push(t->stream, 0, true, err));
	if (t->count)
		DS_TRY(put_count(t, t->document_tokens, t->cli.n_operand > 1 ? t->name : NULL,
				 err));
	else if (t->format == CLI_TEXT)
		DS_TRY(ds_out_write(&t->out, "\n", 1, err));
	else
		DS_TRY(ds_document_end_put(&t->writer, t->documents, d, err));
	t->documents++;
	t->tokens += t->document_tokens;
	t->input_bytes += t->size;
	t->open = false;
	return DS_OK;
}

static struct ds_document describe(const struct ds_in *in, const char *path)
{
	bool named = path && strcmp(path, "-") != 0;
	struct ds_document d = {
		.name = named ? path : "",
		.name_len = named ? strlen(path) : 0,
		.size = DS_SIZE_UNKNOWN,
	};

	if (d.name_len > DS_FRAME_NAME_MAX)
		d.name_len = DS_FRAME_NAME_MAX;
	ds_document_stat(&d, in->fd);
	if (!named)
		d.size = DS_SIZE_UNKNOWN;
	return d;
}

static enum ds_status take_plain(struct tokenize *t, struct ds_in *in, const char *path,
				 struct ds_err *err)
{
	struct ds_document d = describe(in, path);
	struct ds_document_end e;

	t->echo = true;
	DS_TRY(begin(t, &d, err));
	for (;;) {
		uint8_t *room;
		size_t cap, got;

		DS_TRY(ds_token_stream_room(t->stream, &room, &cap, err));
		DS_TRY(ds_in_read(in, room, cap, &got, err));
		if (got == 0)
			break;
		if (t->format != CLI_TEXT)
			XXH3_64bits_update(&t->hash, room, got);
		t->size += got;
		DS_TRY(ds_token_stream_push(t->stream, got, false, err));
		cli_progress(&t->cli, in->name, t->size, d.size == DS_SIZE_UNKNOWN ? 0 : d.size);
	}
	e = (struct ds_document_end){t->size, XXH3_64bits_digest(&t->hash)};
	return end(t, &e, err);
}

/* --- frames in ----------------------------------------------------------------------------- */

/* Frames pass through; tokens there were give way to those of this vocabulary. */
static enum ds_status take_frame(struct tokenize *t, const struct ds_frame *f, const uint8_t *bytes,
				 size_t n, struct ds_err *err)
{
	struct ds_document d;
	struct ds_document_end e;

	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		DS_TRY(ds_document_get(f, &d, err));
		return begin(t, &d, err);
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(ds_document_end_get(f, &e, err));
		return end(t, &e, err);
	case DS_FRAME_END:
	case DS_FRAME_TOKENS:
		return DS_OK;
	default:
		if (t->format != CLI_TEXT)
			DS_TRY(ds_frame_write(&t->writer, f->type, t->documents,
					      &(struct ds_part){f->payload, f->payload_len}, 1,
					      err));
		return push(t, bytes, n, err);
	}
}

static enum ds_status take_frames(struct tokenize *t, struct ds_in *in, struct ds_join *join,
				  struct ds_err *err)
{
	struct ds_frame_reader r;
	struct ds_frame f;
	enum ds_status st;

	t->echo = false;
	ds_frame_reader_init(&r, in);
	while ((st = ds_frame_next(&r, &f, err)) == DS_OK) {
		const uint8_t *bytes;
		size_t n;

		st = ds_join_take(join, &f, &bytes, &n, err);
		if (st == DS_OK)
			st = take_frame(t, &f, bytes, n, err);
		if (st != DS_OK)
			break;
		cli_progress(&t->cli, in->name, r.offset, 0);
	}
	ds_frame_reader_fini(&r);
	return st == DS_END ? DS_OK : st;
}

static enum ds_status encode_frames(struct tokenize *t, struct ds_in *in, struct ds_err *err)
{
	struct ds_join join;
	enum ds_status st;

	DS_TRY(ds_join_init(&join, err));
	st = take_frames(t, in, &join, err);
	ds_join_fini(&join);
	return st;
}

/* --- decoding ------------------------------------------------------------------------------ */

static enum ds_status put_decoded(struct tokenize *t, const uint32_t *id, size_t n,
				  struct ds_err *err)
{
	unsigned more = t->document_tokens ? DS_ENCODE_CONTINUE : 0;

	t->bytes.len = 0;
	DS_TRY(ds_decode(t->tok, id, n, t->flags | more, &t->bytes, err));
	t->document_tokens += n;
	t->tokens += n;
	if (t->bytes.len == 0)
		return DS_OK;
	if (t->format == CLI_TEXT)
		DS_TRY(ds_out_write(&t->out, t->bytes.data, t->bytes.len, err));
	else
		DS_TRY(ds_text_put(&t->writer, t->documents,
				   &(struct ds_text){t->size, t->bytes.data, t->bytes.len}, err));
	XXH3_64bits_update(&t->hash, t->bytes.data, t->bytes.len);
	t->size += t->bytes.len;
	return DS_OK;
}

static enum ds_status end_decoded(struct tokenize *t, struct ds_err *err)
{
	struct ds_document_end e = {t->size, XXH3_64bits_digest(&t->hash)};

	if (t->format != CLI_TEXT)
		DS_TRY(ds_document_end_put(&t->writer, t->documents, &e, err));
	t->documents++;
	t->open = false;
	return DS_OK;
}

static enum ds_status decode_frame(struct tokenize *t, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_token_frame tokens;
	struct ds_document d;

	if (f->type == DS_FRAME_DOCUMENT) {
		DS_TRY(ds_document_get(f, &d, err));
		return begin(t, &d, err);
	}
	if (f->type == DS_FRAME_DOCUMENT_END)
		return end_decoded(t, err);
	if (f->type != DS_FRAME_TOKENS)
		return DS_OK;
	DS_TRY(ds_tokens_get(f, &tokens, err));
	if (tokens.vocabulary && tokens.vocabulary != ds_tokenizer_id(t->tok))
		return ds_fail_at(err, DS_EINVAL, NULL, f->offset,
				  "tokens of vocabulary %016" PRIx64 ", the model's is %016" PRIx64,
				  tokens.vocabulary, ds_tokenizer_id(t->tok));
	return put_decoded(t, tokens.id, tokens.n, err);
}

static enum ds_status decode_frames(struct tokenize *t, struct ds_in *in, struct ds_err *err)
{
	struct ds_frame_reader r;
	struct ds_frame f;
	enum ds_status st;

	ds_frame_reader_init(&r, in);
	while ((st = ds_frame_next(&r, &f, err)) == DS_OK && st == DS_OK) {
		st = decode_frame(t, &f, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&r);
	t->input_bytes += in->offset;
	return st == DS_END ? DS_OK : st;
}

#define IDS_AT_ONCE 8192

/* A reader of numbers: one document a line. */
struct ids {
	uint32_t id[IDS_AT_ONCE];
	size_t n;
	uint64_t value, offset; /* of the byte at hand */
	bool inside;		/* a number */
};

static enum ds_status flush_ids(struct tokenize *t, struct ids *ids, struct ds_err *err)
{
	size_t n = ids->n;

	ids->n = 0;
	return n ? put_decoded(t, ids->id, n, err) : DS_OK;
}

static enum ds_status take_number(struct tokenize *t, struct ids *ids, struct ds_err *err)
{
	if (!ids->inside)
		return DS_OK;
	ids->inside = false;
	if (ids->value >= ds_tokenizer_size(t->tok))
		return ds_fail_at(err, DS_EINVAL, NULL, ids->offset,
				  "token id %" PRIu64 ", below %" PRIu32 " expected", ids->value,
				  ds_tokenizer_size(t->tok));
	ids->id[ids->n++] = (uint32_t)ids->value;
	return ids->n == IDS_AT_ONCE ? flush_ids(t, ids, err) : DS_OK;
}

static enum ds_status take_char(struct tokenize *t, struct ids *ids, uint8_t c, struct ds_err *err)
{
	static const struct ds_document unnamed = {.name = "", .size = DS_SIZE_UNKNOWN};

	if (!t->open)
		DS_TRY(begin(t, &unnamed, err));
	if (c >= '0' && c <= '9') {
		if (ids->value <= UINT32_MAX)
			ids->value = (ids->inside ? ids->value * 10 : 0) + (c - '0');
		ids->inside = true;
		return DS_OK;
	}
	DS_TRY(take_number(t, ids, err));
	ids->value = 0;
	if (c == '\n') {
		DS_TRY(flush_ids(t, ids, err));
		return end_decoded(t, err);
	}
	if (c == ' ' || c == '\t' || c == ',' || c == '\r')
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, NULL, ids->offset,
			  "byte 0x%02X, token ids in decimal expected", c);
}

static enum ds_status decode_text(struct tokenize *t, struct ds_in *in, struct ds_err *err)
{
	static struct ids ids;
	uint8_t bytes[16384];
	size_t got;

	ids = (struct ids){0};
	do {
		DS_TRY(ds_in_read(in, bytes, sizeof bytes, &got, err));
		for (size_t i = 0; i < got; i++, ids.offset++)
			DS_TRY(take_char(t, &ids, bytes[i], err));
		t->input_bytes += got;
	} while (got);
	/* a last line without its newline */
	return t->open ? take_char(t, &ids, '\n', err) : DS_OK;
}

/* --- the command --------------------------------------------------------------------------- */

static enum ds_status take_input(struct tokenize *t, const char *path, struct ds_err *err)
{
	const uint8_t *first;
	enum ds_status st;
	struct ds_in in;
	bool frames;
	size_t n;

	DS_TRY(ds_in_open(&in, path, err));
	st = ds_in_peek(&in, DS_FRAME_PROBE_BYTES, &first, &n, err);
	frames = st == DS_OK && ds_frame_probe(first, n);
	if (st == DS_OK && t->decode)
		st = frames ? decode_frames(t, &in, err) : decode_text(t, &in, err);
	else if (st == DS_OK)
		st = frames ? encode_frames(t, &in, err) : take_plain(t, &in, path, err);
	if (st != DS_OK)
		ds_err_set_path(err, in.name);
	ds_in_close(&in);
	return st;
}

/* All inputs.  After one that cannot be read the others still follow; a document that breaks off
 * ends the output without its end frame, so that nobody takes it for whole. */
static void take_all(struct tokenize *t)
{
	static char *standard_input[] = {"-"};
	char **path = t->cli.n_operand ? t->cli.operand : standard_input;
	int n = t->cli.n_operand ? t->cli.n_operand : 1;
	enum ds_status st = DS_OK;
	bool whole = true;
	struct ds_err err;

	for (int i = 0; i < n && !t->open; i++) {
		st = take_input(t, path[i], &err);
		if (st != DS_OK) {
			cli_error(&t->cli, &err);
			whole = false;
		}
	}
	st = DS_OK;
	if (t->count && n > 1)
		st = put_count(t, t->tokens, "total", &err);
	else if (!t->open && t->format != CLI_TEXT && (whole || !t->cli.output))
		st = ds_frame_write_end(&t->writer, &err);
	if (st != DS_OK)
		cli_error(&t->cli, &err);
	if ((!whole || st != DS_OK) && t->cli.output)
		ds_out_abort(&t->out);
	else if (ds_out_commit(&t->out, &err) != DS_OK)
		cli_error(&t->cli, &err);
}

static enum ds_status open_all(struct tokenize *t, struct ds_err *err)
{
	struct ds_token_stream_options o = {
		.flags = t->flags,
		.count = t->count,
		.make = t->count		? NULL
			: t->format == CLI_TEXT ? make_ids
						: make_ends,
		.take = take_piece,
		.user = t,
	};
	const char *path = t->cli.model;
	double start = cli_seconds();
	char builtin[4096];

	if (!path) {
		DS_TRY(ds_builtin_path(builtin, sizeof builtin, err));
		path = builtin;
	}
	DS_TRY(ds_tokenizer_open(&t->tok, path, err));
	cli_stat_real(&t->cli, "load_ms", 1e3 * (cli_seconds() - start));
	cli_note(&t->cli, "%s: %s", path, ds_tokenizer_describe(t->tok));
	DS_TRY(ds_pool_new(&t->pool, t->decode ? 1 : t->cli.jobs, err));
	cli_stat_u64(&t->cli, "threads", ds_pool_threads(t->pool));
	o.tok = t->tok;
	o.pool = t->pool;
	DS_TRY(ds_token_stream_new(&t->stream, &o, err));
	DS_TRY(ds_out_open(&t->out, t->cli.output, err));
	ds_frame_writer_init(&t->writer, &t->out);
	t->writer.jsonl = t->format == CLI_JSONL;
	return DS_OK;
}

static void close_all(struct tokenize *t)
{
	cli_stat_u64(&t->cli, "input_bytes", t->input_bytes);
	cli_stat_u64(&t->cli, "documents", t->documents);
	cli_stat_u64(&t->cli, "tokens", t->tokens);
	ds_frame_writer_fini(&t->writer);
	ds_token_stream_free(t->stream);
	ds_pool_free(t->pool);
	ds_tokenizer_close(t->tok);
	ds_buf_fini(&t->bytes);
}

int main(int argc, char **argv)
{
	static struct tokenize t;
	struct ds_err err;

	t.cli = (struct cli){
		.name = "ds-tokenize",
		.synopsis = "[OPTION]... [FILE]...",
		.summary = "text to token ids and back",
		.examples = examples,
		.options = options,
		.on_option = on_option,
		.user = &t,
	};
	cli_parse(&t.cli, argc, argv);
	if (t.count && t.decode)
		cli_usage(&t.cli, "-c and -d exclude each other");
	if (t.decode && (t.flags & DS_ENCODE_AFFIX))
		cli_usage(&t.cli, "--affix is for encoding");
	if (t.count && t.cli.format != CLI_AUTO)
		cli_usage(&t.cli, "-c prints numbers, --format and --ids are not for it");
	cli_refuse_terminal(&t.cli);
	cli_refuse_overwrite(&t.cli);
	t.format = cli_format_for_output(&t.cli);
	if (t.count || (t.decode && t.cli.format == CLI_AUTO))
		t.format = CLI_TEXT;
	if (open_all(&t, &err) == DS_OK)
		take_all(&t);
	else
		cli_error(&t.cli, &err);
	close_all(&t);
	return cli_finish(&t.cli);
}
