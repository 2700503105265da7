/*
 * semantic.h - the sentence boundary where the text before and after differ most
 *
 * Sentences are embedded once each; at a boundary the weighted mean of the sentences before it
 * (about 64 tokens) is compared with that of those after it.
 */
#ifndef DS_CHUNK_SEMANTIC_H
#define DS_CHUNK_SEMANTIC_H

#include <stddef.h>

#include "chunk/chunk.h"
#include "chunk/count.h"
#include "chunk/scan.h"

struct ds_semantic;

/* What is known of the document where a choice is to be made. */
struct ds_semantic_view {
	const struct ds_window *window;
	const struct ds_scan *scan;
	const struct ds_counter *counter;
	uint64_t start, covered, horizon;
	uint64_t tokens_min; /* from what is covered to the choice, at least */
	size_t last;	     /* the last mark that may be chosen */
};

enum ds_status ds_semantic_new(struct ds_semantic **s_ret, const struct ds_chunk_options *options,
			       struct ds_err *err);
void ds_semantic_reset(struct ds_semantic *s); /* a new document */
/* *mark_ret: the index of the best mark, or -1 when there are not two to choose from. */
enum ds_status ds_semantic_choose(struct ds_semantic *s, const struct ds_semantic_view *view,
				  ptrdiff_t *mark_ret, struct ds_err *err);
void ds_semantic_free(struct ds_semantic *s);

#endif
