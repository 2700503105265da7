/*
 * fuzz_profile.c - any bytes as a profile of attention policies: an error, or a profile whose text
 * is read as the same profile again
 */
#include <stdlib.h>
#include <string.h>

#include "attn/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const struct ds_attn_profile *p)
{
	struct ds_buf text = {0}, second = {0};
	struct ds_attn_profile again;
	struct ds_err err;

	if (ds_attn_profile_write(p, "note\n\nend", &text, &err) != DS_OK ||
	    ds_attn_profile_parse(&again, text.data, text.len, &err) != DS_OK ||
	    ds_attn_profile_write(&again, "note\n\nend", &second, &err) != DS_OK)
		abort();
	if (text.len != second.len || memcmp(text.data, second.data, text.len) != 0 ||
	    again.n_layer != p->n_layer)
		abort();
	ds_attn_profile_fini(&again);
	ds_buf_fini(&text);
	ds_buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_attn_profile p;
	struct ds_err err;

	if (ds_attn_profile_parse(&p, data, size, &err) == DS_OK) {
		same_again(&p);
		ds_attn_profile_fini(&p);
	} else if (p.policy) {
		abort();
	}
	return 0;
}
