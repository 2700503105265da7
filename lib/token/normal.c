/*
 * normal.c - normalisation with a way back to the original bytes
 *
 * Each step copies its input stretch by stretch: a stretch is kept as it is or replaced, and a map
 * remembers which.  Until the first replacement nothing is copied at all.
 */
#include "token/normal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "token/norm_ranges.h"

/* One step at work. */
struct work {
	const uint8_t *in;
	size_t n, at; /* bytes of in; those dealt with */
	struct ds_buf *out;
	struct ds_norm_map *map;
	bool changed;
};

static enum ds_status push_run(struct ds_norm_map *map, size_t end, size_t origin_end, bool same,
			       struct ds_err *err)
{
	struct ds_norm_run *last = map->n ? &map->run[map->n - 1] : NULL;

	if (same && last && last->same) {
		last->end = end;
		last->origin_end = origin_end;
		return DS_OK;
	}
	DS_TRY(ds_grow(&map->run, &map->cap, map->n + 1, sizeof *map->run, err));
	map->run[map->n++] = (struct ds_norm_run){end, origin_end, same};
	return DS_OK;
}

/* The input up to to stays as it is. */
static enum ds_status keep(struct work *w, size_t to, struct ds_err *err)
{
	size_t n = to - w->at;

	if (!n)
		return DS_OK;
	if (w->changed) {
		DS_TRY(ds_buf_append(w->out, w->in + w->at, n, err));
		DS_TRY(push_run(w->map, w->out->len, to, true, err));
	}
	w->at = to;
	return DS_OK;
}

/* The input from w->at up to to becomes these bytes. */
static enum ds_status replace(struct work *w, size_t to, const void *bytes, size_t n,
			      struct ds_err *err)
{
	if (!w->changed) {
		size_t before = w->at;

		w->changed = true;
		w->at = 0;
		DS_TRY(keep(w, before, err));
	}
	DS_TRY(ds_buf_append(w->out, bytes, n, err));
	DS_TRY(push_run(w->map, w->out->len, to, false, err));
	w->at = to;
	return DS_OK;
}

/* --- Unicode normal forms ------------------------------------------------------------------ */

/* 'M', 'D' or 0, as in norm_ranges. */
static char norm_class(uint32_t cp)
{
	size_t low = 0, high = sizeof norm_ranges / sizeof norm_ranges[0];

	/* most of what is not ASCII in texts: ideographs */
	if (cp < 0xA0 || (cp >= 0x4E00 && cp <= 0x9FFF))
		return 0;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cp > norm_ranges[mid].last)
			low = mid + 1;
		else if (cp < norm_ranges[mid].first)
			high = mid;
		else
			return norm_ranges[mid].class;
	}
	return 0;
}

int ds_norm_combining(uint32_t cp)
{
	return norm_class(cp) == 'M' ? utf8proc_get_property((utf8proc_int32_t)cp)->combining_class
				     : 0;
}

