/* record.c - the records an archive is made of: heads, checksums, coders, varints */
#include "archive/record.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "archive/archive.h"
#include "archive/code.h"

#define VERSION 5
#define SEALED 1 /* flag of the header, and of records */
#define TABLE_LEVEL 19

static const uint8_t header_magic[8] = {0xD5, 'D', 'S', 'Z', '\r', '\n', 0x1A, '\n'};
static const uint8_t footer_magic[8] = {0xD5, 'D', 'S', 'Z', 'E', 'N', 'D', '\n'};
static const uint8_t record_magic[4] = {0xD5, 'R', 'E', 'C'};

void ds_archive_header(uint8_t header[DS_ARCHIVE_HEADER_BYTES], int sealed)
{
	memcpy(header, header_magic, 8);
	ds_put_u16(header + 8, VERSION);
	ds_put_u16(header + 10, sealed ? SEALED : 0);
	ds_put_u32(header + 12, (uint32_t)XXH3_64bits(header, 12));
}

enum ds_status ds_archive_header_check(const struct ds_map *map, int *sealed_ret,
				       struct ds_err *err)
{
	const uint8_t *p = map->data;

	if (map->len < 8 || memcmp(p, header_magic, 8) != 0)
		return ds_fail_at(err, DS_EFORMAT, map->path, 0, "not an archive of ds-compress");
	if (map->len < DS_ARCHIVE_HEADER_BYTES)
		return ds_fail_at(err, DS_ETRUNCATED, map->path, map->len,
				  "the archive ends within its header");
	if ((uint32_t)XXH3_64bits(p, 12) != ds_get_u32(p + 12))
		return ds_fail_at(err, DS_ECORRUPT, map->path, 12,
				  "checksum of the header does not match");
	if (ds_get_u16(p + 8) != VERSION)
		return ds_fail_at(err, DS_EUNSUPPORTED, map->path, 8,
				  "archive version %u; this program reads version %d",
				  ds_get_u16(p + 8), VERSION);
	if (ds_get_u16(p + 10) & ~SEALED)
		return ds_fail_at(err, DS_EUNSUPPORTED, map->path, 10,
				  "an archive with flags %#x, which this version does not know",
				  ds_get_u16(p + 10));
	*sealed_ret = ds_get_u16(p + 10) == SEALED;
	return DS_OK;
}

void ds_archive_footer(uint8_t footer[DS_ARCHIVE_FOOTER_BYTES], uint64_t directory,
		       uint64_t file_bytes)
{
	memcpy(footer, footer_magic, 8);
	ds_put_u64(footer + 8, directory);
	ds_put_u64(footer + 16, file_bytes);
	ds_put_u64(footer + 24, XXH3_64bits(footer, 24));
}

enum ds_status ds_archive_footer_get(const struct ds_map *map, uint64_t end,
				     uint64_t *directory_ret, struct ds_err *err)
{
	const uint8_t *p;
	uint64_t at;

	if (end > map->len ||
	    end < DS_ARCHIVE_HEADER_BYTES + DS_RECORD_HEAD_BYTES + DS_ARCHIVE_FOOTER_BYTES)
		return ds_fail_at(err, DS_ETRUNCATED, map->path, map->len,
				  "the archive has no footer: it is truncated");
	at = end - DS_ARCHIVE_FOOTER_BYTES;
	p = map->data + at;
	if (memcmp(p, footer_magic, 8) != 0)
		return ds_fail_at(
			err, DS_ETRUNCATED, map->path, at,
			"no footer at the end: the archive is truncated or something follows it");
	if (XXH3_64bits(p, 24) != ds_get_u64(p + 24))
		return ds_fail_at(err, DS_ECORRUPT, map->path, at,
				  "checksum of the footer does not match");
	at = end - ds_get_u64(p + 16);
	if (at && at < end && end - at >= 8 && memcmp(map->data + at, header_magic, 8) == 0)
		return ds_fail_at(err, DS_EFORMAT, map->path, at,
				  "another archive begins here: ds-compress --join makes one of "
				  "several");
	at = end - DS_ARCHIVE_FOOTER_BYTES;
	if (ds_get_u64(p + 16) != end)
		return ds_fail_at(err, DS_EFORMAT, map->path, at + 16,
				  "the footer is of an archive of %llu bytes, this one has %llu",
				  (unsigned long long)ds_get_u64(p + 16), (unsigned long long)end);
	*directory_ret = ds_get_u64(p + 8);
	if (*directory_ret < DS_ARCHIVE_HEADER_BYTES || *directory_ret >= at)
		return ds_fail_at(err, DS_EFORMAT, map->path, at + 8,
				  "the directory would be at byte %llu",
				  (unsigned long long)*directory_ret);
	return DS_OK;
}

