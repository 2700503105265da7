/*
 * stream.h - documents of any length as tokens, in pieces, on several threads, in bounded memory
 *
 * Bytes go in as they are read; pieces of about 128 KiB with their tokens come out in order.  The
 * tokens are those of ds_encode() over the whole document, for pieces end where ds_encoder_cut()
 * allows; only a document that offers no such place is held in memory whole.
 */
#ifndef DS_TOKEN_STREAM_H
#define DS_TOKEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "token/token.h"

struct ds_token_piece {
	const uint8_t *text;
	size_t len;
	uint64_t start; /* of text in the document */
	bool first;	/* of the document */
	bool last;	/* of the document; both for a document of one piece, even an empty one */
	size_t n;	/* tokens; when only counting, id and end are NULL */
	const uint32_t *id;  /* [n] */
	const uint64_t *end; /* [n] in text */
	struct ds_buf made;  /* what make() wrote */
};

struct ds_token_stream_options {
	const struct ds_tokenizer *tok;
	struct ds_pool *pool; /* NULL: one thread */
	unsigned flags;	      /* DS_ENCODE_SPECIAL, DS_ENCODE_AFFIX */
	bool count;	      /* tokens are not stored */
	/* Called on any thread, pieces in any order: write something to piece->made.  May be NULL.
	 */
	enum ds_status (*make)(void *user, struct ds_token_piece *piece, struct ds_err *err);
	/* Called by the caller's thread, in order. */
	enum ds_status (*take)(void *user, const struct ds_token_piece *piece, struct ds_err *err);
	void *user;
};

struct ds_token_stream;

enum ds_status ds_token_stream_new(struct ds_token_stream **s_ret,
				   const struct ds_token_stream_options *options,
				   struct ds_err *err);
void ds_token_stream_free(struct ds_token_stream *s);
/* Room for at least one more byte of the document; valid until the next call. */
enum ds_status ds_token_stream_room(struct ds_token_stream *s, uint8_t **bytes_ret, size_t *cap_ret,
				    struct ds_err *err);
/* n bytes were put there (n may be 0); last: the document ends with them, and another may begin. */
enum ds_status ds_token_stream_push(struct ds_token_stream *s, size_t n, bool last,
				    struct ds_err *err);

#endif
