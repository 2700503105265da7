/*
 * digest.h - a document of any length as a text that fits into the context
 *
 * A document that fits stays as it is.  A longer one is cut into chunks at sentence boundaries, and
 * each is summarised; summaries are gathered, and whenever they fill the room, they are summarised
 * in turn, level upon level.  So memory does not grow with the document, and the digest tells of
 * its parts in order.
 */
#ifndef DS_TASK_DIGEST_H
#define DS_TASK_DIGEST_H

#include "task/generate.h"

struct ds_digest_options {
	size_t room;			       /* tokens of the digest, and of a chunk, at most */
	const struct ds_part *system;	       /* as in struct ds_turn; borrowed */
	struct ds_generate_options generation; /* of summaries; n_max is lowered to room / 4 */
};
/* Follows the text that is to be summarised. */
#define DS_DIGEST_PROMPT "Summarise the text above in a few sentences. Write nothing else."
#define DS_DIGEST_ROOM_MIN 64

struct ds_digest_totals {
	uint64_t chunks, summaries; /* one chunk, no summary: the document fits */
};

struct ds_digest;
/* The reader outlives the digest.  DS_ELIMIT when room is less than DS_DIGEST_ROOM_MIN. */
enum ds_status ds_digest_new(struct ds_digest **digest_ret, struct ds_reader *reader,
			     const struct ds_digest_options *options, struct ds_err *err);
void ds_digest_free(struct ds_digest *digest);
/* The tokens of the context that are left for a text when a prompt follows it in a turn and so many
 * are kept for the answer. */
enum ds_status ds_digest_room(struct ds_reader *reader, const struct ds_part *system,
			      const struct ds_part *prompt, size_t answer, size_t *room_ret,
			      struct ds_err *err);
/* More of the document. */
enum ds_status ds_digest_push(struct ds_digest *digest, const void *bytes, size_t n,
			      struct ds_err *err);
/* Whether the document is longer than a chunk, as far as is known. */
bool ds_digest_is_long(const struct ds_digest *digest);
/* The document has ended: its digest, until the next document begins.  DS_EFORMAT when the model
 * gave no summary. */
enum ds_status ds_digest_end(struct ds_digest *digest, struct ds_part *text_ret,
			     struct ds_digest_totals *totals_ret, struct ds_err *err);
/* Forget the document, also after a failure. */
enum ds_status ds_digest_reset(struct ds_digest *digest, struct ds_err *err);

#endif
