/*
 * wordpiece.c - WordPiece over BERT's normaliser and word splitter
 *
 * The fast path is one look-up a word: a word is found by its raw bytes, before any normalisation,
 * in a cache of words seen.  Only a new word is normalised and cut into pieces.
 *
 * Source: Hugging Face tokenizers, normalizers/bert.rs, pre_tokenizers/bert.rs,
 * models/wordpiece/mod.rs (behaviour; compared with it over all code points).
 */
#include "token/wordpiece.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "token/bert_chars.h"
#include "token/normal.h"
#include "token/wordcache.h"

/* --- vocabulary ---------------------------------------------------------------------------- */

#define INLINE static inline __attribute__((always_inline))

struct slot {
	uint32_t hash;
	uint32_t id; /* + 1; 0: empty */
};

/* Lengths of tokens by their first two bytes: bit n for n bytes, bit 63 for 63 and more.  Spares
 * most look-ups of prefixes that no token has. */
#define HEADS 4096
#define LONG_TOKEN 63
#define TOKEN_BYTES_MAX 512

struct ds_wp {
	struct ds_wp_source source;
	uint8_t *continues; /* [n] */
	uint8_t *skip;	    /* [n] bytes of the mark before the text */
	struct slot *slots; /* [mask + 1] */
	uint32_t mask;
	size_t token_bytes_max;
	uint64_t lengths[2][HEADS]; /* [continues] */
};

static unsigned head_of(const uint8_t *p)
{
	return ((unsigned)p[0] | (unsigned)p[1] << 8) * 0x9E3779B1u >> 20;
}

/* A hash that grows by a byte at a time, so that all prefixes of a word cost one pass. */
static uint64_t hash_start(int continues)
{
	return continues ? 0x2545F4914F6CDD1Du : 0x9E3779B97F4A7C15u;
}

static uint64_t hash_byte(uint64_t hash, uint8_t byte)
{
	return (hash ^ byte) * 0xD6E8FEB86659FD93u;
}

static uint64_t hash_of(const uint8_t *bytes, size_t n, int continues)
{
	uint64_t hash = hash_start(continues);

	for (size_t i = 0; i < n; i++)
		hash = hash_byte(hash, bytes[i]);
	return hash;
}

static uint32_t lookup(const struct ds_wp *wp, const uint8_t *bytes, size_t n, int continues,
		       uint64_t hash)
{
	uint32_t tag = (uint32_t)(hash >> 32);

	for (uint32_t i = tag & wp->mask; wp->slots[i].id; i = (i + 1) & wp->mask) {
		uint32_t id = wp->slots[i].id - 1;
		struct ds_str text;

		if (wp->slots[i].hash != tag || wp->continues[id] != continues)
			continue;
		text = ds_wp_text(wp, id);
		if (text.len == n && memcmp(text.s, bytes, n) == 0)
			return id;
	}
	return DS_NO_TOKEN;
}

/* The longest token at p, at most n bytes; its length in *len_ret. */
static uint32_t longest(const struct ds_wp *wp, const uint8_t *p, size_t n, int continues,
			size_t *len_ret)
{
	uint64_t hash[TOKEN_BYTES_MAX + 1],
		lengths = n < 2 ? 0 : wp->lengths[continues][head_of(p)];
	size_t max = n < wp->token_bytes_max ? n : wp->token_bytes_max, len;

	hash[0] = hash_start(continues);
	for (size_t i = 0; i < max; i++)
		hash[i + 1] = hash_byte(hash[i], p[i]);
	for (len = max; len > 1; len--) {
		uint32_t id;

		if (len < LONG_TOKEN) {
			/* on to the next length that a token with these first bytes has */
			lengths &= ((uint64_t)2 << len) - 1;
			if (!lengths)
				break;
			len = 63 - (size_t)__builtin_clzll(lengths);
		} else if (!(lengths >> LONG_TOKEN)) {
			len = LONG_TOKEN;
			continue;
		}
		id = lookup(wp, p, len, continues, hash[len]);
		if (id != DS_NO_TOKEN) {
			*len_ret = len;
			return id;
		}
	}
	*len_ret = 1;
	return max ? lookup(wp, p, 1, continues, hash[1]) : DS_NO_TOKEN;
}

