/* blocks.c - the pieces of a segment as block records */
#include "archive/blocks.h"

#include <stdlib.h>

/* Text of the blocks compressed at a time: enough to occupy the threads, few enough to keep memory
 * down. */
#define WAVE_BYTES ((size_t)4 << 20)
#define WAVE_MAX 256

struct packed_block {
	struct ds_buf raw, references;
	struct ds_block_code coded;
	enum ds_status st;
	struct ds_err err;
};

struct wave {
	struct ds_archive_writer *w;
	struct packed_block block[WAVE_MAX];
	size_t first, n;
};

static void pack_block(void *arg, size_t index, unsigned thread)
{
	struct wave *wave = arg;
	struct ds_archive_writer *w = wave->w;
	struct packed_block *b = &wave->block[index];

	b->raw.len = b->references.len = 0;
	b->st = ds_layout_text(&w->layout, wave->first + index, &b->raw, &b->err);
	if (b->st == DS_OK)
		b->st = ds_references_text(&w->layout, &w->history, wave->first + index,
					   &b->references, &b->err);
	if (b->st != DS_OK)
		return;
	b->coded.bytes = b->raw.data;
	b->coded.n = b->raw.len;
	b->coded.references = b->references.data;
	b->coded.reference_bytes = b->references.len;
	b->st = ds_block_encode(w->encoder, thread, &b->coded, &b->err);
}

static enum ds_status pack_by_lm(struct wave *wave, struct ds_err *err)
{
	struct ds_archive_writer *w = wave->w;
	struct ds_block_code *code[WAVE_MAX];
	size_t n = 0;

	for (size_t i = 0; i < wave->n; i++)
		if (wave->block[i].st == DS_OK)
			code[n++] = &wave->block[i].coded;
	return ds_lm_blocks_encode(w->lm, code, n, err);
}

/* Write a block that is packed; table gets its sizes. */
static enum ds_status write_block(struct ds_archive_writer *w, const struct packed_block *b,
				  struct ds_buf *table, struct ds_err *err)
{
	const struct ds_block_code *c = &b->coded;
	int is_coded = c->coder != DS_CODER_STORED;
	struct ds_record r = {
		.type = c->alone ? DS_RECORD_DICTIONARY : DS_RECORD_BLOCK,
		.coder = c->coder,
		.raw = (uint32_t)c->n,
		.bytes = is_coded ? c->code.data : c->bytes,
		.stored = (uint32_t)(is_coded ? c->code.len : c->n),
	};
	uint64_t hash;

	if (b->st != DS_OK) {
		*err = b->err;
		return b->st;
	}
	DS_TRY(ds_record_write(&w->to, &r, err));
	ds_record_count(&r, &w->totals);
	hash = XXH3_64bits(c->bytes, c->n);
	DS_TRY(ds_varint_put(table, r.raw, err));
	DS_TRY(ds_varint_put(table, r.stored, err));
	return ds_buf_append(table, &hash, sizeof hash, err);
}

/* The dictionary, block 0, is packed beside being made ready for the others. */
static void dictionary_item(void *arg, size_t index, unsigned thread)
{
	struct wave *wave = arg;
	struct packed_block *b = &wave->block[0], *ready = &wave->block[1];
	struct ds_block_encoder *e = wave->w->encoder;

	if (index == 0)
		b->st = ds_block_encode(e, thread, &b->coded, &b->err);
	else
		ready->st = ds_block_encoder_dictionary(e, b->coded.bytes, b->coded.n, &ready->err);
}

/* text: of the dictionary, borrowed by the encoder. */
static enum ds_status write_dictionary(struct wave *wave, struct ds_buf *text, struct ds_buf *table,
				       struct ds_err *err)
{
	struct packed_block *b = &wave->block[0], *ready = &wave->block[1];
	struct ds_archive_writer *w = wave->w;

	DS_TRY(ds_layout_text(&w->layout, 0, text, err));
	b->coded.bytes = text->data;
	b->coded.n = text->len;
	b->coded.alone = 1;
	ds_pool_run(w->options.pool, 2, dictionary_item, wave);
	if (ready->st != DS_OK) {
		*err = ready->err;
		return ready->st;
	}
	DS_TRY(ds_grow(&w->dictionary, &w->cap_dictionaries, w->n_dictionaries + 1,
		       sizeof *w->dictionary, err));
	w->dictionary[w->n_dictionaries++] = w->out.written;
	DS_TRY(write_block(w, b, table, err));
	b->coded.alone = 0;
	wave->first = 1;
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
	for (; wave->first < n_blocks; wave->first += wave->n) {
		wave->n =
			n_blocks - wave->first < wave_blocks ? n_blocks - wave->first : wave_blocks;
		ds_pool_run(w->options.pool, wave->n, pack_block, wave);
		if (w->lm)
			DS_TRY(pack_by_lm(wave, err));
		for (size_t i = 0; i < wave->n; i++) {
			DS_TRY(write_block(w, &wave->block[i], table, err));
			if (!ds_coder_needs_references(wave->block[i].coded.coder))
				ds_references_drop(&w->layout, wave->first + i);
		}
	}
	return DS_OK;
}

enum ds_status ds_blocks_write(struct ds_archive_writer *w, struct ds_buf *table,
			       struct ds_err *err)
{
	struct wave *wave = ds_alloc_zero(1, sizeof *wave);
	struct ds_buf text = {0};
	enum ds_status st;

	if (!wave)
		return ds_fail_nomem(err, sizeof *wave);
	wave->w = w;
	st = ds_varint_put(table, w->layout.n_blocks, err);
	if (st == DS_OK && w->layout.has_dictionary)
		st = write_dictionary(wave, &text, table, err);
	if (st == DS_OK)
		st = write_waves(wave, table, err);
	for (size_t i = 0; i < WAVE_MAX; i++) {
		ds_buf_fini(&wave->block[i].raw);
		ds_buf_fini(&wave->block[i].references);
		ds_buf_fini(&wave->block[i].coded.code);
	}
	ds_block_encoder_dictionary(w->encoder, NULL, 0, NULL);
	ds_buf_fini(&text);
	free(wave);
	return st;
}
