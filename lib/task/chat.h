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
#include "token/token.h"

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
	const struct ds_part *system; /* NULL: the family's default, if any; empty: none */
	struct ds_part text[DS_CHAT_TEXTS];
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
};
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

/* The tokens that end an answer: EOS, EOT, the family's, and others that end turns elsewhere. */
#define DS_CHAT_ENDS_MAX 24
size_t ds_chat_ends(const struct ds_chat *chat, const struct ds_tokenizer *tok,
		    uint32_t id_ret[DS_CHAT_ENDS_MAX]);

#endif
