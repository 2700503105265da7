/*
 * bpe.c - a BPE vocabulary: tokens by bytes, merges by pair of symbols
 *
 * Building is most of the start of a short-lived process, so it is one pass over the strings, in
 * place, with no allocation per token: tokens are decoded from GPT-2's byte alphabet into one
 * block, and a merge's result is guessed to follow that of the merge before.
 */
#include "token/bpe_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/utf8.h"

#define TYPE_ORDINARY 1
#define BYTES_MAX (UINT32_C(1) << 31)

/* --- the byte alphabet --------------------------------------------------------------------- */

/* By two bytes of UTF-8, C2 A1 to C5 83, less C280: the byte meant, or -1. */
struct alphabet {
	int16_t two[0xC5BF - 0xC280 + 1];
	int16_t one[128];
};

/* GPT-2 writes the bytes that print as themselves and the others as U+0100, U+0101, ... */
static void alphabet_init(struct alphabet *abc)
{
	uint32_t next = 0x100;

	memset(abc, 0xFF, sizeof *abc);
	for (int b = 0; b < 256; b++) {
		bool prints = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
		uint32_t cp = prints ? (uint32_t)b : next++;

		if (cp < 0x80)
			abc->one[cp] = (int16_t)b;
		else
			abc->two[(0xC0 | cp >> 6) * 256 + (0x80 | (cp & 63)) - 0xC280] = (int16_t)b;
	}
}

/* Write the bytes that s stands for to out (at most s.len); how many, or -1 when s is not written
 * in the alphabet. */
static ptrdiff_t decode(const struct alphabet *abc, struct ds_str s, uint8_t *out)
{
	uint8_t *o = out;
	size_t i = 0;

	while (i < s.len) {
		uint8_t c = (uint8_t)s.s[i];
		int b;

		if (c < 0x80) {
			b = abc->one[c];
			i++;
		} else {
			if (c < 0xC2 || c > 0xC5 || i + 1 == s.len ||
			    ((uint8_t)s.s[i + 1] & 0xC0) != 0x80)
				return -1;
			b = abc->two[c * 256 + (uint8_t)s.s[i + 1] - 0xC280];
			i += 2;
		}
		if (b < 0)
			return -1;
		*o++ = (uint8_t)b;
	}
	return o - out;
}

/* --- strings of a source ------------------------------------------------------------------- */

struct strings {
	const struct ds_bpe_strings *from;
	size_t next;
	const uint8_t *packed;
};

static struct strings walk(const struct ds_bpe_strings *from)
{
	return (struct strings){from, 0, from->packed};
}

static inline struct ds_str next_string(struct strings *walk)
{
	struct ds_str s;

	if (walk->from->str)
		return walk->from->str[walk->next++];
	s.len = ds_get_u64(walk->packed);
	s.s = (const char *)walk->packed + 8;
	walk->packed += 8 + s.len;
	return s;
}

/* --- tokens -------------------------------------------------------------------------------- */

static uint32_t table_size(size_t n)
{
	uint32_t size = 512;

	while (size < n * 2)
		size *= 2;
	return size;
}

/* n elements of the region at *at_io, which moves on to the next cache line.  NULL: only that. */
static void *take(uint8_t *region, size_t *at_io, size_t n, size_t size)
{
	void *p = region ? region + *at_io : NULL;

	*at_io = (*at_io + n * size + 63) & ~(size_t)63;
	return p;
}

/* All tables are one region: large pages serve it best.  Returns its size. */
static size_t lay_out(struct ds_bpe *bpe, uint8_t *region, size_t bytes)
{
	size_t at = 0;

	bpe->pair = take(region, &at, (size_t)bpe->pair_mask + 1, sizeof *bpe->pair);
	bpe->line = take(region, &at, (size_t)bpe->line_mask + 1, sizeof *bpe->line);
	bpe->slot = take(region, &at, (size_t)bpe->slot_mask + 1, sizeof *bpe->slot);
	bpe->pair_seen = take(region, &at, DS_SEEN_BYTES, 1);
	bpe->token_seen = take(region, &at, DS_SEEN_BYTES, 1);
	bpe->byte_pair = take(region, &at, 65536, sizeof *bpe->byte_pair);
	bpe->rule = take(region, &at, bpe->n_rules, sizeof *bpe->rule);
	bpe->result = take(region, &at, bpe->n_rules, sizeof *bpe->result);
	bpe->start = take(region, &at, (size_t)bpe->n_tokens + 1, sizeof *bpe->start);
	bpe->bytes = take(region, &at, bytes + DS_BPE_PAD, 1);
	bpe->ordinary = take(region, &at, bpe->n_tokens, 1);
	return at;
}

