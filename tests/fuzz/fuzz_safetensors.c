/* fuzz_safetensors.c - safetensors files of any bytes: an error, or tensors that lie in the file */
#include <stdlib.h>

#include "gguf/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_safetensors st;
	struct ds_err err;
	uint64_t sum = 0;

	if (ds_safetensors_open_memory(&st, data, size, "fuzz", &err) != DS_OK)
		return 0;
	for (size_t i = 0; i < st.n_tensor; i++) {
		const struct ds_gguf_tensor *t = &st.tensor[i];

		for (uint64_t j = 0; t->data && j < t->bytes; j++)
			sum += t->data[j];
	}
	ds_safetensors_close(&st);
	return sum == UINT64_MAX; /* the reads are used */
}
