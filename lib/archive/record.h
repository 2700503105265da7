/*
 * record.h - the records an archive is made of: heads, checksums, coders, varints
 *
 * Layout: man/ds-archive.5.  Private to the archive room.
 */
#ifndef DS_ARCHIVE_RECORD_H
#define DS_ARCHIVE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "archive/code.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "seal/seal.h"

#define DS_ARCHIVE_HEADER_BYTES 16
#define DS_ARCHIVE_FOOTER_BYTES 32
#define DS_RECORD_HEAD_BYTES 32
#define DS_BLOCK_BYTES_MAX ((uint32_t)16 << 20)
#define DS_RECORD_BYTES_MAX ((uint32_t)256 << 20)

enum ds_record_type {
	DS_RECORD_BLOCK = 1,
	DS_RECORD_DICTIONARY = 2,
	DS_RECORD_DOCUMENTS = 3,
	DS_RECORD_PASSAGES = 4,
	DS_RECORD_VECTORS = 5,
	DS_RECORD_WORDS = 6,
	DS_RECORD_DIRECTORY = 7,
	DS_RECORD_LM = 8,
	DS_RECORD_LOCK = 9,
	DS_RECORD_PRIVATE = 64,
	DS_RECORD_PRIVATE_END = 128,
};

struct ds_record {
	uint8_t type, coder;
	uint8_t sealed;
	uint32_t stored, raw; /* bytes; stored is without what sealing adds */
	uint64_t hash;	      /* of the stored bytes, as they are sealed */
	const uint8_t *bytes; /* the stored bytes, sealed until ds_record_open() */
	uint64_t offset;      /* of the head in the file */
	uint64_t end;	      /* of the padding: where the next record begins */
};

/* Bytes a record with this many stored bytes takes in the file. */
static inline uint64_t ds_record_size(uint64_t stored, int sealed)
{
	stored += sealed ? DS_SEAL_EXTRA_BYTES : 0;
	return DS_RECORD_HEAD_BYTES + ((stored + 7) & ~(uint64_t)7);
}

/* Raw bytes that a reader accepts for so many stored ones, outside blocks and dictionaries. */
static inline uint64_t ds_record_raw_max(uint32_t stored)
{
	return 4096 + (uint64_t)32 * stored;
}

void ds_archive_header(uint8_t header[DS_ARCHIVE_HEADER_BYTES], int sealed);
enum ds_status ds_archive_header_check(const struct ds_map *map, int *sealed_ret,
				       struct ds_err *err);
void ds_archive_footer(uint8_t footer[DS_ARCHIVE_FOOTER_BYTES], uint64_t directory,
		       uint64_t file_bytes);
/* The footer that ends at file offset end. */
enum ds_status ds_archive_footer_get(const struct ds_map *map, uint64_t end,
				     uint64_t *directory_ret, struct ds_err *err);

/* Add a record to the figures; one of the index, with head and padding. */
struct ds_archive_totals;
void ds_index_count(uint8_t type, uint64_t bytes, struct ds_archive_totals *totals);
void ds_record_count(const struct ds_record *r, struct ds_archive_totals *totals);
/* Where records go. */
struct ds_record_sink {
	struct ds_out *out;
	const struct ds_seal *seal; /* NULL: they are not sealed; a lock never is */
};
/* Sets what becomes of the record: sealed, offset, end. */
enum ds_status ds_record_write(const struct ds_record_sink *to, struct ds_record *r_io,
			       struct ds_err *err);
/* Code raw bytes with zstd where that is smaller and allowed by the bound on ratios, documents and
 * passages with the mixing coder where that is smaller by mix_gain bytes or more, and write. */
enum ds_status ds_record_pack(const struct ds_record_sink *to, uint8_t type,
			      const struct ds_buf *raw, size_t mix_gain, struct ds_err *err);

/* The record whose head is at offset and which ends at limit or before; the head is checked, the
 * stored bytes only by ds_record_verify(), and ds_record_open(). */
enum ds_status ds_record_get(const struct ds_map *map, uint64_t offset, uint64_t limit,
			     struct ds_record *r_ret, struct ds_err *err);
enum ds_status ds_record_verify(const struct ds_map *map, const struct ds_record *r,
				struct ds_err *err);
/* Verify a record and open its seal: its bytes then lie in plain, whose content is lost.  With a
 * seal, what is not sealed is DS_ECORRUPT, but for its lock; without one, what is sealed.  Records
 * that are not sealed leave plain alone. */
enum ds_status ds_record_open(const struct ds_map *map, const struct ds_seal *seal,
			      struct ds_record *r_io, struct ds_buf *plain, struct ds_err *err);
/* Open and decode a record that is neither block nor dictionary: appended to buf. */
enum ds_status ds_record_unpack(const struct ds_map *map, const struct ds_seal *seal,
				struct ds_record *r, struct ds_buf *buf, struct ds_err *err);

enum ds_status ds_varint_put(struct ds_buf *buf, uint64_t value, struct ds_err *err);
enum ds_status ds_varint_get(struct ds_cursor *cur, uint64_t *value_ret);

static inline uint64_t ds_zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t ds_unzigzag(uint64_t u)
{
	return (int64_t)(u >> 1 ^ -(u & 1));
}

#endif
