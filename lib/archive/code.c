/* code.c - the bytes of a block coded, and back: one function each way for all coders */
#define ZSTD_STATIC_LINKING_ONLY
#include "archive/code.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive/archive.h"
#include "mix/mix.h"

/* Of a strong block: bytes that one of its code comes to at most, and the model's size */
#define STRONG_RATIO_MAX 1024
#define STRONG_BITS_MIN 20
#define STRONG_BITS_MAX 26
#define STRONG_TABLE_RATIO 32
/* Up to this ratio zstd is not tried as well. */
#define STRONG_SURE 16

const char *ds_archive_coder(unsigned coder)
{
	static const char *const name[DS_ARCHIVE_CODERS] = {
		[DS_CODER_STORED] = "stored",
		[DS_CODER_ZSTD] = "zstd",
		[DS_CODER_ZSTD_DICTIONARY] = "zstd_dictionary",
		[DS_CODER_STRONG] = "strong",
		[DS_CODER_STRONG_DICTIONARY] = "strong_dictionary",
		[DS_CODER_LM] = "lm",
		[DS_CODER_ZSTD_REFERENCES] = "zstd_references",
		[DS_CODER_STRONG_REFERENCES] = "strong_references",
	};

	return coder < DS_ARCHIVE_CODERS ? name[coder] : NULL;
}

struct ds_block_encoder {
	struct ds_block_encoder_options options;
	ZSTD_CCtx **cctx;  /* [threads] */
	ZSTD_CDict *cdict; /* NULL without a dictionary */
	/* of strong coders: */
	struct ds_mix **mix;  /* [threads] models that know the dictionary, NULL without one */
	struct ds_buf *spare; /* [threads] */
};

struct ds_block_decoder {
	ZSTD_DCtx *dctx;
	struct ds_mix *mix;	 /* knows a dictionary, or NULL */
	uint32_t mix_dictionary; /* this one */
};

/* A model that learns n bytes before the first block, or codes them without having learnt any. */
static enum ds_status new_model(struct ds_mix **mix_ret, size_t n, struct ds_err *err)
{
	unsigned bits = STRONG_BITS_MIN;

	while (bits < STRONG_BITS_MAX && n > ((size_t)1 << bits) / STRONG_TABLE_RATIO)
		bits++;
	return ds_mix_new(mix_ret, bits, err);
}

enum ds_status ds_mixed_encode(const uint8_t *bytes, size_t n, struct ds_buf *code,
			       struct ds_err *err)
{
	struct ds_mix *mix;
	enum ds_status st;

	DS_TRY(new_model(&mix, n, err));
	st = ds_mix_prime_encode(mix, bytes, n, code, err);
	ds_mix_free(mix);
	return st;
}

enum ds_status ds_mixed_decode(const uint8_t *code, size_t stored, uint8_t *bytes_ret, size_t n,
			       struct ds_err *err)
{
	struct ds_mix *mix;
	enum ds_status st;

	DS_TRY(new_model(&mix, n, err));
	st = ds_mix_prime_decode(mix, code, stored, bytes_ret, n, err);
	ds_mix_free(mix);
	return st;
}

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
	if (o->strong) {
		e->mix = ds_alloc_zero(o->threads, sizeof(struct ds_mix *));
		e->spare = ds_alloc_zero(o->threads, sizeof *e->spare);
	}
	if (n < o->threads || (o->strong && (!e->mix || !e->spare))) {
		ds_block_encoder_free(e);
		return ds_fail_nomem(err, o->threads * sizeof(ZSTD_CCtx *));
	}
	*e_ret = e;
	return DS_OK;
}

static void drop_models(struct ds_block_encoder *e)
{
	for (unsigned i = 0; e->mix && i < e->options.threads; i++) {
		ds_mix_free(e->mix[i]);
		e->mix[i] = NULL;
	}
}

