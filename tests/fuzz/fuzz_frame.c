/*
 * fuzz_frame.c - the frame reader: as the bytes are, and with their checksums made right, so that
 * what lies behind the checksums is reached too
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "frame/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t seen;

/* Read them all: what is said to be there must be. */
static void touch(const void *bytes, size_t n)
{
	for (const uint8_t *p = bytes, *end = p + n; p < end; p++)
		seen ^= *p;
}

static void unpack(const struct ds_frame *f)
{
	struct ds_err err;
	union ds_payload u;

	if (ds_payload_get(f, &u, &err) != DS_OK)
		return;
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		touch(u.document.name, u.document.name_len);
		break;
	case DS_FRAME_TEXT:
		touch(u.text.bytes, u.text.len);
		break;
	case DS_FRAME_TOKENS:
		touch(u.tokens.end, (size_t)u.tokens.n * 4);
		break;
	case DS_FRAME_LOGPROB:
		touch(u.logprob.logprob, (size_t)u.logprob.tokens.n * 4);
		break;
	case DS_FRAME_CHUNK:
		touch(u.chunk.text, (size_t)(u.chunk.end - u.chunk.start));
		break;
	case DS_FRAME_EMBEDDING:
		touch(u.embedding.data, u.embedding.dims);
		break;
	case DS_FRAME_HIT:
		touch(u.hit.text, u.hit.text_len);
		break;
	}
}

static void read_all(int fd, bool recover)
{
	struct ds_in in = {.fd = fd, .name = "fuzz"};
	struct ds_frame_reader r;
	struct ds_frame f;
	struct ds_err err;
	enum ds_status st;
	uint64_t lost;

	(void)lseek(fd, 0, SEEK_SET);
	ds_frame_reader_init(&r, &in);
	do {
		while ((st = ds_frame_next(&r, &f, &err)) == DS_OK) {
			assert((uintptr_t)f.payload % 8 == 0);
			unpack(&f);
		}
	} while (st != DS_END && recover && ds_frame_recover(&r, &lost, &err) == DS_OK);
	ds_frame_reader_fini(&r);
	in.fd = -1;
	ds_in_close(&in);
}

/* Number the frames and make their checksums right, as far as their lengths lead. */
static void repair(uint8_t *p, size_t n)
{
	uint64_t sequence = 0;

	while (n >= DS_FRAME_HEAD_BYTES) {
		uint64_t len = ds_get_u64(p + 24), whole;

		if (len > n - DS_FRAME_HEAD_BYTES)
			return;
		memcpy(p,
		       "\xf7"
		       "DSF\x01",
		       5);
		ds_put_u64(p + 16, sequence);
		sequence = p[5] == DS_FRAME_END ? 0 : sequence + 1;
		ds_put_u64(p + 32, XXH3_64bits(p + DS_FRAME_HEAD_BYTES, (size_t)len));
		ds_put_u64(p + 40, XXH3_64bits(p, 40));
		whole = DS_FRAME_HEAD_BYTES + (len + 7) / 8 * 8;
		if (whole > n)
			return;
		p += whole;
		n -= whole;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct ds_err err;
	uint8_t *copy = malloc(size + 1);

	if (fd < 0 && ds_spill_open(&fd, &err) != DS_OK)
		abort();
	memcpy(copy, data, size);
	for (int i = 0; i < 2; i++) {
		if (ftruncate(fd, 0) != 0 || ds_pwrite_all(fd, copy, size, 0, &err) != DS_OK)
			abort();
		read_all(fd, false);
		read_all(fd, true);
		repair(copy, size);
	}
	free(copy);
	return 0;
}
