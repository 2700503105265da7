/* infer_texts.c - the documents of ds-infer's inputs, and what its language-model tasks share */
#define XXH_STATIC_LINKING_ONLY
#include <string.h>
#include <xxhash.h>

#include "frame/join.h"
#include "infer.h"

#define READ_BYTES ((size_t)65536)

/* The walk over the inputs: documents as they come. */
struct walk {
	struct infer *cmd;
	const struct infer_sink *sink;
	struct ds_buf name, line;
	uint64_t bytes; /* of the document at hand */
	bool refused;	/* what is left of it is passed over */
};

/* What is wrong with a document is told, with its name; the others follow. */
static enum ds_status survive(struct walk *w, enum ds_status st, struct ds_err *err)
{
	if (st != DS_ELIMIT && st != DS_EINVAL && st != DS_EFORMAT)
		return st;
	if (w->name.len) {
		DS_TRY(ds_buf_append(&w->name, "", 1, NULL));
		ds_err_set_path(err, (const char *)w->name.data);
		w->name.len--;
	} else {
		ds_err_set_path(err, "(stdin)");
	}
	cli_error(&w->cmd->cli, err);
	w->refused = true;
	return DS_OK;
}

static enum ds_status begin(struct walk *w, struct ds_err *err)
{
	struct infer_name name = {(const char *)w->name.data, w->name.len};

	w->bytes = 0;
	w->refused = false;
	return survive(w, w->sink->begin(w->sink->user, &name, err), err);
}

static enum ds_status more(struct walk *w, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	w->bytes += n;
	w->cmd->input_bytes += n;
	if (w->refused || n == 0)
		return DS_OK;
	return survive(w, w->sink->more(w->sink->user, bytes, n, err), err);
}

static enum ds_status end(struct walk *w, struct ds_err *err)
{
	if (w->refused)
		return DS_OK;
	DS_TRY(survive(w, w->sink->end(w->sink->user, err), err));
	w->cmd->documents += !w->refused;
	return DS_OK;
}

static enum ds_status rename_text(struct walk *w, const char *name, size_t n, struct ds_err *err)
{
	w->name.len = 0;
	return ds_buf_append(&w->name, name, n, err);
}

/* --- plain --------------------------------------------------------------------------------- */

static enum ds_status take_line(struct walk *w, const uint8_t *line, size_t n, struct ds_err *err)
{
	DS_TRY(begin(w, err));
	DS_TRY(more(w, line, n, err));
	return end(w, err);
}

static enum ds_status take_lines(struct walk *w, struct ds_in *in, struct ds_err *err)
{
	size_t got;

	w->line.len = 0;
	do {
		size_t done = 0;
		const uint8_t *stop;

		DS_TRY(infer_hold(w->cmd, &w->line, NULL, 0, err));
		DS_TRY(ds_buf_reserve(&w->line, READ_BYTES, err));
		DS_TRY(ds_in_read(in, w->line.data + w->line.len, READ_BYTES, &got, err));
		w->line.len += got;
		while (done < w->line.len &&
		       (stop = memchr(w->line.data + done, '\n', w->line.len - done))) {
			const uint8_t *line = w->line.data + done;

			DS_TRY(take_line(w, line, (size_t)(stop - line), err));
			done += (size_t)(stop - line) + 1;
		}
		ds_buf_consume(&w->line, done);
	} while (got);
	return w->line.len ? take_line(w, w->line.data, w->line.len, err) : DS_OK;
}

static enum ds_status take_plain(struct walk *w, struct ds_in *in, struct ds_err *err)
{
	size_t got;

	DS_TRY(begin(w, err));
	DS_TRY(ds_buf_reserve(&w->line, READ_BYTES, err));
	do {
		if (w->sink->idle && !w->refused && ds_in_waits(in))
			DS_TRY(survive(w, w->sink->idle(w->sink->user, err), err));
		DS_TRY(ds_in_read(in, w->line.data, READ_BYTES, &got, err));
		DS_TRY(more(w, w->line.data, got, err));
	} while (got);
	return end(w, err);
}

/* --- frames -------------------------------------------------------------------------------- */

static enum ds_status take_frame(struct walk *w, const struct ds_frame *f, struct ds_join *join,
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
		DS_TRY(rename_text(w, d.name, d.name_len, err));
		return begin(w, err);
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(ds_document_end_get(f, &e, err));
		if (!join->any && e.size != 0)
			return ds_fail_at(err, DS_EIO, NULL, f->offset,
					  "a document without text or chunk frames, expected one "
					  "of them");
		return end(w, err);
	default:
		return more(w, bytes, n, err);
	}
}

