/*
 * compress.h - what ds-compress does besides archives
 */
#ifndef DS_CMD_COMPRESS_H
#define DS_CMD_COMPRESS_H

#include "cli.h"

/* Pack the embeddings of a frame stream, or with mode 'd' the way back, 't' a check: from the first
 * operand or standard input to the output.  Errors are reported. */
void compress_embeddings(struct cli *cli, int mode, unsigned bits, int level);

/* Bytes of a document; end UINT64_MAX: to its end. */
struct span {
	uint64_t start, end;
};

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
