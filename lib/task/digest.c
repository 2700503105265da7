/* digest.c - summaries of chunks, gathered level by level */
#include "task/digest.h"

#include <stdlib.h>
#include <string.h>

#include "chunk/chunk.h"

/* Every level holds some times the text of the one below. */
#define LEVELS 40
/* Tokens that a text may have more inside a prompt than alone. */
#define MARGIN 16
#define PIECE_BYTES ((size_t)64 << 10)

struct level {
	struct ds_buf text; /* summaries with an empty line between */
	size_t tokens;
};

struct ds_digest {
	struct ds_reader *reader;
	struct ds_digest_options o;
	struct ds_generator *gen;
	struct ds_chunker *chunker;
	struct ds_buf chunk; /* the first one; or the digest */
	struct ds_buf summary;
	struct level level[LEVELS];
	struct ds_digest_totals totals;
	bool begun; /* bytes have come */
};

enum ds_status ds_digest_room(struct ds_reader *r, const struct ds_part *system,
			      const struct ds_part *prompt, size_t answer, size_t *room_ret,
			      struct ds_err *err)
{
	struct ds_turn turn = {.system = system, .text = {{".", 1}, *prompt}, .n_text = 2};
	size_t used;

	DS_TRY(ds_reader_turn(r, &turn, err));
	used = r->prompt.n + answer + MARGIN;
	*room_ret = r->context > used ? r->context - used : 0;
	return DS_OK;
}

static enum ds_status set_up(struct ds_digest *d, struct ds_err *err)
{
	struct ds_generate_options g = d->o.generation;

	if (d->o.room < DS_DIGEST_ROOM_MIN)
		return ds_fail(
			err, DS_ELIMIT,
			"a context of %zu tokens leaves %zu for a text, at least %d expected",
			d->reader->context, d->o.room, DS_DIGEST_ROOM_MIN);
	if (d->o.room > DS_CHUNK_TOKENS_MAX)
		d->o.room = DS_CHUNK_TOKENS_MAX;
	if (g.n_max > d->o.room / 4)
		g.n_max = d->o.room / 4;
	DS_TRY(ds_generator_new(&d->gen, d->reader, &g, err));
	return ds_digest_reset(d, err);
}

enum ds_status ds_digest_new(struct ds_digest **digest_ret, struct ds_reader *reader,
			     const struct ds_digest_options *options, struct ds_err *err)
{
	struct ds_digest *d = ds_alloc_zero(1, sizeof *d);
	enum ds_status st;

	if (!d)
		return ds_fail_nomem(err, sizeof *d);
	d->reader = reader;
	d->o = *options;
	st = set_up(d, err);
	if (st != DS_OK) {
		ds_digest_free(d);
		return st;
	}
	*digest_ret = d;
	return DS_OK;
}

void ds_digest_free(struct ds_digest *d)
{
	if (!d)
		return;
	ds_generator_free(d->gen);
	ds_chunker_free(d->chunker);
	ds_buf_fini(&d->chunk);
	ds_buf_fini(&d->summary);
	for (size_t i = 0; i < LEVELS; i++)
		ds_buf_fini(&d->level[i].text);
	free(d);
}

static enum ds_status collect(void *user, const uint8_t *bytes, size_t n, struct ds_err *err)
{
	return ds_buf_append(user, bytes, n, err);
}

/* A summary of the text into d->summary. */
static enum ds_status summarise(struct ds_digest *d, const struct ds_buf *text, struct ds_err *err)
{
	static const struct ds_part prompt = {DS_DIGEST_PROMPT, sizeof DS_DIGEST_PROMPT - 1};
	struct ds_turn turn = {
		.system = d->o.system, .text = {{text->data, text->len}, prompt}, .n_text = 2};
	struct ds_generated made;

	d->summary.len = 0;
	d->totals.summaries++;
	DS_TRY(ds_reader_turn(d->reader, &turn, err));
	return ds_generate(d->gen, collect, &d->summary, &made, err);
}

static enum ds_status add_summary(struct ds_digest *d, size_t k, struct ds_err *err);

/* The text of a level becomes a summary of the next. */
static enum ds_status fold(struct ds_digest *d, size_t k, struct ds_err *err)
{
	if (k + 1 == LEVELS)
		return ds_fail(err, DS_ELIMIT, "summaries of summaries do not get shorter");
	DS_TRY(summarise(d, &d->level[k].text, err));
	d->level[k].text.len = d->level[k].tokens = 0;
	return add_summary(d, k + 1, err);
}

/* Put d->summary at the end of a level, which is folded first when it would become too long. */
static enum ds_status add_summary(struct ds_digest *d, size_t k, struct ds_err *err)
{
	struct level *level = &d->level[k];
	struct ds_buf kept = {0};
	enum ds_status st;
	size_t n;

