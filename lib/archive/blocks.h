/*
 * blocks.h - the pieces of a segment as block records; private to the archive room
 */
#ifndef DS_ARCHIVE_BLOCKS_H
#define DS_ARCHIVE_BLOCKS_H

#include "archive/writer.h"

/* Write the blocks of w->layout, the dictionary first where there is one; the list of them for the
 * documents record goes to table. */
enum ds_status ds_blocks_write(struct ds_archive_writer *w, struct ds_buf *table,
			       struct ds_err *err);

#endif
