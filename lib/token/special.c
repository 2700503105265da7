/* special.c - added tokens: strings that are found in text before it is tokenized */
#include "token/special.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "token/token.h"

#define LEADS 256
#define ADDED_BYTES_MAX 1024 /* bounds the look-back of a cut and the walk at one place */

/* A trie whose children are linked lists; node 0 is the root, whose children are in first[]. */
struct node {
	uint32_t child, sibling; /* 0: none */
	uint32_t id;		 /* DS_NO_TOKEN: no token ends here */
	uint8_t byte, flags;
};

struct ds_added {
	struct node *node;
	size_t n, cap;
	uint32_t first[256];
	uint8_t *special; /* bitmap by id */
	size_t cap_special;
	size_t bytes_max;
	unsigned flags; /* of all tokens together */
	int plain;	/* some are found without being asked for */
	int lead;	/* the byte they all begin with, LEADS where it is not one */
};

enum ds_status ds_added_new(struct ds_added **added_ret, struct ds_err *err)
{
	struct ds_added *added = ds_alloc_zero(1, sizeof *added);

	if (!added)
		return ds_fail_nomem(err, sizeof *added);
	added->n = 1;
	added->lead = -1;
	*added_ret = added;
	return DS_OK;
}

void ds_added_free(struct ds_added *added)
{
	if (!added)
		return;
	free(added->node);
	free(added->special);
	free(added);
}

static uint32_t child_of(const struct ds_added *added, uint32_t node, uint8_t byte)
{
	uint32_t c;

	if (node == 0)
		return added->first[byte];
	for (c = added->node[node].child; c && added->node[c].byte != byte;)
		c = added->node[c].sibling;
	return c;
}

static enum ds_status add_child(struct ds_added *added, uint32_t node, uint8_t byte,
				uint32_t *child_ret, struct ds_err *err)
{
	uint32_t c = (uint32_t)added->n;

	DS_TRY(ds_grow(&added->node, &added->cap, added->n + 1, sizeof *added->node, err));
	added->n++;
	added->node[c] = (struct node){.id = DS_NO_TOKEN, .byte = byte};
	if (node == 0) {
		added->first[byte] = c;
		added->lead = added->lead < 0 ? byte : LEADS;
	} else {
		added->node[c].sibling = added->node[node].child;
		added->node[node].child = c;
	}
	*child_ret = c;
	return DS_OK;
}

static enum ds_status mark_special(struct ds_added *added, uint32_t id, struct ds_err *err)
{
	size_t old = added->cap_special;

	DS_TRY(ds_grow(&added->special, &added->cap_special, id / 8 + 1, 1, err));
	memset(added->special + old, 0, added->cap_special - old);
	added->special[id / 8] |= (uint8_t)(1 << id % 8);
	return DS_OK;
}

enum ds_status ds_added_put(struct ds_added *added, struct ds_str text, uint32_t id, unsigned flags,
			    struct ds_err *err)
{
	uint32_t node = 0, next;

	if (text.len == 0)
		return DS_OK;
	if (text.len > ADDED_BYTES_MAX)
		return ds_fail(err, DS_ELIMIT, "added token of %zu bytes, at most %d expected",
			       text.len, ADDED_BYTES_MAX);
	for (size_t i = 0; i < text.len; i++) {
		next = child_of(added, node, (uint8_t)text.s[i]);
		if (!next)
			DS_TRY(add_child(added, node, (uint8_t)text.s[i], &next, err));
		node = next;
	}
	added->node[node].id = id;
	added->node[node].flags = (uint8_t)flags;
	added->flags |= flags;
	added->plain |= !(flags & DS_ADDED_SPECIAL);
	if (text.len > added->bytes_max)
		added->bytes_max = text.len;
	return flags & DS_ADDED_SPECIAL ? mark_special(added, id, err) : DS_OK;
}

uint32_t ds_added_find(const struct ds_added *added, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint32_t node = 0;

	if (n == 0)
		return DS_NO_TOKEN;
	for (size_t i = 0; i < n; i++)
		if (!(node = child_of(added, node, p[i])))
			return DS_NO_TOKEN;
	return added->node[node].id;
}

int ds_added_is_special(const struct ds_added *added, uint32_t id)
{
	return id / 8 < added->cap_special && added->special[id / 8] >> id % 8 & 1;
}

static int is_word_char(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp > 0x10FFFF)
		return 0;
	c = utf8proc_category((utf8proc_int32_t)cp);
	return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) ||
	       c == UTF8PROC_CATEGORY_PC || cp == 0x200C || cp == 0x200D;
}

static int is_white(uint32_t cp)
{
	return (ds_unicode_class(cp) & DS_UC_SPACE) != 0;
}

/* The code point that ends at p > start. */
static unsigned decode_back(const uint8_t *start, const uint8_t *p, uint32_t *cp_ret)
{
	for (unsigned n = 2; n <= 4 && n <= (size_t)(p - start); n++)
		if (ds_utf8_decode(p - n, p, cp_ret) == n)
			return n;
	ds_utf8_decode(p - 1, p, cp_ret);
	return 1;
}

