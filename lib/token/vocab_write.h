/*
 * vocab_write.h - a WordPiece tokenizer, or a part of its vocabulary, as keys of a GGUF file
 */
#ifndef DS_TOKEN_VOCAB_WRITE_H
#define DS_TOKEN_VOCAB_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf_write.h"
#include "token/token.h"

/* Whether the family is one that can be written; DS_EUNSUPPORTED when it is not. */
enum ds_status ds_tokenizer_writable(const struct ds_tokenizer *tok, struct ds_err *err);

/* The text of a token as it stands in words, without a mark; *continues_ret: it goes on a word.
 * Valid for writable tokenizers. */
struct ds_str ds_tokenizer_piece(const struct ds_tokenizer *tok, uint32_t id, int *continues_ret);

/* Whether id is CLS, SEP, PAD, MASK or UNK. */
int ds_tokenizer_is_special(const struct ds_tokenizer *tok, uint32_t id);

/*
 * The keys tokenizer.ggml.* of the tokens id [n], ascending, as llama.cpp's conversions write them
 * for bert: "\u2581word", "piece", "[SPECIAL]".  The special tokens must be among them.
 */
enum ds_status ds_tokenizer_put(const struct ds_tokenizer *tok, const uint32_t *id, size_t n,
				struct ds_gguf_writer *w, struct ds_err *err);

#endif
