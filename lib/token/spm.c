/*
 * spm.c - SentencePiece BPE: merges by the score of the token they make, byte fallback
 *
 * Inside, a space is a space: U+2581 is translated when the vocabulary is read, and in the rare
 * text that holds it.  Merging is the usual heap of neighbouring pairs, n log n in the length of a
 * piece of text; the pieces end where no two characters stand side by side in any token.
 *
 * Source: sentencepiece, src/bpe_model.cc (the algorithm); llama.cpp has the same order of ties.
 */
#include "token/spm.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/utf8.h"
#include "token/pairs.h"
#include "token/vocab.h"
#include "token/wordcache.h"

#define META_SPACE 0x2581
#define META_BYTES 3

struct slot {
	uint32_t tag;
	uint32_t id; /* + 1; 0: empty */
};

struct ds_spm {
	size_t n;
	uint32_t *start; /* [n + 1] of each token in bytes */
	char *bytes;
	float *score;	    /* [n] */
	struct slot *slots; /* [mask + 1] */
	uint32_t mask;
	size_t token_bytes_max;
	uint32_t byte_id[256];
	uint32_t unk;
	struct ds_pairs *pairs;
};

/* --- vocabulary ---------------------------------------------------------------------------- */

/* The last 0 to 7 bytes, by loads that may overlap: equal bytes give equal words, and with n in
 * the hash the others need not differ for sure. */
static uint64_t tail_of(const uint8_t *p, size_t n)
{
	if (n >= 4)
		return (uint64_t)ds_get_u32(p) << 32 | ds_get_u32(p + n - 4);
	if (n >= 2)
		return (uint64_t)ds_get_u16(p) << 16 | ds_get_u16(p + n - 2);
	return n ? *p : 0;
}

static uint64_t hash_of(const uint8_t *p, size_t n)
{
	uint64_t h = 0x9E3779B97F4A7C15u ^ n;

	for (; n >= 8; p += 8, n -= 8) {
		h = (h ^ ds_get_u64(p)) * 0xD6E8FEB86659FD93u;
		h ^= h >> 32;
	}
	h = (h ^ tail_of(p, n)) * 0xD6E8FEB86659FD93u;
	return h ^ h >> 32;
}

static size_t length(const struct ds_spm *spm, uint32_t id)
{
	return spm->start[id + 1] - spm->start[id];
}

/* The slot of these bytes, or the empty one where they would stand. */
static struct slot *place(const struct ds_spm *spm, const uint8_t *bytes, size_t n, uint64_t hash)
{
	uint32_t tag = (uint32_t)(hash >> 32), i = (uint32_t)hash & spm->mask;

	for (; spm->slots[i].id; i = (i + 1) & spm->mask) {
		uint32_t id = spm->slots[i].id - 1;

		if (spm->slots[i].tag == tag && length(spm, id) == n &&
		    memcmp(spm->bytes + spm->start[id], bytes, n) == 0)
			break;
	}
	return &spm->slots[i];
}

static uint32_t lookup(const struct ds_spm *spm, const uint8_t *bytes, size_t n)
{
	/* the id less 1 wraps around to DS_NO_TOKEN for an empty slot */
	return n > spm->token_bytes_max ? DS_NO_TOKEN
					: place(spm, bytes, n, hash_of(bytes, n))->id - 1;
}

static void insert(struct ds_spm *spm, uint32_t id, uint64_t hash)
{
	const char *bytes = spm->bytes + spm->start[id];
	size_t n = length(spm, id);
	struct slot *slot;

	if (n > spm->token_bytes_max)
		spm->token_bytes_max = n;
	if (n == 0)
		return;
	slot = place(spm, (const uint8_t *)bytes, n, hash);
	if (slot->id)
		return;
	*slot = (struct slot){(uint32_t)(hash >> 32), id + 1};
	ds_pairs_note(spm->pairs, (struct ds_str){bytes, n});
}

size_t ds_spm_unescape(struct ds_str s, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.s[i] == '\xE2' && s.len - i >= META_BYTES &&
		    memcmp(s.s + i, "\xE2\x96\x81", META_BYTES) == 0) {
			out[len++] = ' ';
			i += META_BYTES - 1;
		} else {
			out[len++] = s.s[i];
		}
	}
	return len;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int ds_spm_byte(struct ds_str s)
{
	if (s.len != 6 || memcmp(s.s, "<0x", 3) != 0 || s.s[5] != '>' || hex(s.s[3]) < 0 ||
	    hex(s.s[4]) < 0)
		return -1;
	return hex(s.s[3]) << 4 | hex(s.s[4]);
}

