/* predict.c - what a session expects, a few rows of logits at a time */
#include "task/predict.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Logits of so many tokens or bytes at once: enough for a matrix product to be worth it. */
#define ROWS_MAX 64
#define ROWS_MIN 16
#define ROWS_BYTES ((size_t)16 << 20)

enum ds_status ds_predict_init(struct ds_predict *p, struct ds_pool *pool, size_t vocab,
			       struct ds_err *err)
{
	size_t rows = ROWS_BYTES / sizeof(float) / vocab;

	*p = (struct ds_predict){.pool = pool, .vocab = vocab};
	p->rows = rows < ROWS_MIN ? ROWS_MIN : rows > ROWS_MAX ? ROWS_MAX : rows;
	DS_TRY(ds_kern_choose(&p->kern, err));
	p->logits = ds_alloc(p->rows * vocab, sizeof *p->logits);
	return p->logits ? DS_OK : ds_fail_nomem(err, p->rows * vocab * sizeof *p->logits);
}

void ds_predict_fini(struct ds_predict *p)
{
	free(p->logits);
	*p = (struct ds_predict){0};
}

static void predict_row(void *arg, size_t row, unsigned thread)
{
	struct ds_predict *p = arg;
	const float *x = p->logits + row * p->vocab;

	(void)thread;
	if (p->logprob)
		p->logprob[row] =
			(float)((double)x[p->target[row]] - p->kern->logsumexp(x, p->vocab));
	if (p->best)
		p->best[row] = (uint32_t)p->kern->argmax(x, p->vocab);
}

enum ds_status ds_predict(struct ds_predict *p, struct ds_session *session,
			  const struct ds_predict_call *call, struct ds_err *err)
{
	for (size_t i = 0, n; i < call->n; i += n) {
		n = call->n - i < p->rows ? call->n - i : p->rows;
		DS_TRY(ds_session_logits(session, call->first + i, n, p->logits, err));
		p->target = call->target ? call->target + i : NULL;
		p->logprob = call->target && call->logprob ? call->logprob + i : NULL;
		p->best = call->best ? call->best + i : NULL;
		ds_pool_run(p->pool, n, predict_row, p);
		for (size_t k = 0; p->logprob && k < n; k++)
			if (!isfinite(p->logprob[k]))
				return ds_fail(err, DS_EFORMAT, "a logit is not finite");
	}
	return DS_OK;
}
