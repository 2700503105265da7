/*
 * chunker.c - from marks and token counts to chunks
 *
 * A chunk is decided when the text is known far enough beyond it (the horizon), and from that text
 * only; so the chunks do not depend on how the bytes were pushed.
 */
#include "chunk/chunk.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chunk/count.h"
#include "chunk/scan.h"
#include "chunk/semantic.h"

/* A chunk ends after so many bytes even when they have no tokens (blanks in WordPiece). */
#define TOKEN_BYTES_MAX 64
#define SLACK_TOKENS 64
#define WORD_BACK_BYTES 256
#define FENCE_SLACK_TOKENS 8

struct ds_chunker {
	struct ds_chunk_options options;
	uint64_t vocabulary;
	uint32_t affix_tokens, limit; /* size without affixes */
	uint64_t bytes_max;
	struct ds_buf text;
	struct ds_window window; /* over text */
	struct ds_scan scan;
	struct ds_counter counter;
	struct ds_semantic *semantic;
	uint64_t start, covered; /* the next chunk begins; the last one ended */
	uint64_t index;
	uint64_t overlap_tokens;
	uint64_t horizon; /* what is decided now depends on nothing beyond */
	bool at_end;	  /* the horizon is the end of the document */
};

/* What fits into the limit, and the choice. */
struct span {
	uint64_t reach; /* the fullest end that fits */
	uint64_t bound; /* no end beyond it fits */
	uint64_t end, tokens;
	enum ds_boundary_kind kind;
};

static void reset(struct ds_chunker *c)
{
	ds_scan_reset(&c->scan);
	ds_counter_reset(&c->counter);
	if (c->semantic)
		ds_semantic_reset(c->semantic);
	c->text.len = 0;
	c->window = (struct ds_window){0};
	c->start = c->covered = c->index = c->overlap_tokens = 0;
}

static enum ds_status check_options(const struct ds_chunk_options *o, struct ds_err *err)
{
	if (o->size_tokens == 0 || o->size_tokens > DS_CHUNK_TOKENS_MAX)
		return ds_fail(err, DS_EINVAL, "chunk size %u, expected 1 to %u tokens",
			       o->size_tokens, DS_CHUNK_TOKENS_MAX);
	if (o->overlap_tokens >= o->size_tokens)
		return ds_fail(err, DS_EINVAL, "overlap %u, expected less than the chunk size %u",
			       o->overlap_tokens, o->size_tokens);
	if (o->boundary == DS_BOUNDARY_SEMANTIC && (!o->embed || !o->embed_dims))
		return ds_fail(err, DS_EINVAL, "semantic boundaries need embeddings");
	return DS_OK;
}

/* The limit without what the model adds to a text. */
static enum ds_status set_limit(struct ds_chunker *c, const struct ds_tokenizer *tok,
				struct ds_err *err)
{
	struct ds_affix affix;

	if (c->options.encode_flags & DS_ENCODE_AFFIX) {
		ds_tokenizer_affix(tok, &affix);
		c->affix_tokens = (uint32_t)(affix.n_prefix + affix.n_suffix);
	}
	if (c->affix_tokens + c->options.overlap_tokens >= c->options.size_tokens)
		return ds_fail(err, DS_EINVAL,
			       "a chunk of %u tokens has no room for text beside an overlap of %u "
			       "and the %u the model adds",
			       c->options.size_tokens, c->options.overlap_tokens, c->affix_tokens);
	c->limit = c->options.size_tokens - c->affix_tokens;
	c->bytes_max = (uint64_t)c->limit * TOKEN_BYTES_MAX + 4096;
	return DS_OK;
}

static enum ds_status init(struct ds_chunker *c, const struct ds_tokenizer *tok, struct ds_err *err)
{
	DS_TRY(ds_counter_init(&c->counter, tok, err));
	DS_TRY(set_limit(c, tok, err));
	c->vocabulary = ds_tokenizer_id(tok);
	if (c->options.boundary == DS_BOUNDARY_SEMANTIC)
		DS_TRY(ds_semantic_new(&c->semantic, &c->options, err));
	reset(c);
	return DS_OK;
}