static enum ds_status allocate(struct ds_spm *spm, const struct ds_spm_source *source,
			       struct ds_err *err)
{
	size_t slots = 64;

	if (source->token->data_len > UINT32_MAX)
		return ds_fail(err, DS_ELIMIT, "tokens of %zu bytes, at most %u expected",
			       source->token->data_len, UINT32_MAX);
	while (slots < source->n * 2)
		slots *= 2;
	spm->n = source->n;
	spm->mask = (uint32_t)slots - 1;
	spm->start = ds_alloc(source->n + 1, sizeof *spm->start);
	spm->score = ds_alloc(source->n, sizeof *spm->score);
	spm->bytes = ds_alloc_large(source->token->data_len, 1);
	spm->slots = ds_alloc_large(slots, sizeof *spm->slots);
	if (!spm->start || !spm->score || !spm->bytes || !spm->slots)
		return ds_fail_nomem(err, source->n * 32);
	memset(spm->slots, 0, slots * sizeof *spm->slots);
	return ds_pairs_new(&spm->pairs, source->n, err);
}

static void read_token(struct ds_spm *spm, uint32_t id, struct ds_str s, uint32_t type)
{
	int byte = type == DS_TYPE_BYTE ? ds_spm_byte(s) : -1;
	char *out = spm->bytes + spm->start[id];

	if (byte >= 0) {
		*out = (char)byte;
		spm->byte_id[byte] = id;
		spm->start[id + 1] = spm->start[id] + 1;
	} else {
		spm->start[id + 1] = spm->start[id] + (uint32_t)ds_spm_unescape(s, out);
	}
	/* user-defined ones were found in the text before, but a literal U+2581 may still
	 * complete one; the others are never made of merges */
	if (type == DS_TYPE_USER)
		spm->score[id] = 0;
}

/* Tokens between the look at a slot and its use: the table is larger than the caches. */
#define AHEAD 32

static void index_tokens(struct ds_spm *spm, const uint8_t *types, uint32_t first, uint32_t end)
{
	uint64_t hash[AHEAD];

	for (uint32_t id = first; id < end; id++) {
		hash[id - first] =
			hash_of((const uint8_t *)spm->bytes + spm->start[id], length(spm, id));
		__builtin_prefetch(&spm->slots[(uint32_t)hash[id - first] & spm->mask], 1);
	}
	for (uint32_t id = first; id < end; id++) {
		uint32_t type = ds_get_u32(types + (size_t)id * 4);

		if (type == DS_TYPE_NORMAL || type == DS_TYPE_USER)
			insert(spm, id, hash[id - first]);
	}
}

static void read_tokens(struct ds_spm *spm, const struct ds_spm_source *source)
{
	uint32_t n = (uint32_t)spm->n;
	size_t pos = 0;

	memcpy(spm->score, source->score, spm->n * sizeof *spm->score);
	memset(spm->byte_id, 0xFF, sizeof spm->byte_id); /* DS_NO_TOKEN */
	spm->start[0] = 0;
	for (uint32_t first = 0, end; first < n; first = end) {
		end = n - first < AHEAD ? n : first + AHEAD;
		for (uint32_t id = first; id < end; id++)
			read_token(spm, id, ds_gguf_next_str(source->token, &pos),
				   ds_get_u32(source->type + (size_t)id * 4));
		index_tokens(spm, source->type, first, end);
	}
}

enum ds_status ds_spm_build(struct ds_spm **spm_ret, const struct ds_spm_source *source,
			    struct ds_err *err)
{
	struct ds_spm *spm = ds_alloc_zero(1, sizeof *spm);
	enum ds_status st;

