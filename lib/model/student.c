/* student.c - distilling an encoder into a static model */
#include "model/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/embed_ids.h"
#include "model/student_fit.h"
#include "token/vocab_write.h"

#define GROUP_LINES 2048 /* between reports of progress */
#define LINES_A_DIM 4	 /* of the teacher: so many and the components are those of lines */

struct make {
	const struct ds_tokenizer *tok;
	const struct ds_student_options *options;
	struct ds_embedder *emb;
	uint32_t n_vocab, wide; /* wide: dimensions of the teacher */
	double *share;		/* [n_vocab] of running text, sums to 1 */
	float *vector;		/* [student n][wide] tokens through the teacher */
	float *line;		/* [fit lines][wide] lines through the teacher */
	float *target;		/* [fit lines][dims] the same in the student's components */
	uint32_t *row_of;	/* [n_vocab] or DS_NO_TOKEN */
};

/* --- vocabulary ---------------------------------------------------------------------------- */

/*
 * Shares of running text: counted, with one more of each token so that none is 0; without text,
 * Zipf's law by id, as vocabularies are written by falling frequency.
 */
static enum ds_status count_shares(struct make *m, struct ds_err *err)
{
	const struct ds_corpus *c = m->options->weights;
	double sum = 0;

	m->share = ds_alloc(m->n_vocab, sizeof *m->share);
	if (!m->share)
		return ds_fail_nomem(err, m->n_vocab * sizeof *m->share);
	for (uint32_t i = 0; i < m->n_vocab; i++)
		m->share[i] = c && c->n ? 1 : 1.0 / (i + 2);
	for (size_t i = 0; c && i < ds_corpus_tokens(c); i++)
		m->share[c->id[i]]++;
	for (uint32_t i = 0; i < m->n_vocab; i++)
		sum += m->share[i];
	for (uint32_t i = 0; i < m->n_vocab; i++)
		m->share[i] /= sum;
	return DS_OK;
}

/* "[unused7]": brackets are words of their own, so no text gives this entry. */
static bool is_placeholder(const struct ds_tokenizer *tok, uint32_t id)
{
	int continues;
	struct ds_str s = ds_tokenizer_piece(tok, id, &continues);

	return !continues && s.len > 2 && s.s[0] == '[' && s.s[s.len - 1] == ']';
}

/* Tokens of one character stay whatever --vocab says: with them every word has a spelling. */
static bool is_character(const struct ds_tokenizer *tok, uint32_t id)
{
	int continues;
	struct ds_str s = ds_tokenizer_piece(tok, id, &continues);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += (s.s[i] & 0xC0) != 0x80;
	return n <= 1;
}

struct rank {
	double share;
	uint32_t id;
};

static int compare_rank(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->share != y->share)
		return x->share < y->share ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

/* keep [n_vocab]: the marks of all but the vocab_max most frequent are taken off. */
static enum ds_status cut_vocabulary(const struct make *m, uint8_t *keep, struct ds_err *err)
{
	struct rank *rank = ds_alloc(m->n_vocab, sizeof *rank);
	uint32_t left = m->options->vocab_max;

	if (!rank)
		return ds_fail_nomem(err, m->n_vocab * sizeof *rank);
	for (uint32_t i = 0; i < m->n_vocab; i++)
		rank[i] = (struct rank){m->share[i], i};
	qsort(rank, m->n_vocab, sizeof *rank, compare_rank);
	for (uint32_t i = 0; i < m->n_vocab; i++) {
		uint32_t id = rank[i].id;

		if (!keep[id] || ds_tokenizer_is_special(m->tok, id))
			continue;
		if (left)
			left--;
		else
			keep[id] = is_character(m->tok, id);
	}
	free(rank);
	return DS_OK;
}

static enum ds_status mark_vocabulary(const struct make *m, uint8_t *keep, struct ds_err *err)
{
	for (uint32_t i = 0; i < m->n_vocab; i++)
		keep[i] = m->options->placeholders || ds_tokenizer_is_special(m->tok, i) ||
			  !is_placeholder(m->tok, i);
	if (m->options->vocab_max)
		return cut_vocabulary(m, keep, err);
	return DS_OK;
}

