/*
 * choose.h - the policies that choose by position and text (internal to lib/attn)
 *
 * A choice is made for the queries of one page, and lists what lies before that page.  It depends
 * on the page alone, not on which of its queries are asked for.
 */
#ifndef DS_ATTN_CHOOSE_H
#define DS_ATTN_CHOOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/policy.h"
#include "kern/attn8.h"

/* Key tokens are chosen in blocks of text of so many tokens. */
#define DS_ATTN_KEY_TOKENS 512

struct ds_attn_choice {
	/* for all queries of the page */
	struct ds_block_list far;
	/* for those that see so far back: a query sees itself and window - 1 tokens before it; 0:
	 * all of the list.  No token is in both lists, unless they are summed apart. */
	struct ds_block_list near;
	uint32_t window;
	bool apart; /* a softmax of its own for the far list */
	/* [blocks of the context] for both lists */
	uint32_t *far_block;
	const uint32_t *all_block; /* 0, 1, 2, ... */
	uint16_t *far_tokens, *near_tokens;
};

/* Bit t: token t of a block of 16 is chosen, wherever the window ends. */
typedef uint16_t ds_attn_chosen_fn(const void *user, size_t block);

/* All before the page. */
void ds_attn_choose_all(struct ds_attn_choice *choice, size_t page);
/* The far list: chosen tokens before position end; returns how many. */
size_t ds_attn_choose_far(struct ds_attn_choice *choice, size_t end, ds_attn_chosen_fn *chosen,
			  const void *user);
/* The window, and chosen tokens before it; window >= 64. */
void ds_attn_choose_beside(struct ds_attn_choice *choice, size_t page, uint32_t window,
			   ds_attn_chosen_fn *chosen, const void *user);
void ds_attn_choose_window(struct ds_attn_choice *choice, size_t page, uint32_t window);
/* The first tokens, and the window. */
void ds_attn_choose_stream(struct ds_attn_choice *choice, size_t page, size_t sinks,
			   uint32_t window);

/*
 * Key tokens: of every 512 tokens the first n_key in the order of their class (enum
 * ds_attn_boundary), then of their position.  Whole blocks of 512 are chosen once; in the one that
 * a page lies in, among the tokens before the page.
 */
struct ds_attn_keys {
	unsigned n_key;		   /* of 512 tokens */
	size_t sinks;		   /* the first tokens are key tokens besides */
	const uint8_t *boundaries; /* [tokens] enum ds_attn_boundary */
	uint16_t *tokens;	   /* [blocks of the context] bit t: token t is a key token */
	size_t n_done;		   /* blocks of 512 that are in there */
};
/* Blocks of 512 that end at or before token n are chosen. */
void ds_attn_keys_note(struct ds_attn_keys *keys, size_t n);
/* Tokens from n on will be others. */
void ds_attn_keys_forget(struct ds_attn_keys *keys, size_t n);
/* The window, and key tokens before it. */
void ds_attn_choose_keys(struct ds_attn_choice *choice, size_t page,
			 const struct ds_attn_keys *keys, uint32_t window);
/* The window, and apart from it all key tokens before the page. */
void ds_attn_choose_keys_apart(struct ds_attn_choice *choice, size_t page,
			       const struct ds_attn_keys *keys, uint32_t window);

#endif