static int beside_word(const uint8_t *text, size_t n, size_t start, size_t end)
{
	uint32_t cp;

	if (start > 0) {
		decode_back(text, text + start, &cp);
		if (is_word_char(cp))
			return 1;
	}
	if (end < n) {
		ds_utf8_decode(text + end, text + n, &cp);
		return is_word_char(cp);
	}
	return 0;
}

static size_t white_before(const uint8_t *text, size_t from, size_t at)
{
	uint32_t cp;

	while (at > from) {
		unsigned n = decode_back(text + from, text + at, &cp);

		if (!is_white(cp))
			break;
		at -= n;
	}
	return at;
}

static size_t white_after(const uint8_t *text, size_t n, size_t at)
{
	uint32_t cp;

	while (at < n) {
		unsigned k = ds_utf8_decode(text + at, text + n, &cp);

		if (!is_white(cp))
			break;
		at += k;
	}
	return at;
}

/* The longest token at text[at], or 0. */
static uint32_t match_at(const struct ds_added *added, const uint8_t *text, size_t n, size_t at,
			 int special, size_t *end_ret)
{
	uint32_t node = added->first[text[at]], found = 0;
	size_t i = at + 1;

	while (node) {
		const struct node *t = &added->node[node];

		if (t->id != DS_NO_TOKEN && (special || !(t->flags & DS_ADDED_SPECIAL))) {
			found = node;
			*end_ret = i;
		}
		if (i == n)
			break;
		node = child_of(added, node, text[i++]);
	}
	return found;
}

int ds_added_search(const struct ds_added *added, const uint8_t *text, size_t n, size_t from,
		    int special, struct ds_added_hit *hit_ret)
{
	if (!added->bytes_max || (!special && !added->plain))
		return 0;
	for (size_t at = from; at < n; at++) {
		const struct node *t;
		uint32_t node;
		size_t end;

		if (added->lead < LEADS) {
			const uint8_t *p = memchr(text + at, added->lead, n - at);

			if (!p)
				return 0;
			at = (size_t)(p - text);
		} else if (!added->first[text[at]]) {
			continue;
		}
		node = match_at(added, text, n, at, special, &end);
		if (!node)
			continue;
		t = &added->node[node];
		if ((t->flags & DS_ADDED_SINGLE_WORD) && beside_word(text, n, at, end)) {
			at = end - 1;
			continue;
		}
		*hit_ret = (struct ds_added_hit){t->id, at, end};
		if (t->flags & DS_ADDED_LSTRIP)
			hit_ret->start = white_before(text, from, at);
		if (t->flags & DS_ADDED_RSTRIP)
			hit_ret->end = white_after(text, n, end);
		return 1;
	}
	return 0;
}

/* Whether a token, or the beginning of one that text cuts off, begins at s and reaches over p. */
static int reaches_over(const struct ds_added *added, const uint8_t *text, size_t n, size_t s,
			size_t p)
{
	uint32_t node = added->first[text[s]];
	size_t i = s + 1;

	while (node) {
		if (i > p && added->node[node].id != DS_NO_TOKEN)
			return 1;
		if (i == n)
			return added->node[node].child != 0;
		node = child_of(added, node, text[i++]);
	}
	return 0;
}

int ds_added_ends_at(const struct ds_added *added, const uint8_t *text, size_t p)
{
	size_t end;

	for (size_t s = p > added->bytes_max ? p - added->bytes_max : 0; s < p; s++)
		if (match_at(added, text, p, s, 1, &end) && end == p)
			return 1;
	return 0;
}

/* Whether a stripping or whole-word token on one side of p looks at the other side. */
static int disturbs(const struct ds_added *added, const uint8_t *text, size_t n, size_t p)
{
	if ((added->flags & DS_ADDED_RSTRIP) &&
	    ds_added_ends_at(added, text, white_before(text, 0, p)))
		return 1;
	if ((added->flags & DS_ADDED_LSTRIP) && white_before(text, 0, p) < p) {
		size_t next = white_after(text, n, p);

		if (next == n || reaches_over(added, text, n, next, next))
			return 1;
	}
	return (added->flags & DS_ADDED_SINGLE_WORD) &&
	       (p == n || reaches_over(added, text, n, p, p) || ds_added_ends_at(added, text, p));
}

size_t ds_added_cut(const struct ds_added *added, const uint8_t *text, size_t n, size_t cut)
{
	size_t p = cut;

	while (p > 0) {
		size_t s = p > added->bytes_max ? p - added->bytes_max + 1 : 0;

		while (s < p && !reaches_over(added, text, n, s, p))
			s++;
		if (s == p && !disturbs(added, text, n, p))
			return p;
		p = s < p ? s : p - 1;
	}
	return 0;
}
