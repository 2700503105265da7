/* classify.c - labels scored after a prompt that is read once */
#include "task/classify.h"

#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "kern/kern.h"

/* What stands for a document that says nothing. */
static const struct ds_part content_free = {"N/A", 3};

struct label {
	size_t first, n; /* its tokens */
	double free;	 /* log-probability after the content-free document */
};

struct ds_classifier {
	struct ds_reader *reader;
	struct ds_classify_options options;
	const struct ds_kern *kern;
	struct ds_buf question;
	struct ds_tokens tokens; /* of all labels */
	struct label *label;	 /* [n_label] */
	size_t tokens_max;	 /* of a label */
	float *row;		 /* [vocab] after the prompt */
};

static enum ds_status make_question(struct ds_classifier *c, struct ds_err *err)
{
	const struct ds_classify_options *o = &c->options;
	const char *pattern = DS_CLASSIFY_QUESTION, *place = strchr(pattern, '%');

	if (o->question)
		return ds_buf_append(&c->question, o->question->bytes, o->question->len, err);
	DS_TRY(ds_buf_append(&c->question, pattern, (size_t)(place - pattern), err));
	for (size_t i = 0; i < o->n_label; i++) {
		if (i)
			DS_TRY(ds_buf_append(&c->question, ", ", 2, err));
		DS_TRY(ds_buf_append(&c->question, o->label[i].bytes, o->label[i].len, err));
	}
	return ds_buf_append(&c->question, place + 1, strlen(place + 1), err);
}

static enum ds_status make_prompt(struct ds_classifier *c, const struct ds_part *document,
				  struct ds_err *err)
{
	struct ds_turn turn = {.system = c->options.system};

	turn.text[turn.n_text++] = *document;
	if (c->question.len)
		turn.text[turn.n_text++] = (struct ds_part){c->question.data, c->question.len};
	return ds_reader_turn(c->reader, &turn, err);
}

/* A label follows white space or a special token directly, other text after a space. */
static enum ds_status tokenize_labels(struct ds_classifier *c, struct ds_err *err)
{
	const struct ds_chat_parts *parts = &c->reader->parts;
	bool special = parts->n && parts->part[parts->n - 1].kind == DS_CHAT_SPECIAL;
	uint8_t last = parts->bytes.len ? parts->bytes.data[parts->bytes.len - 1] : ' ';
	bool space = !special && last != ' ' && (last < '\t' || last > '\r');
	struct ds_buf text = {0};
	enum ds_status st = DS_OK;

	for (size_t i = 0; i < c->options.n_label && st == DS_OK; i++) {
		const struct ds_part *label = &c->options.label[i];
		struct label *l = &c->label[i];

		text.len = 0;
		l->first = c->tokens.n;
		st = ds_buf_append(&text, " ", space, err);
		if (st == DS_OK)
			st = ds_buf_append(&text, label->bytes, label->len, err);
		if (st == DS_OK)
			st = ds_encode(c->reader->enc, text.data, text.len,
				       special ? 0 : DS_ENCODE_CONTINUE, &c->tokens, err);
		l->n = c->tokens.n - l->first;
		if (l->n > c->tokens_max)
			c->tokens_max = l->n;
		if (st == DS_OK && l->n == 0)
			st = ds_fail(err, DS_EINVAL, "a label without tokens");
	}
	ds_buf_fini(&text);
	return st;
}

/* ln p of the tokens after the prompt, whose logits are in c->row and have the sum lse. */
static enum ds_status score_label(struct ds_classifier *c, const struct label *l, double lse,
				  double *sum_ret, struct ds_err *err)
{
	struct ds_reader *r = c->reader;
	const uint32_t *id = c->tokens.id + l->first;
	size_t held = r->n_held;

	*sum_ret = c->row[id[0]] - lse;
	for (size_t i = 1; i < l->n; i++) {
		DS_TRY(ds_reader_append(r, &id[i - 1], 1, err));
		DS_TRY(ds_session_logits(r->session, 0, 1, r->logits, err));
		*sum_ret += r->logits[id[i]] - c->kern->logsumexp(r->logits, r->vocab);
	}
	ds_reader_truncate(r, held);
	return DS_OK;
}

