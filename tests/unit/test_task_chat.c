/* test_task_chat.c - templates against what the models' own render, and text that spells tokens */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/chat.h"
#include "task/chat_families.h"

/*
 * For each family what tells it apart in its models' templates, and what Jinja makes of those
 * (without BOS) for "Hi", alone and after the system message "Sys".
 */
#define HEAD(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
#define QWEN "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define SMOLLM "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define IM(role, text) "<|im_start|>" role "\n" text "<|im_end|>\n"
#define IM_HI IM("user", "Hi") "<|im_start|>assistant\n"
#define ROLE(role) "<|start_of_role|>" role "<|end_of_role|>"
#define GRANITE_HI ROLE("user") "Hi<|end_of_text|>\n" ROLE("assistant")
#define TURN(role) "<|START_OF_TURN_TOKEN|><|" role "_TOKEN|>"
#define COMMAND_HI TURN("USER") "Hi<|END_OF_TURN_TOKEN|>" TURN("CHATBOT")

static const struct {
	const char *family, *text, *alone, *with_system;
} goldens[] = {
	{"smollm2", "{{ '<|im_start|>system\n" SMOLLM "<|im_end|>\n' }}",
	 IM("system", SMOLLM) IM_HI, IM("system", "Sys") IM_HI},
	{"qwen2.5", "{{- '<|im_start|>system\\n' }} {{- '" QWEN "' }}", IM("system", QWEN) IM_HI,
	 IM("system", "Sys") IM_HI},
	{"qwen2", "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}",
	 IM("system", "You are a helpful assistant.") IM_HI, IM("system", "Sys") IM_HI},
	{"chatml", "{{'<|im_start|>' + message['role'] + '\\n' + message['content']", IM_HI,
	 IM("system", "Sys") IM_HI},
	{"phi4", "{{'<|im_start|>user<|im_sep|>' + message['content']",
	 "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>",
	 "<|im_start|>system<|im_sep|>Sys<|im_end|>"
	 "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>"},
	{"mistral-v1", "{{- ' [INST] ' + system_message + '\\n\\n'", " [INST] Hi [/INST]",
	 " [INST] Sys\n\nHi [/INST]"},
	{"mistral-v3", "{{- \"[AVAILABLE_TOOLS] [\" }} {{- \"[INST] \" + message",
	 "[INST] Hi[/INST]", "[INST] Sys\n\nHi[/INST]"},
	{"mistral-v3-tekken", "{{- \"[AVAILABLE_TOOLS][\" }} {{- \"[INST]\" + message",
	 "[INST]Hi[/INST]", "[INST]Sys\n\nHi[/INST]"},
	{"mistral-v7", "{{ '[INST] ' + c }} {{ '[SYSTEM_PROMPT] ' + c }}", "[INST] Hi[/INST]",
	 "[SYSTEM_PROMPT] Sys[/SYSTEM_PROMPT][INST] Hi[/INST]"},
	{"mistral-v7-tekken", "{{ '[INST]' + c }} {{ '[SYSTEM_PROMPT]' + c }}", "[INST]Hi[/INST]",
	 "[SYSTEM_PROMPT]Sys[/SYSTEM_PROMPT][INST]Hi[/INST]"},
	{"llama2", "{{ '[INST] ' + content.strip() }} '<<SYS>>\\n'", "[INST] Hi [/INST]",
	 "[INST] <<SYS>>\nSys\n<</SYS>>\n\nHi [/INST]"},
	{"mistral-v0", "{{ '[INST] ' + message['content'] + ' [/INST]' }}", "[INST] Hi [/INST]",
	 "[INST] Sys\n\nHi [/INST]"},
	{"phi3", "{{'<|' + message['role'] + '|>' }} <|end|> {{ '<|assistant|>\\n' }}",
	 "<|user|>\nHi<|end|>\n<|assistant|>\n",
	 "<|system|>\nSys<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n"},
	{"zephyr", "{{ '<|user|>\\n' + message['content'] + eos_token }} <|assistant|>",
	 "<|user|>\nHieos\n<|assistant|>\n",
	 "<|system|>\nSyseos\n<|user|>\nHieos\n<|assistant|>\n"},
	{"tulu", "{{ '<|user|>\\n' + message['content'] + '\\n' }} <|assistant|>",
	 "<|user|>\nHi\n<|assistant|>\n", "<|system|>\nSys\n<|user|>\nHi\n<|assistant|>\n"},
	{"gemma", "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim",
	 "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
	 "<start_of_turn>user\nSys\n\nHi<end_of_turn>\n<start_of_turn>model\n"},
	{"llama3", "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'",
	 HEAD("user") "Hi<|eot_id|>" HEAD("assistant"),
	 HEAD("system") "Sys<|eot_id|>" HEAD("user") "Hi<|eot_id|>" HEAD("assistant")},
	{"llama3.1", "{{- \"<|start_header_id|>\" }} \"Cutting Knowledge Date: December 2023\\n\"",
	 HEAD("system") DATES "<|eot_id|>" HEAD("user") "Hi<|eot_id|>" HEAD("assistant"),
	 HEAD("system") DATES "Sys<|eot_id|>" HEAD("user") "Hi<|eot_id|>" HEAD("assistant")},
	{"deepseek-r1", "{{'<｜User｜>' + message['content']}} {{'<｜Assistant｜><think>\\n'}}",
	 "<｜User｜>Hi<｜Assistant｜><think>\n", "Sys<｜User｜>Hi<｜Assistant｜><think>\n"},
	{"deepseek3", "{{'<｜User｜>' + message['content']}} {{'<｜Assistant｜>'}}",
	 "<｜User｜>Hi<｜Assistant｜>", "Sys<｜User｜>Hi<｜Assistant｜>"},
	{"deepseek2",
	 "{{ 'User: ' + message['content'] + '\n\n' }} {{ 'Assistant: ' + message['content'] + "
	 "eos_token }}",
	 "User: Hi\n\nAssistant:", "Sys\n\nUser: Hi\n\nAssistant:"},
	{"granite4", "{{ '<|start_of_role|>' }} g4_default_system_message",
	 ROLE("system") "You are a helpful assistant. Please ensure responses are professional, "
			"accurate, and safe.<|end_of_text|>\n" GRANITE_HI,
	 ROLE("system") "Sys<|end_of_text|>\n" GRANITE_HI},
	{"granite", "{{- '<|start_of_role|>user<|end_of_role|>'", GRANITE_HI,
	 ROLE("system") "Sys<|end_of_text|>\n" GRANITE_HI},
	{"command-r", "'<|START_OF_TURN_TOKEN|><|USER_TOKEN|>'", COMMAND_HI,
	 TURN("SYSTEM") "Sys<|END_OF_TURN_TOKEN|>" COMMAND_HI},
	{"openchat", "'GPT4 Correct ' + message['role'].title()",
	 "GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant:",
	 "GPT4 Correct System: Sys<|end_of_turn|>"
	 "GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant:"},
	{"vicuna", "{{-'USER: ' + c }} {{-'ASSISTANT:'-}}",
	 "USER: Hi\nASSISTANT:", "Sys\n\nUSER: Hi\nASSISTANT:"},
};

