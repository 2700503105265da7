/* bench.c - how well a model reads a long document in some way, and what it costs */
#include "task/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/elementary.h"

/* Tokens that are read alone to measure decoding, after one that does not count. */
#define DECODE_TOKENS 32

const char *const ds_bench_task_names[DS_BENCH_TASKS + 1] = {"perplexity", "needle", "extract",
							     "summarise", NULL};

struct run {
	const struct ds_bench *bench;
	const struct ds_bench_doc *doc;
	struct ds_bench_reference *reference;
	bool is_reference;
	struct ds_bench_figures *figures;
	struct ds_predict predict;
	struct ds_bench_question question;
	uint32_t *prompt; /* [length] the body and a question */
	float *logprob;	  /* [length] */
	uint32_t *best;	  /* [length] */
	uint32_t end[DS_CHAT_ENDS_MAX];
	size_t n_end;
};

static bool has(const struct run *run, enum ds_bench_task task)
{
	return run->bench->tasks >> task & 1;
}

/* --- memory -------------------------------------------------------------------------------- */

/* The peak of resident memory begins anew, where the system knows how (Linux). */
static bool peak_reset(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "w");
	bool done;

	if (!f)
		return false;
	done = fputs("5", f) >= 0;
	return fclose(f) == 0 && done;
}

static uint64_t peak_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kilobytes = 0;
	char line[128];

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "VmHWM:", 6) == 0)
			kilobytes = strtoull(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kilobytes * 1024;
}

/* Of all threads of the process. */
static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* --- reading ------------------------------------------------------------------------------- */

/* The first n of the tokens that a pass has found log-probabilities of, into the figures. */
static enum ds_status take_scores(struct run *run, size_t pos, size_t n, struct ds_err *err)
{
	struct ds_bench_reference *ref = run->reference;
	struct ds_bench_figures *f = run->figures;

	if (run->is_reference)
		DS_TRY(ds_grow(&ref->logprob, &ref->cap, f->scored + n, sizeof(float), err));
	for (size_t i = 0; i < n; i++) {
		if (run->doc->planted[pos + i])
			continue;
		if (run->is_reference)
			ref->logprob[ref->n++] = run->logprob[i];
		else {
			double d = (double)ref->logprob[f->scored] - (double)run->logprob[i];

			f->change.n++;
			f->change.sum += d;
			f->change.squares += d * d;
		}
		f->scored++;
		f->nll -= (double)run->logprob[i];
	}
	return DS_OK;
}

/* The whole document in passes; the tokens after its middle are scored. */
static enum ds_status read_document(struct run *run, struct ds_err *err)
{
	const struct ds_bench_doc *doc = run->doc;
	struct ds_reader *r = run->bench->reader;
	size_t batch = ds_session_batch(r->session), pass;
	size_t first = has(run, DS_BENCH_PERPLEXITY) ? doc->n / 2 : doc->n - 1;
	struct ds_session_stats stats;

	DS_TRY(ds_grow(&r->held, &r->cap_held, doc->n, sizeof *r->held, err));
	ds_reader_truncate(r, 0);
	for (size_t pos = 0; pos < doc->n; pos += pass) {
		size_t from = first > pos ? first : pos, end;
		double start = ds_reader_clock(), cpu = cpu_seconds();
		struct ds_predict_call call;

		pass = doc->n - pos < batch ? doc->n - pos : batch;
		end = pos + pass < doc->n ? pos + pass : doc->n - 1; /* what follows is known */
		DS_TRY(ds_session_read(r->session, doc->id + pos, pass,
				       from < pos + pass ? pos + pass - from : 0, err));
		run->figures->read_seconds += ds_reader_clock() - start;
		run->figures->read_cpu_seconds += cpu_seconds() - cpu;
		memcpy(r->held + pos, doc->id + pos, pass * sizeof *doc->id);
		r->n_held = pos + pass;
		if (has(run, DS_BENCH_PERPLEXITY) && from < end) {
			call = (struct ds_predict_call){.n = end - from,
							.target = doc->id + from + 1,
							.logprob = run->logprob};
			DS_TRY(ds_predict(&run->predict, r->session, &call, err));
			DS_TRY(take_scores(run, from + 1, end - from, err));
		}
		if (run->bench->progress)
			run->bench->progress(run->bench->user, pos + pass, doc->n);
	}
	run->figures->tokens = doc->n;
	ds_session_stats(r->session, &stats);
	run->figures->pairs = stats.pairs;
	run->figures->pairs_seen = stats.pairs_seen;
	run->figures->audited = stats.audited;
	run->figures->mass = stats.mass_mean * (double)stats.audited;
	run->figures->mass_p5 = stats.mass_p5;
	return DS_OK;
}