static enum ds_status choose_vocabulary(struct make *m, struct ds_student *student,
					struct ds_err *err)
{
	uint8_t *keep = ds_alloc(m->n_vocab, 1);
	enum ds_status st = DS_ENOMEM;

	student->id = ds_alloc(m->n_vocab, sizeof *student->id);
	m->row_of = ds_alloc(m->n_vocab, sizeof *m->row_of);
	if (keep && student->id && m->row_of)
		st = mark_vocabulary(m, keep, err);
	else
		ds_fail_nomem(err, m->n_vocab * sizeof *student->id);
	for (uint32_t i = 0; st == DS_OK && i < m->n_vocab; i++) {
		bool sums = keep[i] && !ds_tokenizer_is_special(m->tok, i);

		m->row_of[i] = sums ? student->n : DS_NO_TOKEN;
		if (keep[i])
			student->id[student->n++] = i;
	}
	free(keep);
	return st;
}

/* --- the teacher --------------------------------------------------------------------------- */

/* Lines [lines->n] through the teacher into out [lines->n][wide]. */
static enum ds_status teach(struct ds_embedder *emb, const struct ds_corpus *lines, uint32_t wide,
			    const struct ds_student_options *o, float *out, struct ds_err *err)
{
	for (size_t i = 0; i < lines->n; i += GROUP_LINES) {
		struct ds_id_lines group = {
			.id = lines->id,
			.start = ds_corpus_start(lines, i),
			.end = lines->end + i,
			.n = lines->n - i < GROUP_LINES ? lines->n - i : GROUP_LINES,
		};

		DS_TRY(ds_embed_ids(emb, &group, out + i * wide, err));
		if (o && o->progress)
			o->progress(o->progress_arg, "through the teacher", i + group.n,
				    lines->n);
	}
	return DS_OK;
}

static float *vectors(size_t n, size_t dims)
{
	size_t values;

	if (ds_mul(n, dims, &values, NULL) != DS_OK)
		return NULL;
	return ds_alloc_zero(values, sizeof(float));
}

static enum ds_status teach_tokens(struct make *m, const struct ds_student *student,
				   struct ds_err *err)
{
	struct ds_corpus single = {.id = student->id, .n = student->n};
	enum ds_status st;

	m->vector = vectors(student->n, m->wide);
	single.end = ds_alloc(student->n, sizeof *single.end);
	if (!m->vector || !single.end) {
		free(single.end);
		return ds_fail_nomem(err, (uint64_t)student->n * m->wide * sizeof(float));
	}
	for (size_t i = 0; i < student->n; i++)
		single.end[i] = i + 1;
	st = teach(m->emb, &single, m->wide, m->options, m->vector, err);
	free(single.end);
	return st;
}

static enum ds_status teach_lines(struct make *m, struct ds_err *err)
{
	const struct ds_corpus *fit = m->options->fit;

	m->line = vectors(fit->n, m->wide);
	m->target = vectors(fit->n, m->options->dims);
	if (!m->line || !m->target)
		return ds_fail_nomem(err, (uint64_t)fit->n * m->wide * sizeof(float));
	return teach(m->emb, fit, m->wide, m->options, m->line, err);
}

/* --- the student --------------------------------------------------------------------------- */

/* Drop the leading components: the rows move up, the count falls to dims. */
static void drop_components(struct ds_pca *pca, uint32_t drop)
{
	pca->kept -= drop;
	memmove(pca->component, pca->component + (size_t)drop * pca->dims,
		pca->kept * pca->dims * sizeof *pca->component);
}

static void weigh(const struct make *m, struct ds_student *student)
{
	double a = m->options->sif;

	for (uint32_t i = 0; i < student->n; i++) {
		bool special = m->row_of[student->id[i]] == DS_NO_TOKEN;
		double weight = a > 0 ? a / (a + m->share[student->id[i]]) : 1;

		for (uint32_t j = 0; j < student->dims; j++)
			student->row[(size_t)i * student->dims + j] *= special ? 0 : (float)weight;
	}
}

