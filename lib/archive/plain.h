/*
 * plain.h - one document in the seekable format of Zstandard, which `zstd -d` reads
 *
 * Independent frames, and after them a table of their sizes and checksums in a frame that decoders
 * skip (contrib/seekable_format of Zstandard).  Any part is read by unpacking the frames it is in.
 */
#ifndef DS_ARCHIVE_PLAIN_H
#define DS_ARCHIVE_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "archive/archive.h"
#include "base/err.h"
#include "base/io.h"
#include "base/pool.h"

struct ds_plain_options {
	int level;
	uint32_t frame_bytes; /* of text */
	struct ds_pool *pool; /* borrowed; NULL: one thread.  The bytes do not depend on it */
};
/* All of in to out; *bytes_ret: how many. */
enum ds_status ds_plain_write(struct ds_in *in, struct ds_out *out,
			      const struct ds_plain_options *options, uint64_t *bytes_ret,
			      struct ds_err *err);

/* Whether bytes (the first of a file) begin a file of Zstandard. */
int ds_plain_probe(const void *bytes, size_t n);

struct ds_plain;
/* Path "-": standard input, by way of a temporary file. */
enum ds_status ds_plain_open(struct ds_plain **p_ret, const char *path, struct ds_err *err);
uint64_t ds_plain_bytes(const struct ds_plain *p);	/* of text */
uint64_t ds_plain_file_bytes(const struct ds_plain *p); /* of the file */
/* Bytes [start, end) to write(); all checksums of the frames that they are in are checked. */
enum ds_status ds_plain_copy(struct ds_plain *p, uint64_t start, uint64_t end, ds_write_fn *write,
			     void *user, struct ds_err *err);
void ds_plain_close(struct ds_plain *p);

#endif