/* The document anew, for its time alone. */
static enum ds_status read_again(struct run *run, struct ds_err *err)
{
	const struct ds_bench_doc *doc = run->doc;
	struct ds_reader *r = run->bench->reader;
	struct ds_bench_figures *f = run->figures;
	double start, cpu;

	ds_reader_truncate(r, 0);
	start = ds_reader_clock();
	cpu = cpu_seconds();
	DS_TRY(ds_session_read(r->session, doc->id, doc->n, 1, err));
	start = ds_reader_clock() - start;
	cpu = cpu_seconds() - cpu;
	r->n_held = doc->n; /* the same tokens */
	f->read_seconds = start < f->read_seconds ? start : f->read_seconds;
	f->read_cpu_seconds = cpu < f->read_cpu_seconds ? cpu : f->read_cpu_seconds;
	return DS_OK;
}

/* The document's last tokens once more, one by one, as an answer would be made. */
static enum ds_status decode(struct run *run, struct ds_err *err)
{
	struct ds_reader *r = run->bench->reader;
	size_t n = run->doc->n, many = n > 4 * DECODE_TOKENS ? DECODE_TOKENS : n / 4;
	struct ds_predict_call call = {.n = 1, .best = run->best};
	double start = 0;

	DS_TRY(ds_reader_read(r, run->doc->id, n - many - 1, 1, err));
	ds_session_answer(r->session);
	for (size_t i = n - many - 1; i < n; i++) {
		DS_TRY(ds_reader_append(r, &run->doc->id[i], 1, err));
		DS_TRY(ds_predict(&run->predict, r->session, &call, err));
		if (i == n - many - 1)
			start = ds_reader_clock();
	}
	run->figures->decoded_tokens = many;
	run->figures->decode_seconds = ds_reader_clock() - start;
	return DS_OK;
}

/* --- questions ----------------------------------------------------------------------------- */

/* The session holds the body and the question; the last n_want tokens' states are kept. */
static enum ds_status read_question(struct run *run, size_t n_want, struct ds_err *err)
{
	struct ds_bench_question *q = &run->question;

	memcpy(run->prompt + run->doc->body, q->id, q->n * sizeof *q->id);
	return ds_reader_read(run->bench->reader, run->prompt, run->doc->body + q->n, n_want, err);
}

static enum ds_status ask_needle(struct run *run, size_t i, struct ds_err *err)
{
	struct ds_bench_question *q = &run->question;
	struct ds_bench_figures *f = run->figures;
	size_t depth = i / DS_NEEDLE_WORDINGS;
	struct ds_predict_call call;
	bool found = true;

	DS_TRY(ds_bench_ask_needle(q, run->bench->reader, i, err));
	DS_TRY(read_question(run, q->n - q->n_asked + 1, err));
	call = (struct ds_predict_call){.n = q->n - q->n_asked,
					.target = q->id + q->n_asked,
					.logprob = run->logprob,
					.best = run->best};
	DS_TRY(ds_predict(&run->predict, run->bench->reader->session, &call, err));
	for (size_t k = 0; k < call.n; k++) {
		bool right = run->best[k] == call.target[k];
		unsigned digits = q->digit[q->n_asked + k];

		f->digits[depth] += digits;
		f->digits_right[depth] += right ? digits : 0;
		f->digit_logprob[depth] += (double)run->logprob[k];
		found &= right;
	}
	f->needles++;
	f->needles_found += found;
	return DS_OK;
}

static bool ends(const struct run *run, uint32_t id)
{
	for (size_t i = 0; i < run->n_end; i++)
		if (run->end[i] == id)
			return true;
	return false;
}

/* At most max tokens after the question, the likeliest each time; the end of a turn is not one. */
static enum ds_status answer(struct run *run, uint32_t *id, size_t max, size_t *n_ret,
			     struct ds_err *err)
{
	struct ds_reader *r = run->bench->reader;
	struct ds_predict_call call = {.n = 1};
	size_t n = 0;

