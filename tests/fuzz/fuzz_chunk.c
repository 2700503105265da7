/*
 * fuzz_chunk.c - any text in any pieces: chunks cover it, keep the limits, and are the same
 *
 * The first four bytes are the limit, the overlap, boundary and vocabulary, the size of the pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "chunk/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ds_status embed(void *user, const struct ds_part *texts, size_t n, float *out,
			    struct ds_err *err)
{
	(void)user;
	(void)err;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = texts[i].bytes;

		out[2 * i] = out[2 * i + 1] = 1;
		for (size_t j = 0; j < texts[i].len; j++)
			out[2 * i + (p[j] & 1)] += 1;
	}
	return DS_OK;
}

struct text {
	const uint8_t *bytes;
	size_t n;
};

/* A hash of all chunks' spans; 0 when there was an error. */
static uint64_t chunk_text(struct ds_chunker *c, struct ds_encoder *enc, struct text text,
			   size_t piece, const struct ds_chunk_options *o)
{
	uint64_t covered = 0, hash = 1;
	struct ds_chunk_frame f;
	enum ds_status st;
	size_t at = 0, tokens;

	do {
		size_t n = text.n - at < piece ? text.n - at : piece;

		if (ds_chunker_push(c, text.bytes + at, n, at + n == text.n, NULL) != DS_OK)
			return 0;
		at += n;
		while ((st = ds_chunker_next(c, &f, NULL)) == DS_OK) {
			if (ds_encode_count(enc, f.text, (f.end - f.start), 0, &tokens,
					    NULL))
				abort();
			if (f.tokens != tokens || tokens > o->size_tokens ||
			    f.overlap_tokens > o->overlap_tokens ||
			    f.start + f.overlap_bytes != covered || f.end <= covered ||
			    memcmp(f.text, text.bytes + f.start, (size_t)(f.end - f.start)) != 0)
				abort();
			covered = f.end;
			hash = (hash ^ f.start ^ f.end << 20 ^ (uint64_t)f.boundary << 60) *
			       1099511628211u;
		}
		if (st != DS_END)
			return 0;
	} while (at < text.n);
	if (covered != text.n)
		abort();
	return hash | 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const path[] = {"tests/data/tiny-wordpiece.gguf",
					   "tests/data/tiny-bpe.gguf", "tests/data/tiny-spm.gguf"};
	static struct ds_tokenizer *toks[3];
	static struct ds_encoder *encs[3];
	struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	struct ds_chunk_options o = {.embed = embed, .embed_dims = 2};
	struct ds_chunker *c, *d;
	struct text text;
	uint64_t whole;

	for (int i = 0; i < 3 && !encs[i]; i++)
		if (ds_tokenizer_open(&toks[i], path[i], NULL) != DS_OK ||
		    ds_encoder_new(&encs[i], toks[i], NULL) != DS_OK)
			abort();
	if (size < 4)
		return 0;
	tok = toks[data[2] / 5 % 3];
	enc = encs[data[2] / 5 % 3];
	o.size_tokens = data[0] + 1u;
	o.overlap_tokens = data[1] % o.size_tokens;
	o.boundary = (enum ds_boundary)(data[2] % 5);
	text = (struct text){data + 4, size - 4};
	if (ds_chunker_new(&c, tok, &o, NULL) != DS_OK)
		return 0;
	if (ds_chunker_new(&d, tok, &o, NULL) == DS_OK) {
		whole = chunk_text(c, enc, text, text.n + 1, &o);
		if (chunk_text(d, enc, text, data[3] + 1u, &o) != whole)
			abort();
		ds_chunker_free(d);
	}
	ds_chunker_free(c);
	return 0;
}
