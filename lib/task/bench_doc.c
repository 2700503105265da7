/* bench_doc.c - a long document of exactly so many tokens, with facts planted in it to ask for */
#include "task/bench_doc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A planted line goes behind a sentence's end among so many tokens before its place. */
#define SEARCH_TOKENS 64
#define LINE_BYTES 200

/* The first "%" is a name, the second a number; stem: the beginning of the answer. */
static const struct wording {
	const char *sentence, *question, *stem;
} wordings[DS_NEEDLE_WORDINGS] = {
	{"The magic number for project % is %.", "What is the magic number for project %?",
	 "The magic number for project % is"},
	{"Remember that the locker of % opens with the code %.",
	 "Which code opens the locker of %?", "The locker of % opens with the code"},
	{"The old boat of Captain % has the registration %.",
	 "Which registration has the old boat of Captain %?",
	 "The old boat of Captain % has the registration"},
};
static const struct needle {
	const char *name, *number;
} needles[DS_NEEDLES] = {
	{"Zephyr", "48271"}, {"Harriet", "70935"},  {"Brandt", "16382"},
	{"Orion", "90356"},  {"Melissa", "25148"},  {"Okafor", "83607"},
	{"Falcon", "17624"}, {"Jonathan", "59013"}, {"Silva", "34896"},
};
/* Of the body, in percent; the wordings of a depth stand two percent apart. */
static const unsigned depths[DS_NEEDLE_DEPTHS] = {10, 50, 90};

static const struct fact {
	const char *thing, *owner;
	unsigned percent; /* of the body */
} facts[DS_FACTS] = {
	{"copper kettle", "Aldous Finch", 5}, {"cedar chest", "Maria Lopes", 22},
	{"silver clock", "Peter Novak", 36},  {"blue lantern", "Ingrid Dahl", 62},
	{"walnut desk", "Samuel Osei", 71},   {"glass compass", "Clara Hughes", 82},
};
#define FACT_LINE "Register: the % belongs to %."
#define FACT_QUESTION "According to the register in the text, to whom does the % belong?"
#define FACT_STEM "The % belongs to"
#define SUMMARY_QUESTION "Summarise the text above in three sentences."

/* --- questions ----------------------------------------------------------------------------- */

static enum ds_status put_ids(struct ds_bench_question *q, const uint32_t *id, size_t n,
			      struct ds_err *err)
{
	DS_TRY(ds_grow(&q->id, &q->cap, q->n + n, sizeof *q->id, err));
	DS_TRY(ds_grow(&q->digit, &q->cap_digit, q->n + n, sizeof *q->digit, err));
	memcpy(q->id + q->n, id, n * sizeof *id);
	memset(q->digit + q->n, 0, n);
	q->n += n;
	return DS_OK;
}

/* The tokens of some parts of a turn, without what stands before every turn. */
static enum ds_status encode_parts(struct ds_reader *r, size_t begin, size_t end, bool first,
				   struct ds_err *err)
{
	size_t from = begin ? r->parts.part[begin - 1].end : 0, skip;
	struct ds_chat_parts some = {0};
	enum ds_status st = DS_OK;

	r->prompt.n = 0;
	DS_TRY(ds_chat_encode(&r->chat, &some, r->tok, r->enc, &r->prompt, err));
	skip = first ? 0 : r->prompt.n;
	r->prompt.n = 0;
	if (end > begin)
		st = ds_buf_append(&some.bytes, r->parts.bytes.data + from,
				   r->parts.part[end - 1].end - from, err);
	if (st == DS_OK)
		st = ds_grow(&some.part, &some.cap, end - begin, sizeof *some.part, err);
	for (size_t i = begin; i < end && st == DS_OK; i++) {
		some.part[some.n] = r->parts.part[i];
		some.part[some.n++].end -= from;
	}
	if (st == DS_OK)
		st = ds_chat_encode(&r->chat, &some, r->tok, r->enc, &r->prompt, err);
	if (st == DS_OK && skip) {
		r->prompt.n -= skip;
		memmove(r->prompt.id, r->prompt.id + skip, r->prompt.n * sizeof *r->prompt.id);
	}
	ds_chat_parts_fini(&some);
	return st;
}

