/*
 * recall.h - which pages some queries look back to
 *
 * For queries of one KV head, all after the pages that are looked at: each gives its softmax mass
 * over these pages, 1 in all, and a page gets the sum of what it is given.
 */
#ifndef DS_ATTN_RECALL_H
#define DS_ATTN_RECALL_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "kv/kv.h"

struct ds_recall_call {
	const struct ds_kv *kv;
	uint32_t layer, head;
	const float *q; /* [n][dim_k] */
	size_t n;
	float scale;	/* of the scores */
	uint32_t first; /* pages first .. end - 1; they are full, and rounded if kv rounds */
	uint32_t end;
};

/* Scratch memory of one thread. */
struct ds_recall;
struct ds_recall *ds_recall_new(struct ds_arena *mem, const struct ds_kern *kern,
				const struct ds_kv_shape *shape);
/* Adds to mass [end - first]. */
void ds_recall_run(struct ds_recall *recall, const struct ds_recall_call *call, double *mass);

#endif
