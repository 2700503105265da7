/*
 * lm_carry.c - sessions beyond their context: what is kept, and where it moves
 *
 * Pages are chosen by the softmax mass that 8 queries of each of the last pages give to the pages
 * before those: what the last queries look back to, the next ones do (Li et al., "SnapKV",
 * arXiv:2404.14469).
 */
#include "model/lm_carry.h"

#include <string.h>

#include "attn/recall.h"

#define SAMPLE_PAGES 4
#define PAGE_SAMPLES 8
#define SAMPLE_STEP (DS_KV_PAGE / PAGE_SAMPLES)

struct ds_lm_carry_desk {
	struct ds_recall *recall;
	double *mass;	/* [pages] */
	uint32_t *page; /* [pages] kept */
};

static uint32_t kept_pages(const struct ds_lm_carry *c)
{
	return 1 + c->chosen + c->window;
}

static enum ds_status set_pages(struct ds_lm_carry *c, const struct ds_carry *o, struct ds_err *err)
{
	uint32_t chosen = o->chosen;

	c->window = o->window / DS_KV_PAGE + (o->window % DS_KV_PAGE != 0);
	if (!o->window)
		c->window = c->pages / 2;
	c->chosen = chosen / DS_KV_PAGE + (chosen % DS_KV_PAGE != 0);
	if (chosen == DS_CARRY_DEFAULT)
		c->chosen = c->pages ? (c->pages - 1) / 4 : 0;
	if (c->window >= c->pages || c->chosen >= c->pages || kept_pages(c) >= c->pages)
		return ds_fail(err, DS_EINVAL,
			       "a context of %u tokens has no room for new ones beside %u kept "
			       "ones, %u chosen and the first %d",
			       (unsigned)c->pages * DS_KV_PAGE, (unsigned)c->window * DS_KV_PAGE,
			       (unsigned)c->chosen * DS_KV_PAGE, DS_KV_PAGE);
	return DS_OK;
}

enum ds_status ds_lm_carry_context(struct ds_session *s, const struct ds_carry *o,
				   struct ds_err *err)
{
	struct ds_lm_carry *c = ds_arena_alloc(&s->mem, 1, sizeof *c);

	if (s->lm->config.mla.kv_lora)
		return ds_fail_at(err, DS_EUNSUPPORTED, s->model->path, DS_NO_OFFSET,
				  "latent attention cannot carry its state beyond the context");
	if (!c)
		return ds_fail_nomem(err, sizeof *c);
	*c = (struct ds_lm_carry){.pages = (uint32_t)(s->context / DS_KV_PAGE)};
	DS_TRY(set_pages(c, o, err));
	c->n_sample = c->window < SAMPLE_PAGES ? c->window : SAMPLE_PAGES;
	c->first_sample = c->pages - c->n_sample;
	c->n_sample *= PAGE_SAMPLES;
	s->context = (size_t)c->pages * DS_KV_PAGE;
	s->carry = c;
	return DS_OK;
}

static size_t query_floats(const struct ds_session *s)
{
	return s->carry->n_sample * s->lm->config.n_head * s->lm->config.dim_k;
}

static bool new_desk(struct ds_session *s, struct ds_lm_carry_desk *d)
{
	d->recall = ds_recall_new(&s->mem, s->kern, ds_kv_shape(s->kv));
	d->mass = ds_arena_alloc(&s->mem, s->carry->pages, sizeof *d->mass);
	d->page = ds_arena_alloc(&s->mem, s->carry->pages, sizeof *d->page);
	return d->recall && d->mass && d->page;
}

enum ds_status ds_lm_carry_init(struct ds_session *s, struct ds_err *err)
{
	struct ds_lm_carry *c = s->carry;
	unsigned threads = ds_pool_threads(s->pool);
	size_t n = query_floats(s) * s->lm->config.n_layer;

