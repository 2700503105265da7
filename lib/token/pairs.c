/* pairs.c - where a text may be cut because no token reaches over */
#include "token/pairs.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

#define META_SPACE 0x2581

struct ds_pairs {
	unsigned bits; /* log2 of the number of bits */
	uint64_t set[];
};

enum ds_status ds_pairs_new(struct ds_pairs **pairs_ret, size_t n, struct ds_err *err)
{
	unsigned bits = n > 65536 ? 23 : 20;
	struct ds_pairs *pairs = ds_alloc_zero(1, sizeof *pairs + ((size_t)1 << (bits - 3)));

	if (!pairs)
		return ds_fail_nomem(err, (size_t)1 << (bits - 3));
	pairs->bits = bits;
	*pairs_ret = pairs;
	return DS_OK;
}

void ds_pairs_free(struct ds_pairs *pairs)
{
	free(pairs);
}

static uint32_t plain(uint32_t cp)
{
	return cp == META_SPACE ? ' ' : cp;
}

static uint64_t bit_of(const struct ds_pairs *pairs, uint32_t a, uint32_t b)
{
	return (((uint64_t)plain(a) << 32 | plain(b)) * 0x9E3779B97F4A7C15u) >> (64 - pairs->bits);
}

static bool may_join(const struct ds_pairs *pairs, uint32_t a, uint32_t b)
{
	uint64_t bit = bit_of(pairs, a, b);

	return pairs->set[bit / 64] >> bit % 64 & 1;
}

void ds_pairs_note(struct ds_pairs *pairs, struct ds_str token)
{
	const uint8_t *p = (const uint8_t *)token.s, *end = p + token.len;
	uint32_t a, b;

	if (p == end)
		return;
	for (p += ds_utf8_decode(p, end, &a); p < end; a = b) {
		uint64_t bit;

		p += ds_utf8_decode(p, end, &b);
		bit = bit_of(pairs, a, b);
		pairs->set[bit / 64] |= (uint64_t)1 << bit % 64;
	}
}

static bool is_alnum(uint32_t c)
{
	return (c | 0x20) - 'a' < 26 || c - '0' < 10;
}

/* Ends are looked for between words and what surrounds them, and anywhere in a long piece: inside
 * words there hardly is one. */
#define PIECE_BYTES 24
#define PIECE_BYTES_MAX ((ptrdiff_t)1 << 30)

const uint8_t *ds_pairs_next(const struct ds_pairs *pairs, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *from = p;
	uint32_t a, b;

	p += ds_utf8_decode(p, end, &a);
	for (; p < end && p - from < PIECE_BYTES_MAX; a = b) {
		unsigned k = ds_utf8_decode(p, end, &b);

		if ((!is_alnum(b) || !is_alnum(a) || p - from > PIECE_BYTES) &&
		    !may_join(pairs, a, b))
			return p;
		p += k;
	}
	return p;
}

size_t ds_pairs_cut(const struct ds_pairs *pairs, const uint8_t *text, size_t n)
{
	for (size_t p = n; p-- > 1;) {
		uint32_t a, b;
		unsigned k = 1;

		if ((text[p] & 0xC0) == 0x80)
			continue;
		ds_utf8_decode(text + p, text + n, &b);
		while (k < 4 && k < p && (text[p - k] & 0xC0) == 0x80)
			k++;
		if (ds_utf8_decode(text + p - k, text + p, &a) == k && a <= 0x10FFFF &&
		    b <= 0x10FFFF && !may_join(pairs, a, b))
			return p;
	}
	return 0;
}
