/*
 * special.h - added tokens: strings that are found in text before it is tokenized (internal)
 *
 * The search is leftmost-longest over a trie, as in Hugging Face's AddedVocabulary.  Ordinary added
 * tokens are always found; special ones (BOS and the like) only when asked for: text is text.
 */
#ifndef DS_TOKEN_SPECIAL_H
#define DS_TOKEN_SPECIAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"

enum {
	DS_ADDED_SPECIAL = 1, /* found only when special tokens are asked for */
	DS_ADDED_LSTRIP = 2,  /* takes the white space on its left */
	DS_ADDED_RSTRIP = 4,
	DS_ADDED_SINGLE_WORD = 8, /* not beside a word character */
};

struct ds_added;

struct ds_added_hit {
	uint32_t id;
	size_t start, end; /* of the text it takes, stripped white space included */
};

enum ds_status ds_added_new(struct ds_added **added_ret, struct ds_err *err);
void ds_added_free(struct ds_added *added);
/* A later token of the same text replaces an earlier one. */
enum ds_status ds_added_put(struct ds_added *added, struct ds_str text, uint32_t id, unsigned flags,
			    struct ds_err *err);
/* The id of exactly these bytes, or DS_NO_TOKEN. */
uint32_t ds_added_find(const struct ds_added *added, const void *bytes, size_t n);
/* Whether id is one that is found only when asked for. */
int ds_added_is_special(const struct ds_added *added, uint32_t id);
/* The first hit at or after from; 0 when there is none. */
int ds_added_search(const struct ds_added *added, const uint8_t *text, size_t n, size_t from,
		    int special, struct ds_added_hit *hit_ret);
/* The largest p <= cut such that no added token, of either kind, can reach over p whatever follows
 * text; p == cut is the common answer. */
size_t ds_added_cut(const struct ds_added *added, const uint8_t *text, size_t n, size_t cut);
/* Whether an added token, of either kind, ends at p. */
int ds_added_ends_at(const struct ds_added *added, const uint8_t *text, size_t p);

#endif
