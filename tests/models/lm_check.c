/*
 * lm_check.c - a language model against the values that another engine recorded
 *
 *	lm_check [-j N] [-b BATCH] MODEL GOLDEN FILE TEXT	figures, one a line
 *	lm_check [-j N] [-b BATCH] -d TOKENS MODEL GOLDEN	a digest of states and logits
 *
 * GOLDEN is of tests/golden/lm-*.txt, FILE the name of one of its sections (see the notes there).
 * The second form is for comparing runs with each other: their digests are equal when all final
 * states and the logits of every eighth token are equal byte for byte.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "model/lm.h"

enum { LOGIT_ROWS = 16, IDS_MAX = 1 << 16, PROMPTS_MAX = 64 };

struct step {
	uint32_t id;
	float margin; /* to the second best logit */
};

/* What the recording says of one file. */
struct golden {
	uint32_t *id, *argmax; /* [n] */
	size_t n, n_argmax, window;
	double perplexity;
	struct {
		uint32_t *id;
		size_t n;
		struct step step[512];
		size_t n_step;
	} prompt[PROMPTS_MAX];
	size_t n_prompt, n_greedy;
};

struct check {
	struct ds_model *model;
	struct ds_pool *pool;
	struct ds_session *session;
	size_t batch, vocab;
	float *logits; /* [LOGIT_ROWS][vocab] */
	struct golden golden;
	struct ds_err err;
};

static void die(const char *what)
{
	fprintf(stderr, "lm_check: %s\n", what);
	exit(1);
}

static void try(struct check *c, enum ds_status st)
{
	if (st != DS_OK)
		die(c->err.message);
}

static void *take(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory");
	return p;
}

static uint32_t *read_ids(char **at, size_t *n_ret)
{
	uint32_t *id = take(IDS_MAX, sizeof *id);
	char *end;

	for (*n_ret = 0; *n_ret < IDS_MAX; ++*n_ret, *at = end) {
		unsigned long v = strtoul(*at, &end, 10);

		if (end == *at)
			break;
		id[*n_ret] = (uint32_t)v;
	}
	return id;
}

/* "=" stands for the token that comes next in the text. */
static void read_argmax(struct golden *g, char *at)
{
	g->argmax = take(g->n, sizeof *g->argmax);
	for (char *word = strtok(at, " \n"); word && g->n_argmax < g->n;
	     word = strtok(NULL, " \n")) {
		size_t i = g->n_argmax++;

		g->argmax[i] = *word == '=' ? g->id[i + 1 < g->n ? i + 1 : i]
					    : (uint32_t)strtoul(word, NULL, 10);
	}
}

static void read_steps(struct golden *g, char *at)
{
	size_t i = g->n_greedy++, n = 0;
	char *end;

	if (i >= g->n_prompt)
		die("golden: more continuations than prompts");
	for (; n < 512; n++, at = end) {
		unsigned long id = strtoul(at, &end, 10);

		if (end == at || *end != '/')
			break;
		g->prompt[i].step[n] = (struct step){(uint32_t)id, strtof(end + 1, &end)};
	}
	g->prompt[i].n_step = n;
}

static void read_golden(struct golden *g, const char *path, const char *file)
{
	FILE *f = fopen(path, "r");
	char *line = NULL, name[80] = "";
	size_t cap = 0;

	if (!f)
		die("cannot open the golden file");
	while (getline(&line, &cap, f) > 0) {
		char *at = strchr(line, ' ');
		bool ours = strcmp(name, file) == 0;

		if (!at || *line == '#')
			continue;
		*at++ = 0;
		if (strcmp(line, "window") == 0)
			g->window = strtoul(at, NULL, 10);
		else if (strcmp(line, "tokens") == 0)
			g->id = read_ids(&at, &g->n);
		else if (strcmp(line, "prompt") == 0 && g->n_prompt < PROMPTS_MAX)
			g->prompt[g->n_prompt].id = read_ids(&at, &g->prompt[g->n_prompt].n),
			g->n_prompt++;
		else if (strcmp(line, "file") == 0)
			sscanf(at, "%79s", name);
		else if (ours && strcmp(line, "perplexity") == 0)
			g->perplexity = strtod(at, NULL);
		else if (ours && strcmp(line, "argmax") == 0)
			read_argmax(g, at);
		else if (ours && strcmp(line, "greedy") == 0)
			read_steps(g, at);
	}
	free(line);
	fclose(f);
	if (!g->n || !g->window || (*file && !g->perplexity))
		die("golden: no such section");
}

