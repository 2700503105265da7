/*
 * fuzz_lora.c - adapters of any bytes on a small model: an error, or logits that are finite or
 * refused, the same for any split
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/lm.h"

#define BASE "tests/fuzz/corpus/fuzz_lm/good-llama"
#define N_TOKEN 19
#define VOCAB_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The logits after the tokens, read in passes of that many; false: not finite. */
static bool read_tokens(const struct ds_model *model, uint32_t batch, float *logits)
{
	struct ds_session_options options = {.context = N_TOKEN, .batch = batch};
	struct ds_session *s;
	struct ds_err err;
	uint32_t id[N_TOKEN];
	bool good;

	for (uint32_t i = 0; i < N_TOKEN; i++)
		id[i] = (i * 37 + 5) % 300;
	if (ds_session_new(&s, model, NULL, &options, &err) != DS_OK)
		return false;
	good = ds_session_read(s, id, N_TOKEN, 1, &err) == DS_OK &&
	       ds_session_logits(s, 0, 1, logits, &err) == DS_OK;
	ds_session_free(s);
	return good;
}

static void compare(const struct ds_model *model)
{
	static float a[VOCAB_MAX], b[VOCAB_MAX];
	uint32_t vocab = ds_model_vocab(model);
	bool good = read_tokens(model, 16, a);

	if (good != read_tokens(model, 1, b) || (good && memcmp(a, b, vocab * sizeof *a) != 0))
		abort();
	for (uint32_t i = 0; good && i < vocab; i++)
		if (!isfinite(a[i]))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_model *model;
	struct ds_err err;
	char path[64];
	int fd;

	if (ds_model_open(&model, BASE, &err) != DS_OK)
		abort(); /* to be run from the top of the tree */
	fd = memfd_create("lora", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size &&
	    ds_model_lora_add(model, path, 1, &err) == DS_OK)
		compare(model);
	if (fd >= 0)
		close(fd);
	ds_model_close(model);
	return 0;
}
