/*
 * outline.c - headings, rules, list items and code fences, one line at a time
 *
 * Markdown (ATX and setext headings, fences: CommonMark 0.30, 4.2, 4.3, 4.5), reStructuredText
 * (underlines and overlines), AsciiDoc and MediaWiki (== title), LaTeX (\section), and what plain
 * text has: numbered titles, "Chapter 4", 第四章, titles in capitals, each alone between blank
 * lines.
 */
#include "chunk/scan.h"

#include <string.h>
#include <strings.h>

#define TITLE_BYTES_MAX 120

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_upper(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(uint8_t c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f';
}

/* strchr() would find the NUL. */
static bool one_of(uint8_t c, const char *set)
{
	return c && strchr(set, c);
}

struct ds_line ds_outline_line(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *newline = memchr(p, '\n', (size_t)(hi - p));
	struct ds_line l = {
		.p = p, .end = newline ? newline : hi, .next = newline ? newline + 1 : hi};

	while (l.p < l.end && is_space(*l.p))
		l.p++;
	l.indent = (size_t)(l.p - p);
	while (l.end > l.p && is_space(l.end[-1]))
		l.end--;
	return l;
}

static size_t length(const struct ds_line *l)
{
	return (size_t)(l->end - l->p);
}

static bool is_blank_at(const uint8_t *p, const uint8_t *hi)
{
	struct ds_line l = ds_outline_line(p, hi);

	return length(&l) == 0;
}

/* The run of equal characters at p. */
static size_t run(const uint8_t *p, const uint8_t *end)
{
	size_t n = 0;

	while (p + n < end && p[n] == p[0])
		n++;
	return n;
}

/* A line of one punctuation character, at least three times: 0 or that character. */
static uint8_t rule_char(const struct ds_line *l)
{
	if (length(l) < 3 || !one_of(*l->p, "=-`:'\"~^_*+#<>.") || run(l->p, l->end) < length(l))
		return 0;
	return *l->p;
}

bool ds_outline_rule(const struct ds_line *l)
{
	return l->indent < 4 && rule_char(l);
}

uint32_t ds_outline_fence(const struct ds_line *l)
{
	size_t n;

	if (length(l) < 3 || (*l->p != '`' && *l->p != '~'))
		return 0;
	n = run(l->p, l->end);
	/* a backtick after the info string makes it inline code */
	if (n < 3 || (*l->p == '`' && memchr(l->p + n, '`', length(l) - n)))
		return 0;
	return (uint32_t)n;
}

bool ds_outline_item(const struct ds_line *l)
{
	const uint8_t *q = l->p;

	if (length(l) < 3 || is_lower(*q | 0x20))
		return false;
	if (one_of(*q, "-*+"))
		return is_space(q[1]);
	if (length(l) > 4 && q[0] == 0xE2 && q[1] == 0x80 && (q[2] == 0xA2 || q[2] == 0xA3))
		return true; /* bullets */
	while (q < l->end && is_digit(*q) && q - l->p < 4)
		q++;
	return q > l->p && l->end - q > 1 && (*q == '.' || *q == ')') && is_space(q[1]);
}

static bool ends_like_prose(const struct ds_line *l)
{
	static const uint8_t wide[][3] = {
		{0xE3, 0x80, 0x82}, {0xEF, 0xBC, 0x8C}, {0xEF, 0xBC, 0x9B}, {0xE3, 0x80, 0x81}};

	if (one_of(l->end[-1], ".,;:!?"))
		return true;
	for (size_t i = 0; i < 4; i++)
		if (length(l) >= 3 && memcmp(l->end - 3, wide[i], 3) == 0)
			return true;
	return false;
}

/* "1.2 Title", "3 Title", "4. Title" (not an item of a list: the next text is none either). */
static bool is_numbered(const struct ds_line *l, const uint8_t *hi)
{
	const uint8_t *q = l->p, *after = l->next;
	unsigned levels = 0;

	while (q < l->end && is_digit(*q) && levels < 6) {
		const uint8_t *first = q;

		while (q < l->end && is_digit(*q))
			q++;
		if (q - first > 3)
			return false;
		levels++;
		if (q < l->end && *q == '.')
			q++;
	}
	if (levels == 0 || q >= l->end || !is_space(*q))
		return false;
	while (q < l->end && is_space(*q))
		q++;
	if (q >= l->end || !(is_upper(*q) || *q >= 0x80))
		return false;
	while (after < hi && is_blank_at(after, hi))
		after = ds_outline_line(after, hi).next;
	return levels > 1 || after >= hi || !is_digit(ds_outline_line(after, hi).p[0]);
}

/* "Chapter 4", "Anhang B", "ARTICLE IV": a word for a part, then its number. */
static bool is_part(const struct ds_line *l)
{
	static const char *const word[] = {
		"chapter", "section", "part",	   "article",  "appendix", "annex",    "book",
		"volume",  "kapitel", "abschnitt", "teil",     "anhang",   "artikel",  "chapitre",
		"partie",  "annexe",  "capítulo",  "capitolo", "parte",	   "hoofdstuk"};

	for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
		const uint8_t *q;
		size_t n;

		if ((*l->p | 0x20) != *word[i])
			continue;
		n = strlen(word[i]);
		q = l->p + n + 1;
		if (length(l) > n + 1 && strncasecmp((const char *)l->p, word[i], n) == 0 &&
		    l->p[n] == ' ')
			return is_digit(*q) ||
			       (is_upper(*q) && (q + 1 == l->end || !is_lower(q[1])));
	}
	return false;
}

