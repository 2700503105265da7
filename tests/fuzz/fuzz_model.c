/* fuzz_model.c - models of any bytes: an error, or embeddings that are finite */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void embed(const struct ds_model *model)
{
	static const struct ds_part texts[] = {
		{"the cat sat. the cat sat. the cats sat, zebra", 45}, {"", 0}, {"the", 3}};
	struct ds_embedder *emb;
	struct ds_err err;
	size_t n = 3 * (size_t)ds_model_dims(model);
	float *out = calloc(n, sizeof *out);

	if (out && ds_embedder_new(&emb, model, NULL, &err) == DS_OK) {
		if (ds_embed(emb, texts, 3, out, &err) == DS_OK)
			for (size_t i = 0; i < n; i++)
				if (!isfinite(out[i]))
					abort();
		ds_embedder_free(emb);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_model *model;
	struct ds_err err;
	char path[64];
	int fd = memfd_create("model", MFD_CLOEXEC);

	if (fd < 0)
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (write(fd, data, size) == (ssize_t)size && ds_model_open(&model, path, &err) == DS_OK) {
		embed(model);
		ds_model_close(model);
	}
	close(fd);
	return 0;
}
