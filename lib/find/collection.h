/*
 * collection.h - what the files of lib/find share: sources, and the passages held in memory
 */
#ifndef DS_FIND_COLLECTION_H
#define DS_FIND_COLLECTION_H

#include "archive/archive.h"
#include "base/io.h"
#include "chunk/chunk.h"
#include "find/find.h"
#include "search/search.h"

/* How fast the text of an archive is unpacked: megabytes a second by tens, one, or thousandths. */
enum find_pace { FIND_FAST, FIND_SLOW, FIND_VERY_SLOW };

/* A document of plain text or frames. */
struct find_document {
	const char *path;     /* read again from here; NULL: text holds it */
	struct ds_buf text;
	char *name;	      /* owned; NULL: path is the name */
};

struct find_passage {
	uint32_t document;
	uint64_t start, end;
};

/* A segment of an archive: its index of words is kept unpacked. */
struct find_segment {
	uint32_t archive;
	uint64_t first_passage;
	struct ds_buf index;
	struct ds_words words;
	struct ds_vectors vectors;
	struct ds_search_segment row;
};

struct find_archive {
	const char *path;
	struct ds_archive *archive;
};

struct ds_find {
	struct ds_find_options options;
	const struct ds_kern *kern;
	struct ds_embedder *embedder;
	struct ds_chunker *chunker; /* NULL until it is needed */
	uint32_t dims;
	struct ds_find_stats stats;
	/* passages in memory: together one segment, the last one */
	struct find_document *document; /* [n_document] */
	size_t n_document, cap_document;
	struct find_passage *passage; /* [n_passage] */
	size_t n_passage, cap_passage;
	float *vector; /* [n_passage][dims] */
	size_t cap_vector;
	struct ds_words_builder builder;
	enum find_pace pace; /* of the slowest archive */
	/* archives */
	struct find_archive *archive; /* [n_archive] */
	size_t n_archive, cap_archive;
	struct find_segment *segment; /* [n_segment] */
	size_t n_segment, cap_segment;
};

/* A file's or a stream's passages into memory; on failure the caller rolls back. */
enum ds_status ds_find_add_text(struct ds_find *f, const char *path, struct ds_in *in,
				struct ds_err *err);
enum ds_status ds_find_add_frames(struct ds_find *f, struct ds_in *in, struct ds_err *err);
/* Every segment of an archive. */
enum ds_status ds_find_add_archive(struct ds_find *f, const char *path, struct ds_in *in,
				   struct ds_err *err);

/* The document and span of the passage of a hit. */
enum ds_status ds_find_locate(struct ds_find *f, const struct ds_search_hit *h,
			      uint64_t *member_ret, uint64_t *start_ret, uint64_t *end_ret,
			      struct ds_err *err);
/* The passages for a query, best first, of which the best k are wanted; vector: its embedding, not
 * needed by words only. */
enum ds_status ds_find_search(struct ds_find *f, const char *text, const float *vector, size_t k,
			      struct ds_search_hits *found, struct ds_err *err);

/* The bytes [start, end) of the document that a hit lies in, appended to buf. */
enum ds_status ds_find_read(struct ds_find *f, const struct ds_search_hit *h, uint64_t start,
			    uint64_t end, struct ds_buf *buf, struct ds_err *err);

#endif
