/*
 * bpe_encode.c - text to tokens: pretokens, looked up in a cache, else encoded
 *
 * Pretokens are taken in batches: cut, hash and prefetch, look up.  Text repeats itself, so nearly
 * all short ones are found in the cache; of the others most are tokens themselves.  Long pretokens,
 * as in scripts without spaces, are first cut at the seams that no token can lie across: what is
 * between them is short again, and repeats.  A unit is a pretoken or such a part of one.
 */
#include "token/bpe_encode.h"

#include <stdlib.h>

#include "base/mem.h"

#define BATCH 128
#define CACHE_BITS 15	 /* lines of the cache: 2 MiB */
#define CACHED_BYTES DS_BPE_INLINE /* of the longest pretoken that is cached */
#define CACHED_TOKENS 4	 /* most tokens of one */
#define ORDER_AFTER 1024 /* pretokens merged step by step before the order is worth its making */

/* A pretoken and its tokens.  The length is the last byte of the key; 0: free. */
struct cached {
	struct ds_key key;
	uint32_t id[CACHED_TOKENS]; /* the count is in the upper 8 bits of id[0] */
};

struct line {
	struct cached way[2]; /* the later one is older */
};

/* Where the tokens go; tokens NULL: they are counted only. */
struct sink {
	const struct ds_bpe *bpe;
	struct ds_tokens *tokens;
	size_t count;
	const uint8_t *text, *text_end;
	uint64_t base;
};

struct ds_bpe_encoder {
	const struct ds_bpe *bpe;
	const struct ds_bpe_order *order; /* NULL: not asked for yet */
	struct line *cache; /* [1 << CACHE_BITS] */
	struct ds_bpe_scratch scratch;
	uint32_t *width; /* [n] bytes of scratch.id[i], where they are not those of the token */
	size_t cap_width;
	unsigned merged; /* units merged step by step so far */
	struct ds_pretok_walk walk;
	size_t pretoken[BATCH]; /* [n_pretokens] ends; those before next_pretoken are done */
	size_t n_pretokens, next_pretoken;
	size_t pretoken_start; /* where the one being cut begins */
	struct unit {
		size_t start;
		size_t end;
		struct ds_key key;
		uint64_t hash;
		uint32_t id[CACHED_TOKENS]; /* as in the cache; count 0: not there */
		bool whole;		    /* a pretoken, not a part of one */
	} unit[BATCH];
};

static inline struct line *cache_line(const struct ds_bpe_encoder *enc, const struct unit *unit)
{
	return &enc->cache[unit->hash >> (64 - CACHE_BITS)];
}

static bool linear(const struct ds_bpe_encoder *enc)
{
	return enc->order && enc->order->proper;
}

/* --- one unit ------------------------------------------------------------------------------ */

/* From now on a token may be cached only for what merges make of it, not for what a pretoken is. */
static enum ds_status get_order(struct ds_bpe_encoder *enc, struct ds_err *err)
{
	DS_TRY(ds_bpe_order_get(&enc->order, enc->bpe, err));
	if (enc->bpe->flags & DS_BPE_IGNORE_MERGES)
		memset(enc->cache, 0, sizeof *enc->cache << CACHE_BITS);
	return DS_OK;
}

/* The tokens of symbols between which nothing else stands. */
static enum ds_status encode_stretch(struct ds_bpe_encoder *enc, struct ds_stretch text, size_t at,
				     size_t *n_ret, struct ds_err *err)
{
	const struct ds_bpe *bpe = enc->bpe;

	if (!enc->order && (text.n > DS_BPE_SHORT || ++enc->merged > ORDER_AFTER))
		DS_TRY(get_order(enc, err));
	if (text.n <= DS_BPE_FEW && bpe->total && text.p[text.n / 2] < 0x80)
		return ds_bpe_merge_few(bpe, &enc->scratch, text, at, n_ret, err);
	if (linear(enc) && text.n <= 3 * DS_BPE_FEW && text.p[0] >= 0xE3 && text.p[0] <= 0xE9 &&
	    text.n % 3 == 0) {
		DS_TRY(ds_bpe_merge_han(bpe, &enc->scratch, text, at, n_ret, err));
		if (*n_ret)
			return DS_OK;
	}
	/* runs of one byte are of tokens too long for windows */
	if (linear(enc) && bpe->total && memcmp(text.p, text.p + 1, text.n < 16 ? text.n - 1 : 15))
		return ds_bpe_windows(bpe, &enc->scratch, text, at, n_ret, err);
	if (linear(enc))
		return ds_bpe_search(bpe, &enc->scratch, text, at, n_ret, err);
	if (text.n <= DS_BPE_SHORT)
		return ds_bpe_merge_short(bpe, &enc->scratch, text, at, n_ret, err);
	return ds_bpe_merge_heap(bpe, &enc->scratch, text, at, n_ret, err);
}

