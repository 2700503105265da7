/*
 * sentence.c - whether a full stop, a question mark and their kin end a sentence
 *
 * Stops of all scripts: Unicode 15.0, property Sentence_Terminal, without those of minority scripts
 * beyond the basic plane; the ellipsis and the full-width semicolon are added.
 */
#include "chunk/scan.h"

#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "base/unicode.h"
#include "base/utf8.h"
#include "chunk/abbrev.h"

#define BLANKS_MAX 64
#define WORD_BYTES_MAX 24

enum { DOT = 1, STRONG = 2, ELLIPSIS = 4, WIDE = 8 };

const uint8_t ds_sentence_byte[256] = {
	['\n'] = DS_BYTE_NEWLINE, ['.'] = DS_BYTE_STOP,	 ['!'] = DS_BYTE_STOP,
	['?'] = DS_BYTE_STOP,	  [0xD6] = DS_BYTE_LEAD, [0xD8] = DS_BYTE_LEAD,
	[0xDB] = DS_BYTE_LEAD,	  [0xDC] = DS_BYTE_LEAD, [0xDF] = DS_BYTE_LEAD,
	[0xE0] = DS_BYTE_LEAD,	  [0xE1] = DS_BYTE_LEAD, [0xE2] = DS_BYTE_LEAD,
	[0xE3] = DS_BYTE_LEAD,	  [0xEA] = DS_BYTE_LEAD, [0xEF] = DS_BYTE_LEAD,
};

/* Ranges of stops that need no blank after them. */
static const uint16_t wide_stop[][2] = {
	{0x0589, 0x0589}, {0x061F, 0x061F}, {0x06D4, 0x06D4}, {0x0700, 0x0702}, {0x07F9, 0x07F9},
	{0x0964, 0x0965}, {0x0F0D, 0x0F0E}, {0x104A, 0x104B}, {0x1362, 0x1362}, {0x1367, 0x1368},
	{0x166E, 0x166E}, {0x1735, 0x1736}, {0x17D4, 0x17D5}, {0x1803, 0x1803}, {0x1809, 0x1809},
	{0x1944, 0x1945}, {0x1AA8, 0x1AAB}, {0x1B5A, 0x1B5B}, {0x1B5E, 0x1B5F}, {0x1C3B, 0x1C3C},
	{0x1C7E, 0x1C7F}, {0x203C, 0x203D}, {0x2047, 0x2049}, {0x2E2E, 0x2E2E}, {0x2E3C, 0x2E3C},
	{0x3002, 0x3002}, {0xA4FF, 0xA4FF}, {0xA60E, 0xA60F}, {0xA6F3, 0xA6F3}, {0xA6F7, 0xA6F7},
	{0xA876, 0xA877}, {0xA8CE, 0xA8CF}, {0xA92F, 0xA92F}, {0xA9C8, 0xA9C9}, {0xAA5D, 0xAA5F},
	{0xAAF0, 0xAAF1}, {0xABEB, 0xABEB}, {0xFE52, 0xFE52}, {0xFE56, 0xFE57}, {0xFF01, 0xFF01},
	{0xFF0E, 0xFF0E}, {0xFF1B, 0xFF1B}, {0xFF1F, 0xFF1F}, {0xFF61, 0xFF61},
};

static bool is_wide_stop(uint32_t cp)
{
	for (size_t i = 0; i < sizeof wide_stop / sizeof *wide_stop; i++)
		if (cp <= wide_stop[i][1])
			return cp >= wide_stop[i][0];
	return false;
}

/* Most characters of Indic, kana and general punctuation are told from stops by two bytes. */
static bool may_be_stop(uint8_t lead, uint8_t second)
{
	switch (lead) {
	case 0xE0:
		return second == 0xA5 || second == 0xBC;
	case 0xE2:
		return second == 0x80 || second == 0x81 || second == 0xB8;
	case 0xE3:
		return second == 0x80;
	case 0xEF:
		return second >= 0xB9 && second <= 0xBD;
	default:
		return true;
	}
}