static int has_prefix(struct ds_str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len > n && memcmp(s.s, prefix, n) == 0;
}

static void read_mark(struct ds_wp *wp, uint32_t id)
{
	struct ds_str s = wp->source.token[id];
	int bracketed = s.len > 1 && s.s[0] == '[' && s.s[s.len - 1] == ']';

	if (wp->source.style == DS_WP_HASHES) {
		wp->continues[id] = (uint8_t)has_prefix(s, "##");
		wp->skip[id] = wp->continues[id] ? 2 : 0;
	} else {
		wp->skip[id] = has_prefix(s, "\xE2\x96\x81") ? 3 : 0;
		wp->continues[id] = !wp->skip[id] && !bracketed;
	}
}

struct ds_str ds_wp_text(const struct ds_wp *wp, uint32_t id)
{
	struct ds_str s = wp->source.token[id];

	return (struct ds_str){s.s + wp->skip[id], s.len - wp->skip[id]};
}

int ds_wp_continues(const struct ds_wp *wp, uint32_t id)
{
	return wp->continues[id];
}

unsigned ds_wp_flags(const struct ds_wp *wp)
{
	return wp->source.flags;
}

uint32_t ds_wp_find(const struct ds_wp *wp, const void *bytes, size_t n)
{
	return n ? lookup(wp, bytes, n, 0, hash_of(bytes, n, 0)) : DS_NO_TOKEN;
}

static void insert(struct ds_wp *wp, uint32_t id)
{
	struct ds_str text = ds_wp_text(wp, id);
	const uint8_t *bytes = (const uint8_t *)text.s;
	int continues = wp->continues[id];
	uint64_t hash = hash_of(bytes, text.len, continues);
	uint32_t i = (uint32_t)(hash >> 32) & wp->mask;

	/* the first of equal tokens is found, as in a file read from its start */
	if (text.len == 0 || lookup(wp, bytes, text.len, continues, hash) != DS_NO_TOKEN)
		return;
	while (wp->slots[i].id)
		i = (i + 1) & wp->mask;
	wp->slots[i] = (struct slot){(uint32_t)(hash >> 32), id + 1};
	if (text.len >= 2)
		wp->lengths[continues][head_of(bytes)] |=
			(uint64_t)1 << (text.len < LONG_TOKEN ? text.len : LONG_TOKEN);
	if (text.len > wp->token_bytes_max)
		wp->token_bytes_max = text.len;
}

/* Marks and the table of all tokens. */
static enum ds_status index_tokens(struct ds_wp *wp, struct ds_err *err)
{
	for (uint32_t id = 0; id < wp->source.n; id++) {
		if (wp->source.token[id].len > TOKEN_BYTES_MAX)
			return ds_fail(err, DS_ELIMIT,
				       "token %u has %zu bytes, at most %d expected", id,
				       wp->source.token[id].len, TOKEN_BYTES_MAX);
		read_mark(wp, id);
	}
	for (uint32_t id = 0; id < wp->source.n; id++)
		insert(wp, id);
	return DS_OK;
}

enum ds_status ds_wp_build(struct ds_wp **wp_ret, const struct ds_wp_source *source,
			   struct ds_err *err)
{
	struct ds_wp *wp;
	size_t slots = 64;
	enum ds_status st;

