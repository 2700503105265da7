/*
 * wordcache.h - words of up to 32 bytes and 5 tokens that were met before (internal)
 *
 * Direct-mapped; one cache line a word.  A new word simply takes the place of the old one.
 */
#ifndef DS_TOKEN_WORDCACHE_H
#define DS_TOKEN_WORDCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DS_WORD_BYTES 32
#define DS_WORD_IDS 5

struct ds_word {
	uint64_t key[DS_WORD_BYTES / 8]; /* the bytes, zero-padded */
	uint8_t len, n;			 /* n = 0: empty */
	uint8_t end[DS_WORD_IDS];	 /* of each token, in the bytes */
	uint32_t id[DS_WORD_IDS];
};
_Static_assert(sizeof(struct ds_word) == 64, "a word is a cache line");

#define DS_WORDCACHE_BITS 15
#define DS_WORDCACHE_WORDS ((size_t)1 << DS_WORDCACHE_BITS)

static inline uint64_t ds_word_mix(uint64_t key)
{
	return key * 0x9E3779B97F4A7C15u;
}

/* The place of a word of len <= DS_WORD_BYTES bytes, whose key is returned as well. */
static inline struct ds_word *ds_word_place(struct ds_word *cache, const void *bytes, size_t len,
					    uint64_t key[DS_WORD_BYTES / 8])
{
	uint64_t hash;

	memset(key, 0, DS_WORD_BYTES);
	memcpy(key, bytes, len);
	hash = ds_word_mix(key[2] ^ ds_word_mix(key[3] + len));
	hash = ds_word_mix(key[0] ^ ds_word_mix(key[1] ^ hash));
	return &cache[hash >> (64 - DS_WORDCACHE_BITS)];
}

static inline bool ds_word_is(const struct ds_word *w, const uint64_t key[DS_WORD_BYTES / 8],
			      size_t len)
{
	return w->n && w->len == len &&
	       !((w->key[0] ^ key[0]) | (w->key[1] ^ key[1]) | (w->key[2] ^ key[2]) |
		 (w->key[3] ^ key[3]));
}

#endif
