/*
 * mix.h - the mixing coder: bytes coded bit by bit with probabilities mixed from many contexts
 *
 * A model learns from every byte that it codes.  Before short blocks are coded it is primed with
 * text of the same kind, once: blocks are coded from there on, each as if it were the first, by
 * undoing what the block before it changed.  The code is told in ds-archive(5).
 *
 *	DS_TRY(ds_mix_new(&mix, bits, err));
 *	DS_TRY(ds_mix_prime(mix, dictionary, n, err));	the model learns these bytes
 *	DS_TRY(ds_mix_freeze(mix, err));		what blocks come back to
 *	DS_TRY(ds_mix_encode(mix, block, n, &code, err));
 *
 * All of it is computed in integers: a model of the same size primed with the same bytes writes the
 * same code on every machine.
 */
#ifndef DS_MIX_MIX_H
#define DS_MIX_MIX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* A model has 2^bits bytes of tables for contexts, and some megabytes beside them. */
#define DS_MIX_BITS_MIN 16
#define DS_MIX_BITS_MAX 28
/* Bytes a model can be primed with, and bytes of a block */
#define DS_MIX_PRIME_MAX ((size_t)1 << 28)
#define DS_MIX_BLOCK_MAX ((size_t)1 << 24)

struct ds_mix;

enum ds_status ds_mix_new(struct ds_mix **mix_ret, unsigned bits, struct ds_err *err);
/* Bytes of memory of a model as it is now. */
size_t ds_mix_memory(const struct ds_mix *mix);
/*
 * Learn bytes without coding them.  Of a frozen model only the next block gains by it: these are
 * its references.
 */
enum ds_status ds_mix_prime(struct ds_mix *mix, const void *bytes, size_t n, struct ds_err *err);
/* The same, of bytes that are coded meanwhile: their code is appended to code. */
enum ds_status ds_mix_prime_encode(struct ds_mix *mix, const void *bytes, size_t n,
				   struct ds_buf *code, struct ds_err *err);
/* The same at the other end.  After a failure the model is of no use but to be freed. */
enum ds_status ds_mix_prime_decode(struct ds_mix *mix, const void *code, size_t n_code, void *bytes,
				   size_t n, struct ds_err *err);
/* Blocks begin here: each is coded with what was learnt before, and references of its own.  A model
 * that is not frozen when a block begins is frozen then. */
enum ds_status ds_mix_freeze(struct ds_mix *mix, struct ds_err *err);
/* Another one like a frozen model without references pending: for another thread. */
enum ds_status ds_mix_copy(struct ds_mix **copy_ret, const struct ds_mix *mix, struct ds_err *err);
/* The code of n bytes is appended to code. */
enum ds_status ds_mix_encode(struct ds_mix *mix, const void *bytes, size_t n, struct ds_buf *code,
			     struct ds_err *err);
/*
 * Exactly n bytes from n_code bytes of code.  Foreign code gives any bytes, or DS_ETRUNCATED or
 * DS_EFORMAT where it has another length than these.
 */
enum ds_status ds_mix_decode(struct ds_mix *mix, const void *code, size_t n_code, void *bytes,
			     size_t n, struct ds_err *err);
void ds_mix_free(struct ds_mix *mix);

#endif
