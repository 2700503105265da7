/*
 * words.h - words of texts, in memory and as an index that is searched where it lies
 *
 * A term is a run of letters, digits and marks, case-folded, without marks, English plurals
 * reduced; scripts written without spaces give overlapping pairs of characters.  Terms are known by
 * 32 bits of their hash: a collision adds noise to a ranking, nothing else.
 *
 * Ranking is BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009) with
 * k1 = 1.2, b = 0.75, over passages of any number of segments.  A segment in memory is scored so;
 * an index (ds-archive.5, Words) knows only which terms groups of passages have: it scores groups,
 * and the passages of the best are scored by their texts.
 */
#ifndef DS_SEARCH_WORDS_H
#define DS_SEARCH_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* Terms of a text in order of occurrence, appended. A zeroed struct is empty. */
struct ds_terms {
	uint32_t *hash; /* [n] */
	size_t n, cap;
};
enum ds_status ds_terms_split(struct ds_terms *terms, const void *text, size_t n,
			      struct ds_err *err);
void ds_terms_fini(struct ds_terms *terms);

struct ds_posting {
	uint32_t hash, passage, count;
};

/* Collects the passages of one segment. A zeroed struct is empty. */
struct ds_words_builder {
	struct ds_terms scratch;
	struct ds_posting *posting; /* [n] */
	size_t n, cap, sorted; /* the first sorted ones are in order of hash, then passage */
	uint32_t *length; /* [n_passages] terms of each passage */
	size_t n_passages, cap_length;
	uint64_t bytes; /* of all texts */
};
enum ds_status ds_words_add(struct ds_words_builder *b, const void *text, size_t n,
			    struct ds_err *err);
/* Forget all but the first n passages. */
void ds_words_truncate(struct ds_words_builder *b, size_t n);
/* Append an index of groups of about so many bytes to buf; the builder is empty afterwards. */
enum ds_status ds_words_write(struct ds_words_builder *b, size_t group_bytes, struct ds_buf *buf,
			      struct ds_err *err);
void ds_words_builder_fini(struct ds_words_builder *b);

/* The words of a segment, borrowed. */
struct ds_words {
	uint32_t n_passages;
	uint64_t total_terms;
	/* in memory: in order of hash, then passage */
	const struct ds_posting *posting; /* [n_posting] */
	size_t n_posting;
	const uint32_t *length;
	/* an index, checked as far as it is read */
	uint32_t group; /* passages of one */
	uint32_t n_terms, lists_len;
	unsigned hash_bits;
	const uint8_t *runs; /* {first hash, offset in lists}; NULL: in memory */
	const uint8_t *lists;
};
enum ds_status ds_words_open(struct ds_words *w, const void *bytes, size_t n, struct ds_err *err);
/* Those of a builder, to which passages may be added later; then they must be seen anew. */
enum ds_status ds_words_see(struct ds_words *w, struct ds_words_builder *b, struct ds_err *err);

/* Distinct terms of a query with what the whole collection says of them. */
struct ds_words_query {
	uint32_t *hash;	 /* [n] ascending */
	uint64_t *found; /* [n] passages with the term, all segments */
	double *weight;	 /* [n] inverse document frequency */
	size_t n;
	uint64_t passages, total_terms;
	double best; /* what no score exceeds: sum of weight * (k1 + 1) */
	struct ds_terms scratch;
};
enum ds_status ds_words_query_init(struct ds_words_query *q, const void *text, size_t n,
				   struct ds_err *err);
/* Count in one segment; after the last one, ds_words_query_weigh(). */
enum ds_status ds_words_query_count(struct ds_words_query *q, const struct ds_words *w,
				    struct ds_err *err);
void ds_words_query_weigh(struct ds_words_query *q);
/* Add to score [w->n_passages]: BM25 as a share of the best in memory; of an index, what the
 * passages of a group can at least score that have all of its terms once. */
enum ds_status ds_words_score(const struct ds_words_query *q, const struct ds_words *w,
			      float *score, struct ds_err *err);
/* The share of the best BM25 of one passage, by its text. */
enum ds_status ds_words_score_text(struct ds_words_query *q, const void *text, size_t n,
				   float *score_ret, struct ds_err *err);
void ds_words_query_fini(struct ds_words_query *q);

/* For words.c: passages of an index with the terms of a hash, and their groups if groups is not
 * NULL: [*n_groups_ret] of at most all, ascending. */
enum ds_status ds_words_find(const struct ds_words *w, uint32_t hash, uint32_t *groups,
			     uint32_t *n_groups_ret, uint64_t *passages_ret, struct ds_err *err);
/* Sort the postings of a builder by hash, then passage. */
enum ds_status ds_words_sort(struct ds_words_builder *b, struct ds_err *err);

#endif
