/* plain.c - the seekable format of Zstandard: frames, and a table of them at the end */
#include "archive/plain.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "archive/reader.h"
#include "base/cursor.h"

#define FRAME_MAGIC 0xFD2FB528u
#define SKIP_MAGIC 0x184D2A50u /* to 0x184D2A5F */
#define TABLE_MAGIC 0x184D2A5Eu
#define FOOTER_MAGIC 0x8F92EAB1u
#define FOOTER_BYTES 9
#define HAS_CHECKSUMS 0x80u
#define RESERVED_BITS 0x7Cu
#define FRAMES_MAX ((uint32_t)0x8000000)
#define WAVE_MAX 64
#define OUT_BYTES ((size_t)1 << 17)

/* A frame while it is packed. */
struct packed {
	uint8_t *text;
	size_t n, size;
	struct ds_buf code;
	uint32_t checksum;
	enum ds_status st;
	struct ds_err err;
};

struct plain_writer {
	const struct ds_plain_options *o;
	ZSTD_CCtx **cctx; /* [threads] */
	struct packed frame[WAVE_MAX];
	size_t wave; /* frames of it */
	struct ds_buf table;
	uint32_t n;
};

static void pack(void *arg, size_t index, unsigned thread)
{
	struct plain_writer *w = arg;
	struct packed *f = &w->frame[index];
	size_t n;

	f->code.len = 0;
	f->st = ds_buf_reserve(&f->code, ZSTD_compressBound(f->n), &f->err);
	if (f->st != DS_OK)
		return;
	n = ZSTD_compress2(w->cctx[thread], f->code.data, f->code.cap, f->text, f->n);
	if (ZSTD_isError(n)) {
		f->st = ds_fail(&f->err, DS_ENOMEM, "zstd: %s", ZSTD_getErrorName(n));
		return;
	}
	f->code.len = n;
	f->checksum = (uint32_t)XXH64(f->text, f->n, 0);
}

/* Fill a frame from in: fewer bytes only at its end. */
static enum ds_status fill(const struct plain_writer *w, struct packed *f, struct ds_in *in,
			   struct ds_err *err)
{
	size_t got = 1;

	if (!f->text)
		f->text = ds_alloc(w->o->frame_bytes, 1);
	if (!f->text)
		return ds_fail_nomem(err, w->o->frame_bytes);
	for (f->n = 0; got && f->n < w->o->frame_bytes; f->n += got)
		DS_TRY(ds_in_read(in, f->text + f->n, w->o->frame_bytes - f->n, &got, err));
	return DS_OK;
}

static enum ds_status put_frame(struct plain_writer *w, const struct packed *f, struct ds_out *out,
				struct ds_err *err)
{
	uint8_t entry[12];

	if (f->st != DS_OK) {
		*err = f->err;
		return f->st;
	}
	if (w->n == FRAMES_MAX)
		return ds_fail(err, DS_ELIMIT, "more than %u frames: take a larger --chunk",
			       FRAMES_MAX);
	w->n++;
	ds_put_u32(entry, (uint32_t)f->code.len);
	ds_put_u32(entry + 4, (uint32_t)f->n);
	ds_put_u32(entry + 8, f->checksum);
	DS_TRY(ds_buf_append(&w->table, entry, sizeof entry, err));
	return ds_out_write(out, f->code.data, f->code.len, err);
}

static enum ds_status put_frames(struct plain_writer *w, struct ds_in *in, struct ds_out *out,
				 uint64_t *bytes_ret, struct ds_err *err)
{
	for (size_t n = w->wave; n == w->wave;) {
		for (n = 0; n < w->wave; n++) {
			DS_TRY(fill(w, &w->frame[n], in, err));
			if (!w->frame[n].n && (n || *bytes_ret))
				break; /* an empty text is an empty frame */
			*bytes_ret += w->frame[n].n;
			if (w->frame[n].n < w->o->frame_bytes) {
				n++;
				break;
			}
		}
		ds_pool_run(w->o->pool, n, pack, w);
		for (size_t i = 0; i < n; i++)
			DS_TRY(put_frame(w, &w->frame[i], out, err));
		if (n && w->frame[n - 1].n < w->o->frame_bytes)
			break;
	}
	return DS_OK;
}

static enum ds_status put_table(const struct plain_writer *w, struct ds_out *out,
				struct ds_err *err)
{
	uint8_t head[8], footer[FOOTER_BYTES];

	if (w->table.len > UINT32_MAX - FOOTER_BYTES)
		return ds_fail(err, DS_ELIMIT, "too many frames: take a larger --chunk");
	ds_put_u32(head, TABLE_MAGIC);
	ds_put_u32(head + 4, (uint32_t)w->table.len + FOOTER_BYTES);
	ds_put_u32(footer, w->n);
	footer[4] = HAS_CHECKSUMS;
	ds_put_u32(footer + 5, FOOTER_MAGIC);
	DS_TRY(ds_out_write(out, head, sizeof head, err));
	DS_TRY(ds_out_write(out, w->table.data, w->table.len, err));
	return ds_out_write(out, footer, sizeof footer, err);
}