static enum ds_status allocate(struct ds_bpe *bpe, const struct ds_bpe_source *src,
			       struct ds_err *err)
{
	size_t n_merges = src->flags & DS_BPE_MERGE_PAIRS ? src->merge.n / 2 : src->merge.n;
	size_t total = 0, n_long = 0, size;
	struct strings strings = walk(&src->token);

	if (src->token.n > DS_BPE_TOKENS_MAX)
		return ds_fail(err, DS_ELIMIT, "%zu tokens; at most %u", src->token.n,
			       DS_BPE_TOKENS_MAX);
	if (n_merges >= DS_BPE_MERGES_MAX - 1)
		return ds_fail(err, DS_ELIMIT, "%zu merges; at most %u", n_merges,
			       DS_BPE_MERGES_MAX - 2);
	for (size_t i = 0; i < src->token.n; i++) {
		size_t len = next_string(&strings).len;

		total += len;
		n_long += len > DS_BPE_INLINE;
		if (total > BYTES_MAX)
			return ds_fail(err, DS_ELIMIT, "over %u bytes of tokens", BYTES_MAX);
	}
	bpe->n_tokens = (uint32_t)src->token.n;
	bpe->n_rules = (uint32_t)n_merges;
	bpe->line_mask = table_size(src->token.n) / 4 - 1; /* 3/8 to 3/4 full */
	bpe->slot_mask = table_size(n_long) - 1;
	bpe->pair_mask = table_size(n_merges) - 1;
	size = lay_out(bpe, NULL, total);
	bpe->region = ds_alloc_large(size, 1);
	if (!bpe->region)
		return ds_fail_nomem(err, size);
	lay_out(bpe, bpe->region, total);
	memset(bpe->pair, 0xFF, ((size_t)bpe->pair_mask + 1) * sizeof *bpe->pair);
	memset(bpe->slot, 0xFF, ((size_t)bpe->slot_mask + 1) * sizeof *bpe->slot);
	memset(bpe->line, 0, ((size_t)bpe->line_mask + 1) * sizeof *bpe->line);
	memset(bpe->pair_seen, 0, DS_SEEN_BYTES);
	memset(bpe->token_seen, 0, DS_SEEN_BYTES);
	memset(bpe->byte_pair, 0xFF, 65536 * sizeof *bpe->byte_pair);
	memset(bpe->bytes + total, 0, DS_BPE_PAD);
	bpe->start[0] = 0;
	return DS_OK;
}

/* Of two tokens with the same bytes the first counts, but an ordinary one before others. */
static void insert_long(struct ds_bpe *bpe, uint32_t id)
{
	const uint8_t *p = bpe->bytes + bpe->start[id];
	uint32_t len = ds_token_len(bpe, id);
	uint64_t hash = ds_long_hash(p, len);
	uint32_t i = (uint32_t)hash & bpe->slot_mask;

	for (; bpe->slot[i].id != DS_NO_TOKEN; i = (i + 1) & bpe->slot_mask) {
		uint32_t old = bpe->slot[i].id;

		if (ds_token_len(bpe, old) == len &&
		    !memcmp(bpe->bytes + bpe->start[old], p, len)) {
			if (bpe->ordinary[id] > bpe->ordinary[old])
				bpe->slot[i].id = id;
			return;
		}
	}
	bpe->slot[i].hash = (uint32_t)(hash >> 32);
	bpe->slot[i].id = id;
}

static void insert_short(struct ds_bpe *bpe, uint32_t id, struct ds_key key, uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash & bpe->line_mask;; i = (i + 1) & bpe->line_mask) {
		struct ds_bpe_line *line = &bpe->line[i];

		for (unsigned j = 0; j < 3; j++) {
			if (!line->key[j].high) {
				line->key[j] = key;
				line->id[j] = id;
				return;
			}
			if (line->key[j].low == key.low && line->key[j].high == key.high) {
				if (bpe->ordinary[id] > bpe->ordinary[line->id[j]])
					line->id[j] = id;
				return;
			}
		}
		line->overflow = 1;
	}
}

