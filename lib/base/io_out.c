/* io_out.c - outputs that appear whole or not at all; spill files */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_BUFFER_BYTES 65536
#define TEMPORARIES_MAX 64

/* Paths of live temporaries, read by a signal handler: published last and cleared first. */
static _Atomic(char *) temporaries[TEMPORARIES_MAX];

int ds_temporary_register(char *path)
{
	for (int i = 0; i < TEMPORARIES_MAX; i++) {
		char *none = NULL;

		if (atomic_compare_exchange_strong(&temporaries[i], &none, path))
			return i;
	}
	return -1;
}

void ds_temporary_unregister(int slot)
{
	if (slot >= 0)
		atomic_store(&temporaries[slot], NULL);
}

void ds_out_unlink_all(void)
{
	for (int i = 0; i < TEMPORARIES_MAX; i++) {
		char *path = atomic_load(&temporaries[i]);

		if (path)
			unlink(path);
	}
}

/* The mode a plain open(2) would give: 0666 less the umask, or that of the file replaced. */
static mode_t wanted_mode(const char *path)
{
	struct stat st;
	mode_t mask;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		return st.st_mode & 07777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static enum ds_status open_temporary(struct ds_out *out, const char *path, struct ds_err *err)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash - path + 1) : 0;
	size_t size = strlen(path) + 32;

	out->path = strdup(path);
	out->temporary = ds_alloc(size, 1);
	if (!out->path || !out->temporary)
		return ds_fail_nomem(err, size);
	snprintf(out->temporary, size, "%.*s.%.200s.XXXXXX", dir, path, path + dir);
	out->fd = mkostemp(out->temporary, O_CLOEXEC);
	if (out->fd < 0) {
		free(out->temporary);
		out->temporary = NULL;
		return ds_fail_errno(err, path, "cannot create");
	}
	out->slot = ds_temporary_register(out->temporary);
	if (fchmod(out->fd, wanted_mode(path)) != 0)
		return ds_fail_errno(err, path, "cannot set mode");
	return DS_OK;
}

enum ds_status ds_out_open(struct ds_out *out, const char *path, struct ds_err *err)
{
	enum ds_status st = DS_OK;
	struct stat info;

	*out = (struct ds_out){.fd = -1, .slot = -1};
	out->buffer = ds_alloc(OUT_BUFFER_BYTES, 1);
	if (!out->buffer)
		return ds_fail_nomem(err, OUT_BUFFER_BYTES);
	if (!path || strcmp(path, "-") == 0)
		out->fd = STDOUT_FILENO;
	else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
		st = ds_fail_at(err, DS_EIO, path, DS_NO_OFFSET, "is a directory");
	else if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
		/* a device or fifo is written in place: it cannot be replaced */
		out->fd = open(path, O_WRONLY | O_CLOEXEC);
		if (out->fd < 0)
			st = ds_fail_errno(err, path, "cannot open");
	} else
		st = open_temporary(out, path, err);
	if (st != DS_OK)
		ds_out_abort(out);
	return st;
}

static const char *out_name(const struct ds_out *out)
{
	return out->path ? out->path : "(stdout)";
}

static enum ds_status write_all(struct ds_out *out, const uint8_t *p, size_t n,
				struct ds_err *err)
{
	while (n) {
		ssize_t k = write(out->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ds_fail_errno(err, out_name(out), "cannot write");
		p += k;
		n -= (size_t)k;
	}
	return DS_OK;
}

enum ds_status ds_out_flush(struct ds_out *out, struct ds_err *err)
{
	size_t n = out->fill;

	out->fill = 0;
	return write_all(out, out->buffer, n, err);
}

enum ds_status ds_out_write(struct ds_out *out, const void *bytes, size_t n, struct ds_err *err)
{
	out->written += n;
	if (n > OUT_BUFFER_BYTES - out->fill)
		DS_TRY(ds_out_flush(out, err));
	if (n >= OUT_BUFFER_BYTES)
		return write_all(out, bytes, n, err);
	if (n)
		memcpy(out->buffer + out->fill, bytes, n);
	out->fill += n;
	return DS_OK;
}

enum ds_status ds_out_patch(struct ds_out *out, uint64_t offset, const void *bytes, size_t n,
			    struct ds_err *err)
{
	DS_TRY(ds_out_flush(out, err));
	return ds_pwrite_all(out->fd, bytes, n, offset, err);
}

/* A rename is durable only once its directory is. */
static void sync_directory(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd;

	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

static enum ds_status publish(struct ds_out *out, struct ds_err *err)
{
	int fd = out->fd;

	if (fsync(fd) != 0)
		return ds_fail_errno(err, out->path, "cannot flush to disk");
	out->fd = -1;
	if (close(fd) != 0)
		return ds_fail_errno(err, out->path, "cannot close");
	if (rename(out->temporary, out->path) != 0)
		return ds_fail_errno(err, out->path, "cannot rename into place");
	ds_temporary_unregister(out->slot);
	free(out->temporary);
	out->temporary = NULL;
	sync_directory(out->path);
	return DS_OK;
}

enum ds_status ds_out_commit(struct ds_out *out, struct ds_err *err)
{
	enum ds_status st = ds_out_flush(out, err);

	if (st == DS_OK && out->temporary)
		st = publish(out, err);
	ds_out_abort(out);
	return st;
}

void ds_out_abort(struct ds_out *out)
{
	if (out->fd > STDERR_FILENO)
		close(out->fd);
	if (out->temporary) {
		unlink(out->temporary);
		ds_temporary_unregister(out->slot);
	}
	free(out->temporary);
	free(out->path);
	free(out->buffer);
	*out = (struct ds_out){.fd = -1, .slot = -1};
}

enum ds_status ds_spill_open(int *fd_ret, struct ds_err *err)
{
	const char *dir = getenv("TMPDIR");
	char path[PATH_MAX];

	if (!dir || !*dir)
		dir = "/tmp";
	snprintf(path, sizeof path, "%s/ds.XXXXXX", dir);
	*fd_ret = mkostemp(path, O_CLOEXEC);
	if (*fd_ret < 0)
		return ds_fail_errno(err, dir, "cannot create a temporary file");
	unlink(path);
	return DS_OK;
}

enum ds_status ds_pread_all(int fd, void *bytes, size_t n, uint64_t offset, struct ds_err *err)
{
	uint8_t *p = bytes;

	while (n) {
		ssize_t k = pread(fd, p, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ds_fail_errno(err, NULL, "cannot read");
		if (k == 0)
			return ds_fail_at(err, DS_ETRUNCATED, NULL, offset,
					  "%zu more bytes expected", n);
		p += k;
		offset += (uint64_t)k;
		n -= (size_t)k;
	}
	return DS_OK;
}

enum ds_status ds_pwrite_all(int fd, const void *bytes, size_t n, uint64_t offset,
			     struct ds_err *err)
{
	const uint8_t *p = bytes;

	while (n) {
		ssize_t k = pwrite(fd, p, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ds_fail_errno(err, NULL, "cannot write");
		p += k;
		offset += (uint64_t)k;
		n -= (size_t)k;
	}
	return DS_OK;
}
