/*
 * infer_outline.c - ds-infer -t outline: first the outline of a document, then each part of it
 *
 * The document comes first in every prompt, so that it is read once.
 */
#include <stdio.h>
#include <string.h>

#include "frame/json.h"
#include "infer.h"
#include "task/digest.h"
#include "task/outline.h"

#define POINTS_DEFAULT 5

/* Tokens of a heading, for which the prompts of parts need room. */
#define HEADING_TOKENS 24

struct outline {
	struct infer *cmd;
	struct ds_reader reader;
	struct ds_generator *gen;
	struct ds_digest *digest;
	struct infer_beginning beginning;
	struct ds_buf name;
	struct ds_part system;
	bool any; /* bytes of the document */
	uint64_t chunks;
	struct ds_buf plan;   /* as the model wrote it */
	struct ds_buf prompt; /* of a part */
	struct ds_buf made;   /* what is not written at once */
	struct ds_part point[DS_POINTS_MAX];
	size_t n_point;
	uint8_t last; /* byte of the part at hand */
};

static enum ds_status append(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	return ds_buf_append(user, bytes, n, err);
}

static enum ds_status put(struct outline *o, const void *bytes, size_t n, struct ds_err *err)
{
	struct infer *cmd = o->cmd;

	if (cmd->format != CLI_TEXT)
		return ds_buf_append(&o->made, bytes, n, err);
	DS_TRY(ds_out_write(&cmd->out, bytes, n, err));
	return cmd->cli.output ? DS_OK : ds_out_flush(&cmd->out, err);
}

static enum ds_status put_part(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct outline *o = user;

	o->last = bytes[n - 1];
	return put(o, bytes, n, err);
}

/* The answer to o->prompt about the document. */
static enum ds_status ask(struct outline *o, const struct infer_text *text,
			  enum ds_status (*take)(void *user, const uint8_t *bytes, size_t n,
						 struct ds_err *err),
			  void *user, struct ds_err *err)
{
	struct ds_turn turn = {.system = o->cmd->system ? &o->system : NULL,
			       .text = {{text->bytes, text->len}, {o->prompt.data, o->prompt.len}},
			       .n_text = 2};
	struct ds_generated made;

	DS_TRY(ds_reader_turn(&o->reader, &turn, err));
	return ds_generate(o->gen, take, user, &made, err);
}

static enum ds_status say(struct ds_buf *buf, const char *text, struct ds_err *err)
{
	return ds_buf_append(buf, text, strlen(text), err);
}

static size_t points_of(const struct infer *cmd)
{
	return cmd->points ? cmd->points : POINTS_DEFAULT;
}

static enum ds_status make_plan_prompt(struct outline *o, struct ds_err *err)
{
	char prompt[200];

	snprintf(
		prompt, sizeof prompt,
		"Write an outline of the text above: a numbered list of at most %zu points, each a "
		"short heading on a line of its own. Write nothing else.",
		points_of(o->cmd));
	o->prompt.len = 0;
	return say(&o->prompt, prompt, err);
}

static enum ds_status plan(struct outline *o, const struct infer_text *text, struct ds_err *err)
{
	o->plan.len = 0;
	DS_TRY(make_plan_prompt(o, err));
	DS_TRY(ask(o, text, append, &o->plan, err));
	o->n_point = ds_outline_points(o->plan.data, o->plan.len, o->point, points_of(o->cmd));
	return o->n_point ? DS_OK : ds_fail(err, DS_EFORMAT, "the model gave no outline");
}

/* The prompt of a part names all points, so that it keeps to its own. */
static enum ds_status make_prompt(struct outline *o, size_t which, struct ds_err *err)
{
	char text[120];