	if (source->n >= (uint32_t)1 << 30 || source->unk >= source->n)
		return ds_fail(err, DS_EFORMAT, "WordPiece needs an unknown token among its %zu",
			       source->n);
	while (slots < source->n * 2)
		slots *= 2;
	wp = ds_alloc_zero(1, sizeof *wp);
	if (!wp)
		return ds_fail_nomem(err, sizeof *wp);
	wp->source = *source;
	wp->mask = (uint32_t)slots - 1;
	wp->slots = ds_alloc_zero(slots, sizeof *wp->slots);
	wp->continues = ds_alloc(source->n, 1);
	wp->skip = ds_alloc(source->n, 1);
	if (!wp->slots || !wp->continues || !wp->skip) {
		ds_wp_free(wp);
		return ds_fail_nomem(err, slots * sizeof *wp->slots);
	}
	st = index_tokens(wp, err);
	if (st != DS_OK) {
		ds_wp_free(wp);
		return st;
	}
	*wp_ret = wp;
	return DS_OK;
}

void ds_wp_free(struct ds_wp *wp)
{
	if (!wp)
		return;
	free(wp->slots);
	free(wp->continues);
	free(wp->skip);
	free(wp);
}

/* --- the word caches ----------------------------------------------------------------------- */

/* Words of up to 8 raw bytes that are one token: most of a text. */
#define SHORT_BITS 15
struct short_word {
	uint64_t key; /* the bytes, zero-padded */
	uint32_t id;
	uint32_t len; /* 0: empty */
};

struct piece {
	uint32_t id;
	size_t end; /* in the raw bytes of the word */
};

#define PAGE_CHARS 256
#define PAGES (0x110000 / PAGE_CHARS)

struct ds_wp_encoder {
	const struct ds_wp *wp;
	struct short_word *short_word; /* [1 << SHORT_BITS] */
	struct ds_word *word;	       /* [DS_WORDCACHE_WORDS], the others */
	uint8_t *page[PAGES];	       /* [PAGE_CHARS] classes, filled when first met */
	uint8_t ascii[256];	       /* classes; 0 for bytes of longer characters */
	/* scratch of one new word */
	uint8_t *norm;	/* its normalised bytes */
	size_t *origin; /* [norm] raw offset where each normalised byte's character begins */
	uint32_t *cp;
	struct piece *piece;
	size_t cap_norm, cap_origin, cap_cp, cap_piece, n_piece;
};

enum ds_status ds_wp_encoder_new(struct ds_wp_encoder **enc_ret, const struct ds_wp *wp,
				 struct ds_err *err)
{
	struct ds_wp_encoder *enc = ds_alloc_zero(1, sizeof *enc);

	if (!enc)
		return ds_fail_nomem(err, sizeof *enc);
	enc->wp = wp;
	enc->short_word = ds_alloc_zero((size_t)1 << SHORT_BITS, sizeof *enc->short_word);
	enc->word = ds_alloc_zero(DS_WORDCACHE_WORDS, sizeof *enc->word);
	if (!enc->short_word || !enc->word) {
		ds_wp_encoder_free(enc);
		return ds_fail_nomem(err, sizeof *enc->short_word << SHORT_BITS);
	}
	for (uint32_t c = 0; c < 0x80; c++)
		enc->ascii[c] = ds_bert_classify(wp->source.flags, c);
	*enc_ret = enc;
	return DS_OK;
}

void ds_wp_encoder_free(struct ds_wp_encoder *enc)
{
	if (!enc)
		return;
	for (size_t i = 0; i < PAGES; i++)
		free(enc->page[i]);
	free(enc->short_word);
	free(enc->word);
	free(enc->norm);
	free(enc->origin);
	free(enc->cp);
	free(enc->piece);
	free(enc);
}

/* The class of a code point; DS_UTF8_INVALID included. */
static uint8_t class_of(struct ds_wp_encoder *enc, uint32_t cp)
{
	uint8_t *page;

	if (cp > 0x10FFFF)
		cp = 0xFFFD;
	page = enc->page[cp / PAGE_CHARS];
	if (!page) {
		page = ds_alloc_zero(PAGE_CHARS, 1);
		if (!page) /* slower, not wrong */
			return ds_bert_classify(enc->wp->source.flags, cp);
		enc->page[cp / PAGE_CHARS] = page;
	}
	if (page[cp % PAGE_CHARS] == DS_BERT_UNSEEN)
		page[cp % PAGE_CHARS] = ds_bert_classify(enc->wp->source.flags, cp);
	return page[cp % PAGE_CHARS];
}

