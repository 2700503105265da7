/*
 * fuzz_bpe.c - any text through byte-level BPE: equal to the definition, lossless, safe to cut
 *
 * Byte 0 chooses the vocabulary (tests/small_bpe.h), byte 1 the pretokenizer, byte 2 how much of
 * the rest is known when a cut is asked for; then comes the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../small_bpe.h"
#include "token/pretok.h"

#define TEXT_MAX 4096
#define VOCABULARIES 4

#define REQUIRE(what)              \
	do {                       \
		if (!(what))       \
			abort();   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"none", "gpt-2", "llama-bpe", "qwen2", "qwen35", "smollm",
				    "deepseek-v3", "deepseek-llm", "deepseek-coder", "falcon",
				    "default", "gemma4"};
#define N_NAMES (sizeof names / sizeof *names)

static struct small_bpe *small[VOCABULARIES];
static struct ds_bpe *bpe[VOCABULARIES];
static const struct ds_pretok *pre[N_NAMES];
static struct ds_bpe_encoder *encoders[VOCABULARIES][N_NAMES];

static void setup(void)
{
	for (size_t i = 0; i < N_NAMES; i++) {
		if (i)
			REQUIRE(!ds_pretok_named(&pre[i], names[i], strlen(names[i]), NULL));
		else
			REQUIRE(!ds_pretok_open(&pre[i], NULL, 0, NULL));
	}
	for (unsigned v = 0; v < VOCABULARIES; v++) {
		struct ds_bpe_source source;

		small[v] = small_new(v == 3 ? SMALL_TRAINED : (int)v, 40 + v);
		small_source(small[v], &source);
		REQUIRE(!ds_bpe_build(&bpe[v], &source, NULL));
	}
}

/* The tokens of text by the definition, pretoken by pretoken; how many. */
static size_t naive(unsigned v, size_t name, const uint8_t *text, size_t n, uint32_t *id)
{
	struct ds_pretok_walk walk;
	size_t count = 0, start = 0, end, got;

	ds_pretok_walk_init(&walk, pre[name]);
	ds_pretok_start(&walk, text, n);
	for (;; start = end) {
		REQUIRE(!ds_pretok_next(&walk, &end, 1, &got, NULL));
		if (!got)
			break;
		REQUIRE(end > start && end <= n);
		count += small_encode(small[v], text + start, end - start, id + count);
	}
	REQUIRE(start == n);
	ds_pretok_walk_fini(&walk);
	return count;
}

static void check(unsigned v, size_t name, const uint8_t *text, size_t n, size_t known)
{
	static uint32_t want[TEXT_MAX];
	struct ds_bpe_encoder **enc = &encoders[v][name];
	struct ds_tokens whole = {0}, parts = {0};
	size_t count = 0, start = 0, n_want, p;

	if (!*enc)
		REQUIRE(!ds_bpe_encoder_new(enc, bpe[v], pre[name], NULL));
	REQUIRE(!ds_bpe_encode(*enc, text, n, 0, &whole, NULL));
	REQUIRE(!ds_bpe_count(*enc, text, n, &count, NULL));
	REQUIRE(count == whole.n);
	for (size_t i = 0; i < whole.n; start = whole.end[i++]) {
		struct ds_str bytes = ds_bpe_token(bpe[v], whole.id[i]);

		REQUIRE(whole.end[i] - start == bytes.len);
		REQUIRE(!memcmp(text + start, bytes.s, bytes.len));
	}
	REQUIRE(start == n);
	n_want = naive(v, name, text, n, want);
	REQUIRE(n_want == whole.n && (!n_want || !memcmp(want, whole.id, n_want * sizeof *want)));

	p = ds_pretok_cut(pre[name], text, known);
	REQUIRE(p <= known);
	REQUIRE(!ds_bpe_encode(*enc, text, p, 0, &parts, NULL));
	REQUIRE(!ds_bpe_encode(*enc, text + p, n - p, p, &parts, NULL));
	REQUIRE(parts.n == whole.n);
	REQUIRE(!parts.n || !memcmp(parts.id, whole.id, parts.n * sizeof *parts.id));
	REQUIRE(!parts.n || !memcmp(parts.end, whole.end, parts.n * sizeof *parts.end));
	free(whole.id);
	free(whole.end);
	free(parts.id);
	free(parts.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n;

	if (size < 3)
		return 0;
	if (!bpe[0])
		setup();
	n = size - 3 < TEXT_MAX ? size - 3 : TEXT_MAX;
	check(data[0] % VOCABULARIES, data[1] % N_NAMES, data + 3, n, n * data[2] / 255);
	return 0;
}
