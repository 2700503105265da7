/* join.c - text and chunk frames without their overlaps are the document */
#include "frame/join.h"

#include <inttypes.h>
#include <xxhash.h>

static void restart(struct ds_join *j)
{
	j->size = 0;
	j->any = false;
	XXH3_64bits_reset(j->hash);
}

enum ds_status ds_join_init(struct ds_join *j, struct ds_err *err)
{
	*j = (struct ds_join){.hash = XXH3_createState()};
	if (!j->hash)
		return ds_fail(err, DS_ENOMEM, "out of memory: no state for a hash");
	restart(j);
	return DS_OK;
}

void ds_join_fini(struct ds_join *j)
{
	XXH3_freeState(j->hash);
	j->hash = NULL;
}

static enum ds_status check_end(const struct ds_join *j, const struct ds_frame *f,
				struct ds_err *err)
{
	struct ds_document_end e;

	DS_TRY(ds_document_end_get(f, &e, err));
	if (!j->any || j->lenient || e.size == DS_SIZE_UNKNOWN)
		return DS_OK;
	if (e.size != j->size)
		return ds_fail_at(err, DS_ECORRUPT, NULL, f->offset,
				  "a document of %" PRIu64 " bytes, %" PRIu64 " came", e.size,
				  j->size);
	if (e.hash != XXH3_64bits_digest(j->hash))
		return ds_fail_at(err, DS_ECORRUPT, NULL, f->offset,
				  "the document is not what it was: its checksum does not match");
	return DS_OK;
}

static enum ds_status extend(struct ds_join *j, const struct ds_frame *f, const struct ds_text *t,
			     size_t *skip_ret, struct ds_err *err)
{
	uint64_t skip;

	if (t->start > j->size && j->lenient)
		j->size = t->start;
	if (t->start > j->size)
		return ds_fail_at(err, DS_EFORMAT, NULL, f->offset,
				  "bytes %" PRIu64 " to %" PRIu64 " of the document are missing",
				  j->size, t->start);
	skip = j->size - t->start;
	*skip_ret = skip < t->len ? (size_t)skip : t->len;
	j->any = true;
	j->size += t->len - *skip_ret;
	XXH3_64bits_update(j->hash, t->bytes + *skip_ret, t->len - *skip_ret);
	return DS_OK;
}

enum ds_status ds_join_take(struct ds_join *j, const struct ds_frame *f, const uint8_t **bytes_ret,
			    size_t *n_ret, struct ds_err *err)
{
	struct ds_chunk_frame c;
	struct ds_text t;
	size_t skip = 0;

	*bytes_ret = f->payload;
	*n_ret = 0;
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		restart(j);
		return DS_OK;
	case DS_FRAME_DOCUMENT_END:
		return check_end(j, f, err);
	case DS_FRAME_TEXT:
		DS_TRY(ds_text_get(f, &t, err));
		break;
	case DS_FRAME_CHUNK:
		DS_TRY(ds_chunk_get(f, &c, err));
		t = (struct ds_text){c.start, c.text, (size_t)(c.end - c.start)};
		break;
	default:
		return DS_OK;
	}
	DS_TRY(extend(j, f, &t, &skip, err));
	*bytes_ret = t.bytes + skip;
	*n_ret = t.len - skip;
	return DS_OK;
}
