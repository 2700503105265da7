/*
 * reader.h - the state of an open archive; private to the archive room
 */
#ifndef DS_ARCHIVE_READER_H
#define DS_ARCHIVE_READER_H

#include <zstd.h>

#include "archive/archive.h"
#include "archive/record.h"
#include "archive/writer.h"

struct ds_block {
	uint64_t offset; /* of its record */
	uint32_t raw, stored;
	uint32_t dictionary; /* from 1; 0: none */
};

struct ds_stored_piece {
	uint64_t start; /* in its document */
	struct ds_piece at;
};

struct ds_member_entry {
	struct ds_archive_member m;
	uint64_t first_piece, pieces;
};

struct ds_extent_entry {
	uint64_t member;
	uint64_t start, bytes; /* in the document */
	uint64_t first_passage;
	uint32_t passages;
};

struct ds_segment_entry {
	struct ds_segment_row row;
	uint64_t first_block, blocks, first_passage;
	uint64_t first_extent, extents;
	struct ds_span *span; /* [passages], NULL until they are asked for */
};

struct ds_dictionary_entry {
	uint64_t offset;
	ZSTD_DDict *ddict; /* NULL until it is needed */
};

struct ds_archive {
	struct ds_map map;
	int spill; /* what the map is of when the archive came by a pipe; else -1 */
	uint64_t directory_offset;
	struct ds_archive_totals totals;
	uint64_t model;
	uint32_t dims;

	struct ds_dictionary_entry *dictionary;
	struct ds_segment_entry *segment;
	struct ds_block *block;
	struct ds_stored_piece *piece;
	struct ds_member_entry *member;
	struct ds_extent_entry *extent;
	size_t n_dictionaries, n_segments;
	size_t n_blocks, cap_blocks, n_pieces, cap_pieces, n_members, cap_members;
	size_t n_extents, cap_extents;
	struct ds_arena names;
	uint64_t *
		by_name; /* member numbers in the order of their names' hashes, NULL until needed */

	ZSTD_DCtx *dctx;
	struct ds_buf cached;  /* the raw bytes of one block */
	uint64_t cached_block; /* UINT64_MAX: none */
};

/* Parse the documents record of segment number s: appends to blocks, extents, members, pieces. */
enum ds_status ds_tables_read(struct ds_archive *a, size_t s, struct ds_err *err);
/* The spans of the passages of segment number s, kept in its entry. */
enum ds_status ds_passages_read(struct ds_archive *a, size_t s, struct ds_err *err);
/* The record of a type in segment s; *found_ret 0 when it has none. */
enum ds_status ds_segment_record(const struct ds_archive *a, size_t s, uint8_t type,
				 struct ds_record *r_ret, int *found_ret, struct ds_err *err);

#endif