/* A turn about a document: the part of it that stands for the document is *place_ret. */
static enum ds_status render(struct ds_reader *r, const char *question, size_t *place_ret,
			     struct ds_err *err)
{
	struct ds_turn turn = {.text = {{"-", 1}, {question, strlen(question)}}, .n_text = 2};
	size_t i;

	DS_TRY(ds_chat_render(&r->chat, &turn, &r->parts, err));
	/* the question is the last text of the user's, the document the one before */
	i = r->parts.n;
	while (r->parts.part[i - 1].kind != DS_CHAT_TEXT &&
	       r->parts.part[i - 1].kind != DS_CHAT_RAW)
		i--;
	for (i--; r->parts.part[i - 1].kind != DS_CHAT_TEXT;)
		i--;
	*place_ret = i - 1;
	return DS_OK;
}

/* What stands between the document and the answer, into q. */
static enum ds_status ask(struct ds_bench_question *q, struct ds_reader *r, const char *question,
			  struct ds_err *err)
{
	char raw[2 * LINE_BYTES];
	size_t place;

	q->n = 0;
	if (!r->chat.family) {
		snprintf(raw, sizeof raw, "\n\nQuestion: %s\nAnswer:", question);
		question = raw;
	}
	DS_TRY(render(r, question, &place, err));
	DS_TRY(encode_parts(r, place + 1, r->parts.n, false, err));
	DS_TRY(put_ids(q, r->prompt.id, r->prompt.n, err));
	q->n_asked = q->n;
	return DS_OK;
}

/* The beginning of the answer; behind a template it begins a text. */
static enum ds_status put_stem(struct ds_bench_question *q, struct ds_reader *r, const char *stem,
			       struct ds_err *err)
{
	char text[LINE_BYTES];

	snprintf(text, sizeof text, "%s%s", r->chat.family ? "" : " ", stem);
	r->prompt.n = 0;
	DS_TRY(ds_encode(r->enc, text, strlen(text), DS_ENCODE_CONTINUE, &r->prompt, err));
	DS_TRY(put_ids(q, r->prompt.id, r->prompt.n, err));
	q->n_asked = q->n;
	return DS_OK;
}

/* The number, a space before it; tokens without a digit belong to the question. */
static enum ds_status put_number(struct ds_bench_question *q, struct ds_reader *r,
				 const char *number, struct ds_err *err)
{
	char text[DS_NEEDLE_DIGITS + 2];
	struct ds_tokens *t = &r->prompt;
	size_t begin = q->n, from = 0;

	snprintf(text, sizeof text, " %s", number);
	t->n = 0;
	DS_TRY(ds_encode(r->enc, text, strlen(text), DS_ENCODE_CONTINUE, t, err));
	DS_TRY(put_ids(q, t->id, t->n, err));
	for (size_t i = 0; i < t->n; from = t->end[i++]) {
		size_t space = from == 0 && t->end[i] > 0;

		q->digit[begin + i] = (uint8_t)(t->end[i] - from - space);
		if (q->digit[begin + i] == 0)
			q->n_asked = begin + i + 1;
	}
	return DS_OK;
}

/* A pattern with a in the place of its first "%" and b in that of its second. */
static const char *fill(char line[LINE_BYTES], const char *pattern, const char *a, const char *b)
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		const char *put = *pattern == '%' ? a : pattern;
		size_t len = *pattern == '%' ? strlen(a) : 1;

		assert(n + len < LINE_BYTES);
		memcpy(line + n, put, len);
		n += len;
		if (*pattern == '%')
			a = b;
	}
	line[n] = '\0';
	return line;
}

