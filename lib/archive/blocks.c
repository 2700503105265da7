/* blocks.c - the pieces of a segment as block records */
#define ZSTD_STATIC_LINKING_ONLY
#include "archive/blocks.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Text of the blocks compressed at a time: enough to occupy the threads, few enough to keep memory
 * down. */
#define WAVE_BYTES ((size_t)4 << 20)
#define WAVE_MAX 256

struct packed_block {
	struct ds_buf raw, out;
	size_t stored; /* 0: the text itself is smaller */
	int failed;
};

struct wave {
	struct ds_archive_writer *w;
	ZSTD_CDict *cdict; /* NULL without a dictionary */
	struct packed_block block[WAVE_MAX];
	size_t first, n;
};

static int is_dictionary(const struct wave *wave, size_t b)
{
	return b == 0 && wave->w->layout.has_dictionary;
}

/* A context that compresses block b. */
static void prepare(const struct wave *wave, ZSTD_CCtx *cctx, size_t b)
{
	ZSTD_CCtx_reset(cctx, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, wave->w->options.level);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
	if (!wave->cdict || is_dictionary(wave, b))
		return;
	/* the tables of the dictionary are used where they lie: to copy them takes longer than
	 * looking into both */
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_forceAttachDict, ZSTD_dictForceAttach);
	ZSTD_CCtx_refCDict(cctx, wave->cdict);
}

static void pack_block(void *arg, size_t index, unsigned thread)
{
	struct wave *wave = arg;
	struct ds_archive_writer *w = wave->w;
	struct packed_block *b = &wave->block[index];
	ZSTD_CCtx *cctx = w->cctx[thread];
	size_t n;

	b->raw.len = 0;
	b->failed = ds_layout_text(&w->layout, wave->first + index, w->text.data, &b->raw, NULL) !=
			    DS_OK ||
		    ds_buf_reserve(&b->out, ZSTD_compressBound(b->raw.len), NULL) != DS_OK;
	if (b->failed)
		return;
	prepare(wave, cctx, wave->first + index);
	n = ZSTD_compress2(cctx, b->out.data, b->out.cap, b->raw.data, b->raw.len);
	b->failed = ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation;
	b->stored = ZSTD_isError(n) || n >= b->raw.len ? 0 : n;
}

static enum ds_status write_block(const struct wave *wave, size_t index, struct ds_buf *table,
				  struct ds_err *err)
{
	const struct packed_block *b = &wave->block[index];
	struct ds_archive_writer *w = wave->w;
	int dictionary = is_dictionary(wave, wave->first + index);
	uint64_t before = w->out.written;
	struct ds_record r = {
		.type = dictionary ? DS_RECORD_DICTIONARY : DS_RECORD_BLOCK,
		.raw = (uint32_t)b->raw.len,
		.bytes = b->raw.data,
		.stored = (uint32_t)b->raw.len,
	};

	if (b->failed)
		return ds_fail_nomem(err, ZSTD_compressBound(b->raw.len));
	if (b->stored && (!dictionary || b->raw.len <= ds_record_raw_max((uint32_t)b->stored))) {
		r.coder = wave->cdict && !dictionary ? DS_CODER_ZSTD_DICTIONARY : DS_CODER_ZSTD;
		r.bytes = b->out.data;
		r.stored = (uint32_t)b->stored;
	}
	DS_TRY(ds_record_write(&w->out, &r, err));
	*(dictionary ? &w->totals.dictionary_bytes : &w->totals.block_bytes) +=
		w->out.written - before;
	DS_TRY(ds_varint_put(table, r.raw, err));
	return ds_varint_put(table, r.stored, err);
}

static enum ds_status write_wave(struct wave *wave, struct ds_buf *table, struct ds_err *err)
{
	ds_pool_run(wave->w->options.pool, wave->n, pack_block, wave);
	for (size_t i = 0; i < wave->n; i++)
		DS_TRY(write_block(wave, i, table, err));
	return DS_OK;
}

/* text: of the dictionary, borrowed by the result. */
static enum ds_status load_dictionary(struct wave *wave, struct ds_buf *text, struct ds_err *err)
{
	struct ds_archive_writer *w = wave->w;
	ZSTD_compressionParameters p;

	DS_TRY(ds_layout_text(&w->layout, 0, w->text.data, text, err));
	p = ZSTD_getCParams(w->options.level, ZSTD_CONTENTSIZE_UNKNOWN, text->len);
	wave->cdict = ZSTD_createCDict_advanced(text->data, text->len, ZSTD_dlm_byRef,
						ZSTD_dct_rawContent, p, ZSTD_defaultCMem);
	if (!wave->cdict)
		return ds_fail_nomem(err, text->len);
	DS_TRY(ds_grow(&w->dictionary, &w->cap_dictionaries, w->n_dictionaries + 1,
		       sizeof *w->dictionary, err));
	w->dictionary[w->n_dictionaries++] = w->out.written;
	return DS_OK;
}

static enum ds_status write_waves(struct wave *wave, struct ds_buf *table, struct ds_err *err)
{
	struct ds_archive_writer *w = wave->w;
	const size_t n_blocks = w->layout.n_blocks;
	unsigned threads = ds_pool_threads(w->options.pool);
	size_t wave_blocks = WAVE_BYTES / w->options.block_bytes;

	if (wave_blocks < threads)
		wave_blocks = threads;
	if (wave_blocks > WAVE_MAX)
		wave_blocks = WAVE_MAX;
	DS_TRY(ds_varint_put(table, n_blocks, err));
	for (; wave->first < n_blocks; wave->first += wave->n) {
		wave->n = n_blocks - wave->first < wave_blocks ? n_blocks - wave->first
							       : wave_blocks;
		DS_TRY(write_wave(wave, table, err));
	}
	return DS_OK;
}

enum ds_status ds_blocks_write(struct ds_archive_writer *w, struct ds_buf *table,
			       struct ds_err *err)
{
	struct wave *wave = ds_alloc_zero(1, sizeof *wave);
	struct ds_buf text = {0};
	enum ds_status st = DS_OK;

	if (!wave)
		return ds_fail_nomem(err, sizeof *wave);
	wave->w = w;
	if (w->layout.has_dictionary)
		st = load_dictionary(wave, &text, err);
	if (st == DS_OK)
		st = write_waves(wave, table, err);
	for (size_t i = 0; i < WAVE_MAX; i++) {
		ds_buf_fini(&wave->block[i].raw);
		ds_buf_fini(&wave->block[i].out);
	}
	ZSTD_freeCDict(wave->cdict);
	ds_buf_fini(&text);
	free(wave);
	return st;
}