/* --- a new word ---------------------------------------------------------------------------- */

/* Room for n more normalised bytes. */
static enum ds_status reserve_norm(struct ds_wp_encoder *enc, size_t len, size_t n,
				   struct ds_err *err)
{
	DS_TRY(ds_grow(&enc->norm, &enc->cap_norm, len + n, 1, err));
	return ds_grow(&enc->origin, &enc->cap_origin, len + n, sizeof *enc->origin, err);
}

static size_t put_char(struct ds_wp_encoder *enc, size_t len, uint32_t cp, size_t origin)
{
	unsigned n = ds_utf8_encode(cp, enc->norm + len);

	for (unsigned i = 0; i < n; i++)
		enc->origin[len + i] = origin;
	return len + n;
}

/* Canonical order: marks of one run sorted by their class, equal ones as they stand. */
static void reorder(uint32_t *cp, size_t *origin, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint32_t c = cp[i];
		size_t at = origin[i], j = i;
		int class = ds_norm_combining(c);

		while (class && j > 0 && ds_norm_combining(cp[j - 1]) > class) {
			cp[j] = cp[j - 1];
			origin[j] = origin[j - 1];
			j--;
		}
		cp[j] = c;
		origin[j] = at;
	}
}

#define REORDER_CHARS_MAX 256

/* A word with marks that may move: decompose all, order, then drop and lowercase.  Words too long
 * for the buffer end in unk whatever the order. */
static enum ds_status normalise_marks(struct ds_wp_encoder *enc, const uint8_t *raw, size_t n,
				      size_t *len_ret, size_t *chars_ret, struct ds_err *err)
{
	unsigned flags = enc->wp->source.flags;
	uint32_t cp[REORDER_CHARS_MAX + DS_BERT_MAPPED_MAX], out[DS_BERT_MAPPED_MAX], c;
	size_t origin[REORDER_CHARS_MAX + DS_BERT_MAPPED_MAX], k = 0, len = 0, chars = 0;

	for (size_t at = 0; at < n && k < REORDER_CHARS_MAX;) {
		size_t from = at;
		unsigned m;

		at += ds_utf8_decode(raw + at, raw + n, &c);
		if ((class_of(enc, c) & 7) == DS_BERT_DROP &&
		    (c > 0x10FFFF || ds_bert_class(c) != 'M'))
			continue;
		m = ds_norm_decompose(c, cp + k);
		for (unsigned i = 0; i < m; i++)
			origin[k++] = from;
	}
	reorder(cp, origin, k);
	DS_TRY(reserve_norm(enc, 0, k * DS_BERT_MAPPED_MAX * 4, err));
	for (size_t i = 0; i < k; i++) {
		unsigned m = ds_bert_map(flags, cp[i], out);

		chars += m;
		for (unsigned j = 0; j < m; j++)
			len = put_char(enc, len, out[j], origin[i]);
	}
	*len_ret = len;
	*chars_ret = k < REORDER_CHARS_MAX ? chars : SIZE_MAX;
	return DS_OK;
}

