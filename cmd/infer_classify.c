/* infer_classify.c - ds-infer -t classify: the label of every document */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame/json.h"
#include "infer.h"
#include "task/classify.h"

struct classify {
	struct infer *cmd;
	struct ds_reader reader;
	struct ds_classifier *cls;
	struct ds_part *label;	      /* [n_label] */
	struct ds_label_score *score; /* [n_label] */
	size_t n_label, cap;
	struct ds_buf line;
};

/* The next of --labels a,b,c, from *p on. */
static struct ds_part next_label(const char **p)
{
	const char *begin = *p, *end = strchrnul(begin, ',');

	*p = *end ? end + 1 : NULL;
	return (struct ds_part){begin, (size_t)(end - begin)};
}

void infer_check_labels(const struct infer *cmd)
{
	size_t n = 0;

	for (const char *p = cmd->labels; p; n++) {
		struct ds_part label = next_label(&p);

		if (label.len == 0)
			cli_usage(&cmd->cli, "--labels: a label is empty");
		if (n == DS_LABELS_MAX)
			cli_usage(&cmd->cli, "--labels: at most %d labels", DS_LABELS_MAX);
		for (const char *q = p; q;) {
			struct ds_part other = next_label(&q);

			if (other.len == label.len &&
			    memcmp(other.bytes, label.bytes, label.len) == 0)
				cli_usage(&cmd->cli, "--labels: '%.*s' is there twice",
					  (int)label.len, (const char *)label.bytes);
		}
	}
}

static enum ds_status split_labels(struct classify *c, struct ds_err *err)
{
	for (const char *p = c->cmd->labels; p;) {
		DS_TRY(ds_grow(&c->label, &c->cap, c->n_label + 1, sizeof *c->label, err));
		c->label[c->n_label++] = next_label(&p);
	}
	c->score = ds_alloc(c->n_label, sizeof *c->score);
	return c->score ? DS_OK : ds_fail_nomem(err, c->n_label * sizeof *c->score);
}

static enum ds_status put_text(struct ds_buf *line, const char *text, struct ds_err *err)
{
	return ds_buf_append(line, text, strlen(text), err);
}

static enum ds_status put_number(struct ds_buf *line, const char *before, double value,
				 struct ds_err *err)
{
	char text[40];

	DS_TRY(put_text(line, before, err));
	snprintf(text, sizeof text, "%.6g", value);
	return put_text(line, text, err);
}

static enum ds_status put_json(struct classify *c, const struct infer_text *text, size_t best,
			       struct ds_err *err)
{
	struct ds_buf *line = &c->line;

	DS_TRY(put_text(line, "{", err));
	DS_TRY(ds_json_string("doc", text->name.name, text->name.name_len, line, err));
	DS_TRY(ds_json_string("label", c->label[best].bytes, c->label[best].len, line, err));
	DS_TRY(put_number(line, ",\"probability\":", c->score[best].probability, err));
	DS_TRY(put_text(line, ",\"labels\":[", err));
	for (size_t i = 0; i < c->n_label; i++) {
		DS_TRY(put_text(line, i ? ",{" : "{", err));
		DS_TRY(ds_json_string("label", c->label[i].bytes, c->label[i].len, line, err));
		DS_TRY(put_number(line, ",\"probability\":", c->score[i].probability, err));
		DS_TRY(put_number(line, ",\"logprob\":", c->score[i].logprob, err));
		DS_TRY(put_text(line, "}", err));
	}
	return put_text(line, "]}\n", err);
}

static enum ds_status classify_text(void *user, const struct infer_text *text, struct ds_err *err)
{
	struct classify *c = user;
	struct infer *cmd = c->cmd;
	struct ds_part part = {text->bytes, text->len};
	bool changed = false;
	size_t best;

	if (infer_skips(cmd))
		DS_TRY(infer_skip(cmd, &c->reader, &part, &changed, err));
	if (changed)
		DS_TRY(ds_classifier_calibrate(c->cls, err));
	DS_TRY(ds_classify(c->cls, &part, c->score, &best, err));
	c->line.len = 0;
	if (cmd->format == CLI_JSONL) {
		DS_TRY(put_json(c, text, best, err));
	} else {
		DS_TRY(ds_buf_append(&c->line, c->label[best].bytes, c->label[best].len, err));
		DS_TRY(put_number(&c->line, "\t", c->score[best].probability, err));
		DS_TRY(put_text(&c->line, "\n", err));
	}
	DS_TRY(ds_out_write(&cmd->out, c->line.data, c->line.len, err));
	return cmd->cli.output ? DS_OK : ds_out_flush(&cmd->out, err);
}

static enum ds_status run(struct classify *c, struct ds_err *err)
{
	struct infer *cmd = c->cmd;
	struct ds_part system = {cmd->system, cmd->system ? strlen(cmd->system) : 0};
	struct ds_part question = {cmd->prompt, cmd->prompt ? strlen(cmd->prompt) : 0};
	struct ds_classify_options o = {
		.system = cmd->system ? &system : NULL,
		.question = cmd->prompt ? &question : NULL,
		.calibrate = !cmd->no_calibrate,
	};

	struct infer_ahead ahead = {&c->reader, {.system = o.system}};

	DS_TRY(split_labels(c, err));
	o.label = c->label;
	o.n_label = c->n_label;
	DS_TRY(infer_open_reader(cmd, &c->reader, err));
	DS_TRY(ds_classifier_new(&c->cls, &c->reader, &o, err));
	DS_TRY(infer_open_output(cmd, err));
	DS_TRY(infer_each_text(cmd, &ahead, classify_text, c, err));
	return infer_close_output(cmd, err);
}

enum ds_status infer_classify(struct infer *cmd, struct ds_err *err)
{
	struct classify c = {.cmd = cmd};
	enum ds_status st = run(&c, err);

	if (c.cls)
		infer_reader_stats(cmd, &c.reader);
	ds_classifier_free(c.cls);
	ds_reader_close(&c.reader);
	free(c.label);
	free(c.score);
	ds_buf_fini(&c.line);
	return st;
}
