/* terms.c - the words of a text */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

#include "base/utf8.h"
#include "search/words.h"

#define TERM_BYTES_MAX 64 /* longer words are cut: their beginnings identify them */

enum kind { GAP, LETTER, DENSE };

/* Scripts without spaces between words: Thai to Myanmar, kana, Han and its extensions. */
static int is_dense(uint32_t cp)
{
	static const uint32_t ranges[][2] = {
		{0x0E00, 0x0EFF}, {0x1000, 0x109F}, {0x1780, 0x17FF},	{0x2E80, 0x2FDF},
		{0x3005, 0x3007}, {0x3041, 0x30FF}, {0x31F0, 0x31FF},	{0x3400, 0x4DBF},
		{0x4E00, 0x9FFF}, {0xF900, 0xFAFF}, {0x20000, 0x3FFFF},
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (cp >= ranges[i][0] && cp <= ranges[i][1])
			return 1;
	return 0;
}

static enum kind kind_of(uint32_t cp)
{
	if (cp < 0x80)
		return (cp | 0x20) - 'a' < 26 || cp - '0' < 10 ? LETTER : GAP;
	if (cp == DS_UTF8_INVALID)
		return GAP;
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO:
		return is_dense(cp) ? DENSE : LETTER;
	default:
		return GAP;
	}
}

/* Case-folded and stripped of marks, appended to out; returns the new length. */
static size_t fold(uint32_t cp, uint8_t *out, size_t len)
{
	utf8proc_int32_t parts[8];
	utf8proc_ssize_t n;
	int last = 0;

	n = utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 8,
				    UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD |
					    UTF8PROC_STRIPMARK, &last);
	for (utf8proc_ssize_t i = 0; i < n && i < 8 && len + 4 <= TERM_BYTES_MAX; i++)
		len += ds_utf8_encode((uint32_t)parts[i], out + len);
	return len;
}

/* Harman's S stemmer (How effective is suffixing?, 1991): only plurals. */
static size_t reduce_plural(uint8_t *w, size_t n)
{
	if (n < 4 || w[n - 1] != 's')
		return n;
	if (w[n - 2] == 'e' && w[n - 3] == 'i') {
		if (w[n - 4] == 'e' || w[n - 4] == 'a')
			return n;
		w[n - 3] = 'y';
		return n - 2;
	}
	if (w[n - 2] == 'e' && (w[n - 3] == 'a' || w[n - 3] == 'e' || w[n - 3] == 'o'))
		return n;
	return w[n - 2] == 'u' || w[n - 2] == 's' ? n : n - 1;
}

static enum ds_status emit(struct ds_terms *terms, const uint8_t *word, size_t n,
			   struct ds_err *err)
{
	if (n == 0)
		return DS_OK;
	DS_TRY(ds_grow(&terms->hash, &terms->cap, terms->n + 1, sizeof *terms->hash, err));
	terms->hash[terms->n++] = (uint32_t)(XXH3_64bits(word, n) >> 32);
	return DS_OK;
}

/* A run of a script without spaces: every pair of neighbours; a character alone is itself. */
static enum ds_status split_dense(struct ds_terms *terms, const uint8_t **p_io,
				  const uint8_t *end, struct ds_err *err)
{
	const uint8_t *p = *p_io;
	uint8_t pair[2 * TERM_BYTES_MAX];
	size_t first = 0, count = 0;

	while (p < end) {
		uint32_t cp;
		unsigned k = ds_utf8_decode(p, end, &cp);
		size_t len;

		if (kind_of(cp) != DENSE)
			break;
		p += k;
		len = fold(cp, pair + first, 0) + first;
		if (count++)
			DS_TRY(emit(terms, pair, len, err));
		memmove(pair, pair + first, len - first);
		first = len - first;
	}
	if (count == 1)
		DS_TRY(emit(terms, pair, first, err));
	*p_io = p;
	return DS_OK;
}

static enum ds_status split_word(struct ds_terms *terms, const uint8_t **p_io, const uint8_t *end,
				 struct ds_err *err)
{
	const uint8_t *p = *p_io;
	uint8_t word[TERM_BYTES_MAX + 1];
	size_t n = 0;

	while (p < end) {
		uint32_t cp = *p;
		unsigned k = 1;

		if (cp < 0x80) {
			uint8_t lower = (uint8_t)(cp | 0x20);

			if (lower >= 'a' && lower <= 'z')
				cp = lower;
			else if (cp < '0' || cp > '9')
				break;
			if (n < TERM_BYTES_MAX)
				word[n++] = (uint8_t)cp;
		} else {
			k = ds_utf8_decode(p, end, &cp);
			if (kind_of(cp) != LETTER)
				break;
			n = fold(cp, word, n);
		}
		p += k;
	}
	*p_io = p;
	return emit(terms, word, reduce_plural(word, n), err);
}

enum ds_status ds_terms_split(struct ds_terms *terms, const void *text, size_t n,
			      struct ds_err *err)
{
	const uint8_t *p = text, *end = p + n;

	while (p < end) {
		uint32_t cp;
		unsigned k = ds_utf8_decode(p, end, &cp);

		switch (kind_of(cp)) {
		case GAP:
			p += k;
			break;
		case LETTER:
			DS_TRY(split_word(terms, &p, end, err));
			break;
		case DENSE:
			DS_TRY(split_dense(terms, &p, end, err));
			break;
		}
	}
	return DS_OK;
}

void ds_terms_fini(struct ds_terms *terms)
{
	free(terms->hash);
	*terms = (struct ds_terms){0};
}
