/*
 * answer.h - the bytes of an answer as they are made: whole characters, up to a stop string
 *
 * Bytes leave as soon as nothing can call them back: a character that is not complete waits, and so
 * does what may be the beginning of a stop string.  Of a stop string nothing leaves.  Bytes that
 * are no UTF-8 pass as they are; a character that the end of the answer cuts is left out.
 */
#ifndef DS_TASK_ANSWER_H
#define DS_TASK_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct ds_answer {
	const struct ds_part *stop; /* [n_stop], none empty; borrowed */
	size_t n_stop;
	enum ds_status (*take)(void *user, const uint8_t *bytes, size_t n, struct ds_err *err);
	void *user;
	/* private; zero at the beginning */
	struct ds_buf pending;
	bool stopped;
};

/* More bytes; afterwards answer->stopped tells whether a stop string has come. */
enum ds_status ds_answer_push(struct ds_answer *answer, const void *bytes, size_t n,
			      struct ds_err *err);
/* The end: what waits for a stop string leaves.  The struct can take another answer. */
enum ds_status ds_answer_end(struct ds_answer *answer, struct ds_err *err);
void ds_answer_fini(struct ds_answer *answer);

#endif