/* Tables miss the caches: work goes in blocks, so that many lines are on their way at once. */
#define BLOCK 64

struct pending {
	struct ds_key key;
	uint64_t hash;
	uint32_t id;
};

/* Decode token id behind the ones before; whether text can hold it. */
static bool add_token(struct ds_bpe *bpe, const struct ds_bpe_source *src,
		      const struct alphabet *abc, struct ds_str s, uint32_t id)
{
	uint8_t *out = bpe->bytes + bpe->start[id];
	ptrdiff_t len = src->flags & DS_BPE_BYTE_ENCODED ? decode(abc, s, out) : -1;
	bool text = s.len && (len >= 0 || !(src->flags & DS_BPE_BYTE_ENCODED));

	if (len < 0) {
		memcpy(out, s.s ? s.s : "", s.len);
		len = (ptrdiff_t)s.len;
	}
	bpe->start[id + 1] = bpe->start[id] + (uint32_t)len;
	bpe->ordinary[id] =
		text && (!src->type || ds_get_u32(src->type + (size_t)id * 4) == TYPE_ORDINARY);
	return text;
}

static void add_tokens(struct ds_bpe *bpe, const struct ds_bpe_source *src,
		       const struct alphabet *abc)
{
	struct strings strings = walk(&src->token);
	struct pending block[BLOCK];

	for (uint32_t id = 0; id < bpe->n_tokens;) {
		unsigned n = 0;

		for (; n < BLOCK && id < bpe->n_tokens; id++) {
			uint32_t len;

			if (!add_token(bpe, src, abc, next_string(&strings), id))
				continue;
			len = ds_token_len(bpe, id);
			if (len > DS_BPE_INLINE) {
				insert_long(bpe, id);
				continue;
			}
			block[n].key = ds_key_cut(ds_key_load(bpe->bytes + bpe->start[id]), len);
			block[n].hash = ds_key_hash(block[n].key);
			block[n].id = id;
			__builtin_prefetch(&bpe->line[block[n++].hash & bpe->line_mask], 1);
		}
		for (unsigned i = 0; i < n; i++) {
			ds_see(bpe->token_seen, block[i].hash);
			insert_short(bpe, block[i].id, block[i].key, block[i].hash);
		}
	}
}

static void find_byte_tokens(struct ds_bpe *bpe, const struct ds_bpe_source *src)
{
	bpe->total = src->flags & DS_BPE_BYTE_ENCODED;
	for (unsigned b = 0; b < 256; b++) {
		uint8_t raw[DS_BPE_PAD] = {(uint8_t)b};
		char name[DS_BPE_PAD] = "";

		bpe->byte_token[b] = ds_bpe_find(bpe, raw, 1);
		bpe->total &= bpe->byte_token[b] != DS_NO_TOKEN;
		bpe->byte_fallback[b] = DS_NO_TOKEN;
		if (src->byte_id)
			bpe->byte_fallback[b] = src->byte_id[b];
		else if (!(src->flags & DS_BPE_BYTE_ENCODED)) {
			snprintf(name, sizeof name, "<0x%02X>", b);
			bpe->byte_fallback[b] = ds_bpe_find(bpe, name, 6);
		}
	}
}

/* --- merges -------------------------------------------------------------------------------- */

static void insert_pair(struct ds_bpe *bpe, uint32_t rank)
{
	struct ds_bpe_rule rule = bpe->rule[rank];
	uint64_t pair = (uint64_t)rule.left << DS_BPE_ID_BITS | rule.right;
	uint32_t i = ds_pair_hash(pair, bpe->pair_mask);

	while (bpe->pair[i] != UINT64_MAX) {
		if (bpe->pair[i] >> DS_BPE_RANK_BITS == pair)
			return; /* the same pair again: the first counts */
		i = (i + 1) & bpe->pair_mask;
	}
	bpe->pair[i] = pair << DS_BPE_RANK_BITS | rank;
	ds_see(bpe->pair_seen, ds_pair_seen_hash(pair));
	if (ds_token_len(bpe, rule.left) == 1 && ds_token_len(bpe, rule.right) == 1)
		bpe->byte_pair[bpe->bytes[bpe->start[rule.left]] << 8 |
			       bpe->bytes[bpe->start[rule.right]]] = rank;
}

