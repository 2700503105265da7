/*
 * pretok.c - which pretokenizer, and cutting a text with it
 *
 * Names are llama.cpp's tokenizer.ggml.pre, patterns are those of Hugging Face tokenizer.json files
 * and of llama.cpp, which differ in spelling only.
 */
#include "token/pretok.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CUT_LATIN (DS_CUT_SPACE | DS_CUT_PUNCT | DS_CUT_QUOTE)
#define CUT_WORDS (CUT_LATIN | DS_CUT_LETTER)

enum { NONE, GPT2, SMOLLM, LLAMA3, QWEN2, QWEN35, DEEPSEEK3, DEEPSEEK_LLM, DEEPSEEK_CODER, FALCON,
       DEFAULT, LINES };

static const struct ds_pretok pretoks[] = {
	[NONE] = {.name = "none", .split = ds_split_none},
	[GPT2] = {.name = "gpt-2", .split = ds_split_gpt2, .cut = CUT_WORDS},
	[SMOLLM] = {.name = "smollm", .split = ds_split_smollm, .cut = CUT_WORDS},
	[LLAMA3] = {.name = "llama-bpe", .split = ds_split_llama3, .cut = CUT_WORDS | DS_CUT_CJK},
	[QWEN2] = {.name = "qwen2", .split = ds_split_qwen2, .cut = CUT_WORDS | DS_CUT_CJK},
	[QWEN35] = {.name = "qwen35", .split = ds_split_qwen35, .cut = CUT_WORDS | DS_CUT_CJK},
	[DEEPSEEK3] = {.name = "deepseek-v3", .split = ds_split_deepseek3,
		       .cut = CUT_WORDS | DS_CUT_CJK},
	[DEEPSEEK_LLM] = {.name = "deepseek-llm", .n_levels = 6, .cut = DS_CUT_SPACE,
			  .level = {{.find = ds_find_line_end}, {.find = ds_find_cased},
				    {.find = ds_find_punct_llm}, {.find = ds_find_space_end},
				    {.find = ds_find_asian}, {.find = ds_find_numbers}}},
	[DEEPSEEK_CODER] = {.name = "deepseek-coder", .n_levels = 5, .cut = DS_CUT_SPACE,
			    .level = {{.find = ds_find_line_end}, {.find = ds_find_letters},
				      {.find = ds_find_punct}, {.find = ds_find_asian},
				      {.find = ds_find_number}}},
	[FALCON] = {.name = "falcon", .n_levels = 3, .cut = CUT_LATIN,
		    .level = {{.find = ds_find_punct_falcon}, {.find = ds_find_gpt2},
			      {.find = ds_find_3_digits}}},
	[DEFAULT] = {.name = "default", .n_levels = 4, .cut = CUT_LATIN,
		     .level = {{.find = ds_find_punct_default}, {.find = ds_find_gpt2},
			       {.find = ds_find_numbers}, {.find = ds_find_3_digits}}},
	[LINES] = {.name = "lines", .n_levels = 1, .cut = DS_CUT_LINE,
		   .level = {{.find = ds_find_lines}}},
};