	if (!spm)
		return ds_fail_nomem(err, sizeof *spm);
	spm->unk = source->unk;
	st = allocate(spm, source, err);
	if (st == DS_OK) {
		read_tokens(spm, source);
		for (int i = 0; i < 256 && st == DS_OK; i++)
			if (spm->byte_id[i] == DS_NO_TOKEN && spm->unk == DS_NO_TOKEN)
				st = ds_fail(err, DS_EFORMAT,
					     "no token for byte 0x%02X and no unknown token", i);
	}
	if (st != DS_OK) {
		ds_spm_free(spm);
		return st;
	}
	*spm_ret = spm;
	return DS_OK;
}

void ds_spm_free(struct ds_spm *spm)
{
	if (!spm)
		return;
	free(spm->start);
	free(spm->score);
	free(spm->bytes);
	free(spm->slots);
	ds_pairs_free(spm->pairs);
	free(spm);
}

struct ds_str ds_spm_token(const struct ds_spm *spm, uint32_t id)
{
	return id < spm->n ? (struct ds_str){spm->bytes + spm->start[id], length(spm, id)}
			   : (struct ds_str){"", 0};
}

uint32_t ds_spm_find(const struct ds_spm *spm, const void *bytes, size_t n)
{
	return n ? lookup(spm, bytes, n) : DS_NO_TOKEN;
}

/* --- one piece of text --------------------------------------------------------------------- */

#define NONE UINT32_MAX

struct symbol {
	uint32_t start, len; /* in the piece, spaces being spaces; len 0: merged away */
	uint32_t end;	     /* in the bytes as they were */
	uint32_t prev, next;
	uint32_t id;
};

struct bigram {
	float score;
	uint32_t left, right, len, id;
};

struct ds_spm_encoder {
	const struct ds_spm *spm;
	struct ds_word *word; /* [DS_WORDCACHE_WORDS] */
	/* scratch of one piece */
	struct symbol *symbol;
	struct bigram *heap;
	struct ds_buf copy;   /* the piece, when it is not as it stands in the text */
	struct ds_tokens out; /* ends in the piece's bytes as they were */
	size_t cap_symbol, cap_heap, n_heap;
};

enum ds_status ds_spm_encoder_new(struct ds_spm_encoder **enc_ret, const struct ds_spm *spm,
				  struct ds_err *err)
{
	struct ds_spm_encoder *enc = ds_alloc_zero(1, sizeof *enc);

	if (!enc)
		return ds_fail_nomem(err, sizeof *enc);
	enc->spm = spm;
	enc->word = ds_alloc_zero(DS_WORDCACHE_WORDS, sizeof *enc->word);
	if (!enc->word) {
		ds_spm_encoder_free(enc);
		return ds_fail_nomem(err, DS_WORDCACHE_WORDS * sizeof *enc->word);
	}
	*enc_ret = enc;
	return DS_OK;
}

void ds_spm_encoder_free(struct ds_spm_encoder *enc)
{
	if (!enc)
		return;
	free(enc->word);
	free(enc->symbol);
	free(enc->heap);
	ds_buf_fini(&enc->copy);
	ds_tokens_fini(&enc->out);
	free(enc);
}

