/*
 * paths.h - where the project's own files are
 */
#ifndef DS_BASE_PATHS_H
#define DS_BASE_PATHS_H

#include <stddef.h>

#include "base/err.h"

/* The path of the built-in model: in share/ beside the program's folder, or in DS_DATADIR. */
enum ds_status ds_builtin_path(char *path_ret, size_t size, struct ds_err *err);

#endif
