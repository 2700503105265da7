/* profile.c - attention policies found for one model, as text */
#include "attn/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

#define LINE_BYTES 256
#define WORDS_MAX 3

/* The line at hand, its words zero-terminated in place of the text. */
struct line {
	char text[LINE_BYTES];
	char *word[WORDS_MAX];
	size_t n_word;
	uint64_t offset; /* in the file */
};

struct parsing {
	struct ds_attn_profile *profile;
	const char *text;
	size_t n, at; /* at: of the next line */
	size_t cap;
	struct line line;
	struct ds_err *err;
};

static enum ds_status wrong(struct parsing *p, const char *what, const char *expected)
{
	return ds_fail_at(p->err, DS_EFORMAT, NULL, p->line.offset, "%s, expected: %s", what,
			  expected);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static enum ds_status split(struct parsing *p)
{
	struct line *l = &p->line;
	char *c = l->text;

	l->n_word = 0;
	for (;;) {
		while (is_blank(*c))
			*c++ = '\0';
		if (*c == '\0' || *c == '#')
			break;
		if (l->n_word == WORDS_MAX)
			return wrong(p, "a line of more than three words", "KEY VALUE...");
		l->word[l->n_word++] = c;
		while (*c && !is_blank(*c))
			c++;
	}
	*c = '\0';
	return DS_OK;
}

/* The next line with words in it; DS_END behind the last.  What follows "#" is for people. */
static enum ds_status next_line(struct parsing *p)
{
	do {
		const char *line, *feed;
		size_t n, kept;

		p->line.offset = p->at;
		if (p->at >= p->n)
			return DS_END;
		line = p->text + p->at;
		feed = memchr(line, '\n', p->n - p->at);
		n = feed ? (size_t)(feed - line) : p->n - p->at;
		p->at += n + !!feed;
		kept = memchr(line, '#', n) ? (size_t)((char *)memchr(line, '#', n) - line) : n;
		if (memchr(line, '\0', kept) || kept >= sizeof p->line.text)
			return wrong(p, "no line of text", "KEY VALUE...");
		memcpy(p->line.text, line, kept);
		p->line.text[kept] = '\0';
		DS_TRY(split(p));
	} while (p->line.n_word == 0);
	return DS_OK;
}

/* A number of these digits (base 10 or 16) alone. */
static bool number(const char *word, int base, uint64_t max, uint64_t *value_ret)
{
	const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";
	size_t n = strspn(word, digits);
	char *end;

	if (n == 0 || n > 16 || word[n])
		return false;
	*value_ret = strtoull(word, &end, base);
	return *value_ret <= max;
}

/* A line "KEY VALUE" that must come next. */
static enum ds_status take_number(struct parsing *p, const char *key, int base, uint64_t max,
				  uint64_t *value_ret)
{
	enum ds_status st = next_line(p);
	const struct line *l = &p->line;
	char expected[80];

	if (st != DS_OK && st != DS_END)
		return st;
	snprintf(expected, sizeof expected,
		 base == 16 ? "%s and 16 hexadecimal digits" : "%s and a number", key);
	if (st == DS_END || l->n_word != 2 || strcmp(l->word[0], key) != 0 ||
	    !number(l->word[1], base, max, value_ret) || (base == 16 && strlen(l->word[1]) != 16))
		return wrong(p, st == DS_END ? "the profile ends" : "another line", expected);
	return DS_OK;
}

/* "layers A-B POLICY" or "layers A POLICY": A is the first layer not yet told. */
static enum ds_status take_layers(struct parsing *p)
{
	static const char expected[] = "layers FIRST-LAST POLICY, from the layer that is next on";
	struct ds_attn_profile *f = p->profile;
	struct line *l = &p->line;
	uint64_t first = 0, last = 0;
	struct ds_attn_policy policy;
	enum ds_status st;
	char *dash;

	if (l->n_word != 3 || strcmp(l->word[0], "layers") != 0)
		return wrong(p, "another line", expected);
	dash = strchr(l->word[1], '-');
	if (dash)
		*dash = '\0';
	if (!number(l->word[1], 10, DS_PROFILE_LAYERS_MAX - 1, &first) ||
	    !number(dash ? dash + 1 : l->word[1], 10, DS_PROFILE_LAYERS_MAX - 1, &last) ||
	    first != f->n_layer || last < first)
		return wrong(p, "other layers", expected);
	st = ds_attn_policy_parse(&policy, l->word[2], p->err);
	if (st != DS_OK) {
		if (p->err)
			p->err->offset = l->offset;
		return st;
	}
	DS_TRY(ds_grow(&f->policy, &p->cap, last + 1, sizeof *f->policy, p->err));
	while (f->n_layer <= last)
		f->policy[f->n_layer++] = policy;
	return DS_OK;
}

static enum ds_status parse(struct parsing *p)
{
	uint64_t version, model, length;
	enum ds_status st;

