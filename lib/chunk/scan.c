/* scan.c - the walk over a text that finds marks; lines and stops are judged by outline.c and
 * sentence.c */
#include "chunk/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void ds_scan_reset(struct ds_scan *s)
{
	struct ds_mark *mark = s->mark;
	size_t cap = s->cap;

	*s = (struct ds_scan){.line_start = true, .mark = mark, .cap = cap};
}

void ds_scan_fini(struct ds_scan *s)
{
	free(s->mark);
	*s = (struct ds_scan){0};
}

void ds_scan_forget(struct ds_scan *s, uint64_t pos)
{
	size_t gone = 0;

	while (gone < s->n && s->mark[gone].pos < pos)
		gone++;
	/* moved once in a while only, so that the work stays linear */
	if (gone * 2 < s->n || gone == 0)
		return;
	memmove(s->mark, s->mark + gone, (s->n - gone) * sizeof *s->mark);
	s->n -= gone;
}

static enum ds_status add_mark(struct ds_scan *s, uint64_t pos, enum ds_rank rank,
			       struct ds_err *err)
{
	if (pos == 0)
		return DS_OK;
	if (s->n && s->mark[s->n - 1].pos == pos) {
		if (s->mark[s->n - 1].rank < rank)
			s->mark[s->n - 1].rank = (uint8_t)rank;
		return DS_OK;
	}
	DS_TRY(ds_grow(&s->mark, &s->cap, s->n + 1, sizeof *s->mark, err));
	s->mark[s->n++] = (struct ds_mark){.pos = pos, .rank = (uint8_t)rank};
	return DS_OK;
}

/* A line inside a code fence begins: it may close the fence. */
static enum ds_status fenced_line(struct ds_scan *s, const struct ds_line *l, struct ds_err *err)
{
	enum ds_rank rank = s->blank_lines ? DS_RANK_SENTENCE : DS_RANK_LINE;
	uint32_t len;

	if (l->p == l->end) {
		s->blank_lines++;
		return DS_OK;
	}
	s->blank_lines = 0;
	len = ds_outline_fence(l);
	if (len >= s->fence_len && *l->p == s->fence && l->p + len == l->end) {
		s->fence = 0;
		s->above = DS_ABOVE_FENCE_END;
		return DS_OK;
	}
	return add_mark(s, s->pos, rank, err);
}

/* The rank of the beginning of an ordinary line that is not blank. */
static enum ds_rank text_rank(const struct ds_scan *s, const struct ds_line *l)
{
	switch (s->above) {
	case DS_ABOVE_FENCE_END:
		return DS_RANK_FENCE;
	case DS_ABOVE_BLANK:
	case DS_ABOVE_ITEM:
		return s->blank_lines > 1 || ds_outline_rule(l) ? DS_RANK_GAP : DS_RANK_PARAGRAPH;
	default:
		return s->sentence_ended || ds_outline_item(l) ? DS_RANK_SENTENCE : DS_RANK_LINE;
	}
}

static void blank_line(struct ds_scan *s, const struct ds_line *l)
{
	s->blank_lines++;
	if (memchr(l->p - l->indent, '\f', l->indent))
		s->blank_lines++; /* a page ends: as good as a wider gap */
	if (s->above != DS_ABOVE_NONE)
		s->above = s->item ? DS_ABOVE_ITEM : DS_ABOVE_BLANK;
}

/* An ordinary line begins. */
static enum ds_status text_line(struct ds_scan *s, const struct ds_line *l, const uint8_t *hi,
				struct ds_err *err)
{
	uint8_t heading_lines = 0;
	uint32_t fence_len;
	enum ds_rank rank;