/* The length of the stop at p, 0 when there is none. */
static unsigned stop_at(const uint8_t *p, const uint8_t *hi, unsigned *kind_ret)
{
	uint32_t cp;
	unsigned n;

	if (p >= hi || !ds_sentence_byte[*p] || *p == '\n')
		return 0;
	*kind_ret = *p == '.' ? DOT : STRONG;
	if (*p < 0x80)
		return 1;
	if (hi - p < 2 || !may_be_stop(p[0], p[1]))
		return 0;
	n = ds_utf8_decode(p, hi, &cp);
	*kind_ret = cp == 0x2026 ? ELLIPSIS : WIDE;
	if (cp == 0xFF0E && hi - p > 5 && p[3] == 0xEF && p[4] == 0xBC && p[5] >= 0x90 &&
	    p[5] <= 0x99)
		return 0; /* the point in a full-width number */
	return cp == 0x2026 || is_wide_stop(cp) ? n : 0;
}

/* Length of the character at p. */
static unsigned char_at(const uint8_t *p, const uint8_t *hi, uint32_t *cp_ret)
{
	*cp_ret = 0;
	return p < hi ? ds_utf8_decode(p, hi, cp_ret) : 0;
}

static bool is_closer(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp < 0x80)
		return cp && strchr("\"')]}*_`", (int)cp);
	c = utf8proc_category((utf8proc_int32_t)cp);
	return c == UTF8PROC_CATEGORY_PE || c == UTF8PROC_CATEGORY_PF || cp == 0x2033;
}

static bool is_opener(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp < 0x80)
		return cp && strchr("\"'([{*_`<#-", (int)cp);
	c = utf8proc_category((utf8proc_int32_t)cp);
	return c == UTF8PROC_CATEGORY_PS || c == UTF8PROC_CATEGORY_PI ||
	       c == UTF8PROC_CATEGORY_PD || cp == 0x00BF || cp == 0x00A1;
}

static const uint8_t *skip_class(const uint8_t *p, const uint8_t *hi, bool (*is)(uint32_t))
{
	uint32_t cp;
	unsigned n;

	for (int i = 0; i < 8 && (n = char_at(p, hi, &cp)) && is(cp); i++)
		p += n;
	return p;
}

static const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *from = p;

	while (p < hi && p - from < BLANKS_MAX) {
		if (*p == ' ' || *p == '\t' || *p == '\r')
			p++;
		else if (hi - p > 1 && p[0] == 0xC2 && p[1] == 0xA0)
			p += 2;
		else if (hi - p > 2 && p[0] == 0xE3 && p[1] == 0x80 && p[2] == 0x80)
			p += 3;
		else
			break;
	}
	return p;
}

/* Quotes that close in one language and open in another: “ after German, » after a blank. */
static const uint8_t *skip_quote(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *next = skip_blanks(p, hi);

	if (hi - next > 2 && next[0] == 0xC2 && next[1] == 0xBB)
		return next + 2;
	if (hi - p > 3 && p[0] == 0xE2 && p[1] == 0x80 && p[2] == 0x9C &&
	    (p[3] == ' ' || p[3] == '\n' || p[3] == '\r'))
		return p + 3;
	return hi - p == 3 && memcmp(p, "“", 3) == 0 ? hi : p;
}

/* A mark of a footnote, as [12]. */
static const uint8_t *skip_note(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *q = p + 1;

	if (p >= hi || *p != '[')
		return p;
	while (q < hi && q - p < 5 && *q >= '0' && *q <= '9')
		q++;
	return q < hi && q > p + 1 && *q == ']' ? q + 1 : p;
}

static bool is_letter(uint32_t cp)
{
	return ds_unicode_class(cp) & (DS_UC_L | DS_UC_M);
}

static bool is_lower(uint32_t cp)
{
	return ds_unicode_class(cp) & DS_UC_LOWER;
}

static bool is_digit(uint32_t cp)
{
	return cp >= '0' && cp <= '9';
}

/* The word that a full stop follows, in lower case, full stops inside included: "u.s", "dr". */
struct word {
	char text[WORD_BYTES_MAX + 8];
	size_t n;
	unsigned letters, digits, dots;
	unsigned longest; /* letters between two dots, at most */
	bool first;	  /* nothing but blanks before it on its line */
	bool too_long;
};

