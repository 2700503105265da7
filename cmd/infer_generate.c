/*
 * infer_generate.c - ds-infer -t generate: an answer to every prompt
 *
 * A prompt is made of the --document, the text of an input and -p, as far as they are given.  Text
 * leaves as it is made; JSON lines and frames tell more about an answer and wait for its end.
 */
#include <stdio.h>
#include <string.h>

#include "frame/json.h"
#include "infer.h"

struct generate {
	struct infer *cmd;
	struct ds_reader reader;
	struct ds_generator *gen;
	struct ds_buf document; /* of --document */
	struct ds_buf answer, line;
	uint8_t last; /* byte of the answer */
	uint64_t cut; /* answers that ended at the default of -n */
};

static enum ds_status take_bytes(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	struct generate *g = user;
	struct infer *cmd = g->cmd;

	if (cmd->format != CLI_TEXT)
		return ds_buf_append(&g->answer, bytes, n, err);
	g->last = bytes[n - 1];
	DS_TRY(ds_out_write(&cmd->out, bytes, n, err));
	return cmd->cli.output ? DS_OK : ds_out_flush(&cmd->out, err);
}

static enum ds_status put_line(struct generate *g, const struct infer_text *text,
			       const struct ds_generated *made, struct ds_err *err)
{
	char figures[120];
	int n = snprintf(figures, sizeof figures,
			 ",\"finish\":\"%s\",\"prompt_tokens\":%zu,\"generated_tokens\":%zu}\n",
			 ds_finish_names[made->finish], made->prompt_tokens, made->tokens);

	g->line.len = 0;
	DS_TRY(ds_buf_append(&g->line, "{", 1, err));
	DS_TRY(ds_json_string("doc", text->name.name, text->name.name_len, &g->line, err));
	DS_TRY(ds_json_string("answer", g->answer.data, g->answer.len, &g->line, err));
	DS_TRY(ds_buf_append(&g->line, figures, (size_t)n, err));
	return ds_out_write(&g->cmd->out, g->line.data, g->line.len, err);
}

/* What is left to write of an answer that is complete. */
static enum ds_status put_answer(struct generate *g, const struct infer_text *text,
				 const struct ds_generated *made, struct ds_err *err)
{
	struct infer *cmd = g->cmd;

	if (cmd->format == CLI_FRAMES)
		return infer_put_text(cmd, &text->name, &g->answer, err);
	if (cmd->format == CLI_JSONL)
		DS_TRY(put_line(g, text, made, err));
	else if (g->last != '\n')
		DS_TRY(ds_out_write(&cmd->out, "\n", 1, err));
	return cmd->cli.output ? DS_OK : ds_out_flush(&cmd->out, err);
}

static enum ds_status answer(void *user, const struct infer_text *text, struct ds_err *err)
{
	struct generate *g = user;
	struct infer *cmd = g->cmd;
	struct ds_part system = {cmd->system, cmd->system ? strlen(cmd->system) : 0};
	struct ds_turn turn = {.system = cmd->system ? &system : NULL};
	struct ds_generated made;
	bool changed;

	if (g->document.len)
		turn.text[turn.n_text++] = (struct ds_part){g->document.data, g->document.len};
	if (text->len)
		turn.text[turn.n_text++] = (struct ds_part){text->bytes, text->len};
	if (cmd->prompt && *cmd->prompt)
		turn.text[turn.n_text++] = (struct ds_part){cmd->prompt, strlen(cmd->prompt)};
	if (turn.n_text == 0)
		return ds_fail(err, DS_EINVAL, "the prompt is empty");
	if (infer_skips(cmd) && !(cmd->document && g->reader.n_held))
		DS_TRY(infer_skip(cmd, &g->reader, &turn.text[0], &changed, err));
	g->answer.len = 0;
	g->last = 0;
	DS_TRY(ds_reader_turn(&g->reader, &turn, err));
	DS_TRY(ds_generate(g->gen, take_bytes, g, &made, err));
	g->cut += made.finish == DS_FINISH_LENGTH;
	return put_answer(g, text, &made, err);
}

/* -p and --document are enough: nothing else is read unless it is named. */
static enum ds_status answer_all(struct generate *g, struct ds_err *err)
{
	struct infer *cmd = g->cmd;
	struct infer_text alone = {.name.name = cmd->document ? cmd->document : ""};
	struct ds_part system = {cmd->system, cmd->system ? strlen(cmd->system) : 0};
	struct infer_ahead ahead = {&g->reader, {.system = cmd->system ? &system : NULL}};

	if (cmd->document)
		DS_TRY(infer_read_ahead(cmd, &ahead, cmd->document, &g->document, err));
	if (g->document.len)
		ahead.turn.text[ahead.turn.n_text++] =
			(struct ds_part){g->document.data, g->document.len};
	if (cmd->cli.n_operand || !cmd->prompt)
		return infer_each_text(cmd, &ahead, answer, g, err);
	alone.name.name_len = strlen(alone.name.name);
	cmd->documents = 1;
	return answer(g, &alone, err);
}

static enum ds_status run(struct generate *g, struct ds_err *err)
{
	struct infer *cmd = g->cmd;
	struct ds_generate_options o = cmd->generation;

	if (o.n_max == 0)
		o.n_max = INFER_TOKENS_DEFAULT;
	DS_TRY(infer_open_reader(cmd, &g->reader, err));
	DS_TRY(ds_generator_new(&g->gen, &g->reader, &o, err));
	DS_TRY(infer_open_output(cmd, err));
	DS_TRY(answer_all(g, err));
	if (g->cut && cmd->generation.n_max == 0)
		cli_warn(&cmd->cli, "%llu of %llu answers cut at %d tokens (-n)",
			 (unsigned long long)g->cut, (unsigned long long)cmd->documents,
			 INFER_TOKENS_DEFAULT);
	return infer_close_output(cmd, err);
}

enum ds_status infer_generate(struct infer *cmd, struct ds_err *err)
{
	struct generate g = {.cmd = cmd};
	enum ds_status st = run(&g, err);

	if (g.gen) {
		infer_reader_stats(cmd, &g.reader);
		infer_generator_stats(cmd, g.gen);
	}
	ds_generator_free(g.gen);
	ds_reader_close(&g.reader);
	ds_buf_fini(&g.document);
	ds_buf_fini(&g.answer);
	ds_buf_fini(&g.line);
	return st;
}
