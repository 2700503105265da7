/*
 * pool.c - a persistent pool of threads for parallel loops
 *
 * The caller opens a round, works, closes it, and waits only for the workers who joined: one that
 * is late (parked, or without a CPU) is not waited for.  Waiting begins with spinning for as long
 * as that paid off lately, then parks.  Every thread begins with a range of its own, so that what
 * lies together is read by one thread, and then helps with the others' ranges.
 */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

#define THREADS_MAX 256
#define CACHE_LINE 64

/* A region of a token is 20-100 microseconds, what lies between two of them less. */
#define SPIN_NS_MAX 50000u
#define SPIN_NS_MIN 1000u
/* Waking up from a park takes a while of its own. */
#define PARKED_NS_SHORT (3 * (uint64_t)SPIN_NS_MAX)

/* Bits of ds_pool.state: workers in the round, whether it takes more, quit, and its number. */
#define STATE_JOINED 0x1ffu
#define STATE_OPEN 0x200u
#define STATE_QUIT 0x400u
#define STATE_ROUND 0x800u

struct range {
	atomic_size_t next;
	size_t end; /* written between rounds */
	char pad[CACHE_LINE - 2 * sizeof(size_t)];
};

struct worker {
	struct ds_pool *pool;
	pthread_t id;
	unsigned index;
	unsigned spin_ns;
};

struct ds_pool {
	unsigned threads, started;
	unsigned spin_ns_max; /* 0 when there are more threads than CPUs */
	unsigned spin_ns;     /* the caller's */
	void (*item)(void *arg, size_t index, unsigned thread);
	void *arg;
	struct range *range; /* [threads] */

	char pad[CACHE_LINE];
	atomic_uint state;
	atomic_uint parked;	   /* workers */
	atomic_uint caller_parked; /* 0 or 1 */
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	struct worker worker[];
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A round the worker has not seen (joined workers come and go), or quit. */
static bool has_news(struct ds_pool *pool, unsigned seen)
{
	return ((atomic_load(&pool->state) ^ seen) & ~(STATE_JOINED | STATE_OPEN)) != 0;
}

static bool has_left(struct ds_pool *pool, unsigned unused)
{
	(void)unused;
	return (atomic_load(&pool->state) & STATE_JOINED) == 0;
}

static void park_worker(struct ds_pool *pool, unsigned seen)
{
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->parked, 1);
	while (!has_news(pool, seen))
		pthread_cond_wait(&pool->wake, &pool->lock);
	atomic_fetch_sub(&pool->parked, 1);
	pthread_mutex_unlock(&pool->lock);
}

static void park_caller(struct ds_pool *pool, unsigned unused)
{
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->caller_parked, 1);
	while (!has_left(pool, unused))
		pthread_cond_wait(&pool->done, &pool->lock);
	atomic_store(&pool->caller_parked, 0);
	pthread_mutex_unlock(&pool->lock);
}

static void wait_until(struct ds_pool *pool, bool (*ready)(struct ds_pool *, unsigned),
		       void (*park)(struct ds_pool *, unsigned), unsigned seen, unsigned *spin_ns)
{
	uint64_t start, waited;

	if (ready(pool, seen))
		return;
	start = now_ns();
	do {
		for (int i = 0; i < 8; i++) {
			pause_cpu();
			if (ready(pool, seen))
				return;
		}
		waited = now_ns() - start;
	} while (waited < *spin_ns);
	park(pool, seen);
	/* spin longer where that would have been enough, and less where it was in vain */
	waited = now_ns() - start;
	*spin_ns = waited < PARKED_NS_SHORT ? *spin_ns * 2 : *spin_ns / 2;
	if (*spin_ns < SPIN_NS_MIN)
		*spin_ns = SPIN_NS_MIN;
	if (*spin_ns > pool->spin_ns_max)
		*spin_ns = pool->spin_ns_max;
}

