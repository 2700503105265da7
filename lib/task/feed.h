/*
 * feed.h - a text that is still coming, as tokens, as far as they are certain
 *
 * The tokens are those of ds_encode() over the whole text: they end where ds_encoder_cut() allows,
 * and what is behind that place waits for more bytes or the end.
 */
#ifndef DS_TASK_FEED_H
#define DS_TASK_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token/token.h"

/* Zeroed but for enc and flags: at the beginning of a text. */
struct ds_feed {
	struct ds_encoder *enc;
	unsigned flags; /* of ds_encode(), for the beginning of the text */
	/* private */
	struct ds_buf pending;
	uint64_t start; /* of pending in the text */
	size_t try_at;	/* looking for a place to cut begins with so many bytes */
};

enum ds_status ds_feed_push(struct ds_feed *feed, const void *bytes, size_t n, struct ds_err *err);
/*
 * Append what is certain to *tokens, ends as offsets in the whole text; the last hold bytes are not
 * looked at.  Unless now it waits until some KiB are there, so that byte after byte stays cheap.
 */
enum ds_status ds_feed_take(struct ds_feed *feed, size_t hold, bool now, struct ds_tokens *tokens,
			    struct ds_err *err);
/* Append the rest: the text has ended, and another may begin. */
enum ds_status ds_feed_end(struct ds_feed *feed, struct ds_tokens *tokens, struct ds_err *err);
/* Forget the text. */
void ds_feed_reset(struct ds_feed *feed);
void ds_feed_fini(struct ds_feed *feed);

#endif
