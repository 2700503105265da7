/*
 * fuzz_tokenize.c - any text through the tiny vocabularies of all families: spans cover it,
 * counting counts the same, cut text gives the same tokens, and what can come back does
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FAMILIES 4
static struct ds_tokenizer *tok[FAMILIES];
static struct ds_encoder *enc[FAMILIES];

/* From the top of the tree, where the tests run. */
static int open_all(void)
{
	static const char *const paths[FAMILIES] = {
		"tests/data/tiny-wordpiece.gguf", "tests/data/tiny-bpe.gguf",
		"tests/data/tiny-spm.gguf", "tests/data/tiny-spm.json"};
	struct ds_err err;

	for (int i = 0; i < FAMILIES && !enc[i]; i++)
		if (ds_tokenizer_open(&tok[i], paths[i], &err) != DS_OK ||
		    ds_encoder_new(&enc[i], tok[i], &err) != DS_OK)
			return 0;
	return 1;
}

static void check_spans(const struct ds_tokens *t, size_t size)
{
	uint64_t last = 0;

	for (size_t i = 0; i < t->n; i++) {
		assert(t->end[i] >= last);
		last = t->end[i];
	}
	assert(t->n == 0 || last == size);
}

/* The text cut in two, where it may be. */
static void check_cut(struct ds_encoder *e, const uint8_t *text, size_t size, unsigned flags,
		      const struct ds_tokens *whole)
{
	size_t p = ds_encoder_cut(e, text, size);
	struct ds_tokens part = {0};
	size_t first;

	assert(p <= size);
	if (p == 0)
		return;
	assert(ds_encode(e, text, p, flags, &part, NULL) == DS_OK);
	first = part.n;
	assert(ds_encode(e, text + p, size - p, flags | DS_ENCODE_CONTINUE, &part, NULL) == DS_OK);
	assert(part.n == whole->n);
	for (size_t i = 0; i < part.n; i++) {
		assert(part.id[i] == whole->id[i]);
		/* white space alone has no token, so that none is there to cover it */
		assert(part.end[i] + (i < first ? 0 : p) == whole->end[i] ||
		       (part.n == first && i + 1 == first));
	}
	ds_tokens_fini(&part);
}

static void check_back(int family, const struct ds_tokens *t, const uint8_t *text, size_t size)
{
	struct ds_buf buf = {0};

	assert(ds_decode(tok[family], t->id, t->n, DS_ENCODE_SPECIAL, &buf, NULL) == DS_OK);
	assert(buf.len == size && (size == 0 || memcmp(buf.data, text, size) == 0));
	ds_buf_fini(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned flags = size && data[0] & 1 ? DS_ENCODE_SPECIAL : 0;
	struct ds_tokens t = {0};

	if (!open_all())
		return 0;
	for (int f = 0; f < FAMILIES; f++) {
		size_t count;

		t.n = 0;
		assert(ds_encode(enc[f], data, size, flags, &t, NULL) == DS_OK);
		check_spans(&t, size);
		assert(ds_encode_count(enc[f], data, size, flags, &count, NULL) == DS_OK);
		assert(count == t.n);
		check_cut(enc[f], data, size, flags, &t);
		/* WordPiece does not come back, nor does U+2581; spaces between special tokens may
		 * not either */
		if (f == 1 || (f > 1 && !flags && !memmem(data, size, "\xE2\x96\x81", 3) &&
			       !memmem(data, size, "<tool>", 6)))
			check_back(f, &t, data, size);
	}
	ds_tokens_fini(&t);
	return 0;
}