/* Log-probabilities of all labels after the document. */
static enum ds_status score_labels(struct ds_classifier *c, const struct ds_part *document,
				   struct ds_label_score *score, struct ds_err *err)
{
	struct ds_reader *r = c->reader;
	double lse;

	DS_TRY(make_prompt(c, document, err));
	if (r->prompt.n + c->tokens_max > r->context)
		return ds_fail(err, DS_ELIMIT, "%zu tokens, the context holds %zu",
			       r->prompt.n + c->tokens_max, r->context);
	DS_TRY(ds_reader_read(r, r->prompt.id, r->prompt.n, 1, err));
	DS_TRY(ds_session_logits(r->session, 0, 1, c->row, err));
	lse = c->kern->logsumexp(c->row, r->vocab);
	for (size_t i = 0; i < c->options.n_label; i++)
		DS_TRY(score_label(c, &c->label[i], lse, &score[i].logprob, err));
	return DS_OK;
}

enum ds_status ds_classify(struct ds_classifier *c, const struct ds_part *document,
			   struct ds_label_score *score, size_t *best_ret, struct ds_err *err)
{
	size_t n = c->options.n_label, best = 0;
	double sum = 0, greatest;

	DS_TRY(score_labels(c, document, score, err));
	for (size_t i = 0; i < n; i++) {
		score[i].probability = score[i].logprob - c->label[i].free;
		if (score[i].probability > score[best].probability)
			best = i;
	}
	greatest = score[best].probability;
	for (size_t i = 0; i < n; i++)
		sum += score[i].probability = ds_exp(score[i].probability - greatest);
	for (size_t i = 0; i < n; i++)
		score[i].probability /= sum;
	*best_ret = best;
	return DS_OK;
}

enum ds_status ds_classifier_calibrate(struct ds_classifier *c, struct ds_err *err)
{
	size_t n = c->options.n_label;
	struct ds_label_score *score;
	enum ds_status st;

	if (!c->options.calibrate)
		return DS_OK;
	score = ds_alloc(n, sizeof *score);
	if (!score)
		return ds_fail_nomem(err, n * sizeof *score);
	st = score_labels(c, &content_free, score, err);
	for (size_t i = 0; i < n && st == DS_OK; i++)
		c->label[i].free = score[i].logprob;
	free(score);
	return st;
}

static enum ds_status set_up(struct ds_classifier *c, struct ds_err *err)
{
	DS_TRY(ds_kern_choose(&c->kern, err));
	c->label = ds_alloc_zero(c->options.n_label, sizeof *c->label);
	c->row = ds_alloc(c->reader->vocab, sizeof *c->row);
	if (!c->label || !c->row)
		return ds_fail_nomem(err, c->reader->vocab * sizeof *c->row);
	DS_TRY(make_question(c, err));
	DS_TRY(make_prompt(c, &content_free, err));
	DS_TRY(tokenize_labels(c, err));
	return ds_classifier_calibrate(c, err);
}

enum ds_status ds_classifier_new(struct ds_classifier **cls_ret, struct ds_reader *reader,
				 const struct ds_classify_options *options, struct ds_err *err)
{
	struct ds_classifier *c;
	enum ds_status st;

	if (options->n_label < 1 || options->n_label > DS_LABELS_MAX)
		return ds_fail(err, DS_EINVAL, "%zu labels, 1 to %d expected", options->n_label,
			       DS_LABELS_MAX);
	c = ds_alloc_zero(1, sizeof *c);
	if (!c)
		return ds_fail_nomem(err, sizeof *c);
	c->reader = reader;
	c->options = *options;
	st = set_up(c, err);
	if (st != DS_OK) {
		ds_classifier_free(c);
		return st;
	}
	*cls_ret = c;
	return DS_OK;
}

void ds_classifier_free(struct ds_classifier *c)
{
	if (!c)
		return;
	ds_tokens_fini(&c->tokens);
	ds_buf_fini(&c->question);
	free(c->label);
	free(c->row);
	free(c);
}
