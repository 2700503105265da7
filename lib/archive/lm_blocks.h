/*
 * lm_blocks.h - blocks coded by a language model, in an archive that is written or read; private
 * to the archive room
 */
#ifndef DS_ARCHIVE_LM_BLOCKS_H
#define DS_ARCHIVE_LM_BLOCKS_H

#include "archive/code.h"
#include "base/pool.h"
#include "model/model.h"

/* A model at work. */
struct ds_lm_blocks;
struct ds_lm_options {
	const char *path;     /* of its file */
	uint32_t context;     /* tokens that it looks back in what it encodes; 0: it decodes */
	struct ds_pool *pool; /* borrowed; NULL: one of its own */
	unsigned threads;     /* of that */
};
/* DS_EINVAL when the model is no language model, or cannot look back so far. */
enum ds_status ds_lm_blocks_new(struct ds_lm_blocks **l_ret, const struct ds_lm_options *o,
				struct ds_err *err);
void ds_lm_blocks_free(struct ds_lm_blocks *l);

/* The payload of a record that names the model, appended to raw. */
enum ds_status ds_lm_blocks_put(const struct ds_lm_blocks *l, struct ds_buf *raw,
				struct ds_err *err);
/* Those of n blocks that the model makes smaller than they are coded become its.  code is used up.
 */
enum ds_status ds_lm_blocks_encode(struct ds_lm_blocks *l, struct ds_block_code **code, size_t n,
				   struct ds_err *err);

/* What a model is known by; no bytes: none is known. */
struct ds_lm_identity {
	uint64_t hash, bytes;
};
struct ds_lm_identity ds_lm_blocks_identity(const struct ds_lm_blocks *l);

struct ds_archive;
/* That the text of an archive is coded by the model that is known, or by one that is known then:
 * DS_EINVAL where it is another, since readers take one. */
enum ds_status ds_lm_one(const struct ds_archive *a, struct ds_lm_identity *known_io,
			 struct ds_err *err);
/* A block of this coder into the cache, and as many as go with it of those that are read next. */
enum ds_status ds_lm_block_load(struct ds_archive *a, uint64_t index, struct ds_err *err);

#endif
