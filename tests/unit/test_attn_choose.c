/*
 * test_attn_choose.c - what policies choose by position and text, token by token against their
 * definitions
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "attn/choose.h"

#define TOKENS 2368
#define PAGES (TOKENS / 64)
#define BLOCKS (TOKENS / 16)

static uint8_t boundaries[TOKENS];
static uint32_t all_block[BLOCKS], far_block[BLOCKS];
static uint16_t far_tokens[BLOCKS], near_tokens[BLOCKS], key_tokens[BLOCKS];

static struct ds_attn_choice memory(void)
{
	uint64_t seed = 5;

	for (size_t i = 0; i < BLOCKS; i++)
		all_block[i] = (uint32_t)i;
	for (size_t i = 0; i < TOKENS; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		/* an even share of each class; and stretches of no boundary, or of nothing else */
		boundaries[i] = (uint8_t)(seed >> 40 & 31) < 6 ? (uint8_t)(seed >> 50 & 3) : 0;
		if (i / 512 == 1)
			boundaries[i] = 0;
		if (i / 512 == 2)
			boundaries[i] = DS_ATTN_CLAUSE;
	}
	memset(far_tokens, 0xAA, sizeof far_tokens);
	memset(near_tokens, 0xAA, sizeof near_tokens);
	memset(key_tokens, 0xAA, sizeof key_tokens);
	return (struct ds_attn_choice){.all_block = all_block,
				       .far_block = far_block,
				       .far_tokens = far_tokens,
				       .near_tokens = near_tokens};
}

/* How often a list shows each token to a query whose keys begin at first. */
static void show(const struct ds_block_list *list, size_t first, uint8_t *times)
{
	for (size_t i = 0; i < list->n; i++) {
		if (i && list->block[i] <= list->block[i - 1])
			ck_abort_msg("the list is not ascending");
		for (size_t t = 0; t < 16; t++)
			if (list->block[i] * 16 + t >= first &&
			    (!list->tokens || list->tokens[i] >> t & 1))
				times[list->block[i] * 16 + t]++;
	}
}

static size_t first_key(uint32_t window, size_t pos)
{
	return window && pos >= window ? pos - window + 1 : 0;
}

/* The key tokens before a page, by the definition. */
static void find_keys(size_t page, unsigned n_key, size_t sinks, uint8_t *is_key)
{
	memset(is_key, 0, TOKENS);
	for (size_t begin = 0; begin < page * 64; begin += 512) {
		unsigned n = 0;

		for (int class = 1; class <= 3; class ++)
			for (size_t i = begin; i < begin + 512 && i < page * 64; i++)
				if (boundaries[i] == class && n < n_key) {
					is_key[i] = 1;
					n++;
				}
	}
	for (size_t i = 0; i < sinks && i < page * 64; i++)
		is_key[i] = 1;
}

static const uint8_t no_token[TOKENS];

/* Each of n keys is shown once, to who chose it or has it in the window, or never. */
static void check_times(const uint8_t *times, size_t n, size_t pos, uint32_t window,
			const uint8_t *chosen)
{
	for (size_t k = 0; k < n; k++)
		if (times[k] != (chosen[k] || k + window > pos))
			ck_abort_msg("window %u, query %zu, key %zu: %u times", window, pos, k,
				     times[k]);
}

static const uint32_t windows[] = {64, 65, 100, 127, 128, 129, 191, 512, 1000, 2303, 2368, 5000};
#define N_WINDOW (sizeof windows / sizeof *windows)

START_TEST(test_window)
{
	struct ds_attn_choice choice = memory();
	static const uint32_t small[] = {1, 2, 63};

	for (size_t w = 0; w < N_WINDOW + 3; w++)
		for (size_t page = 0; page < PAGES; page++) {
			uint32_t window = w < N_WINDOW ? windows[w] : small[w - N_WINDOW];

			ds_attn_choose_window(&choice, page, window);
			ck_assert_uint_eq(choice.far.n, 0);
			for (size_t pos = page * 64; pos < page * 64 + 64; pos += 9) {
				uint8_t times[TOKENS] = {0};
				size_t first = first_key(choice.window, pos);

				show(&choice.near, first, times);
				check_times(times, page * 64, pos, window, no_token);
			}
		}
}
END_TEST

