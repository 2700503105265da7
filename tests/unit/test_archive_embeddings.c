/* test_archive_embeddings.c - packed embeddings: what comes back, errors told, damage, memory */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/embeddings.h"
#include "frame/frame.h"

#define FRAMES "embeddings.frames"
#define PACKED "embeddings.dsv"
#define BACK "embeddings.back"

enum { DOCUMENTS = 5, DIMS = 37 };

static float value(unsigned document, unsigned i, uint32_t d)
{
	/* neighbours are alike; the last document is of zeros, and not of norm 1 */
	float base = sinf((float)(document * 3 + d)), own = cosf((float)(i * 7 + d * d));

	return document == DOCUMENTS - 1 ? 0 : base + 0.2F * own;
}

static void vector(unsigned document, unsigned i, uint32_t dims, float *v)
{
	double squares = 0;

	for (uint32_t d = 0; d < dims; d++) {
		v[d] = value(document, i, d);
		squares += (double)v[d] * v[d];
	}
	for (uint32_t d = 0; d < dims && squares > 0; d++)
		v[d] = (float)(v[d] / sqrt(squares));
}

/* Documents with chunks and embeddings, of another model from the third on; two streams. */
static void write_frames(unsigned n)
{
	struct ds_frame_writer w;
	struct ds_err err;
	struct ds_out out;

	ck_assert_int_eq(ds_out_open(&out, FRAMES, &err), DS_OK);
	ds_frame_writer_init(&w, &out);
	for (unsigned k = 0; k < DOCUMENTS; k++) {
		struct ds_document d = {.name = "a name", .name_len = k, .mtime_ns = 5 - (int)k,
					.size = k ? 1000 * n : DS_SIZE_UNKNOWN, .mode = 0644};
		struct ds_document_end end = {k ? 1000 * n : DS_SIZE_UNKNOWN, k ? k + 9 : 0};
		uint64_t number = k < 3 ? k : k - 3;

		if (k == 3)
			ck_assert_int_eq(ds_frame_write_end(&w, &err), DS_OK);
		ck_assert_int_eq(ds_document_put(&w, number, &d, &err), DS_OK);
		for (unsigned i = 0; i < n; i++) {
			float v[DIMS];
			struct ds_embedding_frame e = {
				.index = i, .start = 1000 * i, .end = 1000 * i + 900 + i % 3,
				.model = 7 + (k > 2), .dims = k > 2 ? DIMS : DIMS - 4,
				.normalised = k < DOCUMENTS - 1, .scale = 1, .data = v};
			struct ds_text t = {1000 * i, (const uint8_t *)"x", 1};

			vector(k, i, e.dims, v);
			if (i == 0)
				ck_assert_int_eq(ds_text_put(&w, number, &t, &err), DS_OK);
			ck_assert_int_eq(ds_embedding_put(&w, number, &e, &err), DS_OK);
		}
		ck_assert_int_eq(ds_document_end_put(&w, number, &end, &err), DS_OK);
	}
	ck_assert_int_eq(ds_frame_write_end(&w, &err), DS_OK);
	ds_frame_writer_fini(&w);
	ck_assert_int_eq(ds_out_commit(&out, &err), DS_OK);
}

static enum ds_status convert(const char *from, const char *to, unsigned bits,
			      struct ds_embeddings_stats *stats, struct ds_err *err)
{
	struct ds_out out;
	struct ds_in in;
	enum ds_status st;

	DS_TRY(ds_in_open(&in, from, err));
	st = ds_out_open(&out, to, err);
	if (st == DS_OK) {
		st = bits ? ds_embeddings_pack(&in, &out, bits, 3, stats, err)
			  : ds_embeddings_unpack(&in, &out, stats, err);
		if (st == DS_OK)
			st = ds_out_commit(&out, err);
		else
			ds_out_abort(&out);
	}
	ds_in_close(&in);
	return st;
}

/* Every frame of both files but texts; the largest difference of components. */
static double compare(void)
{
	struct ds_frame_reader a, b;
	struct ds_in in_a, in_b;
	struct ds_frame f, g;
	enum ds_status st;
	struct ds_err err;
	double most = 0;

	ck_assert_int_eq(ds_in_open(&in_a, FRAMES, &err), DS_OK);
	ck_assert_int_eq(ds_in_open(&in_b, BACK, &err), DS_OK);
	ds_frame_reader_init(&a, &in_a);
	ds_frame_reader_init(&b, &in_b);
	while ((st = ds_frame_next(&a, &f, &err)) == DS_OK) {
		struct ds_embedding_frame x, y;
		float v[DIMS], w[DIMS];

		if (f.type == DS_FRAME_TEXT)
			continue;
		ck_assert_int_eq(ds_frame_next(&b, &g, &err), DS_OK);
		ck_assert_int_eq(f.type, g.type);
		ck_assert_uint_eq(f.document, g.document);
		if (f.type == DS_FRAME_END)
			continue;
		if (f.type != DS_FRAME_EMBEDDING) {
			ck_assert_uint_eq(f.payload_len, g.payload_len);
			ck_assert_mem_eq(f.payload, g.payload, f.payload_len);
			continue;
		}
		ck_assert_int_eq(ds_embedding_get(&f, &x, &err), DS_OK);
		ck_assert_int_eq(ds_embedding_get(&g, &y, &err), DS_OK);
		ck_assert(x.index == y.index && x.start == y.start && x.end == y.end &&
			  x.model == y.model && x.dims == y.dims && x.normalised == y.normalised);
		ds_embedding_f32(&x, v);
		ds_embedding_f32(&y, w);
		for (uint32_t d = 0; d < x.dims; d++)
			most = fmax(most, fabs((double)v[d] - (double)w[d]));
	}
	ck_assert_int_eq(st, DS_END);
	ck_assert_int_eq(ds_frame_next(&b, &g, &err), DS_END);
	ds_frame_reader_fini(&a);
	ds_frame_reader_fini(&b);
	ds_in_close(&in_a);
	ds_in_close(&in_b);
	return most;
}