/* Where the character that ends at p begins. */
static const uint8_t *char_before(const uint8_t *lo, const uint8_t *p)
{
	const uint8_t *q = p - 1;

	while (q > lo && p - q < 4 && (*q & 0xC0) == 0x80)
		q--;
	return q;
}

static void add_to_word(struct word *w, uint32_t cp, unsigned *letters_here)
{
	if (cp == '.') {
		w->dots++;
		*letters_here = 0;
	} else if (is_digit(cp)) {
		w->digits++;
	} else {
		w->letters++;
		if (++*letters_here > w->longest)
			w->longest = *letters_here;
	}
	if (w->n + 4 > sizeof w->text) {
		w->too_long = true;
		return;
	}
	w->n += ds_utf8_encode(cp < 0x80 ? (cp >= 'A' && cp <= 'Z' ? cp | 0x20 : cp)
					 : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp),
			       (uint8_t *)w->text + w->n);
}

static void word_before(struct word *w, const uint8_t *lo, const uint8_t *dot)
{
	const uint8_t *p = dot, *q;
	unsigned letters_here = 0, len;
	uint32_t cp;

	*w = (struct word){0};
	while (p > lo && dot - p < WORD_BYTES_MAX) {
		if (p[-1] < 0x80 && is_letter(p[-1])) {
			p--;
			continue;
		}
		q = char_before(lo, p);
		if (ds_utf8_decode(q, p, &cp) != (unsigned)(p - q) ||
		    !(is_letter(cp) || is_digit(cp) || cp == '.'))
			break;
		p = q;
	}
	w->too_long = dot - p >= WORD_BYTES_MAX;
	while (p < dot && *p == '.')
		p++;
	for (q = p; q < dot; q += len) {
		len = ds_utf8_decode(q, dot, &cp);
		add_to_word(w, cp, &letters_here);
	}
	while (p > lo && (p[-1] == ' ' || p[-1] == '\t'))
		p--;
	w->first = p == lo ? dot - lo < DS_SCAN_BACK : p[-1] == '\n';
}

/* The number at p is an ordinal: after a German article or before a month (am 3. Mai). */
static bool is_ordinal(const uint8_t *lo, const uint8_t *p, const uint8_t *next, const uint8_t *hi)
{
	static const char *const article[] = {"der", "die", "das", "den", "dem", "des", "am",
					      "vom", "zum", "zur", "im",  "bis", "ab",	"und"};
	static const char *const month[] = {"Jan", "Feb", "Mär", "Apr", "Mai", "Jun",
					    "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"};
	const uint8_t *end;

	for (size_t i = 0; i < 12; i++)
		if ((size_t)(hi - next) > strlen(month[i]) &&
		    memcmp(next, month[i], strlen(month[i])) == 0)
			return true;
	while (p > lo && p[-1] == ' ')
		p--;
	end = p;
	while (p > lo && (p[-1] | 0x20) >= 'a' && (p[-1] | 0x20) <= 'z')
		p--;
	for (size_t i = 0; i < sizeof article / sizeof *article; i++)
		if ((size_t)(end - p) == strlen(article[i]) &&
		    strncasecmp((const char *)p, article[i], (size_t)(end - p)) == 0)
			return true;
	return false;
}

/* The word at p, as it is written, begins sentences. */
static bool starts_sentence(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *q = p;
	uint32_t cp;
	unsigned n;

	while (q - p < WORD_BYTES_MAX && (n = char_at(q, hi, &cp)) && is_letter(cp))
		q += n;
	return ds_abbrev_starter((const char *)p, (size_t)(q - p));
}

/* A number at p, in Arabic or Roman digits, or one capital (Fig. A). */
static bool is_number(const uint8_t *p, const uint8_t *hi)
{
	const uint8_t *q = p;

	if (p < hi && (is_digit(*p) || *p == '#'))
		return true;
	while (q < hi && strchr("IVXLCDM", *q) && *q)
		q++;
	if (q == p && q < hi && *q >= 'A' && *q <= 'Z')
		q++;
	return q > p && (q == hi || !is_letter(*q));
}

