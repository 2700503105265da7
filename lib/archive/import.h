/*
 * import.h - files, folders and streams into an archive
 */
#ifndef DS_ARCHIVE_IMPORT_H
#define DS_ARCHIVE_IMPORT_H

#include "archive/archive.h"
#include "model/model.h"

struct ds_import;

struct ds_import_options {
	struct ds_archive_writer *writer; /* borrowed */
	int index;			  /* passages with embeddings; 0: text alone */
	const char *model;    /* path for what comes without embeddings; NULL: built-in */
	struct ds_pool *pool; /* may be NULL */
	uint32_t passage_tokens, overlap_tokens;
	/* something in a folder was left out, and why */
	void (*skipped)(void *user, const char *path, const char *why);
	/* bytes read so far */
	void (*progress)(void *user, uint64_t input_bytes);
	void *user;
};

enum ds_status ds_import_new(struct ds_import **im_ret, const struct ds_import_options *options,
			     struct ds_err *err);
/* A file, or every regular file below a folder, in the order of names.  The members' names are the
 * paths as ds_member_name() cleans them. */
enum ds_status ds_import_path(struct ds_import *im, const char *path, struct ds_err *err);
/* A stream: frames, each document under its name, or plain bytes as a document of this name. */
enum ds_status ds_import_stream(struct ds_import *im, struct ds_in *in, const char *name,
				struct ds_err *err);
uint64_t ds_import_bytes(const struct ds_import *im); /* read so far */
void ds_import_free(struct ds_import *im);

#endif
