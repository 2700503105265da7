/* embed_ids.c - embeddings of token sequences that are there already */
#include "model/embed_ids.h"

#include <stdlib.h>
#include <string.h>

#include "model/bert.h"

struct run {
	const struct ds_bert *bert;
	uint32_t *id;		 /* of all sequences, CLS and SEP included */
	struct ds_bert_seq *seq; /* [n] */
	size_t *block;		 /* [n_block + 1] first sequence of a block */
	size_t n_block;
	float *out;
};

enum ds_status ds_embed_ids_check(const struct ds_model *model, struct ds_err *err)
{
	if (model->arch == &ds_arch_bert)
		return DS_OK;
	return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
			  "architecture %s is no encoder, bert expected", model->arch->name);
}

/* Sequences with their ends put on, and blocks of them that fit one call of the forward pass. */
static enum ds_status plan(struct run *run, const struct ds_id_lines *lines, struct ds_err *err)
{
	size_t room = ds_bert_block(run->bert), used = room, from = lines->start;
	uint32_t *p = run->id;

	for (size_t i = 0; i < lines->n; i++) {
		size_t n = lines->end[i] - from;

		if (n + 2 > run->bert->config.n_context)
			return ds_fail(err, DS_EINVAL, "a sequence of %zu tokens, at most %llu fit",
				       n, (unsigned long long)run->bert->config.n_context - 2);
		if (used + n + 2 > room) {
			run->block[run->n_block++] = i;
			used = 0;
		}
		used += n + 2;
		run->seq[i] = (struct ds_bert_seq){p, n + 2};
		*p++ = run->bert->cls;
		memcpy(p, lines->id + from, n * sizeof *p);
		p += n;
		*p++ = run->bert->sep;
		from = lines->end[i];
	}
	run->block[run->n_block] = lines->n;
	return DS_OK;
}

static enum ds_status encode_block(struct ds_embedder *emb, struct ds_embed_worker *w, size_t index,
				   void *arg)
{
	const struct run *run = arg;
	size_t first = run->block[index], n = run->block[index + 1] - first;
	size_t dims = run->bert->config.n_embd;

	ds_bert_forward(run->bert, w->scratch, run->seq + first, n, run->out + first * dims);
	for (size_t i = first; i < first + n; i++)
		DS_TRY(ds_embed_normalise(emb->model, run->out + i * dims, &w->err));
	return DS_OK;
}

enum ds_status ds_embed_ids(struct ds_embedder *emb, const struct ds_id_lines *lines, float *out,
			    struct ds_err *err)
{
	struct run run = {.bert = emb->model->net, .out = out};
	size_t n_id = lines->n ? lines->end[lines->n - 1] - lines->start + 2 * lines->n : 0;
	enum ds_status st = DS_ENOMEM;

	DS_TRY(ds_embed_ids_check(emb->model, err));
	run.id = ds_alloc(n_id, sizeof *run.id);
	run.seq = ds_alloc(lines->n, sizeof *run.seq);
	run.block = ds_alloc(lines->n + 1, sizeof *run.block);
	if (run.id && run.seq && run.block)
		st = plan(&run, lines, err);
	else
		ds_fail_nomem(err, n_id * sizeof *run.id);
	if (st == DS_OK)
		st = ds_embed_each(emb, run.n_block, encode_block, &run, err);
	free(run.id);
	free(run.seq);
	free(run.block);
	return st;
}
