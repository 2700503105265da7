/* seen.c - which pieces the archive holds already */
#include "archive/seen.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/mem.h"

void ds_seen_init(struct ds_seen *s)
{
	*s = (struct ds_seen){0};
	if (sodium_init() >= 0) /* which fails nowhere: there would be no key */
		randombytes_buf(s->key, sizeof s->key);
}

void ds_seen_fini(struct ds_seen *s)
{
	free(s->slot);
	s->slot = NULL;
}

void ds_seen_hash(const struct ds_seen *s, const void *bytes, size_t n, uint64_t hash_ret[2])
{
	crypto_generichash((unsigned char *)hash_ret, 16, bytes, n, s->key, sizeof s->key);
}

/* The slot of this hash, or a free one where it belongs. */
static struct ds_seen_piece *find_slot(struct ds_seen_piece *slot, size_t size,
				       const uint64_t hash[2])
{
	size_t i = hash[0] & (size - 1);

	while (slot[i].number && (slot[i].hash[0] != hash[0] || slot[i].hash[1] != hash[1]))
		i = (i + 1) & (size - 1);
	return &slot[i];
}

/* Make room: a larger table, or the same without the older half. */
static enum ds_status make_room(struct ds_seen *s, uint64_t newest, struct ds_err *err)
{
	size_t size = !s->size ? 1024 : s->n >= DS_SEEN_MAX ? s->size : 2 * s->size;
	uint64_t from = s->n >= DS_SEEN_MAX ? newest - DS_SEEN_MAX / 2 : 0;
	struct ds_seen_piece *slot = ds_alloc_zero(size, sizeof *slot);

	if (!slot)
		return ds_fail_nomem(err, size * sizeof *slot);
	s->n = 0;
	for (size_t i = 0; i < s->size; i++) {
		if (s->slot[i].number <= from)
			continue;
		*find_slot(slot, size, s->slot[i].hash) = s->slot[i];
		s->n++;
	}
	free(s->slot);
	s->slot = slot;
	s->size = size;
	return DS_OK;
}

enum ds_status ds_seen_find(struct ds_seen *s, const uint64_t hash[2], uint64_t number,
			    uint64_t *number_ret, struct ds_err *err)
{
	struct ds_seen_piece *p;

	if (2 * s->n >= s->size)
		DS_TRY(make_room(s, number + 1, err));
	p = find_slot(s->slot, s->size, hash);
	if (!p->number) {
		*p = (struct ds_seen_piece){{hash[0], hash[1]}, number + 1};
		s->n++;
	}
	*number_ret = p->number - 1;
	return DS_OK;
}
