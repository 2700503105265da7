/*
 * err.h - how the library reports failure
 *
 * Every function that can fail returns enum ds_status and fills the struct ds_err that is its last
 * parameter.  The library never prints and never exits: the caller decides what a failure means.
 */
#ifndef DS_BASE_ERR_H
#define DS_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum ds_status {
	DS_OK = 0,
	DS_END,		/* no further record; not a failure, err is untouched */
	DS_EIO,		/* the operating system refused: errno text in the message */
	DS_ENOMEM,	/* allocation failed */
	DS_EFORMAT,	/* bytes that are not what the format demands */
	DS_ETRUNCATED,	/* input ends before the format allows it */
	DS_ECORRUPT,	/* a checksum does not match */
	DS_EUNSUPPORTED, /* well formed, but of a kind this version does not read */
	DS_ELIMIT,	/* over a stated limit */
	DS_EINVAL,	/* the caller asked for something impossible */
};

#define DS_NO_OFFSET UINT64_MAX

struct ds_err {
	enum ds_status status;
	int errno_value;    /* of DS_EIO from the system, else 0 */
	uint64_t offset;    /* byte offset in path, or DS_NO_OFFSET */
	char path[512];	    /* "" when no file is involved */
	char message[512];  /* one line: what is wrong, what was expected */
};

/* Fill err (which may be NULL) and return status. */
enum ds_status ds_fail(struct ds_err *err, enum ds_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with a place: path may be NULL, offset may be DS_NO_OFFSET. */
enum ds_status ds_fail_at(struct ds_err *err, enum ds_status status, const char *path,
			  uint64_t offset, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* DS_EIO with "what: strerror(errno)". */
enum ds_status ds_fail_errno(struct ds_err *err, const char *path, const char *what);

/* DS_ENOMEM with the number of bytes asked for. */
enum ds_status ds_fail_nomem(struct ds_err *err, uint64_t bytes);

/* Name path in an error that was raised without one. */
void ds_err_set_path(struct ds_err *err, const char *path);

/* Return the status of expr from the enclosing function unless it is DS_OK. */
#define DS_TRY(expr)                              \
	do {                                      \
		enum ds_status ds_try_ = (expr);  \
		if (ds_try_ != DS_OK)             \
			return ds_try_;           \
	} while (0)

#endif
