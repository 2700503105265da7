/* lm_lora_run.c - products of a session with the adapters on top */
#include <stdlib.h>

#include "model/lm_lora.h"
#include "quant/quant.h"

size_t ds_lora_rank_max(const struct ds_lora *lora, size_t n)
{
	size_t max = 0;

	for (size_t i = 0; i < n; i++)
		if (lora[i].rank_max > max)
			max = lora[i].rank_max;
	return max;
}

uint64_t ds_lora_scratch_bytes(const struct ds_lora *lora, size_t n, size_t n_max)
{
	size_t rank = ds_lora_rank_max(lora, n);

	return n == 0 ? 0 : ds_act_bytes(n_max, rank) + n_max * rank * sizeof(float);
}

enum ds_status ds_lora_scratch_init(struct ds_lora_scratch *s, const struct ds_lora *lora, size_t n,
				    size_t n_max, struct ds_err *err)
{
	size_t rank = ds_lora_rank_max(lora, n), values;

	*s = (struct ds_lora_scratch){.lora = lora, .n = n};
	if (n == 0)
		return DS_OK;
	DS_TRY(ds_mul(n_max, rank, &values, err));
	DS_TRY(ds_act_new(&s->act, n_max, rank, err));
	s->low = ds_alloc(values, sizeof *s->low);
	if (s->low)
		return DS_OK;
	ds_lora_scratch_fini(s);
	return ds_fail_nomem(err, values * sizeof *s->low);
}

void ds_lora_scratch_fini(struct ds_lora_scratch *s)
{
	ds_act_free(s->act);
	free(s->low);
	*s = (struct ds_lora_scratch){0};
}

/* y += B (scale low), low [n][rank] */
static void add_high(const struct ds_lora_linear *l, const struct ds_product *product, float scale,
		     size_t n)
{
	struct ds_act *act = l->lora->act;
	const float *low = l->lora->low;
	size_t rank = product->w->k;

	ds_act_begin(act, n, rank);
	for (size_t i = 0; i < n; i++) {
		float *row = ds_act_row(act, i);

		for (size_t j = 0; j < rank; j++)
			row[j] = low[i * rank + j] * scale;
		if (rank % 32 == 0) /* else B is of floats, which take rows as they are */
			ds_act_round(l->kern, act, i);
	}
	ds_linear_run(l->lin, product, 1, act);
}

/* One adapter's part of one product. */
static void add_pair(const struct ds_lora_linear *l, const struct ds_lora_pair *pair,
		     const struct ds_product *product, const struct ds_act *act, size_t n)
{
	const struct ds_product down = {.w = &pair->a, .y = l->lora->low, .ld = pair->a.n};
	const struct ds_product up = {
		.w = &pair->b, .y = product->y, .ld = product->ld, .add = true};

	ds_linear_run(l->lin, &down, 1, act);
	add_high(l, &up, pair->scale, n);
}

void ds_lora_run(const struct ds_lora_linear *l, const struct ds_product *product, size_t n_product,
		 const struct ds_act *act, size_t n)
{
	const struct ds_lora_scratch *s = l->lora;

	ds_linear_run(l->lin, product, n_product, act);
	for (size_t i = 0; i < s->n; i++) {
		for (size_t j = 0; j < n_product; j++) {
			const struct ds_lora_pair *pair =
				ds_lora_find(&s->lora[i], product[j].w->data, false);

			if (pair)
				add_pair(l, pair, &product[j], act, n);
		}
	}
}

void ds_lora_embed(const struct ds_lora_linear *l, const struct ds_lora_rows *rows)
{
	const struct ds_lora_scratch *s = l->lora;

	for (size_t i = 0; i < s->n; i++) {
		const struct ds_lora_pair *pair = ds_lora_find(&s->lora[i], rows->base, true);
		struct ds_product up;

		if (!pair)
			continue;
		up = (struct ds_product){.w = &pair->b, .y = rows->x, .ld = rows->k, .add = true};
		for (size_t j = 0; j < rows->n; j++)
			ds_quant_decoder(pair->a.type)(pair->a.data +
							       rows->id[j] * pair->a.row_bytes,
						       s->low + j * pair->a.k, pair->a.k);
		add_high(l, &up, pair->scale * rows->scale, rows->n);
	}
}