static const struct {
	const char *name;
	int which;
} names[] = {
	{"gpt-2", GPT2}, {"phi-2", GPT2}, {"mpt", GPT2}, {"olmo", GPT2}, {"jais", GPT2},
	{"exaone4", GPT2}, {"modern-bert", GPT2}, {"roberta-bpe", GPT2}, {"jina-v1-en", GPT2},
	{"jina-v2-code", GPT2}, {"jina-v2-es", GPT2}, {"jina-v2-de", GPT2}, {"jina-es", GPT2},
	{"jina-de", GPT2}, {"gigachat", GPT2}, {"mellum", GPT2}, {"a.x-4.0", GPT2},
	{"trillion", GPT2}, {"granite-docling", GPT2},
	{"llama3", LLAMA3}, {"llama-v3", LLAMA3}, {"llama-bpe", LLAMA3}, {"falcon3", LLAMA3},
	{"falcon-h1", LLAMA3}, {"pixtral", LLAMA3}, {"midm-2.0", LLAMA3}, {"lfm2", LLAMA3},
	{"jina-v5-nano", LLAMA3}, {"dbrx", LLAMA3}, {"smaug-bpe", LLAMA3}, {"chatglm-bpe", LLAMA3},
	{"glm4", LLAMA3}, {"glm5", LLAMA3},
	{"qwen2", QWEN2}, {"deepseek-r1-qwen", QWEN2}, {"stablelm2", QWEN2}, {"megrez", QWEN2},
	{"hunyuan", QWEN2}, {"grok-2", QWEN2}, {"solar-open", QWEN2}, {"kormo", QWEN2},
	{"f2llmv2", QWEN2}, {"qwen35", QWEN35},
	{"smollm", SMOLLM}, {"starcoder", SMOLLM}, {"refact", SMOLLM}, {"command-r", SMOLLM},
	{"codeshell", SMOLLM}, {"exaone", SMOLLM}, {"minerva-7b", SMOLLM}, {"mellum2", SMOLLM},
	{"deepseek-v3", DEEPSEEK3}, {"hunyuan-dense", DEEPSEEK3}, {"hy_v4", DEEPSEEK3},
	{"joyai-llm", DEEPSEEK3},
	{"deepseek-llm", DEEPSEEK_LLM}, {"deepseek-coder", DEEPSEEK_CODER}, {"falcon", FALCON},
	{"default", DEFAULT}, {"gemma4", LINES}, {"granite-embed-multi-311m", LINES},
	{"sarvam-moe", LINES},
};

#define LETTERS_3 "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define REST_3 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPELLED "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define CJK_V3 "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
#define WORDS_V3                                                                                  \
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"       \
	"[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Pattern lists that are pretoks[].  Line ends may be spelled as such or escaped. */
static const struct {
	int which;
	unsigned n;
	const char *pattern[3];
} lists[] = {
	{GPT2, 1, {DS_PRETOK_GPT2}},
	{SMOLLM, 2, {"\\p{N}", DS_PRETOK_GPT2}},
	{LLAMA3, 1, {FOLDED LETTERS_3 "{1,3}" REST_3}},
	{LLAMA3, 1, {SPELLED LETTERS_3 "{1,3}" REST_3}},
	{QWEN2, 1, {FOLDED LETTERS_3 REST_3}},
	{QWEN2, 1, {SPELLED LETTERS_3 REST_3}},
	{QWEN35, 1, {FOLDED "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}"
			    "\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
	{DEEPSEEK3, 3, {"\\p{N}{1,3}", CJK_V3, WORDS_V3}},
	{LINES, 1, {"[^\\n]+|[\\n]+"}},
};

enum ds_status ds_pretok_named(const struct ds_pretok **pre_ret, const char *name, size_t len,
			       struct ds_err *err)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strlen(names[i].name) == len && !memcmp(names[i].name, name, len)) {
			*pre_ret = &pretoks[names[i].which];
			return DS_OK;
		}
	}
	*pre_ret = NULL;
	return ds_fail(err, DS_EUNSUPPORTED, "pretokenizer '%.*s' is not known",
		       (int)(len < 64 ? len : 64), name);
}

/* Whether two patterns are the same up to the spelling of CR and LF. */
static bool same_pattern(struct ds_str given, const char *known)
{
	size_t i = 0;

	for (; i < given.len && *known; i++, known++) {
		char c = given.s[i];

		if (c == '\r' || c == '\n') {
			if (known[0] != '\\' || known[1] != (c == '\r' ? 'r' : 'n'))
				return false;
			known++;
		} else if (c != *known) {
			return false;
		}
	}
	return i == given.len && !*known;
}

static const struct ds_pretok *recognise(const struct ds_str *pattern, size_t n)
{
	if (!n)
		return &pretoks[NONE];
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		size_t j = 0;

		while (j < n && n == lists[i].n && same_pattern(pattern[j], lists[i].pattern[j]))
			j++;
		if (j == n)
			return &pretoks[lists[i].which];
	}
	return NULL;
}

