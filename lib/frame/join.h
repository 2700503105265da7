/*
 * join.h - a document's bytes from its text and chunk frames
 */
#ifndef DS_FRAME_JOIN_H
#define DS_FRAME_JOIN_H

#include "frame/frame.h"

/* One document at a time. */
struct ds_join {
	uint64_t size; /* bytes so far */
	bool any;      /* a text or chunk frame has come */
	bool lenient;  /* set it after _init: gaps are passed over, ends are not checked */
	void *hash;    /* XXH3 of them */
};
enum ds_status ds_join_init(struct ds_join *j, struct ds_err *err);
/*
 * What a frame adds to the document: *bytes_ret, borrowed from it, *n_ret of them.  Overlaps are
 * dropped; DS_EFORMAT when bytes before the frame's are missing.  A document frame begins anew; a
 * document end checks size and hash if there was any text (DS_ECORRUPT).  Other frames add nothing.
 */
enum ds_status ds_join_take(struct ds_join *j, const struct ds_frame *f, const uint8_t **bytes_ret,
			    size_t *n_ret, struct ds_err *err);
void ds_join_fini(struct ds_join *j);

#endif