enum ds_status ds_chunker_new(struct ds_chunker **c_ret, const struct ds_tokenizer *tok,
			      const struct ds_chunk_options *options, struct ds_err *err)
{
	struct ds_chunker *c;
	enum ds_status st;

	*c_ret = NULL;
	DS_TRY(check_options(options, err));
	c = ds_alloc_zero(1, sizeof *c);
	if (!c)
		return ds_fail_nomem(err, sizeof *c);
	c->options = *options;
	st = init(c, tok, err);
	if (st != DS_OK) {
		ds_chunker_free(c);
		return st;
	}
	*c_ret = c;
	return DS_OK;
}

void ds_chunker_free(struct ds_chunker *c)
{
	if (!c)
		return;
	ds_buf_fini(&c->text);
	ds_scan_fini(&c->scan);
	ds_counter_fini(&c->counter);
	ds_semantic_free(c->semantic);
	free(c);
}

/* Drop what no later chunk needs, once that is most of the buffer. */
static void forget(struct ds_chunker *c)
{
	uint64_t keep = c->start < c->scan.pos ? c->start : c->scan.pos;
	size_t gone;

	keep = keep - c->window.base > DS_SCAN_BACK ? keep - DS_SCAN_BACK : c->window.base;
	ds_scan_forget(&c->scan, c->start);
	ds_counter_forget(&c->counter, c->start);
	gone = (size_t)(keep - c->window.base);
	if (gone * 2 < c->text.len)
		return;
	ds_buf_consume(&c->text, gone);
	c->window.base = keep;
}

enum ds_status ds_chunker_push(struct ds_chunker *c, const void *bytes, size_t n, int last,
			       struct ds_err *err)
{
	forget(c);
	DS_TRY(ds_buf_append(&c->text, bytes, n, err));
	c->window.data = c->text.data;
	c->window.n = c->text.len;
	c->window.last = last;
	DS_TRY(ds_counter_run(&c->counter, &c->window, err));
	if (c->options.boundary != DS_BOUNDARY_NONE)
		DS_TRY(ds_scan_run(&c->scan, &c->window, err));
	else
		c->scan.pos = c->window.base + c->window.n;
	return DS_OK;
}

static bool is_far(const struct ds_cut *cut, uint64_t tokens, uint64_t pos)
{
	return cut->tokens >= tokens || cut->pos >= pos;
}

/* How far the text must be known to decide the chunk at start; false: more bytes are needed. */
static bool find_horizon(struct ds_chunker *c)
{
	const struct ds_counter *k = &c->counter;
	uint64_t tokens = ds_counter_estimate(k, c->start) + 2 * (uint64_t)c->limit + SLACK_TOKENS;
	uint64_t pos = c->start + 2 * c->bytes_max;
	/* some cuts more: the estimate at a place needs the one after it, for one */
	size_t i = ds_counter_cut_before(k, c->start) + 2 * DS_COUNTER_AHEAD;

	if (i < k->n && !is_far(&k->cut[i], tokens, pos)) {
		size_t high = k->n;

		while (high - i > 1) {
			size_t mid = i + (high - i) / 2;

			if (is_far(&k->cut[mid], tokens, pos))
				high = mid;
			else
				i = mid;
		}
		i = high;
	}
	c->at_end = i >= k->n;
	if (c->at_end && !c->window.last)
		return false;
	c->horizon = c->at_end ? c->window.base + c->window.n : k->cut[i].pos;
	return c->scan.pos >= c->horizon;
}

static uint8_t byte_at(const struct ds_chunker *c, uint64_t pos)
{
	return c->text.data[pos - c->window.base];
}

/* The last place at or before pos (and at or after floor) that splits no character and no CR LF. */
static uint64_t align(const struct ds_chunker *c, uint64_t pos, uint64_t floor)
{
	uint64_t whole;

	if (pos <= floor || pos >= c->horizon)
		return pos < c->horizon ? pos : c->horizon;
	/* broken bytes are as they are: only a sequence that goes on over pos moves it */
	whole = floor +
		ds_utf8_whole(c->text.data + (floor - c->window.base), (size_t)(pos - floor));
	if (whole < pos) {
		uint32_t cp;
		const uint8_t *p = c->text.data + (whole - c->window.base);

		if (ds_utf8_decode(p, c->text.data + (c->horizon - c->window.base), &cp) > 1)
			pos = whole;
	}
	if (pos > floor && byte_at(c, pos - 1) == '\r' && byte_at(c, pos) == '\n')
		pos--;
	return pos;
}