enum ds_status ds_block_encoder_dictionary(struct ds_block_encoder *e, const uint8_t *text,
					   size_t n, struct ds_err *err)
{
	ZSTD_compressionParameters p;

	ZSTD_freeCDict(e->cdict);
	e->cdict = NULL;
	if (n == 0) {
		drop_models(e);
		return DS_OK;
	}
	if (e->options.strong) /* zstd is for what repeats itself within a block */
		return DS_OK;
	p = ZSTD_getCParams(e->options.level, ZSTD_CONTENTSIZE_UNKNOWN, n);
	e->cdict = ZSTD_createCDict_advanced(text, n, ZSTD_dlm_byRef, ZSTD_dct_rawContent, p,
					     ZSTD_defaultCMem);
	return e->cdict ? DS_OK : ds_fail_nomem(err, n);
}

static void set_parameters(const struct ds_block_encoder *e, ZSTD_CCtx *cctx)
{
	ZSTD_CCtx_reset(cctx, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, e->options.level);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
}

/* A context that compresses the next block. */
static void prepare(const struct ds_block_encoder *e, ZSTD_CCtx *cctx,
		    const struct ds_block_code *b)
{
	set_parameters(e, cctx);
	if (b->alone || !e->cdict)
		return;
	/* the tables of the dictionary are used where they lie: to copy them takes longer than
	 * looking into both */
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_forceAttachDict, ZSTD_dictForceAttach);
	ZSTD_CCtx_refCDict(cctx, e->cdict);
}

/* Code with the references where this is smaller than what there is. */
static enum ds_status encode_references(struct ds_block_encoder *e, unsigned thread,
					struct ds_block_code *b, struct ds_err *err)
{
	ZSTD_CCtx *cctx = e->cctx[thread];
	struct ds_buf code = {0};
	size_t stored, room = b->code.len ? b->code.len : b->n;

	DS_TRY(ds_buf_reserve(&code, ZSTD_compressBound(b->n), err));
	set_parameters(e, cctx);
	ZSTD_CCtx_refPrefix(cctx, b->references, b->reference_bytes);
	stored = ZSTD_compress2(cctx, code.data, code.cap, b->bytes, b->n);
	if (!ZSTD_isError(stored) && stored < room) {
		b->coder = DS_CODER_ZSTD_REFERENCES;
		b->code.len = stored;
		memcpy(b->code.data, code.data, stored);
	}
	ds_buf_fini(&code);
	return ZSTD_isError(stored) ? ds_fail_nomem(err, b->n) : DS_OK;
}

static enum ds_status encode_zstd(struct ds_block_encoder *e, unsigned thread,
				  struct ds_block_code *b, struct ds_err *err)
{
	size_t stored;

	DS_TRY(ds_buf_reserve(&b->code, ZSTD_compressBound(b->n), err));
	prepare(e, e->cctx[thread], b);
	stored = ZSTD_compress2(e->cctx[thread], b->code.data, b->code.cap, b->bytes, b->n);
	if (ZSTD_isError(stored))
		return ds_fail_nomem(err, b->n);
	if (stored < b->n) {
		b->code.len = stored;
		b->coder = e->cdict && !b->alone ? DS_CODER_ZSTD_DICTIONARY : DS_CODER_ZSTD;
	}
	return b->reference_bytes ? encode_references(e, thread, b, err) : DS_OK;
}

/* A model that coded a dictionary has learnt it: every thread gets one like it. */
static enum ds_status share_model(struct ds_block_encoder *e, struct ds_mix *mix,
				  struct ds_err *err)
{
	drop_models(e);
	e->mix[0] = mix;
	DS_TRY(ds_mix_freeze(mix, err));
	for (unsigned i = 1; i < e->options.threads; i++)
		DS_TRY(ds_mix_copy(&e->mix[i], mix, err));
	return DS_OK;
}

/* Code without a dictionary; as one, or perhaps with references. */
static enum ds_status mix_alone(struct ds_block_encoder *e, struct ds_block_code *b,
				struct ds_buf *code, struct ds_err *err)
{
	struct ds_mix *mix;
	enum ds_status st;