/* Whether a is merged before b. */
static bool before(const struct bigram *a, const struct bigram *b)
{
	return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static enum ds_status heap_push(struct ds_spm_encoder *enc, struct bigram b, struct ds_err *err)
{
	size_t i = enc->n_heap;

	DS_TRY(ds_grow(&enc->heap, &enc->cap_heap, i + 1, sizeof *enc->heap, err));
	enc->n_heap++;
	while (i && before(&b, &enc->heap[(i - 1) / 2])) {
		enc->heap[i] = enc->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	enc->heap[i] = b;
	return DS_OK;
}

static struct bigram heap_pop(struct ds_spm_encoder *enc)
{
	struct bigram top = enc->heap[0], last = enc->heap[--enc->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < enc->n_heap) {
		if (child + 1 < enc->n_heap && before(&enc->heap[child + 1], &enc->heap[child]))
			child++;
		if (!before(&enc->heap[child], &last))
			break;
		enc->heap[i] = enc->heap[child];
		i = child;
	}
	enc->heap[i] = last;
	return top;
}

/* Consider merging the symbols left and right. */
static enum ds_status consider(struct ds_spm_encoder *enc, const uint8_t *piece, uint32_t left,
			       uint32_t right, struct ds_err *err)
{
	const struct symbol *l, *r;
	uint32_t id;

	if (left == NONE || right == NONE)
		return DS_OK;
	l = &enc->symbol[left];
	r = &enc->symbol[right];
	id = lookup(enc->spm, piece + l->start, l->len + r->len);
	if (id == DS_NO_TOKEN)
		return DS_OK;
	return heap_push(
		enc, (struct bigram){enc->spm->score[id], left, right, l->len + r->len, id}, err);
}

static enum ds_status merge(struct ds_spm_encoder *enc, const uint8_t *piece, struct ds_err *err)
{
	while (enc->n_heap) {
		struct bigram b = heap_pop(enc);
		struct symbol *l = &enc->symbol[b.left], *r = &enc->symbol[b.right];

		/* one of the two is no longer what it was */
		if (!l->len || !r->len || l->len + r->len != b.len)
			continue;
		l->len = b.len;
		l->end = r->end;
		l->id = b.id;
		l->next = r->next;
		r->len = 0;
		if (r->next != NONE)
			enc->symbol[r->next].prev = b.left;
		DS_TRY(consider(enc, piece, l->prev, b.left, err));
		DS_TRY(consider(enc, piece, b.left, l->next, err));
	}
	return DS_OK;
}

static enum ds_status put(struct ds_tokens *t, uint32_t id, uint64_t end, struct ds_err *err)
{
	DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + 1, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + 1, sizeof *t->end, err));
	t->id[t->n] = id;
	t->end[t->n++] = end;
	return DS_OK;
}

/* A character that is no token, as bytes; start is where it begins in the bytes as they were. */
static enum ds_status put_bytes(struct ds_spm_encoder *enc, const uint8_t *piece,
				const struct symbol *s, uint32_t start, struct ds_err *err)
{
	static const uint8_t meta[META_BYTES] = {0xE2, 0x96, 0x81};
	const uint8_t *bytes = piece + s->start;
	uint32_t n = s->len;

	if (n == 1 && *bytes == ' ') {
		bytes = meta;
		n = META_BYTES;
	}
	for (uint32_t i = 0; i < n; i++)
		if (enc->spm->byte_id[bytes[i]] == DS_NO_TOKEN)
			return put(&enc->out, enc->spm->unk, s->end, err);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t end = start + i + 1;

		DS_TRY(put(&enc->out, enc->spm->byte_id[bytes[i]],
			   i + 1 == n || end > s->end ? s->end : end, err));
	}
	return DS_OK;
}

/* The symbols of raw[0..n), n <= UINT32_MAX / 2: its characters.  A space comes first if prefix.
 * The piece with spaces for U+2581 is returned. */
static enum ds_status symbols(struct ds_spm_encoder *enc, const struct ds_part *text, bool prefix,
			      const uint8_t **piece_ret, uint32_t *count_ret, struct ds_err *err)
{
	const uint8_t *raw = text->bytes;
	size_t n = text->len;
	bool copy = prefix || memmem(raw, n, "\xE2\x96\x81", META_BYTES);
	uint32_t count = 0, len = 0, cp;

	enc->copy.len = 0;
	if (copy)
		DS_TRY(ds_buf_reserve(&enc->copy, n + 1, err));
	DS_TRY(ds_grow(&enc->symbol, &enc->cap_symbol, n + 1, sizeof *enc->symbol, err));
	if (prefix) {
		enc->copy.data[len++] = ' ';
		enc->symbol[count++] = (struct symbol){.start = 0, .len = 1, .end = 0};
	}
	for (size_t at = 0; at < n;) {
		unsigned k = ds_utf8_decode(raw + at, raw + n, &cp);
		uint32_t m = cp == META_SPACE ? 1 : k;

		if (copy && cp == META_SPACE)
			enc->copy.data[len] = ' ';
		else if (copy)
			memcpy(enc->copy.data + len, raw + at, k);
		at += k;
		enc->symbol[count++] = (struct symbol){.start = len, .len = m, .end = (uint32_t)at};
		len += m;
	}
	for (uint32_t i = 0; i < count; i++) {
		enc->symbol[i].prev = i ? i - 1 : NONE;
		enc->symbol[i].next = i + 1 < count ? i + 1 : NONE;
		enc->symbol[i].id = DS_NO_TOKEN;
	}
	*piece_ret = copy ? enc->copy.data : raw;
	*count_ret = count;
	return DS_OK;
}