unsigned ds_norm_decompose(uint32_t cp, uint32_t out[DS_NORM_PARTS_MAX])
{
	utf8proc_int32_t parts[DS_NORM_PARTS_MAX];
	utf8proc_ssize_t n = 0;
	int boundary = 0;

	if (norm_class(cp))
		n = utf8proc_decompose_char((utf8proc_int32_t)cp, parts, DS_NORM_PARTS_MAX,
					    UTF8PROC_DECOMPOSE, &boundary);
	if (n < 1 || n > DS_NORM_PARTS_MAX) {
		out[0] = cp;
		return 1;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
		out[i] = (uint32_t)parts[i];
	return (unsigned)n;
}

/* Characters that decompose and are composed again at once: Latin, Cyrillic, Hangul. */
static bool stays(uint32_t cp, char class, bool compose)
{
	return !class || (compose && class == 'D' &&
			  ((cp >= 0xC0 && cp < 0x132) || (cp >= 0x400 && cp < 0x500) ||
			   (cp >= 0xAC00 && cp <= 0xD7A3)));
}

/* Whether utf8proc would treat a character that Unicode 9.0 does not know. */
static bool newer(uint32_t cp, char class)
{
	const utf8proc_property_t *p;

	if (class || cp < 0x300 || cp > 0x10FFFF)
		return false;
	p = utf8proc_get_property((utf8proc_int32_t)cp);
	return p->combining_class || p->decomp_seqindex != UINT16_MAX;
}

static enum ds_status put_cluster(struct work *w, size_t to, unsigned options, struct ds_err *err)
{
	utf8proc_int32_t fixed[64], *cp = fixed;
	size_t n = to - w->at, len = 0, cap = 64;
	uint8_t *bytes = NULL;
	utf8proc_ssize_t m;
	enum ds_status st;

	m = utf8proc_decompose(w->in + w->at, (utf8proc_ssize_t)n, cp, (utf8proc_ssize_t)cap,
			       (utf8proc_option_t)(options & ~(unsigned)UTF8PROC_COMPOSE));
	if (m > (utf8proc_ssize_t)cap) {
		cap = (size_t)m + 1;
		cp = ds_alloc(cap, sizeof *cp);
		if (!cp)
			return ds_fail_nomem(err, cap * sizeof *cp);
		m = utf8proc_decompose(w->in + w->at, (utf8proc_ssize_t)n, cp,
				       (utf8proc_ssize_t)cap,
				       (utf8proc_option_t)(options & ~(unsigned)UTF8PROC_COMPOSE));
	}
	if (m > 0 && (options & UTF8PROC_COMPOSE))
		m = utf8proc_normalize_utf32(cp, m, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	bytes = m > 0 ? ds_alloc((size_t)m, 4) : NULL;
	for (utf8proc_ssize_t i = 0; bytes && i < m; i++)
		len += ds_utf8_encode((uint32_t)cp[i], bytes + len);
	if (m > 0 && !bytes)
		st = ds_fail_nomem(err, (size_t)m * 4);
	else if (m <= 0 || (len == n && memcmp(bytes, w->in + w->at, n) == 0))
		st = keep(w, to, err);
	else
		st = replace(w, to, bytes, len, err);
	free(bytes);
	if (cp != fixed)
		free(cp);
	return st;
}

/* The end of the characters from at on that may join or pass what stands before them. */
static size_t skip_marks(const struct work *w, size_t at)
{
	while (at < w->n && w->in[at] >= 0x80) {
		uint32_t cp;
		unsigned k = ds_utf8_decode(w->in + at, w->in + w->n, &cp);

		if (cp > 0x10FFFF || norm_class(cp) != 'M')
			break;
		at += k;
	}
	return at;
}

/* The last ASCII character of a run, which marks may follow, or what is not ASCII. */
static size_t skip_ascii(const struct work *w, size_t at)
{
	size_t from = at;
	uint64_t v;

	while (w->n - at >= 8) {
		memcpy(&v, w->in + at, 8);
		v &= UINT64_C(0x8080808080808080);
		if (v) {
			at += (size_t)__builtin_ctzll(v) / 8;
			return at > from ? at - 1 : at;
		}
		at += 8;
	}
	while (at < w->n && w->in[at] < 0x80)
		at++;
	return at == w->n || at == from ? at : at - 1;
}

static enum ds_status normal_form(struct work *w, unsigned options, struct ds_err *err)
{
	const uint8_t *in = w->in, *end = in + w->n;
	size_t at = 0;

	while (at < w->n) {
		size_t start, after;
		uint32_t cp;
		char class;

		at = skip_ascii(w, at);
		if (at == w->n)
			break;
		start = at;
		at += ds_utf8_decode(in + at, end, &cp);
		after = at;
		class = cp > 0x10FFFF ? 0 : norm_class(cp);
		at = skip_marks(w, at);
		if (at == after && stays(cp, class, options & UTF8PROC_COMPOSE))
			continue;
		if (cp > 0x10FFFF || newer(cp, class))
			start = after;
		if (start == at)
			continue;
		DS_TRY(keep(w, start, err));
		DS_TRY(put_cluster(w, at, options, err));
	}
	return keep(w, w->n, err);
}

/* --- the other steps ----------------------------------------------------------------------- */

static enum ds_status lower(struct work *w, struct ds_err *err)
{
	const uint8_t *end = w->in + w->n;
	uint8_t bytes[8];

	for (size_t at = 0; at < w->n;) {
		uint32_t cp, low;
		size_t k = ds_utf8_decode(w->in + at, end, &cp), m;

		low = cp > 0x10FFFF ? cp : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
		at += k;
		if (cp == 0x130) { /* the one character whose lower case is two */
			DS_TRY(keep(w, at - k, err));
			DS_TRY(replace(w, at, "i\xCC\x87", 3, err));
		} else if (low != cp) {
			m = ds_utf8_encode(low, bytes);
			DS_TRY(keep(w, at - k, err));
			DS_TRY(replace(w, at, bytes, m, err));
		}
	}
	return keep(w, w->n, err);
}

static enum ds_status drop_marks(struct work *w, struct ds_err *err)
{
	const uint8_t *end = w->in + w->n;

	for (size_t at = 0; at < w->n;) {
		uint32_t cp;
		size_t k = ds_utf8_decode(w->in + at, end, &cp);
		utf8proc_category_t c = cp > 0x10FFFF ? UTF8PROC_CATEGORY_CN
						      : utf8proc_category((utf8proc_int32_t)cp);

		at += k;
		if (c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
		    c == UTF8PROC_CATEGORY_ME) {
			DS_TRY(keep(w, at - k, err));
			DS_TRY(replace(w, at, "", 0, err));
		}
	}
	return keep(w, w->n, err);
}

static enum ds_status replace_all(struct work *w, const struct ds_norm_step *step,
				  struct ds_err *err)
{
	while (w->at < w->n) {
		const uint8_t *hit = memmem(w->in + w->at, w->n - w->at, step->a.s, step->a.len);

		if (!hit)
			break;
		DS_TRY(keep(w, (size_t)(hit - w->in), err));
		DS_TRY(replace(w, w->at + step->a.len, step->b.s, step->b.len, err));
	}
	return keep(w, w->n, err);
}

static enum ds_status strip(struct work *w, const struct ds_norm_step *step, struct ds_err *err)
{
	size_t start = 0, end = w->n;

	while (step->left && start < end &&
	       (w->in[start] == ' ' || (w->in[start] >= 9 && w->in[start] <= 13)))
		start++;
	while (step->right && end > start &&
	       (w->in[end - 1] == ' ' || (w->in[end - 1] >= 9 && w->in[end - 1] <= 13)))
		end--;
	if (start)
		DS_TRY(replace(w, start, "", 0, err));
	DS_TRY(keep(w, end, err));
	return end < w->n ? replace(w, w->n, "", 0, err) : DS_OK;
}

static enum ds_status prepend(struct work *w, const struct ds_norm_step *step,
			      enum ds_text_place place, struct ds_err *err)
{
	bool there = w->n >= step->b.len && memcmp(w->in, step->b.s, step->b.len) == 0;

	if (w->n && place != DS_TEXT_CONTINUES && !(step->unless && there) &&
	    !(step->at_start && place != DS_TEXT_START))
		DS_TRY(replace(w, 0, step->b.s, step->b.len, err));
	return keep(w, w->n, err);
}

static enum ds_status run_step(const struct ds_norm_step *step, struct work *w,
			       enum ds_text_place place, struct ds_err *err)
{
	switch (step->kind) {
	case DS_NORM_NFC:
		return normal_form(w, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_DECOMPOSE, err);
	case DS_NORM_NFD:
		return normal_form(w, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, err);
	case DS_NORM_NFKC:
		return normal_form(w,
				   UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_DECOMPOSE |
					   UTF8PROC_COMPAT,
				   err);
	case DS_NORM_NFKD:
		return normal_form(w, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, err);
	case DS_NORM_LOWER:
		return lower(w, err);
	case DS_NORM_ACCENTS:
		return drop_marks(w, err);
	case DS_NORM_REPLACE:
		return replace_all(w, step, err);
	case DS_NORM_PREPEND:
		return prepend(w, step, place, err);
	case DS_NORM_STRIP:
		return strip(w, step, err);
	}
	return DS_OK;
}

enum ds_status ds_norm_run(const struct ds_norm *norm, const struct ds_part *text,
			   enum ds_text_place place, struct ds_normed *out, struct ds_err *err)
{
	size_t turn = 0;

	out->text = text->bytes;
	out->len = text->len;
	out->n_map = 0;
	for (size_t i = 0; i < norm->n; i++) {
		struct work w = {
			.in = out->text,
			.n = out->len,
			.out = &out->buf[turn],
			.map = &out->map[out->n_map],
		};

		w.out->len = 0;
		w.map->n = 0;
		DS_TRY(run_step(&norm->step[i], &w, place, err));
		if (!w.changed)
			continue;
		out->text = w.out->data ? w.out->data : (const uint8_t *)"";
		out->len = w.out->len;
		out->n_map++;
		turn ^= 1;
	}
	return DS_OK;
}

static void map_ends(const struct ds_norm_map *map, uint64_t *end, size_t n, uint64_t base)
{
	size_t r = 0;

	for (size_t i = 0; i < n; i++) {
		size_t e = (size_t)(end[i] - base);

		while (r + 1 < map->n && map->run[r].end < e)
			r++;
		if (!map->n)
			continue;
		end[i] = base + map->run[r].origin_end -
			 (map->run[r].same ? map->run[r].end - e : 0);
	}
}

void ds_norm_ends(const struct ds_normed *normed, uint64_t *end, size_t n, uint64_t base)
{
	for (size_t i = normed->n_map; i-- > 0;)
		map_ends(&normed->map[i], end, n, base);
}

void ds_normed_fini(struct ds_normed *normed)
{
	ds_buf_fini(&normed->buf[0]);
	ds_buf_fini(&normed->buf[1]);
	for (size_t i = 0; i < DS_NORM_STEPS_MAX; i++)
		free(normed->map[i].run);
	*normed = (struct ds_normed){0};
}

/* --- cuts ---------------------------------------------------------------------------------- */

/* Whether a match of the pattern may reach over p. */
static bool may_straddle(struct ds_str pattern, const uint8_t *text, size_t p)
{
	for (size_t i = 1; i < pattern.len; i++)
		if ((uint8_t)pattern.s[i - 1] == text[p - 1] && (uint8_t)pattern.s[i] == text[p])
			return true;
	return false;
}

bool ds_norm_may_cut(const struct ds_norm *norm, const uint8_t *text, size_t n, size_t p)
{
	uint32_t cp;

	for (size_t i = 0; i < norm->n; i++) {
		const struct ds_norm_step *step = &norm->step[i];

		switch (step->kind) {
		case DS_NORM_NFC:
		case DS_NORM_NFD:
		case DS_NORM_NFKC:
		case DS_NORM_NFKD:
			ds_utf8_decode(text + p, text + n, &cp);
			if (cp > 0x10FFFF || norm_class(cp) == 'M')
				return false;
			break;
		case DS_NORM_LOWER:
		case DS_NORM_ACCENTS:
			if ((text[p] & 0xC0) == 0x80)
				return false;
			break;
		case DS_NORM_REPLACE:
			/* after another step the text is no longer what stands here */
			if (may_straddle(step->a, text, p) || (i > 0 && step->a.len > 1))
				return false;
			break;
		case DS_NORM_STRIP:
			return false;
		case DS_NORM_PREPEND:
			break;
		}
	}
	return true;
}
