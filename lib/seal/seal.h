/*
 * seal.h - bytes that only who knows a secret can read, or make
 *
 * Bytes are encrypted and authenticated by XChaCha20-Poly1305 under a random key; a lock keeps this
 * key under another one that Argon2id makes of the secret.  libsodium does all of it.  What a lock
 * and sealed bytes look like is specified in man/ds-archive.5.
 */
#ifndef DS_SEAL_SEAL_H
#define DS_SEAL_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DS_SEAL_LOCK_BYTES 104
#define DS_SEAL_EXTRA_BYTES 40 /* that sealed bytes are longer */
#define DS_SEAL_PLACE_BYTES 24

/* A passphrase, or the content of a file that is kept secret. */
struct ds_secret {
	const void *bytes;
	size_t n;
	int demanded; /* what is not sealed is refused */
	/* what a new lock costs to try; 0: three passes over 64 MiB, as RFC 9106 has it */
	uint32_t passes, memory_kib;
};

struct ds_seal;
/* A new key under a new lock. */
enum ds_status ds_seal_new(struct ds_seal **s_ret, const struct ds_secret *secret,
			   struct ds_err *err);
/* The key of a lock of DS_SEAL_LOCK_BYTES.  DS_EINVAL: it is of another secret, or was changed. */
enum ds_status ds_seal_open(struct ds_seal **s_ret, const struct ds_secret *secret,
			    const uint8_t *lock, struct ds_err *err);
const uint8_t *ds_seal_lock(const struct ds_seal *s);
/* n bytes sealed into n + DS_SEAL_EXTRA_BYTES; place is what they are and where, which has to be
 * the same when they are opened. */
void ds_seal_put(const struct ds_seal *s, const uint8_t place[DS_SEAL_PLACE_BYTES],
		 const uint8_t *bytes, size_t n, uint8_t *sealed_ret);
/* Back: n of the bytes before.  DS_ECORRUPT when any bit of them, or of place, is another. */
enum ds_status ds_seal_get(const struct ds_seal *s, const uint8_t place[DS_SEAL_PLACE_BYTES],
			   const uint8_t *sealed, size_t n, uint8_t *bytes_ret);
void ds_seal_free(struct ds_seal *s);

#endif
