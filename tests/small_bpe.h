/*
 * small_bpe.h - small BPE vocabularies made up by rule, and BPE done naively, to compare with
 *
 * Kinds: TRAINED on a text of words in several scripts, as real ones are; RANDOM merges of any two
 * tokens, some tokens made in several ways; SHUFFLED, a random one with its merges out of order;
 * CHARS, not byte-encoded: text starts as code points and unknown bytes fall back.
 */
#ifndef TESTS_SMALL_BPE_H
#define TESTS_SMALL_BPE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "token/bpe.h"

enum { SMALL_TRAINED, SMALL_RANDOM, SMALL_SHUFFLED, SMALL_CHARS, SMALL_KINDS };

#define SMALL_TOKENS_MAX 600
#define SMALL_BYTES_MAX 24

struct small_bpe {
	int kind;
	uint32_t n, n_merges;
	uint8_t bytes[SMALL_TOKENS_MAX][SMALL_BYTES_MAX];
	uint32_t len[SMALL_TOKENS_MAX];
	uint32_t left[SMALL_TOKENS_MAX], right[SMALL_TOKENS_MAX], result[SMALL_TOKENS_MAX];
	uint16_t *rank; /* [SMALL_TOKENS_MAX][SMALL_TOKENS_MAX] + 1, 0: none */
	char text[2 * SMALL_TOKENS_MAX][2 * SMALL_BYTES_MAX];
	struct ds_str token[SMALL_TOKENS_MAX], merge[2 * SMALL_TOKENS_MAX];
	uint64_t state;
};

static const char *const small_pieces[] = {
	" the", "the", " of", "ing", "a", "b", "ab", "e", " ", "  ", "\n", "\r\n", "'s", "'LL", "9",
	"12", "345", "!", "--", "...", "\xC3\xA9", "\xD0\xB6\xD0\xB0", "\xE4\xB8\xAD",
	"\xE5\x9B\xBD", "\xE4\xBA\xBA", "\xE6\xB0\x91", "\xE3\x80\x82", "\xEF\xBC\x8C",
	"\xE3\x81\x82", "\xE3\x82\xAB", "\xE3\x83\xBB", "\xEA\xB0\x80", "\xF0\x9F\x98\x80",
	"\xCC\x81", "\xC2\xA0", "\xE3\x80\x80", "\xE2\x80\x89", "\xD9\xA3", "\xFF", "\x80", "\xE4",
	"\xE4\xB8", "\xC3", "aaaa", "abab", "bbb", "\t", "_", "$x", "{}", "Hello", " World", "zq",
};

static inline uint32_t small_random(struct small_bpe *small, uint32_t below)
{
	small->state = small->state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((small->state >> 33) % below);
}

/* Up to cap bytes of pieces in a row. */
static inline size_t small_text(struct small_bpe *small, uint8_t *out, size_t cap)
{
	const uint32_t kinds = sizeof small_pieces / sizeof *small_pieces;
	uint32_t first = small_random(small, kinds), span = 1 + small_random(small, kinds);
	size_t n = 0;

	for (;;) {
		const char *piece = small_pieces[(first + small_random(small, span)) % kinds];
		size_t len = strlen(piece);

		if (n + len > cap)
			return n;
		memcpy(out + n, piece, len);
		n += len;
	}
}

static inline uint32_t small_find(const struct small_bpe *small, const uint8_t *p, size_t len)
{
	for (uint32_t id = 0; id < small->n; id++)
		if (small->len[id] == len && !memcmp(small->bytes[id], p, len))
			return id;
	return DS_NO_TOKEN;
}

static inline uint32_t small_add(struct small_bpe *small, const uint8_t *p, size_t len)
{
	uint32_t id = small_find(small, p, len);

	if (id != DS_NO_TOKEN || small->n == SMALL_TOKENS_MAX || len > SMALL_BYTES_MAX)
		return id;
	memcpy(small->bytes[small->n], p, len);
	small->len[small->n] = (uint32_t)len;
	return small->n++;
}