	DS_TRY(new_model(&mix, b->reference_bytes ? b->reference_bytes : b->n, err));
	st = ds_mix_prime(mix, b->references, b->reference_bytes, err);
	if (st == DS_OK)
		st = ds_mix_prime_encode(mix, b->bytes, b->n, code, err);
	if (st == DS_OK && b->alone)
		return share_model(e, mix, err);
	ds_mix_free(mix);
	return st;
}

static enum ds_status mix_primed(struct ds_mix *mix, const struct ds_block_code *b,
				 struct ds_buf *code, struct ds_err *err)
{
	DS_TRY(ds_mix_prime(mix, b->references, b->reference_bytes, err));
	return ds_mix_encode(mix, b->bytes, b->n, code, err);
}

/* Code with the mixing coder where this is smaller, and not by too much. */
static enum ds_status encode_strong(struct ds_block_encoder *e, unsigned thread,
				    struct ds_block_code *b, struct ds_err *err)
{
	struct ds_mix *primed = b->alone ? NULL : e->mix[thread];
	struct ds_buf *code = &e->spare[thread], old = b->code;

	code->len = 0;
	DS_TRY(primed ? mix_primed(primed, b, code, err) : mix_alone(e, b, code, err));
	if (code->len >= b->n || b->n > code->len * STRONG_RATIO_MAX)
		return DS_OK;
	b->code = *code;
	b->coder = b->reference_bytes ? DS_CODER_STRONG_REFERENCES
		   : primed	      ? DS_CODER_STRONG_DICTIONARY
				      : DS_CODER_STRONG;
	*code = old;
	return DS_OK;
}

/* What repeats itself over and over zstd may tell in fewer bytes. */
static enum ds_status try_zstd(struct ds_block_encoder *e, unsigned thread, struct ds_block_code *b,
			       struct ds_err *err)
{
	struct ds_block_code other = *b;
	enum ds_status st;

	other.coder = DS_CODER_STORED;
	other.code = (struct ds_buf){0};
	st = encode_zstd(e, thread, &other, err);
	if (st == DS_OK && other.coder != DS_CODER_STORED &&
	    (b->coder == DS_CODER_STORED || other.code.len < b->code.len)) {
		struct ds_buf swap = b->code;

		b->coder = other.coder;
		b->code = other.code;
		other.code = swap;
	}
	ds_buf_fini(&other.code);
	return st;
}

enum ds_status ds_block_encode(struct ds_block_encoder *e, unsigned thread, struct ds_block_code *b,
			       struct ds_err *err)
{
	b->code.len = 0;
	b->coder = DS_CODER_STORED;
	if (!e->options.strong || !b->n)
		return encode_zstd(e, thread, b, err);
	DS_TRY(encode_strong(e, thread, b, err));
	return b->coder == DS_CODER_STORED || b->n / STRONG_SURE > b->code.len
		       ? try_zstd(e, thread, b, err)
		       : DS_OK;
}

void ds_block_encoder_free(struct ds_block_encoder *e)
{
	if (!e)
		return;
	for (unsigned i = 0; e->cctx && i < e->options.threads; i++)
		ZSTD_freeCCtx(e->cctx[i]);
	ZSTD_freeCDict(e->cdict);
	drop_models(e);
	for (unsigned i = 0; e->spare && i < e->options.threads; i++)
		ds_buf_fini(&e->spare[i]);
	free(e->spare);
	free(e->mix);
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
	return coder == DS_CODER_ZSTD_DICTIONARY || coder == DS_CODER_STRONG_DICTIONARY ||
	       coder == DS_CODER_STRONG_REFERENCES;
}

int ds_coder_needs_references(uint8_t coder)
{
	return coder == DS_CODER_ZSTD_REFERENCES || coder == DS_CODER_STRONG_REFERENCES;
}

