/*
 * chunk.h - a document as overlapped chunks that never exceed a token limit
 *
 * Streaming: bytes are pushed in, chunks come out as soon as they are determined; memory does not
 * grow with the document.  The same bytes give the same chunks however they are pushed.  Spans
 * cover the document without gaps: dropping each chunk's first overlap_bytes and joining gives the
 * input back.
 */
#ifndef DS_CHUNK_CHUNK_H
#define DS_CHUNK_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "frame/frame.h"
#include "token/token.h"

enum ds_boundary {
	DS_BOUNDARY_SENTENCE, /* the default: paragraph ends first, then sentences, words */
	DS_BOUNDARY_PARAGRAPH,
	DS_BOUNDARY_HEADING,  /* a chunk never crosses a heading */
	DS_BOUNDARY_SEMANTIC, /* breaks where neighbouring sentences' embeddings fall apart */
	DS_BOUNDARY_NONE,     /* every chunk as full as the limit allows */
};

/* For DS_BOUNDARY_SEMANTIC: embed n texts into out [n][dims], normalised.  The chunk room does not
 * know models. */
typedef enum ds_status ds_embed_fn(void *user, const struct ds_part *texts, size_t n, float *out,
				   struct ds_err *err);

#define DS_CHUNK_TOKENS_MAX (1u << 20)

struct ds_chunk_options {
	uint32_t size_tokens;	 /* limit, 1..DS_CHUNK_TOKENS_MAX */
	uint32_t overlap_tokens; /* at most; < size_tokens */
	enum ds_boundary boundary;
	unsigned encode_flags; /* DS_ENCODE_AFFIX: the limit counts what the model adds, too */
	ds_embed_fn *embed;    /* semantic only */
	void *embed_user;
	uint32_t embed_dims;
};

struct ds_chunker;

enum ds_status ds_chunker_new(struct ds_chunker **c_ret, const struct ds_tokenizer *tok,
			      const struct ds_chunk_options *options, struct ds_err *err);
/* Give n more bytes of the document (n may be 0); last: the document ends with them.  They are
 * copied: push pieces (64 KiB, say), and take the chunks after each. */
enum ds_status ds_chunker_push(struct ds_chunker *c, const void *bytes, size_t n, int last,
			       struct ds_err *err);
/* The next chunk, valid until the next call; DS_END when more bytes are needed (or, after the last
 * push, when the document is done: the chunker is then ready for another document). */
enum ds_status ds_chunker_next(struct ds_chunker *c, struct ds_chunk_frame *chunk_ret,
			       struct ds_err *err);
void ds_chunker_free(struct ds_chunker *c);

#endif
