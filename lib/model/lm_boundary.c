/*
 * lm_boundary.c - which tokens end paragraphs, sentences and clauses
 */
#include "model/lm_boundary.h"

#include <stdlib.h>
#include <string.h>

static const char *const closing[] = {" ",	"\t",	  "\r",	    "\"",     "'",	")",
				      "]",	"}",	  "*",	    "_",      "\u00a0", "\u00bb",
				      "\u2019", "\u201d", "\u300b", "\u300d", "\u300f", "\u3011",
				      "\u3000", "\uff09", "\u2581", NULL};
static const char *const sentence[] = {".",	 "!",	   "?",	     "\u2026", "\u3002",
				       "\uff01", "\uff1f", "\uff61", NULL};
static const char *const clause[] = {",",      ";",	 ":",	   "\u3001", "\uff0c",
				     "\uff1b", "\uff1a", "\uff64", NULL};

/* Length of the one that the bytes end in, or 0. */
static size_t ends_in(const char *bytes, size_t n, const char *const *marks)
{
	for (; *marks; marks++) {
		size_t len = strlen(*marks);

		if (len <= n && memcmp(bytes + n - len, *marks, len) == 0)
			return len;
	}
	return 0;
}

enum ds_attn_boundary ds_boundary_of(const void *bytes, size_t n)
{
	if (n && memchr(bytes, '\n', n))
		return DS_ATTN_PARAGRAPH;
	for (size_t len = 1; n && len; n -= len)
		len = ends_in(bytes, n, closing);
	if (ends_in(bytes, n, sentence))
		return DS_ATTN_SENTENCE;
	return ends_in(bytes, n, clause) ? DS_ATTN_CLAUSE : DS_ATTN_NO_BOUNDARY;
}

enum ds_status ds_boundaries_of(const struct ds_tokenizer *tok, uint32_t n_vocab,
				uint8_t **boundaries_ret, struct ds_err *err)
{
	uint8_t *boundaries = ds_alloc_zero(n_vocab, 1);
	enum ds_status st = DS_OK;
	struct ds_buf text = {0};

	if (!boundaries)
		return ds_fail_nomem(err, n_vocab);
	for (uint32_t id = 0; st == DS_OK && id < n_vocab && id < ds_tokenizer_size(tok); id++) {
		text.len = 0;
		st = ds_decode(tok, &id, 1, 0, &text, err);
		boundaries[id] = (uint8_t)ds_boundary_of(text.data, text.len);
	}
	ds_buf_fini(&text);
	if (st != DS_OK) {
		free(boundaries);
		return st;
	}
	*boundaries_ret = boundaries;
	return DS_OK;
}
