/*
 * fuzz_mix.c - the mixing coder: any bytes are decoded to text or an error, and any text comes back
 *
 * The first two bytes say how long a text is; the input is taken as a code of it, then as a text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "mix/mix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ds_mix *mix;
	struct ds_buf code = {0};
	struct ds_err err;
	size_t len;
	uint8_t *text;

	if (size < 2)
		return 0;
	if (!mix && ds_mix_new(&mix, DS_MIX_BITS_MIN, &err) != DS_OK)
		return 0;
	len = ds_get_u16(data) % 8192;
	data += 2;
	size -= 2;
	text = malloc(len > size ? len + 1 : size + 1);
	if (!text)
		return 0;
	(void)ds_mix_decode(mix, data, size, text, len, &err);
	if (ds_mix_encode(mix, data, size, &code, &err) == DS_OK &&
	    (ds_mix_decode(mix, code.data, code.len, text, size, &err) != DS_OK ||
	     memcmp(text, data, size) != 0))
		abort();
	ds_buf_fini(&code);
	free(text);
	return 0;
}
