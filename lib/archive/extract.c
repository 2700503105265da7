/* extract.c - members as files below a folder, never outside it */
#include "archive/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum ds_status ds_extract_open(struct ds_extract *x, const char *folder, int replace,
			       struct ds_err *err)
{
	*x = (struct ds_extract){.path = folder, .replace = replace};
	x->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return x->folder < 0 ? ds_fail_errno(err, folder, "cannot open the folder") : DS_OK;
}

void ds_extract_close(struct ds_extract *x)
{
	if (x->folder >= 0)
		close(x->folder);
	x->folder = -1;
}

size_t ds_member_name(char *path)
{
	char *out = path, *p = path;

	while (*p) {
		size_t n = strcspn(p, "/");
		char *next = p + n + (p[n] == '/');

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			out = path;
		} else if (n && !(n == 1 && p[0] == '.')) {
			if (out != path)
				*out++ = '/';
			memmove(out, p, n);
			out += n;
		}
		p = next;
	}
	*out = '\0';
	return (size_t)(out - path);
}

/* A component that names a place in its own folder. */
static int is_plain(const char *name, size_t n)
{
	return n > 0 && n <= NAME_MAX && !(n == 1 && name[0] == '.') &&
	       !(n == 2 && name[0] == '.' && name[1] == '.');
}

static enum ds_status check_name(const struct ds_archive_member *m, const char *archive,
				 struct ds_err *err)
{
	const char *name = m->document.name;

	if (!*name)
		return ds_fail(
			err, DS_EINVAL,
			"the document from standard input has no name: ds-compress -d writes it");
	for (const char *p = name;; p++) {
		size_t n = strcspn(p, "/");

		if (!is_plain(p, n))
			return ds_fail_at(
				err, DS_EINVAL, archive, DS_NO_OFFSET,
				"'%.200s' would not be a file in the folder: not extracted", name);
		p += n;
		if (!*p)
			return DS_OK;
	}
}

/* The folder of that name below the folder at, made when missing. */
static int enter(int at, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(at, name, flags);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (mkdirat(at, name, 0777) != 0 && errno != EEXIST)
		return -1;
	return openat(at, name, flags);
}

/* Walk to the folder of a checked name; *last_ret is the file's own name. */
static enum ds_status walk(const struct ds_extract *x, const char *name, int *fd_ret,
			   const char **last_ret, struct ds_err *err)
{
	int fd = fcntl(x->folder, F_DUPFD_CLOEXEC, 0);
	const char *slash;

	if (fd < 0)
		return ds_fail_errno(err, x->path, "cannot open the folder");
	while ((slash = strchr(name, '/'))) {
		char part[NAME_MAX + 1];
		int next;

		memcpy(part, name, (size_t)(slash - name));
		part[slash - name] = '\0';
		next = enter(fd, part);
		if (next < 0 && (errno == ELOOP || errno == ENOTDIR))
			ds_fail(err, DS_EIO, "'%s' is in the way: no folder, or a symbolic link",
				part);
		else if (next < 0)
			ds_fail_errno(err, part, "cannot make the folder");
		close(fd);
		if (next < 0)
			return DS_EIO;
		fd = next;
		name = slash + 1;
	}
	*fd_ret = fd;
	*last_ret = name;
	return DS_OK;
}

/* A file being written under a temporary name in its folder. */
struct target {
	int folder, fd;
	const char *name;
	char temporary[48]; /* in folder */
	char *path;	    /* of the temporary from here, for the signal handler */
	int slot;
};

static enum ds_status target_open(struct target *t, const struct ds_extract *x, const char *name,
				  struct ds_err *err)
{
	static atomic_uint count;
	size_t size = strlen(x->path) + strlen(name) + sizeof t->temporary + 2;