enum ds_status ds_pretok_open(const struct ds_pretok **pre_ret, const struct ds_str *pattern,
			      size_t n, struct ds_err *err)
{
	struct ds_pretok *pre;

	*pre_ret = recognise(pattern, n);
	if (*pre_ret)
		return DS_OK;
	if (n > DS_PRETOK_LEVELS)
		return ds_fail(err, DS_ELIMIT, "a pretokenizer of %zu patterns; at most %d", n,
			       DS_PRETOK_LEVELS);
	pre = ds_alloc_zero(1, sizeof *pre);
	if (!pre)
		return ds_fail_nomem(err, sizeof *pre);
	pre->name = "pcre2";
	pre->owned = true;
	for (; pre->n_levels < n; pre->n_levels++) {
		enum ds_status status = ds_pcre_compile(&pre->level[pre->n_levels].pcre,
							pattern[pre->n_levels], err);

		if (status) {
			ds_pretok_close(pre);
			return status;
		}
	}
	*pre_ret = pre;
	return DS_OK;
}

void ds_pretok_close(const struct ds_pretok *pre)
{
	if (!pre || !pre->owned)
		return;
	for (unsigned i = 0; i < pre->n_levels; i++)
		ds_pcre_free(pre->level[i].pcre);
	free((void *)(uintptr_t)pre);
}

const char *ds_pretok_name(const struct ds_pretok *pre)
{
	return pre->name;
}

/* --- cutting a text ------------------------------------------------------------------------ */

void ds_pretok_walk_init(struct ds_pretok_walk *walk, const struct ds_pretok *pre)
{
	memset(walk, 0, sizeof *walk);
	walk->pre = pre;
}

void ds_pretok_walk_fini(struct ds_pretok_walk *walk)
{
	ds_pcre_state_free(walk->pcre);
	walk->pcre = NULL;
}

void ds_pretok_start(struct ds_pretok_walk *walk, const void *text, size_t n)
{
	walk->text = text;
	walk->pos = 0;
	walk->n = n;
	walk->depth = 0;
	walk->at[0].start = walk->at[0].pos = walk->text;
	walk->at[0].end = walk->text + n;
	walk->at[0].match.start = NULL;
}

/* A match at the current level, or an empty one at its end. */
static enum ds_status find(struct ds_pretok_walk *walk, struct ds_err *err)
{
	const struct ds_pretok_level *level = &walk->pre->level[walk->depth];
	const uint8_t *pos = walk->at[walk->depth].pos;
	struct ds_span text = {walk->at[walk->depth].start, walk->at[walk->depth].end};
	struct ds_span *match = &walk->at[walk->depth].match;

	if (!level->pcre) {
		if (!level->find(pos, text.end, match))
			match->start = NULL;
	} else {
		if (!walk->pcre)
			DS_TRY(ds_pcre_state_new(&walk->pcre, err));
		DS_TRY(ds_pcre_find(level->pcre, walk->pcre, text, pos, match, err));
	}
	if (!match->start)
		match->start = match->end = text.end;
	return DS_OK;
}

/* The next piece of the current level, which is not at its end. */
static enum ds_status next_piece(struct ds_pretok_walk *walk, struct ds_span *piece_ret,
				 struct ds_err *err)
{
	const uint8_t *pos = walk->at[walk->depth].pos;
	struct ds_span *match = &walk->at[walk->depth].match;

	if (!match->start)
		DS_TRY(find(walk, err));
	piece_ret->start = pos;
	piece_ret->end = pos < match->start ? match->start : match->end;
	if (piece_ret->end == match->end) /* given, or empty: only a place to cut */
		match->start = NULL;
	walk->at[walk->depth].pos = piece_ret->end;
	return DS_OK;
}