	o->prompt.len = 0;
	DS_TRY(say(&o->prompt, "This is an outline of the text above:\n\n", err));
	for (size_t i = 0; i < o->n_point; i++) {
		snprintf(text, sizeof text, "%zu. ", i + 1);
		DS_TRY(say(&o->prompt, text, err));
		DS_TRY(ds_buf_append(&o->prompt, o->point[i].bytes, o->point[i].len, err));
		DS_TRY(say(&o->prompt, "\n", err));
	}
	snprintf(text, sizeof text,
		 "\nWrite what the text says about point %zu in a few sentences. Write nothing "
		 "else.",
		 which + 1);
	return say(&o->prompt, text, err);
}

static enum ds_status put_points(struct outline *o, const struct infer_text *text,
				 struct ds_err *err)
{
	for (size_t i = 0; i < o->n_point; i++) {
		o->last = 0;
		DS_TRY(put(o, "# ", 2, err));
		DS_TRY(put(o, o->point[i].bytes, o->point[i].len, err));
		DS_TRY(put(o, "\n\n", 2, err));
		DS_TRY(make_prompt(o, i, err));
		DS_TRY(ask(o, text, put_part, o, err));
		DS_TRY(put(o, "\n\n", o->last == '\n' ? 1 : 2, err));
	}
	return DS_OK;
}

static enum ds_status put_json(struct outline *o, const struct infer_text *text, struct ds_err *err)
{
	struct ds_buf part = {0};
	enum ds_status st = DS_OK;

	DS_TRY(ds_buf_append(&o->made, "{", 1, err));
	DS_TRY(ds_json_string("doc", text->name.name, text->name.name_len, &o->made, err));
	DS_TRY(say(&o->made, ",\"outline\":[", err));
	for (size_t i = 0; i < o->n_point && st == DS_OK; i++) {
		part.len = 0;
		st = say(&o->made, i ? ",{" : "{", err);
		if (st == DS_OK)
			st = ds_json_string("heading", o->point[i].bytes, o->point[i].len, &o->made,
					    err);
		if (st == DS_OK)
			st = make_prompt(o, i, err);
		if (st == DS_OK)
			st = ask(o, text, append, &part, err);
		if (st == DS_OK)
			st = ds_json_string("text", part.data, part.len, &o->made, err);
		if (st == DS_OK)
			st = say(&o->made, "}", err);
	}
	ds_buf_fini(&part);
	return st == DS_OK ? say(&o->made, "]}\n", err) : st;
}

static enum ds_status outline_text(struct outline *o, const struct infer_text *text,
				   struct ds_err *err)
{
	struct infer *cmd = o->cmd;

	o->made.len = 0;
	DS_TRY(plan(o, text, err));
	if (cmd->format != CLI_JSONL)
		DS_TRY(put_points(o, text, err));
	if (cmd->format == CLI_FRAMES)
		return infer_put_text(cmd, &text->name, &o->made, err);
	if (cmd->format == CLI_TEXT)
		return DS_OK;
	DS_TRY(put_json(o, text, err));
	return ds_out_write(&cmd->out, o->made.data, o->made.len, err);
}

/* --- a document as it comes ---------------------------------------------------------------- */

static enum ds_status begin(void *user, const struct infer_name *name, struct ds_err *err)
{
	struct outline *o = user;
	struct ds_turn turn = {.system = o->cmd->system ? &o->system : NULL, .n_text = 1};

	o->name.len = 0;
	o->any = false;
	DS_TRY(ds_buf_append(&o->name, name->name, name->name_len, err));
	DS_TRY(ds_digest_reset(o->digest, err));
	infer_skip_begin(o->cmd, &o->beginning);
	o->reader.opening.active = false;
	return o->beginning.held ? DS_OK : ds_reader_begin(&o->reader, &turn, err);
}

/* A document that is read chunk by chunk is read ahead no further. */
static enum ds_status push(struct outline *o, const struct ds_part *text, struct ds_err *err)
{
	DS_TRY(ds_digest_push(o->digest, text->bytes, text->len, err));
	if (ds_digest_is_long(o->digest))
		o->reader.opening.active = false;
	return ds_reader_more(&o->reader, text->bytes, text->len, false, err);
}

