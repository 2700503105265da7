/*
 * extract.h - members as files below a folder, never outside it
 */
#ifndef DS_ARCHIVE_EXTRACT_H
#define DS_ARCHIVE_EXTRACT_H

#include "archive/archive.h"

struct ds_extract {
	int folder;	  /* descriptor of the folder */
	const char *path; /* its path, for messages and for removing temporaries */
	int replace;	  /* files that exist are replaced */
};
enum ds_status ds_extract_open(struct ds_extract *x, const char *folder, int replace,
			       struct ds_err *err);
/*
 * Write a member to a file of its name, with its time and mode; folders are made.  The file appears
 * whole or not at all.  DS_EINVAL for a name that leads outside the folder (absolute, "..") or
 * nowhere; no symbolic link is followed.
 */
enum ds_status ds_extract_member(const struct ds_extract *x, struct ds_archive *a, uint64_t member,
				 struct ds_err *err);
/* The same of what is left of a member of a salvaged archive: one that is not whole gets ".part"
 * after its name, one of which nothing is left no file. */
enum ds_status ds_extract_rest(const struct ds_extract *x, struct ds_archive *a, uint64_t member,
			       const struct ds_salvage *s, struct ds_err *err);
void ds_extract_close(struct ds_extract *x);

/*
 * Turn a path into a name that can be extracted: without leading "/", without "." and empty
 * components, and without what stands before and at the last "..".  In place; returns the length,
 * which is 0 when nothing remains.
 */
size_t ds_member_name(char *path);

#endif
