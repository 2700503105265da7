/*
 * reader.h - the state of an open archive; private to the archive room
 */
#ifndef DS_ARCHIVE_READER_H
#define DS_ARCHIVE_READER_H

#include "archive/archive.h"
#include "archive/lm_blocks.h"
#include "archive/record.h"
#include "archive/writer.h"

struct ds_block {
	uint64_t offset; /* of its record */
	uint32_t raw, stored;
	uint32_t dictionary; /* from 1; 0: none */
	uint32_t cached;     /* where it is in the cache, from 1; 0: nowhere */
	uint32_t references; /* pieces that it refers to */
	uint64_t first_reference;
	uint64_t hash; /* XXH3 of its raw bytes */
	uint8_t depth; /* 0: it refers to nothing */
};

struct ds_stored_piece {
	uint64_t block;
	uint32_t offset, length; /* in its raw bytes */
};

/* A piece as a part of a document. */
struct ds_use {
	uint64_t start; /* in the document */
	uint64_t piece;
};

/* What a damaged archive has lost of a document. */
enum { DS_LOST_BEGIN = 1, DS_LOST_END = 2 };

struct ds_member_entry {
	struct ds_archive_member m;
	uint64_t first_use, uses;
	unsigned lost;
};

struct ds_extent_entry {
	uint64_t member;
	uint64_t start, bytes; /* in the document */
	uint64_t first_passage, first_use;
	uint32_t passages, pieces, flags;
};

struct ds_segment_entry {
	struct ds_segment_row row;
	uint64_t first_block, blocks, first_passage;
	uint64_t first_extent, extents, first_piece, pieces;
	struct ds_span *span; /* [passages], NULL until they are asked for */
	uint64_t hash; /* XXH3 of all its text in the order of the documents */
	struct ds_buf vectors; /* of a sealed archive, empty until they are asked for */
};

struct ds_dictionary_entry {
	uint64_t offset;
	uint64_t hash; /* XXH3 of its raw bytes, where it is known */
	int hash_known;
	uint32_t raw;
	struct ds_buf text; /* empty until it is needed */
	uint64_t used;
};

/* The raw bytes of a block. */
struct ds_cached_block {
	uint64_t block, used;
	struct ds_buf text;
};

struct ds_archive {
	struct ds_map map;
	struct ds_seal *seal; /* NULL: it is not sealed */
	int spill; /* what the map is of when the archive came by a pipe; else -1 */
	uint64_t directory_offset;
	struct ds_archive_totals totals;
	uint64_t model;
	uint32_t dims;

	struct ds_dictionary_entry *dictionary;
	struct ds_segment_entry *segment;
	struct ds_block *block;
	struct ds_stored_piece *piece;
	struct ds_use *use;
	uint64_t *reference; /* pieces */
	struct ds_member_entry *member;
	struct ds_extent_entry *extent;
	size_t n_dictionaries, n_segments;
	size_t n_blocks, cap_blocks, n_pieces, cap_pieces, n_members, cap_members;
	size_t n_extents, cap_extents, n_uses, cap_uses, n_references, cap_references;
	struct ds_arena names;
	uint64_t *
		by_name; /* member numbers in the order of their names' hashes, NULL until needed */

	struct ds_block_decoder *decoder; /* NULL until it is needed */
	struct ds_cached_block *cache;
	size_t n_cached, cap_cached, cached_bytes, dictionary_bytes;
	uint64_t clock; /* counts uses of the caches */

	struct ds_lm_blocks *lm; /* NULL until it is needed */
	const char *lm_path;
	unsigned lm_threads;
	const uint8_t *planned; /* ds_archive_plan() */
	struct {
		uint64_t member, use, end;
	} ahead; /* what is read next of a document */
	uint32_t *turns, turn; /* of ds_archive_unpacked() */

	/* Of ds_archive_salvage(): pieces that are lost are of no length, in block 0, which cannot
	 * be read; those below the first known one may be any. */
	int salvaged;
	uint64_t first_known;
};

/* A number in the row of a segment that no directory tells. */
#define DS_ROW_UNKNOWN UINT32_MAX

/* Whether a block is the dictionary of its segment. */
static inline int ds_block_is_dictionary(const struct ds_archive *a, const struct ds_block *b)
{
	return b->dictionary && a->dictionary[b->dictionary - 1].offset == b->offset;
}

/* The map of a stream: its bytes in an unlinked file. */
enum ds_status ds_spill_map(struct ds_map *map, int *spill, struct ds_in *in, struct ds_err *err);
/* An archive that is mapped, but not read: of path, or of the stream in where it is not NULL. */
enum ds_status ds_archive_map(struct ds_archive **a_ret, const char *path, struct ds_in *in,
			      struct ds_err *err);
/* Open the lock of an archive that is sealed: the record at offset. */
enum ds_status ds_lock_open(struct ds_archive *a, uint64_t offset, const struct ds_secret *secret,
			    struct ds_err *err);
/* DS_EINVAL when the archive must be sealed and is not. */
enum ds_status ds_archive_demand(const struct ds_archive *a, const struct ds_secret *secret,
				 struct ds_err *err);
/* The footer and the directory. */
enum ds_status ds_directory_read(struct ds_archive *a, struct ds_archive_totals *claimed,
				 struct ds_err *err);
/* The sizes of the records, for people; their heads are checked on the way. */
enum ds_status ds_records_count(struct ds_archive *a, struct ds_err *err);
/* The document that is open, if one is, has lost its end. */
void ds_member_cut(struct ds_archive *a);
/* Parse the documents record of segment number s: appends to blocks, pieces, extents, members,
 * uses. */
enum ds_status ds_tables_read(struct ds_archive *a, size_t s, struct ds_err *err);
/* The spans of the passages of segment number s, kept in its entry. */
enum ds_status ds_passages_read(struct ds_archive *a, size_t s, struct ds_err *err);
/* The part of member m that holds byte start of it. */
const struct ds_use *ds_use_find(const struct ds_archive *a, const struct ds_member_entry *m,
				 uint64_t start);
/* Segment number s of a into w, its records as they are; dictionary: [a->n_dictionaries] their
 * numbers in w, 0: not there yet.  Pieces of segments before must be there as they are here. */
enum ds_status ds_segment_copy(struct ds_archive_writer *w, const struct ds_archive *a, size_t s,
			       uint32_t *dictionary, struct ds_err *err);
/* The raw bytes of a block, valid until the next call. */
enum ds_status ds_block_load(struct ds_archive *a, uint64_t index, const uint8_t **text_ret,
			     struct ds_err *err);
/* The record of a block that is no dictionary. */
enum ds_status ds_block_record(const struct ds_archive *a, const struct ds_block *b,
			       struct ds_record *r_ret, struct ds_err *err);
/* The raw bytes of a block, taken over, into the cache; DS_ECORRUPT when they are others. */
enum ds_status ds_block_keep(struct ds_archive *a, uint64_t index, struct ds_buf *text,
			     struct ds_err *err);
void ds_block_cache_fini(struct ds_archive *a);
/* The record of a type in segment s; *found_ret 0 when it has none. */
enum ds_status ds_segment_record(const struct ds_archive *a, size_t s, uint8_t type,
				 struct ds_record *r_ret, int *found_ret, struct ds_err *err);

#endif