void ds_index_count(uint8_t type, uint64_t bytes, struct ds_archive_totals *totals)
{
	if (type == DS_RECORD_VECTORS)
		totals->vector_bytes += bytes;
	if (type == DS_RECORD_WORDS)
		totals->word_bytes += bytes;
	if (type == DS_RECORD_PASSAGES)
		totals->passage_bytes += bytes;
}

void ds_record_count(const struct ds_record *r, struct ds_archive_totals *totals)
{
	uint64_t bytes = r->end - r->offset;

	ds_index_count(r->type, bytes, totals);
	if (r->type != DS_RECORD_BLOCK && r->type != DS_RECORD_DICTIONARY)
		return;
	totals->stored_text += r->raw;
	if (r->coder < DS_ARCHIVE_CODERS)
		totals->coder_bytes[r->coder] += r->stored;
	if (r->type == DS_RECORD_BLOCK) {
		totals->block_bytes += bytes;
	} else {
		totals->dictionary_bytes += bytes;
		totals->dictionary_text += r->raw;
	}
}

/* What a seal says of a record: its head without flags and checksums, and where it is. */
static void place_of(const struct ds_record *r, uint8_t place[DS_SEAL_PLACE_BYTES])
{
	memset(place, 0, DS_SEAL_PLACE_BYTES);
	place[0] = r->type;
	place[1] = r->coder;
	ds_put_u32(place + 4, r->stored);
	ds_put_u32(place + 8, r->raw);
	ds_put_u64(place + 16, r->offset);
}

static enum ds_status write_record(struct ds_out *out, const struct ds_record *r,
				   struct ds_err *err)
{
	const uint32_t stored = r->stored + (r->sealed ? DS_SEAL_EXTRA_BYTES : 0);
	uint8_t head[DS_RECORD_HEAD_BYTES] = {0};
	static const uint8_t zeros[8];

	memcpy(head, record_magic, 4);
	head[4] = r->type;
	head[5] = r->coder;
	ds_put_u16(head + 6, r->sealed ? SEALED : 0);
	ds_put_u32(head + 8, stored);
	ds_put_u32(head + 12, r->raw);
	ds_put_u64(head + 16, XXH3_64bits(r->bytes, stored));
	ds_put_u64(head + 24, XXH3_64bits(head, 24));
	DS_TRY(ds_out_write(out, head, sizeof head, err));
	DS_TRY(ds_out_write(out, r->bytes, stored, err));
	return ds_out_write(out, zeros, -stored & 7, err);
}

enum ds_status ds_record_write(const struct ds_record_sink *to, struct ds_record *r_io,
			       struct ds_err *err)
{
	uint8_t place[DS_SEAL_PLACE_BYTES], *sealed;
	struct ds_record r;
	enum ds_status st;

	r_io->sealed = to->seal && r_io->type != DS_RECORD_LOCK;
	r_io->offset = to->out->written;
	r_io->end = r_io->offset + ds_record_size(r_io->stored, r_io->sealed);
	if (!r_io->sealed)
		return write_record(to->out, r_io, err);
	r = *r_io;
	sealed = ds_alloc((size_t)r.stored + DS_SEAL_EXTRA_BYTES, 1);
	if (!sealed)
		return ds_fail_nomem(err, (uint64_t)r.stored + DS_SEAL_EXTRA_BYTES);
	place_of(&r, place);
	ds_seal_put(to->seal, place, r.bytes, r.stored, sealed);
	r.bytes = sealed;
	st = write_record(to->out, &r, err);
	free(sealed);
	return st;
}