	DS_TRY(read_question(run, 1, err));
	ds_session_answer(r->session);
	for (;;) {
		call.best = &id[n];
		DS_TRY(ds_predict(&run->predict, r->session, &call, err));
		if (ends(run, id[n]) || ++n == max)
			break;
		DS_TRY(ds_reader_append(r, &id[n - 1], 1, err));
	}
	*n_ret = n;
	return DS_OK;
}

static bool holds(const struct ds_buf *text, const char *word)
{
	size_t n = strlen(word);

	return text->len >= n && memmem(text->data, text->len, word, n);
}

static enum ds_status ask_fact(struct run *run, size_t i, struct ds_err *err)
{
	struct ds_reader *r = run->bench->reader;
	uint32_t id[DS_FACT_TOKENS_MAX];
	struct ds_buf text = {0};
	const char *owner;
	enum ds_status st;
	size_t n;

	DS_TRY(ds_bench_ask_fact(&run->question, r, i, &owner, err));
	DS_TRY(answer(run, id, DS_FACT_TOKENS_MAX, &n, err));
	while (n && id[n - 1] >= ds_tokenizer_size(r->tok)) /* the head may have rows beyond */
		n--;
	st = ds_decode(r->tok, id, n, DS_ENCODE_CONTINUE, &text, err);
	run->figures->facts++;
	run->figures->facts_found += st == DS_OK && holds(&text, owner);
	ds_buf_fini(&text);
	return st;
}

/* The reference's summary, as this way of reading sees it. */
static enum ds_status judge_summary(struct run *run, struct ds_err *err)
{
	const struct ds_bench_reference *ref = run->reference;
	struct ds_bench_figures *f = run->figures;
	struct ds_predict_call call = {.n = ref->n_summary,
				       .target = ref->summary,
				       .logprob = run->logprob,
				       .best = run->best};
	size_t alike = 0;

	if (call.n == 0)
		return DS_OK;
	DS_TRY(ds_bench_ask_summary(&run->question, run->bench->reader, err));
	DS_TRY(read_question(run, 1, err));
	memcpy(run->prompt + run->doc->body + run->question.n, ref->summary,
	       call.n * sizeof *ref->summary);
	DS_TRY(ds_reader_read(run->bench->reader, run->prompt,
			      run->doc->body + run->question.n + call.n, call.n + 1, err));
	DS_TRY(ds_predict(&run->predict, run->bench->reader->session, &call, err));
	while (alike < call.n && run->best[alike] == ref->summary[alike])
		alike++;
	for (size_t i = 0; i < call.n; i++)
		f->summary_logprob += (double)run->logprob[i];
	f->summary_tokens = (unsigned)call.n;
	f->summary_alike = (unsigned)alike;
	return DS_OK;
}

static enum ds_status summarise(struct run *run, struct ds_err *err)
{
	struct ds_bench_reference *ref = run->reference;

	if (run->is_reference) {
		DS_TRY(ds_bench_ask_summary(&run->question, run->bench->reader, err));
		DS_TRY(answer(run, ref->summary, DS_SUMMARY_TOKENS_MAX, &ref->n_summary, err));
	}
	return judge_summary(run, err);
}

/* --- all of it ----------------------------------------------------------------------------- */

static enum ds_status measure(struct run *run, struct ds_err *err)
{
	size_t n = run->doc->n;
	struct ds_reader *r = run->bench->reader;

	run->prompt = ds_alloc(n, sizeof *run->prompt);
	run->logprob = ds_alloc(n, sizeof *run->logprob);
	run->best = ds_alloc(n, sizeof *run->best);
	if (!run->prompt || !run->logprob || !run->best)
		return ds_fail_nomem(err, n * sizeof *run->prompt);
	memcpy(run->prompt, run->doc->id, n * sizeof *run->prompt);
	run->n_end = ds_chat_ends(&r->chat, r->tok, run->end);
	DS_TRY(ds_predict_init(&run->predict, run->bench->pool, r->vocab, err));
	DS_TRY(read_document(run, err));
	for (unsigned i = 1; i < run->bench->runs; i++)
		DS_TRY(read_again(run, err));
	DS_TRY(decode(run, err));
	for (size_t i = 0; i < DS_NEEDLES && has(run, DS_BENCH_NEEDLE); i++)
		DS_TRY(ask_needle(run, i, err));
	for (size_t i = 0; i < DS_FACTS && has(run, DS_BENCH_EXTRACT); i++)
		DS_TRY(ask_fact(run, i, err));
	return has(run, DS_BENCH_SUMMARISE) ? summarise(run, err) : DS_OK;
}

