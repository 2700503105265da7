/*
 * gen-lm-golden.c - record what llama.cpp computes, for tests/golden/lm-*.txt
 *
 * Not part of the build: it needs llama.cpp's library (b-numbers of late 2026 and newer), say in L:
 *	cc -O2 -o gen scripts/gen-lm-golden.c -I$L/include -I$L/ggml/include -L$L/build/bin \
 *		-lllama -lggml -lggml-base -lm
 *	gen -t TEXT PROMPTS MODEL.gguf >golden			window, ids of text and prompts
 *	gen NAME TEXT PROMPTS MODEL.gguf PERPLEXITY >>golden	a section, for each file of the
 *model
 *
 * PERPLEXITY is what llama-perplexity -c 1024 printed for TEXT; it is checked against the value
 * found here.  A section "f32" is computed without flash attention and with keys and values in
 * f32; the others with flash attention and f16, and again without: how far llama.cpp agrees
 * with itself is recorded too, since that is the noise of rounded activations.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

enum { WINDOW = 1024, STEPS = 64, PROMPTS_MAX = 64, BYTES_MAX = 1 << 20 };

struct row {
	int best;
	float margin; /* to the second */
};

struct record {
	const struct llama_vocab *vocab;
	struct llama_context *ctx;
	struct llama_batch batch;
	llama_token *id; /* of the text */
	int n, n_vocab;
	llama_token *prompt[PROMPTS_MAX];
	int n_prompt, prompt_len[PROMPTS_MAX];
};

struct result {
	double perplexity;
	int n_row;
	struct row *row;			 /* [n_row] */
	struct row step[PROMPTS_MAX][STEPS + 1]; /* ended by best -1 */
};

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
	(void)user;
	if (level == GGML_LOG_LEVEL_ERROR)
		fputs(text, stderr);
}

static void die(const char *what)
{
	fprintf(stderr, "gen-lm-golden: %s\n", what);
	exit(1);
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *bytes = calloc(BYTES_MAX, 1);

	if (!f || !fread(bytes, 1, BYTES_MAX - 1, f))
		die(path);
	fclose(f);
	return bytes;
}

static int tokenize(const struct record *r, const char *text, llama_token **id)
{
	int n = (int)strlen(text);

	*id = calloc((size_t)n + 8, sizeof **id);
	return llama_tokenize(r->vocab, text, n, *id, n + 8, true, false);
}

static struct row look(const float *logit, int n)
{
	struct row r = {0, 0};
	float second = -INFINITY;

	for (int i = 1; i < n; i++)
		r.best = logit[i] > logit[r.best] ? i : r.best;
	for (int i = 0; i < n; i++)
		second = i != r.best && logit[i] > second ? logit[i] : second;
	r.margin = logit[r.best] - second;
	return r;
}

static double surprise(const float *logit, int n, int id)
{
	float max = logit[0];
	double sum = 0;

	for (int i = 1; i < n; i++)
		max = logit[i] > max ? logit[i] : max;
	for (int i = 0; i < n; i++)
		sum += exp((double)logit[i] - max);
	return log(sum) + max - logit[id];
}

static void decode(struct record *r, const llama_token *id, int n, int pos, int all)
{
	r->batch.n_tokens = n;
	for (int i = 0; i < n; i++) {
		r->batch.token[i] = id[i];
		r->batch.pos[i] = pos + i;
		r->batch.n_seq_id[i] = 1;
		r->batch.seq_id[i][0] = 0;
		r->batch.logits[i] = (int8_t)(all || i == n - 1);
	}
	if (llama_decode(r->ctx, r->batch))
		die("llama_decode fails");
}

static void read_text(struct record *r, struct result *out)
{
	llama_token window[WINDOW];
	double sum = 0;
	int scored = 0;

	out->n_row = r->n / WINDOW * WINDOW;
	out->row = calloc((size_t)out->n_row, sizeof *out->row);
	for (int at = 0; at < out->n_row; at += WINDOW) {
		memcpy(window, r->id + at, sizeof window);
		if (llama_vocab_get_add_bos(r->vocab))
			window[0] = llama_vocab_bos(r->vocab);
		llama_memory_clear(llama_get_memory(r->ctx), true);
		decode(r, window, WINDOW, 0, 1);
		for (int i = 0; i < WINDOW; i++) {
			const float *logit = llama_get_logits_ith(r->ctx, i);

			out->row[at + i] = look(logit, r->n_vocab);
			if (i < WINDOW / 2 || i + 1 == WINDOW)
				continue;
			sum += surprise(logit, r->n_vocab, window[i + 1]);
			scored++;
		}
	}
	out->perplexity = exp(sum / scored);
}

