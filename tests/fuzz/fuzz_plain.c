/* fuzz_plain.c - the reader of seekable Zstandard files over any bytes */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/plain.h"

#define READ_MAX ((uint64_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ds_status count(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	(void)bytes;
	(void)err;
	*(uint64_t *)user += n;
	return DS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("plain", MFD_CLOEXEC);
	struct ds_plain *p;
	struct ds_err err;
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (ds_plain_open(&p, path, &err) == DS_OK) {
		const uint64_t n = ds_plain_bytes(p);
		uint64_t got = 0;

		if (n < READ_MAX && ds_plain_copy(p, 0, n, count, &got, &err) == DS_OK && got != n)
			abort();
		got = 0;
		if (ds_plain_copy(p, n / 3, n / 2, count, &got, &err) == DS_OK &&
		    got != n / 2 - n / 3)
			abort();
		ds_plain_close(p);
	} else if (!err.message[0]) {
		abort();
	}
	close(fd);
	return 0;
}