static enum ds_status take_frames(struct walk *w, struct ds_in *in, struct ds_err *err)
{
	struct ds_frame_reader reader;
	struct ds_frame frame;
	struct ds_join join;
	enum ds_status st;

	DS_TRY(ds_join_init(&join, err));
	ds_frame_reader_init(&reader, in);
	while ((st = ds_frame_next(&reader, &frame, err)) == DS_OK) {
		st = take_frame(w, &frame, &join, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&reader);
	ds_join_fini(&join);
	return st == DS_END ? DS_OK : st;
}

static enum ds_status take_input(void *user, struct ds_in *in, const char *path, struct ds_err *err)
{
	struct walk *w = user;
	bool frames;

	in->tie = &w->cmd->out;
	DS_TRY(ds_frame_detect(in, &frames, err));
	if (frames)
		return take_frames(w, in, err);
	DS_TRY(rename_text(w, path, strcmp(path, "-") == 0 ? 0 : strlen(path), err));
	return w->cmd->lines ? take_lines(w, in, err) : take_plain(w, in, err);
}

enum ds_status infer_each_document(struct infer *cmd, const struct infer_sink *sink,
				   struct ds_err *err)
{
	struct walk w = {.cmd = cmd, .sink = sink};
	enum ds_status st = cli_each_input(&cmd->cli, take_input, &w, err);

	ds_buf_fini(&w.name);
	ds_buf_fini(&w.line);
	return st;
}

/* --- whole documents ----------------------------------------------------------------------- */

enum ds_status infer_hold(struct infer *cmd, struct ds_buf *text, const void *bytes, size_t n,
			  struct ds_err *err)
{
	if (text->len + n > cmd->text_max)
		return ds_fail(err, DS_EIO, "a text is longer than %zu bytes", cmd->text_max);
	return ds_buf_append(text, bytes, n, err);
}

struct texts {
	struct infer *cmd;
	const struct infer_ahead *ahead;
	struct ds_buf bytes, path;
	enum ds_status (*take)(void *user, const struct infer_text *text, struct ds_err *err);
	void *user;
};

/* Layers that are to be chosen by the text must be so before it is read. */
static enum ds_status begin_ahead(struct infer *cmd, const struct infer_ahead *ahead,
				  struct ds_err *err)
{
	struct ds_turn turn = ahead->turn;

	turn.text[turn.n_text++] = (struct ds_part){NULL, 0};
	ahead->reader->opening.active = false;
	return infer_skips(cmd) ? DS_OK : ds_reader_begin(ahead->reader, &turn, err);
}

enum ds_status infer_read_ahead(struct infer *cmd, const struct infer_ahead *ahead,
				const char *path, struct ds_buf *text, struct ds_err *err)
{
	enum ds_status st;
	struct ds_in in;
	size_t got = 0;

	DS_TRY(ds_in_open(&in, path, err));
	st = begin_ahead(cmd, ahead, err);
	while (st == DS_OK) {
		uint8_t *end;

		if (ds_in_waits(&in))
			st = ds_reader_more(ahead->reader, NULL, 0, true, err);
		if (st == DS_OK)
			st = ds_buf_reserve(text, READ_BYTES, err);
		if (st != DS_OK)
			break;
		end = text->data + text->len;
		st = ds_in_read(&in, end, READ_BYTES, &got, err);
		text->len += got;
		if (st != DS_OK || got == 0)
			break;
		st = infer_hold(cmd, text, NULL, 0, err);
		if (st == DS_OK)
			st = ds_reader_more(ahead->reader, end, got, false, err);
	}
	cmd->input_bytes += text->len;
	if (st != DS_OK)
		ds_err_set_path(err, in.name);
	ds_in_close(&in);
	return st;
}

static enum ds_status begin_text(void *user, const struct infer_name *name, struct ds_err *err)
{
	struct texts *t = user;

	t->bytes.len = t->path.len = 0;
	DS_TRY(ds_buf_append(&t->path, name->name, name->name_len, err));
	return begin_ahead(t->cmd, t->ahead, err);
}

static enum ds_status more_text(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct texts *t = user;

	DS_TRY(infer_hold(t->cmd, &t->bytes, bytes, n, err));
	return ds_reader_more(t->ahead->reader, bytes, n, false, err);
}

static enum ds_status idle_text(void *user, struct ds_err *err)
{
	struct texts *t = user;

	return ds_reader_more(t->ahead->reader, NULL, 0, true, err);
}

static enum ds_status end_text(void *user, struct ds_err *err)
{
	struct texts *t = user;
	struct infer_text text = {
		{(const char *)t->path.data, t->path.len}, t->bytes.data, t->bytes.len};