/* The word's normalised bytes in enc->norm; *chars_ret stops counting beyond the limit. */
static enum ds_status normalise(struct ds_wp_encoder *enc, const uint8_t *raw, size_t n,
				size_t *len_ret, size_t *chars_ret, struct ds_err *err)
{
	const struct ds_wp_source *source = &enc->wp->source;
	size_t len = 0, chars = 0;
	uint32_t out[DS_BERT_MAPPED_MAX], cp;

	DS_TRY(reserve_norm(enc, 0, (n < 1024 ? n : 1024) + DS_BERT_MAPPED_MAX * 4, err));
	for (size_t at = 0; at < n && chars <= source->word_chars_max;) {
		size_t from = at;
		uint8_t class;
		unsigned m;

		if (raw[at] < 0x80 && enc->ascii[raw[at]] == DS_BERT_WORD) {
			uint8_t c = raw[at++];

			if (c >= 'A' && c <= 'Z' && (source->flags & DS_WP_LOWER))
				c |= 0x20;
			DS_TRY(reserve_norm(enc, len, 1, err));
			enc->norm[len] = c;
			enc->origin[len++] = from;
			chars++;
			continue;
		}
		at += ds_utf8_decode(raw + at, raw + n, &cp);
		class = class_of(enc, cp);
		if (class == DS_BERT_DROP)
			continue;
		if (class & DS_BERT_REORDER)
			return normalise_marks(enc, raw, n, len_ret, chars_ret, err);
		m = ds_bert_map(source->flags, cp > 0x10FFFF ? 0xFFFD : cp, out);
		chars += m;
		DS_TRY(reserve_norm(enc, len, DS_BERT_MAPPED_MAX * 4, err));
		for (unsigned i = 0; i < m; i++)
			len = put_char(enc, len, out[i], from);
	}
	*len_ret = len;
	*chars_ret = chars;
	return DS_OK;
}

/* Cut the word into enc->piece. */
static enum ds_status cut_word(struct ds_wp_encoder *enc, const uint8_t *raw, size_t n,
			       struct ds_err *err)
{
	const struct ds_wp *wp = enc->wp;
	size_t len, chars, at = 0;

	DS_TRY(normalise(enc, raw, n, &len, &chars, err));
	DS_TRY(ds_grow(&enc->piece, &enc->cap_piece,
		       chars <= wp->source.word_chars_max ? len + 1 : 1, sizeof *enc->piece, err));
	enc->n_piece = 0;
	if (chars <= wp->source.word_chars_max)
		while (at < len) {
			size_t taken;
			uint32_t id = longest(wp, enc->norm + at, len - at, at > 0, &taken);

			if (id == DS_NO_TOKEN)
				break;
			at += taken;
			enc->piece[enc->n_piece++] =
				(struct piece){id, at < len ? enc->origin[at] : n};
		}
	if (chars > wp->source.word_chars_max || at < len) {
		enc->piece[0] = (struct piece){wp->source.unk, n};
		enc->n_piece = 1;
	}
	return DS_OK;
}

/* --- text ---------------------------------------------------------------------------------- */

/* Where tokens go: stored, or only counted. */
struct sink {
	struct ds_wp_encoder *enc;
	const uint8_t *text, *end;
	uint64_t base;
	struct ds_tokens *tokens; /* NULL: count only */
	size_t count;
};

INLINE enum ds_status put(struct sink *sink, const uint32_t *id, const uint8_t *end, size_t n,
			  uint64_t start, struct ds_err *err)
{
	struct ds_tokens *t = sink->tokens;

	sink->count += n;
	if (!t)
		return DS_OK;
	if (t->n + n > t->cap_id)
		DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + n, sizeof *t->id, err));
	if (t->n + n > t->cap_end)
		DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + n, sizeof *t->end, err));
	for (size_t i = 0; i < n; i++) {
		t->id[t->n + i] = id[i];
		t->end[t->n + i] = start + end[i];
	}
	t->n += n;
	return DS_OK;
}

static enum ds_status put_pieces(struct sink *sink, uint64_t start, struct ds_err *err)
{
	const struct ds_wp_encoder *enc = sink->enc;
	struct ds_tokens *t = sink->tokens;

