/* segment.c - a full segment becomes blocks and tables; the directory at the end */
#include "archive/writer.h"

#include <stdlib.h>
#include <string.h>
#include <zstd_errors.h>

#include "archive/dictionary.h"

/* Blocks compressed at a time: enough to occupy the threads, few enough to keep memory down. */
#define WAVE_BYTES ((size_t)4 << 20)
#define WAVE_MAX 256

struct packed_block {
	const uint8_t *text;
	size_t raw;
	struct ds_buf out;
	size_t stored; /* 0: the text itself is smaller */
	int failed;
};

struct wave {
	struct ds_archive_writer *w;
	struct packed_block block[WAVE_MAX];
	size_t n;
};

static void pack_block(void *arg, size_t index, unsigned thread)
{
	struct wave *wave = arg;
	struct packed_block *b = &wave->block[index];
	ZSTD_CCtx *cctx = wave->w->cctx[thread];
	size_t n = ZSTD_compressBound(b->raw);

	b->failed = ds_buf_reserve(&b->out, n, NULL) != DS_OK;
	if (b->failed)
		return;
	ZSTD_CCtx_reset(cctx, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, wave->w->options.level);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0);
	if (wave->w->cdict)
		ZSTD_CCtx_refCDict(cctx, wave->w->cdict);
	n = ZSTD_compress2(cctx, b->out.data, b->out.cap, b->text, b->raw);
	b->failed = ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation;
	b->stored = ZSTD_isError(n) || n >= b->raw ? 0 : n;
}

static enum ds_status write_block(struct ds_archive_writer *w, const struct packed_block *b,
				  struct ds_buf *table, struct ds_err *err)
{
	struct ds_record r = {.type = DS_RECORD_BLOCK, .raw = (uint32_t)b->raw};
	uint64_t before = w->out.written;

	if (b->failed)
		return ds_fail_nomem(err, ZSTD_compressBound(b->raw));
	if (b->stored) {
		r.coder = w->cdict ? DS_CODER_ZSTD_DICTIONARY : DS_CODER_ZSTD;
		r.bytes = b->out.data;
		r.stored = (uint32_t)b->stored;
	} else {
		r.bytes = b->text;
		r.stored = r.raw;
	}
	DS_TRY(ds_record_write(&w->out, &r, err));
	w->totals.block_bytes += w->out.written - before;
	DS_TRY(ds_varint_put(table, r.raw, err));
	return ds_varint_put(table, r.stored, err);
}

static enum ds_status write_wave(struct wave *wave, struct ds_buf *table, struct ds_err *err)
{
	ds_pool_run(wave->w->options.pool, wave->n, pack_block, wave);
	for (size_t i = 0; i < wave->n; i++)
		DS_TRY(write_block(wave->w, &wave->block[i], table, err));
	return DS_OK;
}

/* The text as block records; the block list of the documents table goes to table. */
static enum ds_status write_blocks(struct ds_archive_writer *w, struct ds_buf *table,
				   struct ds_err *err)
{
	const size_t block_bytes = w->options.block_bytes;
	const size_t n_blocks = (w->text.len + block_bytes - 1) / block_bytes;
	unsigned threads = ds_pool_threads(w->options.pool);
	size_t wave_blocks = WAVE_BYTES / block_bytes;
	struct wave *wave = ds_alloc_zero(1, sizeof *wave);
	enum ds_status st;

	if (!wave)
		return ds_fail_nomem(err, sizeof *wave);
	wave->w = w;
	if (wave_blocks < threads)
		wave_blocks = threads;
	if (wave_blocks > WAVE_MAX)
		wave_blocks = WAVE_MAX;
	st = ds_varint_put(table, n_blocks, err);
	for (size_t i = 0; st == DS_OK && i < n_blocks; i += wave->n) {
		wave->n = n_blocks - i < wave_blocks ? n_blocks - i : wave_blocks;
		for (size_t k = 0; k < wave->n; k++) {
			size_t at = (i + k) * block_bytes, left = w->text.len - at;

			wave->block[k].text = w->text.data + at;
			wave->block[k].raw = left < block_bytes ? left : block_bytes;
		}
		st = write_wave(wave, table, err);
	}
	for (size_t i = 0; i < WAVE_MAX; i++)
		ds_buf_fini(&wave->block[i].out);
	free(wave);
	w->first_block += n_blocks;
	return st;
}

static enum ds_status put_extent(const struct ds_archive_writer *w, const struct ds_extent *e,
				 struct ds_buf *table, struct ds_err *err)
{
	DS_TRY(ds_varint_put(table, e->flags, err));
	DS_TRY(ds_varint_put(table, e->bytes, err));
	DS_TRY(ds_varint_put(table, e->pieces, err));
	DS_TRY(ds_varint_put(table, e->passages, err));
	if (e->flags & DS_EXTENT_BEGIN) {
		DS_TRY(ds_varint_put(table, e->name_len, err));
		if (e->name_len)
			DS_TRY(ds_buf_append(table, w->names.data + e->name, e->name_len, err));
		DS_TRY(ds_varint_put(table, ds_zigzag(e->mtime_ns), err));
		DS_TRY(ds_varint_put(table, e->mode, err));
	}
	if (e->flags & DS_EXTENT_END)
		DS_TRY(ds_buf_append(table, &e->hash, sizeof e->hash, err));
	return DS_OK;
}

