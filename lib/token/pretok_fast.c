/*
 * pretok_fast.c - the common pretokenizers as state machines over UTF-8
 *
 * Each *_next() returns where the pretoken that starts at p ends.  A byte that is not part of
 * well-formed UTF-8 is a symbol of its own without any class: it matches what negated classes
 * match.  The patterns are Hugging Face's; the cases below are their alternatives in order.
 */
#include "token/pretok.h"

#include "base/scan.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

struct symbol {
	uint32_t cp;
	unsigned class; /* DS_UC_ bits; 0 for a stray byte */
	unsigned len;	/* 0 at the end of the text */
};

/* What differs between the members of a family; constant in every caller, folded by inlining. */
struct rules {
	unsigned numbers;    /* digits in one pretoken; 0: any */
	unsigned letter;     /* DS_UC_ bits that make words */
	unsigned wall;	     /* DS_UC_ bits cut off by an earlier pass: the text ends there */
	bool fold;	     /* contractions in either case */
};

static ALWAYS_INLINE struct symbol get(const uint8_t *p, const uint8_t *end)
{
	struct symbol s = {0, 0, 0};

	if (p == end)
		return s;
	if (*p < 0x80) {
		s.cp = *p;
		s.class = ds_unicode_classes[*p];
		s.len = 1;
		return s;
	}
	s.len = ds_utf8_decode(p, end, &s.cp);
	s.class = ds_unicode_class(s.cp);
	return s;
}

static inline bool is_line_end(uint32_t cp)
{
	return cp == '\n' || cp == '\r';
}

/* The run of symbols with any bit of class (want) or with none (!want). */
static ALWAYS_INLINE const uint8_t *skip(const uint8_t *p, const uint8_t *end, unsigned class,
					 bool want)
{
	for (;;) {
		struct symbol s;

		if (want && (class & DS_UC_L))
			p = ds_skip_alpha(p, end);
		s = get(p, end);
		if (!s.len || ((s.class & class) != 0) != want)
			return p;
		p += s.len;
	}
}

static const uint8_t *skip_line_ends(const uint8_t *p, const uint8_t *end)
{
	while (p < end && is_line_end(*p))
		p++;
	return p;
}

/*
 * 's 't 'm 'd 're 've 'll at the apostrophe p: its end, or NULL.  Case folding knows one more s,
 * U+017F.
 */