enum ds_status ds_bench_ask_needle(struct ds_bench_question *q, struct ds_reader *reader, size_t i,
				   struct ds_err *err)
{
	const struct wording *w = &wordings[i % DS_NEEDLE_WORDINGS];
	char line[LINE_BYTES];

	DS_TRY(ask(q, reader, fill(line, w->question, needles[i].name, NULL), err));
	DS_TRY(put_stem(q, reader, fill(line, w->stem, needles[i].name, NULL), err));
	return put_number(q, reader, needles[i].number, err);
}

enum ds_status ds_bench_ask_fact(struct ds_bench_question *q, struct ds_reader *reader, size_t i,
				 const char **answer_ret, struct ds_err *err)
{
	char line[LINE_BYTES];

	*answer_ret = facts[i].owner;
	DS_TRY(ask(q, reader, fill(line, FACT_QUESTION, facts[i].thing, NULL), err));
	return put_stem(q, reader, fill(line, FACT_STEM, facts[i].thing, NULL), err);
}

enum ds_status ds_bench_ask_summary(struct ds_bench_question *q, struct ds_reader *reader,
				    struct ds_err *err)
{
	return ask(q, reader, SUMMARY_QUESTION, err);
}

void ds_bench_question_fini(struct ds_bench_question *q)
{
	free(q->id);
	free(q->digit);
	*q = (struct ds_bench_question){0};
}

/* Tokens that the longest question with its answer takes. */
static enum ds_status longest_question(struct ds_reader *r, size_t *tokens_ret, struct ds_err *err)
{
	struct ds_bench_question q = {0};
	enum ds_status st = ds_bench_ask_summary(&q, r, err);
	size_t most = q.n + DS_SUMMARY_TOKENS_MAX;
	const char *answer;

	for (size_t i = 0; i < DS_NEEDLES && st == DS_OK; i++) {
		st = ds_bench_ask_needle(&q, r, i, err);
		most = q.n > most ? q.n : most;
	}
	for (size_t i = 0; i < DS_FACTS && st == DS_OK; i++) {
		st = ds_bench_ask_fact(&q, r, i, &answer, err);
		most = q.n + DS_FACT_TOKENS_MAX > most ? q.n + DS_FACT_TOKENS_MAX : most;
	}
	ds_bench_question_fini(&q);
	*tokens_ret = most;
	return st;
}

/* --- the document -------------------------------------------------------------------------- */

struct making {
	struct ds_bench_doc *doc;
	struct ds_reader *reader;
	const struct ds_tokens *text;
	const uint8_t *bytes;
	size_t at;   /* tokens of the document so far */
	size_t used; /* tokens of the text so far */
};

/* Whether the text's tokens before i end a sentence or a line. */
static bool ends_sentence(const struct making *m, size_t i)
{
	uint64_t end = i ? m->text->end[i - 1] : 0;
	uint8_t last = end ? m->bytes[end - 1] : '\n';
	/* a token may begin with the space behind a full stop, hardly end with it */
	uint8_t next = i < m->text->n && m->text->end[i] > end ? m->bytes[end] : ' ';

	if (last == '\n')
		return true;
	return (last == '.' || last == '!' || last == '?') && (next == ' ' || next == '\n');
}

static enum ds_status put_planted(struct making *m, const uint32_t *id, size_t n,
				  struct ds_err *err)
{
	struct ds_bench_doc *d = m->doc;

	if (n > d->n - m->at)
		return ds_fail(err, DS_ELIMIT, "a length of %zu tokens is too short", d->n);
	memcpy(d->id + m->at, id, n * sizeof *id);
	memset(d->planted + m->at, 1, n);
	m->at += n;
	return DS_OK;
}

/* Text up to position end of the document, or, at a sentence's end, a little less. */
static enum ds_status put_text(struct making *m, size_t end, bool exactly, struct ds_err *err)
{
	size_t n = end > m->at ? end - m->at : 0, back = 0;