static enum ds_status fits(struct ds_chunker *c, uint64_t end, struct span *s, bool *fits_ret,
			   struct ds_err *err)
{
	DS_TRY(ds_counter_alone(&c->counter, c->start, end, &s->tokens, err));
	*fits_ret = s->tokens <= c->limit && end - c->start <= c->bytes_max;
	return DS_OK;
}

/* The place after the character at pos. */
static uint64_t next_char(const struct ds_chunker *c, uint64_t pos)
{
	uint32_t cp;
	const uint8_t *p = c->text.data + (pos - c->window.base);
	unsigned n = ds_utf8_decode(p, c->text.data + (c->horizon - c->window.base), &cp);

	if (*p == '\r' && pos + 1 < c->horizon && p[1] == '\n')
		n = 2;
	return pos + n;
}

/* s->reach: the fullest end that fits, or start when nothing does. */
static enum ds_status find_reach(struct ds_chunker *c, struct span *s, struct ds_err *err)
{
	struct ds_reach r = {c->start, c->limit, c->start + c->bytes_max, 0, 0, false};
	uint64_t step = 1, end, more;
	bool ok, to_the_brim;

	if (r.bound > c->horizon)
		r.bound = c->horizon;
	DS_TRY(ds_counter_reach(&c->counter, &r, err));
	end = align(c, r.end, c->start);
	for (;; step *= 2) { /* back while it is too much */
		DS_TRY(fits(c, end, s, &ok, err));
		if (ok || end == c->start)
			break;
		end = align(c, end - c->start > step ? end - step : c->start, c->start);
	}
	/* and on while more fits, where that matters: blanks may be no tokens, so the steps grow */
	to_the_brim = end <= c->covered ||
		      (!r.hard && (c->at_end || c->options.boundary == DS_BOUNDARY_NONE));
	for (step = 1; step && to_the_brim && end < r.bound;) {
		more = align(c, end + step < r.bound ? end + step : r.bound, end);
		if (more == end)
			more = next_char(c, end);
		DS_TRY(fits(c, more, s, &ok, err));
		if (ok && more <= r.bound)
			end = more;
		step = ok && more <= r.bound ? step * 2 : step / 2;
	}
	s->reach = end;
	s->bound = r.over > end ? r.over : end;
	return DS_OK;
}

static enum ds_boundary_kind kind_of(enum ds_rank rank)
{
	static const enum ds_boundary_kind kind[] = {
		[DS_RANK_LINE] = DS_CUT_LINE,		[DS_RANK_SENTENCE] = DS_CUT_SENTENCE,
		[DS_RANK_PARAGRAPH] = DS_CUT_PARAGRAPH, [DS_RANK_GAP] = DS_CUT_PARAGRAPH,
		[DS_RANK_FENCE] = DS_CUT_FENCE,		[DS_RANK_HEADING] = DS_CUT_HEADING,
	};

	return kind[rank];
}

/* The index of the first mark at or after pos. */
static size_t first_mark(const struct ds_chunker *c, uint64_t pos)
{
	size_t low = 0, high = c->scan.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->scan.mark[mid].pos < pos)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * The least tokens (about) between what is covered and the end of a chunk, for the end to be at a
 * better kind of mark than it could: a quarter of what is free.  With less, chunks get small; with
 * more, scripts/chunk-eval finds less than with chunks of the same mean size.
 */
static uint64_t new_tokens_min(const struct ds_chunker *c)
{
	uint64_t repeated = ds_counter_estimate(&c->counter, c->covered) -
			    ds_counter_estimate(&c->counter, c->start);

	return repeated < c->limit ? (c->limit - repeated) / 4 : 0;
}

