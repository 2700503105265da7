/*
 * compress.h - what ds-compress does besides archives
 */
#ifndef DS_CMD_COMPRESS_H
#define DS_CMD_COMPRESS_H

#include "cli.h"

/* Pack the embeddings of a frame stream, or with mode 'd' the way back, 't' a check: from the first
 * operand or standard input to the output.  Errors are reported. */
void compress_embeddings(struct cli *cli, int mode, unsigned bits, int level);

#endif