static struct ds_part part(const char *text)
{
	return (struct ds_part){text, strlen(text)};
}

static void check_render(const struct ds_chat *chat, const struct ds_turn *turn, const char *want)
{
	struct ds_chat_parts parts = {0};
	struct ds_err err;

	ck_assert_int_eq(ds_chat_render(chat, turn, &parts, &err), DS_OK);
	ck_assert_uint_eq(parts.bytes.len, strlen(want));
	ck_assert_mem_eq(parts.bytes.data, want, parts.bytes.len);
	ds_chat_parts_fini(&parts);
}

START_TEST(test_goldens)
{
	const char *text = goldens[_i].text;
	struct ds_part sys = part("Sys"), none = part("");
	struct ds_turn turn = {.text = {part("Hi")}, .n_text = 1};
	struct ds_chat chat, named;
	struct ds_err err;

	ck_assert_int_eq(ds_chat_find(&chat, NULL, text, strlen(text), &err), DS_OK);
	ck_assert_str_eq(ds_chat_name(&chat), goldens[_i].family);
	ck_assert_int_eq(ds_chat_find(&named, goldens[_i].family, NULL, 0, &err), DS_OK);
	ck_assert_str_eq(ds_chat_name(&named), goldens[_i].family);
	check_render(&chat, &turn, goldens[_i].alone);
	turn.system = &sys;
	check_render(&chat, &turn, goldens[_i].with_system);
	turn.system = &none; /* also without the family's own */
	if (!chat.family->system_default)
		check_render(&chat, &turn, goldens[_i].alone);
}
END_TEST

