/*
 * find.h - documents from files, streams and archives as one searched collection
 *
 * Plain text is cut into passages and embedded on the way in; frames bring their own chunks (and
 * embeddings, when they are of the same model); archives are searched as they are stored.
 */
#ifndef DS_FIND_FIND_H
#define DS_FIND_FIND_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "model/model.h"
#include "seal/seal.h"
#include "search/search.h"

struct ds_find;

struct ds_find_options {
	enum ds_search_mode mode;
	const struct ds_model *model;
	struct ds_pool *pool;	 /* may be NULL */
	uint32_t passage_tokens; /* of plain text, > 0 */
	const char *lm;		 /* file that archives of a language model need, or NULL */
	const struct ds_secret *secret; /* what opens sealed archives, borrowed, or NULL */
};

/* What was added so far. */
struct ds_find_stats {
	uint64_t documents, passages, input_bytes;
};

enum ds_status ds_find_new(struct ds_find **f_ret, const struct ds_find_options *options,
			   struct ds_err *err);
/*
 * Add a file: archive, frame stream or plain text, told by its first bytes; "-" is standard input.
 * path is borrowed until ds_find_free().  DS_EUNSUPPORTED for a binary file.  When it fails, what
 * was there before is still searchable.
 */
enum ds_status ds_find_add(struct ds_find *f, const char *path, struct ds_err *err);
void ds_find_stats(const struct ds_find *f, struct ds_find_stats *stats_ret);

struct ds_find_hit {
	const char *archive;	/* path of the archive it is in, or NULL */
	const char *name;	/* of the document, name_len bytes */
	size_t name_len;
	uint64_t start, end;	/* byte span in the document, white space at its ends left out */
	uint64_t line;		/* 1-based line of start */
	float score, meaning, words;
	struct ds_buf text;
};
struct ds_find_hits {
	struct ds_find_hit *hit; /* [n] best first */
	size_t n;
};
/* The k best passages; hits is filled anew and released with ds_find_hits_fini(). */
enum ds_status ds_find_query(struct ds_find *f, const char *query, size_t k,
			     struct ds_find_hits *hits, struct ds_err *err);
void ds_find_hits_fini(struct ds_find_hits *hits);
void ds_find_free(struct ds_find *f);

#endif
