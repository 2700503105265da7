/*
 * outline.h - the points of an outline that a model has written
 */
#ifndef DS_TASK_OUTLINE_H
#define DS_TASK_OUTLINE_H

#include <stddef.h>

#include "base/mem.h"

#define DS_POINTS_MAX 100

/*
 * The headings in n bytes of text, at most max of them, into point: lines that begin as items of a
 * list ("1.", "2)", "-", "*", "#"), without that and without "**" around; where no line does, all
 * lines with text in them.  Returns how many; they point into the text.
 */
size_t ds_outline_points(const void *text, size_t n, struct ds_part *point, size_t max);

#endif
