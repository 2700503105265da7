/* cost.c - what is unpacked to read a part of a document */
#include "archive/reader.h"

#define SPAN_BYTES 4096 /* stands for a passage where there are none */

/* The blocks that are unpacked for a span, each once. */
struct walk {
	const struct ds_archive *a;
	uint32_t *turn; /* [blocks, then dictionaries] number of the last span that needed it */
	uint32_t now;	/* of this span */
	uint64_t bytes;
};

static void visit_dictionary(struct walk *w, uint32_t dictionary)
{
	uint32_t *turn = &w->turn[w->a->n_blocks + dictionary - 1];

	if (*turn == w->now)
		return;
	*turn = w->now;
	w->bytes += w->a->dictionary[dictionary - 1].raw;
}

static void visit_block(struct walk *w, uint64_t block)
{
	const struct ds_archive *a = w->a;
	const struct ds_block *b = &a->block[block];

	if (w->turn[block] == w->now)
		return;
	w->turn[block] = w->now;
	if (b->dictionary && !b->references)
		visit_dictionary(w, b->dictionary);
	if (!ds_block_is_dictionary(a, b))
		w->bytes += b->raw;
	/* no deeper than DS_REFERENCE_DEPTH_MAX */
	for (uint32_t i = 0; i < b->references; i++)
		visit_block(w, a->piece[a->reference[b->first_reference + i]].block);
}

static uint64_t cost_of_span(struct walk *w, const struct ds_member_entry *m, uint64_t start,
			     uint64_t end)
{
	const struct ds_use *u, *last;

	w->now++;
	w->bytes = 0;
	if (start >= end)
		return 0;
	last = ds_use_find(w->a, m, end - 1);
	for (u = ds_use_find(w->a, m, start); u <= last; u++)
		visit_block(w, w->a->piece[u->piece].block);
	return w->bytes;
}

/* Spans that begin with the last byte of a use reach furthest. */
static uint64_t cost_of_spans(struct walk *w, const struct ds_member_entry *m)
{
	const struct ds_use *u = w->a->use + m->first_use;
	uint64_t most = 0;

	for (uint64_t i = 0; i < m->uses; i++) {
		uint64_t start = u[i].start + w->a->piece[u[i].piece].length - 1;
		uint64_t left = m->m.document.size - start;
		uint64_t end = start + (left < SPAN_BYTES ? left : SPAN_BYTES);
		uint64_t bytes = cost_of_span(w, m, start, end);

		most = bytes > most ? bytes : most;
	}
	return most;
}

static enum ds_status cost_of_passages(struct walk *w, struct ds_archive *a, uint64_t member,
				       uint64_t *most_ret, struct ds_err *err)
{
	const struct ds_member_entry *m = &a->member[member];
	uint64_t end = m->m.first_chunk + m->m.chunks;

	*most_ret = 0;
	for (uint64_t i = m->m.first_chunk; i < end; i++) {
		struct ds_archive_passage p;
		uint64_t bytes;

		DS_TRY(ds_archive_passage(a, i, &p, err));
		bytes = cost_of_span(w, m, p.start, p.end);
		*most_ret = bytes > *most_ret ? bytes : *most_ret;
	}
	return DS_OK;
}

enum ds_status ds_archive_unpacked(struct ds_archive *a, uint64_t member, uint64_t *bytes_ret,
				   struct ds_err *err)
{
	struct walk w = {.a = a, .now = a->turn};
	struct ds_archive_member m;
	enum ds_status st = DS_OK;

	DS_TRY(ds_archive_member(a, member, &m, err));
	if (!a->turns)
		a->turns = ds_alloc_zero(a->n_blocks + a->n_dictionaries, sizeof *a->turns);
	if (!a->turns)
		return ds_fail_nomem(err, a->n_blocks * sizeof *a->turns);
	w.turn = a->turns;
	if (m.chunks)
		st = cost_of_passages(&w, a, member, bytes_ret, err);
	else
		*bytes_ret = cost_of_spans(&w, &a->member[member]);
	a->turn = w.now;
	return st;
}
