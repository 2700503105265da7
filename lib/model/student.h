/*
 * student.h - distilling an encoder into a static model: a vector a token, no network
 *
 * A student's embedding of a text is the normalised sum of its tokens' vectors.  The vectors start
 * as the teacher's embeddings of single tokens, in the principal components of the teacher's
 * output, times a / (a + p), p a token's share of running text (SIF: Arora et al., ICLR 2017; the
 * vocabulary through the teacher: Model2Vec).  With text to learn from they are then fitted so that
 * the sums point where the teacher's embeddings of whole lines point.
 */
#ifndef DS_MODEL_STUDENT_H
#define DS_MODEL_STUDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "base/pool.h"
#include "model/corpus.h"
#include "model/model.h"
#include "model/pca.h"

struct ds_student_options {
	uint32_t dims;
	uint32_t drop;	    /* leading components left out */
	bool placeholders;  /* keep entries that no text can give, such as [unused7] */
	uint32_t vocab_max; /* keep so many of the most frequent tokens; 0: all */
	double sif;	    /* the a of a / (a + p); 0: no weights */
	unsigned passes;    /* over the text to fit */
	const struct ds_corpus *weights, *fit; /* or empty */
	/* what is being done, done of total; may be NULL */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
	void *progress_arg;
};

struct ds_student {
	uint32_t n, dims;
	uint32_t *id; /* [n] of the teacher's vocabulary, ascending */
	float *row;   /* [n][dims], weights folded in; zeros for special tokens */
	struct ds_pca pca;
	const struct ds_tokenizer *tok;
};

/* Make a student of teacher (an encoder with a WordPiece vocabulary). */
enum ds_status ds_student_make(struct ds_student *student, const struct ds_model *teacher,
			       struct ds_pool *pool, const struct ds_student_options *options,
			       struct ds_err *err);
void ds_student_fini(struct ds_student *student);

/* The student as a GGUF file: rows in 8 bits, a scale each. */
struct ds_student_about {
	const char *name, *source; /* general.name, general.source.url; NULL: not written */
	const char *license;	   /* general.license; or NULL */
};
enum ds_status ds_student_write(const struct ds_student *student, struct ds_out *out,
				const struct ds_student_about *about, struct ds_err *err);

/* Round the rows to what ds_student_write() stores. */
enum ds_status ds_student_round(struct ds_student *student, struct ds_err *err);

/* How the student agrees with the teacher on lines of text. */
struct ds_student_report {
	size_t lines;
	double cosine;	 /* mean, with the teacher's embedding in the student's components */
	double spearman; /* rank correlation of the similarities of pairs of lines */
};
enum ds_status ds_student_compare(const struct ds_student *student, const struct ds_model *teacher,
				  struct ds_pool *pool, const struct ds_corpus *lines,
				  struct ds_student_report *report_ret, struct ds_err *err);

#endif