	*t = (struct target){.folder = -1, .fd = -1, .slot = -1};
	DS_TRY(walk(x, name, &t->folder, &t->name, err));
	t->path = ds_alloc(size, 1);
	if (!t->path)
		return ds_fail_nomem(err, size);
	do {
		snprintf(t->temporary, sizeof t->temporary, ".ds-%ld-%u.tmp", (long)getpid(),
			 atomic_fetch_add(&count, 1));
		t->fd = openat(t->folder, t->temporary,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	} while (t->fd < 0 && errno == EEXIST);
	if (t->fd < 0)
		return ds_fail_errno(err, name, "cannot create");
	snprintf(t->path, size, "%s/%.*s%s", x->path, (int)(t->name - name), name, t->temporary);
	t->slot = ds_temporary_register(t->path);
	return DS_OK;
}

static void target_close(struct target *t)
{
	if (t->fd >= 0) {
		close(t->fd);
		unlinkat(t->folder, t->temporary, 0);
	}
	ds_temporary_unregister(t->slot);
	if (t->folder >= 0)
		close(t->folder);
	free(t->path);
}

static enum ds_status target_write(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	const struct target *t = user;
	const uint8_t *p = bytes;

	while (n) {
		ssize_t k = write(t->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ds_fail_errno(err, t->name, "cannot write");
		p += k;
		n -= (size_t)k;
	}
	return DS_OK;
}

static mode_t default_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Give the temporary its name unless that is taken. */
static int name_new(const struct target *t)
{
	if (renameat2(t->folder, t->temporary, t->folder, t->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL) /* a file system that cannot */
		return -1;
	if (linkat(t->folder, t->temporary, t->folder, t->name, 0) != 0)
		return -1;
	return unlinkat(t->folder, t->temporary, 0);
}

/* Time and mode, then the name. */
static enum ds_status target_publish(struct target *t, const struct ds_document *d, int replace,
				     struct ds_err *err)
{
	int64_t seconds = d->mtime_ns / 1000000000, rest = d->mtime_ns % 1000000000;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

	if (rest < 0) {
		seconds--;
		rest += 1000000000;
	}
	times[1].tv_sec = (time_t)seconds;
	times[1].tv_nsec = rest;
	if (fchmod(t->fd, d->mode ? d->mode : default_mode()) != 0)
		return ds_fail_errno(err, d->name, "cannot set the mode");
	if (d->mtime_ns && futimens(t->fd, times) != 0)
		return ds_fail_errno(err, d->name, "cannot set the time");
	if (replace ? renameat(t->folder, t->temporary, t->folder, t->name) : name_new(t)) {
		if (errno == EEXIST && !replace)
			return ds_fail_at(err, DS_EIO, d->name, DS_NO_OFFSET,
					  "is there already; -f replaces it");
		return ds_fail_errno(err, d->name, "cannot rename into place");
	}
	close(t->fd);
	t->fd = -1;
	return DS_OK;
}

enum ds_status ds_extract_member(const struct ds_extract *x, struct ds_archive *a, uint64_t member,
				 struct ds_err *err)
{
	struct ds_archive_member m;
	struct target t;
	enum ds_status st;

	DS_TRY(ds_archive_member(a, member, &m, err));
	DS_TRY(check_name(&m, x->path, err));
	st = target_open(&t, x, m.document.name, err);
	if (st == DS_OK)
		st = ds_archive_copy(a, member, target_write, &t, err);
	if (st == DS_OK)
		st = target_publish(&t, &m.document, x->replace, err);
	target_close(&t);
	return st;
}

enum ds_status ds_extract_rest(const struct ds_extract *x, struct ds_archive *a, uint64_t member,
			       const struct ds_salvage *s, struct ds_err *err)
{
	char name[NAME_MAX + sizeof ".part"];
	struct ds_archive_member m;
	struct target t;
	struct ds_rest rest = {.write = target_write, .user = &t};
	enum ds_status st;

	DS_TRY(ds_archive_member(a, member, &m, err));
	DS_TRY(check_name(&m, x->path, err));
	st = target_open(&t, x, m.document.name, err);
	if (st == DS_OK)
		st = ds_archive_copy_rest(a, member, s, &rest, err);
	if (st == DS_OK && !rest.whole) {
		snprintf(name, sizeof name, "%s.part", t.name);
		t.name = name;
	}
	if (st == DS_OK && (rest.whole || rest.read))
		st = target_publish(&t, &m.document, x->replace, err);
	target_close(&t);
	return st;
}