/* The best mark in (covered, last], where all marks fit; -1 when there is none. */
static ptrdiff_t best_mark(const struct ds_chunker *c, ptrdiff_t last)
{
	const struct ds_mark *mark = c->scan.mark;
	bool paragraphs = c->options.boundary == DS_BOUNDARY_PARAGRAPH;
	uint64_t min = ds_counter_estimate(&c->counter, c->covered) + new_tokens_min(c);
	ptrdiff_t best = -1;

	for (ptrdiff_t i = last; i >= 0 && mark[i].pos > c->covered; i--) {
		bool enough = ds_counter_estimate(&c->counter, mark[i].pos) >= min;

		if (!enough && !paragraphs)
			break;
		if ((best < 0 || mark[i].rank > mark[best].rank) &&
		    (enough || (mark[i].rank >= DS_RANK_PARAGRAPH &&
				(best < 0 || mark[best].rank < DS_RANK_PARAGRAPH))))
			best = i;
	}
	return best;
}

/* The index of the mark after the code fence that mark i opens; scan.n when it is out of sight. */
static size_t fence_close(const struct ds_chunker *c, size_t i)
{
	const struct ds_mark *mark = c->scan.mark;

	while (++i < c->scan.n && mark[i].pos < c->horizon)
		if (mark[i].rank >= DS_RANK_PARAGRAPH)
			return i;
	return c->scan.n;
}

/* About the tokens of the code fence that mark i opens; 0: it opens none. */
static uint64_t fence_tokens(const struct ds_chunker *c, ptrdiff_t i)
{
	const struct ds_mark *mark = c->scan.mark;
	size_t close;

	if (i < 0 || !mark[i].opens_fence)
		return 0;
	close = fence_close(c, (size_t)i);
	return ds_counter_estimate(&c->counter, close < c->scan.n ? mark[close].pos : c->horizon) -
	       ds_counter_estimate(&c->counter, mark[i].pos);
}

/* The mark that opens the code fence in which end lies, when the fence would fit as a whole. */
static ptrdiff_t before_fence(const struct ds_chunker *c, ptrdiff_t last, uint64_t end)
{
	const struct ds_mark *mark = c->scan.mark;
	ptrdiff_t open = last;
	size_t close;

	while (open >= 0 && mark[open].pos > c->covered &&
	       (mark[open].rank < DS_RANK_PARAGRAPH || mark[open].pos >= end))
		open--;
	if (open < 0 || mark[open].pos <= c->covered || !mark[open].opens_fence)
		return -1;
	close = fence_close(c, (size_t)open);
	if (close < c->scan.n && mark[close].pos <= end)
		return -1;
	return fence_tokens(c, open) <= c->limit ? open : -1;
}

/* The first heading after what is covered, or -1. */
static ptrdiff_t first_heading(const struct ds_chunker *c, ptrdiff_t last)
{
	const struct ds_mark *mark = c->scan.mark;

	for (ptrdiff_t i = (ptrdiff_t)first_mark(c, c->covered + 1); i <= last; i++)
		if (mark[i].rank == DS_RANK_HEADING)
			return i;
	return -1;
}

static bool is_blank(uint8_t b)
{
	return b == ' ' || b == '\t' || b == '\n' || b == '\r';
}

/* The last place in (floor, end] where a word begins; 0 when none is near. */
static uint64_t word_before(const struct ds_chunker *c, uint64_t end, uint64_t floor)
{
	uint64_t low = end - floor > WORD_BACK_BYTES ? end - WORD_BACK_BYTES : floor;

	for (uint64_t p = end; p > low; p--)
		if (is_blank(byte_at(c, p - 1)) && (p == c->horizon || !is_blank(byte_at(c, p))))
			return p;
	return 0;
}

/* The last mark in (covered, bound] that fits, by index; -1 when there is none. */
static enum ds_status last_fitting(struct ds_chunker *c, struct span *s, ptrdiff_t *last_ret,
				   struct ds_err *err)
{
	const struct ds_mark *mark = c->scan.mark;
	ptrdiff_t i = (ptrdiff_t)first_mark(c, s->bound + 1) - 1;
	bool ok;

	for (; i >= 0 && mark[i].pos > s->reach; i--) {
		DS_TRY(fits(c, mark[i].pos, s, &ok, err));
		if (ok)
			break;
	}
	*last_ret = i >= 0 && mark[i].pos > c->covered ? i : -1;
	return DS_OK;
}

