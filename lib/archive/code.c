/* code.c - the bytes of a block coded, and back: one function each way for all coders */
#define ZSTD_STATIC_LINKING_ONLY
#include "archive/code.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct ds_block_encoder {
	struct ds_block_encoder_options options;
	ZSTD_CCtx **cctx;  /* [threads] */
	ZSTD_CDict *cdict; /* NULL without a dictionary */
};

struct ds_block_decoder {
	ZSTD_DCtx *dctx;
};

enum ds_status ds_block_encoder_new(struct ds_block_encoder **e_ret,
				    const struct ds_block_encoder_options *o, struct ds_err *err)
{
	struct ds_block_encoder *e = ds_alloc_zero(1, sizeof *e);
	unsigned n = 0;

	if (!e)
		return ds_fail_nomem(err, sizeof *e);
	e->options = *o;
	e->cctx = ds_alloc_zero(o->threads, sizeof(ZSTD_CCtx *));
	while (e->cctx && n < o->threads && (e->cctx[n] = ZSTD_createCCtx()) != NULL)
		n++;
	if (n < o->threads) {
		ds_block_encoder_free(e);
		return ds_fail_nomem(err, o->threads * sizeof(ZSTD_CCtx *));
	}
	*e_ret = e;
	return DS_OK;
}

enum ds_status ds_block_encoder_dictionary(struct ds_block_encoder *e, const uint8_t *text,
					   size_t n, struct ds_err *err)
{
	ZSTD_compressionParameters p;

	ZSTD_freeCDict(e->cdict);
	e->cdict = NULL;
	if (n == 0)
		return DS_OK;
	p = ZSTD_getCParams(e->options.level, ZSTD_CONTENTSIZE_UNKNOWN, n);
	e->cdict = ZSTD_createCDict_advanced(text, n, ZSTD_dlm_byRef, ZSTD_dct_rawContent, p,
					     ZSTD_defaultCMem);
	return e->cdict ? DS_OK : ds_fail_nomem(err, n);
}

/* A context that compresses the next block. */
static void prepare(const struct ds_block_encoder *e, ZSTD_CCtx *cctx,
		    const struct ds_block_code *b)
{
	ZSTD_CCtx_reset(cctx, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, e->options.level);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
	if (b->alone || !e->cdict)
		return;
	/* the tables of the dictionary are used where they lie: to copy them takes longer than
	 * looking into both */
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_forceAttachDict, ZSTD_dictForceAttach);
	ZSTD_CCtx_refCDict(cctx, e->cdict);
}

enum ds_status ds_block_encode(struct ds_block_encoder *e, unsigned thread, struct ds_block_code *b,
			       struct ds_err *err)
{
	size_t stored;

	b->code.len = 0;
	b->coder = DS_CODER_STORED;
	DS_TRY(ds_buf_reserve(&b->code, ZSTD_compressBound(b->n), err));
	prepare(e, e->cctx[thread], b);
	stored = ZSTD_compress2(e->cctx[thread], b->code.data, b->code.cap, b->bytes, b->n);
	if (ZSTD_isError(stored))
		return ds_fail_nomem(err, b->n);
	if (stored >= b->n)
		return DS_OK;
	b->code.len = stored;
	b->coder = e->cdict && !b->alone ? DS_CODER_ZSTD_DICTIONARY : DS_CODER_ZSTD;
	return DS_OK;
}

void ds_block_encoder_free(struct ds_block_encoder *e)
{
	if (!e)
		return;
	for (unsigned i = 0; e->cctx && i < e->options.threads; i++)
		ZSTD_freeCCtx(e->cctx[i]);
	ZSTD_freeCDict(e->cdict);
	free(e->cctx);
	free(e);
}

enum ds_status ds_block_decoder_new(struct ds_block_decoder **d_ret, struct ds_err *err)
{
	struct ds_block_decoder *d = ds_alloc_zero(1, sizeof *d);

	if (d)
		d->dctx = ZSTD_createDCtx();
	if (!d || !d->dctx) {
		free(d);
		return ds_fail_nomem(err, sizeof *d);
	}
	*d_ret = d;
	return DS_OK;
}

int ds_coder_needs_dictionary(uint8_t coder)
{
	return coder == DS_CODER_ZSTD_DICTIONARY;
}

static enum ds_status unzstd(struct ds_block_decoder *d, const struct ds_coded *c,
			     uint8_t *bytes_ret, struct ds_err *err)
{
	size_t n;

	ZSTD_DCtx_reset(d->dctx, ZSTD_reset_session_and_parameters);
	if (c->coder == DS_CODER_ZSTD_DICTIONARY)
		ZSTD_DCtx_refPrefix(d->dctx, c->dictionary, c->dictionary_bytes);
	n = ZSTD_decompressDCtx(d->dctx, bytes_ret, c->raw, c->code, c->stored);
	if (!ZSTD_isError(n) && n == c->raw)
		return DS_OK;
	return ds_fail(err, DS_EFORMAT, "a block does not unpack to %zu bytes: %s", c->raw,
		       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
}

enum ds_status ds_block_decode(struct ds_block_decoder *d, const struct ds_coded *c,
			       uint8_t *bytes_ret, struct ds_err *err)
{
	if (ds_coder_needs_dictionary(c->coder) && !c->dictionary)
		return ds_fail(err, DS_EFORMAT, "a block needs a dictionary, its segment has none");
	switch (c->coder) {
	case DS_CODER_STORED:
		if (c->raw != c->stored)
			return ds_fail(err, DS_EFORMAT, "%zu stored bytes are not %zu", c->stored,
				       c->raw);
		if (c->raw)
			memcpy(bytes_ret, c->code, c->raw);
		return DS_OK;
	case DS_CODER_ZSTD:
	case DS_CODER_ZSTD_DICTIONARY:
		return unzstd(d, c, bytes_ret, err);
	default:
		return ds_fail(err, DS_EUNSUPPORTED,
			       "a block of coder %u, which this version does not know", c->coder);
	}
}

void ds_block_decoder_free(struct ds_block_decoder *d)
{
	if (!d)
		return;
	ZSTD_freeDCtx(d->dctx);
	free(d);
}