static enum ds_status make_contexts(struct plain_writer *w, unsigned threads, struct ds_err *err)
{
	w->cctx = ds_alloc_zero(threads, sizeof(*w->cctx));
	if (!w->cctx)
		return ds_fail_nomem(err, threads);
	for (unsigned i = 0; i < threads; i++) {
		w->cctx[i] = ZSTD_createCCtx();
		if (!w->cctx[i])
			return ds_fail_nomem(err, 1);
		ZSTD_CCtx_setParameter(w->cctx[i], ZSTD_c_compressionLevel, w->o->level);
		ZSTD_CCtx_setParameter(w->cctx[i], ZSTD_c_checksumFlag, 1);
	}
	return DS_OK;
}

enum ds_status ds_plain_write(struct ds_in *in, struct ds_out *out,
			      const struct ds_plain_options *options, uint64_t *bytes_ret,
			      struct ds_err *err)
{
	const unsigned threads = ds_pool_threads(options->pool);
	struct plain_writer *w = ds_alloc_zero(1, sizeof *w);
	enum ds_status st;

	*bytes_ret = 0;
	if (!w)
		return ds_fail_nomem(err, sizeof *w);
	w->o = options;
	w->wave = 2 * (size_t)threads < WAVE_MAX ? 2 * (size_t)threads : WAVE_MAX;
	st = make_contexts(w, threads, err);
	if (st == DS_OK)
		st = put_frames(w, in, out, bytes_ret, err);
	if (st == DS_OK)
		st = put_table(w, out, err);
	for (unsigned i = 0; w->cctx && i < threads; i++)
		ZSTD_freeCCtx(w->cctx[i]);
	for (size_t i = 0; i < WAVE_MAX; i++) {
		free(w->frame[i].text);
		ds_buf_fini(&w->frame[i].code);
	}
	ds_buf_fini(&w->table);
	free(w->cctx);
	free(w);
	return st;
}

int ds_plain_probe(const void *bytes, size_t n)
{
	uint32_t magic = n >= 4 ? ds_get_u32(bytes) : 0;

	return magic == FRAME_MAGIC || (magic & ~15u) == SKIP_MAGIC;
}

struct ds_plain {
	struct ds_map map;
	int spill;
	uint32_t n;
	int has_checksums;
	const uint8_t *table;
	uint64_t bytes;
	ZSTD_DCtx *dctx;
	XXH64_state_t *hash;
	uint8_t *out; /* [OUT_BYTES] */
};

static enum ds_status bad(const struct ds_plain *p, uint64_t offset, const char *what,
			  struct ds_err *err)
{
	return ds_fail_at(err, DS_EFORMAT, p->map.path, offset, "%s", what);
}

static size_t entry_bytes(const struct ds_plain *p)
{
	return p->has_checksums ? 12 : 8;
}

/* The sizes of the frames must be those of the file. */
static enum ds_status check_table(struct ds_plain *p, uint64_t table_offset, struct ds_err *err)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		const uint8_t *entry = p->table + i * entry_bytes(p);

		at += ds_get_u32(entry);
		p->bytes += ds_get_u32(entry + 4);
	}
	if (at != table_offset)
		return bad(p, table_offset, "the frames and the table of them disagree", err);
	return DS_OK;
}

static enum ds_status read_table(struct ds_plain *p, struct ds_err *err)
{
	const uint64_t len = p->map.len;
	const uint8_t *footer;
	uint64_t size;

	if (len < 8 + FOOTER_BYTES || ds_get_u32(p->map.data + len - 4) != FOOTER_MAGIC)
		return bad(p, len,
			   "no table of frames at the end: not made with --plain, or truncated",
			   err);
	footer = p->map.data + len - FOOTER_BYTES;
	p->n = ds_get_u32(footer);
	p->has_checksums = footer[4] & HAS_CHECKSUMS;
	if (footer[4] & RESERVED_BITS)
		return bad(p, len - 5, "a table of frames of a kind that is not known", err);
	size = (uint64_t)p->n * entry_bytes(p) + FOOTER_BYTES;
	if (p->n > FRAMES_MAX || size + 8 > len)
		return bad(p, len - FOOTER_BYTES, "a table of more frames than there can be", err);
	p->table = p->map.data + len - size;
	if (ds_get_u32(p->table - 8) != TABLE_MAGIC || ds_get_u32(p->table - 4) != size)
		return bad(p, len - size - 8, "the table of frames was expected here", err);
	return check_table(p, len - size - 8, err);
}

