/*
 * policy_window.c - a window, alone or with some tokens before it
 *
 * Tokens before the last query's window are far: whoever chose them sees them from the whole page.
 * What lies after is near, and each query's window masks it.  Where a page's windows end, a block
 * may be in both lists, with the chosen tokens in the one and the others in the other.
 */
#include <string.h>

#include "attn/choose.h"

#define PAGE_BLOCKS (DS_ATTN8_PAGE / DS_ATTN8_BLOCK)

static size_t first_key(uint32_t window, size_t pos)
{
	return window && pos >= window ? pos - window + 1 : 0;
}

/* The tokens of a block that lie before position end. */
static uint16_t before(size_t block, size_t end)
{
	size_t begin = block * DS_ATTN8_BLOCK;

	if (end >= begin + DS_ATTN8_BLOCK)
		return UINT16_MAX;
	return end <= begin ? 0 : (uint16_t)((1u << (end - begin)) - 1);
}

void ds_attn_choose_window(struct ds_attn_choice *choice, size_t page, uint32_t window)
{
	size_t first = first_key(window, page * DS_ATTN8_PAGE) / DS_ATTN8_PAGE;

	choice->far = (struct ds_block_list){0};
	choice->near = (struct ds_block_list){.n = (page - first) * PAGE_BLOCKS,
					      .block = choice->all_block + first * PAGE_BLOCKS};
	choice->window = window;
	choice->apart = false;
}

void ds_attn_choose_all(struct ds_attn_choice *choice, size_t page)
{
	ds_attn_choose_window(choice, page, 0);
}

size_t ds_attn_choose_far(struct ds_attn_choice *choice, size_t end, ds_attn_chosen_fn *chosen,
			  const void *user)
{
	size_t n = 0, n_token = 0;

	for (size_t b = 0; b * DS_ATTN8_BLOCK < end; b++) {
		uint16_t tokens = chosen(user, b) & before(b, end);

		if (!tokens)
			continue;
		choice->far_block[n] = (uint32_t)b;
		choice->far_tokens[n++] = tokens;
		n_token += (size_t)__builtin_popcount(tokens);
	}
	choice->far = (struct ds_block_list){n, choice->far_block, choice->far_tokens};
	return n_token;
}

void ds_attn_choose_beside(struct ds_attn_choice *choice, size_t page, uint32_t window,
			   ds_attn_chosen_fn *chosen, const void *user)
{
	/* what the last query of the page does not see any more */
	size_t end = first_key(window, (page + 1) * DS_ATTN8_PAGE - 1);
	size_t n_far;

	ds_attn_choose_window(choice, page, window);
	if (end > page * DS_ATTN8_PAGE)
		end = page * DS_ATTN8_PAGE;
	if (end == 0)
		return;
	n_far = ds_attn_choose_far(choice, end, chosen, user);
	if (n_far == end) {
		ds_attn_choose_all(choice, page);
		return;
	}
	if (n_far == 0)
		return;
	memset(choice->near_tokens, 0xFF, choice->near.n * sizeof *choice->near_tokens);
	for (size_t i = 0, b = *choice->near.block; b * DS_ATTN8_BLOCK < end; i++, b++)
		choice->near_tokens[i] &= (uint16_t) ~(chosen(user, b) & before(b, end));
	choice->near.tokens = choice->near_tokens;
}
