/*
 * writer.h - the state of an archive being written; private to the archive room
 *
 * Text is collected until a segment is full; ds_segment_close() then cuts it into pieces, arranges
 * and compresses those that are new, and writes them and the tables that describe them.
 */
#ifndef DS_ARCHIVE_WRITER_H
#define DS_ARCHIVE_WRITER_H

#include <xxhash.h>

#include "archive/archive.h"
#include "archive/code.h"
#include "archive/history.h"
#include "archive/layout.h"
#include "archive/lm_blocks.h"
#include "archive/record.h"
#include "search/codes.h"
#include "search/words.h"

#define DS_SEGMENT_INDEX_BYTES_MAX ((size_t)16 << 20)
#define DS_SEGMENT_PASSAGES_MAX ((size_t)1 << 16)
#define DS_SEGMENT_EXTENTS_MAX ((size_t)1 << 16)
#define DS_SEGMENT_RECORDS_MAX 8

enum { DS_EXTENT_BEGIN = 1, DS_EXTENT_END = 2 };

/* What a segment holds of one document. */
struct ds_extent {
	unsigned flags;
	uint64_t bytes;
	uint32_t pieces, passages;
	size_t name, name_len; /* in the segment's names */
	int64_t mtime_ns;
	uint32_t mode;
};

struct ds_span {
	uint64_t start, end;
};

/* A row of the directory. */
struct ds_segment_row {
	uint64_t blocks_offset;
	uint32_t dictionary; /* from 1; 0: none */
	uint32_t passages, n_records, pieces;
	struct {
		uint32_t type;
		uint64_t offset;
	} record[DS_SEGMENT_RECORDS_MAX];
};

struct ds_archive_writer {
	struct ds_archive_options options;
	struct ds_out out;
	int out_open;
	struct ds_seal *seal; /* NULL: it is not sealed */
	struct ds_record_sink to;
	struct ds_archive_totals totals;

	/* the segment being filled */
	struct ds_buf text, names, rows, scales;
	struct ds_words_builder words;
	float *rotated; /* an embedding while it is coded */
	size_t cap_rotated;
	struct ds_extent *extent;
	struct ds_span *passage;
	size_t n_extents, cap_extents, n_passages, cap_passages;
	struct ds_layout layout;
	struct ds_seen seen;
	struct ds_history history;
	uint64_t first_piece, first_block; /* of the segment */
	int committing;
	int replaces; /* a document has the name of one before */

	/* the document being written */
	int in_document;
	uint64_t size;	       /* bytes so far */
	struct ds_span last;   /* the passage before */
	struct ds_buf overlap; /* its bytes */
	XXH3_state_t *hash;

	/* the directory */
	struct ds_segment_row *segment;
	uint64_t *dictionary; /* offsets of the records */
	size_t n_segments, cap_segments, n_dictionaries, cap_dictionaries;

	uint64_t *names_seen; /* hash set: [names_size], 0: free */
	size_t n_names, names_size;

	struct ds_block_encoder *encoder;
	struct ds_lm_blocks *lm; /* NULL: no language model */
	struct ds_lm_identity lm_known; /* of text that is here already, or will be */
};

/* Keep the name of a document, which must be new. */
enum ds_status ds_writer_name(struct ds_archive_writer *w, const char *name, size_t n,
			      struct ds_err *err);
/* Write the segment collected so far, if there is anything in it, and begin another. */
enum ds_status ds_segment_close(struct ds_archive_writer *w, struct ds_err *err);
/* What is written has documents of one name: instead of it, all but the last ones of each name
 * become the archive. */
enum ds_status ds_writer_replace(struct ds_archive_writer *w, struct ds_archive_totals *totals_ret,
				 struct ds_err *err);
/* The lock of an archive that is sealed. */
enum ds_status ds_lock_write(struct ds_archive_writer *w, struct ds_err *err);
/* The lock again, the directory and the footer. */
enum ds_status ds_directory_write(struct ds_archive_writer *w, struct ds_err *err);

#endif