enum ds_status ds_plain_open(struct ds_plain **p_ret, const char *path, struct ds_err *err)
{
	struct ds_plain *p = ds_alloc_zero(1, sizeof *p);
	struct ds_in in;
	enum ds_status st;

	if (!p)
		return ds_fail_nomem(err, sizeof *p);
	p->spill = -1;
	p->dctx = ZSTD_createDCtx();
	p->hash = XXH64_createState();
	p->out = ds_alloc(OUT_BYTES, 1);
	if (!p->dctx || !p->hash || !p->out) {
		st = ds_fail_nomem(err, OUT_BYTES);
	} else if (path && strcmp(path, "-") != 0) {
		st = ds_map_open(&p->map, path, err);
	} else {
		st = ds_in_open(&in, "-", err);
		if (st == DS_OK) {
			st = ds_spill_map(&p->map, &p->spill, &in, err);
			ds_in_close(&in);
		}
	}
	if (st == DS_OK)
		st = read_table(p, err);
	if (st != DS_OK)
		ds_plain_close(p);
	else
		*p_ret = p;
	return st;
}

uint64_t ds_plain_bytes(const struct ds_plain *p)
{
	return p->bytes;
}

uint64_t ds_plain_file_bytes(const struct ds_plain *p)
{
	return p->map.len;
}

/* A frame, and what of its text is wanted. */
struct wanted {
	uint64_t offset, from, end;
	ds_write_fn *write;
	void *user;
};

static enum ds_status put_wanted(const struct wanted *w, const uint8_t *text, uint64_t at, size_t n,
				 struct ds_err *err)
{
	uint64_t from = at < w->from ? w->from : at;
	uint64_t end = at + n < w->end ? at + n : w->end;

	return from < end ? w->write(w->user, text + (from - at), end - from, err) : DS_OK;
}

/* Unpack all of a frame, in parts. */
static enum ds_status copy_frame(struct ds_plain *p, const uint8_t *entry, const struct wanted *w,
				 struct ds_err *err)
{
	ZSTD_inBuffer in = {p->map.data + w->offset, ds_get_u32(entry), 0};
	const uint32_t bytes = ds_get_u32(entry + 4);
	uint64_t at = 0;
	size_t left = 1;

	XXH64_reset(p->hash, 0);
	ZSTD_DCtx_reset(p->dctx, ZSTD_reset_session_only);
	for (;;) {
		ZSTD_outBuffer out = {p->out, OUT_BYTES, 0};

		left = ZSTD_decompressStream(p->dctx, &out, &in);
		if (ZSTD_isError(left))
			return ds_fail_at(err, DS_ECORRUPT, p->map.path, w->offset,
					  "a frame does not unpack: %s", ZSTD_getErrorName(left));
		if (out.pos > bytes - at)
			return bad(p, w->offset, "a frame is longer than the table says", err);
		XXH64_update(p->hash, p->out, out.pos);
		DS_TRY(put_wanted(w, p->out, at, out.pos, err));
		at += out.pos;
		if (in.pos == in.size && out.pos < OUT_BYTES)
			break;
	}
	if (left || at != bytes)
		return bad(p, w->offset, "a frame is shorter than the table says", err);
	if (p->has_checksums && (uint32_t)XXH64_digest(p->hash) != ds_get_u32(entry + 8))
		return ds_fail_at(err, DS_ECORRUPT, p->map.path, w->offset,
				  "the checksum of a frame does not match");
	return DS_OK;
}

enum ds_status ds_plain_copy(struct ds_plain *p, uint64_t start, uint64_t end, ds_write_fn *write,
			     void *user, struct ds_err *err)
{
	struct wanted w = {.write = write, .user = user};
	uint64_t at = 0;

	if (start > end || end > p->bytes)
		return ds_fail_at(err, DS_EINVAL, p->map.path, DS_NO_OFFSET,
				  "bytes %llu to %llu of a document of %llu",
				  (unsigned long long)start, (unsigned long long)end,
				  (unsigned long long)p->bytes);
	for (uint32_t i = 0; i < p->n; i++) {
		const uint8_t *entry = p->table + i * entry_bytes(p);
		uint32_t bytes = ds_get_u32(entry + 4);

		w.from = start > at ? start - at : 0;
		w.end = end > at ? end - at : 0;
		if (at + bytes > start && at < end)
			DS_TRY(copy_frame(p, entry, &w, err));
		at += bytes;
		w.offset += ds_get_u32(entry);
	}
	return DS_OK;
}

void ds_plain_close(struct ds_plain *p)
{
	if (!p)
		return;
	ds_map_close(&p->map);
	if (p->spill >= 0)
		close(p->spill);
	ZSTD_freeDCtx(p->dctx);
	XXH64_freeState(p->hash);
	free(p->out);
	free(p);
}