/* Chosen tokens and the window, each once. */
static void check_beside(const struct ds_attn_choice *choice, size_t page, uint32_t window,
			 const uint8_t *chosen)
{
	for (size_t pos = page * 64; pos < page * 64 + 64; pos += 9) {
		uint8_t times[TOKENS] = {0};

		show(&choice->far, 0, times);
		show(&choice->near, first_key(choice->window, pos), times);
		check_times(times, page * 64, pos, window, chosen);
	}
}

START_TEST(test_stream)
{
	static const size_t sinks[] = {0, 1, 4, 15, 16, 17, 64, 100, 1000, 3000};
	struct ds_attn_choice choice = memory();

	for (size_t s = 0; s < sizeof sinks / sizeof *sinks; s++)
		for (size_t w = 0; w < N_WINDOW; w++)
			for (size_t page = 0; page < PAGES; page++) {
				uint8_t chosen[TOKENS] = {0};

				memset(chosen, 1, sinks[s] < TOKENS ? sinks[s] : TOKENS);
				ds_attn_choose_stream(&choice, page, sinks[s], windows[w]);
				check_beside(&choice, page, windows[w], chosen);
				if (sinks[s] >= page * 64)
					ck_assert(!choice.far.n && !choice.near.tokens);
			}
}
END_TEST

static const unsigned n_keys[] = {0, 1, 5, 32, 51, 512};

START_TEST(test_keys)
{
	struct ds_attn_choice choice = memory();
	unsigned n_key = n_keys[_i];
	size_t sinks = _i % 2 ? 4 : 0;

	struct ds_attn_keys keys = {
		.n_key = n_key, .sinks = sinks, .boundaries = boundaries, .tokens = key_tokens};

	for (size_t page = 0; page < PAGES; page++) {
		uint8_t is_key[TOKENS];

		find_keys(page, n_key, sinks, is_key);
		ds_attn_keys_note(&keys, page * 64 + 64);
		for (size_t w = 0; w < N_WINDOW; w++) {
			ds_attn_choose_keys(&choice, page, &keys, windows[w]);
			check_beside(&choice, page, windows[w], is_key);
		}
	}
}
END_TEST

START_TEST(test_keys_apart)
{
	struct ds_attn_choice choice = memory();
	struct ds_attn_keys keys = {
		.n_key = n_keys[_i], .boundaries = boundaries, .tokens = key_tokens};

	ds_attn_keys_note(&keys, TOKENS);
	for (size_t page = 0; page < PAGES; page++) {
		uint8_t is_key[TOKENS], times[TOKENS] = {0};

		find_keys(page, n_keys[_i], 0, is_key);
		ds_attn_choose_keys_apart(&choice, page, &keys, 100);
		show(&choice.far, 0, times);
		ck_assert_mem_eq(times, is_key, TOKENS);
		memset(times, 0, sizeof times);
		show(&choice.near, first_key(choice.window, page * 64 + 7), times);
		check_times(times, page * 64, page * 64 + 7, 100, no_token);
	}
}
END_TEST

START_TEST(test_keys_are_forgotten)
{
	static uint16_t want[BLOCKS];
	struct ds_attn_choice choice = memory();
	struct ds_attn_keys keys = {.n_key = 32, .boundaries = boundaries, .tokens = key_tokens};

	(void)choice;
	ds_attn_keys_note(&keys, TOKENS);
	memcpy(want, key_tokens, sizeof want);
	memset(boundaries + 700, DS_ATTN_SENTENCE, TOKENS - 700);
	ds_attn_keys_forget(&keys, 700);
	ck_assert_uint_eq(keys.n_done, 1);
	ds_attn_keys_note(&keys, TOKENS);
	ck_assert_uint_eq(keys.n_done, TOKENS / 512);
	ck_assert_mem_eq(key_tokens, want, 32 * sizeof *want);
	ck_assert_mem_ne(key_tokens, want, sizeof want);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attn_choose");
	TCase *tc = tcase_create("tokens");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_window);
	tcase_add_test(tc, test_stream);
	tcase_add_loop_test(tc, test_keys, 0, (int)(sizeof n_keys / sizeof *n_keys));
	tcase_add_loop_test(tc, test_keys_apart, 0, (int)(sizeof n_keys / sizeof *n_keys));
	tcase_add_test(tc, test_keys_are_forgotten);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
