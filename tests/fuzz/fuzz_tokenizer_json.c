/*
 * fuzz_tokenizer_json.c - what a tokenizer.json may say: it is refused, or a text can be tokenized
 * with spans that cover it
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tokenize(const struct ds_tokenizer *tok)
{
	static const char text[] = "The quick <tool> brown fo\xCC\x88x, 123 <s>[MASK] "
				   "\xE4\xBD\xA0\xE5\xA5\xBD\xE2\x96\x81  foo \xFF\xC3";
	struct ds_tokens tokens = {0};
	struct ds_buf buf = {0};
	struct ds_encoder *enc;
	struct ds_err err;
	uint64_t last = 0;

	if (ds_encoder_new(&enc, tok, &err) != DS_OK)
		return;
	(void)ds_encoder_cut(enc, text, sizeof text - 1);
	if (ds_encode(enc, text, sizeof text - 1, DS_ENCODE_SPECIAL | DS_ENCODE_AFFIX, &tokens,
		      &err) == DS_OK) {
		for (size_t i = 0; i < tokens.n; i++) {
			assert(tokens.id[i] < ds_tokenizer_size(tok) && tokens.end[i] >= last);
			last = tokens.end[i];
		}
		assert(tokens.n == 0 || last == sizeof text - 1);
		(void)ds_decode(tok, tokens.id, tokens.n, 0, &buf, &err);
	}
	ds_buf_fini(&buf);
	ds_tokens_fini(&tokens);
	ds_encoder_free(enc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct ds_tokenizer *tok;
	struct ds_err err;
	char path[64];

	if (fd < 0)
		fd = memfd_create("tokenizer.json", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (ds_tokenizer_open(&tok, path, &err) != DS_OK) {
		assert(err.message[0]);
		return 0;
	}
	tokenize(tok);
	ds_tokenizer_close(tok);
	return 0;
}
