/* test_archive.c - the way into an archive and back; damaged archives */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "archive/archive.h"
#include "archive/code.h"
#include "base/cursor.h"
#include "search/codes.h"

#define PATH "test_archive.dsz"

static const struct ds_archive_options plain = {
	.level = 3,
	.block_bytes = 16384,
	.segment_bytes = 1 << 20,
};

static void add_bytes(struct ds_archive_writer *w, const char *name, const void *bytes, size_t n)
{
	struct ds_document d = {
		.name = name,
		.name_len = strlen(name),
		.size = DS_SIZE_UNKNOWN,
		.mtime_ns = -1500000000,
		.mode = 0640,
	};
	struct ds_err err;

	ck_assert_msg(ds_archive_document(w, &d, &err) == DS_OK, "%s", err.message);
	ck_assert_int_eq(ds_archive_bytes(w, bytes, n, &err), DS_OK);
	ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
}

/* A chunk of text at a span, with a vector of 3 dimensions or none. */
static enum ds_status add_chunk(struct ds_archive_writer *w, const char *text, uint64_t start,
				uint64_t end, const float *vector, struct ds_err *err)
{
	struct ds_chunk_frame c = {
		.start = start,
		.end = end,
		.text = (const uint8_t *)text + start,
	};

	return ds_archive_chunk(w, &c, vector, err);
}

/* Text that is neither random nor dull. */
static uint8_t *sample(size_t n, unsigned seed)
{
	static const char *const word[] = {"the ",	  "archive ", "holds ",
					   "documents, ", "and ",     "\n"};
	uint8_t *p = malloc(n + 16);
	size_t at = 0;

	srand(seed);
	while (at < n) {
		const char *s = word[rand() % 6];

		memcpy(p + at, s, strlen(s));
		at += strlen(s);
		if (rand() % 7 == 0)
			p[at++] = (uint8_t)rand();
	}
	return p;
}

static void ck_member(struct ds_archive *a, const char *name, const void *bytes, size_t n)
{
	struct ds_archive_member m;
	struct ds_buf buf = {0};
	struct ds_err err;
	uint64_t i;

	ck_assert_int_eq(ds_archive_find(a, name, strlen(name), &i, &err), DS_OK);
	ck_assert_int_eq(ds_archive_member(a, i, &m, &err), DS_OK);
	ck_assert_uint_eq(m.document.size, n);
	ck_assert_uint_eq(m.document.mode, 0640);
	ck_assert_int_eq(m.document.mtime_ns, -1500000000);
	ck_assert_msg(ds_archive_read(a, i, 0, n, &buf, &err) == DS_OK, "%s", err.message);
	ck_assert_uint_eq(buf.len, n);
	ck_assert(n == 0 || memcmp(buf.data, bytes, n) == 0);
	for (size_t at = 0; at < n; at += 1 + n / 37) {
		size_t end = at + 1 + n / 11 > n ? n : at + 1 + n / 11;

		buf.len = 0;
		ck_assert_int_eq(ds_archive_read(a, i, at, end, &buf, &err), DS_OK);
		ck_assert_uint_eq(buf.len, end - at);
		ck_assert(memcmp(buf.data, (const uint8_t *)bytes + at, end - at) == 0);
	}
	ds_buf_fini(&buf);
}

START_TEST(test_bytes_come_back)
{
	const size_t large = ((size_t)2 << 20) + 77; /* three segments */
	uint8_t *text = sample(large, 1);
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;

	ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
	add_bytes(w, "empty", "", 0);
	add_bytes(w, "small", text, 100);
	add_bytes(w, "large", text, large);
	add_bytes(w, "", text + 5, 16384);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_assert_msg(ds_archive_open(&a, PATH, NULL, &err) == DS_OK, "%s", err.message);
	ck_assert_uint_eq(ds_archive_members(a), 4);
	ck_assert_uint_eq(ds_archive_segments(a), 3);
	ck_member(a, "empty", "", 0);
	ck_member(a, "small", text, 100);
	ck_member(a, "large", text, large);
	ck_member(a, "", text + 5, 16384);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
	ds_archive_close(a);

	ck_assert_int_eq(ds_archive_append(&w, PATH, &plain, &err), DS_OK);
	add_bytes(w, "more", text + 3, 50000);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_member(a, "large", text, large);
	ck_member(a, "more", text + 3, 50000);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
	ds_archive_close(a);
	free(text);
	unlink(PATH);
}
END_TEST