/* 第四章, 第 12 条: a number between the mark of ordinals and a counter of parts. */
static bool is_part_cjk(const struct ds_line *l)
{
	static const char counter[] = "章节節回条條部篇卷編编";
	const uint8_t *q = l->p + 3;

	if (length(l) < 7 || memcmp(l->p, "第", 3) != 0)
		return false;
	for (size_t n = 0; n < 18 && q + 3 <= l->end; n++) {
		for (const char *c = counter; *c; c += 3)
			if (memcmp(q, c, 3) == 0)
				return true;
		q += *q < 0x80 ? 1 : 3;
	}
	return false;
}

static bool is_capitals(const struct ds_line *l)
{
	size_t upper = 0;

	for (const uint8_t *q = l->p; q < l->end; q++) {
		if (is_lower(*q) || *q >= 0x80)
			return false;
		upper += is_upper(*q);
	}
	return upper >= 4 && upper * 2 > length(l);
}

/* # Title, == Title ==, \section{Title}: needs no neighbour. */
static bool is_marked(const struct ds_line *l)
{
	size_t n = run(l->p, l->end);
	static const char *const command[] = {"\\chapter", "\\section", "\\subsection", "\\part"};

	if (l->indent > 3 || is_lower(*l->p | 0x20) || rule_char(l))
		return false;
	if (*l->p == '#')
		return n <= 6 && (n == length(l) || is_space(l->p[n]));
	if (*l->p == '=' && n < length(l)) {
		const uint8_t *q = l->p;

		while (q < l->end && (*q == '=' || *q == ' '))
			q++;
		/* wikis close the run; AsciiDoc does not, and has two at least */
		return q < l->end && is_space(q[-1]) && (l->end[-1] == '=' || (n > 1 && n < 7));
	}
	for (size_t i = 0; *l->p == '\\' && i < 4; i++) {
		size_t len = strlen(command[i]);

		if (length(l) > len && memcmp(l->p, command[i], len) == 0)
			return l->p[len] == '{' || l->p[len] == '*';
	}
	return false;
}

/* The lines of a heading at l that needs what is below it: 0, 1, 2 or 3. */
static uint8_t heading_lines(const struct ds_line *l, const uint8_t *hi, enum ds_above above)
{
	struct ds_line under = ds_outline_line(l->next, hi);
	uint8_t over = rule_char(l);

	if (over) { /* rule, title, the same rule */
		struct ds_line third = ds_outline_line(under.next, hi);

		if (length(&under) == 0 || length(&under) > length(l) || rule_char(&under) ||
		    length(&third) != length(l) || rule_char(&third) != over)
			return 0;
		return 3;
	}
	/* a rule as wide as the title, or one of the two that Markdown takes at any width */
	if (rule_char(&under) && under.indent < 4 && l->indent < 4 &&
	    (length(&under) >= length(l) || *under.p == '=' || *under.p == '-'))
		return 2;
	if (length(&under)) /* as manuals are printed */
		return l->indent == 0 && under.indent > 0 && is_capitals(l);
	if (ends_like_prose(l))
		return 0;
	return (above != DS_ABOVE_ITEM && is_numbered(l, hi)) || is_part(l) || is_part_cjk(l) ||
	       is_capitals(l);
}

uint8_t ds_outline_heading(const struct ds_line *l, const uint8_t *hi, enum ds_above above)
{
	if (length(l) == 0 || length(l) > TITLE_BYTES_MAX)
		return 0;
	if (is_marked(l))
		return 1;
	return above == DS_ABOVE_TEXT || l->next >= hi ? 0 : heading_lines(l, hi, above);
}
