/* pool.c - a persistent pool of threads for parallel loops */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

#define THREADS_MAX 256

struct worker {
	struct ds_pool *pool;
	pthread_t id;
	unsigned index;
};

struct ds_pool {
	unsigned threads, started;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	unsigned long round; /* counts calls of ds_pool_run(); guarded by lock */
	unsigned busy;	     /* workers not yet back from this round; guarded by lock */
	int quit;
	size_t n;
	void (*item)(void *arg, size_t index, unsigned thread);
	void *arg;
	atomic_size_t next;
	struct worker worker[];
};

static void work(struct ds_pool *pool, unsigned thread)
{
	size_t i;

	while ((i = atomic_fetch_add(&pool->next, 1)) < pool->n)
		pool->item(pool->arg, i, thread);
}

static void *worker_main(void *arg)
{
	struct worker *self = arg;
	struct ds_pool *pool = self->pool;
	unsigned long seen = 0;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (pool->round == seen && !pool->quit)
			pthread_cond_wait(&pool->wake, &pool->lock);
		if (pool->quit)
			break;
		seen = pool->round;
		pthread_mutex_unlock(&pool->lock);
		work(pool, self->index);
		pthread_mutex_lock(&pool->lock);
		if (--pool->busy == 0)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static unsigned cpus_allowed(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

enum ds_status ds_pool_new(struct ds_pool **pool_ret, unsigned threads, struct ds_err *err)
{
	struct ds_pool *pool;

	if (threads == 0)
		threads = cpus_allowed();
	if (threads > THREADS_MAX)
		return ds_fail(err, DS_EINVAL, "at most %d threads", THREADS_MAX);
	pool = ds_alloc_zero(1, sizeof *pool + threads * sizeof pool->worker[0]);
	if (!pool)
		return ds_fail_nomem(err, sizeof *pool);
	pool->threads = threads;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->done, NULL);
	for (unsigned i = 1; i < threads; i++) {
		pool->worker[i] = (struct worker){.pool = pool, .index = i};
		if (pthread_create(&pool->worker[i].id, NULL, worker_main, &pool->worker[i])) {
			ds_pool_free(pool);
			return ds_fail(err, DS_EIO, "cannot start thread %u of %u", i, threads);
		}
		pool->started++;
	}
	*pool_ret = pool;
	return DS_OK;
}

unsigned ds_pool_threads(const struct ds_pool *pool)
{
	return pool ? pool->threads : 1;
}

void ds_pool_run(struct ds_pool *pool, size_t n,
		 void (*item)(void *arg, size_t index, unsigned thread), void *arg)
{
	if (!pool || pool->threads == 1 || n <= 1) {
		for (size_t i = 0; i < n; i++)
			item(arg, i, 0);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	pool->n = n;
	pool->item = item;
	pool->arg = arg;
	atomic_store(&pool->next, 0);
	pool->busy = pool->started;
	pool->round++;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	work(pool, 0);
	pthread_mutex_lock(&pool->lock);
	while (pool->busy)
		pthread_cond_wait(&pool->done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

void ds_pool_free(struct ds_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = 1;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 1; i <= pool->started; i++)
		pthread_join(pool->worker[i].id, NULL);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
