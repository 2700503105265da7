/* answer.c - the bytes of an answer as they are made */
#include "task/answer.h"

#include <string.h>

#include "base/utf8.h"

/* The first place of a stop string in the pending bytes that ends after old of them, or SIZE_MAX.
 */
static size_t find_stop(const struct ds_answer *a, size_t old)
{
	size_t first = SIZE_MAX;

	for (size_t i = 0; i < a->n_stop; i++) {
		size_t len = a->stop[i].len, from = old >= len ? old - len + 1 : 0;
		const uint8_t *p = memmem(a->pending.data + from, a->pending.len - from,
					  a->stop[i].bytes, len);

		if (p && (size_t)(p - a->pending.data) < first)
			first = (size_t)(p - a->pending.data);
	}
	return first;
}

/* How many of the last pending bytes may begin a stop string. */
static size_t held_back(const struct ds_answer *a)
{
	size_t most = 0;

	for (size_t i = 0; i < a->n_stop; i++) {
		size_t k = a->stop[i].len - 1;

		if (k > a->pending.len)
			k = a->pending.len;
		for (; k > most; k--)
			if (memcmp(a->pending.data + a->pending.len - k, a->stop[i].bytes, k) == 0)
				most = k;
	}
	return most;
}

static enum ds_status release(struct ds_answer *a, size_t n, struct ds_err *err)
{
	if (n)
		DS_TRY(a->take(a->user, a->pending.data, n, err));
	ds_buf_consume(&a->pending, n);
	return DS_OK;
}

enum ds_status ds_answer_push(struct ds_answer *a, const void *bytes, size_t n, struct ds_err *err)
{
	size_t old = a->pending.len, stop;

	if (a->stopped || n == 0)
		return DS_OK;
	DS_TRY(ds_buf_append(&a->pending, bytes, n, err));
	stop = find_stop(a, old);
	if (stop != SIZE_MAX) {
		a->stopped = true;
		return release(a, stop, err);
	}
	return release(a, ds_utf8_whole(a->pending.data, a->pending.len - held_back(a)), err);
}

enum ds_status ds_answer_end(struct ds_answer *a, struct ds_err *err)
{
	enum ds_status st = DS_OK;

	if (!a->stopped && a->pending.len)
		st = release(a, ds_utf8_whole(a->pending.data, a->pending.len), err);
	a->pending.len = 0;
	a->stopped = false;
	return st;
}

void ds_answer_fini(struct ds_answer *a)
{
	ds_buf_fini(&a->pending);
}
