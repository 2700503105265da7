/*
 * search.h - the passages of a collection ranked by meaning, by words, or by both
 *
 * A collection is a number of segments; a segment has vectors, an index of words, or both, for its
 * passages.  Candidates come from scanning what is stored; a caller that can read the passages
 * embeds the candidates again for exact cosines (ds_search_rank) where the stored vectors are
 * coarse.  Results do not depend on how passages are divided into segments.
 */
#ifndef DS_SEARCH_SEARCH_H
#define DS_SEARCH_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kern/kern.h"
#include "search/codes.h"
#include "search/words.h"

/* Vectors of n passages, borrowed. */
struct ds_vectors {
	unsigned bits; /* of a dimension, codes.h; 0: f32 */
	uint32_t dims, n;
	const uint8_t *scale; /* [n] IEEE binary16, of codes */
	const void *rows;     /* f32 [n][dims], or codes in blocks */
};
/* Cosines with query [dims], normalised: exact for f32; for codes the query is integers too. */
enum ds_status ds_vectors_score(const struct ds_vectors *v, const struct ds_kern *kern,
				const float *query, float *score, struct ds_err *err);

struct ds_search_segment {
	uint32_t n_passages;
	const struct ds_vectors *vectors; /* NULL: none */
	const struct ds_words *words;	  /* NULL: none */
};

struct ds_search_collection {
	const struct ds_search_segment *segment; /* [n] */
	size_t n;
};

struct ds_search_hit {
	uint32_t segment, passage;
	float meaning; /* cosine, -1..1; 0 without vectors */
	float words;   /* BM25 as a share of the most that the query can score, 0..1 */
	float score;
};

enum ds_search_mode { DS_SEARCH_BOTH, DS_SEARCH_MEANING, DS_SEARCH_WORDS };

struct ds_search_query {
	enum ds_search_mode mode;
	const struct ds_kern *kern;
	const float *vector; /* [dims], for BOTH and MEANING */
	const char *text;    /* for BOTH and WORDS */
	size_t text_len;
};

/* The passages found; hits of indexes and codes are to be scored again by their texts. */
struct ds_search_hits {
	struct ds_search_hit *hit; /* [n] */
	size_t n, cap;
};
/* How many by each criterion. */
struct ds_search_want {
	size_t meaning, words;
};
/*
 * The union of the best passages by each criterion of the mode into hits (replaced), in order of
 * passages.  words: of this query, from ds_search_words(); NULL by meaning only.
 */
enum ds_status ds_search(const struct ds_search_collection *all,
			 const struct ds_search_query *query, const struct ds_words_query *words,
			 struct ds_search_want want, struct ds_search_hits *hits,
			 struct ds_err *err);
/* What the collection has of the words of a query; ds_words_query_fini() when it is done. */
enum ds_status ds_search_words(const struct ds_search_collection *all,
			       const struct ds_search_query *query, struct ds_words_query *words,
			       struct ds_err *err);
/* Keep the best by each criterion as the hits say, in order of passages. */
enum ds_status ds_search_cut(enum ds_search_mode mode, struct ds_search_want want,
			     struct ds_search_hits *hits, struct ds_err *err);
/* Set every score from meaning and words, and sort, the best first, equals in order of passages;
 * by words only, those without any are dropped. */
void ds_search_rank(enum ds_search_mode mode, struct ds_search_hits *hits);
void ds_search_hits_fini(struct ds_search_hits *hits);

#endif