static uint32_t best(const float *logit, size_t n)
{
	size_t a = 0;

	for (size_t i = 1; i < n; i++)
		a = logit[i] > logit[a] ? i : a;
	return (uint32_t)a;
}

/* -ln of the probability of id. */
static double surprise(const float *logit, size_t n, uint32_t id)
{
	float max = logit[best(logit, n)];
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += expf(logit[i] - max);
	return log(sum) + max - logit[id];
}

/* Read ids, then row(arg, i, logits of token i) for the last n_want of them, in order. */
static void read_rows(struct check *c, const uint32_t *id, size_t n, size_t n_want,
		      void (*row)(void *arg, size_t i, const float *logit), void *arg)
{
	for (size_t at = 0, step; at < n; at += step) {
		size_t want, skip;

		step = n - at < c->batch ? n - at : c->batch;
		skip = at + step > n - n_want ? (n - n_want > at ? n - n_want - at : 0) : step;
		want = step - skip;
		try(c, ds_session_read(c->session, id + at, step, want, &c->err));
		for (size_t i = 0, rows; i < want; i += rows) {
			rows = want - i < LOGIT_ROWS ? want - i : LOGIT_ROWS;
			try(c, ds_session_logits(c->session, i, rows, c->logits, &c->err));
			for (size_t r = 0; r < rows; r++)
				row(arg, at + skip + i + r, c->logits + r * c->vocab);
		}
	}
}

struct scoring {
	struct check *c;
	size_t start; /* of the window in the text */
	double sum;
	size_t n, agree, compared;
};

static void score_row(void *arg, size_t i, const float *logit)
{
	struct scoring *s = arg;
	const struct golden *g = &s->c->golden;

	s->agree += best(logit, s->c->vocab) == g->argmax[s->start + i];
	s->compared++;
	if (i >= g->window / 2 && i + 1 < g->window) {
		s->sum += surprise(logit, s->c->vocab, g->id[s->start + i + 1]);
		s->n++;
	}
}

/* Windows of the text, the second half of each scored, as llama-perplexity does. */
static void check_text(struct check *c)
{
	const struct golden *g = &c->golden;
	struct scoring s = {.c = c};
	struct ds_affix affix;
	uint32_t *id = take(g->window, sizeof *id);

	ds_tokenizer_affix(ds_model_tokenizer(c->model), &affix);
	for (; s.start + g->window <= g->n_argmax; s.start += g->window) {
		memcpy(id, g->id + s.start, g->window * sizeof *id);
		if (affix.n_prefix)
			id[0] = affix.prefix[0];
		ds_session_truncate(c->session, 0);
		read_rows(c, id, g->window, g->window, score_row, &s);
	}
	free(id);
	printf("perplexity %.4f\n", exp(s.sum / (double)s.n));
	printf("golden_perplexity %.4f\n", g->perplexity);
	printf("perplexity_off_percent %.4f\n",
	       100 * fabs(exp(s.sum / (double)s.n) / g->perplexity - 1));
	printf("top1_percent %.3f\n", 100.0 * (double)s.agree / (double)s.compared);
}

struct greedy {
	struct check *c;
	size_t prompt;
	double first; /* margin at the first disagreement, or negative */
	size_t steps, differ;
	double worst;
};

static void greedy_row(void *arg, size_t i, const float *logit)
{
	struct greedy *s = arg;
	size_t n = s->c->golden.prompt[s->prompt].n;
	const struct step *step = &s->c->golden.prompt[s->prompt].step[i + 1 - n];

	s->steps++;
	if (best(logit, s->c->vocab) == step->id)
		return;
	s->differ++;
	if (s->first < 0)
		s->first = step->margin;
	if (step->margin > s->worst)
		s->worst = step->margin;
}

/*
 * Continuations: the recorded tokens are given back to the model, so that every step is compared
 * and not only those before the first difference.
 */
