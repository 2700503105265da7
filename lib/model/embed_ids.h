/*
 * embed_ids.h - embeddings of token sequences that are there already (internal to lib/model)
 */
#ifndef DS_MODEL_EMBED_IDS_H
#define DS_MODEL_EMBED_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

/* DS_EUNSUPPORTED unless the model is an encoder whose tokens see each other. */
enum ds_status ds_embed_ids_check(const struct ds_model *model, struct ds_err *err);
/* Sequences without CLS and SEP, which are put around them; with these they must fit the context.
 */
struct ds_id_lines {
	const uint32_t *id;
	size_t start;	   /* of the first sequence in id */
	const size_t *end; /* [n] of each; the next one starts there */
	size_t n;
};
/* One normalised vector a sequence into out [n][dims]. */
enum ds_status ds_embed_ids(struct ds_embedder *emb, const struct ds_id_lines *lines, float *out,
			    struct ds_err *err);

#endif
