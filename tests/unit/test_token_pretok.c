/*
 * test_token_pretok.c - hand-written pretokenizers against PCRE2 with the patterns they stand for
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "token/pretok.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?"
#define ASIAN "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
/* a few of the list's ranges; the text below has no cased letter of the others */
#define CASED "\\s?[A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01C4-\u0293\u0370-\u0373" \
	"\u0388-\u038A\u038E-\u03A1\u03A3-\u03F5\u0400-\u0481\uFF21-\uFF3A\U00010400-\U0001044F]+"

/* Patterns in a group, so that they are not recognised. */
static const struct {
	const char *name;
	const char *pattern[6];
} rows[] = {
	{"gpt-2", {"(?:" GPT2 ")"}},
	{"smollm", {"(?:\\p{N})", GPT2}},
	{"llama-bpe", {FOLDED "(?:\\p{L}+)|\\p{N}{1,3}" REST}},
	{"qwen2", {FOLDED "(?:\\p{L}+)|\\p{N}" REST}},
	{"qwen35", {FOLDED "(?:[\\p{L}\\p{M}]+)|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
		    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
	{"deepseek-v3",
	 {"(?:\\p{N}{1,3})", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
	  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
	  "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
	{"deepseek-llm",
	 {"(?:[\r\n])", CASED, "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
	  "\\s+$", ASIAN, "\\p{N}+"}},
	{"deepseek-coder", {"(?:[\r\n])", "\\s?\\p{L}+", "\\s?\\p{P}+", ASIAN, "\\p{N}"}},
	{"falcon", {"(?:[\\p{P}\\$\\+<=>\\^~\\|`]+)", GPT2, "[0-9][0-9][0-9]"}},
	{"default", {"(?:[\\p{P}\\$\\+<=>\\^~\\|]+)", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
	{"gemma4", {"(?:[^\\n]+|[\\n]+)"}},
};

#define N_ROWS (sizeof rows / sizeof *rows)

/* One or two of every kind that a pattern tells apart, of the same class in all Unicode versions
 * since 10 (PCRE2 has its own tables).  The last are unassigned or private. */
static const uint32_t symbols[] = {
	'a', 'b', 'S', 's', 't', 'T', 'r', 'e', 'v', 'l', 'L', 'm', 'd', 'D', 'Z', '\'', '\'', '\'',
	' ', ' ', ' ', '\t', '\n', '\r', '\n', '\v', '\f', '0', '7', '9', '!', '-', '_', '$', '+',
	'<', '`', '^', '~', '|', '@', '[', '/', '\\', '"', ')', 0, 1, 0x7F, 0x85, 0xA0, 0xA7, 0xAA,
	0xAD, 0xB2, 0xB5, 0xBD, 0xD7, 0xE9, 0xC9, 0x17F, 0x1C5, 0x2B0, 0x300, 0x301, 0x391, 0x430,
	0x5D0, 0x660, 0x663, 0x900, 0x903, 0x905, 0xE01, 0x1680, 0x180E, 0x2009, 0x200B, 0x2018,
	0x2028, 0x2029, 0x202F, 0x2030, 0x203F, 0x205F, 0x20AC, 0x2160, 0x2460, 0x2603, 0x3000,
	0x3001, 0x3002, 0x3007, 0x3041, 0x3042, 0x3096, 0x3099, 0x309B, 0x309D, 0x30A0, 0x30A1,
	0x30AB, 0x30FB, 0x30FC, 0x4E00, 0x4E2D, 0x9FA5, 0x9FA6, 0xAC00, 0xD7A3, 0xFF01, 0xFF0C,
	0xFF11, 0xFF21, 0xFFFD, 0x10400, 0x1D7CE, 0x1F600, 0x20000, 0xE000, 0xFFFF, 0x10FFFF,
	0x3040, 0x3097,
};

static uint64_t state;

static uint32_t below(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((state >> 33) % n);
}

static size_t random_text(uint8_t *out, size_t symbols_max)
{
	const uint32_t n_symbols = sizeof symbols / sizeof *symbols;
	uint32_t first = below(n_symbols), span = 1 + below(n_symbols), n = below(symbols_max);
	size_t len = 0;

	if (below(3) == 0) /* the ASCII part */
		first = 0, span = 46;
	while (n--) {
		uint32_t cp = symbols[(first + below(span)) % n_symbols];

		for (uint32_t times = below(6) ? 1 : 1 + below(4); times; times--)
			len += ds_utf8_encode(cp, out + len);
	}
	return len;
}

static size_t cut(const struct ds_pretok *pre, const uint8_t *text, size_t n, size_t batch,
		  size_t *end)
{
	struct ds_pretok_walk walk;
	size_t count = 0, got;

	ds_pretok_walk_init(&walk, pre);
	ds_pretok_start(&walk, text, n);
	do {
		ck_assert_int_eq(ds_pretok_next(&walk, end + count, batch, &got, NULL), DS_OK);
		count += got;
	} while (got);
	ds_pretok_walk_fini(&walk);
	return count;
}

static void show(const char *name, const uint8_t *text, const size_t *end, size_t n)
{
	fprintf(stderr, "%s:", name);
	for (size_t i = 0, at = 0; i < n; i++) {
		fputs(" [", stderr);
		for (; at < end[i]; at++)
			fprintf(stderr, text[at] > ' ' && text[at] < 0x7F ? "%c" : "\\x%02X",
				text[at]);
		fputs("]", stderr);
	}
	fputs("\n", stderr);
}

#define TEXT_MAX 4096

START_TEST(same_as_pattern)
{
	const struct ds_pretok *fast, *slow;
	struct ds_str pattern[6];
	size_t n_patterns = 0;
	static uint8_t text[TEXT_MAX];
	static size_t want[TEXT_MAX], got[TEXT_MAX];

	while (n_patterns < 6 && rows[_i].pattern[n_patterns]) {
		pattern[n_patterns].s = rows[_i].pattern[n_patterns];
		pattern[n_patterns].len = strlen(pattern[n_patterns].s);
		n_patterns++;
	}
	ck_assert_int_eq(ds_pretok_named(&fast, rows[_i].name, strlen(rows[_i].name), NULL), DS_OK);
	ck_assert_int_eq(ds_pretok_open(&slow, pattern, n_patterns, NULL), DS_OK);
	ck_assert_str_eq(ds_pretok_name(slow), "pcre2");
	state = 7 + (uint64_t)_i;
	for (int i = 0; i < 20000; i++) {
		size_t n = random_text(text, i % 50 ? 14 : 90);
		size_t n_want = cut(slow, text, n, TEXT_MAX, want);
		size_t n_got = cut(fast, text, n, i % 2 ? 1 : TEXT_MAX, got);

		if (n_got != n_want || memcmp(got, want, n_want * sizeof *want)) {
			show("pattern", text, want, n_want);
			show(rows[_i].name, text, got, n_got);
			ck_abort_msg("%s differs from its pattern", rows[_i].name);
		}
	}
	ds_pretok_close(slow);
}
END_TEST

/* A stray byte cuts as a private code point does, and every byte is in some pretoken. */
START_TEST(stray_bytes)
{
	const struct ds_pretok *pre;
	static uint8_t text[TEXT_MAX], stray[TEXT_MAX];
	static size_t want[TEXT_MAX], got[TEXT_MAX];

	ck_assert_int_eq(ds_pretok_named(&pre, rows[_i].name, strlen(rows[_i].name), NULL), DS_OK);
	state = 99;
	for (int i = 0; i < 4000; i++) {
		size_t n = random_text(text, 20), n_stray = 0, n_want, n_got, at = 0;

		if (pre->n_levels == 5 || pre->n_levels == 6) /* U+E000 is in no class of these */
			ck_assert_ptr_null(pre->split);
		n_want = cut(pre, text, n, TEXT_MAX, want);
		for (size_t p = 0, k = 0; p < n; k++) { /* U+E000 becomes one byte FF */
			for (; p < want[k];) {
				bool private = n - p >= 3 && !memcmp(text + p, "\xEE\x80\x80", 3);

				stray[n_stray++] = private ? 0xFF : text[p];
				p += private ? 3 : 1;
			}
			want[k] = n_stray;
		}
		n_got = cut(pre, stray, n_stray, TEXT_MAX, got);
		ck_assert_uint_eq(n_got, n_want);
		ck_assert_mem_eq(got, want, n_want * sizeof *want);
		/* bytes at random: covered, in order */
		for (size_t p = 0; p < 60; p++)
			stray[p] = (uint8_t)below(256);
		n_got = cut(pre, stray, 60, 3, got);
		for (size_t k = 0; k < n_got; at = got[k++])
			ck_assert_uint_gt(got[k], at);
		ck_assert_uint_eq(at, 60);
	}
}
END_TEST

static const struct {
	const char *pattern[3];
	const char *name;
} recognised[] = {
	{{DS_PRETOK_GPT2}, "gpt-2"},
	{{"\\p{N}", DS_PRETOK_GPT2}, "smollm"},
	{{FOLDED "\\p{L}+|\\p{N}{1,3}" REST}, "llama-bpe"},
	{{FOLDED "\\p{L}+|\\p{N}" REST}, "qwen2"},
	{{"\\p{N}{1,3}", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
	  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
	  "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
	 "deepseek-v3"},
	{{"\\p{N}{1,3}"}, "pcre2"},
	{{NULL}, "none"},
};

START_TEST(recognises)
{
	const struct ds_pretok *pre;
	struct ds_str pattern[3];
	size_t n = 0;

	while (n < 3 && recognised[_i].pattern[n]) {
		pattern[n].s = recognised[_i].pattern[n];
		pattern[n].len = strlen(pattern[n].s);
		n++;
	}
	ck_assert_int_eq(ds_pretok_open(&pre, pattern, n, NULL), DS_OK);
	ck_assert_str_eq(ds_pretok_name(pre), recognised[_i].name);
	ds_pretok_close(pre);
}
END_TEST

START_TEST(refuses)
{
	const struct ds_pretok *pre;
	struct ds_err err = {0};
	const struct ds_str bad = {"a(b", 3}, many[9] = {{"a", 1}, {"b", 1}};

	ck_assert_int_eq(ds_pretok_named(&pre, "gpt-2x", 6, &err), DS_EUNSUPPORTED);
	ck_assert_str_eq(err.message, "pretokenizer 'gpt-2x' is not known");
	ck_assert_ptr_null(pre);
	ck_assert_int_eq(ds_pretok_open(&pre, &bad, 1, &err), DS_EUNSUPPORTED);
	ck_assert_ptr_null(pre);
	ck_assert_int_eq(ds_pretok_open(&pre, many, 9, &err), DS_ELIMIT);
}
END_TEST

/* Megabytes without a break, and a pattern that backtracks: no crash, no hang. */
START_TEST(long_runs)
{
	static const char *const runs[] = {"a", " ", "\n", "9", "\u4E2D", "'", "\xFF", " \n",
					   "\u0301"};
	const struct ds_str words = {"(?:[a-z ]+[^\\s]?)+", 18}, evil = {"(a+)+b", 6};
	const size_t n = 300000;
	uint8_t *text = malloc(n);
	size_t *end = malloc((n + 1) * sizeof *end);
	const struct ds_pretok *pre;
	struct ds_pretok_walk walk;
	struct ds_err err = {0};
	size_t got;

	for (size_t i = 0; i < n; i++)
		text[i] = (uint8_t)runs[_i][i % strlen(runs[_i])];
	for (size_t row = 0; row < N_ROWS; row++) {
		ds_pretok_named(&pre, rows[row].name, strlen(rows[row].name), NULL);
		ck_assert_uint_eq(end[cut(pre, text, n, n, end) - 1], n);
	}
	ck_assert_int_eq(ds_pretok_open(&pre, &words, 1, NULL), DS_OK);
	ck_assert_uint_eq(end[cut(pre, text, n, n, end) - 1], n);
	ds_pretok_close(pre);
	memset(text, 'a', 64);
	ck_assert_int_eq(ds_pretok_open(&pre, &evil, 1, NULL), DS_OK);
	ds_pretok_walk_init(&walk, pre);
	ds_pretok_start(&walk, text, 64);
	if (ds_pretok_next(&walk, end, n, &got, &err))
		ck_assert_int_eq(err.status, DS_ELIMIT);
	ds_pretok_walk_fini(&walk);
	ds_pretok_close(pre);
	free(text);
	free(end);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("token");
	TCase *t = tcase_create("pretok");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, same_as_pattern, 0, N_ROWS);
	tcase_add_loop_test(t, stray_bytes, 0, N_ROWS);
	tcase_add_loop_test(t, recognises, 0, sizeof recognised / sizeof *recognised);
	tcase_add_test(t, refuses);
	tcase_add_loop_test(t, long_runs, 0, 9);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