static int may_be_mixed(uint8_t type)
{
	return type == DS_RECORD_DOCUMENTS || type == DS_RECORD_PASSAGES;
}

/* What a coder made of a table is stored where its bytes are fewer than limit. */
static void take_code(struct ds_record *r, uint8_t coder, const struct ds_buf *code, size_t limit)
{
	if (code->len >= limit || r->raw > ds_record_raw_max((uint32_t)code->len))
		return;
	r->coder = coder;
	r->stored = (uint32_t)code->len;
	r->bytes = code->data;
}

static enum ds_status table_zstd(const struct ds_buf *raw, struct ds_buf *code, struct ds_err *err)
{
	size_t n;

	DS_TRY(ds_buf_reserve(code, ZSTD_compressBound(raw->len), err));
	n = ZSTD_compress(code->data, code->cap, raw->data, raw->len, TABLE_LEVEL);
	if (ZSTD_isError(n))
		return ds_fail_nomem(err, raw->len);
	code->len = n;
	return DS_OK;
}

enum ds_status ds_record_pack(const struct ds_record_sink *to, uint8_t type,
			      const struct ds_buf *raw, size_t mix_gain, struct ds_err *err)
{
	struct ds_record r = {.type = type, .stored = (uint32_t)raw->len, .bytes = raw->data};
	struct ds_buf packed = {0}, mixed = {0};
	enum ds_status st;

	if (raw->len > DS_RECORD_BYTES_MAX)
		return ds_fail(err, DS_ELIMIT, "a table of %zu bytes is over the limit of %u",
			       raw->len, DS_RECORD_BYTES_MAX);
	r.raw = r.stored;
	st = table_zstd(raw, &packed, err);
	if (st == DS_OK)
		take_code(&r, DS_CODER_ZSTD, &packed, raw->len);
	/* hardly ever are these bytes halved once more */
	if (st == DS_OK && may_be_mixed(type) && r.stored / 2 >= mix_gain) {
		st = ds_mixed_encode(raw->data, raw->len, &mixed, err);
		if (st == DS_OK)
			take_code(&r, DS_CODER_STRONG, &mixed, r.stored - mix_gain + 1);
	}
	if (st == DS_OK)
		st = ds_record_write(to, &r, err);
	ds_buf_fini(&packed);
	ds_buf_fini(&mixed);
	return st;
}

static enum ds_status check_head(const struct ds_map *map, const uint8_t *p, uint64_t offset,
				 struct ds_err *err)
{
	if (memcmp(p, record_magic, 4) != 0)
		return ds_fail_at(err, DS_EFORMAT, map->path, offset, "a record was expected here");
	if (XXH3_64bits(p, 24) != ds_get_u64(p + 24))
		return ds_fail_at(err, DS_ECORRUPT, map->path, offset,
				  "checksum of a record's head does not match");
	if (ds_get_u16(p + 6) & ~SEALED)
		return ds_fail_at(err, DS_EUNSUPPORTED, map->path, offset + 6,
				  "a record with flags %#x, which this version does not know",
				  ds_get_u16(p + 6));
	return DS_OK;
}

static enum ds_status check_sizes(const struct ds_map *map, const struct ds_record *r,
				  struct ds_err *err)
{
	int is_text = r->type == DS_RECORD_BLOCK || r->type == DS_RECORD_DICTIONARY;
	uint32_t max = is_text ? DS_BLOCK_BYTES_MAX : DS_RECORD_BYTES_MAX;