	while (d->summary.len && strchr(" \t\r\n", d->summary.data[d->summary.len - 1]))
		d->summary.len--;
	if (d->summary.len == 0)
		return DS_OK;
	DS_TRY(ds_encode_count(d->reader->enc, d->summary.data, d->summary.len, 0, &n, err));
	n += 2; /* the empty line */
	if (level->tokens && level->tokens + n > d->o.room) {
		kept = d->summary; /* folding makes another */
		d->summary = (struct ds_buf){0};
		st = fold(d, k, err);
		ds_buf_fini(&d->summary);
		d->summary = kept;
		if (st != DS_OK)
			return st;
	}
	if (level->text.len)
		DS_TRY(ds_buf_append(&level->text, "\n\n", 2, err));
	DS_TRY(ds_buf_append(&level->text, d->summary.data, d->summary.len, err));
	level->tokens += n;
	return DS_OK;
}

static enum ds_status take_chunk(struct ds_digest *d, const struct ds_chunk_frame *c,
				 struct ds_err *err)
{
	if (d->totals.chunks++ == 1) { /* there is a second one */
		DS_TRY(summarise(d, &d->chunk, err));
		DS_TRY(add_summary(d, 0, err));
	}
	d->chunk.len = 0;
	DS_TRY(ds_buf_append(&d->chunk, c->text, c->end - c->start, err));
	if (d->totals.chunks == 1)
		return DS_OK;
	DS_TRY(summarise(d, &d->chunk, err));
	return add_summary(d, 0, err);
}

static enum ds_status advance(struct ds_digest *d, const void *bytes, size_t n, int last,
			      struct ds_err *err)
{
	struct ds_chunk_frame chunk;
	enum ds_status st;

	DS_TRY(ds_chunker_push(d->chunker, bytes, n, last, err));
	while ((st = ds_chunker_next(d->chunker, &chunk, err)) == DS_OK)
		DS_TRY(take_chunk(d, &chunk, err));
	return st == DS_END ? DS_OK : st;
}

enum ds_status ds_digest_push(struct ds_digest *d, const void *bytes, size_t n, struct ds_err *err)
{
	const uint8_t *p = bytes;

	for (size_t piece; n > 0; p += piece, n -= piece) {
		piece = n < PIECE_BYTES ? n : PIECE_BYTES;
		d->begun = true;
		DS_TRY(advance(d, p, piece, 0, err));
	}
	return DS_OK;
}

bool ds_digest_is_long(const struct ds_digest *d)
{
	return d->totals.chunks > 1;
}

/* What is left on all levels, the oldest first, folded until it fits. */
static enum ds_status gather(struct ds_digest *d, struct ds_err *err)
{
	for (;;) {
		size_t tokens = 0, lowest = LEVELS;

		for (size_t k = LEVELS; k-- > 0;) {
			tokens += d->level[k].tokens;
			lowest = d->level[k].tokens ? k : lowest;
		}
		if (tokens <= d->o.room)
			break;
		DS_TRY(fold(d, lowest, err));
	}
	d->chunk.len = 0;
	for (size_t k = LEVELS; k-- > 0;) {
		const struct ds_buf *text = &d->level[k].text;

		if (text->len && d->chunk.len)
			DS_TRY(ds_buf_append(&d->chunk, "\n\n", 2, err));
		DS_TRY(ds_buf_append(&d->chunk, text->data, text->len, err));
	}
	return d->chunk.len ? DS_OK : ds_fail(err, DS_EFORMAT, "the model gave no summary");
}

enum ds_status ds_digest_end(struct ds_digest *d, struct ds_part *text_ret,
			     struct ds_digest_totals *totals_ret, struct ds_err *err)
{
	DS_TRY(advance(d, "", 0, 1, err));
	d->begun = false;
	if (ds_digest_is_long(d))
		DS_TRY(gather(d, err));
	*text_ret = (struct ds_part){d->chunk.data, d->chunk.len};
	*totals_ret = d->totals;
	return DS_OK;
}

enum ds_status ds_digest_reset(struct ds_digest *d, struct ds_err *err)
{
	struct ds_chunk_options o = {.size_tokens = (uint32_t)d->o.room,
				     .boundary = DS_BOUNDARY_SENTENCE};

	for (size_t i = 0; i < LEVELS; i++)
		d->level[i].text.len = d->level[i].tokens = 0;
	d->chunk.len = 0;
	d->totals = (struct ds_digest_totals){0};
	if (d->chunker && !d->begun)
		return DS_OK;
	ds_chunker_free(d->chunker);
	d->chunker = NULL;
	d->begun = false;
	return ds_chunker_new(&d->chunker, d->reader->tok, &o, err);
}