/* Lines that are like no other, n bytes. */
static uint8_t *noise(size_t n, unsigned seed)
{
	uint8_t *p = malloc(n);

	srand(seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(rand() % 40 ? 'a' + rand() % 26 : '\n');
	return p;
}

static uint64_t file_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(stat(PATH, &st), 0);
	return (uint64_t)st.st_size;
}

START_TEST(test_text_is_stored_once)
{
	const size_t n = 700000; /* the second one goes on in another segment */
	uint8_t *text = noise(n, 3), *changed = malloc(n + 5), *removed;
	struct ds_archive_totals totals;
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;
	uint64_t once;

	memcpy(changed, text, n / 2);
	memcpy(changed + n / 2, "again", 5);
	memcpy(changed + n / 2 + 5, text + n / 2, n - n / 2);
	ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
	add_bytes(w, "text", text, n);
	ck_assert_int_eq(ds_archive_commit(w, &totals, &err), DS_OK);
	once = file_bytes();
	ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
	add_bytes(w, "text", text, n);
	add_bytes(w, "changed", changed, n + 5);
	add_bytes(w, "text again", text, n);
	ck_assert_int_eq(ds_archive_commit(w, &totals, &err), DS_OK);
	ck_assert_uint_lt(file_bytes(), once + once / 20);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_uint_eq(ds_archive_segments(a), 3);
	ck_member(a, "changed", changed, n + 5);
	ck_member(a, "text again", text, n);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);

	removed = calloc(3, 1);
	removed[0] = 1;
	ck_assert_int_eq(ds_archive_remove(a, PATH, removed, &plain, &totals, &err), DS_OK);
	ds_archive_close(a);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_uint_eq(ds_archive_members(a), 2);
	ck_member(a, "changed", changed, n + 5);
	ck_member(a, "text again", text, n);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
	ds_archive_close(a);
	free(removed);
	free(changed);
	free(text);
	unlink(PATH);
}
END_TEST

/* Revisions of a few texts, not in their order: the archive and the bytes of its file. */
static void revisions(struct ds_pool *pool, struct ds_archive_totals *totals, struct ds_buf *file)
{
	struct ds_archive_options o = plain;
	struct ds_archive_writer *w;
	struct ds_err err;

	o.segment_bytes = 0;
	o.pool = pool;
	ck_assert_int_eq(ds_archive_create(&w, PATH, &o, &err), DS_OK);
	for (unsigned i = 0; i < 60; i++) {
		const size_t n = 20000;
		uint8_t *text = noise(n, 100 + i % 12);
		char name[16];

		for (size_t k = i * 40; k < n; k += 900)
			text[k] = '#';
		snprintf(name, sizeof name, "%u", i);
		add_bytes(w, name, text, n);
		free(text);
	}
	ck_assert_int_eq(ds_archive_commit(w, totals, &err), DS_OK);
	ck_assert_int_eq(ds_read_all(PATH, 1 << 24, file, &err), DS_OK);
}

START_TEST(test_what_is_alike_is_brought_together)
{
	struct ds_archive_totals totals;
	struct ds_buf one = {0}, three = {0};
	struct ds_pool *pool;
	struct ds_archive *a;
	struct ds_err err;

	revisions(NULL, &totals, &one);
	ck_assert_uint_eq(totals.text_bytes, 1200000);
	ck_assert_uint_lt(totals.file_bytes, totals.text_bytes / 5);
	ck_assert_uint_gt(totals.dictionary_bytes, 0);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
	ds_archive_close(a);
	ck_assert_int_eq(ds_pool_new(&pool, 3, &err), DS_OK);
	revisions(pool, &totals, &three);
	ds_pool_free(pool);
	ck_assert_uint_eq(one.len, three.len);
	ck_assert(memcmp(one.data, three.data, one.len) == 0);
	ds_buf_fini(&one);
	ds_buf_fini(&three);
	unlink(PATH);
}
END_TEST

