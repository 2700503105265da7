/*
 * base64.h - RFC 4648 base64, strict: padded, no white space, unused bits zero
 */
#ifndef DS_FRAME_BASE64_H
#define DS_FRAME_BASE64_H

#include "base/mem.h"

enum ds_status ds_base64_put(const void *bytes, size_t n, struct ds_buf *text, struct ds_err *err);
enum ds_status ds_base64_get(const char *text, size_t n, struct ds_buf *bytes, struct ds_err *err);

#endif