static const uint8_t *contraction(const uint8_t *p, const uint8_t *end, bool fold)
{
	uint8_t a, b;

	if (end - p < 2)
		return NULL;
	a = p[1];
	b = end - p > 2 ? p[2] : 0;
	if (fold) {
		if (a == 0xC5 && b == 0xBF)
			return p + 3;
		if (!ds_is_alpha(a))
			return NULL;
		a |= 0x20;
		b = ds_is_alpha(b) ? b | 0x20 : b;
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return p + 2;
	if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
		return p + 3;
	return NULL;
}

struct space_run {
	const uint8_t *end;	  /* first symbol that is no white space, or the end of the text */
	const uint8_t *last;	  /* the last symbol of the run */
	const uint8_t *after_line; /* after the last line end in it, or NULL */
};

static ALWAYS_INLINE struct space_run scan_spaces(const uint8_t *p, const uint8_t *end)
{
	struct space_run run = {p, p, NULL};

	for (;;) {
		struct symbol s = get(run.end, end);

		if (!s.len || !(s.class & DS_UC_SPACE))
			return run;
		run.last = run.end;
		run.end += s.len;
		if (is_line_end(s.cp))
			run.after_line = run.end;
	}
}

/* \s+(?!\S)|\s+ : all of the run at the end of the text, else all but its last symbol, else all. */
static ALWAYS_INLINE const uint8_t *end_spaces(const uint8_t *p, const struct space_run *run,
					       bool at_end)
{
	return at_end || run->last == p ? run->end : run->last;
}

/* GPT-2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static ALWAYS_INLINE const uint8_t *gpt2_next(const uint8_t *p, const uint8_t *end, struct rules r)
{
	struct symbol s = get(p, end);
	const uint8_t *q = p + s.len;

	if (s.class & r.wall)
		return q;
	if (s.cp == '\'') {
		const uint8_t *cut = contraction(p, end, false);

		if (cut)
			return cut;
	}
	if (s.cp == ' ') {
		s = get(q, end);
		if (!s.len || (s.class & (DS_UC_SPACE | r.wall)))
			s = get(p, end);
		else
			q += s.len;
	}
	if (s.class & DS_UC_L)
		return skip(q, end, DS_UC_L, true);
	if (s.class & DS_UC_N)
		return skip(q, end, DS_UC_N, true);
	if (s.class & DS_UC_SPACE) {
		struct space_run run = scan_spaces(p, end);

		s = get(run.end, end);
		return end_spaces(p, &run, !s.len || (s.class & r.wall));
	}
	return skip(q, end, DS_UC_SPACE | DS_UC_L | DS_UC_N, false);
}

/*
 * Llama 3, Qwen 2: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 * ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
static ALWAYS_INLINE const uint8_t *llama3_next(const uint8_t *p, const uint8_t *end,
						struct rules r)
{
	struct symbol s = get(p, end), next;
	const uint8_t *q = p + s.len;

	if (s.cp == '\'') {
		const uint8_t *cut = contraction(p, end, r.fold);

		if (cut)
			return cut;
	}
	if (s.class & r.letter)
		return skip(q, end, r.letter, true);
	if (s.class & DS_UC_N) {
		for (unsigned n = 1; n < r.numbers; n++) {
			s = get(q, end);
			if (!(s.class & DS_UC_N))
				break;
			q += s.len;
		}
		return q;
	}
	next = get(q, end);
	if ((next.class & r.letter) && !is_line_end(s.cp))
		return skip(q + next.len, end, r.letter, true);
	if (s.cp == ' ' && next.len && !(next.class & (DS_UC_SPACE | DS_UC_N)))
		s = next;
	if (s.class & DS_UC_SPACE) {
		struct space_run run = scan_spaces(p, end);

		return run.after_line ? run.after_line : end_spaces(p, &run, run.end == end);
	}
	return skip_line_ends(skip(q, end, DS_UC_SPACE | DS_UC_N | r.letter, false), end);
}

/* The second pass of DeepSeek V3: [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+ */
static inline bool is_cjk(uint32_t cp)
{
	return (cp >= 0x4E00 && cp <= 0x9FA5) || (cp >= 0x3040 && cp <= 0x30FF);
}

/* A symbol of the third pass: len 0 where its piece ends. */
static ALWAYS_INLINE struct symbol get3(const uint8_t *p, const uint8_t *end, bool cjk)
{
	struct symbol s = get(p, end);

	if ((s.class & DS_UC_N) || is_cjk(s.cp) != cjk)
		s.len = s.class = s.cp = 0;
	return s;
}

static ALWAYS_INLINE const uint8_t *skip3(const uint8_t *p, const uint8_t *end, unsigned class,
					  bool cjk)
{
	for (;;) {
		struct symbol s;

		if (!cjk && (class & DS_UC_L))
			p = ds_skip_alpha(p, end);
		s = get3(p, end, cjk);
		if (!(s.class & class))
			return p;
		p += s.len;
	}
}

/* White space of the third pass. */
static const uint8_t *spaces3(const uint8_t *p, const uint8_t *end)
{
	struct space_run run = scan_spaces(p, end);

	if (run.after_line)
		return run.after_line;
	return end_spaces(p, &run, !get3(run.end, end, false).len);
}

/* Symbols that nothing matches are one piece up to where a match begins. */
static const uint8_t *gap3(const uint8_t *p, const uint8_t *end, bool cjk)
{
	for (;;) {
		struct symbol s = get3(p, end, cjk), next;

		if (!s.len || (s.class & (DS_UC_L | DS_UC_M | DS_UC_P | DS_UC_S | DS_UC_SPACE)))
			return p;
		next = get3(p + s.len, end, cjk);
		if (next.class & (DS_UC_L | DS_UC_M))
			return p;
		p += s.len;
	}
}

/*
 * DeepSeek V3: three passes, \p{N}{1,3} ; the CJK runs of is_cjk() ; then in every piece
 * [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+
 */
static ALWAYS_INLINE const uint8_t *deepseek3_piece(const uint8_t *p, const uint8_t *end,
						    struct symbol s, bool cjk)
{
	const unsigned word = DS_UC_L | DS_UC_M, sign = DS_UC_P | DS_UC_S;
	const uint8_t *q = p + s.len;
	struct symbol next;

	if (s.class & word)
		return skip3(q, end, word, cjk);
	if (!cjk && s.cp < 0x80 && (s.class & sign) && q < end && ds_is_alpha(*q))
		return ds_skip_alpha(q + 1, end);
	next = get3(q, end, cjk);
	if (!(s.class & sign) && !is_line_end(s.cp) && (next.class & word))
		return skip3(q + next.len, end, word, cjk);
	if (s.cp == ' ' && (next.class & sign))
		s = next;
	if (s.class & sign) {
		q = skip3(q, end, sign, cjk);
		return cjk ? q : skip_line_ends(q, end);
	}
	if (s.class & DS_UC_SPACE)
		return spaces3(p, end);
	return gap3(q, end, cjk);
}

static ALWAYS_INLINE const uint8_t *deepseek3_next(const uint8_t *p, const uint8_t *end)
{
	struct symbol s = get(p, end);
	const uint8_t *q = p + s.len;

	if (s.class & DS_UC_N) {
		for (unsigned n = 1; n < 3; n++) {
			s = get(q, end);
			if (!(s.class & DS_UC_N))
				break;
			q += s.len;
		}
		return q;
	}
	if (is_cjk(s.cp))
		return deepseek3_piece(p, end, s, true);
	return deepseek3_piece(p, end, s, false);
}

/*
 * The words that most text is made of, one load each: ASCII letters, perhaps after a space, before
 * another ASCII character.  NULL: look closer.
 */
static ALWAYS_INLINE const uint8_t *plain_word(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *q = p + (*p == ' ');

	if (q == end || !ds_is_alpha(*q))
		return NULL;
	q = ds_skip_alpha(q + 1, end);
	return q < end && *q < 0x80 ? q : NULL;
}

#define SPLIT(name, next)                                                                         \
	size_t name(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap)       \
	{                                                                                         \
		const uint8_t *p = text + pos, *end = text + n;                                   \
		size_t i = 0;                                                                     \
                                                                                                  \
		while (p < end && i < cap) {                                                      \
			const uint8_t *q = plain_word(p, end);                                    \
                                                                                                  \
			p = q ? q : next;                                                         \
			end_ret[i++] = (size_t)(p - text);                                        \
		}                                                                                 \
		return i;                                                                         \
	}

#define RULES(...) ((struct rules){__VA_ARGS__})

SPLIT(ds_split_gpt2, gpt2_next(p, end, RULES(0, DS_UC_L, 0, false)))
SPLIT(ds_split_smollm, gpt2_next(p, end, RULES(1, DS_UC_L, DS_UC_N, false)))
SPLIT(ds_split_llama3, llama3_next(p, end, RULES(3, DS_UC_L, 0, true)))
SPLIT(ds_split_qwen2, llama3_next(p, end, RULES(1, DS_UC_L, 0, true)))
SPLIT(ds_split_qwen35, llama3_next(p, end, RULES(1, DS_UC_L | DS_UC_M, 0, true)))
SPLIT(ds_split_deepseek3, deepseek3_next(p, end))

size_t ds_split_none(const uint8_t *text, size_t pos, size_t n, size_t *end_ret, size_t cap)
{
	(void)text;
	if (pos == n || !cap)
		return 0;
	*end_ret = n;
	return 1;
}

bool ds_find_gpt2(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	if (p == end)
		return false;
	match_ret->start = p;
	match_ret->end = gpt2_next(p, end, RULES(0, DS_UC_L, 0, false));
	return true;
}
