/*
 * fuzz_archive.c - the reader of archives over any bytes: an error or documents, never a crash
 *
 * Every input is tried as it is and with all its checksums made right, or little of the reader
 * would ever be reached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "archive/archive.h"
#include "archive/record.h"
#include "search/codes.h"
#include "search/words.h"

#define READ_MAX ((uint64_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_index(struct ds_archive *a, struct ds_buf *buf)
{
	struct ds_archive_passage p;
	struct ds_archive_vectors v;
	struct ds_words words;
	struct ds_err err;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ds_archive_segments(a); i++) {
		buf->len = 0;
		if (ds_archive_words(a, i, buf, &err) == DS_OK && buf->len)
			(void)ds_words_open(&words, buf->data, buf->len, &err);
		if (ds_archive_vectors(a, i, &v, &err) == DS_OK)
			for (uint32_t k = 0; k < v.n; k++)
				sum += v.scale[2 * k] +
				       v.rows[k * ds_code_row_bytes(v.bits, v.dims)];
	}
	for (uint64_t i = 0; i < 1000; i++)
		if (ds_archive_passage(a, i, &p, &err) == DS_OK)
			sum += p.end;
	if (sum == UINT64_MAX) /* use it */
		abort();
}

/* Cheap to try. */
static const struct ds_secret secret = {"secret", 6, 0, 1, 8};

/* A lock may take seconds to be tried. */
static int is_cheap(const uint8_t *p, size_t n)
{
	const size_t at = DS_ARCHIVE_HEADER_BYTES + DS_RECORD_HEAD_BYTES;

	return n < at + 12 || (ds_get_u32(p + at + 4) <= 2 && ds_get_u32(p + at + 8) <= 64);
}

static enum ds_status discard(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	(void)bytes;
	(void)err;
	*(uint64_t *)user += n;
	return DS_OK;
}

static void tell(void *user, const struct ds_err *damage)
{
	(void)user;
	if (!damage->message[0])
		abort();
}

static void salvage_archive(const char *path, const struct ds_secret *with)
{
	const struct ds_salvage s = {.tell = tell};
	struct ds_buf buf = {0};
	struct ds_archive *a;
	uint64_t bytes = 0;
	struct ds_rest rest = {.write = discard, .user = &bytes};
	struct ds_err err;

	if (ds_archive_salvage(&a, path, with, &s, &err) != DS_OK)
		return;
	for (uint64_t i = 0; i < ds_archive_members(a) && bytes < READ_MAX; i++) {
		uint64_t unpacked;

		(void)ds_archive_copy_rest(a, i, &s, &rest, &err);
		(void)ds_archive_unpacked(a, i, &unpacked, &err);
	}
	read_index(a, &buf);
	ds_buf_fini(&buf);
	ds_archive_close(a);
}

static void read_archive(const char *path, const struct ds_secret *with)
{
	struct ds_archive_totals totals;
	struct ds_archive_member m;
	struct ds_buf buf = {0};
	struct ds_archive *a;
	struct ds_err err;
	uint64_t index;

	if (ds_archive_open(&a, path, with, &err) != DS_OK) {
		if (!err.message[0])
			abort();
		return;
	}
	ds_archive_totals(a, &totals);
	for (uint64_t i = 0; i < ds_archive_members(a) && i < 100; i++) {
		if (ds_archive_member(a, i, &m, &err) != DS_OK ||
		    ds_archive_find(a, m.document.name, m.document.name_len, &index, &err) != DS_OK)
			abort();
		buf.len = 0;
		(void)ds_archive_read(a, i, m.document.size / 3,
				      m.document.size < READ_MAX ? m.document.size
								 : m.document.size / 3 + READ_MAX,
				      &buf, &err);
	}
	read_index(a, &buf);
	if (totals.text_bytes < READ_MAX)
		(void)ds_archive_test(a, &err);
	ds_buf_fini(&buf);
	ds_archive_close(a);
}

static void sign(uint8_t *p, size_t n)
{
	size_t at = DS_ARCHIVE_HEADER_BYTES;

	if (n < DS_ARCHIVE_HEADER_BYTES + DS_ARCHIVE_FOOTER_BYTES)
		return;
	ds_put_u32(p + 12, (uint32_t)XXH3_64bits(p, 12));
	ds_put_u64(p + n - 16, n);
	ds_put_u64(p + n - 8, XXH3_64bits(p + n - 32, 24));
	while (n - at >= DS_RECORD_HEAD_BYTES + DS_ARCHIVE_FOOTER_BYTES) {
		uint32_t stored = ds_get_u32(p + at + 8);

		if (ds_record_size(stored, 0) > n - DS_ARCHIVE_FOOTER_BYTES - at)
			return;
		ds_put_u64(p + at + 16, XXH3_64bits(p + at + DS_RECORD_HEAD_BYTES, stored));
		ds_put_u64(p + at + 24, XXH3_64bits(p + at, 24));
		at += ds_record_size(stored, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);
	const struct ds_secret *with = is_cheap(data, size) ? &secret : NULL;
	uint8_t *copy = malloc(size + 1);
	char path[64];

	if (fd < 0 || !copy || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	read_archive(path, with);
	salvage_archive(path, with);
	memcpy(copy, data, size);
	sign(copy, size);
	if (pwrite(fd, copy, size, 0) != (ssize_t)size)
		abort();
	read_archive(path, with);
	salvage_archive(path, with);
	if (size > DS_ARCHIVE_FOOTER_BYTES) { /* by the records alone */
		if (ftruncate(fd, (off_t)(size - DS_ARCHIVE_FOOTER_BYTES)) != 0)
			abort();
		salvage_archive(path, with);
	}
	free(copy);
	close(fd);
	return 0;
}
