/*
 * classify.h - which of some labels a model would answer with
 *
 * A label's score is the sum of the log-probabilities of its tokens as the answer to the question
 * about the document.  Labels that the model likes anyway (common words, short ones) are set right
 * by contextual calibration (Zhao et al., "Calibrate Before Use", 2021): the score that the label
 * has when the document is "N/A" is subtracted.  Probabilities are the softmax of the scores.
 */
#ifndef DS_TASK_CLASSIFY_H
#define DS_TASK_CLASSIFY_H

#include "task/reader.h"

#define DS_LABELS_MAX 1024

struct ds_classify_options {
	const struct ds_part *label; /* [n_label], none empty; borrowed */
	size_t n_label;
	const struct ds_part *system;	/* as in struct ds_turn; borrowed */
	const struct ds_part *question; /* after the document; NULL: DS_CLASSIFY_QUESTION */
	bool calibrate;
};
/* "%" stands for the labels with commas between. */
#define DS_CLASSIFY_QUESTION                                                                       \
	"Which of these labels fits the text above best: %? Answer with the label alone."

struct ds_label_score {
	double logprob;	    /* of the label after the document */
	double probability; /* among the labels, calibrated if asked for */
};

struct ds_classifier;
enum ds_status ds_classifier_new(struct ds_classifier **cls_ret, struct ds_reader *reader,
				 const struct ds_classify_options *options, struct ds_err *err);
void ds_classifier_free(struct ds_classifier *cls);
/* Calibrate again: the reader's session is another (ds_reader_skip()). */
enum ds_status ds_classifier_calibrate(struct ds_classifier *cls, struct ds_err *err);
/* score [n_label]; *best_ret: the most probable, the first of equals.  DS_ELIMIT when the document
 * with question and label is longer than the context. */
enum ds_status ds_classify(struct ds_classifier *cls, const struct ds_part *document,
			   struct ds_label_score *score, size_t *best_ret, struct ds_err *err);

#endif
