/*
 * infer_skip.c - --skip-layers: which layers ds-infer leaves out, and what that costs
 *
 * With auto the layers are chosen for every document anew, so that a document's result does not
 * depend on those beside it.  The cost is measured on the first document.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer.h"
#include "task/skip.h"

/* "7" or "7-9" from *p on, up to a comma or the end. */
static void add_range(struct infer *cmd, const char *arg, const char **p)
{
	struct infer_skip *s = &cmd->skip;
	unsigned long first, last;
	char *end;

	first = last = strtoul(*p, &end, 10);
	if (end > *p && *end == '-' && end[1] >= '0' && end[1] <= '9')
		last = strtoul(end + 1, &end, 10);
	if (**p < '0' || **p > '9' || (*end && *end != ',') || last < first ||
	    last >= INFER_LAYERS_MAX)
		cli_usage(&cmd->cli, "--skip-layers: '%s' is no list of layers (3,7-9) nor auto:N",
			  arg);
	for (unsigned long i = first; i <= last; i++)
		s->listed[i] = true;
	*p = *end ? end + 1 : end;
	if (*end && !**p)
		cli_usage(&cmd->cli, "--skip-layers: '%s' ends with a comma", arg);
}

void infer_parse_skip(struct infer *cmd, const char *arg)
{
	struct infer_skip *s = &cmd->skip;

	*s = (struct infer_skip){0};
	if (strncmp(arg, "auto:", 5) == 0) {
		s->n_auto =
			cli_num(&cmd->cli, arg + 5, "--skip-layers auto", 1, INFER_LAYERS_MAX - 1);
		return;
	}
	for (const char *p = arg; p == arg || *p;)
		add_range(cmd, arg, &p);
	for (uint32_t i = 0; i < INFER_LAYERS_MAX; i++)
		if (s->listed[i])
			s->layer[s->n++] = i;
	cmd->reading.skip = s->layer;
	cmd->reading.n_skip = s->n;
}

bool infer_skips(const struct infer *cmd)
{
	return cmd->skip.n_auto || (cmd->skip.n && !cmd->skip.told);
}

static const char *list(const struct infer_skip *s, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < s->n && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%u", i ? "," : "", s->layer[i]);
	return text;
}

/* The cost, on the first document. */
static enum ds_status tell(struct infer *cmd, const struct ds_reader *reader,
			   const struct ds_part *text, struct ds_err *err)
{
	struct infer_skip *s = &cmd->skip;
	struct ds_skip_cost cost;
	char layers[400];

	s->told = true;
	DS_TRY(ds_skip_measure(reader, text, s->layer, s->n, &cost, err));
	list(s, layers, sizeof layers);
	if (cost.tokens)
		cli_warn(&cmd->cli,
			 "layers %s of 0-%u left out: perplexity %.2f instead of %.2f (%+.1f %%) "
			 "on the first %zu tokens",
			 layers, ds_model_layers(cmd->model) - 1, cost.perplexity,
			 cost.perplexity_whole, 100 * (cost.perplexity / cost.perplexity_whole - 1),
			 cost.tokens);
	cli_stat_text(&cmd->cli, "skipped_layers", layers);
	cli_stat_u64(&cmd->cli, "skip_sample_tokens", cost.tokens);
	cli_stat_real(&cmd->cli, "skip_perplexity", cost.perplexity);
	cli_stat_real(&cmd->cli, "skip_perplexity_whole", cost.perplexity_whole);
	return DS_OK;
}

enum ds_status infer_skip(struct infer *cmd, struct ds_reader *reader, const struct ds_part *text,
			  bool *changed_ret, struct ds_err *err)
{
	struct infer_skip *s = &cmd->skip;
	uint32_t layer[INFER_LAYERS_MAX];
	char layers[400];
	size_t n;

	*changed_ret = false;
	if (s->n_auto) {
		DS_TRY(ds_skip_choose(reader, text, s->n_auto, layer, &n, err));
		*changed_ret = n != s->n || memcmp(layer, s->layer, n * sizeof *layer) != 0;
	}
	if (*changed_ret) {
		DS_TRY(ds_reader_skip(reader, layer, n, err));
		memcpy(s->layer, layer, n * sizeof *layer);
		s->n = n;
		cli_note(&cmd->cli, "layers %s left out", list(s, layers, sizeof layers));
	}
	return s->told || !s->n ? DS_OK : tell(cmd, reader, text, err);
}

void infer_skip_begin(const struct infer *cmd, struct infer_beginning *b)
{
	b->bytes.len = 0;
	b->held = infer_skips(cmd);
}

enum ds_status infer_skip_end(struct infer *cmd, struct ds_reader *reader,
			      struct infer_beginning *b, struct ds_part *text_ret,
			      struct ds_err *err)
{
	bool changed;

	*text_ret = (struct ds_part){"", 0};
	if (!b->held)
		return DS_OK;
	b->held = false;
	*text_ret = (struct ds_part){b->bytes.data, b->bytes.len};
	return infer_skip(cmd, reader, text_ret, &changed, err);
}

enum ds_status infer_skip_more(struct infer *cmd, struct ds_reader *reader,
			       struct infer_beginning *b, struct ds_part *text_io,
			       struct ds_err *err)
{
	if (!b->held)
		return DS_OK;
	DS_TRY(ds_buf_append(&b->bytes, text_io->bytes, text_io->len, err));
	*text_io = (struct ds_part){"", 0};
	return b->bytes.len < DS_SKIP_BYTES ? DS_OK : infer_skip_end(cmd, reader, b, text_io, err);
}