static inline uint16_t *small_rank(const struct small_bpe *small, uint32_t left, uint32_t right)
{
	return &small->rank[left * SMALL_TOKENS_MAX + right];
}

static inline bool small_merge(struct small_bpe *small, uint32_t left, uint32_t right)
{
	uint8_t joined[2 * SMALL_BYTES_MAX];
	uint32_t k = small->n_merges, id;

	if (k == SMALL_TOKENS_MAX || *small_rank(small, left, right))
		return false;
	memcpy(joined, small->bytes[left], small->len[left]);
	memcpy(joined + small->len[left], small->bytes[right], small->len[right]);
	id = small_add(small, joined, small->len[left] + small->len[right]);
	if (id == DS_NO_TOKEN)
		return false;
	small->left[k] = left;
	small->right[k] = right;
	small->result[k] = id;
	*small_rank(small, left, right) = (uint16_t)(k + 1);
	small->n_merges++;
	return true;
}

/* The symbols text starts with; a byte that is none is DS_NO_TOKEN. */
static inline size_t small_symbols(const struct small_bpe *small, const uint8_t *p, size_t n,
				   uint32_t *id)
{
	size_t count = 0;

	for (size_t i = 0, len; i < n; i += len, count++) {
		len = small->kind != SMALL_CHARS || p[i] < 0x80 ? 1
		      : p[i] >= 0xF0			    ? 4
		      : p[i] >= 0xE0			    ? 3
		      : p[i] >= 0xC0			    ? 2
							    : 1;
		id[count] = i + len <= n ? small_find(small, p + i, len) : DS_NO_TOKEN;
		if (id[count] == DS_NO_TOKEN)
			len = 1;
	}
	return count;
}

/* BPE of one pretoken, as it is defined; ids in id[n]. */
static inline size_t small_encode(const struct small_bpe *small, const uint8_t *p, size_t n,
				  uint32_t *id)
{
	size_t count = small_symbols(small, p, n, id);

	for (;;) {
		uint32_t best = UINT32_MAX;
		size_t where = 0;

		for (size_t i = 0; i + 1 < count; i++) {
			uint32_t rank = id[i] == DS_NO_TOKEN || id[i + 1] == DS_NO_TOKEN
						? 0
						: *small_rank(small, id[i], id[i + 1]);

			if (rank && rank - 1 < best) {
				best = rank - 1;
				where = i;
			}
		}
		if (best == UINT32_MAX)
			return count;
		id[where] = small->result[best];
		memmove(id + where + 1, id + where + 2, (count - where - 2) * sizeof *id);
		count--;
	}
}

static inline void small_train(struct small_bpe *small, uint32_t merges)
{
	static uint8_t text[64][96];
	static uint32_t id[64][96];
	size_t len[64], count[64];

	for (int i = 0; i < 64; i++) {
		len[i] = small_text(small, text[i], sizeof text[i]);
		count[i] = small_symbols(small, text[i], len[i], id[i]);
	}
	while (merges--) {
		static uint16_t seen[SMALL_TOKENS_MAX][SMALL_TOKENS_MAX];
		uint32_t best = 0, left = 0, right = 0;

		for (uint32_t k = 0; k < small->n; k++)
			memset(seen[k], 0, small->n * sizeof seen[k][0]);
		for (int i = 0; i < 64; i++) {
			for (size_t j = 0; j + 1 < count[i]; j++) {
				uint32_t times = ++seen[id[i][j]][id[i][j + 1]];

				uint32_t both = small->len[id[i][j]] + small->len[id[i][j + 1]];

				if (times > best && both <= SMALL_BYTES_MAX) {
					best = times;
					left = id[i][j];
					right = id[i][j + 1];
				}
			}
		}
		if (best < 2 || !small_merge(small, left, right))
			return;
		for (int i = 0; i < 64; i++)
			count[i] = small_encode(small, text[i], len[i], id[i]);
	}
}

