/* corpus.c - lines of text as token ids, held in memory */
#include "model/corpus.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"

#define FILE_BYTES_MAX ((size_t)1 << 31)

void ds_corpus_fini(struct ds_corpus *corpus)
{
	free(corpus->id);
	free(corpus->end);
	*corpus = (struct ds_corpus){0};
}

static enum ds_status add_line(struct ds_corpus *corpus, const uint32_t *id, size_t n,
			       struct ds_err *err)
{
	size_t start = ds_corpus_tokens(corpus);

	DS_TRY(ds_grow(&corpus->id, &corpus->cap_id, start + n, sizeof *id, err));
	DS_TRY(ds_grow(&corpus->end, &corpus->cap_end, corpus->n + 1, sizeof *corpus->end, err));
	memcpy(corpus->id + start, id, n * sizeof *id);
	corpus->end[corpus->n++] = start + n;
	return DS_OK;
}

static enum ds_status add_text(struct ds_corpus *corpus, struct ds_encoder *enc,
			       const struct ds_buf *text, size_t tokens_max, struct ds_err *err)
{
	struct ds_tokens tokens = {0};
	enum ds_status st = DS_OK;
	size_t from = 0;

	while (st == DS_OK && from < text->len) {
		const uint8_t *line = text->data + from;
		const uint8_t *feed = memchr(line, '\n', text->len - from);
		size_t n = feed ? (size_t)(feed - line) : text->len - from;

		tokens.n = 0;
		st = ds_encode(enc, line, n, 0, &tokens, err);
		if (st == DS_OK && tokens.n)
			st = add_line(corpus, tokens.id,
				      tokens.n < tokens_max ? tokens.n : tokens_max, err);
		from += n + 1;
	}
	ds_tokens_fini(&tokens);
	return st;
}

enum ds_status ds_corpus_read(struct ds_corpus *corpus, const struct ds_tokenizer *tok,
			      const char *path, size_t tokens_max, struct ds_err *err)
{
	struct ds_encoder *enc = NULL;
	struct ds_buf text = {0};
	enum ds_status st = ds_read_all(path, FILE_BYTES_MAX, &text, err);

	if (st == DS_OK)
		st = ds_encoder_new(&enc, tok, err);
	if (st == DS_OK)
		st = add_text(corpus, enc, &text, tokens_max, err);
	corpus->bytes += text.len;
	ds_encoder_free(enc);
	ds_buf_fini(&text);
	return st;
}
