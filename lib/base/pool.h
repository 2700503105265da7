/*
 * pool.h - a persistent pool of threads for parallel loops
 *
 * Work is a number of independent items; which thread does which item is not determined, so an
 * item must not depend on the others (and results then never depend on the thread count).
 */
#ifndef DS_BASE_POOL_H
#define DS_BASE_POOL_H

#include <stddef.h>

#include "base/err.h"

struct ds_pool;

/* threads >= 1 counts the caller, who works too; 0 is one per CPU this process may run on. */
enum ds_status ds_pool_new(struct ds_pool **pool_ret, unsigned threads, struct ds_err *err);
unsigned ds_pool_threads(const struct ds_pool *pool);
/* Run item(arg, index, thread) for index 0..n-1; thread < ds_pool_threads().  Returns when all are
 * done.  pool may be NULL: the caller does everything as thread 0.  Not reentrant. */
void ds_pool_run(struct ds_pool *pool, size_t n,
		 void (*item)(void *arg, size_t index, unsigned thread), void *arg);
void ds_pool_free(struct ds_pool *pool);

#endif