/* Depth first through the levels. */
static enum ds_status next_levels(struct ds_pretok_walk *walk, size_t *end_ret, size_t cap,
				  size_t *n_ret, struct ds_err *err)
{
	size_t i = 0;

	while (i < cap) {
		struct ds_span piece;

		if (walk->at[walk->depth].pos == walk->at[walk->depth].end) {
			if (!walk->depth)
				break;
			walk->depth--;
			continue;
		}
		DS_TRY(next_piece(walk, &piece, err));
		if (walk->depth + 1 == walk->pre->n_levels) {
			end_ret[i++] = (size_t)(piece.end - walk->text);
		} else {
			walk->depth++;
			walk->at[walk->depth].start = walk->at[walk->depth].pos = piece.start;
			walk->at[walk->depth].end = piece.end;
			walk->at[walk->depth].match.start = NULL;
		}
	}
	*n_ret = i;
	return DS_OK;
}

enum ds_status ds_pretok_next(struct ds_pretok_walk *walk, size_t *end_ret, size_t cap,
			      size_t *n_ret, struct ds_err *err)
{
	if (!walk->pre->split)
		return next_levels(walk, end_ret, cap, n_ret, err);
	*n_ret = walk->pre->split(walk->text, walk->pos, walk->n, end_ret, cap);
	if (*n_ret)
		walk->pos = end_ret[*n_ret - 1];
	return DS_OK;
}

/* --- safe cuts ----------------------------------------------------------------------------- */

static bool cjk_letter_before(const uint8_t *text, size_t p)
{
	uint32_t cp;

	return p >= 3 && ds_utf8_decode(text + p - 3, text + p, &cp) == 3 && cp >= 0x4E00 &&
	       cp <= 0x9FA5;
}

static bool cjk_mark_after(const uint8_t *text, size_t p, size_t n)
{
	uint32_t cp;

	if (n - p < 3 || ds_utf8_decode(text + p, text + n, &cp) != 3)
		return false;
	return cp == 0x3001 || cp == 0x3002 || cp == 0xFF01 || cp == 0xFF0C || cp == 0xFF1B ||
	       cp == 0xFF1F;
}

/* The character that ends before p is a letter. */
static bool letter_before(const uint8_t *text, size_t p)
{
	size_t start = p - 1;
	uint32_t cp;

	while (start > 0 && p - start < 4 && (text[start] & 0xC0) == 0x80)
		start--;
	return ds_utf8_decode(text + start, text + p, &cp) == p - start &&
	       (ds_unicode_class(cp) & DS_UC_L);
}

static bool may_cut(const uint8_t *text, size_t p, size_t n, unsigned cut)
{
	uint8_t before = text[p - 1], after = text[p];

	if (cut & DS_CUT_LINE)
		return before == '\n' && after != '\n';
	if ((before | 0x20) >= 'a' && (before | 0x20) <= 'z' && before < 0x80) {
		if (after >= 0x80 || ((after | 0x20) >= 'a' && (after | 0x20) <= 'z'))
			return false;
		if (after == '\'')
			return cut & DS_CUT_QUOTE;
		if (after == ' ' || (after >= '\t' && after <= '\r'))
			return cut & DS_CUT_SPACE;
		return cut & DS_CUT_PUNCT;
	}
	if (before >= 0x80 && (after == ' ' || (after >= '\t' && after <= '\r')))
		return (cut & DS_CUT_LETTER) && letter_before(text, p);
	return (cut & DS_CUT_CJK) && after >= 0xE3 && cjk_letter_before(text, p) &&
	       cjk_mark_after(text, p, n);
}

/*
 * In every pattern of these families an ASCII letter ends its pretoken when no letter or mark
 * follows, whatever came before and comes after, and what follows starts a match of its own in
 * every pass: nothing looks behind, and the passes before the one that cuts here have no match
 * across.  The same holds for a Chinese character before a CJK mark, and, where words are \p{L}+,
 * for any letter before white space.
 */
size_t ds_pretok_cut(const struct ds_pretok *pre, const void *text, size_t n)
{
	if (!pre->cut)
		return 0;
	for (size_t p = n; p-- > 1;)
		if (may_cut(text, p, n, pre->cut))
			return p;
	return 0;
}
