/* fuzz_npy.c - .npy files, head and rows */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "frame/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct ds_err err;
	struct ds_npy npy;
	struct ds_in in;

	if (fd < 0 && ds_spill_open(&fd, &err) != DS_OK)
		abort();
	if (ftruncate(fd, 0) != 0 || ds_pwrite_all(fd, data, size, 0, &err) != DS_OK)
		abort();
	(void)lseek(fd, 0, SEEK_SET);
	in = (struct ds_in){.fd = fd, .name = "fuzz"};
	if (ds_npy_read_head(&in, &npy, &err) == DS_OK) {
		uint8_t *row = malloc(ds_npy_row_bytes(&npy));
		uint64_t rows = 0;

		assert(row && npy.dims >= 1 && npy.dims <= DS_FRAME_DIMS_MAX && npy.type <= 2);
		while (rows < npy.rows && ds_npy_read_row(&in, &npy, row, &err) == DS_OK)
			rows++;
		assert(rows <= size / ds_npy_row_bytes(&npy));
		(void)ds_npy_read_end(&in, &err);
		free(row);
	}
	return 0;
}
