/* err.c - filling struct ds_err */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set(struct ds_err *err, enum ds_status status, const char *path, uint64_t offset)
{
	err->status = status;
	err->errno_value = 0;
	err->offset = offset;
	snprintf(err->path, sizeof err->path, "%s", path ? path : "");
}

enum ds_status ds_fail(struct ds_err *err, enum ds_status status, const char *format, ...)
{
	va_list ap;

	if (!err)
		return status;
	set(err, status, NULL, DS_NO_OFFSET);
	va_start(ap, format);
	vsnprintf(err->message, sizeof err->message, format, ap);
	va_end(ap);
	return status;
}

enum ds_status ds_fail_at(struct ds_err *err, enum ds_status status, const char *path,
			  uint64_t offset, const char *format, ...)
{
	va_list ap;

	if (!err)
		return status;
	set(err, status, path, offset);
	va_start(ap, format);
	vsnprintf(err->message, sizeof err->message, format, ap);
	va_end(ap);
	return status;
}

enum ds_status ds_fail_errno(struct ds_err *err, const char *path, const char *what)
{
	int value = errno;

	ds_fail_at(err, DS_EIO, path, DS_NO_OFFSET, "%s: %s", what, strerror(value));
	if (err)
		err->errno_value = value;
	return DS_EIO;
}

enum ds_status ds_fail_nomem(struct ds_err *err, uint64_t bytes)
{
	return ds_fail(err, DS_ENOMEM, "out of memory: %llu bytes wanted",
		       (unsigned long long)bytes);
}

void ds_err_set_path(struct ds_err *err, const char *path)
{
	if (err && !err->path[0])
		snprintf(err->path, sizeof err->path, "%s", path ? path : "");
}