	if (n > m->text->n - m->used)
		return ds_fail(err, DS_ELIMIT,
			       "the text has %zu tokens, too few for a length of %zu", m->text->n,
			       m->doc->n);
	while (!exactly && back < n && back < SEARCH_TOKENS &&
	       !ends_sentence(m, m->used + n - back))
		back++;
	if (back < n && back < SEARCH_TOKENS)
		n -= back;
	memcpy(m->doc->id + m->at, m->text->id + m->used, n * sizeof *m->text->id);
	memset(m->doc->planted + m->at, 0, n);
	m->at += n;
	m->used += n;
	return DS_OK;
}

struct line {
	size_t percent;
	char text[LINE_BYTES];
};

static int by_place(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->percent > y->percent) - (x->percent < y->percent);
}

/* All planted lines, in the order of their places, which differ. */
static void make_lines(struct line line[DS_NEEDLES + DS_FACTS])
{
	for (size_t i = 0; i < DS_NEEDLES; i++, line++) {
		size_t w = i % DS_NEEDLE_WORDINGS;

		fill(line->text, wordings[w].sentence, needles[i].name, needles[i].number);
		line->percent = depths[i / DS_NEEDLE_WORDINGS] + 2 * w - 2;
	}
	for (size_t i = 0; i < DS_FACTS; i++, line++) {
		fill(line->text, FACT_LINE, facts[i].thing, facts[i].owner);
		line->percent = facts[i].percent;
	}
}

static enum ds_status put_body(struct making *m, size_t body_max, struct ds_err *err)
{
	struct line line[DS_NEEDLES + DS_FACTS];
	size_t n = sizeof line / sizeof *line, place, begin;
	struct ds_reader *r = m->reader;

	make_lines(line);
	qsort(line, n, sizeof *line, by_place);
	DS_TRY(render(r, "-", &place, err));
	DS_TRY(encode_parts(r, 0, place, true, err));
	DS_TRY(put_planted(m, r->prompt.id, r->prompt.n, err));
	begin = m->at;
	if (begin >= body_max)
		return ds_fail(err, DS_ELIMIT, "a length of %zu tokens is too short", m->doc->n);
	for (size_t i = 0; i < n; i++) {
		char text[LINE_BYTES + 2];

		DS_TRY(put_text(m, begin + (body_max - begin) * line[i].percent / 100, false, err));
		snprintf(text, sizeof text, "\n%s\n", line[i].text);
		r->prompt.n = 0;
		DS_TRY(ds_encode(r->enc, text, strlen(text), DS_ENCODE_CONTINUE, &r->prompt, err));
		DS_TRY(put_planted(m, r->prompt.id, r->prompt.n, err));
	}
	if (m->at > body_max)
		return ds_fail(err, DS_ELIMIT, "a length of %zu tokens is too short", m->doc->n);
	return put_text(m, body_max, false, err);
}

enum ds_status ds_bench_doc_make(struct ds_bench_doc *doc, struct ds_reader *reader,
				 const struct ds_tokens *text, const void *bytes, size_t length,
				 struct ds_err *err)
{
	struct making m = {.doc = doc, .reader = reader, .text = text, .bytes = bytes};
	size_t reserve;

	*doc = (struct ds_bench_doc){.n = length};
	DS_TRY(longest_question(reader, &reserve, err));
	if (reserve >= length)
		return ds_fail(err, DS_ELIMIT,
			       "a length of %zu tokens is too short: questions take %zu", length,
			       reserve);
	doc->id = ds_alloc(length, sizeof *doc->id);
	doc->planted = ds_alloc(length, sizeof *doc->planted);
	if (!doc->id || !doc->planted)
		return ds_fail_nomem(err, length * sizeof *doc->id);
	DS_TRY(put_body(&m, length - reserve, err));
	doc->body = m.at;
	DS_TRY(put_text(&m, length, true, err));
	doc->text_used = m.used;
	return DS_OK;
}

void ds_bench_doc_fini(struct ds_bench_doc *doc)
{
	free(doc->id);
	free(doc->planted);
	*doc = (struct ds_bench_doc){0};
}
