/* unpack.c - blocks unpacked, and kept while they are likely to be asked for again */
#include "archive/reader.h"

#include <stdlib.h>

/* Bytes of blocks and of dictionaries that are kept: the pieces of a document lie in many blocks,
 * and documents that follow each other in the same ones. */
#define BLOCKS_KEPT ((size_t)64 << 20)
#define DICTIONARIES_KEPT ((size_t)16 << 20)

/* Make room for bytes of another dictionary. */
static void drop_dictionaries(struct ds_archive *a, size_t bytes)
{
	while (a->dictionary_bytes && a->dictionary_bytes + bytes > DICTIONARIES_KEPT) {
		struct ds_dictionary_entry *oldest = NULL;

		for (size_t i = 0; i < a->n_dictionaries; i++)
			if (a->dictionary[i].text.data &&
			    (!oldest || a->dictionary[i].used < oldest->used))
				oldest = &a->dictionary[i];
		a->dictionary_bytes -= oldest->text.cap;
		ds_buf_fini(&oldest->text);
		oldest->text = (struct ds_buf){0};
	}
}

static enum ds_status load_dictionary(struct ds_archive *a, struct ds_dictionary_entry *d,
				      struct ds_err *err)
{
	struct ds_record r;

	d->used = ++a->clock;
	if (d->text.data)
		return DS_OK;
	DS_TRY(ds_record_get(&a->map, d->offset, a->directory_offset, &r, err));
	if (r.type != DS_RECORD_DICTIONARY)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, d->offset,
				  "a dictionary was expected here");
	drop_dictionaries(a, r.raw);
	DS_TRY(ds_buf_reserve(&d->text, (size_t)r.raw + 1, err));
	a->dictionary_bytes += d->text.cap;
	if (ds_record_unpack(&a->map, &r, &d->text, err) == DS_OK)
		return DS_OK;
	a->dictionary_bytes -= d->text.cap;
	ds_buf_fini(&d->text);
	d->text = (struct ds_buf){0};
	return err->status;
}

static enum ds_status decode_block(struct ds_archive *a, const struct ds_block *b,
				   const struct ds_record *r, struct ds_buf *out,
				   struct ds_err *err)
{
	size_t n;

	if (r->coder == DS_CODER_STORED)
		return ds_buf_append(out, r->bytes, r->raw, err);
	if (r->coder > DS_CODER_ZSTD_DICTIONARY)
		return ds_fail_at(err, DS_EUNSUPPORTED, a->map.path, r->offset + 5,
				  "coder %u, which this version does not know", r->coder);
	if (r->coder == DS_CODER_ZSTD_DICTIONARY && !b->dictionary)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r->offset + 5,
				  "a block needs a dictionary, its segment has none");
	if (!a->dctx)
		a->dctx = ZSTD_createDCtx();
	if (!a->dctx)
		return ds_fail_nomem(err, 1);
	DS_TRY(ds_buf_reserve(out, (size_t)r->raw + 1, err));
	ZSTD_DCtx_reset(a->dctx, ZSTD_reset_session_and_parameters);
	if (r->coder == DS_CODER_ZSTD_DICTIONARY) {
		struct ds_dictionary_entry *d = &a->dictionary[b->dictionary - 1];

		DS_TRY(load_dictionary(a, d, err));
		ZSTD_DCtx_refPrefix(a->dctx, d->text.data, d->text.len);
	}
	n = ZSTD_decompressDCtx(a->dctx, out->data, r->raw, r->bytes, r->stored);
	if (ZSTD_isError(n) || n != r->raw)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, r->offset + DS_RECORD_HEAD_BYTES,
				  "a block does not unpack to %u bytes: %s", r->raw,
				  ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
	out->len = r->raw;
	return DS_OK;
}

static enum ds_status unpack(struct ds_archive *a, const struct ds_block *b, struct ds_buf *out,
			     struct ds_err *err)
{
	struct ds_record r;

	DS_TRY(ds_record_get(&a->map, b->offset, a->directory_offset, &r, err));
	if (r.type != DS_RECORD_BLOCK || r.raw != b->raw || r.stored != b->stored)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, b->offset,
				  "a block of %u bytes (%u stored) was expected here", b->raw,
				  b->stored);
	DS_TRY(ds_record_verify(&a->map, &r, err));
	return decode_block(a, b, &r, out, err);
}

static void drop_cached(struct ds_archive *a, struct ds_cached_block *c)
{
	if (c->text.data)
		a->block[c->block].cached = 0;
	a->cached_bytes -= c->text.cap;
	ds_buf_fini(&c->text);
	*c = (struct ds_cached_block){0};
}

/* A free entry of the cache, after making room for bytes. */
static enum ds_status free_entry(struct ds_archive *a, size_t bytes,
				 struct ds_cached_block **c_ret, struct ds_err *err)
{
	struct ds_cached_block *oldest = NULL, *unused = NULL;

	do {
		oldest = NULL;
		for (size_t i = 0; i < a->n_cached; i++) {
			struct ds_cached_block *c = &a->cache[i];

			if (!c->text.data)
				unused = c;
			else if (!oldest || c->used < oldest->used)
				oldest = c;
		}
		if (!oldest || a->cached_bytes + bytes <= BLOCKS_KEPT)
			break;
		drop_cached(a, oldest);
	} while (1);
	if (!unused) {
		DS_TRY(ds_grow(&a->cache, &a->cap_cached, a->n_cached + 1, sizeof *a->cache, err));
		unused = &a->cache[a->n_cached++];
		*unused = (struct ds_cached_block){0};
	}
	*c_ret = unused;
	return DS_OK;
}

enum ds_status ds_block_load(struct ds_archive *a, uint64_t index, const uint8_t **text_ret,
			     struct ds_err *err)
{
	struct ds_block *b = &a->block[index];
	struct ds_cached_block *c;
	enum ds_status st;

	if (ds_block_is_dictionary(a, b)) {
		struct ds_dictionary_entry *d = &a->dictionary[b->dictionary - 1];

		DS_TRY(load_dictionary(a, d, err));
		*text_ret = d->text.data;
		if (d->text.len == b->raw)
			return DS_OK;
		return ds_fail_at(err, DS_EFORMAT, a->map.path, b->offset,
				  "a dictionary of %u bytes was expected here", b->raw);
	}
	if (!b->cached) {
		DS_TRY(free_entry(a, b->raw, &c, err));
		st = unpack(a, b, &c->text, err);
		a->cached_bytes += c->text.cap;
		c->block = index;
		if (st != DS_OK) {
			drop_cached(a, c);
			return st;
		}
		b->cached = (uint32_t)(c - a->cache) + 1;
	}
	c = &a->cache[b->cached - 1];
	c->used = ++a->clock;
	*text_ret = c->text.data;
	return DS_OK;
}

void ds_block_cache_fini(struct ds_archive *a)
{
	for (size_t i = 0; a->dictionary && i < a->n_dictionaries; i++)
		ds_buf_fini(&a->dictionary[i].text);
	for (size_t i = 0; i < a->n_cached; i++)
		ds_buf_fini(&a->cache[i].text);
	free(a->cache);
}
