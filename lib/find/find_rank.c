/* find_rank.c - candidates from what is stored, then their exact scores from their texts */
#include <stdlib.h>
#include <string.h>

#include "find/collection.h"

/* Candidates by meaning, by pace and bits of a stored dimension: where reading is fast they have 98
 * of 100 or more of the true ten best (scripts/bench-index). */
static const size_t meaning_min[][DS_CODE_BITS_MAX + 1] = {
	[FIND_FAST] = {100, 500, 100, 50, 50},
	[FIND_SLOW] = {100, 100, 50, 30, 30},
	[FIND_VERY_SLOW] = {0, 0, 0, 0, 0},
};
/* The same for a model that takes milliseconds a passage, not microseconds as a static one. */
static const size_t encoder_min[DS_CODE_BITS_MAX + 1] = {100, 200, 60, 40, 40};
/* By words: passages, or groups of passages where an index knows no more. */
#define WORDS_MIN 100
static const size_t groups_min[] = {[FIND_FAST] = 256, [FIND_SLOW] = 48, [FIND_VERY_SLOW] = 1};
#define BATCH 64 /* passages embedded together */

struct search {
	struct ds_find *f;
	struct ds_search_query query;
	struct ds_words_query words;
	struct ds_search_segment *rows; /* [f->n_segment + 1] */
	struct ds_search_want want;
	struct ds_search_hits *hits;
	struct ds_err *err;
};

/* The segments of archives, then the passages in memory. */
static enum ds_status list_segments(struct search *s, struct ds_vectors *vectors,
				    struct ds_words *words)
{
	struct ds_find *f = s->f;
	struct ds_search_segment *memory = &s->rows[f->n_segment];

	for (size_t i = 0; i < f->n_segment; i++) {
		struct find_segment *segment = &f->segment[i];

		s->rows[i] = segment->row;
		s->rows[i].vectors = segment->vectors.n ? &segment->vectors : NULL;
		s->rows[i].words = segment->index.len ? &segment->words : NULL;
	}
	*memory = (struct ds_search_segment){.n_passages = (uint32_t)f->n_passage};
	*vectors = (struct ds_vectors){.dims = f->dims, .n = (uint32_t)f->n_passage,
				       .rows = f->vector};
	if (f->options.mode != DS_SEARCH_WORDS && f->n_passage)
		memory->vectors = vectors;
	if (f->options.mode == DS_SEARCH_MEANING || !f->builder.n_passages)
		return DS_OK;
	memory->words = words;
	return ds_words_see(words, &f->builder, s->err);
}

/* More candidates where less is known of them; few where each takes long to read. */
static void choose_want(struct search *s, size_t k)
{
	const int is_encoder = ds_model_context(s->f->options.model) != UINT32_MAX;
	const enum find_pace pace = s->f->pace;
	size_t meaning = 2 * k, words = 2 * k;

	for (size_t i = 0; i <= s->f->n_segment; i++) {
		const struct ds_search_segment *row = &s->rows[i];
		unsigned bits = row->vectors ? row->vectors->bits : 0;
		size_t least = row->vectors ? meaning_min[pace][bits] : 0;

		if (is_encoder && least > encoder_min[bits])
			least = encoder_min[bits];
		meaning = meaning < least ? least : meaning;
		least = row->words ? row->words->group : 1;
		least = least > 1 ? least * groups_min[pace] : pace == FIND_FAST ? WORDS_MIN : 0;
		words = words < least ? least : words;
	}
	s->want = (struct ds_search_want){meaning, words};
}

/* The text of a hit, appended to buf. */
static enum ds_status read_hit(struct search *s, const struct ds_search_hit *h, struct ds_buf *buf)
{
	uint64_t member, start, end;

	DS_TRY(ds_find_locate(s->f, h, &member, &start, &end, s->err));
	return ds_find_read(s->f, h, start, end, buf, s->err);
}

/* Exact words for hits of indexes; then fewer hits are left. */
static enum ds_status score_words(struct search *s)
{
	struct ds_search_want want = s->want;
	enum ds_status st = DS_OK;
	struct ds_buf text = {0};

