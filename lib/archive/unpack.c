/* unpack.c - blocks unpacked, and kept while they are likely to be asked for again */
#include "archive/reader.h"

#include <stdlib.h>
#include <xxhash.h>

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

/* The raw bytes of a block or dictionary into out; c has what is known before them. */
static enum ds_status decode(struct ds_archive *a, struct ds_record *r, struct ds_coded *c,
			     struct ds_buf *out, struct ds_err *err)
{
	enum ds_status st = a->decoder ? DS_OK : ds_block_decoder_new(&a->decoder, err);
	struct ds_buf plain = {0};

	if (st == DS_OK)
		st = ds_record_open(&a->map, a->seal, r, &plain, err);
	c->alone = r->type == DS_RECORD_DICTIONARY;
	c->coder = r->coder;
	c->code = r->bytes;
	c->stored = r->stored;
	c->raw = r->raw;
	if (st == DS_OK)
		st = ds_buf_reserve(out, (size_t)r->raw + 1, err);
	if (st == DS_OK)
		st = ds_block_decode(a->decoder, c, out->data, err);
	if (st == DS_OK) {
		out->len = r->raw;
	} else if (err && !err->path[0]) {
		ds_err_set_path(err, a->map.path);
		err->offset = r->offset;
	}
	ds_buf_fini(&plain);
	return st;
}

/* What was unpacked must be what was packed, whatever a decoder makes of its code. */
static enum ds_status check_hash(const struct ds_archive *a, uint64_t offset,
				 const struct ds_buf *text, uint64_t hash, struct ds_err *err)
{
	if (XXH3_64bits(text->data, text->len) == hash)
		return DS_OK;
	return ds_fail_at(err, DS_ECORRUPT, a->map.path, offset,
			  "a block does not unpack to the bytes that it had");
}

static enum ds_status load_dictionary(struct ds_archive *a, struct ds_dictionary_entry *d,
				      struct ds_err *err)
{
	struct ds_coded c = {.dictionary_number = (uint32_t)(d - a->dictionary) + 1};
	struct ds_record r;
	enum ds_status st;

	d->used = ++a->clock;
	if (d->text.data)
		return DS_OK;
	DS_TRY(ds_record_get(&a->map, d->offset, a->directory_offset, &r, err));
	if (r.type != DS_RECORD_DICTIONARY)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, d->offset,
				  "a dictionary was expected here");
	drop_dictionaries(a, r.raw);
	st = decode(a, &r, &c, &d->text, err);
	if (st == DS_OK && d->hash_known)
		st = check_hash(a, d->offset, &d->text, d->hash, err);
	if (st == DS_OK) {
		a->dictionary_bytes += d->text.cap;
	} else {
		ds_buf_fini(&d->text);
		d->text = (struct ds_buf){0};
	}
	return st;
}

/* The text that a block refers to: other blocks are loaded. */
static enum ds_status load_references(struct ds_archive *a, const struct ds_block *b,
				      struct ds_buf *references, struct ds_err *err)
{
	for (uint32_t i = 0; i < b->references; i++) {
		const struct ds_stored_piece *p = &a->piece[a->reference[b->first_reference + i]];
		const uint8_t *text;

		DS_TRY(ds_block_load(a, p->block, &text, err));
		DS_TRY(ds_buf_append(references, text + p->offset, p->length, err));
	}
	return DS_OK;
}

enum ds_status ds_block_record(const struct ds_archive *a, const struct ds_block *b,
			       struct ds_record *r_ret, struct ds_err *err)
{
	DS_TRY(ds_record_get(&a->map, b->offset, a->directory_offset, r_ret, err));
	if (r_ret->type != DS_RECORD_BLOCK || r_ret->raw != b->raw || r_ret->stored != b->stored)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, b->offset,
				  "a block of %u bytes (%u stored) was expected here", b->raw,
				  b->stored);
	if (!ds_coder_needs_references(r_ret->coder) != !b->references)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, b->offset, "a block of coder %u %s",
				  r_ret->coder,
				  b->references ? "refers to others" : "refers to nothing");
	return DS_OK;
}

static enum ds_status unpack(struct ds_archive *a, const struct ds_block *b,
			     struct ds_record *r, struct ds_buf *out, struct ds_err *err)
{
	struct ds_dictionary_entry *d = b->dictionary ? &a->dictionary[b->dictionary - 1] : NULL;
	struct ds_coded c = {.dictionary_number = b->dictionary};
	struct ds_buf references = {0};
	enum ds_status st = load_references(a, b, &references, err);

	c.references = references.data;
	c.reference_bytes = references.len;
	if (st == DS_OK && d && ds_coder_needs_dictionary(r->coder)) {
		st = load_dictionary(a, d, err);
		c.dictionary = d->text.data;
		c.dictionary_bytes = d->text.len;
	}
	if (st == DS_OK)
		st = decode(a, r, &c, out, err);
	ds_buf_fini(&references);
	return st;
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
static enum ds_status free_entry(struct ds_archive *a, size_t bytes, struct ds_cached_block **c_ret,
				 struct ds_err *err)
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

enum ds_status ds_block_keep(struct ds_archive *a, uint64_t index, struct ds_buf *text,
			     struct ds_err *err)
{
	const struct ds_block *b = &a->block[index];
	struct ds_cached_block *c;

	DS_TRY(check_hash(a, b->offset, text, b->hash, err));
	DS_TRY(free_entry(a, text->cap, &c, err));
	c->text = *text;
	c->block = index;
	c->used = ++a->clock;
	a->cached_bytes += c->text.cap;
	a->block[index].cached = (uint32_t)(c - a->cache) + 1;
	*text = (struct ds_buf){0};
	return DS_OK;
}

/* The bytes of a block into the cache. */
static enum ds_status cache_block(struct ds_archive *a, uint64_t index, struct ds_err *err)
{
	const struct ds_block *b = &a->block[index];
	struct ds_buf text = {0};
	enum ds_status st;
	struct ds_record r;

	DS_TRY(ds_block_record(a, b, &r, err));
	if (r.coder == DS_CODER_LM)
		return ds_lm_block_load(a, index, err);
	st = unpack(a, b, &r, &text, err);
	if (st == DS_OK)
		st = ds_block_keep(a, index, &text, err);
	ds_buf_fini(&text);
	return st;
}

enum ds_status ds_block_load(struct ds_archive *a, uint64_t index, const uint8_t **text_ret,
			     struct ds_err *err)
{
	struct ds_block *b = &a->block[index];
	struct ds_cached_block *c;

	if (ds_block_is_dictionary(a, b)) {
		struct ds_dictionary_entry *d = &a->dictionary[b->dictionary - 1];

		DS_TRY(load_dictionary(a, d, err));
		*text_ret = d->text.data;
		if (d->text.len == b->raw)
			return DS_OK;
		return ds_fail_at(err, DS_EFORMAT, a->map.path, b->offset,
				  "a dictionary of %u bytes was expected here", b->raw);
	}
	if (!b->cached)
		DS_TRY(cache_block(a, index, err));
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
