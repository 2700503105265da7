/* bert_chars.c - what BERT's normaliser and word splitter make of a character */
#include "token/bert_chars.h"

#include <stddef.h>
#include <utf8proc.h>

#include "base/unicode.h"
#include "base/utf8.h"
#include "token/bert_classes.h"
#include "token/normal.h"
#include "token/wordpiece.h"

static char ascii_class(uint32_t c)
{
	if (c == 0x7F || (c < ' ' && c != '\t' && c != '\n' && c != '\r'))
		return 'C';
	if (c <= ' ' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'))
		return 0;
	return 'P';
}

/* 'M', 'C', 'P' or 0. */
char ds_bert_class(uint32_t cp)
{
	size_t low = 0, high = sizeof bert_classes / sizeof bert_classes[0];

	if (cp < 0x80)
		return ascii_class(cp);
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cp > bert_classes[mid].last)
			low = mid + 1;
		else if (cp < bert_classes[mid].first)
			high = mid;
		else
			return bert_classes[mid].class;
	}
	return 0;
}

static int is_space(uint32_t cp)
{
	return (ds_unicode_class(cp) & DS_UC_SPACE) != 0;
}

/* The blocks as Hugging Face writes them (0x2B920 stands there for 0x2B820). */
static int is_cjk(uint32_t cp)
{
	return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
	       (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2B73F) ||
	       (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
	       (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

/* What cp becomes, at most DS_BERT_MAPPED_MAX code points; their number. */
unsigned ds_bert_map(unsigned flags, uint32_t cp, uint32_t out[DS_BERT_MAPPED_MAX])
{
	uint32_t parts[DS_NORM_PARTS_MAX] = {cp};
	unsigned n = flags & DS_WP_ACCENTS ? ds_norm_decompose(cp, parts) : 1, kept = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t c = parts[i];

		if ((flags & DS_WP_ACCENTS) && ds_bert_class(c) == 'M')
			continue;
		if (!(flags & DS_WP_LOWER)) {
			out[kept++] = c;
		} else if (c == 0x130 && kept + 1 < DS_BERT_MAPPED_MAX) {
			/* the one character whose lower case is two */
			out[kept++] = 'i';
			out[kept++] = 0x307;
		} else {
			out[kept++] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
		}
	}
	return kept;
}

uint8_t ds_bert_classify(unsigned flags, uint32_t cp)
{
	uint32_t out[DS_BERT_MAPPED_MAX];
	uint8_t class = DS_BERT_WORD;
	unsigned n;

	if (cp == DS_UTF8_INVALID)
		cp = 0xFFFD;
	/* before white space: U+0085 is both, and dropped */
	if ((flags & DS_WP_CLEAN) && (cp == 0xFFFD || ds_bert_class(cp) == 'C'))
		return DS_BERT_DROP;
	if (is_space(cp))
		return DS_BERT_SPACE;
	if ((flags & DS_WP_CJK) && is_cjk(cp))
		return DS_BERT_ALONE;
	n = ds_bert_map(flags, cp, out);
	if (n == 0)
		return DS_BERT_DROP;
	if (n == 1 && is_space(out[0]))
		return DS_BERT_SPACE;
	if (n == 1 && ds_bert_class(out[0]) == 'P')
		return DS_BERT_ALONE;
	if (flags & DS_WP_ACCENTS)
		for (unsigned i = 0; i < n; i++)
			if (ds_norm_combining(out[i]))
				class |= DS_BERT_REORDER;
	return class;
}