enum { RELEASES = 5, RELEASE_BYTES = 150000 };

/* Every release changes every piece of the one before. */
static uint8_t *release(unsigned number)
{
	uint8_t *text = noise(RELEASE_BYTES, 7);

	for (unsigned r = 1; r <= number; r++)
		for (size_t i = r * 37; i < RELEASE_BYTES; i += 700)
			text[i] = (uint8_t)('A' + r);
	return text;
}

static void ck_releases(struct ds_archive *a, unsigned first)
{
	struct ds_err err;
	uint64_t unpacked;

	ck_assert_uint_eq(ds_archive_members(a), RELEASES - first);
	for (unsigned i = first; i < RELEASES; i++) {
		uint8_t *text = release(i);
		char name[16];

		snprintf(name, sizeof name, "%u", i);
		ck_member(a, name, text, RELEASE_BYTES);
		ck_assert_int_eq(ds_archive_unpacked(a, i - first, &unpacked, &err), DS_OK);
		ck_assert_uint_ge(unpacked, plain.block_bytes / 2);
		free(text);
	}
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
}

START_TEST(test_blocks_refer_to_what_went_before)
{
	struct ds_archive_options options = plain;
	struct ds_archive_totals totals;
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;
	uint64_t first = 0;

	options.strong = _i; /* zstd with references is smaller here all the same */
	for (unsigned i = 0; i < RELEASES; i++) {
		uint8_t *text = release(i);
		char name[16];

		snprintf(name, sizeof name, "%u", i);
		ck_assert_int_eq(
			(i ? ds_archive_append : ds_archive_create)(&w, PATH, &options, &err),
			DS_OK);
		add_bytes(w, name, text, RELEASE_BYTES);
		ck_assert_int_eq(ds_archive_commit(w, &totals, &err), DS_OK);
		first = i ? first : totals.file_bytes;
		free(text);
	}
	ck_assert_uint_lt(totals.file_bytes, 2 * first);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ds_archive_totals(a, &totals);
	ck_assert_uint_gt(totals.coder_bytes[DS_CODER_ZSTD_REFERENCES], 0);
	ck_releases(a, 0);
	ck_assert_int_eq(
		ds_archive_remove(a, PATH, (const uint8_t[RELEASES]){1}, &options, &totals, &err),
		DS_OK);
	ds_archive_close(a);
	ck_assert_uint_lt(totals.file_bytes, 2 * first);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_releases(a, 1);
	ds_archive_close(a);
	unlink(PATH);
}
END_TEST

START_TEST(test_names_are_unique)
{
	struct ds_document d = {.name = "a", .name_len = 1};
	struct ds_archive_writer *w;
	struct ds_err err;

	ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
	add_bytes(w, "a", "x", 1);
	ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_EINVAL);
	ck_assert_str_eq(err.message, "'a' is in the archive already");
	ds_archive_abort(w);
	ck_assert_int_ne(access(PATH, F_OK), 0);
}
END_TEST

static const char chunked[] = "One sentence. Two sentences. Three.";
static const struct ds_archive_options embedded = {
	.level = 3,
	.block_bytes = 16384,
	.model = 77,
	.words = 1,
	.dims = 3,
	.bits = 4,
};

