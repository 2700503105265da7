/*
 * chat.h - what a user says, in the form a model was trained on
 *
 * The templates of the model families are written out; which one a model wants is told by its name
 * or by strings that only its own template (tokenizer.chat_template) has.  A rendered turn is a
 * list of parts, and the template's special tokens are parts of their own: text never turns into
 * one, whatever it spells.
 */
#ifndef DS_TASK_CHAT_H
#define DS_TASK_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "task/feed.h"
#include "token/token.h"

/* Special tokens of a rendered turn that ordinary encoding would find in text. */
#define DS_CHAT_GUARDS 16

struct ds_chat_family;
/* A template for one model.  Zeroed: none (raw). */
struct ds_chat {
	const struct ds_chat_family *family;
	bool bos; /* the model's own template begins with BOS */
};

/*
 * By name, or where that is NULL by the model's template text of n bytes.  DS_EINVAL for a name
 * that does not exist, DS_EUNSUPPORTED for a template that is missing (NULL) or not known.
 */
enum ds_status ds_chat_find(struct ds_chat *chat_ret, const char *name, const char *text, size_t n,
			    struct ds_err *err);
const char *ds_chat_name(const struct ds_chat *chat); /* "raw" without a family */

/* One turn: the system message, and the texts of the user with an empty line between. */
#define DS_CHAT_TEXTS 3
struct ds_turn {
	const struct ds_part *system;	    /* NULL: the family's default, if any; empty: none */
	struct ds_part text[DS_CHAT_TEXTS]; /* bytes NULL: see struct ds_chat_opening */
	size_t n_text;
};

enum ds_chat_kind {
	DS_CHAT_LITERAL, /* text of the template */
	DS_CHAT_SPECIAL, /* a special token of it */
	DS_CHAT_TEXT,	 /* text of the user: special tokens that it spells are text */
	DS_CHAT_RAW,	 /* text in which special tokens count */
};
struct ds_chat_parts {
	struct ds_buf bytes; /* of all parts, in order */
	struct ds_chat_part {
		enum ds_chat_kind kind;
		size_t end; /* in bytes */
	} * part;	    /* [n] */
	size_t n, cap;
	size_t open; /* parts before the text whose bytes are NULL, or DS_CHAT_CLOSED */
};
#define DS_CHAT_CLOSED SIZE_MAX
/*
 * The turn up to where the answer begins.  Raw: the texts one after the other, nothing between, and
 * in the last of them special tokens count; a system message is DS_EINVAL then.
 */
enum ds_status ds_chat_render(const struct ds_chat *chat, const struct ds_turn *turn,
			      struct ds_chat_parts *parts, struct ds_err *err);
void ds_chat_parts_fini(struct ds_chat_parts *parts);

/* Append the tokens of the parts; BOS stands first where the tokenizer or the template wants it. */
enum ds_status ds_chat_encode(const struct ds_chat *chat, const struct ds_chat_parts *parts,
			      const struct ds_tokenizer *tok, struct ds_encoder *enc,
			      struct ds_tokens *tokens, struct ds_err *err);

/*
 * A turn one of whose texts is still coming: parts rendered with NULL as that text's bytes.  The
 * tokens that the turn begins with, as far as they are certain, are appended to *tokens.  They are
 * no promise (a text may spell a special token): ds_chat_encode() of the whole turn has the word.
 */
struct ds_chat_opening {
	const struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	bool active; /* false: nothing more can be said */
	/* private */
	struct ds_feed feed;
	bool trim, trim_left; /* white space at the end, at the beginning */
	size_t hold;	      /* bytes at the end that might begin a special token */
	struct ds_part guard[DS_CHAT_GUARDS];
	size_t n_guard;
};
/* opening->tok and opening->enc are set; they and the parts outlive the opening. */
enum ds_status ds_chat_open(struct ds_chat_opening *opening, const struct ds_chat *chat,
			    const struct ds_chat_parts *parts, struct ds_tokens *tokens,
			    struct ds_err *err);
/* More of the text; now: see ds_feed_take(). */
enum ds_status ds_chat_more(struct ds_chat_opening *opening, const void *bytes, size_t n, bool now,
			    struct ds_tokens *tokens, struct ds_err *err);
void ds_chat_opening_fini(struct ds_chat_opening *opening);

/* The tokens that end an answer: EOS, EOT, the family's, and others that end turns elsewhere. */
#define DS_CHAT_ENDS_MAX 24
size_t ds_chat_ends(const struct ds_chat *chat, const struct ds_tokenizer *tok,
		    uint32_t id_ret[DS_CHAT_ENDS_MAX]);

#endif
