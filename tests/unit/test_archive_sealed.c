/*
 * test_archive_sealed.c - encrypted archives: nothing of them shows, and what was changed in them
 * is refused, even where all checksums are made right again
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "archive/reader.h"

#define PATH "test_archive_sealed.dsz"
#define OTHER "test_archive_sealed.other.dsz"

static const struct ds_secret secret = {"open it", 7, 1, 1, 8};
static const struct ds_secret wrong = {"open its", 8, 1, 1, 8};

static const struct ds_archive_options sealed = {
	.level = 3,
	.block_bytes = 16384,
	.segment_bytes = 100000,
	.words = 1,
	.model = 7,
	.dims = 24,
	.secret = &secret,
	.sealed = 1,
};

static uint8_t text[150000];

static void make_text(void)
{
	static const char *const word[] = {"confidential", "report", "harbour", "on", "the", "of"};
	uint64_t state = 3;

	for (size_t at = 0; at < sizeof text;) {
		const char *w = word[(state >> 33) % 6];
		size_t n = strlen(w);

		n = n < sizeof text - at ? n : sizeof text - at;
		memcpy(text + at, w, n);
		at += n;
		if (at < sizeof text)
			text[at++] = (uint8_t)((state >> 40) % 9 ? ' ' : 'a' + (state >> 50) % 26);
		state = state * 6364136223846793005u + 1442695040888963407u;
	}
}

static enum ds_status add_document(struct ds_archive_writer *w, const char *name,
				   const uint8_t *bytes, size_t n, struct ds_err *err)
{
	const struct ds_document d = {.name = name, .name_len = strlen(name), .mode = 0600};
	float v[24] = {1};

	DS_TRY(ds_archive_document(w, &d, err));
	for (size_t at = 0; at < n; at += 2000) {
		struct ds_chunk_frame c = {.start = at, .end = at + 2000, .text = bytes + at};

		c.end = c.end < n ? c.end : n;
		DS_TRY(ds_archive_chunk(w, &c, v, err));
	}
	return ds_archive_document_end(w, NULL, err);
}

static enum ds_status make(const char *path, const struct ds_archive_options *o, struct ds_err *err)
{
	struct ds_archive_writer *w;
	enum ds_status st;

	DS_TRY(ds_archive_create(&w, path, o, err));
	st = add_document(w, "names/secret.txt", text, sizeof text, err);
	if (st == DS_OK)
		st = add_document(w, "second", text + 5000, 30000, err);
	if (st == DS_OK)
		return ds_archive_commit(w, NULL, err);
	ds_archive_abort(w);
	return st;
}

/* All of it is there, and as it was. */
static void ck_all(const char *path, const struct ds_secret *s, int is_sealed)
{
	struct ds_archive_vectors v;
	struct ds_buf buf = {0};
	struct ds_archive *a;
	struct ds_err err;
	uint64_t index;

	ck_assert_msg(ds_archive_open(&a, path, s, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_archive_is_sealed(a), is_sealed);
	ck_assert_msg(ds_archive_test(a, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_archive_find(a, "names/secret.txt", 16, &index, &err), DS_OK);
	ck_assert_int_eq(ds_archive_read(a, index, 0, sizeof text, &buf, &err), DS_OK);
	ck_assert_mem_eq(buf.data, text, sizeof text);
	buf.len = 0;
	for (uint32_t i = 0; i < ds_archive_segments(a); i++) {
		struct ds_archive_segment info;

		ds_archive_segment(a, i, &info);
		ck_assert_int_eq(ds_archive_vectors(a, i, &v, &err), DS_OK);
		ck_assert_uint_eq(v.n, info.passages);
		ck_assert_int_eq(ds_archive_words(a, i, &buf, &err), DS_OK);
	}
	ck_assert_uint_gt(buf.len, 0);
	ds_buf_fini(&buf);
	ds_archive_close(a);
}

static void read_file(const char *path, struct ds_buf *file)
{
	struct ds_err err;

	file->len = 0;
	ck_assert_int_eq(ds_read_all(path, 1 << 24, file, &err), DS_OK);
}

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

/* Checksums as whoever changes bytes could make them. */
static void sign(uint8_t *p, size_t n)
{
	size_t at = DS_ARCHIVE_HEADER_BYTES;

	ds_put_u32(p + 12, (uint32_t)XXH3_64bits(p, 12));
	ds_put_u64(p + n - 8, XXH3_64bits(p + n - 32, 24));
	while (n - at >= DS_RECORD_HEAD_BYTES + DS_ARCHIVE_FOOTER_BYTES) {
		uint32_t stored = ds_get_u32(p + at + 8);

		if (ds_record_size(stored, 0) > n - DS_ARCHIVE_FOOTER_BYTES - at)
			return;
		ds_put_u64(p + at + 16, XXH3_64bits(p + at + DS_RECORD_HEAD_BYTES, stored));
		ds_put_u64(p + at + 24, XXH3_64bits(p + at, 24));
		at += ds_record_size(stored, 0);
	}
}

/* Whether a changed file is refused: to be opened, or when all of it is read. */
static void ck_refused(const uint8_t *bytes, size_t n, size_t where)
{
	struct ds_err err = {0};
	struct ds_archive *a;
	enum ds_status st;

	write_file(OTHER, bytes, n);
	st = ds_archive_open(&a, OTHER, &secret, &err);
	if (st == DS_OK) {
		st = ds_archive_test(a, &err);
		ds_archive_close(a);
	}
	ck_assert_msg(st != DS_OK && err.message[0], "byte %zu changed, and nobody minds", where);
}

START_TEST(test_nothing_shows)
{
	static const char *const shown[] = {"secret.txt", "confidential", "harbour", "second"};
	struct ds_archive_options o = sealed;
	struct ds_buf file = {0};
	struct ds_archive *a;
	struct ds_err err;

	ck_assert_msg(make(PATH, &sealed, &err) == DS_OK, "%s", err.message);
	ck_all(PATH, &secret, 1);
	read_file(PATH, &file);
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		ck_assert_ptr_null(memmem(file.data, file.len, shown[i], strlen(shown[i])));
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_EINVAL);
	ck_assert_int_eq(ds_archive_open(&a, PATH, &wrong, &err), DS_EINVAL);
	/* what is not sealed is not taken for it */
	o.sealed = 0;
	ck_assert_int_eq(make(OTHER, &o, &err), DS_OK);
	ck_all(OTHER, NULL, 0);
	ck_assert_int_eq(ds_archive_open(&a, OTHER, &secret, &err), DS_EINVAL);
	ds_buf_fini(&file);
	unlink(PATH);
	unlink(OTHER);
}
END_TEST

START_TEST(test_changes_are_refused)
{
	struct ds_buf file = {0}, copy = {0};
	struct ds_err err;

	ck_assert_int_eq(make(PATH, &sealed, &err), DS_OK);
	read_file(PATH, &file);
	ck_assert_int_eq(ds_buf_reserve(&copy, file.len, &err), DS_OK);
	for (size_t i = 0; i < file.len - DS_ARCHIVE_FOOTER_BYTES; i += i < 400 ? 1 : 211) {
		memcpy(copy.data, file.data, file.len);
		copy.data[i] ^= 4;
		ck_refused(copy.data, file.len, i);
		sign(copy.data, file.len);
		if (memcmp(copy.data, file.data, file.len) != 0) /* not a checksum alone */
			ck_refused(copy.data, file.len, i);
	}
	ds_buf_fini(&file);
	ds_buf_fini(&copy);
	unlink(PATH);
	unlink(OTHER);
}
END_TEST

/* A record of another archive of the same secret, of another place, or one that is not sealed. */
START_TEST(test_records_of_elsewhere)
{
	struct ds_buf file = {0}, second = {0}, copy = {0};
	const size_t at = DS_ARCHIVE_HEADER_BYTES + ds_record_size(DS_SEAL_LOCK_BYTES, 0);
	struct ds_err err;
	size_t size, next;

	ck_assert_int_eq(make(PATH, &sealed, &err), DS_OK);
	read_file(PATH, &file);
	ck_assert_int_eq(make(PATH, &sealed, &err), DS_OK);
	read_file(PATH, &second);
	ck_assert_uint_eq(file.len, second.len);
	ck_assert_int_eq(ds_buf_append(&copy, file.data, file.len, &err), DS_OK);
	size = ds_record_size(ds_get_u32(file.data + at + 8), 0);
	memcpy(copy.data + at, second.data + at, size);
	ck_refused(copy.data, copy.len, at);
	/* two records of one size change places: blocks of the same bytes */
	memcpy(copy.data, file.data, file.len);
	next = at + size;
	while (next + size < file.len && memcmp(file.data + next + 4, file.data + at + 4, 12) != 0)
		next += ds_record_size(ds_get_u32(file.data + next + 8), 0);
	if (next + size < file.len) {
		memcpy(copy.data + at, file.data + next, size);
		memcpy(copy.data + next, file.data + at, size);
		ck_refused(copy.data, copy.len, at);
	}
	memcpy(copy.data, file.data, file.len);
	ds_put_u16(copy.data + at + 6, 0);
	sign(copy.data, copy.len);
	ck_refused(copy.data, copy.len, at + 6);
	ds_buf_fini(&file);
	ds_buf_fini(&second);
	ds_buf_fini(&copy);
	unlink(PATH);
	unlink(OTHER);
}
END_TEST

START_TEST(test_life)
{
	struct ds_archive_options o = sealed;
	uint8_t removed[3] = {0, 1, 0};
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;

	ck_assert_int_eq(make(PATH, &sealed, &err), DS_OK);
	o.sealed = 0; /* it stays sealed all the same */
	ck_assert_int_eq(ds_archive_append(&w, PATH, &o, &err), DS_OK);
	ck_assert_int_eq(add_document(w, "third", text + 77, 20000, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_all(PATH, &secret, 1);
	ck_assert_int_eq(ds_archive_open(&a, PATH, &secret, &err), DS_OK);
	ck_assert_uint_eq(ds_archive_members(a), 3);
	/* sealed into one that is not, and back into one that is */
	ck_assert_int_eq(ds_archive_create(&w, OTHER, &o, &err), DS_OK);
	ck_assert_int_eq(ds_archive_join(w, a, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ds_archive_close(a);
	ck_all(OTHER, NULL, 0);
	ck_assert_int_eq(ds_archive_open(&a, OTHER, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_create(&w, PATH, &sealed, &err), DS_OK);
	ck_assert_int_eq(ds_archive_join(w, a, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ds_archive_close(a);
	ck_all(PATH, &secret, 1);
	ck_assert_int_eq(ds_archive_open(&a, PATH, &secret, &err), DS_OK);
	ck_assert_int_eq(ds_archive_remove(a, PATH, removed, &o, NULL, &err), DS_OK);
	ds_archive_close(a);
	ck_all(PATH, &secret, 1);
	unlink(PATH);
	unlink(OTHER);
}
END_TEST

static void ck_salvaged(const uint8_t *bytes, size_t n)
{
	const struct ds_salvage s = {0};
	struct ds_buf buf = {0};
	struct ds_archive *a;
	struct ds_err err;
	uint64_t index;

	write_file(OTHER, bytes, n);
	ck_assert_int_eq(ds_archive_salvage(&a, OTHER, NULL, &s, &err), DS_EINVAL);
	ck_assert_int_eq(ds_archive_salvage(&a, OTHER, &wrong, &s, &err), DS_EINVAL);
	ck_assert_msg(ds_archive_salvage(&a, OTHER, &secret, &s, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_archive_find(a, "names/secret.txt", 16, &index, &err), DS_OK);
	ck_assert_int_eq(ds_archive_read(a, index, 0, sizeof text, &buf, &err), DS_OK);
	ck_assert_mem_eq(buf.data, text, sizeof text);
	ds_buf_fini(&buf);
	ds_archive_close(a);
}

START_TEST(test_salvage)
{
	const size_t lock = DS_ARCHIVE_HEADER_BYTES + DS_RECORD_HEAD_BYTES + 40;
	struct ds_buf file = {0};
	struct ds_err err;

	ck_assert_int_eq(make(PATH, &sealed, &err), DS_OK);
	read_file(PATH, &file);
	ck_salvaged(file.data, file.len - 40); /* without directory */
	file.data[10] ^= 1;		       /* a header that says nothing */
	ck_salvaged(file.data, file.len);
	file.data[lock] ^= 1; /* the lock at the end is left */
	ck_salvaged(file.data, file.len);
	ds_buf_fini(&file);
	unlink(PATH);
	unlink(OTHER);
}
END_TEST

static enum ds_status whole_way(struct ds_err *err)
{
	struct ds_archive_vectors v;
	struct ds_archive *a;
	enum ds_status st;

	DS_TRY(make(PATH, &sealed, err));
	DS_TRY(ds_archive_open(&a, PATH, &secret, err));
	st = ds_archive_vectors(a, 0, &v, err);
	if (st == DS_OK)
		st = ds_archive_test(a, err);
	ds_archive_close(a);
	return st;
}

START_TEST(test_memory_runs_out)
{
	for (size_t n = 0;; n++) {
		struct ds_err err = {0};
		enum ds_status st;

		ds_alloc_fail_after(n);
		st = whole_way(&err);
		ds_alloc_fail_after(SIZE_MAX);
		if (st == DS_OK)
			break;
		ck_assert_int_eq(st, DS_ENOMEM);
		ck_assert(err.message[0]);
		ck_assert_uint_lt(n, 5000);
	}
	unlink(PATH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_sealed");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	make_text();
	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, test_nothing_shows);
	tcase_add_test(tc, test_changes_are_refused);
	tcase_add_test(tc, test_records_of_elsewhere);
	tcase_add_test(tc, test_life);
	tcase_add_test(tc, test_salvage);
	tcase_add_test(tc, test_memory_runs_out);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
