/* test_archive_tables.c - what archives tell of many small documents, coded and damaged */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/reader.h"

#define PATH "test_archive_tables.dsz"
#define DOCUMENTS 800

static void name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "some/folder/%04u-%03u.txt", i, i * i % 997);
}

static void text_of(unsigned i, char text[64])
{
	snprintf(text, 64, "Document %u says %u.\n", i, i * 7919 % 1000);
}

static void make(int strong)
{
	const struct ds_archive_options o = {
		.level = 3,
		.block_bytes = 16384,
		.segment_bytes = 1 << 20,
		.strong = strong,
	};
	struct ds_archive_writer *w;
	struct ds_err err;

	ck_assert_int_eq(ds_archive_create(&w, PATH, &o, &err), DS_OK);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		char name[32], text[64];
		struct ds_document d = {.name = name, .size = DS_SIZE_UNKNOWN, .mode = 0600};

		name_of(i, name);
		text_of(i, text);
		d.name_len = strlen(name);
		ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
		ck_assert_int_eq(ds_archive_bytes(w, text, strlen(text), &err), DS_OK);
		ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
	}
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
}

static void ck_documents(struct ds_archive *a)
{
	struct ds_buf buf = {0};
	struct ds_err err;

	ck_assert_uint_eq(ds_archive_members(a), DOCUMENTS);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct ds_archive_member m;
		char name[32], text[64];

		name_of(i, name);
		text_of(i, text);
		ck_assert_int_eq(ds_archive_member(a, i, &m, &err), DS_OK);
		ck_assert_str_eq(m.document.name, name);
		buf.len = 0;
		ck_assert_int_eq(ds_archive_read(a, i, 0, strlen(text), &buf, &err), DS_OK);
		ck_assert_mem_eq(buf.data, text, strlen(text));
	}
	ds_buf_fini(&buf);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
}

START_TEST(test_tables_are_mixed)
{
	struct ds_record r;
	struct ds_archive *a;
	struct ds_err err;
	int found;

	make(_i);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_segment_record(a, 0, DS_RECORD_DOCUMENTS, &r, &found, &err), DS_OK);
	ck_assert(found);
	ck_assert_uint_eq(r.coder, DS_CODER_STRONG);
	ck_documents(a);
	ds_archive_close(a);
	unlink(PATH);
}
END_TEST

/* A hash in the tables is of other text than the blocks hold: both records are whole. */
static void ck_refused(struct ds_archive *a, const char *what)
{
	struct ds_err err;

	ck_assert_int_eq(ds_archive_test(a, &err), DS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(err.message, what));
}

START_TEST(test_text_must_have_its_hash)
{
	struct ds_archive *a;
	struct ds_err err;

	make(_i);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	a->block[0].hash ^= 1;
	ck_refused(a, "does not unpack to the bytes that it had");
	a->block[0].hash ^= 1;
	a->segment[0].hash ^= 1;
	ck_refused(a, "do not have its checksum");
	a->segment[0].hash ^= 1;
	ck_documents(a);
	ds_archive_close(a);
	unlink(PATH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_tables");
	TCase *tc = tcase_create("all");
	int failed;

	tcase_add_loop_test(tc, test_tables_are_mixed, 0, 2);
	tcase_add_loop_test(tc, test_text_must_have_its_hash, 0, 2);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
