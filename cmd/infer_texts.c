/* infer_texts.c - the documents of ds-infer's inputs, and what its language-model tasks share */
#define XXH_STATIC_LINKING_ONLY
#include <string.h>
#include <xxhash.h>

#include "frame/join.h"
#include "infer.h"

struct texts {
	struct infer *cmd;
	enum ds_status (*take)(void *user, const struct infer_text *text, struct ds_err *err);
	void *user;
	struct ds_buf bytes, name;
};

static enum ds_status give(struct texts *t, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct infer_text text = {(const char *)t->name.data, t->name.len, bytes, n};
	enum ds_status st = t->take(t->user, &text, err);

	t->cmd->input_bytes += n;
	if (st != DS_ELIMIT && st != DS_EINVAL && st != DS_EFORMAT) {
		t->cmd->documents += st == DS_OK;
		return st;
	}
	if (t->name.len) {
		DS_TRY(ds_buf_append(&t->name, "", 1, NULL));
		ds_err_set_path(err, (const char *)t->name.data);
		t->name.len--;
	} else {
		ds_err_set_path(err, "(stdin)");
	}
	cli_error(&t->cmd->cli, err);
	return DS_OK;
}

static enum ds_status rename_text(struct texts *t, const char *name, size_t n, struct ds_err *err)
{
	t->name.len = 0;
	return ds_buf_append(&t->name, name, n, err);
}

/* --- plain --------------------------------------------------------------------------------- */

/* Take the whole lines out of the buffer. */
static enum ds_status give_lines(struct texts *t, struct ds_err *err)
{
	size_t done = 0;
	const uint8_t *end;

	while (done < t->bytes.len &&
	       (end = memchr(t->bytes.data + done, '\n', t->bytes.len - done))) {
		const uint8_t *line = t->bytes.data + done;

		DS_TRY(give(t, line, (size_t)(end - line), err));
		done += (size_t)(end - line) + 1;
	}
	ds_buf_consume(&t->bytes, done);
	return DS_OK;
}

static enum ds_status take_plain(struct texts *t, struct ds_in *in, struct ds_err *err)
{
	size_t got;

	do {
		DS_TRY(ds_buf_reserve(&t->bytes, 65536, err));
		DS_TRY(ds_in_read(in, t->bytes.data + t->bytes.len, 65536, &got, err));
		t->bytes.len += got;
		if (t->cmd->lines)
			DS_TRY(give_lines(t, err));
		if (t->bytes.len > INFER_TEXT_BYTES_MAX)
			return ds_fail_at(err, DS_EIO, in->name, DS_NO_OFFSET,
					  "a text is longer than %zu bytes", INFER_TEXT_BYTES_MAX);
	} while (got);
	if (t->bytes.len || !t->cmd->lines)
		return give(t, t->bytes.data, t->bytes.len, err);
	return DS_OK;
}

/* --- frames -------------------------------------------------------------------------------- */

static enum ds_status take_frame(struct texts *t, const struct ds_frame *f, struct ds_join *join,
				 struct ds_err *err)
{
	struct ds_document_end e;
	struct ds_document d;
	const uint8_t *bytes;
	size_t n;

	DS_TRY(ds_join_take(join, f, &bytes, &n, err));
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		DS_TRY(ds_document_get(f, &d, err));
		t->bytes.len = 0;
		return rename_text(t, d.name, d.name_len, err);
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(ds_document_end_get(f, &e, err));
		if (!join->any && e.size != 0)
			return ds_fail_at(err, DS_EIO, NULL, f->offset,
					  "a document without text or chunk frames, expected one "
					  "of them");
		return give(t, t->bytes.data, t->bytes.len, err);
	default:
		if (t->bytes.len + n > INFER_TEXT_BYTES_MAX)
			return ds_fail_at(err, DS_EIO, NULL, f->offset,
					  "a text is longer than %zu bytes", INFER_TEXT_BYTES_MAX);
		return ds_buf_append(&t->bytes, bytes, n, err);
	}
}

static enum ds_status take_frames(struct texts *t, struct ds_in *in, struct ds_err *err)
{
	struct ds_frame_reader reader;
	struct ds_frame frame;
	struct ds_join join;
	enum ds_status st;

	DS_TRY(ds_join_init(&join, err));
	ds_frame_reader_init(&reader, in);
	while ((st = ds_frame_next(&reader, &frame, err)) == DS_OK) {
		st = take_frame(t, &frame, &join, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&reader);
	ds_join_fini(&join);
	return st == DS_END ? DS_OK : st;
}

static enum ds_status take_input(void *user, struct ds_in *in, const char *path, struct ds_err *err)
{
	struct texts *t = user;
	bool frames;

