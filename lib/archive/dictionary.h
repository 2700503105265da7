/*
 * dictionary.h - the pieces of a segment that are worth having before every block of it
 */
#ifndef DS_ARCHIVE_DICTIONARY_H
#define DS_ARCHIVE_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

#include "archive/similar.h"
#include "base/err.h"

struct ds_key_options {
	size_t max_bytes;
	const uint32_t *order; /* [n_own] in which they would fill blocks */
	size_t block_bytes;
};

/*
 * Choose pieces up to max_bytes whose shingles occur in the most blocks other than their own, what
 * is chosen before not counted: key_ret[] has room for all pieces and gets *n_ret of them, the most
 * valuable first.
 */
enum ds_status ds_dictionary_choose(const struct ds_shingles *s, const struct ds_piece *piece,
				    const struct ds_key_options *o, uint32_t *key_ret,
				    size_t *n_ret, struct ds_err *err);

#endif
