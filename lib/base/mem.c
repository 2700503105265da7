/* mem.c - checked allocation, arenas, growable byte buffers */
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_size_t fail_after = SIZE_MAX;

void ds_alloc_fail_after(size_t n)
{
	atomic_store(&fail_after, n);
}

static int may_allocate(void)
{
	size_t left = atomic_load_explicit(&fail_after, memory_order_relaxed);

	if (left == SIZE_MAX)
		return 1;
	atomic_store(&fail_after, left == 0 ? SIZE_MAX : left - 1);
	return left != 0;
}

void *ds_resize(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX || !may_allocate())
		return NULL;
	return realloc(old, bytes ? bytes : 1);
}

void *ds_alloc(size_t n, size_t size)
{
	return ds_resize(NULL, n, size);
}

void *ds_alloc_zero(size_t n, size_t size)
{
	if (!may_allocate())
		return NULL;
	return calloc(n ? n : 1, size ? size : 1);
}

#define BIG_PAGE ((size_t)2 << 20)

void *ds_alloc_large(size_t n, size_t size)
{
	size_t bytes, big;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX - BIG_PAGE)
		return NULL;
	/* a tail of over half a big page is worth one of its own */
	big = (bytes + BIG_PAGE / 2) / BIG_PAGE * BIG_PAGE;
	if (!big)
		return ds_alloc(n, size);
	if (!may_allocate())
		return NULL;
	p = aligned_alloc(BIG_PAGE, (bytes / BIG_PAGE + 1) * BIG_PAGE);
	if (p)
		(void)madvise(p, big, MADV_HUGEPAGE);
	return p;
}

void ds_alloc_trim(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}

enum ds_status ds_mul(size_t a, size_t b, size_t *product_ret, struct ds_err *err)
{
	if (__builtin_mul_overflow(a, b, product_ret))
		return ds_fail(err, DS_ELIMIT, "size overflows: %zu x %zu", a, b);
	return DS_OK;
}

struct ds_arena_block {
	struct ds_arena_block *next;
	size_t used, size;
	_Alignas(16) unsigned char data[];
};

#define ARENA_BLOCK_BYTES ((size_t)64 << 10)

void ds_arena_init(struct ds_arena *arena)
{
	arena->head = NULL;
	arena->used_bytes = 0;
}

void *ds_arena_alloc(struct ds_arena *arena, size_t n, size_t size)
{
	struct ds_arena_block *block = arena->head;
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX / 2)
		return NULL;
	bytes = (bytes + 15) & ~(size_t)15;
	if (!block || block->size - block->used < bytes) {
		size_t want = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;

		block = ds_alloc(1, sizeof *block + want);
		if (!block)
			return NULL;
		block->next = arena->head;
		block->used = 0;
		block->size = want;
		arena->head = block;
	}
	p = block->data + block->used;
	block->used += bytes;
	arena->used_bytes += bytes;
	return p;
}

void ds_arena_fini(struct ds_arena *arena)
{
	while (arena->head) {
		struct ds_arena_block *next = arena->head->next;

		free(arena->head);
		arena->head = next;
	}
	arena->used_bytes = 0;
}

enum ds_status ds_grow(void *array_io, size_t *cap_io, size_t want, size_t size,
		       struct ds_err *err)
{
	size_t cap = *cap_io;
	void *old, *grown;

	if (want <= cap)
		return DS_OK;
	cap = cap < SIZE_MAX / 2 && cap * 2 > want ? cap * 2 : want;
	if (cap < 16)
		cap = 16;
	memcpy(&old, array_io, sizeof old);
	grown = ds_resize(old, cap, size);
	if (!grown)
		return ds_fail_nomem(err, (uint64_t)cap * size);
	memcpy(array_io, &grown, sizeof grown);
	*cap_io = cap;
	return DS_OK;
}

enum ds_status ds_buf_reserve(struct ds_buf *buf, size_t more, struct ds_err *err)
{
	if (more > SIZE_MAX - buf->len)
		return ds_fail_nomem(err, UINT64_MAX);
	return ds_grow(&buf->data, &buf->cap, buf->len + more, 1, err);
}

enum ds_status ds_buf_append(struct ds_buf *buf, const void *bytes, size_t n, struct ds_err *err)
{
	DS_TRY(ds_buf_reserve(buf, n, err));
	if (n)
		memcpy(buf->data + buf->len, bytes, n);
	buf->len += n;
	return DS_OK;
}

void ds_buf_consume(struct ds_buf *buf, size_t n)
{
	assert(n <= buf->len);
	if (n)
		memmove(buf->data, buf->data + n, buf->len - n);
	buf->len -= n;
}

void ds_buf_fini(struct ds_buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
}
