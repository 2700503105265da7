/*
 * compress.h - the parts of ds-compress
 */
#ifndef DS_CMD_COMPRESS_H
#define DS_CMD_COMPRESS_H

#include "archive/archive.h"
#include "cli.h"

/* Bytes of a document; end UINT64_MAX: to its end; last: so many before that. */
struct span {
	uint64_t start, end, last;
};
/* Of a document of so many bytes. */
static inline struct span compress_span(struct span s, uint64_t bytes)
{
	if (s.last)
		return (struct span){s.last < bytes ? bytes - s.last : 0, bytes, 0};
	return (struct span){s.start, s.end == UINT64_MAX ? bytes : s.end, 0};
}

struct compress {
	struct cli cli;
	int mode; /* 'd', 'x', 'l', 't'; 0: make an archive */
	bool add, remove, force, no_index, embeddings, salvage, join, plain;
	struct span range;
	unsigned bits; /* of embeddings alone; 0: the default */
	const char *folder, *name;
	uint32_t passage_tokens, overlap_tokens;
	struct ds_archive_options archive;
	/* for --stats: of all archives that were made or read */
	struct ds_archive_totals totals;
	uint64_t input_bytes;
	unsigned threads;
};

static inline bool compress_has_range(const struct compress *z)
{
	return z->range.start || z->range.end != UINT64_MAX || z->range.last;
}

/* Documents into an archive; those named out of the one of the output. */
enum ds_status compress_make(struct compress *z, struct ds_err *err);
enum ds_status compress_remove(struct compress *z, struct ds_err *err);
/* What is whole in a damaged archive as an archive. */
enum ds_status compress_salvage(struct compress *z, struct ds_err *err);
/* Of struct ds_salvage, with struct compress. */
void compress_tell_damage(void *user, const struct ds_err *damage);
/* Do with an archive what the mode says. */
enum ds_status compress_read(struct compress *z, const char *path, struct ds_err *err);
/* Set chosen[] for the members that the names are of; every name must be of one. */
enum ds_status compress_choose(const struct ds_archive *a, const char *path, char **names, int n,
			       uint8_t **chosen_ret, struct ds_err *err);
/* The language model of what is read, NULL: none is named. */
const char *compress_lm(const struct compress *z);
/* Count an archive that was made or read. */
void compress_tell_totals(struct compress *z, const struct ds_archive_totals *t, uint64_t input);
/* The figures of --stats. */
void compress_put_stats(struct compress *z);

/* Pack the embeddings of a frame stream, or with mode 'd' the way back, 't' a check: from the first
 * operand or standard input to the output.  Errors are reported. */
void compress_embeddings(struct cli *cli, int mode, unsigned bits, int level);

/* One document in the seekable format of Zstandard, or back (mode 'd'), or checked ('t').  Errors
 * are reported. */
struct plain_options {
	int level;
	uint32_t frame_bytes;
	struct span range; /* of what is written with 'd' */
};
void compress_plain(struct cli *cli, int mode, const struct plain_options *o);
/* Whether a file is of Zstandard. */
bool compress_is_plain(const char *path);

#endif