	sink->count += enc->n_piece;
	if (!t)
		return DS_OK;
	DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + enc->n_piece, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + enc->n_piece, sizeof *t->end, err));
	for (size_t i = 0; i < enc->n_piece; i++) {
		t->id[t->n] = enc->piece[i].id;
		t->end[t->n++] = start + enc->piece[i].end;
	}
	return DS_OK;
}

/* A word that the caches may not know yet. */
static __attribute__((noinline)) enum ds_status put_word(struct sink *sink, const uint8_t *p,
							 size_t len, struct ds_err *err)
{
	struct ds_wp_encoder *enc = sink->enc;
	uint64_t key[DS_WORD_BYTES / 8], start = sink->base + (uint64_t)(p - sink->text);
	struct ds_word *w = NULL;

	if (len <= DS_WORD_BYTES) {
		w = ds_word_place(enc->word, p, len, key);
		if (ds_word_is(w, key, len))
			return put(sink, w->id, w->end, w->n, start, err);
	}
	DS_TRY(cut_word(enc, p, len, err));
	if (len <= 8 && enc->n_piece == 1) {
		enc->short_word[ds_word_mix(key[0]) >> (64 - SHORT_BITS)] =
			(struct short_word){key[0], enc->piece[0].id, (uint32_t)len};
	} else if (w && enc->n_piece && enc->n_piece <= DS_WORD_IDS) {
		memcpy(w->key, key, DS_WORD_BYTES);
		w->len = (uint8_t)len;
		w->n = (uint8_t)enc->n_piece;
		for (size_t i = 0; i < enc->n_piece; i++) {
			w->id[i] = enc->piece[i].id;
			w->end[i] = (uint8_t)enc->piece[i].end;
		}
	}
	return put_pieces(sink, start, err);
}

/* A word of 1..8 bytes, as a number. */
INLINE enum ds_status put_short(struct sink *sink, const uint8_t *p, uint64_t key, size_t len,
				struct ds_err *err)
{
	const struct short_word *w = &sink->enc->short_word[ds_word_mix(key) >> (64 - SHORT_BITS)];
	uint8_t end = (uint8_t)len;

	if (w->key == key && w->len == len)
		return put(sink, &w->id, &end, 1, sink->base + (uint64_t)(p - sink->text), err);
	return put_word(sink, p, len, err);
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The high bit of every byte of v that is no ASCII letter or digit. */
static inline uint64_t not_alnum(uint64_t v)
{
	uint64_t low = v & EACH(0x7F), letter = low | EACH(0x20);
	uint64_t is_letter = (letter + EACH(0x80 - 'a')) & ~(letter + EACH(0x80 - 'z' - 1));
	uint64_t is_digit = (low + EACH(0x80 - '0')) & ~(low + EACH(0x80 - '9' - 1));

	return (~(is_letter | is_digit) | v) & EACH(0x80);
}

/* The end of what begins at p with class DS_BERT_WORD: further word characters and dropped ones. */
static const uint8_t *word_end(struct ds_wp_encoder *enc, const uint8_t *p, const uint8_t *end,
			       int only_dropped)
{
	while (p < end) {
		uint8_t class = enc->ascii[*p];
		unsigned n = 1;
		uint32_t cp;

		if (class == DS_BERT_WORD && !only_dropped) {
			p++;
			continue;
		}
		if (class == DS_BERT_UNSEEN) {
			n = ds_utf8_decode(p, end, &cp);
			class = class_of(enc, cp) & 7;
		}
		if (class != DS_BERT_DROP && (class != DS_BERT_WORD || only_dropped))
			break;
		p += n;
	}
	return p;
}

/* What begins at *p_io: a word or something between words. */
static __attribute__((noinline)) enum ds_status put_next(struct sink *sink, const uint8_t **p_io,
							 struct ds_err *err)
{
	struct ds_wp_encoder *enc = sink->enc;
	const uint8_t *from = *p_io, *p = from;
	uint8_t class = enc->ascii[*p];
	uint64_t key = 0;
	uint32_t cp;

