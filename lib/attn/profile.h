/*
 * profile.h - attention policies found for one model, layer by layer, in a small file of text
 *
 *	ds-profile 1
 *	model 0123456789abcdef
 *	length 8192
 *	layers 0-1 dense
 *	layers 2-29 mass:0.2
 *
 * ds-profile(5) is the specification.  ds-bench --tune writes such files, --attn @FILE reads them.
 */
#ifndef DS_ATTN_PROFILE_H
#define DS_ATTN_PROFILE_H

#include "attn/policy.h"
#include "base/mem.h"

#define DS_PROFILE_LAYERS_MAX 1024
#define DS_PROFILE_BYTES_MAX 65536

struct ds_attn_profile {
	uint64_t model;	 /* ds_model_id() of the model it was found for */
	uint32_t length; /* of the documents it was found with, in tokens */
	uint32_t n_layer;
	struct ds_attn_policy *policy; /* [n_layer] */
};

/* From the text of a file; offsets in errors are of the text. */
enum ds_status ds_attn_profile_parse(struct ds_attn_profile *profile_ret, const void *text,
				     size_t n, struct ds_err *err);
/* From a file, for the model of this fingerprint and so many layers; DS_EINVAL for another's. */
enum ds_status ds_attn_profile_read(struct ds_attn_profile *profile_ret, const char *path,
				    uint64_t model, uint32_t n_layer, struct ds_err *err);
/* Append the text; note: lines for people at the end, as comments, or NULL. */
enum ds_status ds_attn_profile_write(const struct ds_attn_profile *profile, const char *note,
				     struct ds_buf *text, struct ds_err *err);
void ds_attn_profile_fini(struct ds_attn_profile *profile);

#endif
