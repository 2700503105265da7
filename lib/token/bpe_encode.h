/*
 * bpe_encode.h - inside of the encoder: from one pretoken to its tokens
 */
#ifndef DS_TOKEN_BPE_ENCODE_H
#define DS_TOKEN_BPE_ENCODE_H

#include "token/bpe_vocab.h"
#include "token/pretok.h"

#define DS_BPE_SHORT 48 /* symbols that ds_bpe_merge_short() takes */
#define DS_FEW_BITS 5
#define DS_BPE_FEW (1 << DS_FEW_BITS) /* symbols that ds_bpe_merge_few() takes */

/* A stretch of symbols: bytes of text between which nothing but merges stands. */
struct ds_stretch {
	const uint8_t *p;
	size_t n;
	const uint8_t *readable; /* bytes from p up to here may be read, >= p + n */
};

struct ds_validity { /* direct-mapped memory of ds_bpe_stays_apart() */
	uint64_t key; /* left, right, answer; 0: none */
};

#define DS_VALIDITY_BITS 13

/* Scratch memory that grows with the longest pretoken. */
struct ds_bpe_scratch {
	uint32_t *id; /* the tokens found */
	size_t cap_id;
	uint64_t *dead; /* bits: positions where no encoding has an edge */
	size_t cap_dead;
	uint64_t *heap; /* rank << 32 | index */
	size_t cap_heap;
	uint32_t *link; /* [3][n] symbol, next, previous */
	size_t cap_link;
	struct ds_validity *validity; /* [1 << DS_VALIDITY_BITS] */
};

/* All write the tokens of the stretch to scratch->id[at..) (room is theirs to make) and return how
 * many in *n_ret. */

/* Merge step by step, quadratic: at most DS_BPE_SHORT symbols (bytes). */
enum ds_status ds_bpe_merge_short(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				  struct ds_stretch text, size_t at, size_t *n_ret,
				  struct ds_err *err);
/* The same, at most DS_BPE_FEW bytes, of a vocabulary that holds every byte; or of Chinese
 * characters that are a token each, if nothing can merge across their edges before: *n_ret is 0 if
 * not so. */
enum ds_status ds_bpe_merge_few(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				struct ds_stretch text, size_t at, size_t *n_ret,
				struct ds_err *err);
enum ds_status ds_bpe_merge_han(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				struct ds_stretch text, size_t at, size_t *n_ret,
				struct ds_err *err);
/* Merge step by step with a heap: n log n, for any vocabulary. */
enum ds_status ds_bpe_merge_heap(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
				 struct ds_stretch text, size_t at, size_t *n_ret,
				 struct ds_err *err);
/* Longest tokens first, back where they do not fit: linear, for proper vocabularies. */
enum ds_status ds_bpe_search(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
			     struct ds_stretch text, size_t at, size_t *n_ret, struct ds_err *err);

/* The same by guessing; of a vocabulary that holds every byte. */
enum ds_status ds_bpe_windows(const struct ds_bpe *bpe, struct ds_bpe_scratch *scratch,
			      struct ds_stretch text, size_t at, size_t *n_ret,
			      struct ds_err *err);
/* The first place in the stretch that no token of its encoding can lie across, by the bytes around
 * it alone; text.n: none.  For proper vocabularies. */
size_t ds_bpe_seam(const struct ds_bpe_order *order, struct ds_stretch text);

/* The symbol that text starts with at p, and its length; DS_NO_TOKEN: none. */
static inline uint32_t ds_bpe_symbol(const struct ds_bpe *bpe, const uint8_t *p,
				     const uint8_t *end, unsigned *len_ret)
{
	uint32_t cp;

	*len_ret = 1;
	if ((bpe->flags & DS_BPE_BYTE_ENCODED) || *p < 0x80)
		return bpe->byte_token[*p];
	*len_ret = ds_utf8_decode(p, end, &cp);
	return *len_ret > 1 ? ds_bpe_find(bpe, p, *len_ret) : DS_NO_TOKEN;
}

#endif
