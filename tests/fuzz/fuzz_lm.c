/*
 * fuzz_lm.c - language models of any bytes: an error, or logits that are finite, the same for any
 * split, in little memory
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/lm.h"

#define N_TOKEN 19
/* Files are small, so what they ask for is. */
#define VOCAB_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The logits after the tokens, read in passes of that many; false: refused. */
static bool read_tokens(const struct ds_model *model, uint32_t batch, float *logits)
{
	struct ds_session_options options = {.context = ds_model_context(model), .batch = batch};
	uint32_t vocab = ds_model_vocab(model), id[N_TOKEN];
	struct ds_session *s;
	struct ds_err err;
	bool good;

	if (options.context > N_TOKEN)
		options.context = N_TOKEN;
	for (uint32_t i = 0; i < N_TOKEN; i++)
		id[i] = (i * 37 + 5) % vocab;
	if (ds_session_new(&s, model, NULL, &options, &err) != DS_OK)
		return false;
	good = ds_session_read(s, id, options.context, 1, &err) == DS_OK &&
	       ds_session_logits(s, 0, 1, logits, &err) == DS_OK;
	ds_session_free(s);
	return good;
}

static void read_model(const struct ds_model *model)
{
	uint32_t vocab = ds_model_vocab(model);
	float *a, *b;

	if (vocab == 0 || vocab > VOCAB_MAX)
		return;
	a = calloc(vocab, sizeof *a);
	b = calloc(vocab, sizeof *b);
	if (a && b && read_tokens(model, 16, a)) {
		for (uint32_t i = 0; i < vocab; i++)
			if (!isfinite(a[i]))
				abort();
		if (!read_tokens(model, 1, b) || memcmp(a, b, vocab * sizeof *a) != 0)
			abort();
	}
	free(a);
	free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_model *model;
	struct ds_err err;
	char path[64];
	size_t len;
	int fd = memfd_create("lm", MFD_CLOEXEC);

	if (fd < 0)
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (write(fd, data, size) == (ssize_t)size && ds_model_open(&model, path, &err) == DS_OK) {
		if (ds_model_is_lm(model)) {
			ds_model_chat_template(model, &len);
			read_model(model);
		}
		ds_model_close(model);
	}
	close(fd);
	return 0;
}
