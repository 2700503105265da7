/*
 * archive.h - documents in a searchable, randomly readable, checksummed file
 *
 * The format is specified in man/ds-archive.5.  Writing streams: documents are given as chunks with
 * their embeddings, in order; memory does not grow with the collection.  Reading borrows from a map.
 */
#ifndef DS_ARCHIVE_ARCHIVE_H
#define DS_ARCHIVE_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "frame/frame.h"

struct ds_archive_writer;
struct ds_archive;

struct ds_archive_options {
	int level;	      /* zstd, 1..22 */
	uint32_t block_bytes; /* uncompressed size of a block: random access reads one */
	uint64_t model;	      /* ds_model_id() of the embeddings, 0: none */
	uint32_t dims;
};

/* A new archive at path ("-": standard output). */
enum ds_status ds_archive_create(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err);
/* An archive like path with documents added (written beside it and renamed; the old one is intact
 * until ds_archive_commit()). */
enum ds_status ds_archive_append(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err);
/* A document begins; its chunks follow in order, then its end. */
enum ds_status ds_archive_document(struct ds_archive_writer *w, const struct ds_document *d,
				   struct ds_err *err);
/* vector: [dims] f32, normalised, or NULL when the archive has none. */
enum ds_status ds_archive_chunk(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				const float *vector, struct ds_err *err);
enum ds_status ds_archive_document_end(struct ds_archive_writer *w, const struct ds_document_end *d,
				       struct ds_err *err);
enum ds_status ds_archive_commit(struct ds_archive_writer *w, struct ds_err *err); /* frees w */
void ds_archive_abort(struct ds_archive_writer *w);

enum ds_status ds_archive_open(struct ds_archive **a_ret, const char *path, struct ds_err *err);
void ds_archive_close(struct ds_archive *a);

struct ds_archive_member {
	struct ds_document document; /* name borrowed from the archive */
	uint64_t hash;		     /* XXH3-64 of its bytes */
	uint64_t first_chunk, chunks;
};
uint64_t ds_archive_members(const struct ds_archive *a);
enum ds_status ds_archive_member(const struct ds_archive *a, uint64_t index,
				 struct ds_archive_member *m_ret, struct ds_err *err);
/* Bytes [start, end) of a member appended to buf: unpacks only the blocks they lie in. */
enum ds_status ds_archive_read(struct ds_archive *a, uint64_t member, uint64_t start, uint64_t end,
			       struct ds_buf *buf, struct ds_err *err);
/* Every checksum of every part. */
enum ds_status ds_archive_test(struct ds_archive *a, struct ds_err *err);

#endif
