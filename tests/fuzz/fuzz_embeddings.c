/*
 * fuzz_embeddings.c - packed embeddings over any bytes: an error or sound frames, never a crash
 *
 * The first byte, if odd, says that the hashes of the blocks are to be made right, so that what is
 * behind them is reached.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "archive/embeddings.h"
#include "base/cursor.h"
#include "frame/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *p, size_t n)
{
	size_t at = DS_EMBEDDINGS_HEADER_BYTES;

	while (n >= at && n - at >= DS_EMBEDDINGS_HEAD_BYTES) {
		uint64_t stored = ds_get_u32(p + at + 8), left = n - at - DS_EMBEDDINGS_HEAD_BYTES;

		if (stored > left)
			return;
		ds_put_u64(p + at + 16, XXH3_64bits(p + at + DS_EMBEDDINGS_HEAD_BYTES, stored));
		ds_put_u64(p + at + 24, XXH3_64bits(p + at, 24));
		at += DS_EMBEDDINGS_HEAD_BYTES + stored;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct ds_embeddings_stats stats;
	struct ds_err err;
	struct ds_in in;
	uint8_t *copy;

	if (size < 1)
		return 0;
	copy = malloc(size);
	assert(copy);
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		mend(copy, size - 1);
	if (fd < 0 && ds_spill_open(&fd, &err) != DS_OK)
		abort();
	if (ftruncate(fd, 0) != 0 || ds_pwrite_all(fd, copy, size - 1, 0, &err) != DS_OK)
		abort();
	free(copy);
	(void)lseek(fd, 0, SEEK_SET);
	in = (struct ds_in){.fd = fd, .name = "fuzz"};
	if (ds_embeddings_unpack(&in, NULL, &stats, &err) != DS_OK)
		assert(err.message[0] && err.path[0]);
	free(in.buffer);
	return 0;
}
