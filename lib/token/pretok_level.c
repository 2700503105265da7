/*
 * pretok_level.c - the passes that pretokenizers of several passes are made of
 *
 * Each finds the first match of one pattern; see pretok.c for the lists.  All are linear: what lies
 * before the match is never looked at again.
 */
#include "token/pretok.h"

#include "base/scan.h"

static inline unsigned get(const uint8_t *p, const uint8_t *end, uint32_t *cp_ret)
{
	if (*p < 0x80) {
		*cp_ret = *p;
		return 1;
	}
	return ds_utf8_decode(p, end, cp_ret);
}

/* The first run of symbols for which is() holds; with_space: and one white space before it. */
static inline __attribute__((always_inline)) bool
find_run(const uint8_t *p, const uint8_t *end, bool (*is)(uint32_t cp), bool with_space,
	 struct ds_span *match_ret)
{
	const uint8_t *space = NULL; /* the symbol before p, when it is white space */
	uint32_t cp;
	unsigned len = 0;

	for (; p < end; p += len) {
		len = get(p, end, &cp);
		if (is(cp))
			break;
		space = ds_unicode_class(cp) & DS_UC_SPACE ? p : NULL;
	}
	if (p == end)
		return false;
	match_ret->start = with_space && space ? space : p;
	do
		p += len;
	while (p < end && (len = get(p, end, &cp), is(cp)));
	match_ret->end = p;
	return true;
}

static inline bool is_line_end(uint32_t cp)
{
	return cp == '\n' || cp == '\r';
}

static inline bool is_feed(uint32_t cp)
{
	return cp == '\n';
}

static inline bool is_letter(uint32_t cp)
{
	return ds_unicode_class(cp) & DS_UC_L;
}

static inline bool is_number(uint32_t cp)
{
	return ds_unicode_class(cp) & DS_UC_N;
}

static inline bool is_punct(uint32_t cp)
{
	return ds_unicode_class(cp) & DS_UC_P;
}

/* [!-/:-~ and full-width, quotation and CJK marks]: ':' to '~' holds the ASCII letters too */
static inline bool is_punct_llm(uint32_t cp)
{
	return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '~') ||
	       (cp >= 0xFF01 && cp <= 0xFF0F) || (cp >= 0xFF1A && cp <= 0xFF5E) ||
	       (cp >= 0x2018 && cp <= 0x201F) || (cp >= 0x3000 && cp <= 0x3002);
}

/* [\p{P}$+<=>^~|] */
static inline bool is_punct_default(uint32_t cp)
{
	return is_punct(cp) || cp == '$' || cp == '+' || cp == '<' || cp == '=' || cp == '>' ||
	       cp == '^' || cp == '~' || cp == '|';
}

static inline bool is_punct_falcon(uint32_t cp)
{
	return is_punct_default(cp) || cp == '`';
}

/* [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF] */
static inline bool is_asian(uint32_t cp)
{
	return (cp >= 0x0800 && cp <= 0x9FA5) || (cp >= 0xAC00 && cp <= 0xD7FF);
}