	return t->take(t->user, &text, err);
}

enum ds_status infer_each_text(struct infer *cmd, const struct infer_ahead *ahead,
			       enum ds_status (*take)(void *user, const struct infer_text *text,
						      struct ds_err *err),
			       void *user, struct ds_err *err)
{
	struct texts t = {.cmd = cmd, .ahead = ahead, .take = take, .user = user};
	struct infer_sink sink = {.begin = begin_text,
				  .more = more_text,
				  .idle = idle_text,
				  .end = end_text,
				  .user = &t};
	enum ds_status st = infer_each_document(cmd, &sink, err);

	ds_buf_fini(&t.bytes);
	ds_buf_fini(&t.path);
	return st;
}

/* --- output -------------------------------------------------------------------------------- */

enum ds_status infer_begin_text(struct infer *cmd, const struct infer_name *name, uint64_t size,
				struct ds_err *err)
{
	struct ds_document d = {.name = name->name, .name_len = name->name_len, .size = size};

	cmd->number = cmd->writer.order.documents;
	return ds_document_put(&cmd->writer, cmd->number, &d, err);
}

enum ds_status infer_put_text(struct infer *cmd, const struct infer_name *name,
			      const struct ds_buf *text, struct ds_err *err)
{
	struct ds_document_end e = {text->len, XXH3_64bits(text->data, text->len)};
	struct ds_text t = {0, text->data, text->len};

	DS_TRY(infer_begin_text(cmd, name, text->len, err));
	if (text->len)
		DS_TRY(ds_text_put(&cmd->writer, cmd->number, &t, err));
	return ds_document_end_put(&cmd->writer, cmd->number, &e, err);
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

	if (done != all)
		cli_progress_steps(&cmd->cli, "reading tokens", done, all);
	else
		cli_progress_erase();
}

enum ds_status infer_open_reader(struct infer *cmd, struct ds_reader *reader, struct ds_err *err)
{
	enum ds_status st;

	if (cmd->memory)
		DS_TRY(infer_fit_memory(cmd, err));
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

/* What attention kept of its mass; and whether that is enough. */
static void infer_audit(struct infer *cmd, const struct ds_session_stats *stats)
{
	if (stats->audited) {
		cli_stat_u64(&cmd->cli, "audited", stats->audited);
		cli_stat_real(&cmd->cli, "mass_mean", stats->mass_mean);
		cli_stat_real(&cmd->cli, "mass_p5", stats->mass_p5);
	}
	if (stats->mass_mean >= cmd->require_mass)
		return;
	cli_warn(&cmd->cli, "attention kept %.4f of its mass in the mean, at least %g required",
		 stats->mass_mean, cmd->require_mass);
	if (cmd->cli.status == 0)
		cmd->cli.status = 3;
}

void infer_session_stats(struct infer *cmd, const struct ds_session *session)
{
	char policy[DS_ATTN_TEXT_BYTES];
	struct ds_session_stats stats;

	ds_attn_policy_text(&cmd->attn, policy, sizeof policy);
	cli_stat_text(&cmd->cli, "attn", cmd->profile_path ? cmd->profile_path : policy);
	ds_session_stats(session, &stats);
	if (stats.pairs)
		cli_stat_real(&cmd->cli, "density", (double)stats.pairs_seen / (double)stats.pairs);
	infer_audit(cmd, &stats);
}

void infer_reader_stats(struct infer *cmd, const struct ds_reader *reader)
{
	cli_stat_u64(&cmd->cli, "documents", cmd->documents);
	cli_stat_u64(&cmd->cli, "prompt_tokens", reader->prompt_tokens);
	cli_stat_u64(&cmd->cli, "cached_tokens", reader->cached_tokens);
	cli_stat_u64(&cmd->cli, "ahead_tokens", reader->ahead_tokens);
	cli_stat_real(&cmd->cli, "prompt_seconds", reader->prompt_seconds);
	infer_session_stats(cmd, reader->session);
	if (cmd->reading.carry)
		cli_stat_u64(&cmd->cli, "context_rolls", ds_session_rolls(reader->session));
}

void infer_generator_stats(struct infer *cmd, const struct ds_generator *gen)
{
	const struct ds_generator_totals *t = ds_generator_totals(gen);

	cli_stat_u64(&cmd->cli, "generated_tokens", t->tokens);
	cli_stat_real(&cmd->cli, "generate_seconds", t->seconds);
	cli_stat_real(&cmd->cli, "first_token_ms", 1e3 * t->first_token_seconds);
}