/* What becomes of bytes that are no symbol: their fallback tokens, else one for the unknown, else
 * nothing: *n_io stays. */
static enum ds_status encode_unknown(struct ds_bpe_encoder *enc, const uint8_t *p, unsigned len,
				     size_t *n_io, struct ds_err *err)
{
	struct ds_bpe_scratch *scratch = &enc->scratch;
	bool known = true;

	DS_TRY(ds_grow(&scratch->id, &scratch->cap_id, *n_io + len, sizeof *scratch->id, err));
	DS_TRY(ds_grow(&enc->width, &enc->cap_width, *n_io + len, sizeof *enc->width, err));
	for (unsigned i = 0; i < len; i++)
		known &= enc->bpe->byte_fallback[p[i]] != DS_NO_TOKEN;
	if (known) {
		for (unsigned i = 0; i < len; i++) {
			scratch->id[*n_io] = enc->bpe->byte_fallback[p[i]];
			enc->width[(*n_io)++] = 1;
		}
	} else if (enc->bpe->unk != DS_NO_TOKEN) {
		scratch->id[*n_io] = enc->bpe->unk;
		enc->width[(*n_io)++] = len;
	}
	return DS_OK;
}

/* A unit of a vocabulary that does not hold every byte: stretches, and what is unknown. */
static enum ds_status encode_partial(struct ds_bpe_encoder *enc, struct ds_stretch text,
				     size_t *n_ret, bool *exact_ret, struct ds_err *err)
{
	const uint8_t *p = text.p, *end = text.p + text.n, *start = p;
	size_t n = 0, more, first;
	unsigned len = 0, dropped = 0; /* bytes without tokens, which the next token takes */
	uint32_t symbol;

	*exact_ret = true;
	for (; p <= end; p += len) {
		symbol = p == end ? DS_NO_TOKEN : ds_bpe_symbol(enc->bpe, p, end, &len);
		if (symbol != DS_NO_TOKEN)
			continue;
		if (start < p) {
			struct ds_stretch part = {start, (size_t)(p - start), text.readable};

			DS_TRY(encode_stretch(enc, part, n, &more, err));
			DS_TRY(ds_grow(&enc->width, &enc->cap_width, n + more, sizeof *enc->width,
				       err));
			for (; more; more--, n++, dropped = 0)
				enc->width[n] =
					dropped + ds_token_len(enc->bpe, enc->scratch.id[n]);
		}
		if (p == end)
			break;
		first = n;
		DS_TRY(encode_unknown(enc, p, len, &n, err));
		if (first < n)
			enc->width[first] += dropped;
		dropped = first < n ? 0 : dropped + len;
		*exact_ret = false;
		start = p + len;
	}
	*n_ret = n;
	return DS_OK;
}

/* The token that the unit is, when that can be told from the vocabulary alone. */
static uint32_t whole(const struct ds_bpe_encoder *enc, const struct unit *unit, const uint8_t *p,
		      bool *merges_ret)
{
	const struct ds_bpe *bpe = enc->bpe;
	size_t len = unit->end - unit->start;
	uint32_t id = DS_NO_TOKEN;

	if (len > DS_BPE_INLINE)
		id = ds_bpe_look_long(bpe, p, len, ds_long_hash(p, len));
	else if (ds_seen(bpe->token_seen, unit->hash))
		id = ds_bpe_look_short(bpe, unit->key, unit->hash);
	if (id == DS_NO_TOKEN)
		return id;
	*merges_ret = linear(enc) && ds_comes_about(enc->order, id);
	if (*merges_ret)
		return id;
	if (unit->whole && (bpe->flags & DS_BPE_IGNORE_MERGES) && bpe->ordinary[id])
		return id;
	return DS_NO_TOKEN;
}

static void remember(struct line *line, struct ds_key key, const uint32_t *id, size_t n)
{
	struct cached *to = &line->way[0];

	line->way[1] = *to;
	to->key = key;
	for (size_t i = 0; i < n; i++)
		to->id[i] = id[i];
	to->id[0] |= (uint32_t)n << 24;
}

/* --- out ----------------------------------------------------------------------------------- */

static enum ds_status make_room(struct ds_tokens *tokens, size_t more, struct ds_err *err)
{
	if (tokens->n + more > tokens->cap_id)
		DS_TRY(ds_grow(&tokens->id, &tokens->cap_id, tokens->n + more, sizeof *tokens->id,
			       err));
	if (tokens->n + more > tokens->cap_end)
		DS_TRY(ds_grow(&tokens->end, &tokens->cap_end, tokens->n + more,
			       sizeof *tokens->end, err));
	return DS_OK;
}

