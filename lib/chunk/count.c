/* count.c - exact token counts of parts of a document, see count.h */
#include "chunk/count.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define PIECE_BYTES 128	     /* short, since about one is encoded again at each end of a part */
#define PIECE_BYTES_MAX 8192 /* an unbroken run this long is cut by force */

enum ds_status ds_counter_init(struct ds_counter *c, const struct ds_tokenizer *tok,
			       struct ds_err *err)
{
	*c = (struct ds_counter){0};
	DS_TRY(ds_encoder_new(&c->enc, tok, err));
	DS_TRY(ds_grow(&c->cut, &c->cap, 1, sizeof *c->cut, err));
	ds_counter_reset(c);
	return DS_OK;
}

void ds_counter_reset(struct ds_counter *c)
{
	c->cut[0] = (struct ds_cut){0};
	c->n = 1;
	c->want = PIECE_BYTES;
	c->head_known = false;
	c->tail_end = c->whole_end = 0;
}

void ds_counter_fini(struct ds_counter *c)
{
	ds_encoder_free(c->enc);
	ds_tokens_fini(&c->tokens);
	free(c->cut);
	*c = (struct ds_counter){0};
}

static const uint8_t *at(const struct ds_counter *c, uint64_t pos)
{
	return c->window->data + (pos - c->window->base);
}

/* Tokens of [from, to) as the document has them. */
static enum ds_status count_inside(struct ds_counter *c, uint64_t from, uint64_t to,
				   uint64_t *tokens_ret, struct ds_err *err)
{
	size_t n = 0;

	if (to > from)
		DS_TRY(ds_encode_count(c->enc, at(c, from), (size_t)(to - from),
				       from ? DS_ENCODE_CONTINUE : 0, &n, err));
	*tokens_ret = n;
	return DS_OK;
}

enum ds_status ds_counter_run(struct ds_counter *c, const struct ds_window *w, struct ds_err *err)
{
	uint64_t end = w->base + w->n;

	c->window = w;
	for (;;) {
		struct ds_cut next = c->cut[c->n - 1];
		uint64_t from = next.pos, tokens;
		size_t n = end - from < c->want ? (size_t)(end - from) : c->want, p;

		if (n == 0 || (n < c->want && !w->last))
			return DS_OK;
		p = n < c->want ? n : ds_encoder_cut(c->enc, at(c, from), n);
		if (p == 0 && c->want < PIECE_BYTES_MAX) {
			c->want *= 2;
			continue;
		}
		if (p == 0) {
			p = ds_utf8_whole(at(c, from), n);
			next.hard++;
		}
		c->want = PIECE_BYTES;
		next.pos = from + p;
		next.seen = from + n;
		DS_TRY(count_inside(c, from, next.pos, &tokens, err));
		next.tokens += tokens;
		DS_TRY(ds_grow(&c->cut, &c->cap, c->n + 1, sizeof *c->cut, err));
		c->cut[c->n++] = next;
	}
}

size_t ds_counter_cut_before(const struct ds_counter *c, uint64_t pos)
{
	size_t low = 0, high = c->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (c->cut[mid].pos <= pos)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The index of the last cut known from the bytes before pos; 0 when there is none. */
static size_t cut_seen_before(const struct ds_counter *c, uint64_t pos)
{
	size_t i = ds_counter_cut_before(c, pos);

	while (i > 0 && c->cut[i].seen > pos)
		i--;
	return i;
}

void ds_counter_forget(struct ds_counter *c, uint64_t pos)
{
	size_t gone = ds_counter_cut_before(c, pos);

	if (gone * 2 < c->n)
		return;
	memmove(c->cut, c->cut + gone, (c->n - gone) * sizeof *c->cut);
	c->n -= gone;
}

uint64_t ds_counter_estimate(const struct ds_counter *c, uint64_t pos)
{
	size_t i = ds_counter_cut_before(c, pos);
	const struct ds_cut *a = &c->cut[i], *b = a + 1;

	if (i + 1 == c->n || pos <= a->pos)
		return a->tokens;
	return a->tokens + (b->tokens - a->tokens) * (pos - a->pos) / (b->pos - a->pos);
}

uint64_t ds_counter_locate(const struct ds_counter *c, uint64_t tokens)
{
	size_t low = 0, high = c->n;
	const struct ds_cut *a, *b;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (c->cut[mid].tokens <= tokens)
			low = mid;
		else
			high = mid;
	}
	a = &c->cut[low];
	b = a + 1;
	if (low + 1 == c->n || tokens <= a->tokens)
		return a->pos;
	return a->pos + (b->pos - a->pos) * (tokens - a->tokens) / (b->tokens - a->tokens);
}

