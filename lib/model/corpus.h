/*
 * corpus.h - lines of text as token ids, held in memory
 */
#ifndef DS_MODEL_CORPUS_H
#define DS_MODEL_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "token/token.h"

struct ds_corpus {
	uint32_t *id; /* of all lines, without CLS and SEP */
	size_t *end;  /* [n]: line i is id[i ? end[i - 1] : 0 .. end[i]) */
	size_t n;
	size_t cap_id, cap_end;
	uint64_t bytes; /* of the files read */
};

/* A zeroed struct is empty. */
void ds_corpus_fini(struct ds_corpus *corpus);
/* Append the lines of a file ("-": standard input) that hold tokens, each cut after tokens_max. */
enum ds_status ds_corpus_read(struct ds_corpus *corpus, const struct ds_tokenizer *tok,
			      const char *path, size_t tokens_max, struct ds_err *err);

static inline size_t ds_corpus_start(const struct ds_corpus *corpus, size_t line)
{
	return line ? corpus->end[line - 1] : 0;
}

static inline size_t ds_corpus_tokens(const struct ds_corpus *corpus)
{
	return ds_corpus_start(corpus, corpus->n);
}

#endif