	if (class == DS_BERT_UNSEEN) {
		p += ds_utf8_decode(p, sink->end, &cp);
		class = class_of(enc, cp) & 7;
	} else {
		p++;
	}
	if (class == DS_BERT_WORD)
		p = word_end(enc, p, sink->end, 0);
	else if (class == DS_BERT_ALONE && p < sink->end && *p >= 0x80)
		p = word_end(enc, p, sink->end, 1);
	*p_io = p;
	if (class != DS_BERT_WORD && class != DS_BERT_ALONE)
		return DS_OK;
	if (p - from > 8)
		return put_word(sink, from, (size_t)(p - from), err);
	memcpy(&key, from, (size_t)(p - from));
	return put_short(sink, from, key, (size_t)(p - from), err);
}

INLINE enum ds_status run(struct sink *sink, struct ds_err *err)
{
	const uint8_t *ascii = sink->enc->ascii;
	const uint8_t *p = sink->text, *end = sink->end;

	while (p < end) {
		uint64_t v, stop;
		size_t len;

		if (ascii[*p] == DS_BERT_SPACE) {
			p++;
			continue;
		}
		if (end - p > 8) {
			memcpy(&v, p, 8);
			stop = not_alnum(v);
			len = stop ? (size_t)__builtin_ctzll(stop) / 8 : 8;
			/* punctuation is a word of one byte */
			len += len == 0 && ascii[*p] == DS_BERT_ALONE;
			if (len && ascii[p[len]] != DS_BERT_UNSEEN &&
			    ascii[p[len]] != DS_BERT_DROP &&
			    (ascii[p[len]] != DS_BERT_WORD || ascii[*p] == DS_BERT_ALONE)) {
				DS_TRY(put_short(sink, p, v & UINT64_MAX >> (64 - 8 * len), len,
						 err));
				p += len;
				continue;
			}
		}
		DS_TRY(put_next(sink, &p, err));
	}
	return DS_OK;
}

enum ds_status ds_wp_encode(struct ds_wp_encoder *enc, const void *text, size_t n, uint64_t base,
			    struct ds_tokens *tokens, struct ds_err *err)
{
	struct sink sink = {enc, text, (const uint8_t *)text + n, base, tokens, 0};

	return run(&sink, err);
}

enum ds_status ds_wp_count(struct ds_wp_encoder *enc, const void *text, size_t n, size_t *count_io,
			   struct ds_err *err)
{
	struct sink sink = {enc, text, (const uint8_t *)text + n, 0, NULL, 0};

	DS_TRY(run(&sink, err));
	*count_io += sink.count;
	return DS_OK;
}

/* A place between two characters of three bytes that are surely ideographs, U+5000..U+8FFF. */
static int between_ideographs(const uint8_t *t, size_t p, size_t n)
{
	return p >= 3 && n - p >= 3 && t[p - 3] >= 0xE5 && t[p - 3] <= 0xE8 && t[p] >= 0xE5 &&
	       t[p] <= 0xE8 && (t[p - 2] & 0xC0) == 0x80 && (t[p - 1] & 0xC0) == 0x80 &&
	       (t[p + 1] & 0xC0) == 0x80 && (t[p + 2] & 0xC0) == 0x80;
}

/* No token reaches over an edge of ASCII punctuation, nor over white space, which belongs to what
 * follows. */
size_t ds_wp_cut(const struct ds_wp *wp, const void *text, size_t n)
{
	const uint8_t *t = text;

	for (size_t p = n; p-- > 1;) {
		uint8_t a = t[p - 1], b = t[p];

		if (a > ' ' && a < 0x7F && (b == ' ' || b == '\n' || (b > ' ' && b < 0x7F)) &&
		    (ds_bert_class(a) || ds_bert_class(b) || b <= ' '))
			return p;
		if ((wp->source.flags & DS_WP_CJK) && between_ideographs(t, p, n))
			return p;
	}
	return 0;
}