/* Tokens of a pretoken at start; width NULL: each is as long as its bytes. */
static enum ds_status put(struct sink *sink, const uint32_t *id, const uint32_t *width, size_t n,
			  size_t start, struct ds_err *err)
{
	struct ds_tokens *tokens = sink->tokens;
	uint64_t end = sink->base + start;

	sink->count += n;
	if (!tokens)
		return DS_OK;
	DS_TRY(make_room(tokens, n, err));
	for (size_t i = 0; i < n; i++) {
		end += width ? width[i] : ds_token_len(sink->bpe, id[i]);
		tokens->id[tokens->n] = id[i];
		tokens->end[tokens->n++] = end;
	}
	return DS_OK;
}

/* A unit that is not in the cache. */
static enum ds_status miss(struct ds_bpe_encoder *enc, struct sink *sink, const struct unit *unit,
			   struct ds_err *err)
{
	const struct ds_bpe *bpe = enc->bpe;
	struct ds_stretch text = {sink->text + unit->start, unit->end - unit->start,
				  sink->text_end};
	bool exact = true, merges = true;
	size_t n = 1;
	uint32_t id = whole(enc, unit, text.p, &merges);

	if (id != DS_NO_TOKEN) {
		DS_TRY(ds_grow(&enc->scratch.id, &enc->scratch.cap_id, 1, sizeof id, err));
		enc->scratch.id[0] = id;
	} else if (bpe->total) {
		merges = true;
		DS_TRY(encode_stretch(enc, text, 0, &n, err));
	} else {
		merges = true;
		DS_TRY(encode_partial(enc, text, &n, &exact, err));
	}
	if (text.n <= CACHED_BYTES && n <= CACHED_TOKENS && n && exact && (merges || !enc->order))
		remember(cache_line(enc, unit), unit->key, enc->scratch.id, n);
	return put(sink, enc->scratch.id, exact ? NULL : enc->width, n, unit->start, err);
}

/* --- a batch ------------------------------------------------------------------------------- */

/* Whether a long pretoken is a token that merges need not make. */
static bool is_odd_token(const struct ds_bpe *bpe, struct ds_stretch text)
{
	return (bpe->flags & DS_BPE_IGNORE_MERGES) &&
	       ds_bpe_look_long(bpe, text.p, text.n, ds_long_hash(text.p, text.n)) != DS_NO_TOKEN;
}

/* Where the unit that starts a pretoken's rest, start..end, ends. */
static size_t unit_end(const struct ds_bpe_encoder *enc, const struct sink *sink, size_t start,
		       size_t end, bool whole)
{
	struct ds_stretch text = {sink->text + start, end - start, sink->text_end};

	if (!linear(enc) || (whole && is_odd_token(enc->bpe, text)))
		return end;
	return start + ds_bpe_seam(enc->order, text);
}

/* Up to BATCH units from *start_io on, cut from pretokens, with their keys and hashes; 0: those are
 * used up. */
static size_t cut_units(struct ds_bpe_encoder *enc, const struct sink *sink, size_t *start_io)
{
	size_t n = 0, start = *start_io;

	while (n < BATCH && enc->next_pretoken < enc->n_pretokens) {
		struct unit *unit = &enc->unit[n++];
		size_t end = enc->pretoken[enc->next_pretoken];
		bool whole = start == enc->pretoken_start;

		unit->start = start;
		unit->end = end;
		unit->whole = whole;
		if (end - start > CACHED_BYTES) {
			unit->end = unit_end(enc, sink, start, end, whole);
			unit->whole &= unit->end == end;
		}
		if (unit->end == end) {
			enc->next_pretoken++;
			enc->pretoken_start = end;
		}
		unit->key.high = 0; /* as no key in the cache */
		if (unit->end - start <= CACHED_BYTES) {
			struct ds_key all = ds_key_load_end(sink->text + start, sink->text_end);

			unit->key = ds_key_cut(all, unit->end - start);
			unit->hash = ds_key_hash(unit->key);
			__builtin_prefetch(cache_line(enc, unit));
		}
		start = unit->end;
	}
	*start_io = start;
	return n;
}