static void check_greedy(struct check *c)
{
	const struct golden *g = &c->golden;
	struct greedy s = {.c = c};
	size_t whole = 0;
	double first = 0;

	for (; s.prompt < g->n_greedy; s.prompt++) {
		size_t n = g->prompt[s.prompt].n, n_step = g->prompt[s.prompt].n_step;
		uint32_t *id = take(n + n_step, sizeof *id);

		memcpy(id, g->prompt[s.prompt].id, n * sizeof *id);
		for (size_t i = 0; i + 1 < n_step; i++)
			id[n + i] = g->prompt[s.prompt].step[i].id;
		s.first = -1;
		ds_session_truncate(c->session, 0);
		read_rows(c, id, n + n_step - 1, n_step, greedy_row, &s);
		free(id);
		whole += s.first < 0;
		first = s.first > first ? s.first : first;
	}
	printf("continuations %zu\nwhole %zu\n", g->n_greedy, whole);
	printf("first_difference_margin %.4g\n", first);
	printf("steps %zu\nsteps_differ %zu\nworst_margin %.4g\n", s.steps, s.differ, s.worst);
}

static void check_tokens(struct check *c, const char *path)
{
	struct ds_encoder *enc;
	struct ds_tokens tokens = {0};
	char *text = take(1 << 20, 1);
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(text, 1, 1 << 20, f) : 0;

	if (f)
		fclose(f);
	try(c, ds_encoder_new(&enc, ds_model_tokenizer(c->model), &c->err));
	try(c, ds_encode(enc, text, n, DS_ENCODE_AFFIX, &tokens, &c->err));
	printf("tokens_equal %d\n",
	       tokens.n == c->golden.n &&
		       memcmp(tokens.id, c->golden.id, tokens.n * sizeof *tokens.id) == 0);
	ds_tokens_fini(&tokens);
	ds_encoder_free(enc);
	free(text);
}

static void digest(struct check *c, size_t n)
{
	XXH3_state_t *hash = XXH3_createState();
	size_t dims = ds_model_dims(c->model);

	XXH3_64bits_reset(hash);
	for (size_t at = 0, step; at < n; at += step) {
		step = n - at < c->batch ? n - at : c->batch;
		try(c, ds_session_read(c->session, c->golden.id + at, step, step, &c->err));
		for (size_t i = 0; i < step; i++) {
			XXH3_64bits_update(hash, ds_session_state(c->session, i),
					   dims * sizeof(float));
			if ((at + i) % 8)
				continue;
			try(c, ds_session_logits(c->session, i, 1, c->logits, &c->err));
			XXH3_64bits_update(hash, c->logits, c->vocab * sizeof(float));
		}
	}
	printf("%016llx\n", (unsigned long long)XXH3_64bits_digest(hash));
	XXH3_freeState(hash);
}

int main(int argc, char **argv)
{
	static const struct ds_attn_policy exact = {.kind = DS_ATTN_EXACT};
	struct check c = {.batch = 512};
	unsigned threads = 0;
	size_t n_digest = 0;
	int opt;

	while ((opt = getopt(argc, argv, "j:b:d:")) != -1)
		switch (opt) {
		case 'j':
			threads = (unsigned)atoi(optarg);
			break;
		case 'b':
			c.batch = strtoul(optarg, NULL, 10);
			break;
		case 'd':
			n_digest = strtoul(optarg, NULL, 10);
			break;
		default:
			die("usage: lm_check [-j N] [-b BATCH] [-d TOKENS] MODEL GOLDEN [FILE "
			    "TEXT]");
		}
	argc -= optind;
	argv += optind;
	if (argc != (n_digest ? 2 : 4) || !c.batch)
		die("wrong arguments");
	read_golden(&c.golden, argv[1], n_digest ? "" : argv[2]);
	try(&c, ds_model_open(&c.model, argv[0], &c.err));
	try(&c, ds_pool_new(&c.pool, threads, &c.err));
	try(&c, ds_session_new(&c.session, c.model, c.pool,
			       &(struct ds_session_options){.context = 2048,
							    .batch = (uint32_t)c.batch,
							    /* llama.cpp's own is exact */
							    .attn = n_digest ? NULL : &exact},
			       &c.err));
	c.vocab = ds_model_vocab(c.model);
	c.logits = take(LOGIT_ROWS * c.vocab, sizeof *c.logits);
	if (n_digest) {
		digest(&c, n_digest);
	} else {
		check_tokens(&c, argv[3]);
		check_text(&c);
		check_greedy(&c);
	}
	return 0;
}
