/*
 * policy_stream.c - the first tokens and a window (Xiao et al., "Efficient Streaming Language
 * Models with Attention Sinks", arXiv:2309.17453), positions as they are
 */
#include "attn/choose.h"

static uint16_t is_sink(const void *user, size_t block)
{
	size_t sinks = *(const size_t *)user, begin = block * DS_ATTN8_BLOCK;

	if (sinks >= begin + DS_ATTN8_BLOCK)
		return UINT16_MAX;
	return sinks <= begin ? 0 : (uint16_t)((1u << (sinks - begin)) - 1);
}

void ds_attn_choose_stream(struct ds_attn_choice *choice, size_t page, size_t sinks,
			   uint32_t window)
{
	ds_attn_choose_beside(choice, page, window, is_sink, &sinks);
}
