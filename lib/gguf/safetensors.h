/*
 * safetensors.h - tensors of a .safetensors file
 *
 * Source: github.com/huggingface/safetensors (format): u64 length of a JSON object, the object, the
 * data.  Everything is checked when the file is opened; tensors are described as in GGUF files, so
 * that the rest of the library need not know where they came from.
 */
#ifndef DS_GGUF_SAFETENSORS_H
#define DS_GGUF_SAFETENSORS_H

#include "base/err.h"
#include "base/io.h"
#include "gguf/gguf.h"

struct ds_safetensors {
	struct ds_map map;   /* empty for bytes in memory */
	const uint8_t *data; /* the whole file */
	size_t len;
	const char *path;	       /* for messages */
	struct ds_gguf_tensor *tensor; /* dim[0] is contiguous: the last of the file's shape */
	size_t n_tensor;
	struct json_t *header; /* owns the names */
};

enum ds_status ds_safetensors_open(struct ds_safetensors *st, const char *path, struct ds_err *err);
/* The same over bytes in memory (tests, fuzzing); name is for messages. */
enum ds_status ds_safetensors_open_memory(struct ds_safetensors *st, const void *bytes, size_t n,
					  const char *name, struct ds_err *err);
void ds_safetensors_close(struct ds_safetensors *st);

const struct ds_gguf_tensor *ds_safetensors_find(const struct ds_safetensors *st, const char *name);

#endif