START_TEST(test_embeddings_come_back)
{
	static const double error[] = {0, 0, 0.4, 0.25, 0.1, 0.05, 0.015, 0.007, 0.003};
	static const double cosine[] = {0, 0, 0.7, 0.9, 0.97, 0.99, 0.998, 0.9995, 0.9999};
	struct ds_embeddings_stats stats, again;
	const unsigned bits = (unsigned)_i;
	struct ds_err err;

	write_frames(300);
	ck_assert_int_eq(convert(FRAMES, PACKED, bits, &stats, &err), DS_OK);
	ck_assert_uint_eq(stats.documents, DOCUMENTS);
	ck_assert_uint_eq(stats.embeddings, 300 * DOCUMENTS);
	ck_assert_uint_eq(stats.left_out, DOCUMENTS);
	ck_assert_int_eq(convert(PACKED, BACK, 0, &again, &err), DS_OK);
	ck_assert(compare() == stats.max_error);
	ck_assert(again.max_error == stats.max_error);
	ck_assert(again.least_cosine == stats.least_cosine);
	ck_assert_uint_eq(again.values_bytes, stats.values_bytes);
	ck_assert_double_le(stats.max_error, error[bits]);
	ck_assert_double_ge(stats.least_cosine, cosine[bits]);
	unlink(FRAMES);
	unlink(PACKED);
	unlink(BACK);
}
END_TEST

/* Many blocks, and one embedding that comes again costs next to nothing. */
START_TEST(test_likeness_is_used)
{
	struct ds_embeddings_stats stats;
	struct ds_buf once = {0};
	struct ds_err err;

	write_frames(1500);
	ck_assert_int_eq(convert(FRAMES, PACKED, 8, &stats, &err), DS_OK);
	ck_assert_int_eq(ds_read_all(PACKED, 1 << 24, &once, &err), DS_OK);
	ck_assert_uint_lt(once.len, stats.values_bytes / 6);
	ck_assert_int_eq(convert(PACKED, BACK, 0, &stats, &err), DS_OK);
	compare();
	ds_buf_fini(&once);
	unlink(FRAMES);
	unlink(PACKED);
	unlink(BACK);
}
END_TEST

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
	struct ds_out out;
	struct ds_err err;

	ck_assert_int_eq(ds_out_open(&out, path, &err), DS_OK);
	ck_assert_int_eq(ds_out_write(&out, bytes, n, &err), DS_OK);
	ck_assert_int_eq(ds_out_commit(&out, &err), DS_OK);
}

/* Cut anywhere or with any byte changed: an error with a place, and no output. */
START_TEST(test_damage_is_told)
{
	struct ds_embeddings_stats stats;
	struct ds_buf file = {0};
	struct ds_err err;

	write_frames(2);
	ck_assert_int_eq(convert(FRAMES, PACKED, 2, &stats, &err), DS_OK);
	ck_assert_int_eq(ds_read_all(PACKED, 1 << 24, &file, &err), DS_OK);
	for (size_t i = 0; i < file.len; i++) {
		write_file(PACKED, file.data, i);
		ck_assert_int_ne(convert(PACKED, BACK, 0, &stats, &err), DS_OK);
		ck_assert_str_eq(err.path, PACKED);
		file.data[i] ^= 0x10;
		write_file(PACKED, file.data, file.len);
		ck_assert_int_ne(convert(PACKED, BACK, 0, &stats, &err), DS_OK);
		ck_assert_str_eq(err.path, PACKED);
		file.data[i] ^= 0x10;
		ck_assert_int_ne(access(BACK, F_OK), 0);
	}
	ds_buf_fini(&file);
	unlink(FRAMES);
	unlink(PACKED);
}
END_TEST

START_TEST(test_allocation_failures)
{
	struct ds_embeddings_stats stats;
	struct ds_err err;

	write_frames(3);
	for (unsigned bits = 0; bits <= 8; bits += 8) {
		const char *from = bits ? FRAMES : PACKED, *to = bits ? BACK : FRAMES;
		enum ds_status st = DS_ENOMEM;

		ck_assert_int_eq(convert(FRAMES, PACKED, 8, &stats, &err), DS_OK);
		for (size_t n = 0; st != DS_OK; n++) {
			ds_alloc_fail_after(n);
			st = convert(from, to, bits, &stats, &err);
			ds_alloc_fail_after(SIZE_MAX);
			ck_assert(st == DS_OK || st == DS_ENOMEM);
		}
	}
	unlink(FRAMES);
	unlink(PACKED);
	unlink(BACK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_embeddings");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_embeddings_come_back, 2, 9);
	tcase_add_test(tc, test_likeness_is_used);
	tcase_add_test(tc, test_damage_is_told);
	tcase_add_test(tc, test_allocation_failures);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