struct merge_reader {
	struct strings strings;
	const struct alphabet *abc; /* NULL: strings are as they are */
	bool pairs;
	uint8_t *buf; /* left, then right, then room */
	size_t cap;
	uint32_t guess; /* of the next merge's result */
};

static enum ds_status read_merge(struct merge_reader *in, uint32_t rank, size_t *left_ret,
				 size_t *right_ret, struct ds_err *err)
{
	struct ds_str s = next_string(&in->strings), left = s, right = {NULL, 0};
	ptrdiff_t n_left, n_right;

	if (in->pairs) {
		right = next_string(&in->strings);
	} else {
		const char *space = s.len > 1 ? memchr(s.s + 1, ' ', s.len - 1) : NULL;

		if (!space)
			return ds_fail(err, DS_EFORMAT, "merge %u '%.*s' is not two tokens", rank,
				       (int)(s.len < 80 ? s.len : 80), s.s);
		left.len = (size_t)(space - s.s);
		right.s = space + 1;
		right.len = s.len - left.len - 1;
	}
	if (left.len + right.len + 2 * DS_BPE_PAD > in->cap)
		DS_TRY(ds_grow(&in->buf, &in->cap, left.len + right.len + 2 * DS_BPE_PAD, 1, err));
	if (in->abc) {
		n_left = decode(in->abc, left, in->buf);
		n_right = n_left < 0 ? -1 : decode(in->abc, right, in->buf + n_left);
		if (n_right < 0)
			return ds_fail(err, DS_EFORMAT, "merge %u '%.*s %.*s' is not written in "
				       "the byte alphabet", rank,
				       (int)(left.len < 80 ? left.len : 80), left.s,
				       (int)(right.len < 80 ? right.len : 80), right.s);
	} else {
		memcpy(in->buf, left.s, left.len);
		memcpy(in->buf + left.len, right.s, right.len);
		n_left = (ptrdiff_t)left.len;
		n_right = (ptrdiff_t)right.len;
	}
	*left_ret = (size_t)n_left;
	*right_ret = (size_t)n_right;
	return DS_OK;
}

static uint32_t look(const struct ds_bpe *bpe, const uint8_t *p, size_t len)
{
	struct ds_key key;

	if (!len)
		return DS_NO_TOKEN;
	if (len > DS_BPE_INLINE)
		return ds_bpe_look_long(bpe, p, len, ds_long_hash(p, len));
	key = ds_key_cut(ds_key_load(p), len);
	return ds_bpe_look_short(bpe, key, ds_key_hash(key));
}

/* Merges name tokens; in a vocabulary as training leaves it, results follow each other. */
static uint32_t look_result(const struct ds_bpe *bpe, const uint8_t *p, size_t len, uint32_t guess)
{
	if (guess < bpe->n_tokens && ds_token_len(bpe, guess) == len &&
	    !memcmp(bpe->bytes + bpe->start[guess], p, len) && bpe->ordinary[guess])
		return guess;
	return look(bpe, p, len);
}

/* One of the two parts of a merge, to be looked up. */
struct part {
	const uint8_t *p;
	size_t len;
	struct ds_key key;
	uint64_t hash;
};

static inline struct part announce(const struct ds_bpe *bpe, const uint8_t *p, size_t len)
{
	struct part part = {p, len, {0, 0}, 0};

	if (!len || len > DS_BPE_INLINE)
		return part;
	part.key = ds_key_cut(ds_key_load(p), len);
	part.hash = ds_key_hash(part.key);
	__builtin_prefetch(&bpe->line[part.hash & bpe->line_mask]);
	return part;
}

static inline uint32_t look_part(const struct ds_bpe *bpe, const struct part *part)
{
	if (!part->len || part->len > DS_BPE_INLINE)
		return look(bpe, part->p, part->len);
	return ds_bpe_look_short(bpe, part->key, part->hash);
}

