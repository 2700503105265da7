/* io_in.c - mapped files and input streams */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_stdio(const char *path)
{
	return !path || strcmp(path, "-") == 0;
}

static enum ds_status map_fd(struct ds_map *map, int fd, const char *path, struct ds_err *err)
{
	struct stat st;
	void *data;

	if (fstat(fd, &st) != 0)
		return ds_fail_errno(err, path, "cannot stat");
	if (S_ISDIR(st.st_mode))
		return ds_fail_at(err, DS_EIO, path, DS_NO_OFFSET, "is a directory");
	if (!S_ISREG(st.st_mode))
		return ds_fail_at(err, DS_EIO, path, DS_NO_OFFSET, "not a regular file");
	map->len = (size_t)st.st_size;
	map->data = (const uint8_t *)"";
	if (map->len == 0)
		return DS_OK;
	data = mmap(NULL, map->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return ds_fail_errno(err, path, "cannot map");
	map->data = data;
	return DS_OK;
}

enum ds_status ds_map_open(struct ds_map *map, const char *path, struct ds_err *err)
{
	enum ds_status st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*map = (struct ds_map){0};
	if (fd < 0)
		return ds_fail_errno(err, path, "cannot open");
	st = map_fd(map, fd, path, err);
	close(fd);
	if (st == DS_OK) {
		map->path = strdup(path);
		if (!map->path)
			st = ds_fail_nomem(err, strlen(path));
	}
	if (st != DS_OK)
		ds_map_close(map);
	return st;
}

void ds_map_close(struct ds_map *map)
{
	if (map->len)
		munmap((void *)map->data, map->len);
	free(map->path);
	*map = (struct ds_map){0};
}

enum ds_status ds_in_open(struct ds_in *in, const char *path, struct ds_err *err)
{
	struct stat st;

	*in = (struct ds_in){.fd = -1};
	if (is_stdio(path)) {
		in->fd = STDIN_FILENO;
		in->name = "(stdin)";
		return DS_OK;
	}
	in->name = path;
	in->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0)
		return ds_fail_errno(err, path, "cannot open");
	if (fstat(in->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		ds_in_close(in);
		return ds_fail_at(err, DS_EIO, path, DS_NO_OFFSET, "is a directory");
	}
	return DS_OK;
}

/* What was made of the bytes so far goes on its way while we wait for more. */
bool ds_in_waits(const struct ds_in *in)
{
	struct pollfd ready = {.fd = in->fd, .events = POLLIN};

	return in->start == in->fill && poll(&ready, 1, 0) == 0;
}

static enum ds_status flush_tied(struct ds_in *in, struct ds_err *err)
{
	if (!in->tie || in->tie->fill == 0 || !ds_in_waits(in))
		return DS_OK;
	return ds_out_flush(in->tie, err);
}

static enum ds_status read_some(struct ds_in *in, void *bytes, size_t cap, size_t *got_ret,
				struct ds_err *err)
{
	ssize_t n;

	*got_ret = 0;
	DS_TRY(flush_tied(in, err));
	do
		n = read(in->fd, bytes, cap);
	while (n < 0 && errno == EINTR);
	*got_ret = n > 0 ? (size_t)n : 0;
	return n < 0 ? ds_fail_errno(err, in->name, "cannot read") : DS_OK;
}

enum ds_status ds_in_read(struct ds_in *in, void *bytes, size_t cap, size_t *got_ret,
			  struct ds_err *err)
{
	if (in->start < in->fill) {
		size_t n = in->fill - in->start;

		*got_ret = n < cap ? n : cap;
		memcpy(bytes, in->buffer + in->start, *got_ret);
		in->start += *got_ret;
	} else {
		*got_ret = 0;
		DS_TRY(read_some(in, bytes, cap, got_ret, err));
	}
	in->offset += *got_ret;
	return DS_OK;
}

enum ds_status ds_in_peek(struct ds_in *in, size_t want, const uint8_t **bytes_ret,
			  size_t *got_ret, struct ds_err *err)
{
	if (!in->buffer) {
		in->buffer = ds_alloc(DS_IN_PEEK_MAX, 1);
		if (!in->buffer)
			return ds_fail_nomem(err, DS_IN_PEEK_MAX);
	}
	if (in->start > 0) {
		memmove(in->buffer, in->buffer + in->start, in->fill - in->start);
		in->fill -= in->start;
		in->start = 0;
	}
	if (want > DS_IN_PEEK_MAX)
		want = DS_IN_PEEK_MAX;
	while (in->fill < want) {
		size_t got;

		DS_TRY(read_some(in, in->buffer + in->fill, DS_IN_PEEK_MAX - in->fill, &got, err));
		if (got == 0)
			break;
		in->fill += got;
	}
	*bytes_ret = in->buffer;
	*got_ret = in->fill < want ? in->fill : want;
	return DS_OK;
}

void ds_in_close(struct ds_in *in)
{
	if (in->fd > STDERR_FILENO)
		close(in->fd);
	free(in->buffer);
	*in = (struct ds_in){.fd = -1};
}

static enum ds_status read_rest(struct ds_in *in, size_t max, struct ds_buf *buf,
				struct ds_err *err)
{
	size_t start = buf->len, got;

	do {
		DS_TRY(ds_buf_reserve(buf, 65536, err));
		DS_TRY(ds_in_read(in, buf->data + buf->len, buf->cap - buf->len, &got, err));
		buf->len += got;
		if (buf->len - start > max)
			return ds_fail_at(err, DS_ELIMIT, in->name, max,
					  "larger than the limit of %zu bytes", max);
	} while (got);
	return DS_OK;
}

enum ds_status ds_read_all(const char *path, size_t max, struct ds_buf *buf, struct ds_err *err)
{
	struct ds_in in;
	enum ds_status st;

	DS_TRY(ds_in_open(&in, path, err));
	st = read_rest(&in, max, buf, err);
	ds_in_close(&in);
	return st;
}