/* Tokenize a piece into enc->out. */
static enum ds_status encode_piece(struct ds_spm_encoder *enc, const uint8_t *raw, size_t n,
				   bool prefix, struct ds_err *err)
{
	const uint8_t *piece;
	uint32_t count, start = 0;

	enc->out.n = 0;
	enc->n_heap = 0;
	DS_TRY(symbols(enc, &(struct ds_part){raw, n}, prefix, &piece, &count, err));
	for (uint32_t i = 0; i + 1 < count; i++)
		DS_TRY(consider(enc, piece, i, i + 1, err));
	DS_TRY(merge(enc, piece, err));
	for (uint32_t i = 0; i != NONE && i < count; i = enc->symbol[i].next) {
		struct symbol *s = &enc->symbol[i];

		if (s->id == DS_NO_TOKEN)
			s->id = lookup(enc->spm, piece + s->start, s->len);
		if (s->id != DS_NO_TOKEN)
			DS_TRY(put(&enc->out, s->id, s->end, err));
		else
			DS_TRY(put_bytes(enc, piece, s, start, err));
		start = s->end;
	}
	return DS_OK;
}

/* --- text ---------------------------------------------------------------------------------- */

/* Appended with room asked for once: what the cache or encode_piece() gave. */
static enum ds_status append(struct ds_tokens *t, const struct ds_tokens *from, uint64_t base,
			     struct ds_err *err)
{
	DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + from->n, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + from->n, sizeof *t->end, err));
	for (size_t i = 0; i < from->n; i++) {
		t->id[t->n + i] = from->id[i];
		t->end[t->n + i] = base + from->end[i];
	}
	t->n += from->n;
	return DS_OK;
}

static enum ds_status append_word(struct ds_tokens *t, const struct ds_word *w, uint64_t base,
				  struct ds_err *err)
{
	if (t->n + w->n > t->cap_id)
		DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + w->n, sizeof *t->id, err));
	if (t->n + w->n > t->cap_end)
		DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + w->n, sizeof *t->end, err));
	for (unsigned i = 0; i < w->n; i++) {
		t->id[t->n + i] = w->id[i];
		t->end[t->n + i] = base + w->end[i];
	}
	t->n += w->n;
	return DS_OK;
}

static enum ds_status put_piece(struct ds_spm_encoder *enc, const uint8_t *raw, size_t n,
				uint64_t base, struct ds_tokens *tokens, struct ds_err *err)
{
	uint64_t key[DS_WORD_BYTES / 8];
	struct ds_word *w = NULL;

	if (n <= DS_WORD_BYTES) {
		w = ds_word_place(enc->word, raw, n, key);
		if (ds_word_is(w, key, n))
			return append_word(tokens, w, base, err);
	}
	DS_TRY(encode_piece(enc, raw, n, false, err));
	if (w && enc->out.n && enc->out.n <= DS_WORD_IDS) {
		memcpy(w->key, key, sizeof key);
		w->len = (uint8_t)n;
		w->n = (uint8_t)enc->out.n;
		for (size_t i = 0; i < enc->out.n; i++) {
			w->id[i] = enc->out.id[i];
			w->end[i] = (uint8_t)enc->out.end[i];
		}
	}
	return append(tokens, &enc->out, base, err);
}

enum ds_status ds_spm_encode(struct ds_spm_encoder *enc, const struct ds_part *text, bool prefix,
			     uint64_t base, struct ds_tokens *tokens, struct ds_err *err)
{
	const uint8_t *start = text->bytes, *p = start, *end = start + text->len;

	if (prefix && p < end) {
		p = ds_pairs_next(enc->spm->pairs, p, end);
		DS_TRY(encode_piece(enc, start, (size_t)(p - start), true, err));
		DS_TRY(append(tokens, &enc->out, base, err));
	}
	while (p < end) {
		const uint8_t *next = ds_pairs_next(enc->spm->pairs, p, end);

		DS_TRY(put_piece(enc, p, (size_t)(next - p), base + (uint64_t)(p - start), tokens,
				 err));
		p = next;
	}
	return DS_OK;
}

size_t ds_spm_cut(const struct ds_spm *spm, const void *text, size_t n)
{
	return ds_pairs_cut(spm->pairs, text, n);
}