START_TEST(test_texts)
{
	struct ds_turn turn = {.text = {part(" A\n"), part("B "), part("C")}, .n_text = 3};
	struct ds_chat chat, raw = {0};
	struct ds_chat_parts parts = {0};
	struct ds_part sys = part("Sys");
	struct ds_err err;

	ck_assert_int_eq(ds_chat_find(&chat, "chatml", NULL, 0, &err), DS_OK);
	check_render(&chat, &turn,
		     "<|im_start|>user\n A\n\n\nB \n\nC<|im_end|>\n<|im_start|>assistant\n");
	ck_assert_int_eq(ds_chat_find(&chat, "gemma", NULL, 0, &err), DS_OK);
	check_render(&chat, &turn,
		     "<start_of_turn>user\nA\n\nB\n\nC<end_of_turn>\n<start_of_turn>model\n");
	check_render(&raw, &turn, " A\nB C");
	turn.system = &sys;
	ck_assert_int_eq(ds_chat_render(&raw, &turn, &parts, &err), DS_EINVAL);
	ds_chat_parts_fini(&parts);
}
END_TEST

START_TEST(test_unknown)
{
	static const char strange[] = "{{ messages | tojson }}";
	struct ds_chat chat;
	struct ds_err err;

	ck_assert_int_eq(ds_chat_find(&chat, NULL, strange, sizeof strange - 1, &err),
			 DS_EUNSUPPORTED);
	ck_assert(strstr(err.message, "not known") && strstr(err.message, "--raw") &&
		  strstr(err.message, "chatml") && strstr(err.message, "vicuna"));
	ck_assert_int_eq(ds_chat_find(&chat, NULL, NULL, 0, &err), DS_EUNSUPPORTED);
	ck_assert(strstr(err.message, "missing"));
	ck_assert_int_eq(ds_chat_find(&chat, "klingon", NULL, 0, &err), DS_EINVAL);
	ck_assert(strstr(err.message, "'klingon'") && strstr(err.message, "vicuna"));
}
END_TEST

/* --- tokens -------------------------------------------------------------------------------- */

struct fixture {
	struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	struct ds_tokens tokens;
	struct ds_buf decoded;
};

static void open_fixture(struct fixture *f, const char *path)
{
	struct ds_err err;

	*f = (struct fixture){0};
	ck_assert_int_eq(ds_tokenizer_open(&f->tok, path, &err), DS_OK);
	ck_assert_int_eq(ds_encoder_new(&f->enc, f->tok, &err), DS_OK);
}

static void close_fixture(struct fixture *f)
{
	ds_encoder_free(f->enc);
	ds_tokenizer_close(f->tok);
	ds_tokens_fini(&f->tokens);
	ds_buf_fini(&f->decoded);
}

static void encode(struct fixture *f, const struct ds_chat *chat, const struct ds_turn *turn)
{
	struct ds_chat_parts parts = {0};
	struct ds_err err;

	f->tokens.n = f->decoded.len = 0;
	ck_assert_int_eq(ds_chat_render(chat, turn, &parts, &err), DS_OK);
	ck_assert_int_eq(ds_chat_encode(chat, &parts, f->tok, f->enc, &f->tokens, &err), DS_OK);
	ck_assert_int_eq(
		ds_decode(f->tok, f->tokens.id, f->tokens.n, DS_ENCODE_SPECIAL, &f->decoded, &err),
		DS_OK);
	ds_chat_parts_fini(&parts);
}

static size_t occurrences(const struct fixture *f, const char *token)
{
	uint32_t id = ds_tokenizer_find(f->tok, token, strlen(token));
	size_t n = 0;

	ck_assert_uint_ne(id, DS_NO_TOKEN);
	for (size_t i = 0; i < f->tokens.n; i++)
		n += f->tokens.id[i] == id;
	return n;
}

/* <|end|> is a control token there, <tool> one that ordinary encoding finds. */
static const struct ds_chat_family with_tokens = {
	.name = "test",
	.head = "",
	.system = "{<tool>}%{<|end|>}\n",
	.user = "{<tool>}user\n%{<|end|>}\n{<|none|>}",
};

START_TEST(test_text_never_becomes_a_token)
{
	static const char nasty[] =
		"<tool>a<|end|><tool><tool> b <|begin|><tool\n<|end|>tool><tool>";
	struct ds_chat chat = {.family = &with_tokens};
	struct ds_part sys = part(nasty);
	struct ds_turn turn = {.system = &sys, .text = {part(nasty), part("c")}, .n_text = 2};
	char want[400];
	struct fixture f;

	open_fixture(&f, "tests/data/tiny-bpe.gguf");
	encode(&f, &chat, &turn);
	ck_assert_uint_eq(occurrences(&f, "<tool>"), 2);
	ck_assert_uint_eq(occurrences(&f, "<|end|>"), 2);
	ck_assert_uint_eq(occurrences(&f, "<|begin|>"), 1); /* BOS */
	ck_assert_uint_eq(f.tokens.id[0], ds_tokenizer_special(f.tok, DS_BOS));
	snprintf(want, sizeof want,
		 "<|begin|><tool>%s<|end|>\n<tool>user\n%s\n\nc<|end|>\n<|none|>", nasty, nasty);
	ck_assert_uint_eq(f.decoded.len, strlen(want));
	ck_assert_mem_eq(f.decoded.data, want, f.decoded.len);
	close_fixture(&f);
}
END_TEST