/* first_block: of this segment. */
static enum ds_status put_documents(const struct ds_archive_writer *w, uint64_t first_block,
				    struct ds_buf *table, struct ds_err *err)
{
	uint64_t block = first_block;
	uint32_t offset = 0;

	DS_TRY(ds_varint_put(table, w->n_extents, err));
	for (size_t i = 0; i < w->n_extents; i++)
		DS_TRY(put_extent(w, &w->extent[i], table, err));
	for (size_t i = 0; i < w->n_pieces; i++) {
		const struct ds_piece *p = &w->piece[i];
		uint64_t start = (p->block - first_block) * w->options.block_bytes;
		uint64_t block_end = start + w->options.block_bytes;

		if (block_end > w->text.len)
			block_end = w->text.len;
		DS_TRY(ds_varint_put(table, ds_zigzag((int64_t)(p->block - block)), err));
		DS_TRY(ds_varint_put(table, ds_zigzag((int64_t)p->offset - offset), err));
		DS_TRY(ds_varint_put(table, p->length, err));
		block = p->block;
		offset = p->offset + p->length;
		if (start + offset == block_end) {
			block++;
			offset = 0;
		}
	}
	return DS_OK;
}

static enum ds_status put_passages(const struct ds_archive_writer *w, struct ds_buf *table,
				   struct ds_err *err)
{
	const struct ds_span *p = w->passage;

	for (size_t i = 0; i < w->n_extents; i++) {
		uint64_t end = 0;

		for (uint32_t k = 0; k < w->extent[i].passages; k++, p++) {
			DS_TRY(ds_varint_put(table, ds_zigzag((int64_t)(p->start - end)), err));
			DS_TRY(ds_varint_put(table, p->end - p->start, err));
			end = p->end;
		}
	}
	return DS_OK;
}

static enum ds_status put_vectors(const struct ds_archive_writer *w, struct ds_buf *table,
				  struct ds_err *err)
{
	static const uint8_t zeros[8];
	uint8_t head[24] = {0};

	head[0] = (uint8_t)w->options.code;
	ds_put_u32(head + 4, w->options.dims);
	ds_put_u64(head + 8, w->options.model);
	ds_put_u32(head + 16, (uint32_t)w->n_passages);
	DS_TRY(ds_buf_append(table, head, sizeof head, err));
	DS_TRY(ds_buf_append(table, w->scales.data, w->scales.len, err));
	DS_TRY(ds_buf_append(table, zeros, -w->scales.len & 7, err));
	return ds_buf_append(table, w->rows.data, w->rows.len, err);
}

/* One more record of the segment: stored says whether it is searched in place. */
static enum ds_status add_record(struct ds_archive_writer *w, struct ds_segment_row *row,
				 uint8_t type, const struct ds_buf *raw, struct ds_err *err)
{
	struct ds_record r = {.type = type, .bytes = raw->data};

	row->record[row->n_records].type = type;
	row->record[row->n_records++].offset = w->out.written;
	if (type != DS_RECORD_VECTORS)
		return ds_record_pack(&w->out, type, raw, err);
	if (raw->len > DS_RECORD_BYTES_MAX)
		return ds_fail(err, DS_ELIMIT, "embeddings of %zu bytes in a segment", raw->len);
	r.stored = r.raw = (uint32_t)raw->len;
	return ds_record_write(&w->out, &r, err);
}

static enum ds_status write_index(struct ds_archive_writer *w, struct ds_segment_row *row,
				  struct ds_buf *table, struct ds_err *err)
{
	uint64_t before;

	table->len = 0;
	DS_TRY(put_passages(w, table, err));
	DS_TRY(add_record(w, row, DS_RECORD_PASSAGES, table, err));
	if (w->options.model) {
		before = w->out.written;
		table->len = 0;
		DS_TRY(put_vectors(w, table, err));
		DS_TRY(add_record(w, row, DS_RECORD_VECTORS, table, err));
		w->totals.vector_bytes += w->out.written - before;
	}
	if (w->options.words) {
		before = w->out.written;
		table->len = 0;
		DS_TRY(ds_words_write(&w->words, table, err));
		DS_TRY(add_record(w, row, DS_RECORD_WORDS, table, err));
		w->totals.word_bytes += w->out.written - before;
	}
	return DS_OK;
}

static enum ds_status put_dictionary(struct ds_archive_writer *w, const struct ds_buf *raw,
				     struct ds_err *err)
{
	uint64_t offset = w->out.written;

