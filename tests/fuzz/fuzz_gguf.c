/*
 * fuzz_gguf.c - the GGUF reader: what it accepts lies inside the file, values can be looked up, and
 * a tokenizer may be opened from it
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t seen;

static void touch(const void *bytes, size_t n)
{
	for (const uint8_t *p = bytes, *end = p + n; p < end; p++)
		seen ^= *p;
}

static void read_key(const struct ds_gguf *gguf, const struct ds_gguf_kv *kv)
{
	char key[256];
	struct ds_str str;
	uint64_t u;
	double f;
	size_t pos = 0;

	touch(kv->key.s, kv->key.len);
	touch(kv->data, kv->data_len);
	if (kv->item_type == DS_GGUF_STRING)
		for (uint64_t i = 0; i < kv->n; i++) {
			str = ds_gguf_next_str(kv, &pos);
			touch(str.s, str.len);
		}
	assert(kv->item_type != DS_GGUF_STRING || pos == kv->data_len);
	if (kv->key.len >= sizeof key)
		return;
	memcpy(key, kv->key.s, kv->key.len);
	key[kv->key.len] = 0;
	assert(ds_gguf_find(gguf, key) == kv);
	(void)ds_gguf_u64(gguf, key, &u, NULL);
	(void)ds_gguf_f64(gguf, key, &f, NULL);
	(void)ds_gguf_str(gguf, key, &str, NULL);
}

static void tokenize(const struct ds_gguf *gguf)
{
	static const char text[] = "The quick brown fox, 123 \xE4\xBD\xA0\xE5\xA5\xBD \xFF\xC3";
	struct ds_tokens tokens = {0};
	struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	struct ds_err err;

	if (ds_tokenizer_open_gguf(&tok, gguf, &err) != DS_OK) {
		assert(err.message[0]);
		return;
	}
	if (ds_encoder_new(&enc, tok, &err) == DS_OK) {
		if (ds_encode(enc, text, sizeof text - 1, DS_ENCODE_SPECIAL | DS_ENCODE_AFFIX,
			      &tokens, &err) == DS_OK)
			for (size_t i = 0; i < tokens.n; i++)
				assert(tokens.id[i] < ds_tokenizer_size(tok));
		ds_encoder_free(enc);
	}
	ds_tokens_fini(&tokens);
	ds_tokenizer_close(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_gguf gguf;
	struct ds_err err;

	if (ds_gguf_open_memory(&gguf, data, size, "fuzz", &err) != DS_OK) {
		assert(err.message[0]);
		return 0;
	}
	for (size_t i = 0; i < gguf.n_kv; i++)
		read_key(&gguf, &gguf.kv[i]);
	for (size_t i = 0; i < gguf.n_tensor; i++)
		if (gguf.tensor[i].data)
			touch(gguf.tensor[i].data, gguf.tensor[i].bytes);
	if (ds_gguf_find(&gguf, "tokenizer.ggml.model"))
		tokenize(&gguf);
	ds_gguf_close(&gguf);
	return 0;
}
