/*
 * io.h - files in and out
 *
 * Inputs are mapped (struct ds_map) or read as a stream (struct ds_in).  Outputs (struct ds_out)
 * are whole or not there: bytes go to a temporary beside the target, which is flushed to disk and
 * renamed by ds_out_commit().  The path "-" or NULL is standard input or output.
 */
#ifndef DS_BASE_IO_H
#define DS_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* A regular file mapped read-only.  A file that shrinks while mapped raises SIGBUS: callers that
 * read untrusted paths of others copy instead. */
struct ds_map {
	const uint8_t *data;
	size_t len;
	char *path;
};
enum ds_status ds_map_open(struct ds_map *map, const char *path, struct ds_err *err);
void ds_map_close(struct ds_map *map);

/* Read a whole file or stream into buf (appended); DS_ELIMIT beyond max bytes. */
enum ds_status ds_read_all(const char *path, size_t max, struct ds_buf *buf, struct ds_err *err);

struct ds_out;

/* A stream of bytes from a file, pipe or terminal. */
struct ds_in {
	int fd;
	const char *name;   /* path, or "(stdin)"; for messages */
	uint64_t offset;    /* bytes delivered so far */
	uint8_t *buffer;    /* bytes peeked at, not yet delivered */
	size_t start, fill;
	struct ds_out *tie; /* NULL, or an output that is flushed before a read that would wait */
};
enum ds_status ds_in_open(struct ds_in *in, const char *path, struct ds_err *err);
/* Up to cap bytes, at least one: *got_ret is 0 at the end of input only. */
enum ds_status ds_in_read(struct ds_in *in, void *bytes, size_t cap, size_t *got_ret,
			  struct ds_err *err);
/* Whether ds_in_read() would wait for bytes (or the end) to come. */
bool ds_in_waits(const struct ds_in *in);
/* Look at the first bytes without taking them: up to want (<= DS_IN_PEEK_MAX), fewer only at the
 * end of input. */
#define DS_IN_PEEK_MAX 65536
enum ds_status ds_in_peek(struct ds_in *in, size_t want, const uint8_t **bytes_ret,
			  size_t *got_ret, struct ds_err *err);
void ds_in_close(struct ds_in *in);

/* An output that appears whole or not at all (standard output: bytes pass as they are flushed). */
struct ds_out {
	int fd;
	char *path, *temporary; /* NULL for standard output */
	uint8_t *buffer;
	size_t fill;
	uint64_t written;	/* bytes given to ds_out_write() so far */
	int slot;		/* where the temporary is registered for ds_out_unlink_all() */
};
enum ds_status ds_out_open(struct ds_out *out, const char *path, struct ds_err *err);
enum ds_status ds_out_write(struct ds_out *out, const void *bytes, size_t n, struct ds_err *err);
enum ds_status ds_out_flush(struct ds_out *out, struct ds_err *err);
/* Overwrite bytes already written, at an absolute offset; files only. */
enum ds_status ds_out_patch(struct ds_out *out, uint64_t offset, const void *bytes, size_t n,
			    struct ds_err *err);
/* Flush, fsync, rename; the struct is closed whether it succeeds or not. */
enum ds_status ds_out_commit(struct ds_out *out, struct ds_err *err);
/* Remove the temporary; harmless on a struct that is closed. */
void ds_out_abort(struct ds_out *out);
/* Async-signal-safe: unlink every temporary of this process. */
void ds_out_unlink_all(void);
/* For temporaries made otherwise: path stays valid until the slot, -1 when there is none left, is
 * given back. */
int ds_temporary_register(char *path);
void ds_temporary_unregister(int slot);

/* An anonymous temporary file (in $TMPDIR or /tmp) that vanishes when closed; its descriptor. */
enum ds_status ds_spill_open(int *fd_ret, struct ds_err *err);
/* All n bytes at offset, or an error: pread and pwrite that loop. */
enum ds_status ds_pread_all(int fd, void *bytes, size_t n, uint64_t offset, struct ds_err *err);
enum ds_status ds_pwrite_all(int fd, const void *bytes, size_t n, uint64_t offset,
			     struct ds_err *err);

#endif
