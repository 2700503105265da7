/* test_seal.c - what is sealed comes back to who knows the secret, as it was, or not at all */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "seal/seal.h"

static const struct ds_secret cheap = {"a secret", 8, 0, 1, 8};
static const struct ds_secret other = {"a secreT", 8, 0, 1, 8};

START_TEST(test_there_and_back)
{
	uint8_t place[DS_SEAL_PLACE_BYTES] = {1, 2, 3}, sealed[300], back[300];
	const uint8_t text[] = "what nobody else is to read";
	struct ds_seal *s, *t;
	struct ds_err err;

	ck_assert_int_eq(ds_seal_new(&s, &cheap, &err), DS_OK);
	ck_assert_int_eq(ds_seal_open(&t, &cheap, ds_seal_lock(s), &err), DS_OK);
	for (size_t n = 0; n <= sizeof text; n++) {
		ds_seal_put(s, place, text, n, sealed);
		ck_assert_int_eq(ds_seal_get(t, place, sealed, n, back), DS_OK);
		ck_assert_mem_eq(back, text, n);
		for (size_t bit = 0; bit < 8 * (n + DS_SEAL_EXTRA_BYTES); bit++) {
			sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
			ck_assert_int_eq(ds_seal_get(t, place, sealed, n, back), DS_ECORRUPT);
			sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t bit = 0; bit < 8 * sizeof place; bit++) {
			place[bit / 8] ^= (uint8_t)(1 << bit % 8);
			ck_assert_int_eq(ds_seal_get(t, place, sealed, n, back), DS_ECORRUPT);
			place[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	/* the text is not in it, and no two seals of it are alike */
	ds_seal_put(s, place, text, sizeof text, sealed);
	ds_seal_put(s, place, text, sizeof text, back);
	ck_assert_ptr_null(memmem(sealed, sizeof text + DS_SEAL_EXTRA_BYTES, "nobody", 6));
	ck_assert_int_ne(memcmp(sealed, back, sizeof text), 0);
	ds_seal_free(s);
	ds_seal_free(t);
}
END_TEST

START_TEST(test_other_secrets_and_locks)
{
	uint8_t lock[DS_SEAL_LOCK_BYTES];
	struct ds_seal *s, *t;
	struct ds_err err;

	ck_assert_int_eq(ds_seal_new(&s, &cheap, &err), DS_OK);
	ck_assert_int_eq(ds_seal_open(&t, &other, ds_seal_lock(s), &err), DS_EINVAL);
	ck_assert(err.message[0]);
	memcpy(lock, ds_seal_lock(s), sizeof lock);
	for (size_t i = 0; i < sizeof lock; i++) {
		lock[i] ^= 1;
		ck_assert_int_ne(ds_seal_open(&t, &cheap, lock, &err), DS_OK);
		lock[i] ^= 1;
	}
	lock[11] = 1; /* 16 GiB */
	ck_assert_int_eq(ds_seal_open(&t, &cheap, lock, &err), DS_ELIMIT);
	lock[11] = 0;
	lock[5] = 1; /* 257 passes */
	ck_assert_int_eq(ds_seal_open(&t, &cheap, lock, &err), DS_ELIMIT);
	lock[5] = 0;
	lock[0] = 2;
	ck_assert_int_eq(ds_seal_open(&t, &cheap, lock, &err), DS_EUNSUPPORTED);
	ds_seal_free(s);
}
END_TEST

/* Made by libsodium's functions in another program: what is written once is read for ever. */
START_TEST(test_known_lock)
{
	static const uint8_t lock[DS_SEAL_LOCK_BYTES] = {
		1,   1,	  0,   0,   1,	 0,   0,   0,	8,   0,	  0,   0,   0,	 0,   0,
		0,   0,	  1,   2,   3,	 4,   5,   6,	7,   8,	  9,   10,  11,	 12,  13,
		14,  15,  50,  51,  52,	 53,  54,  55,	56,  57,  58,  59,  60,	 61,  62,
		63,  64,  65,  66,  67,	 68,  69,  70,	71,  72,  73,  157, 106, 156, 9,
		42,  189, 4,   72,  93,	 131, 65,  48,	131, 129, 19,  98,  105, 194, 105,
		195, 181, 212, 121, 241, 30,  38,  169, 90,  182, 254, 38,  87,	 213, 123,
		77,  10,  115, 85,  17,	 109, 169, 134, 151, 207, 115, 135, 229, 78,
	};
	static const uint8_t sealed[] = {
		200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214,
		215, 216, 217, 218, 219, 220, 221, 222, 223, 218, 165, 21,  125, 193, 79,
		30,  16,  187, 215, 225, 199, 124, 87,	165, 202, 152, 14,  113, 142, 173,
	};
	const uint8_t place[DS_SEAL_PLACE_BYTES] = {1, 1, 0, 0, 5, 0, 0, 0,  9,
						    0, 0, 0, 0, 0, 0, 0, 152};
	uint8_t back[8] = {0};
	struct ds_seal *s;
	struct ds_err err;

	ck_assert_int_eq(ds_seal_open(&s, &cheap, lock, &err), DS_OK);
	ck_assert_int_eq(ds_seal_get(s, place, sealed, 5, back), DS_OK);
	ck_assert_mem_eq(back, "known", 5);
	ds_seal_free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("seal");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_there_and_back);
	tcase_add_test(tc, test_other_secrets_and_locks);
	tcase_add_test(tc, test_known_lock);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
