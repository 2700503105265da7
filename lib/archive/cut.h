/*
 * cut.h - text in pieces that are the same wherever the same text stands
 */
#ifndef DS_ARCHIVE_CUT_H
#define DS_ARCHIVE_CUT_H

#include <stddef.h>
#include <stdint.h>

#define DS_PIECE_BYTES_MAX ((size_t)32768)

/*
 * The length of the piece that text begins with, n > 0 bytes being left.  Where it ends depends on
 * the bytes before the end alone: behind an insertion the pieces are soon the same again.  Ends of
 * paragraphs are preferred, then ends of lines.
 */
size_t ds_cut(const uint8_t *text, size_t n);

#endif