/* Find a cut of the document that is one of the text from start on too. */
static enum ds_status find_head(struct ds_counter *c, uint64_t start, struct ds_err *err)
{
	size_t i = ds_counter_cut_before(c, start) + 1, tokens;

	if (c->head_known && c->head_pos == start)
		return DS_OK;
	c->head_known = true;
	c->head_exact = false;
	c->head_pos = start;
	for (size_t tries = 0; tries < DS_COUNTER_AHEAD && i < c->n; tries++, i++) {
		const struct ds_cut *cut = &c->cut[i];

		if (cut->hard != cut[-1].hard)
			break;
		if (ds_encoder_cut(c->enc, at(c, start), (size_t)(cut->seen - start)) !=
		    cut->pos - start)
			continue;
		DS_TRY(ds_encode_count(c->enc, at(c, start), (size_t)(cut->pos - start), 0, &tokens,
				       err));
		c->head_tokens = tokens;
		c->head_cut = *cut;
		c->head_exact = true;
		break;
	}
	return DS_OK;
}

enum ds_status ds_counter_alone(struct ds_counter *c, uint64_t start, uint64_t end,
				uint64_t *tokens_ret, struct ds_err *err)
{
	const struct ds_cut *tail;
	size_t tokens = 0;

	if (end - start > 2 * PIECE_BYTES) {
		DS_TRY(find_head(c, start, err));
		tail = &c->cut[cut_seen_before(c, end)];
		if (c->head_exact && tail->pos >= c->head_cut.pos &&
		    tail->hard == c->head_cut.hard) {
			if (c->tail_from != tail->pos || c->tail_end != end)
				DS_TRY(count_inside(c, tail->pos, end, &c->tail_tokens, err));
			c->tail_from = tail->pos;
			c->tail_end = end;
			*tokens_ret =
				c->head_tokens + tail->tokens - c->head_cut.tokens + c->tail_tokens;
			return DS_OK;
		}
	}
	if (end > start && (c->whole_start != start || c->whole_end != end)) {
		DS_TRY(ds_encode_count(c->enc, at(c, start), (size_t)(end - start), 0, &tokens,
				       err));
		c->whole_start = start;
		c->whole_end = end;
		c->whole_tokens = tokens;
	}
	*tokens_ret = end > start ? c->whole_tokens : 0;
	return DS_OK;
}

/* r->end: the end of the limit-th token, when the text from from to r->over has all but have. */
static enum ds_status token_end(struct ds_counter *c, struct ds_reach *r, uint64_t from,
				uint64_t have, struct ds_err *err)
{
	uint64_t limit = r->limit - have;

	c->tokens.n = 0;
	DS_TRY(ds_encode(c->enc, at(c, from), (size_t)(r->over - from),
			 from == r->start ? 0 : DS_ENCODE_CONTINUE, &c->tokens, err));
	r->end = c->tokens.n <= limit ? r->over : limit ? from + c->tokens.end[limit - 1] : from;
	return DS_OK;
}

/* The last cut from the head on that is within limit and bound, with no forced cut between. */
static size_t last_within(const struct ds_counter *c, const struct ds_reach *r)
{
	uint64_t tokens_max = r->limit - c->head_tokens + c->head_cut.tokens;
	size_t low = ds_counter_cut_before(c, c->head_cut.pos), high = c->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		const struct ds_cut *cut = &c->cut[mid];

		if (cut->tokens <= tokens_max && cut->pos <= r->bound &&
		    cut->hard == c->head_cut.hard)
			low = mid;
		else
			high = mid;
	}
	return low;
}

enum ds_status ds_counter_reach(struct ds_counter *c, struct ds_reach *r, struct ds_err *err)
{
	uint64_t have = 0, from = r->start;
	size_t i;

	r->hard = false;
	DS_TRY(find_head(c, r->start, err));
	if (c->head_exact && c->head_tokens <= r->limit && c->head_cut.pos <= r->bound) {
		i = last_within(c, r);
		from = c->cut[i].pos;
		have = c->head_tokens + c->cut[i].tokens - c->head_cut.tokens;
		r->over =
			i + 1 < c->n && c->cut[i + 1].pos < r->bound ? c->cut[i + 1].pos : r->bound;
		return token_end(c, r, from, have, err);
	}
	/* no cut in sight: more and more text until it holds enough tokens */
	r->over = ds_counter_locate(c, ds_counter_estimate(c, r->start) + r->limit + r->limit / 16);
	for (uint64_t n = r->over > r->start + 64 ? r->over - r->start : 64;; n *= 2) {
		r->over = n < r->bound - r->start ? r->start + n : r->bound;
		DS_TRY(token_end(c, r, r->start, 0, err));
		if (r->end < r->over || r->over == r->bound)
			break;
	}
	r->hard = r->end - r->start > 4 * PIECE_BYTES;
	return DS_OK;
}
