/*
 * dictionary.h - the text of a segment that is worth having before every block of it
 */
#ifndef DS_ARCHIVE_DICTIONARY_H
#define DS_ARCHIVE_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/*
 * Append to dictionary about n / 8 bytes of text: pieces that hold most of what occurs again
 * elsewhere, the whole text being represented evenly.  Nothing when n is too small for a dictionary
 * to pay.
 */
enum ds_status ds_dictionary_choose(const uint8_t *text, size_t n, struct ds_buf *dictionary,
				    struct ds_err *err);

#endif