/* Merges rank..rank+n-1, whose strings are next in the reader. */
static enum ds_status add_block(struct ds_bpe *bpe, struct merge_reader *in, uint32_t rank,
				uint32_t n, struct ds_err *err)
{
	struct part part[BLOCK][2];

	for (uint32_t i = 0; i < n; i++) {
		size_t left = 0, right = 0;
		const uint8_t *p;
		uint32_t id;

		DS_TRY(read_merge(in, rank + i, &left, &right, err));
		id = look_result(bpe, in->buf, left + right, in->guess);
		if (id == DS_NO_TOKEN)
			return ds_fail(err, DS_EFORMAT, "merge %u: its result is not in the "
				       "vocabulary", rank + i);
		in->guess = id + 1;
		bpe->result[rank + i] = id;
		p = bpe->bytes + bpe->start[id];
		part[i][0] = announce(bpe, p, left);
		part[i][1] = announce(bpe, p + left, right);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct ds_bpe_rule *rule = &bpe->rule[rank + i];
		uint64_t pair;

		rule->left = look_part(bpe, &part[i][0]);
		rule->right = look_part(bpe, &part[i][1]);
		if (rule->left == DS_NO_TOKEN || rule->right == DS_NO_TOKEN)
			return ds_fail(err, DS_EFORMAT, "merge %u: its %s token is not in the "
				       "vocabulary", rank + i,
				       rule->left == DS_NO_TOKEN ? "left" : "right");
		pair = (uint64_t)rule->left << DS_BPE_ID_BITS | rule->right;
		__builtin_prefetch(&bpe->pair[ds_pair_hash(pair, bpe->pair_mask)], 1);
	}
	for (uint32_t i = 0; i < n; i++)
		insert_pair(bpe, rank + i);
	return DS_OK;
}

static enum ds_status add_merges(struct ds_bpe *bpe, struct merge_reader *in, struct ds_err *err)
{
	for (uint32_t rank = 0; rank < bpe->n_rules; rank += BLOCK) {
		uint32_t n = bpe->n_rules - rank;

		DS_TRY(add_block(bpe, in, rank, n < BLOCK ? n : BLOCK, err));
	}
	return DS_OK;
}

/* --- public -------------------------------------------------------------------------------- */

enum ds_status ds_bpe_build(struct ds_bpe **bpe_ret, const struct ds_bpe_source *src,
			    struct ds_err *err)
{
	struct merge_reader in = {.strings = walk(&src->merge),
				  .pairs = src->flags & DS_BPE_MERGE_PAIRS};
	struct alphabet abc;
	struct ds_bpe *bpe = ds_alloc_zero(1, sizeof *bpe);
	enum ds_status status;

	*bpe_ret = NULL;
	if (!bpe)
		return ds_fail_nomem(err, sizeof *bpe);
	pthread_mutex_init(&bpe->lock, NULL);
	bpe->flags = src->flags;
	bpe->unk = src->unk;
	status = allocate(bpe, src, err);
	if (!status) {
		alphabet_init(&abc);
		add_tokens(bpe, src, &abc);
		find_byte_tokens(bpe, src);
		in.abc = src->flags & DS_BPE_BYTE_ENCODED ? &abc : NULL;
		status = add_merges(bpe, &in, err);
		free(in.buf);
	}
	if (status) {
		ds_bpe_free(bpe);
		return status;
	}
	*bpe_ret = bpe;
	return DS_OK;
}

void ds_bpe_free(struct ds_bpe *bpe)
{
	if (!bpe)
		return;
	ds_bpe_order_free(atomic_load(&bpe->order));
	free(bpe->region);
	pthread_mutex_destroy(&bpe->lock);
	free(bpe);
}

struct ds_str ds_bpe_token(const struct ds_bpe *bpe, uint32_t id)
{
	if (id >= bpe->n_tokens)
		return (struct ds_str){"", 0};
	return (struct ds_str){(const char *)bpe->bytes + bpe->start[id], ds_token_len(bpe, id)};
}

uint32_t ds_bpe_find(const struct ds_bpe *bpe, const void *bytes, size_t n)
{
	uint8_t buf[2 * DS_BPE_PAD] = {0};

	if (n > DS_BPE_INLINE)
		return look(bpe, bytes, n);
	if (n)
		memcpy(buf, bytes, n);
	return look(bpe, buf, n);
}

uint64_t ds_bpe_hash(const struct ds_bpe *bpe)
{
	uint64_t part[4] = {
		bpe->flags & (DS_BPE_BYTE_ENCODED | DS_BPE_IGNORE_MERGES),
		XXH3_64bits(bpe->bytes, bpe->start[bpe->n_tokens]),
		XXH3_64bits(bpe->start, ((size_t)bpe->n_tokens + 1) * sizeof *bpe->start),
		XXH3_64bits(bpe->rule, (size_t)bpe->n_rules * sizeof *bpe->rule),
	};

	return XXH3_64bits(part, sizeof part);
}
