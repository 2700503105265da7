/*
 * abbrev.h - words before a full stop that does not end a sentence
 */
#ifndef DS_CHUNK_ABBREV_H
#define DS_CHUNK_ABBREV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ds_abbrev {
	DS_ABBREV_NONE,
	DS_ABBREV_INSIDE, /* more always follows: Dr., e.g., vs. */
	DS_ABBREV_MAYBE,  /* a sentence may end here too: etc., Inc., p.m. */
	DS_ABBREV_NUMBER, /* an abbreviation when a number follows: No., Fig., S. */
};

/* The class of word[0..n) (lower case, without its last full stop). */
enum ds_abbrev ds_abbrev_find(const char *word, size_t n);
/* word[0..n) often begins a sentence and is seldom a name: The, However, Der, Les. */
bool ds_abbrev_starter(const char *word, size_t n);

#endif
