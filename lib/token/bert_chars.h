/*
 * bert_chars.h - what BERT's normaliser and word splitter make of a character (internal)
 *
 * Source: Hugging Face tokenizers, normalizers/bert.rs and pre_tokenizers/bert.rs (behaviour;
 * compared with it over all code points).
 */
#ifndef DS_TOKEN_BERT_CHARS_H
#define DS_TOKEN_BERT_CHARS_H

#include <stdint.h>

enum {
	DS_BERT_UNSEEN, /* not computed yet */
	DS_BERT_WORD,
	DS_BERT_ALONE, /* punctuation or CJK: a word by itself */
	DS_BERT_SPACE,
	DS_BERT_DROP,	     /* leaves nothing behind */
	DS_BERT_REORDER = 8, /* with DS_BERT_WORD: a mark that survives and may move before the one
				before it */
};

#define DS_BERT_MAPPED_MAX 8

/* 'M' for nonspacing marks, 'C' for controls, 'P' for punctuation, as of Unicode 8.0; else 0. */
char ds_bert_class(uint32_t cp);
/* What cp becomes under DS_WP_ flags: at most DS_BERT_MAPPED_MAX code points; their number. */
unsigned ds_bert_map(unsigned flags, uint32_t cp, uint32_t out[DS_BERT_MAPPED_MAX]);
/* The class of a code point, or of DS_UTF8_INVALID. */
uint8_t ds_bert_classify(unsigned flags, uint32_t cp);

#endif
