/* paths.c - where the project's own files are */
#include "base/paths.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

enum ds_status ds_builtin_path(char *path_ret, size_t size, struct ds_err *err)
{
	static const char *const beside[] = {"/../share/ds/ds-static.gguf",
					     "/../share/ds-static.gguf"};
	char exe[2048];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	char *slash;

	if (n > 0) {
		exe[n] = 0;
		slash = strrchr(exe, '/');
		*(slash ? slash : exe) = 0;
		for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
			snprintf(path_ret, size, "%s%s", exe, beside[i]);
			if (access(path_ret, R_OK) == 0)
				return DS_OK;
		}
	}
	snprintf(path_ret, size, "%s/ds-static.gguf", DS_DATADIR);
	if (access(path_ret, R_OK) == 0)
		return DS_OK;
	return ds_fail_at(err, DS_EIO, path_ret, DS_NO_OFFSET,
			  "the built-in model is not there (name another with -m or DS_MODEL)");
}
