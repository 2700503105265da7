/* find_archive.c - archives as segments of a collection, searched as they are stored */
#include "archive/code.h"
#include "find/collection.h"

#include <unistd.h>

static enum ds_status add_segment(struct ds_find *f, uint32_t number, struct ds_err *err)
{
	struct ds_archive *a = f->archive[f->n_archive - 1].archive;
	struct ds_archive_segment info;
	struct ds_archive_vectors v;
	struct find_segment *s;

	DS_TRY(ds_grow(&f->segment, &f->cap_segment, f->n_segment + 1, sizeof *f->segment, err));
	s = &f->segment[f->n_segment++];
	*s = (struct find_segment){.archive = (uint32_t)(f->n_archive - 1)};
	ds_archive_segment(a, number, &info);
	s->first_passage = info.first_passage;
	s->row.n_passages = info.passages;
	DS_TRY(ds_archive_vectors(a, number, &v, err));
	if (v.n)
		s->vectors = (struct ds_vectors){
			.bits = v.bits,
			.dims = v.dims,
			.n = v.n,
			.scale = v.scale,
			.rows = v.rows,
		};
	DS_TRY(ds_archive_words(a, number, &s->index, err));
	if (s->index.len)
		DS_TRY(ds_words_open(&s->words, s->index.data, s->index.len, err));
	if ((s->index.len && s->words.n_passages != info.passages) ||
	    (v.n && v.n != info.passages))
		return ds_fail(err, DS_EFORMAT,
			       "segment %u: %u passages, but %u in its words and %u vectors",
			       number, info.passages, s->words.n_passages, v.n);
	return DS_OK;
}

static enum find_pace pace_of(const struct ds_archive_totals *t)
{
	if (t->coder_bytes[DS_CODER_LM])
		return FIND_VERY_SLOW;
	return t->coder_bytes[DS_CODER_STRONG] || t->coder_bytes[DS_CODER_STRONG_DICTIONARY] ||
			       t->coder_bytes[DS_CODER_STRONG_REFERENCES]
		       ? FIND_SLOW
		       : FIND_FAST;
}

enum ds_status ds_find_add_archive(struct ds_find *f, const char *path, struct ds_in *in,
				   struct ds_err *err)
{
	struct ds_archive_totals totals;
	enum find_pace pace;
	struct find_archive *row;

	DS_TRY(ds_grow(&f->archive, &f->cap_archive, f->n_archive + 1, sizeof *f->archive, err));
	row = &f->archive[f->n_archive];
	row->path = in->name;
	DS_TRY(in->fd == STDIN_FILENO
		       ? ds_archive_open_stream(&row->archive, in, f->options.secret, err)
		       : ds_archive_open(&row->archive, path, f->options.secret, err));
	ds_archive_set_lm(row->archive, f->options.lm, ds_pool_threads(f->options.pool));
	f->n_archive++;
	if (f->options.mode != DS_SEARCH_WORDS && ds_archive_model(row->archive) &&
	    (ds_archive_model(row->archive) != ds_model_id(f->options.model) ||
	     ds_archive_dims(row->archive) != f->dims))
		return ds_fail(err, DS_EINVAL,
			       "its embeddings are of another model: name it with -m, or use -w");
	for (uint32_t i = 0; i < ds_archive_segments(row->archive); i++) {
		struct ds_archive_segment info;

		DS_TRY(add_segment(f, i, err));
		ds_archive_segment(row->archive, i, &info);
		f->stats.passages += info.passages;
	}
	ds_archive_totals(row->archive, &totals);
	pace = pace_of(&totals);
	f->pace = pace > f->pace ? pace : f->pace;
	f->stats.documents += ds_archive_members(row->archive);
	return DS_OK;
}