	if (r->raw > max)
		return ds_fail_at(err, DS_ELIMIT, map->path, r->offset + 12,
				  "a record of %u bytes is over the limit of %u", r->raw, max);
	if (!is_text && r->raw > ds_record_raw_max(r->stored))
		return ds_fail_at(err, DS_ELIMIT, map->path, r->offset + 12,
				  "%u bytes in %u stored ones are over the allowed ratio", r->raw,
				  r->stored);
	if (r->coder == DS_CODER_STORED && r->stored != r->raw)
		return ds_fail_at(err, DS_EFORMAT, map->path, r->offset + 8,
				  "a stored record of %u bytes claims to be %u", r->stored, r->raw);
	return DS_OK;
}

enum ds_status ds_record_get(const struct ds_map *map, uint64_t offset, uint64_t limit,
			     struct ds_record *r_ret, struct ds_err *err)
{
	const uint8_t *p;

	if (limit > map->len || offset > limit || limit - offset < DS_RECORD_HEAD_BYTES)
		return ds_fail_at(err, DS_ETRUNCATED, map->path, offset,
				  "a record was expected here, %llu bytes are left",
				  (unsigned long long)(offset <= limit ? limit - offset : 0));
	p = map->data + offset;
	DS_TRY(check_head(map, p, offset, err));
	*r_ret = (struct ds_record){
		.type = p[4],
		.coder = p[5],
		.sealed = ds_get_u16(p + 6) == SEALED,
		.stored = ds_get_u32(p + 8),
		.raw = ds_get_u32(p + 12),
		.hash = ds_get_u64(p + 16),
		.bytes = p + DS_RECORD_HEAD_BYTES,
		.offset = offset,
	};
	if (ds_record_size(r_ret->stored, 0) > limit - offset)
		return ds_fail_at(err, DS_ETRUNCATED, map->path, offset + 8,
				  "a record of %u bytes reaches beyond its place", r_ret->stored);
	r_ret->end = offset + ds_record_size(r_ret->stored, 0);
	if (r_ret->sealed && r_ret->stored < DS_SEAL_EXTRA_BYTES)
		return ds_fail_at(err, DS_EFORMAT, map->path, offset + 8,
				  "a sealed record of %u bytes", r_ret->stored);
	r_ret->stored -= r_ret->sealed ? DS_SEAL_EXTRA_BYTES : 0;
	return check_sizes(map, r_ret, err);
}

enum ds_status ds_record_verify(const struct ds_map *map, const struct ds_record *r,
				struct ds_err *err)
{
	const uint32_t stored = r->stored + (r->sealed ? DS_SEAL_EXTRA_BYTES : 0);
	const uint8_t *bytes = map->data + r->offset + DS_RECORD_HEAD_BYTES;

	if (XXH3_64bits(bytes, stored) != r->hash)
		return ds_fail_at(err, DS_ECORRUPT, map->path, r->offset + DS_RECORD_HEAD_BYTES,
				  "checksum of %u bytes does not match", stored);
	for (const uint8_t *p = bytes + stored; p < map->data + r->end; p++)
		if (*p)
			return ds_fail_at(err, DS_ECORRUPT, map->path, (uint64_t)(p - map->data),
					  "padding is not zero");
	return DS_OK;
}

/* A lock must be the one that was opened. */
static enum ds_status check_lock(const struct ds_map *map, const struct ds_seal *seal,
				 const struct ds_record *r, struct ds_err *err)
{
	if (!seal || r->sealed || r->stored != DS_SEAL_LOCK_BYTES ||
	    memcmp(r->bytes, ds_seal_lock(seal), r->stored) != 0)
		return ds_fail_at(err, DS_ECORRUPT, map->path, r->offset,
				  "a lock that is not the archive's");
	return DS_OK;
}

enum ds_status ds_record_open(const struct ds_map *map, const struct ds_seal *seal,
			      struct ds_record *r_io, struct ds_buf *plain, struct ds_err *err)
{
	uint8_t place[DS_SEAL_PLACE_BYTES];