static void work(struct ds_pool *pool, unsigned thread)
{
	for (unsigned i = 0; i < pool->threads; i++) {
		struct range *r = &pool->range[(thread + i) % pool->threads];
		size_t index;

		while (atomic_load_explicit(&r->next, memory_order_relaxed) < r->end &&
		       (index = atomic_fetch_add(&r->next, 1)) < r->end)
			pool->item(pool->arg, index, thread);
	}
}

/* Whether the worker is in; seen becomes the round it tried. */
static bool join(struct ds_pool *pool, unsigned *seen)
{
	unsigned state = atomic_load(&pool->state);

	while (state & STATE_OPEN)
		if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
			*seen = state;
			return true;
		}
	*seen = state;
	return false;
}

static void leave(struct ds_pool *pool)
{
	unsigned before = atomic_fetch_sub(&pool->state, 1);

	if ((before & STATE_JOINED) > 1 || (before & STATE_OPEN) ||
	    !atomic_load(&pool->caller_parked))
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_signal(&pool->done);
	pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg)
{
	struct worker *self = arg;
	struct ds_pool *pool = self->pool;
	unsigned seen = 0;

	while (!(seen & STATE_QUIT)) {
		wait_until(pool, has_news, park_worker, seen, &self->spin_ns);
		if (join(pool, &seen)) {
			work(pool, self->index);
			leave(pool);
		}
	}
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

static void wake_workers(struct ds_pool *pool)
{
	if (!atomic_load(&pool->parked))
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

static enum ds_status start_workers(struct ds_pool *pool, struct ds_err *err)
{
	for (unsigned i = 1; i < pool->threads; i++) {
		struct worker *w = &pool->worker[i];

		*w = (struct worker){.pool = pool, .index = i, .spin_ns = pool->spin_ns_max};
		if (pthread_create(&w->id, NULL, worker_main, w))
			return ds_fail(err, DS_EIO, "cannot start thread %u of %u", i,
				       pool->threads);
		pool->started++;
	}
	return DS_OK;
}

enum ds_status ds_pool_new(struct ds_pool **pool_ret, unsigned threads, struct ds_err *err)
{
	unsigned cpus = cpus_allowed();
	struct ds_pool *pool;
	enum ds_status st;

	if (threads == 0)
		threads = cpus;
	if (threads > THREADS_MAX)
		return ds_fail(err, DS_EINVAL, "at most %d threads", THREADS_MAX);
	pool = ds_alloc_zero(1, sizeof *pool + threads * sizeof pool->worker[0]);
	if (!pool)
		return ds_fail_nomem(err, sizeof *pool);
	pool->threads = threads;
	pool->spin_ns = pool->spin_ns_max = threads <= cpus ? SPIN_NS_MAX : 0;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->range = ds_alloc_zero(threads, sizeof pool->range[0]);
	st = pool->range ? start_workers(pool, err)
			 : ds_fail_nomem(err, threads * sizeof pool->range[0]);
	if (st != DS_OK) {
		ds_pool_free(pool);
		return st;
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
	unsigned state;
	size_t end = 0;

	if (!pool || pool->threads == 1 || n <= 1) {
		for (size_t i = 0; i < n; i++)
			item(arg, i, 0);
		return;
	}
	pool->item = item;
	pool->arg = arg;
	for (unsigned i = 0; i < pool->threads; i++) {
		atomic_store_explicit(&pool->range[i].next, end, memory_order_relaxed);
		end += n / pool->threads + (i < n % pool->threads);
		pool->range[i].end = end;
	}
	state = atomic_load(&pool->state) + STATE_ROUND;
	atomic_store(&pool->state, state | STATE_OPEN);
	wake_workers(pool);
	work(pool, 0);
	atomic_fetch_and(&pool->state, ~STATE_OPEN);
	wait_until(pool, has_left, park_caller, 0, &pool->spin_ns);
}

void ds_pool_free(struct ds_pool *pool)
{
	if (!pool)
		return;
	atomic_fetch_or(&pool->state, STATE_QUIT);
	wake_workers(pool);
	for (unsigned i = 1; i <= pool->started; i++)
		pthread_join(pool->worker[i].id, NULL);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool->range);
	free(pool);
}