/* Units from the cache; for others the line of the vocabulary that they will need. */
static void find_units(struct ds_bpe_encoder *enc, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct unit *unit = &enc->unit[i];
		const struct cached *way;

		unit->id[0] = 0;
		if (!unit->key.high)
			continue;
		way = cache_line(enc, unit)->way;
		if (way->key.low != unit->key.low || way->key.high != unit->key.high)
			way++;
		if (way->key.low == unit->key.low && way->key.high == unit->key.high) {
			memcpy(unit->id, way->id, sizeof unit->id);
		} else if (ds_seen(enc->bpe->token_seen, unit->hash)) {
			__builtin_prefetch(&enc->bpe->line[unit->hash & enc->bpe->line_mask]);
		}
	}
}

static enum ds_status encode_units(struct ds_bpe_encoder *enc, struct sink *sink, size_t n,
				   struct ds_err *err)
{
	struct ds_tokens *tokens = sink->tokens;

	if (tokens)
		DS_TRY(make_room(tokens, n, err));
	for (size_t i = 0; i < n; i++) {
		struct unit *unit = &enc->unit[i];
		unsigned count = unit->id[0] >> 24;

		unit->id[0] &= 0xFFFFFF;
		if (!tokens && count) {
			sink->count += count;
		} else if (count == 1) {
			tokens->id[tokens->n] = unit->id[0];
			tokens->end[tokens->n++] = sink->base + unit->end;
		} else {
			if (count)
				DS_TRY(put(sink, unit->id, NULL, count, unit->start, err));
			else
				DS_TRY(miss(enc, sink, unit, err));
			if (tokens)
				DS_TRY(make_room(tokens, n - i, err));
		}
	}
	return DS_OK;
}

static enum ds_status encode(struct ds_bpe_encoder *enc, struct sink *sink, struct ds_err *err)
{
	size_t start = 0, n;

	ds_pretok_start(&enc->walk, sink->text, (size_t)(sink->text_end - sink->text));
	enc->n_pretokens = enc->next_pretoken = enc->pretoken_start = 0;
	for (;;) {
		n = cut_units(enc, sink, &start);
		if (!n) {
			enc->next_pretoken = 0;
			DS_TRY(ds_pretok_next(&enc->walk, enc->pretoken, BATCH, &enc->n_pretokens,
					      err));
			if (!enc->n_pretokens)
				return DS_OK;
			continue;
		}
		find_units(enc, n);
		DS_TRY(encode_units(enc, sink, n, err));
	}
}

/* --- public -------------------------------------------------------------------------------- */

enum ds_status ds_bpe_encoder_new(struct ds_bpe_encoder **enc_ret, const struct ds_bpe *bpe,
				  const struct ds_pretok *pre, struct ds_err *err)
{
	struct ds_bpe_encoder *enc = ds_alloc_zero(1, sizeof *enc);

	*enc_ret = NULL;
	if (!enc)
		return ds_fail_nomem(err, sizeof *enc);
	enc->bpe = bpe;
	ds_pretok_walk_init(&enc->walk, pre);
	enc->cache = aligned_alloc(64, sizeof *enc->cache << CACHE_BITS);
	enc->scratch.validity =
		ds_alloc_zero((size_t)1 << DS_VALIDITY_BITS, sizeof *enc->scratch.validity);
	if (!enc->cache || !enc->scratch.validity) {
		ds_bpe_encoder_free(enc);
		return ds_fail_nomem(err, sizeof *enc->cache << CACHE_BITS);
	}
	memset(enc->cache, 0, sizeof *enc->cache << CACHE_BITS);
	*enc_ret = enc;
	return DS_OK;
}

void ds_bpe_encoder_free(struct ds_bpe_encoder *enc)
{
	if (!enc)
		return;
	ds_pretok_walk_fini(&enc->walk);
	free(enc->cache);
	free(enc->scratch.id);
	free(enc->scratch.dead);
	free(enc->scratch.heap);
	free(enc->scratch.link);
	free(enc->scratch.validity);
	free(enc->width);
	free(enc);
}

enum ds_status ds_bpe_encode(struct ds_bpe_encoder *enc, const void *text, size_t n, uint64_t base,
			     struct ds_tokens *tokens, struct ds_err *err)
{
	struct sink sink = {enc->bpe, tokens, 0, text, (const uint8_t *)text + n, base};
	size_t before = tokens->n;

	DS_TRY(encode(enc, &sink, err));
	if (tokens->n > before) /* bytes that give no token belong to their neighbour */
		tokens->end[tokens->n - 1] = base + n;
	return DS_OK;
}

enum ds_status ds_bpe_count(struct ds_bpe_encoder *enc, const void *text, size_t n,
			    size_t *count_io, struct ds_err *err)
{
	struct sink sink = {enc->bpe, NULL, 0, text, (const uint8_t *)text + n, 0};

	DS_TRY(encode(enc, &sink, err));
	*count_io += sink.count;
	return DS_OK;
}