/* The mean of the tokens' vectors over running text: what every sum has in common. */
static enum ds_status token_mean(const struct make *m, const struct ds_student *student,
				 float *mean, struct ds_err *err)
{
	double *sum = ds_alloc_zero(m->wide, sizeof *sum), total = 0;

	if (!sum)
		return ds_fail_nomem(err, m->wide * sizeof *sum);
	for (uint32_t i = 0; i < student->n; i++) {
		double share = m->share[student->id[i]];

		total += share;
		for (uint32_t j = 0; j < m->wide; j++)
			sum[j] += share * m->vector[(size_t)i * m->wide + j];
	}
	for (uint32_t j = 0; j < m->wide; j++)
		mean[j] = (float)(sum[j] / total);
	free(sum);
	return DS_OK;
}

static enum ds_status project(struct make *m, struct ds_student *student, struct ds_err *err)
{
	const struct ds_student_options *o = m->options;
	/* few lines do not span the components that other texts need */
	bool by_line = o->fit && o->fit->n >= (size_t)LINES_A_DIM * m->wide;
	float *mean = ds_alloc(m->wide, sizeof *mean);
	enum ds_status st;

	student->row = vectors(student->n, o->dims);
	if (!mean || !student->row) {
		free(mean);
		return ds_fail_nomem(err, (uint64_t)student->n * o->dims * sizeof(float));
	}
	st = ds_pca_fit(&student->pca, by_line ? m->line : m->vector,
			by_line ? o->fit->n : student->n, m->wide, o->dims + o->drop, err);
	if (st == DS_OK)
		st = token_mean(m, student, mean, err);
	if (st == DS_OK) {
		drop_components(&student->pca, o->drop);
		ds_pca_project(&student->pca, m->vector, mean, student->n, student->row);
		weigh(m, student);
	}
	free(mean);
	return st;
}

static enum ds_status fit(struct make *m, struct ds_student *student, struct ds_err *err)
{
	struct ds_student_fit in = {
		.lines = m->options->fit,
		.target = m->target,
		.teacher = m->line,
		.teacher_dims = m->wide,
		.row_of = m->row_of,
		.options = m->options,
	};

	ds_pca_project(&student->pca, m->line, student->pca.mean, in.lines->n, m->target);
	DS_TRY(ds_student_fit(student, &in, err));
	/* once more: common tokens say less of what a text is searched for than of what it is */
	weigh(m, student);
	return DS_OK;
}

static enum ds_status make(struct make *m, struct ds_student *student, struct ds_err *err)
{
	const struct ds_corpus *lines = m->options->fit;

	DS_TRY(count_shares(m, err));
	DS_TRY(choose_vocabulary(m, student, err));
	DS_TRY(teach_tokens(m, student, err));
	if (lines && lines->n)
		DS_TRY(teach_lines(m, err));
	DS_TRY(project(m, student, err));
	if (lines && lines->n)
		return fit(m, student, err);
	return DS_OK;
}

enum ds_status ds_student_make(struct ds_student *student, const struct ds_model *teacher,
			       struct ds_pool *pool, const struct ds_student_options *options,
			       struct ds_err *err)
{
	struct make m = {
		.tok = ds_model_tokenizer(teacher),
		.options = options,
		.wide = ds_model_dims(teacher),
	};
	enum ds_status st;

	*student = (struct ds_student){.dims = options->dims, .tok = m.tok};
	DS_TRY(ds_embed_ids_check(teacher, err));
	DS_TRY(ds_tokenizer_writable(m.tok, err));
	if (options->dims < 1 || options->dims + options->drop > m.wide)
		return ds_fail(err, DS_EINVAL, "%u dimensions after %u dropped, the teacher has %u",
			       options->dims, options->drop, m.wide);
	m.n_vocab = ds_tokenizer_size(m.tok);
	st = ds_embedder_new(&m.emb, teacher, pool, err);
	if (st == DS_OK)
		st = make(&m, student, err);
	ds_embedder_free(m.emb);
	free(m.share);
	free(m.vector);
	free(m.line);
	free(m.target);
	free(m.row_of);
	if (st != DS_OK)
		ds_student_fini(student);
	return st;
}

void ds_student_fini(struct ds_student *student)
{
	free(student->id);
	free(student->row);
	ds_pca_fini(&student->pca);
	*student = (struct ds_student){0};
}