static enum ds_status unzstd(struct ds_block_decoder *d, const struct ds_coded *c,
			     uint8_t *bytes_ret, struct ds_err *err)
{
	size_t n;

	ZSTD_DCtx_reset(d->dctx, ZSTD_reset_session_and_parameters);
	if (c->coder == DS_CODER_ZSTD_DICTIONARY)
		ZSTD_DCtx_refPrefix(d->dctx, c->dictionary, c->dictionary_bytes);
	if (c->coder == DS_CODER_ZSTD_REFERENCES)
		ZSTD_DCtx_refPrefix(d->dctx, c->references, c->reference_bytes);
	n = ZSTD_decompressDCtx(d->dctx, bytes_ret, c->raw, c->code, c->stored);
	if (!ZSTD_isError(n) && n == c->raw)
		return DS_OK;
	return ds_fail(err, DS_EFORMAT, "a block does not unpack to %zu bytes: %s", c->raw,
		       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
}

static void drop_model(struct ds_block_decoder *d)
{
	ds_mix_free(d->mix);
	d->mix = NULL;
	d->mix_dictionary = 0;
}

/* Keep a model that has learnt a dictionary, for blocks. */
static enum ds_status keep_model(struct ds_block_decoder *d, struct ds_mix *mix,
				 uint32_t dictionary, struct ds_err *err)
{
	enum ds_status st = ds_mix_freeze(mix, err);

	drop_model(d);
	if (st != DS_OK) {
		ds_mix_free(mix);
		return st;
	}
	d->mix = mix;
	d->mix_dictionary = dictionary;
	return DS_OK;
}

static enum ds_status unmix_alone(struct ds_block_decoder *d, const struct ds_coded *c,
				  uint8_t *bytes_ret, struct ds_err *err)
{
	struct ds_mix *mix;
	enum ds_status st;

	if (c->alone)
		drop_model(d);
	DS_TRY(new_model(&mix, c->reference_bytes ? c->reference_bytes : c->raw, err));
	st = ds_mix_prime(mix, c->references, c->reference_bytes, err);
	if (st == DS_OK)
		st = ds_mix_prime_decode(mix, c->code, c->stored, bytes_ret, c->raw, err);
	if (st == DS_OK && c->alone)
		return keep_model(d, mix, c->dictionary_number, err);
	ds_mix_free(mix);
	return st;
}

static enum ds_status learn_dictionary(struct ds_block_decoder *d, const struct ds_coded *c,
				       struct ds_err *err)
{
	struct ds_mix *mix;
	enum ds_status st;

	if (d->mix && d->mix_dictionary == c->dictionary_number)
		return DS_OK;
	drop_model(d);
	DS_TRY(new_model(&mix, c->dictionary_bytes, err));
	st = ds_mix_prime(mix, c->dictionary, c->dictionary_bytes, err);
	if (st == DS_OK)
		return keep_model(d, mix, c->dictionary_number, err);
	ds_mix_free(mix);
	return st;
}

static enum ds_status unmix(struct ds_block_decoder *d, const struct ds_coded *c,
			    uint8_t *bytes_ret, struct ds_err *err)
{
	if (c->raw > STRONG_RATIO_MAX * (uint64_t)c->stored)
		return ds_fail(err, DS_ELIMIT, "%zu bytes in %zu stored ones are over the ratio",
			       c->raw, c->stored);
	if (!c->dictionary)
		return unmix_alone(d, c, bytes_ret, err);
	DS_TRY(learn_dictionary(d, c, err));
	DS_TRY(ds_mix_prime(d->mix, c->references, c->reference_bytes, err));
	return ds_mix_decode(d->mix, c->code, c->stored, bytes_ret, c->raw, err);
}

enum ds_status ds_block_decode(struct ds_block_decoder *d, const struct ds_coded *c,
			       uint8_t *bytes_ret, struct ds_err *err)
{
	if (!c->dictionary && ds_coder_needs_dictionary(c->coder) &&
	    !ds_coder_needs_references(c->coder))
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
	case DS_CODER_ZSTD_REFERENCES:
		return unzstd(d, c, bytes_ret, err);
	case DS_CODER_STRONG:
	case DS_CODER_STRONG_DICTIONARY:
	case DS_CODER_STRONG_REFERENCES:
		return unmix(d, c, bytes_ret, err);
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
	ds_mix_free(d->mix);
	free(d);
}