	DS_TRY(ds_record_verify(map, r_io, err));
	if (r_io->type == DS_RECORD_LOCK)
		return check_lock(map, seal, r_io, err);
	if (!seal != !r_io->sealed)
		return ds_fail_at(err, DS_ECORRUPT, map->path, r_io->offset + 6,
				  seal ? "a record that is not sealed, in a sealed archive"
				       : "a sealed record, in an archive without a lock");
	if (!seal)
		return DS_OK;
	plain->len = 0;
	DS_TRY(ds_buf_reserve(plain, (size_t)r_io->stored + 1, err));
	place_of(r_io, place);
	if (ds_seal_get(seal, place, map->data + r_io->offset + DS_RECORD_HEAD_BYTES,
			r_io->stored, plain->data) != DS_OK)
		return ds_fail_at(err, DS_ECORRUPT, map->path, r_io->offset,
				  "a record that was not sealed by this key, here: it was changed");
	plain->len = r_io->stored;
	r_io->bytes = plain->data;
	return DS_OK;
}

static enum ds_status unmix(const struct ds_map *map, const struct ds_record *r,
			    struct ds_buf *buf, struct ds_err *err)
{
	enum ds_status st =
		ds_mixed_decode(r->bytes, r->stored, buf->data + buf->len, r->raw, err);

	if (st == DS_OK)
		buf->len += r->raw;
	else if (st != DS_ENOMEM)
		st = ds_fail_at(err, DS_EFORMAT, map->path, r->offset + DS_RECORD_HEAD_BYTES,
				"a table does not unpack to %u bytes", r->raw);
	return st;
}

static enum ds_status unpack(const struct ds_map *map, const struct ds_record *r,
			     struct ds_buf *buf, struct ds_err *err)
{
	size_t n;

	if (r->coder == DS_CODER_STORED)
		return ds_buf_append(buf, r->bytes, r->stored, err);
	if (r->coder != DS_CODER_ZSTD && !(r->coder == DS_CODER_STRONG && may_be_mixed(r->type)))
		return ds_fail_at(err, DS_EUNSUPPORTED, map->path, r->offset + 5,
				  "coder %u, which this version does not know", r->coder);
	DS_TRY(ds_buf_reserve(buf, (size_t)r->raw + 1, err));
	if (r->coder == DS_CODER_STRONG)
		return unmix(map, r, buf, err);
	n = ZSTD_decompress(buf->data + buf->len, r->raw, r->bytes, r->stored);
	if (ZSTD_isError(n) || n != r->raw)
		return ds_fail_at(err, DS_EFORMAT, map->path, r->offset + DS_RECORD_HEAD_BYTES,
				  "a table does not unpack to %u bytes: %s", r->raw,
				  ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
	buf->len += n;
	return DS_OK;
}

enum ds_status ds_record_unpack(const struct ds_map *map, const struct ds_seal *seal,
				struct ds_record *r, struct ds_buf *buf, struct ds_err *err)
{
	struct ds_buf plain = {0};
	enum ds_status st = ds_record_open(map, seal, r, &plain, err);

	if (st == DS_OK)
		st = unpack(map, r, buf, err);
	ds_buf_fini(&plain);
	r->bytes = map->data + r->offset + DS_RECORD_HEAD_BYTES;
	return st;
}

enum ds_status ds_varint_put(struct ds_buf *buf, uint64_t value, struct ds_err *err)
{
	uint8_t bytes[10];
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[n++] = (uint8_t)(value | 0x80);
	bytes[n++] = (uint8_t)value;
	return ds_buf_append(buf, bytes, n, err);
}

enum ds_status ds_varint_get(struct ds_cursor *cur, uint64_t *value_ret)
{
	uint64_t value = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		DS_TRY(ds_cursor_u8(cur, &byte));
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80) {
			if (byte == 0 && shift)
				break;
			*value_ret = value;
			return DS_OK;
		}
	}
	return ds_cursor_fail(cur, DS_EFORMAT, "a number is longer than it should be");
}