static enum ds_status more(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct outline *o = user;
	struct ds_part text = {bytes, n};

	o->any = true;
	DS_TRY(infer_skip_more(o->cmd, &o->reader, &o->beginning, &text, err));
	return push(o, &text, err);
}

static enum ds_status idle(void *user, struct ds_err *err)
{
	struct outline *o = user;

	return ds_reader_more(&o->reader, NULL, 0, true, err);
}

static enum ds_status end(void *user, struct ds_err *err)
{
	struct outline *o = user;
	struct infer_text text = {.name = {(const char *)o->name.data, o->name.len}};
	struct ds_digest_totals totals;
	struct ds_part part;

	if (!o->any)
		return ds_fail(err, DS_EINVAL, "the document is empty");
	DS_TRY(infer_skip_end(o->cmd, &o->reader, &o->beginning, &part, err));
	DS_TRY(push(o, &part, err));
	DS_TRY(ds_digest_end(o->digest, &part, &totals, err));
	o->chunks += totals.chunks;
	if (totals.chunks > 1)
		cli_note(&o->cmd->cli, "%.*s: %llu chunks, %llu summaries",
			 o->name.len ? (int)o->name.len : 7,
			 o->name.len ? (const char *)o->name.data : "(stdin)",
			 (unsigned long long)totals.chunks, (unsigned long long)totals.summaries);
	text.bytes = part.bytes;
	text.len = part.len;
	return outline_text(o, &text, err);
}

/* What the prompts and answers leave of the context. */
static enum ds_status new_digest(struct outline *o, const struct ds_generate_options *generation,
				 struct ds_err *err)
{
	struct ds_digest_options d = {.system = o->cmd->system ? &o->system : NULL,
				      .generation = *generation};
	struct ds_part prompt;
	size_t quarter = o->reader.context / 4, answer = generation->n_max;
	size_t headings = points_of(o->cmd) * HEADING_TOKENS;

	answer = answer < quarter ? answer : quarter;
	headings = headings < quarter ? headings : quarter;
	DS_TRY(make_plan_prompt(o, err));
	prompt = (struct ds_part){o->prompt.data, o->prompt.len};
	DS_TRY(ds_digest_room(&o->reader, d.system, &prompt, answer + headings, &d.room, err));
	return ds_digest_new(&o->digest, &o->reader, &d, err);
}

static enum ds_status run(struct outline *o, struct ds_err *err)
{
	struct infer *cmd = o->cmd;
	struct infer_sink sink = {
		.begin = begin, .more = more, .idle = idle, .end = end, .user = o};
	struct ds_generate_options generation = cmd->generation;

	if (generation.n_max == 0)
		generation.n_max = INFER_TOKENS_DEFAULT;
	DS_TRY(infer_open_reader(cmd, &o->reader, err));
	DS_TRY(ds_generator_new(&o->gen, &o->reader, &generation, err));
	DS_TRY(new_digest(o, &generation, err));
	DS_TRY(infer_open_output(cmd, err));
	DS_TRY(infer_each_document(cmd, &sink, err));
	return infer_close_output(cmd, err);
}

enum ds_status infer_outline(struct infer *cmd, struct ds_err *err)
{
	const char *sys = cmd->system;
	struct outline o = {.cmd = cmd, .system = {sys, sys ? strlen(sys) : 0}};
	enum ds_status st = run(&o, err);

	if (o.gen) {
		infer_reader_stats(cmd, &o.reader);
		infer_generator_stats(cmd, o.gen);
		cli_stat_u64(&cmd->cli, "chunks", o.chunks);
	}
	ds_digest_free(o.digest);
	ds_generator_free(o.gen);
	ds_reader_close(&o.reader);
	ds_buf_fini(&o.name);
	ds_buf_fini(&o.beginning.bytes);
	ds_buf_fini(&o.plan);
	ds_buf_fini(&o.prompt);
	ds_buf_fini(&o.made);
	return st;
}