START_TEST(test_passages_come_back)
{
	static const float v[3][3] = {{1, 0, 0}, {0, 0.6F, -0.8F}, {0, 0, 0}};
	static const uint64_t span[3][2] = {{0, 14}, {9, 29}, {29, 35}};
	struct ds_document d = {.name = "c", .name_len = 1};
	struct ds_archive_vectors vectors;
	struct ds_archive_passage p;
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;
	uint8_t row[4];
	float back[3];

	ck_assert_int_eq(ds_archive_create(&w, PATH, &embedded, &err), DS_OK);
	add_bytes(w, "binary", "\0\1\2", 3);
	ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(add_chunk(w, chunked, span[i][0], span[i][1], v[i], &err), DS_OK);
	ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_uint_eq(ds_archive_model(a), 77);
	ck_assert_int_eq(ds_archive_vectors(a, 0, &vectors, &err), DS_OK);
	ck_assert_uint_eq(vectors.n, 3);
	for (uint64_t i = 0; i < 3; i++) {
		ck_assert_int_eq(ds_archive_passage(a, i, &p, &err), DS_OK);
		ck_assert_uint_eq(p.member, 1);
		ck_assert_uint_eq(p.start, span[i][0]);
		ck_assert_uint_eq(p.end, span[i][1]);
		ds_code_row(vectors.rows, 3, ds_code_row_bytes(vectors.bits, 3), i, row);
		ds_code_decode(vectors.bits, row, ds_get_u16(vectors.scale + 2 * i), 3, back);
		for (int k = 0; k < 3; k++)
			ck_assert_float_eq_tol(back[k], v[i][k], 0.3F);
	}
	ck_assert_int_eq(ds_archive_passage(a, 3, &p, &err), DS_EINVAL);
	ck_assert_int_eq(ds_archive_test(a, &err), DS_OK);
	ds_archive_close(a);
	unlink(PATH);
}
END_TEST

/* What is coded is not coded again when other documents go. */
START_TEST(test_codes_stay_when_others_go)
{
	static const float v[2][3] = {{0.1F, -0.7F, 0.7F}, {0.9F, 0.3F, -0.3F}};
	static const uint8_t removed[2] = {1, 0};
	struct ds_archive_options o = embedded;
	struct ds_archive_vectors vectors;
	struct ds_archive_writer *w;
	struct ds_archive *a;
	uint8_t row[2][4], scale[2][2];
	struct ds_err err;

	o.bits = 2;
	ck_assert_int_eq(ds_archive_create(&w, PATH, &o, &err), DS_OK);
	for (int i = 0; i < 2; i++) {
		struct ds_document d = {.name = i ? "b" : "a", .name_len = 1};

		ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
		ck_assert_int_eq(add_chunk(w, chunked, 0, 14, v[i], &err), DS_OK);
		ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
	}
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
		ck_assert_int_eq(ds_archive_vectors(a, 0, &vectors, &err), DS_OK);
		ck_assert_uint_eq(vectors.bits, 2);
		ck_assert_uint_eq(vectors.n, 2 - i);
		ds_code_row(vectors.rows, vectors.n, ds_code_row_bytes(2, 3), vectors.n - 1,
			    row[i]);
		memcpy(scale[i], vectors.scale + 2 * (vectors.n - 1), 2);
		o.bits = 0; /* as the archive has */
		if (i == 0)
			ck_assert_int_eq(ds_archive_remove(a, PATH, removed, &o, NULL, &err),
					 DS_OK);
		ds_archive_close(a);
	}
	ck_assert_mem_eq(row[0], row[1], ds_code_row_bytes(2, 3));
	ck_assert_mem_eq(scale[0], scale[1], 2);
	unlink(PATH);
}
END_TEST

START_TEST(test_chunks_must_join)
{
	static const struct {
		uint64_t start, end;
		const char *text, *message;
	} row[] = {
		{15, 20, chunked,
		 "chunk 0 begins at byte 15, but the document is known to byte 14"},
		{3, 10, chunked, "chunk 0 (bytes 3 to 10) does not go beyond the chunk before"},
		{0, 20, "One SENTENCE. Two sentences.",
		 "chunk 0 differs from the chunk before in the bytes they share"},
	};
	static const struct ds_document_end short_end = {.size = 13};
	static const struct ds_document_end wrong_end = {.size = 14, .hash = 1};
	struct ds_document d = {.name = "c", .name_len = 1};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		struct ds_archive_writer *w;
		struct ds_err err;

		ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
		ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
		ck_assert_int_eq(add_chunk(w, chunked, 0, 14, NULL, &err), DS_OK);
		ck_assert_int_ne(add_chunk(w, row[i].text, row[i].start, row[i].end, NULL, &err),
				 DS_OK);
		ck_assert_str_eq(err.message, row[i].message);
		ck_assert_int_eq(ds_archive_document_end(w, &short_end, &err), DS_EFORMAT);
		ck_assert_int_eq(ds_archive_document_end(w, &wrong_end, &err), DS_ECORRUPT);
		ds_archive_abort(w);
	}
}
END_TEST

