/*
 * mem.h - checked allocation, arenas, growable byte buffers
 *
 * Sizes are always a count times an element size, multiplied with an overflow check.  Memory from
 * ds_alloc() and ds_resize() is released with free().
 */
#ifndef DS_BASE_MEM_H
#define DS_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* n * size bytes, uninitialised; NULL when that overflows or memory is out.  n or size 0 gives a
 * unique pointer as well. */
void *ds_alloc(size_t n, size_t size);
void *ds_alloc_zero(size_t n, size_t size);
/* As realloc(); on failure the old memory stays valid. */
void *ds_resize(void *old, size_t n, size_t size);

/* The same for tables of megabytes that are read at random: in big pages where the system has them,
 * which saves most of the faults and address look-ups.  Released with free(). */
void *ds_alloc_large(size_t n, size_t size);
/* Give what was freed back to the system, where the C library knows how (glibc): it keeps megabytes
 * otherwise. */
void ds_alloc_trim(void);

/* Tests only: let the (n+1)-th allocation from now on fail, once; SIZE_MAX never fails. */
void ds_alloc_fail_after(size_t n);

/* a * b in *product_ret; DS_ELIMIT when it does not fit. */
enum ds_status ds_mul(size_t a, size_t b, size_t *product_ret, struct ds_err *err);

/* Arena: memory that is released as a whole.  Aligned to 16 bytes. */
struct ds_arena {
	struct ds_arena_block *head;
	size_t used_bytes; /* handed out so far */
};
void ds_arena_init(struct ds_arena *arena);
void *ds_arena_alloc(struct ds_arena *arena, size_t n, size_t size);
void ds_arena_fini(struct ds_arena *arena);

/* Bytes that belong to somebody else. */
struct ds_part {
	const void *bytes;
	size_t len;
};

/* Byte buffer that grows.  A zeroed struct is an empty buffer. */
struct ds_buf {
	uint8_t *data;
	size_t len, cap;
};
enum ds_status ds_buf_reserve(struct ds_buf *buf, size_t more, struct ds_err *err);
enum ds_status ds_buf_append(struct ds_buf *buf, const void *bytes, size_t n, struct ds_err *err);
void ds_buf_consume(struct ds_buf *buf, size_t n); /* drop the first n bytes */
void ds_buf_fini(struct ds_buf *buf);

/* Grow an array so that it holds at least want elements (doubling): *array_io, *cap_io change. */
enum ds_status ds_grow(void *array_io, size_t *cap_io, size_t want, size_t size,
		       struct ds_err *err);

#endif
