/*
 * fuzz_policy.c - any text as an attention policy: an error, or a policy whose text is read as the
 * same policy again
 */
#include <stdlib.h>
#include <string.h>

#include "attn/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_attn_policy policy, again;
	struct ds_err err;
	char *text = malloc(size + 1), form[DS_ATTN_TEXT_BYTES], second[DS_ATTN_TEXT_BYTES];

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (ds_attn_policy_parse(&policy, text, &err) == DS_OK) {
		ds_attn_policy_text(&policy, form, sizeof form);
		if (ds_attn_policy_parse(&again, form, &err) != DS_OK ||
		    memcmp(policy.param, again.param, sizeof policy.param) != 0 ||
		    policy.kind != again.kind)
			abort();
		ds_attn_policy_text(&again, second, sizeof second);
		if (strcmp(form, second) != 0)
			abort();
	} else if (strlen(err.message) + 1 == sizeof err.message) {
		abort(); /* cut short */
	}
	free(text);
	return 0;
}
