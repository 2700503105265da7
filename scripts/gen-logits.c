/*
 * gen-logits - logits of tiny models by llama.cpp: tests/golden/lm-logits.txt
 *
 * usage: gen-logits FOLDER NAME[+ADAPTER]... > tests/golden/lm-logits.txt
 *
 * FOLDER is what scripts/gen-model --lm wrote.  For every token of a fixed sequence one line: the
 * likeliest next token, then logits of eight tokens.  Keys and values are F32, one thread, no flash
 * attention, so that only the order of sums is llama.cpp's.  To build, with L its source tree:
 *
 *	cc -I$L/include -I$L/ggml/include scripts/gen-logits.c -o gen-logits \
 *		-L$L/build/bin -lllama -lggml -lggml-base -Wl,-rpath,$L/build/bin
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

enum { N_TOKEN = 48, N_LOGIT = 8 };

static void fail(const char *what, const char *which)
{
	fprintf(stderr, "gen-logits: %s: %s\n", which, what);
	exit(1);
}

static void errors_only(enum ggml_log_level level, const char *text, void *arg)
{
	(void)arg;
	if (level >= GGML_LOG_LEVEL_ERROR)
		fputs(text, stderr);
}

/* The sequence that tests/unit/test_model_lm_golden.c reads, too. */
static void fill(llama_token *id)
{
	uint32_t x = 7;

	for (int i = 0; i < N_TOKEN; i++, x = x * 1664525 + 1013904223)
		id[i] = (llama_token)((x >> 16) % 300);
}

static void print(struct llama_context *ctx, int vocab)
{
	for (int i = 0; i < N_TOKEN; i++) {
		const float *l = llama_get_logits_ith(ctx, i);
		int best = 0;

		for (int j = 1; j < vocab; j++)
			if (l[j] > l[best])
				best = j;
		printf("%d", best);
		for (int j = 0; j < N_LOGIT; j++)
			printf(" %.4f", (double)l[(i * 7 + j * 41) % vocab]);
		printf("\n");
	}
}

static void put_adapter(struct llama_model *model, struct llama_context *ctx, const char *path)
{
	struct llama_adapter_lora *adapter = llama_adapter_lora_init(model, path);
	float scale = 1;

	if (!adapter || llama_set_adapters_lora(ctx, &adapter, 1, &scale) != 0)
		fail("no adapter", path);
}

static void run(const char *folder, const char *name)
{
	const char *plus = strchr(name, '+');
	struct llama_context_params params = llama_context_default_params();
	struct llama_batch batch = llama_batch_init(N_TOKEN, 0, 1);
	llama_token id[N_TOKEN];
	struct llama_model *model;
	struct llama_context *ctx;
	char path[1000];

	snprintf(path, sizeof path, "%s/%.*s.gguf", folder,
		 (int)(plus ? (size_t)(plus - name) : strlen(name)), name);
	model = llama_model_load_from_file(path, llama_model_default_params());
	if (!model)
		fail("no model", path);
	params.n_ctx = params.n_batch = params.n_ubatch = 64;
	params.n_threads = params.n_threads_batch = 1;
	params.type_k = params.type_v = GGML_TYPE_F32;
	params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
	ctx = llama_init_from_model(model, params);
	if (!ctx)
		fail("no context", path);
	if (plus) {
		snprintf(path, sizeof path, "%s/%s.gguf", folder, plus + 1);
		put_adapter(model, ctx, path);
	}
	fill(id);
	batch.n_tokens = N_TOKEN;
	for (int i = 0; i < N_TOKEN; i++) {
		batch.token[i] = id[i];
		batch.pos[i] = i;
		batch.n_seq_id[i] = 1;
		batch.seq_id[i][0] = 0;
		batch.logits[i] = 1;
	}
	if (llama_decode(ctx, batch) != 0)
		fail("no logits", path);
	printf("model %s\n", name);
	print(ctx, llama_vocab_n_tokens(llama_model_get_vocab(model)));
	llama_batch_free(batch);
	llama_free(ctx);
	llama_model_free(model);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		fail("FOLDER and NAMEs expected", "usage");
	llama_log_set(errors_only, NULL);
	llama_backend_init();
	printf("# Logits of the models of scripts/gen-model --lm, by llama.cpp "
	       "(scripts/gen-logits.c).\n"
	       "# After each token of a fixed sequence: the likeliest next token, logits of "
	       "eight\n");
	for (int i = 2; i < argc; i++)
		run(argv[1], argv[i]);
	return 0;
}