static void go_on(struct record *r, int p, struct row *step)
{
	int n = r->prompt_len[p];

	llama_memory_clear(llama_get_memory(r->ctx), true);
	decode(r, r->prompt[p], n, 0, 0);
	for (int i = 0; i < STEPS; i++) {
		step[i] = look(llama_get_logits_ith(r->ctx, r->batch.n_tokens - 1), r->n_vocab);
		step[i + 1].best = -1;
		if (llama_vocab_is_eog(r->vocab, step[i].best))
			break;
		decode(r, &step[i].best, 1, n + i, 0);
	}
}

static struct result *run(struct record *r, struct llama_model *model, int flash, int f32)
{
	struct result *out = calloc(1, sizeof *out);
	struct llama_context_params cp = llama_context_default_params();
	const char *threads = getenv("THREADS");

	cp.n_ctx = WINDOW;
	cp.n_batch = WINDOW;
	cp.n_threads = cp.n_threads_batch = threads ? atoi(threads) : 2;
	cp.flash_attn_type = flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
	if (f32)
		cp.type_k = cp.type_v = GGML_TYPE_F32;
	r->ctx = llama_init_from_model(model, cp);
	if (!r->ctx)
		die("no context");
	read_text(r, out);
	for (int p = 0; p < r->n_prompt; p++)
		go_on(r, p, out->step[p]);
	llama_free(r->ctx);
	return out;
}

/* Shares of rows and worst margin at a first difference: a run against another. */
static void compare(const struct record *r, const struct result *a, const struct result *b)
{
	int agree = 0, whole = 0;
	float worst = 0;

	for (int i = 0; i < a->n_row; i++)
		agree += a->row[i].best == b->row[i].best;
	for (int p = 0; p < r->n_prompt; p++) {
		const struct row *x = a->step[p], *y = b->step[p];

		while (x->best >= 0 && x->best == y->best)
			x++, y++;
		whole += x->best < 0;
		if (x->best >= 0 && x->margin > worst)
			worst = x->margin;
	}
	printf("self top1_percent %.3f whole %d first_difference_margin %.3g perplexity %.4f\n",
	       100.0 * agree / a->n_row, whole, (double)worst, b->perplexity);
}

static void print_section(const struct record *r, const struct result *a)
{
	printf("argmax");
	for (int i = 0; i < a->n_row; i++)
		if (i + 1 < r->n && a->row[i].best == r->id[i + 1])
			printf(" =");
		else
			printf(" %d", a->row[i].best);
	printf("\n");
	for (int p = 0; p < r->n_prompt; p++) {
		printf("greedy");
		for (const struct row *x = a->step[p]; x->best >= 0; x++)
			printf(" %d/%.2g", x->best, (double)x->margin);
		printf("\n");
	}
}

static void print_ids(const char *what, const llama_token *id, int n)
{
	printf("%s", what);
	for (int i = 0; i < n; i++)
		printf(" %d", id[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct record r = {0};
	struct llama_model *model;
	struct result *a;
	char *prompts;
	int f32;

	if (argc < 5)
		die("usage: see the source");
	llama_log_set(quiet, NULL);
	llama_backend_init();
	model = llama_model_load_from_file(argv[4], llama_model_default_params());
	if (!model)
		die("no model");
	r.vocab = llama_model_get_vocab(model);
	r.n_vocab = llama_vocab_n_tokens(r.vocab);
	r.batch = llama_batch_init(WINDOW, 0, 1);
	r.n = tokenize(&r, slurp(argv[2]), &r.id);
	prompts = slurp(argv[3]);
	for (char *line = strtok(prompts, "\n"); line; line = strtok(NULL, "\n"))
		r.prompt_len[r.n_prompt] = tokenize(&r, line, &r.prompt[r.n_prompt]), r.n_prompt++;
	if (strcmp(argv[1], "-t") == 0) {
		printf("window %d\n", WINDOW);
		print_ids("tokens", r.id, r.n);
		for (int p = 0; p < r.n_prompt; p++)
			print_ids("prompt", r.prompt[p], r.prompt_len[p]);
		return 0;
	}
	f32 = strcmp(argv[1], "f32") == 0;
	a = run(&r, model, !f32, f32);
	printf("file %s\n", argv[1]);
	printf("perplexity %s\n", argv[5]);
	if (fabs(atof(argv[5]) / a->perplexity - 1) > 0.003)
		fprintf(stderr, "gen-lm-golden: %s: perplexity %.4f here\n", argv[1],
			a->perplexity);
	if (!f32)
		compare(&r, a, run(&r, model, 0, 0));
	print_section(&r, a);
	return 0;
}
