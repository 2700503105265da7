/*
 * policy_keys.c - a window and the tokens that end paragraphs, sentences and clauses
 */
#include <string.h>

#include "attn/choose.h"

#define KEY_BLOCKS (DS_ATTN_KEY_TOKENS / DS_ATTN8_BLOCK)

/* Of up to 512 tokens: the first n_key by class, then position. */
static void choose_of(const uint8_t *boundaries, size_t n, unsigned n_key,
		      uint16_t tokens[KEY_BLOCKS])
{
	memset(tokens, 0, KEY_BLOCKS * sizeof *tokens);
	for (int class = DS_ATTN_PARAGRAPH; class <= DS_ATTN_CLAUSE; class ++)
		for (size_t i = 0; i < n && n_key; i++)
			if (boundaries[i] == class) {
				tokens[i / DS_ATTN8_BLOCK] |= (uint16_t)(1u << i % DS_ATTN8_BLOCK);
				n_key--;
			}
}

void ds_attn_keys_note(struct ds_attn_keys *keys, size_t n)
{
	for (; (keys->n_done + 1) * DS_ATTN_KEY_TOKENS <= n; keys->n_done++)
		choose_of(keys->boundaries + keys->n_done * DS_ATTN_KEY_TOKENS, DS_ATTN_KEY_TOKENS,
			  keys->n_key, keys->tokens + keys->n_done * KEY_BLOCKS);
}

void ds_attn_keys_forget(struct ds_attn_keys *keys, size_t n)
{
	if (keys->n_done > n / DS_ATTN_KEY_TOKENS)
		keys->n_done = n / DS_ATTN_KEY_TOKENS;
}

/* Before a page: whole blocks of 512, and the one that it lies in. */
struct before_page {
	const struct ds_attn_keys *keys;
	size_t last;
	uint16_t tokens[KEY_BLOCKS]; /* of that one */
};

static struct before_page look_back(const struct ds_attn_keys *keys, size_t page)
{
	size_t end = page * DS_ATTN8_PAGE, last = end / DS_ATTN_KEY_TOKENS;
	struct before_page b = {.keys = keys, .last = last};

	choose_of(keys->boundaries + last * DS_ATTN_KEY_TOKENS, end % DS_ATTN_KEY_TOKENS,
		  keys->n_key, b.tokens);
	return b;
}

static uint16_t is_key(const void *user, size_t block)
{
	const struct before_page *b = user;
	size_t begin = block * DS_ATTN8_BLOCK, sinks = b->keys->sinks;
	uint16_t tokens = block / KEY_BLOCKS < b->last ? b->keys->tokens[block]
						       : b->tokens[block % KEY_BLOCKS];

	if (sinks > begin)
		tokens |= sinks - begin < DS_ATTN8_BLOCK ? (uint16_t)((1u << (sinks - begin)) - 1)
							 : UINT16_MAX;
	return tokens;
}

void ds_attn_choose_keys(struct ds_attn_choice *choice, size_t page,
			 const struct ds_attn_keys *keys, uint32_t window)
{
	struct before_page b = look_back(keys, page);

	ds_attn_choose_beside(choice, page, window, is_key, &b);
}

void ds_attn_choose_keys_apart(struct ds_attn_choice *choice, size_t page,
			       const struct ds_attn_keys *keys, uint32_t window)
{
	struct before_page b = look_back(keys, page);

	ds_attn_choose_window(choice, page, window);
	ds_attn_choose_far(choice, page * DS_ATTN8_PAGE, is_key, &b);
	choice->apart = true;
}