	if (s->heading_left) {
		s->heading_left--;
		return DS_OK;
	}
	if (l->p == l->end) {
		blank_line(s, l);
		return DS_OK;
	}
	fence_len = ds_outline_fence(l);
	if (!fence_len)
		heading_lines = ds_outline_heading(l, hi, s->above);
	rank = fence_len ? DS_RANK_FENCE : heading_lines ? DS_RANK_HEADING : text_rank(s, l);
	/* what follows a heading stays with it, be it text, a fence or a heading below it */
	if (!s->glue || heading_lines)
		DS_TRY(add_mark(s, s->pos, s->glue ? DS_RANK_LINE : rank, err));
	if (fence_len) {
		/* after a heading the place to cut is before the heading */
		if (s->n && (s->glue || s->mark[s->n - 1].pos == s->pos))
			s->mark[s->n - 1].opens_fence = 1;
		s->fence = *l->p;
		s->fence_len = fence_len;
	}
	s->glue = heading_lines > 0;
	s->heading_left = heading_lines ? heading_lines - 1 : 0;
	s->above = heading_lines ? DS_ABOVE_HEADING : DS_ABOVE_TEXT;
	s->item = ds_outline_item(l);
	s->blank_lines = 0;
	return DS_OK;
}

typedef uint8_t vec __attribute__((vector_size(16)));

/* Whether 16 bytes hold nothing that may matter in ASCII text. */
static bool is_dull(const uint8_t *p)
{
	uint64_t any[2];
	vec v, hit;

	memcpy(&v, p, sizeof v);
	hit = (vec)(v == '\n') | (vec)(v == '.') | (vec)(v == '!') | (vec)(v == '?') | (v & 0x80);
	memcpy(any, &hit, sizeof any);
	return (any[0] | any[1]) == 0;
}

/* The next byte at or after p that may matter. */
static const uint8_t *skip_dull(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *class = ds_sentence_byte;

	while (end - p >= 16) {
		if (!is_dull(p))
			for (int i = 0; i < 16; i++)
				if (class[p[i]])
					return p + i;
		p += 16;
	}
	while (p < end && !class[*p])
		p++;
	return p;
}

static const uint8_t *bound(const uint8_t *p, const uint8_t *end, ptrdiff_t ahead)
{
	return end - p > ahead ? p + ahead : end;
}

/* From p to the end of its line, or to stop; what may be seen ends at end. */
static enum ds_status rest_of_line(struct ds_scan *s, const struct ds_window *w,
				   const uint8_t *stop, struct ds_err *err)
{
	const uint8_t *p = w->data + (s->pos - w->base), *end = w->data + w->n;

	if (s->fence) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(stop - p));

		p = newline ? newline : stop;
	}
	for (p = s->fence ? p : skip_dull(p, stop); p < stop && *p != '\n';
	     p = skip_dull(p, stop)) {
		const uint8_t *lo = p - w->data > DS_SCAN_BACK ? p - DS_SCAN_BACK : w->data;
		bool ends;
		size_t step = ds_sentence_stop(lo, p, bound(p, end, DS_SCAN_AHEAD), &ends);

		p += step;
		s->pos = w->base + (uint64_t)(p - w->data);
		/* a stop skips less than what may be seen, so *p is there unless all is done */
		s->sentence_ended = ends && (p >= end || *p == '\n');
		if (ends && p < end && *p != '\n')
			DS_TRY(add_mark(s, s->pos, DS_RANK_SENTENCE, err));
		if (p >= stop)
			return DS_OK;
	}
	if (p < stop) {
		s->line_start = true;
		p++;
	}
	s->pos = w->base + (uint64_t)(p - w->data);
	return DS_OK;
}

enum ds_status ds_scan_run(struct ds_scan *s, const struct ds_window *w, struct ds_err *err)
{
	const uint8_t *end = w->data + w->n;
	const uint8_t *stop = w->last ? end : w->n > DS_SCAN_AHEAD ? end - DS_SCAN_AHEAD : w->data;
	uint64_t stop_pos = w->base + (uint64_t)(stop - w->data);

	while (s->pos < stop_pos) {
		if (s->line_start) {
			const uint8_t *p = w->data + (s->pos - w->base);
			const uint8_t *hi = bound(p, end, DS_SCAN_AHEAD);

			struct ds_line l = ds_outline_line(p, hi);

			if (s->fence)
				DS_TRY(fenced_line(s, &l, err));
			else
				DS_TRY(text_line(s, &l, hi, err));
			s->line_start = false;
			s->sentence_ended = false;
		}
		DS_TRY(rest_of_line(s, w, stop, err));
	}
	return DS_OK;
}
