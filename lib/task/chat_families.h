/*
 * chat_families.h - the templates of model families (internal to lib/task)
 */
#ifndef DS_TASK_CHAT_FAMILIES_H
#define DS_TASK_CHAT_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>

#define DS_CHAT_MARKS 3

/*
 * In head, system and user "{...}" is a special token and "%" the text.  "{eos}" is the
 * tokenizer's EOS.  A turn is head, then system if there is such a message, then user.
 */
struct ds_chat_family {
	const char *name;
	const char *mark[DS_CHAT_MARKS]; /* all of them are in the template text */
	const char *head, *system, *user;
	const char *system_default; /* the message when none is given, or NULL */
	const char *end;	    /* the token that ends an answer, beside EOS and EOT, or NULL */
	bool trim;		    /* no white space around texts */
	bool swallow;		    /* nor behind a special token */
};

/* Ended by a row without a name; the first that fits a template text is the one. */
extern const struct ds_chat_family ds_chat_families[];

#endif