static inline void small_shuffle(struct small_bpe *small)
{
	for (uint32_t i = small->n_merges; i > 1; i--) {
		uint32_t j = small_random(small, i), k = i - 1;
		uint32_t left = small->left[k], right = small->right[k], result = small->result[k];

		small->left[k] = small->left[j], small->left[j] = left;
		small->right[k] = small->right[j], small->right[j] = right;
		small->result[k] = small->result[j], small->result[j] = result;
	}
	for (uint32_t k = 0; k < small->n_merges; k++)
		*small_rank(small, small->left[k], small->right[k]) = (uint16_t)(k + 1);
}

/* Bytes as GPT-2 writes them. */
static inline size_t small_spell(const uint8_t *p, size_t n, char *out)
{
	char *o = out;

	for (size_t i = 0; i < n; i++) {
		uint32_t cp = 0x100;
		bool prints = false;

		for (unsigned b = 0; b <= p[i]; b++) {
			prints = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
			cp += !prints && b < p[i];
		}
		cp = prints ? p[i] : cp;
		if (cp >= 0x80)
			*o++ = (char)(0xC0 | cp >> 6);
		*o++ = (char)(cp >= 0x80 ? 0x80 | (cp & 63) : cp);
	}
	return (size_t)(o - out);
}

static inline void small_source(struct small_bpe *small, struct ds_bpe_source *source)
{
	bool bytes = small->kind != SMALL_CHARS;

	for (uint32_t id = 0; id < small->n; id++) {
		small->token[id].s = (const char *)small->bytes[id];
		small->token[id].len = small->len[id];
		if (bytes) {
			small->token[id].s = small->text[id];
			small->token[id].len =
				small_spell(small->bytes[id], small->len[id], small->text[id]);
		}
	}
	for (uint32_t k = 0; k < small->n_merges; k++) {
		small->merge[2 * k] = small->token[small->left[k]];
		small->merge[2 * k + 1] = small->token[small->right[k]];
	}
	memset(source, 0, sizeof *source);
	source->token.n = small->n;
	source->token.str = small->token;
	source->merge.n = 2 * (size_t)small->n_merges;
	source->merge.str = small->merge;
	source->flags = DS_BPE_MERGE_PAIRS | (bytes ? DS_BPE_BYTE_ENCODED : 0);
	source->unk = DS_NO_TOKEN;
}

static inline struct small_bpe *small_new(int kind, uint64_t seed)
{
	struct small_bpe *small = calloc(1, sizeof *small);

	small->rank = calloc((size_t)SMALL_TOKENS_MAX * SMALL_TOKENS_MAX, sizeof *small->rank);
	small->kind = kind;
	small->state = seed * 2 + 1;
	if (kind == SMALL_CHARS) {
		for (size_t i = 0; i < sizeof small_pieces / sizeof *small_pieces; i++) {
			const uint8_t *p = (const uint8_t *)small_pieces[i];
			size_t len = strlen(small_pieces[i]);

			if (*p < 0xF8 && (*p < 0x80 || *p >= 0xC0) && i % 7 &&
			    len == (*p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4))
				small_add(small, p, len);
		}
		for (unsigned b = 'a'; b < 'h'; b++)
			small_add(small, (uint8_t[]){(uint8_t)b}, 1);
	} else {
		for (unsigned b = 0; b < 256; b++)
			small_add(small, (uint8_t[]){(uint8_t)b}, 1);
	}
	if (kind == SMALL_TRAINED) {
		small_train(small, 60 + small_random(small, 160));
		return small;
	}
	for (int i = 0; i < 1000; i++) {
		const char *piece = small_pieces[small_random(small, sizeof small_pieces /
									     sizeof *small_pieces)];
		uint32_t any = small_random(small, small->n);
		uint32_t left = small_find(small, (const uint8_t *)piece, 1);
		uint32_t right = small_random(small, 3) ? small_random(small, small->n) : any;

		left = left == DS_NO_TOKEN || small_random(small, 2) ? any : left;
		if (small->len[left] + small->len[right] <= 9)
			small_merge(small, left, right);
	}
	if (kind == SMALL_SHUFFLED)
		small_shuffle(small);
	return small;
}

static inline void small_free(struct small_bpe *small)
{
	free(small->rank);
	free(small);
}

#endif