	DS_TRY(take_number(p, "ds-profile", 10, UINT32_MAX, &version));
	if (version != 1)
		return ds_fail_at(p->err, DS_EUNSUPPORTED, NULL, p->line.offset,
				  "a profile of version %" PRIu64 ", 1 expected", version);
	DS_TRY(take_number(p, "model", 16, UINT64_MAX, &model));
	DS_TRY(take_number(p, "length", 10, UINT32_MAX, &length));
	p->profile->model = model;
	p->profile->length = (uint32_t)length;
	while ((st = next_line(p)) == DS_OK)
		DS_TRY(take_layers(p));
	if (st != DS_END)
		return st;
	if (p->profile->n_layer == 0)
		return wrong(p, "the profile ends", "layers FIRST-LAST POLICY");
	return DS_OK;
}

enum ds_status ds_attn_profile_parse(struct ds_attn_profile *profile, const void *text, size_t n,
				     struct ds_err *err)
{
	struct parsing p = {.profile = profile, .text = text, .n = n, .err = err};
	enum ds_status st;

	*profile = (struct ds_attn_profile){0};
	st = parse(&p);
	if (st != DS_OK)
		ds_attn_profile_fini(profile);
	return st;
}

static enum ds_status check_model(const struct ds_attn_profile *f, uint64_t model, uint32_t n_layer,
				  struct ds_err *err)
{
	if (f->model != model)
		return ds_fail(err, DS_EINVAL,
			       "the profile is for the model %016" PRIx64
			       ", this one is %016" PRIx64,
			       f->model, model);
	if (f->n_layer != n_layer)
		return ds_fail(err, DS_EINVAL, "the profile has %u layers, the model %u",
			       f->n_layer, n_layer);
	return DS_OK;
}

enum ds_status ds_attn_profile_read(struct ds_attn_profile *profile, const char *path,
				    uint64_t model, uint32_t n_layer, struct ds_err *err)
{
	struct ds_buf text = {0};
	enum ds_status st = ds_read_all(path, DS_PROFILE_BYTES_MAX, &text, err);

	*profile = (struct ds_attn_profile){0};
	if (st == DS_OK)
		st = ds_attn_profile_parse(profile, text.data, text.len, err);
	if (st == DS_OK)
		st = check_model(profile, model, n_layer, err);
	if (st != DS_OK) {
		ds_err_set_path(err, path);
		ds_attn_profile_fini(profile);
	}
	ds_buf_fini(&text);
	return st;
}

static enum ds_status put(struct ds_buf *text, struct ds_err *err, const char *line)
{
	return ds_buf_append(text, line, strlen(line), err);
}

static enum ds_status put_note(struct ds_buf *text, const char *note, struct ds_err *err)
{
	while (note && *note) {
		size_t n = strcspn(note, "\n");

		DS_TRY(put(text, err, "# "));
		DS_TRY(ds_buf_append(text, note, n, err));
		DS_TRY(put(text, err, "\n"));
		note += n + (note[n] == '\n');
	}
	return DS_OK;
}

enum ds_status ds_attn_profile_write(const struct ds_attn_profile *f, const char *note,
				     struct ds_buf *text, struct ds_err *err)
{
	char policy[DS_ATTN_TEXT_BYTES], next[DS_ATTN_TEXT_BYTES], line[LINE_BYTES];

	snprintf(line, sizeof line, "ds-profile 1\nmodel %016" PRIx64 "\nlength %u\n", f->model,
		 f->length);
	DS_TRY(put(text, err, line));
	for (uint32_t first = 0, end; first < f->n_layer; first = end) {
		ds_attn_policy_text(&f->policy[first], policy, sizeof policy);
		for (end = first + 1; end < f->n_layer; end++) {
			ds_attn_policy_text(&f->policy[end], next, sizeof next);
			if (strcmp(policy, next) != 0)
				break;
		}
		snprintf(line, sizeof line, "layers %u-%u %s\n", first, end - 1, policy);
		DS_TRY(put(text, err, line));
	}
	return put_note(text, note, err);
}

void ds_attn_profile_fini(struct ds_attn_profile *profile)
{
	free(profile->policy);
	*profile = (struct ds_attn_profile){0};
}
