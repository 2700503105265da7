/* cost.c - what is unpacked to read a part of a document */
#include "archive/reader.h"

#define SPAN_BYTES 4096 /* stands for a passage where there are none */

static uint64_t dictionary_cost(const struct ds_archive *a, const struct ds_block *b)
{
	return b->dictionary && !b->references ? a->dictionary[b->dictionary - 1].raw : 0;
}

/* Bytes of a block that is not a dictionary, and of what it refers to. */
static uint64_t block_cost(const struct ds_archive *a, const struct ds_block *b)
{
	const uint64_t *reference = a->reference + b->first_reference;
	uint64_t bytes = b->raw;

	for (uint32_t i = 0; i < b->references; i++) {
		const struct ds_block *of = &a->block[a->piece[reference[i]].block];
		uint32_t k = 0;

		while (k < i && a->piece[reference[k]].block != a->piece[reference[i]].block)
			k++;
		if (k < i)
			continue;
		bytes += dictionary_cost(a, of);
		if (!ds_block_is_dictionary(a, of))
			bytes += block_cost(a, of);
	}
	return bytes;
}

/* Bytes of the blocks that uses first to last lie in, and of what these need. */
static uint64_t cost_of_uses(const struct ds_archive *a, const struct ds_use *first,
			     const struct ds_use *last)
{
	uint64_t bytes = 0;

	for (const struct ds_use *u = first; u <= last; u++) {
		const uint64_t block = a->piece[u->piece].block;
		const struct ds_block *b = &a->block[block];
		int known = 0, has_dictionary = !dictionary_cost(a, b);

		for (const struct ds_use *v = first; v < u && !known; v++) {
			const uint64_t other = a->piece[v->piece].block;

			known = other == block;
			has_dictionary |= dictionary_cost(a, &a->block[other]) &&
					  a->block[other].dictionary == b->dictionary;
		}
		if (known)
			continue;
		if (!ds_block_is_dictionary(a, b))
			bytes += block_cost(a, b);
		if (!has_dictionary)
			bytes += dictionary_cost(a, b);
	}
	return bytes;
}

static uint64_t cost_of_span(const struct ds_archive *a, const struct ds_member_entry *m,
			     uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	return cost_of_uses(a, ds_use_find(a, m, start), ds_use_find(a, m, end - 1));
}

/* Spans that begin with the last byte of a use reach furthest. */
static uint64_t cost_of_spans(const struct ds_archive *a, const struct ds_member_entry *m)
{
	const struct ds_use *u = a->use + m->first_use;
	uint64_t most = 0;

	for (uint64_t i = 0; i < m->uses; i++) {
		uint64_t start = u[i].start + a->piece[u[i].piece].length - 1;
		uint64_t left = m->m.document.size - start;
		uint64_t bytes =
			cost_of_span(a, m, start, start + (left < SPAN_BYTES ? left : SPAN_BYTES));

		most = bytes > most ? bytes : most;
	}
	return most;
}

enum ds_status ds_archive_unpacked(struct ds_archive *a, uint64_t member, uint64_t *bytes_ret,
				   struct ds_err *err)
{
	struct ds_archive_member m;
	uint64_t most = 0;

	DS_TRY(ds_archive_member(a, member, &m, err));
	if (!m.chunks)
		most = cost_of_spans(a, &a->member[member]);
	for (uint64_t i = m.first_chunk; i < m.first_chunk + m.chunks; i++) {
		struct ds_archive_passage p;
		uint64_t bytes;

		DS_TRY(ds_archive_passage(a, i, &p, err));
		bytes = cost_of_span(a, &a->member[member], p.start, p.end);
		most = bytes > most ? bytes : most;
	}
	*bytes_ret = most;
	return DS_OK;
}