/* A single full stop at dot, next at next: does it end a sentence? */
static bool dot_ends(const uint8_t *lo, const uint8_t *dot, const uint8_t *next, const uint8_t *hi)
{
	struct word w;
	uint32_t cp;

	word_before(&w, lo, dot);
	char_at(next, hi, &cp);
	if (w.n == 0 || w.too_long)
		return true;
	if (w.letters == 0) { /* a number: of a list, an ordinal (3. Mai), or just the end */
		if (w.first)
			return false;
		return w.digits > 2 || w.dots || !is_ordinal(lo, dot - w.n, next, hi);
	}
	switch (ds_abbrev_find(w.text, w.n)) {
	case DS_ABBREV_INSIDE:
		return false;
	case DS_ABBREV_MAYBE:
		return starts_sentence(next, hi);
	case DS_ABBREV_NUMBER:
		return !is_lower(cp) && (!is_number(next, hi) || starts_sentence(next, hi));
	case DS_ABBREV_NONE:
		break;
	}
	/* initials and chains of them, labels of a list; ideographs are words by themselves */
	if (w.longest == 1 && w.digits == 0 && !(w.letters == 1 && w.n > 2))
		return !w.first && starts_sentence(next, hi);
	return true;
}

struct stop {
	const uint8_t *at, *end; /* the run of stops */
	unsigned kinds, dots;
	bool closed; /* a quote or bracket follows */
};

/* What stands before and after the blanks decides. */
static bool western_ends(const struct stop *s, const uint8_t *lo, const uint8_t *next,
			 const uint8_t *hi)
{
	uint32_t cp;

	next = skip_class(next, hi, is_opener);
	char_at(next, hi, &cp);
	if (s->kinds & STRONG)
		return !(s->closed && is_lower(cp));
	if (s->dots != 1 || (s->kinds & ELLIPSIS)) /* many dots lead to a page number */
		return s->dots < 5 && !is_lower(cp);
	if (s->closed && is_lower(cp))
		return false;
	return dot_ends(lo, s->at, next, hi);
}

/* 。」と言った, 。”， go on. */
static bool wide_ends(const struct stop *s, const uint8_t *next, const uint8_t *hi)
{
	uint32_t cp;

	char_at(next, hi, &cp);
	return !(s->closed && (cp == 0x3068 || cp == 0x3001 || cp == 0xFF0C));
}

/* A CJK character on both sides: text that uses the western stops without blanks. */
static bool between_wide(const uint8_t *lo, const struct stop *s, const uint8_t *next,
			 const uint8_t *hi)
{
	return s->at > lo && s->at[-1] >= 0x80 && next < hi && *next >= 0xE3 && *next <= 0xE9;
}

size_t ds_sentence_stop(const uint8_t *lo, const uint8_t *p, const uint8_t *hi, bool *ends_ret)
{
	struct stop s = {.at = p, .end = p};
	const uint8_t *closed, *blanks, *next;
	unsigned n, kind;
	uint32_t cp;

	*ends_ret = false;
	for (; (n = stop_at(s.end, hi, &kind)); s.end += n) {
		s.kinds |= kind;
		s.dots += kind == DOT;
		if (kind == DOT && hi - s.end > 2 && s.end[1] == ' ' && s.end[2] == '.')
			s.end++; /* . . . */
	}
	if (s.end == p)
		return char_at(p, hi, &cp);
	closed = skip_quote(skip_note(skip_class(s.end, hi, is_closer), hi), hi);
	s.closed = closed > s.end;
	blanks = next = skip_blanks(closed, hi);
	if (next < hi && *next == '\n')
		next = skip_blanks(next + 1, hi);
	if (next >= hi || *next == '\n')
		*ends_ret = true;
	else if (s.kinds & WIDE)
		*ends_ret = wide_ends(&s, closed, hi);
	else if (next > closed)
		*ends_ret = western_ends(&s, lo, next, hi);
	else
		*ends_ret = !(s.kinds & ELLIPSIS) && between_wide(lo, &s, closed, hi);
	return (size_t)((*ends_ret ? blanks : s.end) - p);
}
