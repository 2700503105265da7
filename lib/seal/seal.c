/* seal.c - a lock, the key it keeps, and bytes sealed by it */
#include "seal/seal.h"

#include <sodium.h>
#include <string.h>

#include "base/cursor.h"

#define VERSION 1
#define ARGON2ID 1
#define PASSES 3
#define MEMORY_KIB ((uint32_t)64 << 10)
/* What a lock may ask for: a file from elsewhere must not take all memory. */
#define PASSES_MAX 64
#define MEMORY_KIB_MIN 8
#define MEMORY_KIB_MAX ((uint32_t)1 << 20)

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

/* The lock: version, kind, 2 zeros, passes, memory, 4 zeros, salt; nonce and key as sealed bytes.
 */
enum { AT_PASSES = 4, AT_MEMORY = 8, AT_ZERO = 12, AT_SALT = 16, AT_KEY = 32 };

_Static_assert(crypto_pwhash_SALTBYTES == AT_KEY - AT_SALT, "a salt has its place");
_Static_assert(NONCE_BYTES + TAG_BYTES == DS_SEAL_EXTRA_BYTES, "nonce and tag are what is added");
_Static_assert(AT_KEY + KEY_BYTES + DS_SEAL_EXTRA_BYTES == DS_SEAL_LOCK_BYTES, "the lock is full");

struct ds_seal {
	uint8_t key[KEY_BYTES];
	uint8_t lock[DS_SEAL_LOCK_BYTES];
};

static void put(const uint8_t *key, const uint8_t *about, size_t n_about, const uint8_t *bytes,
		size_t n, uint8_t *sealed)
{
	randombytes_buf(sealed, NONCE_BYTES);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, bytes, n, about,
						   n_about, NULL, sealed, key);
}

static int get(const uint8_t *key, const uint8_t *about, size_t n_about, const uint8_t *sealed,
	       size_t n, uint8_t *bytes)
{
	return crypto_aead_xchacha20poly1305_ietf_decrypt(bytes, NULL, NULL, sealed + NONCE_BYTES,
							  n + TAG_BYTES, about, n_about, sealed,
							  key);
}

static enum ds_status allocate(struct ds_seal **s_ret, struct ds_err *err)
{
	if (sodium_init() < 0)
		return ds_fail(err, DS_EUNSUPPORTED, "libsodium does not start");
	*s_ret = sodium_malloc(sizeof **s_ret);
	return *s_ret ? DS_OK : ds_fail_nomem(err, sizeof **s_ret);
}

/* The key that a secret makes with a lock's salt and costs. */
static enum ds_status derive(const uint8_t *lock, const struct ds_secret *secret,
			     uint8_t key[KEY_BYTES], struct ds_err *err)
{
	const uint64_t memory = (uint64_t)ds_get_u32(lock + AT_MEMORY) << 10;

	if (crypto_pwhash(key, KEY_BYTES, secret->bytes, secret->n, lock + AT_SALT,
			  ds_get_u32(lock + AT_PASSES), memory, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return ds_fail_nomem(err, memory);
	return DS_OK;
}

static enum ds_status check_lock(const uint8_t *lock, struct ds_err *err)
{
	const uint32_t passes = ds_get_u32(lock + AT_PASSES);
	const uint32_t memory = ds_get_u32(lock + AT_MEMORY);

	if (lock[0] != VERSION || lock[1] != ARGON2ID)
		return ds_fail(err, DS_EUNSUPPORTED,
			       "a lock of version %u, kind %u, which this version does not know",
			       lock[0], lock[1]);
	if (lock[2] || lock[3] || ds_get_u32(lock + AT_ZERO))
		return ds_fail(err, DS_EFORMAT, "a lock whose zeros are none");
	if (passes < 1 || passes > PASSES_MAX || memory < MEMORY_KIB_MIN || memory > MEMORY_KIB_MAX)
		return ds_fail(err, DS_ELIMIT,
			       "a lock that takes %u passes over %u KiB; up to %u over %u are "
			       "allowed",
			       passes, memory, PASSES_MAX, MEMORY_KIB_MAX);
	return DS_OK;
}

enum ds_status ds_seal_new(struct ds_seal **s_ret, const struct ds_secret *secret,
			   struct ds_err *err)
{
	uint8_t key[KEY_BYTES];
	struct ds_seal *s;
	enum ds_status st;

	DS_TRY(allocate(&s, err));
	memset(s->lock, 0, sizeof s->lock);
	s->lock[0] = VERSION;
	s->lock[1] = ARGON2ID;
	ds_put_u32(s->lock + AT_PASSES, secret->passes ? secret->passes : PASSES);
	ds_put_u32(s->lock + AT_MEMORY, secret->memory_kib ? secret->memory_kib : MEMORY_KIB);
	randombytes_buf(s->lock + AT_SALT, AT_KEY - AT_SALT);
	randombytes_buf(s->key, sizeof s->key);
	st = derive(s->lock, secret, key, err);
	if (st == DS_OK)
		put(key, s->lock, AT_KEY, s->key, KEY_BYTES, s->lock + AT_KEY);
	sodium_memzero(key, sizeof key);
	if (st != DS_OK)
		ds_seal_free(s);
	else
		*s_ret = s;
	return st;
}

enum ds_status ds_seal_open(struct ds_seal **s_ret, const struct ds_secret *secret,
			    const uint8_t *lock, struct ds_err *err)
{
	uint8_t key[KEY_BYTES];
	struct ds_seal *s;
	enum ds_status st;

	DS_TRY(check_lock(lock, err));
	DS_TRY(allocate(&s, err));
	memcpy(s->lock, lock, sizeof s->lock);
	st = derive(lock, secret, key, err);
	if (st == DS_OK && get(key, lock, AT_KEY, lock + AT_KEY, KEY_BYTES, s->key) != 0)
		st = ds_fail(err, DS_EINVAL, "the key is another one, or its lock was changed");
	sodium_memzero(key, sizeof key);
	if (st != DS_OK)
		ds_seal_free(s);
	else
		*s_ret = s;
	return st;
}

const uint8_t *ds_seal_lock(const struct ds_seal *s)
{
	return s->lock;
}

void ds_seal_put(const struct ds_seal *s, const uint8_t place[DS_SEAL_PLACE_BYTES],
		 const uint8_t *bytes, size_t n, uint8_t *sealed_ret)
{
	put(s->key, place, DS_SEAL_PLACE_BYTES, bytes, n, sealed_ret);
}

enum ds_status ds_seal_get(const struct ds_seal *s, const uint8_t place[DS_SEAL_PLACE_BYTES],
			   const uint8_t *sealed, size_t n, uint8_t *bytes_ret)
{
	if (get(s->key, place, DS_SEAL_PLACE_BYTES, sealed, n, bytes_ret) != 0)
		return DS_ECORRUPT;
	return DS_OK;
}

void ds_seal_free(struct ds_seal *s)
{
	sodium_free(s);
}