	for (size_t i = 0; i < s->hits->n && st == DS_OK; i++) {
		struct ds_search_hit *h = &s->hits->hit[i];
		const struct ds_words *words = s->rows[h->segment].words;

		if (!words || !words->runs)
			continue;
		text.len = 0;
		st = read_hit(s, h, &text);
		if (st == DS_OK)
			st = ds_words_score_text(&s->words, text.data, text.len, &h->words,
						 s->err);
	}
	ds_buf_fini(&text);
	want.words = want.words < WORDS_MIN ? want.words : WORDS_MIN;
	return st == DS_OK ? ds_search_cut(s->query.mode, want, s->hits, s->err) : st;
}

/* Hits whose texts are embedded together. */
struct batch {
	struct ds_search_hit *hit[BATCH];
	size_t start[BATCH + 1]; /* in text */
	size_t n;
	struct ds_buf text;
	float *vector; /* [BATCH][dims] */
};

static enum ds_status score_batch(struct search *s, struct batch *b)
{
	const uint32_t dims = s->f->dims;
	struct ds_part part[BATCH];

	for (size_t i = 0; i < b->n; i++)
		part[i] = (struct ds_part){b->text.data + b->start[i],
					   b->start[i + 1] - b->start[i]};
	DS_TRY(ds_embed(s->f->embedder, part, b->n, b->vector, s->err));
	for (size_t i = 0; i < b->n; i++)
		b->hit[i]->meaning =
			s->f->kern->dot(b->vector + i * dims, s->query.vector, dims);
	b->n = b->text.len = 0;
	return DS_OK;
}

/* Exact cosines for hits whose stored vectors are coarse. */
static enum ds_status score_meaning(struct search *s)
{
	const size_t room = BATCH * (size_t)s->f->dims;
	struct batch b = {.vector = ds_alloc(room, sizeof *b.vector)};
	enum ds_status st = DS_OK;

	if (!b.vector)
		return ds_fail_nomem(s->err, room * sizeof *b.vector);
	for (size_t i = 0; i < s->hits->n && st == DS_OK; i++) {
		struct ds_search_hit *h = &s->hits->hit[i];
		const struct ds_vectors *v = s->rows[h->segment].vectors;

		if (!v || !v->bits)
			continue;
		b.hit[b.n++] = h;
		st = read_hit(s, h, &b.text);
		b.start[b.n] = b.text.len;
		if (st == DS_OK && b.n == BATCH)
			st = score_batch(s, &b);
	}
	if (st == DS_OK && b.n)
		st = score_batch(s, &b);
	ds_buf_fini(&b.text);
	free(b.vector);
	return st;
}

static enum ds_status find_hits(struct search *s, size_t k)
{
	const enum ds_search_mode mode = s->query.mode;
	struct ds_search_collection all = {s->rows, s->f->n_segment + 1};
	struct ds_vectors vectors;
	struct ds_words words;

	DS_TRY(list_segments(s, &vectors, &words));
	choose_want(s, k);
	if (mode != DS_SEARCH_MEANING)
		DS_TRY(ds_search_words(&all, &s->query, &s->words, s->err));
	DS_TRY(ds_search(&all, &s->query, &s->words, s->want, s->hits, s->err));
	if (mode != DS_SEARCH_MEANING)
		DS_TRY(score_words(s));
	if (mode != DS_SEARCH_WORDS)
		DS_TRY(score_meaning(s));
	ds_search_rank(mode, s->hits);
	return DS_OK;
}

enum ds_status ds_find_search(struct ds_find *f, const char *text, const float *vector, size_t k,
			      struct ds_search_hits *found, struct ds_err *err)
{
	struct search s = {.f = f, .hits = found, .err = err};
	enum ds_status st;

	s.query = (struct ds_search_query){.mode = f->options.mode, .kern = f->kern,
					   .vector = vector, .text = text,
					   .text_len = strlen(text)};
	s.rows = ds_alloc_zero(f->n_segment + 1, sizeof *s.rows);
	if (!s.rows)
		return ds_fail_nomem(err, (f->n_segment + 1) * sizeof *s.rows);
	st = find_hits(&s, k);
	ds_words_query_fini(&s.words);
	free(s.rows);
	return st;
}