/* DeepSeek LLM's list of letters that have case, without ASCII; ascending. */
static const struct range {
	uint32_t first, last;
} cased[] = {
	{0x00B5, 0x00B5}, {0x00C0, 0x00D6}, {0x00D8, 0x00F6}, {0x00F8, 0x01BA},
	{0x01BC, 0x01BF}, {0x01C4, 0x0293}, {0x0295, 0x02AF}, {0x0370, 0x0373},
	{0x0376, 0x0376}, {0x0377, 0x0377}, {0x037B, 0x037D}, {0x037F, 0x037F},
	{0x0386, 0x0386}, {0x0388, 0x038A}, {0x038C, 0x038C}, {0x038E, 0x03A1},
	{0x03A3, 0x03F5}, {0x03F7, 0x0481}, {0x048A, 0x052F}, {0x0531, 0x0556},
	{0x10A0, 0x10C5}, {0x13A0, 0x13F5}, {0x13F8, 0x13FD}, {0x1C90, 0x1CBA},
	{0x1CBD, 0x1CBF}, {0x1D00, 0x1D2B}, {0x1D6B, 0x1D77}, {0x1D79, 0x1D9A},
	{0x1E00, 0x1F15}, {0x1F18, 0x1F1D}, {0x1F20, 0x1F45}, {0x1F48, 0x1F4D},
	{0x1F50, 0x1F57}, {0x1F59, 0x1F59}, {0x1F5B, 0x1F5B}, {0x1F5D, 0x1F5D},
	{0x1F5F, 0x1F7D}, {0x1F80, 0x1FB4}, {0x1FB6, 0x1FBC}, {0x1FBE, 0x1FBE},
	{0x1FC2, 0x1FC4}, {0x1FC6, 0x1FCC}, {0x1FD0, 0x1FD3}, {0x1FD6, 0x1FDB},
	{0x1FE0, 0x1FEC}, {0x1FF2, 0x1FF4}, {0x1FF6, 0x1FFC}, {0x2102, 0x2102},
	{0x2107, 0x2107}, {0x210A, 0x2113}, {0x2115, 0x2115}, {0x2119, 0x211D},
	{0x2124, 0x2124}, {0x2126, 0x2126}, {0x2128, 0x2128}, {0x212A, 0x212D},
	{0x212F, 0x2134}, {0x2139, 0x2139}, {0x213C, 0x213F}, {0x2145, 0x2149},
	{0x214E, 0x214E}, {0x2183, 0x2183}, {0x2184, 0x2184}, {0x2C00, 0x2C7B},
	{0x2C7E, 0x2CE4}, {0x2CEB, 0x2CEE}, {0x2CF2, 0x2CF2}, {0x2CF3, 0x2CF3},
	{0xA640, 0xA66D}, {0xA680, 0xA69B}, {0xA722, 0xA76F}, {0xA771, 0xA787},
	{0xA78B, 0xA78E}, {0xAB70, 0xABBF}, {0xFB00, 0xFB06}, {0xFB13, 0xFB17},
	{0xFF21, 0xFF3A}, {0xFF41, 0xFF5A}, {0x10400, 0x1044F}, {0x104B0, 0x104D3},
	{0x104D8, 0x104FB}, {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF},
	{0x1E900, 0x1E943},
};

static inline bool is_cased(uint32_t cp)
{
	size_t low = 0, high = sizeof cased / sizeof cased[0];

	if (cp < 0x80)
		return ds_is_alpha((uint8_t)cp);
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (cp > cased[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	return low < sizeof cased / sizeof cased[0] && cp >= cased[low].first;
}

/* [\r\n] */
bool ds_find_line_end(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	while (p < end && !is_line_end(*p))
		p++;
	match_ret->start = p;
	match_ret->end = p + 1;
	return p < end;
}

/* \s+$ */
bool ds_find_space_end(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	const uint8_t *run = NULL;
	uint32_t cp;

	for (; p < end; p += get(p, end, &cp)) {
		get(p, end, &cp);
		if (!(ds_unicode_class(cp) & DS_UC_SPACE))
			run = NULL;
		else if (!run)
			run = p;
	}
	match_ret->start = run;
	match_ret->end = end;
	return run != NULL;
}

/* \s?[cased letters]+ */
bool ds_find_cased(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_cased, true, match_ret);
}

/* \s?\p{L}+ */
bool ds_find_letters(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_letter, true, match_ret);
}

/* \s?\p{P}+ */
bool ds_find_punct(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_punct, true, match_ret);
}

/*
 * \s?[marks]+ .  U+3000 is both a mark and white space: one that follows white space is a mark of
 * the match that starts there, and that is what find_run() does.
 */
bool ds_find_punct_llm(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_punct_llm, true, match_ret);
}

bool ds_find_punct_falcon(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_punct_falcon, false, match_ret);
}

bool ds_find_punct_default(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_punct_default, false, match_ret);
}

bool ds_find_asian(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_asian, false, match_ret);
}

/* \p{N}+ */
bool ds_find_numbers(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_number, false, match_ret);
}

/* \p{N} */
bool ds_find_number(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	uint32_t cp;
	unsigned len;

	for (; p < end; p += len) {
		len = get(p, end, &cp);
		if (!is_number(cp))
			continue;
		match_ret->start = p;
		match_ret->end = p + len;
		return true;
	}
	return false;
}

/* [0-9][0-9][0-9] */
bool ds_find_3_digits(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	unsigned run = 0;

	for (; p < end; p++) {
		run = *p >= '0' && *p <= '9' ? run + 1 : 0;
		if (run == 3) {
			match_ret->start = p - 2;
			match_ret->end = p + 1;
			return true;
		}
	}
	return false;
}

/* [^\n]+|[\n]+ : the gaps between runs of line feeds are pieces anyway */
bool ds_find_lines(const uint8_t *p, const uint8_t *end, struct ds_span *match_ret)
{
	return find_run(p, end, is_feed, false, match_ret);
}