	if (raw->len == 0)
		return DS_OK;
	w->cdict = ZSTD_createCDict(raw->data, raw->len, w->options.level);
	if (!w->cdict)
		return ds_fail_nomem(err, raw->len);
	DS_TRY(ds_grow(&w->dictionary, &w->cap_dictionaries, w->n_dictionaries + 1,
		       sizeof *w->dictionary, err));
	w->dictionary[w->n_dictionaries++] = offset;
	DS_TRY(ds_record_pack(&w->out, DS_RECORD_DICTIONARY, raw, err));
	w->totals.dictionary_bytes += w->out.written - offset;
	return DS_OK;
}

/* A dictionary of the segment's own text, where there is enough of it. */
static enum ds_status make_dictionary(struct ds_archive_writer *w, struct ds_err *err)
{
	struct ds_buf raw = {0};
	enum ds_status st;

	ZSTD_freeCDict(w->cdict);
	w->cdict = NULL;
	st = ds_dictionary_choose(w->text.data, w->text.len, &raw, err);
	if (st == DS_OK)
		st = put_dictionary(w, &raw, err);
	ds_buf_fini(&raw);
	return st;
}

static enum ds_status write_segment(struct ds_archive_writer *w, struct ds_segment_row *row,
				    struct ds_buf *table, struct ds_err *err)
{
	const uint64_t first_block = w->first_block;

	DS_TRY(make_dictionary(w, err));
	row->blocks_offset = w->out.written;
	row->passages = (uint32_t)w->n_passages;
	row->dictionary = w->cdict ? (uint32_t)w->n_dictionaries : 0;
	DS_TRY(write_blocks(w, table, err));
	DS_TRY(put_documents(w, first_block, table, err));
	DS_TRY(add_record(w, row, DS_RECORD_DOCUMENTS, table, err));
	return w->n_passages ? write_index(w, row, table, err) : DS_OK;
}

enum ds_status ds_segment_close(struct ds_archive_writer *w, struct ds_err *err)
{
	struct ds_segment_row row = {0};
	struct ds_buf table = {0};
	enum ds_status st;

	if (w->n_extents == 0)
		return DS_OK;
	st = write_segment(w, &row, &table, err);
	ds_buf_fini(&table);
	if (st != DS_OK)
		return st;
	DS_TRY(ds_grow(&w->segment, &w->cap_segments, w->n_segments + 1, sizeof row, err));
	w->segment[w->n_segments++] = row;
	w->text.len = w->names.len = w->rows.len = w->scales.len = 0;
	w->n_extents = w->n_pieces = w->n_passages = 0;
	return DS_OK;
}

static enum ds_status put_row(const struct ds_segment_row *row, struct ds_buf *raw,
			      struct ds_err *err)
{
	uint8_t bytes[24] = {0};

	ds_put_u64(bytes, row->blocks_offset);
	ds_put_u32(bytes + 8, row->dictionary);
	ds_put_u32(bytes + 12, row->passages);
	ds_put_u32(bytes + 16, row->n_records);
	DS_TRY(ds_buf_append(raw, bytes, 24, err));
	for (uint32_t i = 0; i < row->n_records; i++) {
		ds_put_u64(bytes, row->record[i].type);
		ds_put_u64(bytes + 8, row->record[i].offset);
		DS_TRY(ds_buf_append(raw, bytes, 16, err));
	}
	return DS_OK;
}

static enum ds_status put_directory(const struct ds_archive_writer *w, struct ds_buf *raw,
				    struct ds_err *err)
{
	uint8_t head[48] = {0};

	ds_put_u64(head, w->totals.documents);
	ds_put_u64(head + 8, w->totals.text_bytes);
	ds_put_u64(head + 16, w->totals.passages);
	ds_put_u64(head + 24, w->options.model);
	ds_put_u32(head + 32, w->options.model ? w->options.dims : 0);
	ds_put_u32(head + 36, (uint32_t)w->n_dictionaries);
	ds_put_u32(head + 40, (uint32_t)w->n_segments);
	DS_TRY(ds_buf_append(raw, head, sizeof head, err));
	DS_TRY(ds_buf_append(raw, w->dictionary, w->n_dictionaries * sizeof *w->dictionary, err));
	for (size_t i = 0; i < w->n_segments; i++)
		DS_TRY(put_row(&w->segment[i], raw, err));
	return DS_OK;
}

enum ds_status ds_directory_write(struct ds_archive_writer *w, struct ds_err *err)
{
	uint8_t footer[DS_ARCHIVE_FOOTER_BYTES];
	const uint64_t offset = w->out.written;
	struct ds_buf raw = {0};
	enum ds_status st = put_directory(w, &raw, err);

	if (st == DS_OK)
		st = ds_record_pack(&w->out, DS_RECORD_DIRECTORY, &raw, err);
	ds_buf_fini(&raw);
	DS_TRY(st);
	ds_archive_footer(footer, offset, w->out.written + sizeof footer);
	return ds_out_write(&w->out, footer, sizeof footer, err);
}