static enum ds_status choose_semantic(struct ds_chunker *c, ptrdiff_t last, ptrdiff_t *i_ret,
				      struct ds_err *err)
{
	struct ds_semantic_view view = {
		.window = &c->window,
		.scan = &c->scan,
		.counter = &c->counter,
		.start = c->start,
		.covered = c->covered,
		.horizon = c->horizon,
		.tokens_min = new_tokens_min(c),
		.last = (size_t)last,
	};

	return ds_semantic_choose(c->semantic, &view, i_ret, err);
}

/* The mark to end the chunk at, by index, or -1. */
static enum ds_status choose_mark(struct ds_chunker *c, struct span *s, ptrdiff_t *i_ret,
				  struct ds_err *err)
{
	bool rest = c->at_end && s->reach == c->horizon;
	ptrdiff_t last, best = -1;

	*i_ret = -1;
	DS_TRY(last_fitting(c, s, &last, err));
	if (last < 0)
		return DS_OK;
	if (c->options.boundary == DS_BOUNDARY_HEADING)
		best = first_heading(c, last);
	if (best < 0 && !rest && c->semantic)
		DS_TRY(choose_semantic(c, last, &best, err));
	if (best < 0 && !rest) {
		ptrdiff_t fence;

		best = best_mark(c, last);
		fence = before_fence(c, last, best >= 0 ? c->scan.mark[best].pos : s->reach);
		if (fence >= 0)
			best = fence;
	}
	*i_ret = best;
	return DS_OK;
}

static enum ds_status choose_end(struct ds_chunker *c, struct span *s, ptrdiff_t *i_ret,
				 struct ds_err *err)
{
	uint64_t word = 0;
	bool ok;

	DS_TRY(choose_mark(c, s, i_ret, err));
	if (*i_ret >= 0) {
		const struct ds_mark *mark = &c->scan.mark[*i_ret];

		s->end = mark->pos;
		s->kind = c->semantic && mark->rank < DS_RANK_FENCE ? DS_CUT_SEMANTIC
								    : kind_of(mark->rank);
	} else {
		s->end = s->reach;
		s->kind = DS_CUT_LIMIT;
		if (c->options.boundary != DS_BOUNDARY_NONE && s->end < c->horizon)
			word = word_before(c, s->end, c->covered);
		if (word) {
			s->end = word;
			s->kind = DS_CUT_WORD;
		}
	}
	DS_TRY(fits(c, s->end, s, &ok, err));
	if (!ok) { /* fewer bytes with more tokens: rare, and the fullest end is known to fit */
		s->end = s->reach;
		s->kind = DS_CUT_LIMIT;
		*i_ret = -1;
		DS_TRY(fits(c, s->end, s, &ok, err));
	}
	if (c->at_end && s->end == c->horizon)
		s->kind = DS_CUT_END;
	return DS_OK;
}

/* Tokens the next chunk may take from the end of this one, which ends at mark i (or -1). */
static uint64_t overlap_room(const struct ds_chunker *c, ptrdiff_t i)
{
	uint64_t fence;

	if (i < 0)
		return c->options.overlap_tokens;
	if (c->options.boundary == DS_BOUNDARY_HEADING && c->scan.mark[i].rank == DS_RANK_HEADING)
		return 0;
	fence = fence_tokens(c, i);
	if (fence == 0 || fence > c->limit ||
	    fence + c->options.overlap_tokens + FENCE_SLACK_TOKENS <= c->limit)
		return c->options.overlap_tokens;
	return fence + FENCE_SLACK_TOKENS < c->limit ? c->limit - FENCE_SLACK_TOKENS - fence : 0;
}

/* About where room tokens before end begin. */
static uint64_t estimate_back(const struct ds_chunker *c, uint64_t end, uint64_t room)
{
	uint64_t tokens = ds_counter_estimate(&c->counter, end);

	return tokens < room ? c->start : ds_counter_locate(&c->counter, tokens - room);
}

/* The next place after pos where a word (or, without blanks near, a character) begins. */
static uint64_t next_word(const struct ds_chunker *c, uint64_t pos, uint64_t end)
{
	uint64_t p = pos;

	while (p < end && p - pos < WORD_BACK_BYTES / 4 && !is_blank(byte_at(c, p)))
		p++;
	if (p < end && is_blank(byte_at(c, p))) {
		while (p < end && is_blank(byte_at(c, p)))
			p++;
		return p;
	}
	return p < end ? align(c, next_char(c, pos) + 3, pos) : end;
}