	in->tie = &t->cmd->out;
	t->bytes.len = 0;
	DS_TRY(ds_frame_detect(in, &frames, err));
	if (frames)
		return take_frames(t, in, err);
	DS_TRY(rename_text(t, path, strcmp(path, "-") == 0 ? 0 : strlen(path), err));
	return take_plain(t, in, err);
}

enum ds_status infer_each_text(struct infer *cmd,
			       enum ds_status (*take)(void *user, const struct infer_text *text,
						      struct ds_err *err),
			       void *user, struct ds_err *err)
{
	struct texts t = {.cmd = cmd, .take = take, .user = user};
	enum ds_status st = cli_each_input(&cmd->cli, take_input, &t, err);

	ds_buf_fini(&t.bytes);
	ds_buf_fini(&t.name);
	return st;
}

/* --- output -------------------------------------------------------------------------------- */

enum ds_status infer_begin_text(struct infer *cmd, const struct infer_text *name,
				const struct ds_part *text, uint64_t *number_ret,
				struct ds_err *err)
{
	uint64_t number = cmd->writer.order.documents;
	struct ds_document d = {.name = name->name, .name_len = name->name_len, .size = text->len};
	struct ds_text t = {0, text->bytes, text->len};

	*number_ret = number;
	DS_TRY(ds_document_put(&cmd->writer, number, &d, err));
	return text->len ? ds_text_put(&cmd->writer, number, &t, err) : DS_OK;
}

enum ds_status infer_end_text(struct infer *cmd, const struct ds_part *text, uint64_t number,
			      struct ds_err *err)
{
	struct ds_document_end e = {text->len, XXH3_64bits(text->bytes, text->len)};

	return ds_document_end_put(&cmd->writer, number, &e, err);
}

enum ds_status infer_put_text(struct infer *cmd, const struct infer_text *name,
			      const struct ds_buf *text, struct ds_err *err)
{
	struct ds_part part = {text->data, text->len};
	uint64_t number;

	DS_TRY(infer_begin_text(cmd, name, &part, &number, err));
	return infer_end_text(cmd, &part, number, err);
}

enum ds_status infer_open_output(struct infer *cmd, struct ds_err *err)
{
	DS_TRY(ds_out_open(&cmd->out, cmd->cli.output, err));
	ds_frame_writer_init(&cmd->writer, &cmd->out);
	return DS_OK;
}

enum ds_status infer_close_output(struct infer *cmd, struct ds_err *err)
{
	if (cmd->format == CLI_FRAMES)
		DS_TRY(ds_frame_write_end(&cmd->writer, err));
	if (cmd->cli.status != CLI_DONE && cmd->cli.output)
		return DS_OK; /* not all inputs were done: no file */
	return ds_out_commit(&cmd->out, err);
}

/* --- language models ----------------------------------------------------------------------- */

static void show_progress(void *user, uint64_t done, uint64_t all)
{
	struct infer *cmd = user;

	if (done < all)
		cli_progress_steps(&cmd->cli, "reading tokens", done, all);
	else
		cli_progress_erase();
}

enum ds_status infer_open_reader(struct infer *cmd, struct ds_reader *reader, struct ds_err *err)
{
	enum ds_status st;

	cmd->reading.progress = show_progress;
	cmd->reading.user = cmd;
	st = ds_reader_open(reader, cmd->model, cmd->pool, &cmd->reading, err);
	if (st != DS_OK) {
		ds_err_set_path(err, cmd->cli.model);
		return st;
	}
	cli_note(&cmd->cli, "template %s, context %zu tokens, at most %.1f MB for it",
		 ds_chat_name(&reader->chat), reader->context,
		 1e-6 * (double)ds_session_bytes(reader->session));
	return DS_OK;
}

void infer_reader_stats(struct infer *cmd, const struct ds_reader *reader)
{
	cli_stat_u64(&cmd->cli, "documents", cmd->documents);
	cli_stat_u64(&cmd->cli, "prompt_tokens", reader->prompt_tokens);
	cli_stat_u64(&cmd->cli, "cached_tokens", reader->cached_tokens);
	cli_stat_real(&cmd->cli, "prompt_seconds", reader->prompt_seconds);
}

void infer_generator_stats(struct infer *cmd, const struct ds_generator *gen)
{
	const struct ds_generator_totals *t = ds_generator_totals(gen);

	cli_stat_u64(&cmd->cli, "generated_tokens", t->tokens);
	cli_stat_real(&cmd->cli, "generate_seconds", t->seconds);
	cli_stat_real(&cmd->cli, "first_token_ms", 1e3 * t->first_token_seconds);
}
