/*
 * fuzz_words.c - the reader of word indexes over any bytes: an error or scores, never a crash
 *
 * The first two bytes are the length of a query, the query follows, then the index.
 */
#include <stdlib.h>

#include "base/cursor.h"
#include "search/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_words_query query = {0};
	struct ds_words words;
	struct ds_err err;
	size_t len;

	if (size < 2)
		return 0;
	len = ds_get_u16(data);
	if (len > size - 2)
		return 0;
	if (ds_words_open(&words, data + 2 + len, size - 2 - len, &err) != DS_OK)
		return 0;
	if (ds_words_query_init(&query, data + 2, len, &err) == DS_OK &&
	    ds_words_query_count(&query, &words, &err) == DS_OK) {
		float *score = calloc((size_t)words.n_passages + 1, sizeof *score);

		ds_words_query_weigh(&query);
		if (score)
			(void)ds_words_score(&query, &words, score, &err);
		free(score);
	}
	ds_words_query_fini(&query);
	return 0;
}