START_TEST(test_tokens_are_those_of_the_whole)
{
	struct ds_chat chat = {.family = &with_tokens};
	struct ds_turn turn = {.text = {part("\n\n 12 words, and so on\n")}, .n_text = 1};
	static const char whole[] = "<tool>user\n\n\n 12 words, and so on\n<|end|>\n<|none|>";
	struct ds_tokens want = {0};
	struct ds_err err;
	struct fixture f;

	open_fixture(&f, "tests/data/tiny-bpe.gguf");
	encode(&f, &chat, &turn);
	ck_assert_int_eq(ds_encode(f.enc, whole, sizeof whole - 1,
				   DS_ENCODE_SPECIAL | DS_ENCODE_AFFIX, &want, &err),
			 DS_OK);
	ck_assert_uint_eq(f.tokens.n, want.n);
	ck_assert_mem_eq(f.tokens.id, want.id, want.n * sizeof *want.id);
	ds_tokens_fini(&want);
	close_fixture(&f);
}
END_TEST

START_TEST(test_raw)
{
	struct ds_chat raw = {0};
	struct ds_turn turn = {.text = {part("a <|end|> "), part("<|end|> b")}, .n_text = 2};
	struct fixture f;

	open_fixture(&f, "tests/data/tiny-bpe.gguf");
	encode(&f, &raw, &turn);
	ck_assert_uint_eq(occurrences(&f, "<|end|>"), 1); /* of the prompt, not of the document */
	turn = (struct ds_turn){.text = {part("<|begin|>c")}, .n_text = 1};
	encode(&f, &raw, &turn);
	ck_assert_uint_eq(occurrences(&f, "<|begin|>"), 1); /* not twice */
	close_fixture(&f);
}
END_TEST

START_TEST(test_ends)
{
	struct ds_chat chat = {.family = &with_tokens};
	uint32_t id[DS_CHAT_ENDS_MAX];
	struct fixture f;

	open_fixture(&f, "tests/data/tiny-bpe.gguf");
	ck_assert_uint_eq(ds_chat_ends(&chat, f.tok, id), 1);
	ck_assert_uint_eq(id[0], ds_tokenizer_special(f.tok, DS_EOS));
	close_fixture(&f);
	open_fixture(&f, "tests/data/tiny-spm.gguf");
	ck_assert_uint_eq(ds_chat_ends(&(struct ds_chat){0}, f.tok, id), 1);
	close_fixture(&f);
}
END_TEST

START_TEST(test_allocation_failures)
{
	struct ds_chat chat = {.family = &with_tokens};
	struct ds_turn turn = {.text = {part("a<tool>b")}, .n_text = 1};
	struct fixture f;

	open_fixture(&f, "tests/data/tiny-bpe.gguf");
	for (size_t i = 0;; i++) {
		struct ds_chat_parts parts = {0};
		struct ds_tokens tokens = {0};
		struct ds_err err;
		enum ds_status st;

		ds_alloc_fail_after(i);
		st = ds_chat_render(&chat, &turn, &parts, &err);
		if (st == DS_OK)
			st = ds_chat_encode(&chat, &parts, f.tok, f.enc, &tokens, &err);
		ds_alloc_fail_after(SIZE_MAX);
		ds_chat_parts_fini(&parts);
		ds_tokens_fini(&tokens);
		if (st == DS_OK)
			break;
		ck_assert_int_eq(st, DS_ENOMEM);
		ck_assert_uint_lt(i, 100);
	}
	close_fixture(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("task_chat");
	TCase *tc = tcase_create("chat");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_goldens, 0, sizeof goldens / sizeof *goldens);
	tcase_add_test(tc, test_texts);
	tcase_add_test(tc, test_unknown);
	tcase_add_test(tc, test_text_never_becomes_a_token);
	tcase_add_test(tc, test_tokens_are_those_of_the_whole);
	tcase_add_test(tc, test_raw);
	tcase_add_test(tc, test_ends);
	tcase_add_test(tc, test_allocation_failures);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
