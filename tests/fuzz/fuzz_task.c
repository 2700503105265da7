/*
 * fuzz_task.c - foreign text on its way into a prompt and out of an answer
 *
 * Any bytes: as a template text, as a document whose special tokens must stay text, as an answer
 * cut into pieces (the same leaves as in one piece), as an outline.
 */
#include <assert.h>
#include <string.h>

#include "task/answer.h"
#include "task/chat.h"
#include "task/chat_families.h"
#include "task/outline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ds_tokenizer *tok;
static struct ds_encoder *enc;

/* <tool> is found by ordinary encoding, <|end|> is a control token. */
static const struct ds_chat_family family = {
	.name = "fuzz",
	.head = "",
	.system = "{<tool>}%{<|end|>}",
	.user = "{<tool>}user\n%{<|end|>}\n",
};

static void check_chat(const uint8_t *data, size_t size)
{
	struct ds_chat chat = {.family = &family}, found;
	struct ds_turn turn = {.text = {{data, size}}, .n_text = 1};
	struct ds_chat_parts parts = {0};
	struct ds_tokens tokens = {0};
	struct ds_buf text = {0};
	unsigned tools = 0, ends = 0;
	struct ds_err err;

	(void)ds_chat_find(&found, NULL, (const char *)data, size, &err);
	assert(ds_chat_render(&chat, &turn, &parts, &err) == DS_OK);
	assert(ds_chat_encode(&chat, &parts, tok, enc, &tokens, &err) == DS_OK);
	for (size_t i = 1; i < tokens.n; i++) {
		tools += tokens.id[i] == ds_tokenizer_find(tok, "<tool>", 6);
		ends += tokens.id[i] == ds_tokenizer_find(tok, "<|end|>", 7);
	}
	assert(tools == 1 && ends == 1);
	/* nothing is lost: BOS, then the bytes of the parts */
	assert(ds_decode(tok, tokens.id + 1, tokens.n - 1, DS_ENCODE_SPECIAL, &text, &err) ==
	       DS_OK);
	assert(text.len == parts.bytes.len && memcmp(text.data, parts.bytes.data, text.len) == 0);
	ds_chat_parts_fini(&parts);
	ds_tokens_fini(&tokens);
	ds_buf_fini(&text);
}

static enum ds_status take(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	return ds_buf_append(user, bytes, n, err);
}

/* The first byte is the length of a stop string, the second that of the pieces. */
static void check_answer(const uint8_t *data, size_t size)
{
	struct ds_part stop = {data + 2, data[0] % 8};
	size_t piece = (size_t)data[1] % 7 + 1;
	struct ds_buf whole = {0}, pieces = {0};
	struct ds_answer a = {.stop = &stop, .take = take, .user = &whole}, b = a;
	struct ds_err err;

	if (stop.len + 2 > size)
		return;
	data += 2 + stop.len;
	size -= 2 + stop.len;
	a.n_stop = b.n_stop = stop.len > 0;
	b.user = &pieces;
	assert(ds_answer_push(&a, data, size, &err) == DS_OK);
	for (size_t i = 0; i < size; i += piece)
		assert(ds_answer_push(&b, data + i, size - i < piece ? size - i : piece, &err) ==
		       DS_OK);
	assert(a.stopped == b.stopped);
	assert(ds_answer_end(&a, &err) == DS_OK && ds_answer_end(&b, &err) == DS_OK);
	assert(whole.len == pieces.len);
	assert(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	assert(!stop.len || !whole.len || !memmem(whole.data, whole.len, stop.bytes, stop.len));
	ds_answer_fini(&a);
	ds_answer_fini(&b);
	ds_buf_fini(&whole);
	ds_buf_fini(&pieces);
}

static void check_outline(const uint8_t *data, size_t size)
{
	struct ds_part point[DS_POINTS_MAX];
	size_t n = ds_outline_points(data, size, point, DS_POINTS_MAX);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = point[i].bytes;

		assert(point[i].len && p >= data && p + point[i].len <= data + size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_err err;

	/* from the top of the tree, where the tests run */
	if (!enc && (ds_tokenizer_open(&tok, "tests/data/tiny-bpe.gguf", &err) != DS_OK ||
		     ds_encoder_new(&enc, tok, &err) != DS_OK))
		return 0;
	check_chat(data, size);
	check_outline(data, size);
	if (size >= 2)
		check_answer(data, size);
	return 0;
}
