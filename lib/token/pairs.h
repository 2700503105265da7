/*
 * pairs.h - where a text may be cut because no token reaches over (internal)
 *
 * Which pairs of characters stand side by side in some token, one bit a pair by hash: a set bit may
 * be by chance, a clear one is certain.  Vocabularies that write U+2581 for a space are read as if
 * they wrote a space.
 */
#ifndef DS_TOKEN_PAIRS_H
#define DS_TOKEN_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"

struct ds_pairs;

/* For a vocabulary of about n tokens. */
enum ds_status ds_pairs_new(struct ds_pairs **pairs_ret, size_t n, struct ds_err *err);
void ds_pairs_free(struct ds_pairs *pairs);
void ds_pairs_note(struct ds_pairs *pairs, struct ds_str token);
/* The end of the piece of [p, end) that begins at p: its tokens are its own.  p < end. */
const uint8_t *ds_pairs_next(const struct ds_pairs *pairs, const uint8_t *p, const uint8_t *end);
/* The largest p <= n such that text[0..p) and text[p..) are independent; 0 when none is known. */
size_t ds_pairs_cut(const struct ds_pairs *pairs, const uint8_t *text, size_t n);

#endif