/* A small archive with everything in it, as bytes. */
static void small_archive(struct ds_buf *file)
{
	static const float v[3] = {0.6F, 0, 0.8F};
	struct ds_document d = {.name = "c", .name_len = 1, .mode = 0640};
	struct ds_archive_writer *w;
	struct ds_err err;

	ck_assert_int_eq(ds_archive_create(&w, PATH, &embedded, &err), DS_OK);
	add_bytes(w, "b", "bytes bytes bytes bytes bytes bytes", 35);
	ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
	ck_assert_int_eq(add_chunk(w, chunked, 0, 20, v, &err), DS_OK);
	ck_assert_int_eq(add_chunk(w, chunked, 18, 35, v, &err), DS_OK);
	ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_read_all(PATH, 1 << 20, file, &err), DS_OK);
	unlink(PATH);
}

/* Whether the n bytes are refused, with a message. */
static int refused(const uint8_t *bytes, size_t n)
{
	struct ds_archive *a;
	struct ds_err err = {0};
	FILE *f = fopen(PATH, "wb");
	enum ds_status st;

	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
	st = ds_archive_open(&a, PATH, NULL, &err);
	if (st == DS_OK) {
		st = ds_archive_test(a, &err);
		ds_archive_close(a);
	}
	ck_assert(st == DS_OK || err.message[0]);
	return st != DS_OK;
}

START_TEST(test_every_bit_is_guarded)
{
	struct ds_buf file = {0};

	small_archive(&file);
	ck_assert(!refused(file.data, file.len));
	for (size_t i = 0; i < file.len * 8; i++) {
		file.data[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert_msg(refused(file.data, file.len), "bit %zu of byte %zu", i % 8, i / 8);
		file.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t n = 0; n < file.len; n++)
		ck_assert_msg(refused(file.data, n), "cut to %zu bytes", n);
	ds_buf_fini(&file);
	unlink(PATH);
}
END_TEST

/* Everything a writer and a reader do, once. */
static enum ds_status whole_way(struct ds_err *err)
{
	static const float v[3] = {0.6F, 0, 0.8F};
	struct ds_document d = {.name = "c", .name_len = 1};
	struct ds_archive_writer *w;
	struct ds_archive_passage p;
	struct ds_archive *a;
	struct ds_buf buf = {0};
	enum ds_status st;

	DS_TRY(ds_archive_create(&w, PATH, &embedded, err));
	st = ds_archive_document(w, &d, err);
	if (st == DS_OK)
		st = add_chunk(w, chunked, 0, 35, v, err);
	if (st == DS_OK)
		st = ds_archive_document_end(w, NULL, err);
	if (st != DS_OK) {
		ds_archive_abort(w);
		return st;
	}
	DS_TRY(ds_archive_commit(w, NULL, err));
	DS_TRY(ds_archive_append(&w, PATH, &embedded, err));
	DS_TRY(ds_archive_commit(w, NULL, err));
	DS_TRY(ds_archive_open(&a, PATH, NULL, err));
	st = ds_archive_passage(a, 0, &p, err);
	if (st == DS_OK)
		st = ds_archive_read(a, 0, 0, 35, &buf, err);
	if (st == DS_OK)
		st = ds_archive_test(a, err);
	ds_buf_fini(&buf);
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
		ck_assert_uint_lt(n, 1000);
	}
	unlink(PATH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive");
	TCase *tc = tcase_create("archive");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_bytes_come_back);
	tcase_add_test(tc, test_text_is_stored_once);
	tcase_add_test(tc, test_what_is_alike_is_brought_together);
	tcase_add_loop_test(tc, test_blocks_refer_to_what_went_before, 0, 2);
	tcase_add_test(tc, test_names_are_unique);
	tcase_add_test(tc, test_passages_come_back);
	tcase_add_test(tc, test_codes_stay_when_others_go);
	tcase_add_test(tc, test_chunks_must_join);
	tcase_add_test(tc, test_every_bit_is_guarded);
	tcase_add_test(tc, test_memory_runs_out);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