	c->query = ds_kern_floats(&s->mem, n);
	c->desk = ds_arena_alloc(&s->mem, threads, sizeof *c->desk);
	if (!c->query || !c->desk)
		return ds_fail_nomem(err, n * sizeof *c->query);
	for (unsigned i = 0; i < threads; i++)
		if (!new_desk(s, &c->desk[i]))
			return ds_fail_nomem(err, s->mem.used_bytes);
	return DS_OK;
}

bool ds_lm_carry_wants(const struct ds_session *s, const struct ds_lm_pass *pass)
{
	return s->carry && pass->pos + pass->n > s->carry->first_sample * DS_KV_PAGE;
}

void ds_lm_carry_note(struct ds_session *s, const struct ds_lm_layer *layer, size_t pos,
		      const float *q)
{
	const struct ds_lm_config *config = &s->lm->config;
	const struct ds_lm_carry *c = s->carry;
	size_t first = c ? c->first_sample * DS_KV_PAGE : 0;
	size_t n = config->n_head / config->n_head_kv * config->dim_k;
	float *to;

	if (!c || pos < first || pos % SAMPLE_STEP != SAMPLE_STEP - 1)
		return;
	to = c->query + layer->index * query_floats(s) + (pos - first) / SAMPLE_STEP * n;
	for (size_t h = 0; h < config->n_head_kv; h++, q += n, to += c->n_sample * n)
		memcpy(to, q, n * sizeof *q);
}

/* The first page, those of the greatest mass, the first of equals, and the last ones. */
static void choose(const struct ds_lm_carry *c, double *mass, uint32_t *page)
{
	uint32_t end = c->pages - c->window, n = 0;

	for (uint32_t i = 0; i < c->chosen; i++) {
		uint32_t best = 1;

		for (uint32_t p = 2; p < end; p++)
			if (mass[p] > mass[best])
				best = p;
		mass[best] = -1;
	}
	page[n++] = 0;
	for (uint32_t p = 1; p < end; p++)
		if (mass[p] < 0)
			page[n++] = p;
	while (end < c->pages)
		page[n++] = end++;
}

/* One layer and KV head. */
static void roll_share(void *arg, size_t index, unsigned thread)
{
	struct ds_session *s = arg;
	const struct ds_lm_config *config = &s->lm->config;
	const struct ds_lm_carry *c = s->carry;
	const struct ds_lm_carry_desk *d = &c->desk[thread];
	size_t group = config->n_head / config->n_head_kv;
	const struct ds_lm_layer *layer = &s->lm->layer[index / config->n_head_kv];
	uint32_t head = (uint32_t)(index % config->n_head_kv), kv_layer = ds_lm_kv_layer(s, layer);
	const struct ds_recall_call call = {.kv = s->kv,
					    .layer = kv_layer,
					    .head = head,
					    .q = c->query + layer->index * query_floats(s) +
						 head * c->n_sample * group * config->dim_k,
					    .n = c->n_sample * group,
					    .scale = config->attn_scale,
					    .end = (uint32_t)c->first_sample};

	if (kv_layer == DS_LM_SKIPPED)
		return;
	memset(d->mass, 0, c->pages * sizeof *d->mass);
	if (c->chosen)
		ds_recall_run(d->recall, &call, d->mass);
	choose(c, d->mass, d->page);
	ds_kv_move(s->kv, s->kern,
		   &(struct ds_kv_move){.layer = kv_layer,
					.head = head,
					.page = d->page,
					.n = kept_pages(c),
					.rope = &s->lm->rope[layer->rope]});
}

void ds_lm_carry_roll(struct ds_session *s)
{
	struct ds_lm_carry *c = s->carry;

	ds_pool_run(s->pool, s->lm->config.n_layer * s->lm->config.n_head_kv, roll_share, s);
	ds_kv_moved(s->kv, kept_pages(c));
	ds_lm_attn_truncate(s, DS_KV_PAGE);
	c->begin = (size_t)kept_pages(c) * DS_KV_PAGE;
	c->forgotten += s->context - c->begin;
	c->rolls++;
	s->n = s->n_kept = c->begin;
}