/* Whether [start, end) has at most room tokens. */
static enum ds_status overlap_fits(struct ds_chunker *c, uint64_t start, uint64_t end,
				   uint64_t room, bool *fits_ret, struct ds_err *err)
{
	DS_TRY(ds_counter_alone(&c->counter, start, end, &c->overlap_tokens, err));
	*fits_ret = c->overlap_tokens <= room;
	return DS_OK;
}

/* Where the next chunk begins: at a sentence that leaves at least half of the overlap asked for,
 * else at a word, with room tokens at most before end. */
static enum ds_status choose_start(struct ds_chunker *c, uint64_t end, uint64_t room,
				   struct ds_err *err)
{
	const struct ds_mark *mark = c->scan.mark;
	uint64_t low = estimate_back(c, end, room + room / 8 + 2), p;
	bool ok = false;

	c->overlap_tokens = 0;
	if (low <= c->start)
		low = c->start + 1;
	if (end - low > c->bytes_max / 2)
		low = end - c->bytes_max / 2;
	for (size_t i = first_mark(c, low); i < c->scan.n && mark[i].pos < end && room; i++) {
		if (mark[i].rank < DS_RANK_SENTENCE)
			continue;
		DS_TRY(overlap_fits(c, mark[i].pos, end, room, &ok, err));
		if (ok && c->overlap_tokens * 2 >= room) {
			c->start = mark[i].pos;
			return DS_OK;
		}
		if (ok)
			break;
	}
	p = estimate_back(c, end, room);
	p = p > low ? p : low;
	for (uint64_t skip = 0; room && p < end; skip++) {
		p = next_word(c, p, end);
		/* in steps that grow, should the estimate be far off */
		for (uint64_t n = skip / 16; n > 0 && p < end; n--)
			p = next_word(c, p, end);
		DS_TRY(overlap_fits(c, p, end, room, &ok, err));
		if (ok)
			break;
	}
	if (!room || p >= end) {
		p = end;
		c->overlap_tokens = 0;
	}
	c->start = p;
	return DS_OK;
}

static enum ds_status decide(struct ds_chunker *c, struct span *s, struct ds_err *err)
{
	uint64_t one;

	DS_TRY(find_reach(c, s, err));
	if (s->reach > c->covered)
		return DS_OK;
	if (c->start < c->covered) { /* the overlap leaves no room for a character */
		c->start = c->covered;
		c->overlap_tokens = 0;
		DS_TRY(find_reach(c, s, err));
		if (s->reach > c->covered)
			return DS_OK;
	}
	DS_TRY(ds_counter_alone(&c->counter, c->start, next_char(c, c->start), &one, err));
	return ds_fail_at(err, DS_ELIMIT, NULL, c->start,
			  "one character has %llu tokens, over the limit of %u",
			  (unsigned long long)(one + c->affix_tokens), c->options.size_tokens);
}

enum ds_status ds_chunker_next(struct ds_chunker *c, struct ds_chunk_frame *chunk_ret,
			       struct ds_err *err)
{
	struct span s;
	uint64_t overlap_tokens, room;
	ptrdiff_t mark;

	if (c->window.last && c->covered == c->window.base + c->window.n) {
		reset(c);
		return DS_END;
	}
	if (!find_horizon(c))
		return DS_END;
	DS_TRY(decide(c, &s, err));
	overlap_tokens = c->overlap_tokens;
	DS_TRY(choose_end(c, &s, &mark, err));
	*chunk_ret = (struct ds_chunk_frame){
		.index = c->index++,
		.start = c->start,
		.end = s.end,
		.vocabulary = c->vocabulary,
		.tokens = (uint32_t)s.tokens + c->affix_tokens,
		.overlap_tokens = (uint32_t)overlap_tokens,
		.overlap_bytes = c->covered - c->start,
		.boundary = (uint8_t)s.kind,
		.text = c->text.data + (c->start - c->window.base),
	};
	room = s.kind == DS_CUT_END ? 0 : overlap_room(c, mark);
	c->covered = s.end;
	return choose_start(c, s.end, room, err);
}