enum ds_status ds_bench_run(const struct ds_bench *bench, const struct ds_bench_doc *doc,
			    struct ds_bench_reference *reference, bool is_reference,
			    struct ds_bench_figures *figures, struct ds_err *err)
{
	struct run run = {.bench = bench,
			  .doc = doc,
			  .reference = reference,
			  .is_reference = is_reference,
			  .figures = figures};
	enum ds_status st;
	bool peak;

	*figures = (struct ds_bench_figures){
		.documents = 1, .session_bytes = ds_session_bytes(bench->reader->session)};
	if (is_reference)
		reference->n = reference->n_summary = 0;
	ds_alloc_trim(); /* what earlier runs freed is no peak of this one */
	peak = peak_reset();
	st = measure(&run, err);
	if (peak)
		figures->peak_bytes = peak_bytes();
	ds_predict_fini(&run.predict);
	ds_bench_question_fini(&run.question);
	free(run.prompt);
	free(run.logprob);
	free(run.best);
	return st;
}

void ds_bench_reference_fini(struct ds_bench_reference *reference)
{
	free(reference->logprob);
	*reference = (struct ds_bench_reference){0};
}

/* --- figures ------------------------------------------------------------------------------- */

void ds_bench_add(struct ds_bench_figures *sum, const struct ds_bench_figures *more)
{
	sum->documents += more->documents;
	sum->tokens += more->tokens;
	sum->decoded_tokens += more->decoded_tokens;
	sum->read_seconds += more->read_seconds;
	sum->read_cpu_seconds += more->read_cpu_seconds;
	sum->decode_seconds += more->decode_seconds;
	if (more->session_bytes > sum->session_bytes)
		sum->session_bytes = more->session_bytes;
	if (more->peak_bytes > sum->peak_bytes)
		sum->peak_bytes = more->peak_bytes;
	sum->pairs += more->pairs;
	sum->pairs_seen += more->pairs_seen;
	if (more->audited && (!sum->audited || more->mass_p5 < sum->mass_p5))
		sum->mass_p5 = more->mass_p5;
	sum->audited += more->audited;
	sum->mass += more->mass;
	sum->scored += more->scored;
	sum->nll += more->nll;
	sum->change.n += more->change.n;
	sum->change.sum += more->change.sum;
	sum->change.squares += more->change.squares;
	sum->needles += more->needles;
	sum->needles_found += more->needles_found;
	for (size_t i = 0; i < DS_NEEDLE_DEPTHS; i++) {
		sum->digits[i] += more->digits[i];
		sum->digits_right[i] += more->digits_right[i];
		sum->digit_logprob[i] += more->digit_logprob[i];
	}
	sum->facts += more->facts;
	sum->facts_found += more->facts_found;
	sum->summary_tokens += more->summary_tokens;
	sum->summary_alike += more->summary_alike;
	sum->summary_logprob += more->summary_logprob;
}

double ds_bench_change(const struct ds_bench_change *c)
{
	return c->n ? ds_exp(c->sum / (double)c->n) - 1 : 0;
}

double ds_bench_change_error(const struct ds_bench_change *c)
{
	double n = (double)c->n, mean, variance;

	if (c->n < 2)
		return 0;
	mean = c->sum / n;
	variance = (c->squares - n * mean * mean) / (n - 1);
	/* of the mean; the exponential passes it on times itself */
	return variance > 0 ? sqrt(variance / n) * ds_exp(mean) : 0;
}

double ds_bench_exponent(const double *length, const double *seconds, size_t n)
{
	double x = 0, y = 0, xx = 0, xy = 0;

	for (size_t i = 0; i < n; i++) {
		double a = ds_log(length[i]), b = ds_log(seconds[i]);

		x += a;
		y += b;
		xx += a * a;
		xy += a * b;
	}
	xx -= x * x / (double)n;
	xy -= x * y / (double)n;
	return n > 1 && xx > 0 ? xy / xx : NAN;
}
