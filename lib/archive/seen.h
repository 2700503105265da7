/*
 * seen.h - which pieces the archive holds already; private to the archive room
 *
 * Pieces are known by a hash with a key that is drawn anew for every run, so that nobody can make
 * two that are taken for one.  Nothing in the archive depends on the key.
 */
#ifndef DS_ARCHIVE_SEEN_H
#define DS_ARCHIVE_SEEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Pieces remembered at most, 4 GB of text; of more, the older half is forgotten. */
#define DS_SEEN_MAX ((size_t)1 << 20)

struct ds_seen_piece {
	uint64_t hash[2];
	uint64_t number; /* through the archive, from 1; 0: a free slot */
};

struct ds_seen {
	struct ds_seen_piece *slot; /* [size], a power of two */
	size_t n, size;
	uint8_t key[32];
};

void ds_seen_init(struct ds_seen *s);
void ds_seen_hash(const struct ds_seen *s, const void *bytes, size_t n, uint64_t hash_ret[2]);
/* The number under which a piece is known; where it is not known it is now, as number. */
enum ds_status ds_seen_find(struct ds_seen *s, const uint64_t hash[2], uint64_t number,
			    uint64_t *number_ret, struct ds_err *err);
void ds_seen_fini(struct ds_seen *s);

#endif
