/*
 * words.h - words of texts, and an index of them that is searched where it lies
 *
 * A term is a run of letters, digits and marks, case-folded, without marks, English plurals
 * reduced; scripts written without spaces give overlapping pairs of characters.  Terms are known by
 * 32 bits of their hash: a collision adds noise to a ranking, nothing else.
 *
 * Ranking is BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009) with
 * k1 = 1.2, b = 0.75, over passages of any number of segments.  The layout of a segment's index is
 * specified in ds-archive.5, Words.
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

/* Collects the passages of one segment, then writes its index. A zeroed struct is empty. */
struct ds_words_builder {
	struct ds_terms scratch;
	struct ds_posting *posting; /* [n] in order of passages */
	size_t n, cap;
	uint32_t *length; /* [n_passages] terms of each passage */
	size_t n_passages, cap_length;
};
enum ds_status ds_words_add(struct ds_words_builder *b, const void *text, size_t n,
			    struct ds_err *err);
/* Forget all but the first n passages. */
void ds_words_truncate(struct ds_words_builder *b, size_t n);
/* Append the index to buf; the builder is empty afterwards. */
enum ds_status ds_words_write(struct ds_words_builder *b, struct ds_buf *buf, struct ds_err *err);
void ds_words_builder_fini(struct ds_words_builder *b);

/* An index borrowed from bytes, checked as far as it is read. */
struct ds_words {
	uint32_t n_passages, n_terms, n_groups;
	uint64_t total_terms;
	const uint8_t *directory; /* [n_groups] {first hash, offset in lists} */
	const uint8_t *length;	  /* [n_passages] u16, saturated */
	const uint8_t *lists;
	size_t lists_len;
};
enum ds_status ds_words_open(struct ds_words *w, const void *bytes, size_t n, struct ds_err *err);

/* Distinct terms of a query with what the whole collection says of them. */
struct ds_words_query {
	uint32_t *hash;	 /* [n] ascending */
	uint64_t *found; /* [n] passages with the term, all segments */
	double *weight;	 /* [n] inverse document frequency */
	size_t n;
	uint64_t passages, total_terms;
	double best; /* what no score exceeds: sum of weight * (k1 + 1) */
};
enum ds_status ds_words_query_init(struct ds_words_query *q, const void *text, size_t n,
				   struct ds_err *err);
/* Count in one segment; after the last one, ds_words_query_weigh(). */
enum ds_status ds_words_query_count(struct ds_words_query *q, const struct ds_words *w,
				    struct ds_err *err);
void ds_words_query_weigh(struct ds_words_query *q);
/* Add the BM25 score of every passage of a segment to score [w->n_passages]. */
enum ds_status ds_words_score(const struct ds_words_query *q, const struct ds_words *w,
			      float *score, struct ds_err *err);
void ds_words_query_fini(struct ds_words_query *q);

#endif
