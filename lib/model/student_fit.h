/*
 * student_fit.h - fitting a student's vectors to the teacher's embeddings (internal to lib/model)
 */
#ifndef DS_MODEL_STUDENT_FIT_H
#define DS_MODEL_STUDENT_FIT_H

#include "model/student.h"

/*
 * The loss of a batch of lines, s the student's and t the teacher's unit vectors:
 *
 *	sum over lines of (1 - s.t') + SIMILARITY * sum over pairs of (s1.s2 - t1.t2)^2
 *
 * t' in the student's components, t1.t2 in all.  Adam, over rows that occur in the batch.
 */
struct ds_student_fit {
	const struct ds_corpus *lines;
	const float *target;  /* [lines->n][dims] of the student, need not have length 1 */
	const float *teacher; /* [lines->n][teacher_dims], unit vectors */
	size_t teacher_dims;
	const uint32_t *row_of; /* [n_vocab] of the teacher: row of the student, or DS_NO_TOKEN */
	const struct ds_student_options *options;
};
enum ds_status ds_student_fit(struct ds_student *student, const struct ds_student_fit *fit,
			      struct ds_err *err);

#endif
