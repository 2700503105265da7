/* test_frame_stream.c - frames: every type there and back; damaged, cut, reordered, joined streams
 */
#include "frame/frame.h"

#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cursor.h"

static struct ds_err err;

/* A writer whose bytes come back in memory. */
struct sink {
	struct ds_out out;
	struct ds_frame_writer w;
	char path[64];
};

static void sink_open(struct sink *s)
{
	snprintf(s->path, sizeof s->path, "/tmp/ds-test-frame.%d", (int)getpid());
	ck_assert_int_eq(ds_out_open(&s->out, s->path, &err), DS_OK);
	ds_frame_writer_init(&s->w, &s->out);
}

static struct ds_buf sink_close(struct sink *s)
{
	struct ds_buf bytes = {0};

	ck_assert_int_eq(ds_out_commit(&s->out, &err), DS_OK);
	ck_assert_int_eq(ds_read_all(s->path, SIZE_MAX / 2, &bytes, &err), DS_OK);
	ds_frame_writer_fini(&s->w);
	unlink(s->path);
	return bytes;
}

/* Input from memory: a pipe or, when it would not fit, an unlinked file. */
static void source_open(struct ds_in *in, const uint8_t *bytes, size_t n)
{
	int fd;

	ck_assert_int_eq(ds_spill_open(&fd, &err), DS_OK);
	ck_assert_int_eq(ds_pwrite_all(fd, bytes, n, 0, &err), DS_OK);
	*in = (struct ds_in){.fd = fd, .name = "memory"};
}

static const uint32_t ids[] = {0, 1, UINT32_MAX, 77};
static const uint32_t ends[] = {0, 0, 5, UINT32_MAX};
static const float logprobs[] = {NAN, -1.5f, -0.0f, -1e30f};
static const uint8_t bytes_any[] = "a\0\xff\xf7"
				   "DSF\n\xe4\xb8";

static void put_sample(struct ds_frame_writer *w)
{
	const struct ds_document d[] = {
		{"", 0, DS_SIZE_UNKNOWN, 0, 0},
		{"dir/na\xff\nme", 10, INT64_MAX, INT64_MIN, 07777},
	};
	const struct ds_document_end e[] = {{DS_SIZE_UNKNOWN, 0}, {9, UINT64_MAX}};
	const struct ds_text t[] = {{0, bytes_any, 0}, {INT64_MAX, bytes_any, 9}};
	const struct ds_token_frame k[] = {{0, 0, 0, 0, ids, ends},
					   {UINT64_MAX, INT64_MAX, INT64_MAX, 4, ids, ends}};
	const struct ds_chunk_frame c[] = {{0, 0, 0, 0, 0, 0, 0, 0, bytes_any},
					   {INT64_MAX, INT64_MAX - 9, INT64_MAX, UINT64_MAX,
					    UINT32_MAX, UINT32_MAX, 9, DS_CUT_END, bytes_any}};
	const float f32[] = {1, -0.0f, 1e-45f, 3.4028235e38f, 0.1f};
	const uint16_t f16[] = {0x3C00, 0x8000, 0x7BFF};
	const int8_t i8[] = {-128, 127, 0};
	const struct ds_embedding_frame v[] = {
		{0, 0, 0, 0, 5, DS_VECTOR_F32, 0, 1, f32},
		{INT64_MAX, 0, INT64_MAX, UINT64_MAX, 3, DS_VECTOR_F16, 1, 1, f16},
		{1, 2, 3, 4, 3, DS_VECTOR_I8, 1, 0.0078125f, i8}};
	const struct ds_hit_frame h[] = {{0, 0, 0, -0.5, "", 0, bytes_any, 0},
					 {1, INT64_MAX, INT64_MAX, 1e300, "n", 1, bytes_any, 9}};

	for (uint64_t i = 0; i < 2; i++) {
		struct ds_logprob_frame l = {k[i], logprobs};
		struct ds_part user = {bytes_any, i * 7};

		ck_assert_int_eq(ds_document_put(w, i, &d[i], &err), DS_OK);
		ck_assert_int_eq(ds_text_put(w, i, &t[i], &err), DS_OK);
		ck_assert_int_eq(ds_tokens_put(w, i, &k[i], &err), DS_OK);
		ck_assert_int_eq(ds_logprob_put(w, i, &l, &err), DS_OK);
		ck_assert_int_eq(ds_chunk_put(w, i, &c[i], &err), DS_OK);
		for (int j = 0; j < 3; j++)
			ck_assert_int_eq(ds_embedding_put(w, i, &v[j], &err), DS_OK);
		ck_assert_int_eq(ds_frame_write(w, 200, 12345, &user, 1, &err), DS_OK);
		ck_assert_int_eq(ds_document_end_put(w, i, &e[i], &err), DS_OK);
		ck_assert_int_eq(ds_hit_put(w, &h[i], &err), DS_OK);
	}
	ck_assert_int_eq(ds_frame_write_end(w, &err), DS_OK);
}

static struct ds_buf sample(void)
{
	struct sink s;

	sink_open(&s);
	put_sample(&s.w);
	return sink_close(&s);
}

/* Write again what was read. */
static enum ds_status copy_frame(struct ds_frame_writer *w, const struct ds_frame *f)
{
	struct ds_part whole = {f->payload, f->payload_len};
	union ds_payload u;

	DS_TRY(ds_payload_get(f, &u, &err));
	switch (f->type) {
	case DS_FRAME_DOCUMENT:
		return ds_document_put(w, f->document, &u.document, &err);
	case DS_FRAME_DOCUMENT_END:
		return ds_document_end_put(w, f->document, &u.document_end, &err);
	case DS_FRAME_TEXT:
		return ds_text_put(w, f->document, &u.text, &err);
	case DS_FRAME_TOKENS:
		return ds_tokens_put(w, f->document, &u.tokens, &err);
	case DS_FRAME_LOGPROB:
		return ds_logprob_put(w, f->document, &u.logprob, &err);
	case DS_FRAME_CHUNK:
		return ds_chunk_put(w, f->document, &u.chunk, &err);
	case DS_FRAME_EMBEDDING:
		return ds_embedding_put(w, f->document, &u.embedding, &err);
	case DS_FRAME_HIT:
		return ds_hit_put(w, &u.hit, &err);
	case DS_FRAME_END:
		return DS_OK;
	default:
		return ds_frame_write(w, f->type, f->document, &whole, 1, &err);
	}
}

START_TEST(every_type_round_trips)
{
	struct ds_buf first = sample(), second;
	struct ds_frame_reader r;
	struct ds_frame f;
	struct ds_in in;
	struct sink s;
	enum ds_status st;
	unsigned n = 0;

	source_open(&in, first.data, first.len);
	ds_frame_reader_init(&r, &in);
	sink_open(&s);
	while ((st = ds_frame_next(&r, &f, &err)) == DS_OK) {
		ck_assert_uint_eq(f.sequence, n++);
		ck_assert_uint_eq((uintptr_t)f.payload % 8, 0);
		ck_assert_msg(copy_frame(&s.w, &f) == DS_OK, "%s", err.message);
	}
	ck_assert_int_eq(st, DS_END);
	ck_assert_uint_eq(n, 23);
	ck_assert_int_eq(ds_frame_write_end(&s.w, &err), DS_OK);
	second = sink_close(&s);
	ck_assert_uint_eq(first.len, second.len);
	ck_assert_mem_eq(first.data, second.data, first.len);
	ds_frame_reader_fini(&r);
	ds_in_close(&in);
	ds_buf_fini(&first);
	ds_buf_fini(&second);
}
END_TEST

/* Read bytes to their end: the last status, frames in *n_ret, documents seen in *documents_ret. */
static enum ds_status read_all(const uint8_t *bytes, size_t n, unsigned *n_ret,
			       uint64_t *documents_ret)
{
	struct ds_frame_reader r;
	struct ds_frame f;
	struct ds_in in;
	enum ds_status st;

	source_open(&in, bytes, n);
	ds_frame_reader_init(&r, &in);
	*n_ret = 0;
	*documents_ret = 0;
	while ((st = ds_frame_next(&r, &f, &err)) == DS_OK) {
		++*n_ret;
		if (f.type == DS_FRAME_DOCUMENT)
			ck_assert_uint_eq(f.document, (*documents_ret)++);
	}
	ds_frame_reader_fini(&r);
	ds_in_close(&in);
	return st;
}

START_TEST(cut_anywhere_is_truncated)
{
	struct ds_buf b = sample();
	uint64_t documents;
	unsigned n;

	for (size_t len = 0; len < b.len; len++) {
		err.message[0] = '\0';
		ck_assert_int_eq(read_all(b.data, len, &n, &documents), DS_ETRUNCATED);
		ck_assert_uint_eq(err.offset, len);
		ck_assert_ptr_nonnull(strstr(err.message, "input"));
		ck_assert(ds_frame_probe(b.data, len) == (len > 0));
	}
	ds_buf_fini(&b);
}
END_TEST

START_TEST(any_flipped_bit_is_refused)
{
	struct ds_buf b = sample();
	uint64_t documents;
	unsigned n;

	for (size_t bit = 0; bit < b.len * 8; bit++) {
		enum ds_status st;

		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		st = read_all(b.data, b.len, &n, &documents);
		ck_assert_msg(st == DS_EFORMAT || st == DS_ECORRUPT || st == DS_EUNSUPPORTED,
			      "bit %zu: status %d", bit, st);
		ck_assert_uint_le(err.offset, bit / 8);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ds_buf_fini(&b);
}
END_TEST

/* Offsets of the frames in a sound stream; their number. */
static size_t frame_offsets(const struct ds_buf *b, size_t *offset, size_t max)
{
	size_t n = 0;

	for (size_t at = 0; at < b->len; n++) {
		uint64_t len = ds_get_u64(b->data + at + 24);

		ck_assert_uint_lt(n, max);
		offset[n] = at;
		at += 48 + ((size_t)len + 7) / 8 * 8;
	}
	offset[n] = b->len;
	return n;
}

START_TEST(lost_doubled_and_swapped_frames_are_refused)
{
	struct ds_buf b = sample();
	size_t offset[64], n = frame_offsets(&b, offset, 63);
	uint8_t *copy = ds_alloc(b.len * 2, 1);
	uint64_t documents;
	unsigned got;

	for (size_t i = 0; i < n; i++) {
		size_t a = offset[i], m = offset[i + 1], z = i + 2 <= n ? offset[i + 2] : m;

		memcpy(copy, b.data, a);
		memcpy(copy + a, b.data + m, b.len - m); /* lost */
		ck_assert_int_eq(read_all(copy, b.len - (m - a), &got, &documents),
				 i + 1 < n ? DS_ECORRUPT : DS_ETRUNCATED);
		memcpy(copy, b.data, m);
		memcpy(copy + m, b.data + a, b.len - a); /* doubled */
		ck_assert_int_eq(read_all(copy, b.len + (m - a), &got, &documents), DS_ECORRUPT);
		if (i + 1 == n)
			break;
		memcpy(copy, b.data, a);
		memcpy(copy + a, b.data + m, z - m); /* swapped */
		memcpy(copy + a + (z - m), b.data + a, m - a);
		memcpy(copy + z, b.data + z, b.len - z);
		ck_assert_int_eq(read_all(copy, b.len, &got, &documents), DS_ECORRUPT);
	}
	free(copy);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(joined_streams_count_documents_through)
{
	struct ds_buf b = sample();
	size_t one = b.len;
	uint64_t documents;
	unsigned n;

	ck_assert_int_eq(ds_buf_reserve(&b, one * 2, &err), DS_OK);
	ck_assert_int_eq(ds_buf_append(&b, b.data, one, &err), DS_OK);
	ck_assert_int_eq(ds_buf_append(&b, b.data, one, &err), DS_OK);
	ck_assert_int_eq(read_all(b.data, b.len, &n, &documents), DS_END);
	ck_assert_uint_eq(n, 69);
	ck_assert_uint_eq(documents, 6);
	ds_buf_fini(&b);
}
END_TEST

/* Set a field of the first head and make its hash right again. */
static void forge(uint8_t *head, unsigned at, uint64_t value, unsigned size)
{
	memcpy(head + at, &value, size);
	ds_put_u64(head + 40, XXH3_64bits(head, 40));
}

static const struct {
	unsigned at, size;
	uint64_t value;
	enum ds_status want;
} forgeries[] = {
	{4, 1, 2, DS_EUNSUPPORTED}, /* version */
	{5, 1, 0, DS_EUNSUPPORTED}, /* types that do not exist */
	{5, 1, 7, DS_EUNSUPPORTED},
	{5, 1, 127, DS_EUNSUPPORTED},
	{5, 1, DS_FRAME_TEXT, DS_EFORMAT}, /* outside of a document */
	{5, 1, DS_FRAME_END, DS_ECORRUPT}, /* totals that are not so */
	{7, 1, 1, DS_EUNSUPPORTED},	   /* flags that matter */
	{8, 8, 1, DS_EFORMAT},		   /* document out of order */
	{8, 8, UINT64_MAX, DS_EFORMAT},
	{16, 8, 1, DS_ECORRUPT}, /* sequence */
	{24, 8, DS_FRAME_PAYLOAD_MAX + 1, DS_ELIMIT},
	{24, 8, UINT64_MAX, DS_ELIMIT},
	{24, 8, DS_FRAME_PAYLOAD_MAX, DS_ETRUNCATED}, /* without taking a GiB: see the test */
};

START_TEST(forged_head)
{
	struct ds_buf b = sample();
	uint64_t documents;
	unsigned n;

	forge(b.data, forgeries[_i].at, forgeries[_i].value, forgeries[_i].size);
	ck_assert_int_eq(read_all(b.data, b.len, &n, &documents), forgeries[_i].want);
	ck_assert_uint_eq(n, 0);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(a_hint_that_is_not_known_is_ignored)
{
	struct ds_buf b = sample();
	uint64_t documents;
	unsigned n;

	forge(b.data, 6, 0xFF, 1);
	ck_assert_int_eq(read_all(b.data, b.len, &n, &documents), DS_END);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(an_announced_length_takes_no_memory)
{
	struct ds_buf b = sample();
	struct ds_frame_reader r;
	struct ds_frame f;
	struct ds_in in;

	forge(b.data, 24, DS_FRAME_PAYLOAD_MAX, 8);
	source_open(&in, b.data, b.len);
	ds_frame_reader_init(&r, &in);
	ck_assert_int_eq(ds_frame_next(&r, &f, &err), DS_ETRUNCATED);
	ck_assert_uint_le(r.buf.cap, 1 << 18);
	ds_frame_reader_fini(&r);
	ds_in_close(&in);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(a_big_frame_passes)
{
	struct ds_text t = {0, NULL, 5000001};
	struct ds_document d = {.name = "big", .name_len = 3, .size = t.len};
	struct ds_document_end e = {.size = t.len};
	uint8_t *bytes = ds_alloc(t.len, 1);
	struct ds_buf b;
	uint64_t documents;
	struct sink s;
	unsigned n;

	memset(bytes, 'x', t.len);
	t.bytes = bytes;
	sink_open(&s);
	ck_assert_int_eq(ds_document_put(&s.w, 0, &d, &err), DS_OK);
	ck_assert_int_eq(ds_text_put(&s.w, 0, &t, &err), DS_OK);
	ck_assert_int_eq(ds_document_end_put(&s.w, 0, &e, &err), DS_OK);
	ck_assert_int_eq(ds_frame_write_end(&s.w, &err), DS_OK);
	b = sink_close(&s);
	ck_assert_int_eq(read_all(b.data, b.len, &n, &documents), DS_END);
	ck_assert_uint_eq(n, 4);
	free(bytes);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(recovery_finds_what_is_sound)
{
	struct ds_buf b = sample();
	size_t offset[64], n = frame_offsets(&b, offset, 63);

	for (size_t i = 0; i < n; i++) {
		struct ds_frame_reader r;
		struct ds_frame f;
		struct ds_in in;
		uint64_t lost = 0, total_lost = 0;
		unsigned got = 0, failures = 0;
		enum ds_status st;

		b.data[offset[i] + 20] ^= 1;
		/* bytes in front, so that all frames lie odd */
		ck_assert_int_eq(ds_buf_append(&b, "\xf7\xf7\xf7", 3, &err), DS_OK);
		memmove(b.data + 3, b.data, b.len - 3);
		memset(b.data, 0xf7, 3);
		source_open(&in, b.data, b.len);
		ds_frame_reader_init(&r, &in);
		for (;;) {
			while ((st = ds_frame_next(&r, &f, &err)) == DS_OK) {
				ck_assert_uint_eq((uintptr_t)f.payload % 8, 0);
				got++;
			}
			if (st == DS_END)
				break;
			failures++;
			if (ds_frame_recover(&r, &lost, &err) == DS_END) {
				total_lost += lost;
				break;
			}
			total_lost += lost;
		}
		ck_assert_uint_eq(got, n - 1);
		ck_assert_uint_eq(total_lost, 3 + offset[i + 1] - offset[i]);
		ck_assert_uint_ge(failures, 1);
		ck_assert_uint_eq(r.lost_frames, i + 1 < n);
		ds_frame_reader_fini(&r);
		ds_in_close(&in);
		ds_buf_consume(&b, 3);
		b.data[offset[i] + 20] ^= 1;
	}
	ds_buf_fini(&b);
}
END_TEST

START_TEST(the_writer_keeps_the_order)
{
	struct ds_document d = {.name = "", .size = 0};
	struct ds_document_end e = {0};
	struct ds_text t = {0, bytes_any, 1};
	struct ds_buf b;
	struct sink s;

	sink_open(&s);
	ck_assert_int_eq(ds_text_put(&s.w, 0, &t, &err), DS_EINVAL);
	ck_assert_int_eq(ds_document_put(&s.w, 1, &d, &err), DS_EINVAL);
	ck_assert_int_eq(ds_document_put(&s.w, 0, &d, &err), DS_OK);
	ck_assert_int_eq(ds_document_put(&s.w, 1, &d, &err), DS_EINVAL);
	ck_assert_int_eq(ds_text_put(&s.w, 1, &t, &err), DS_EINVAL);
	ck_assert_int_eq(ds_frame_write_end(&s.w, &err), DS_EINVAL);
	ck_assert_int_eq(ds_document_end_put(&s.w, 0, &e, &err), DS_OK);
	ck_assert_int_eq(ds_text_put(&s.w, 0, &t, &err), DS_EINVAL);
	ck_assert_int_eq(ds_frame_write(&s.w, 7, 0, NULL, 0, &err), DS_EINVAL);
	ck_assert_int_eq(ds_frame_write_end(&s.w, &err), DS_OK);
	b = sink_close(&s);
	ck_assert_uint_eq(b.len, 48 + 24 + 48 + 16 + 48 + 24);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(impossible_values_are_not_written)
{
	const float inf[] = {INFINITY};
	struct ds_document d = {.name = "a\0b", .name_len = 3};
	struct ds_chunk_frame c = {.start = 2, .end = 1, .text = bytes_any};
	struct ds_embedding_frame v = {.dims = 1, .scale = 1, .data = inf};
	struct ds_token_frame k = {.n = 2, .id = ids, .end = (uint32_t[]){2, 1}};
	struct ds_hit_frame h = {.score = NAN, .name = ""};
	struct ds_buf b;
	struct sink s;

	sink_open(&s);
	ck_assert_int_eq(ds_document_put(&s.w, 0, &d, &err), DS_EINVAL);
	d = (struct ds_document){.name = "", .size = (uint64_t)1 << 63};
	ck_assert_int_eq(ds_document_put(&s.w, 0, &d, &err), DS_EINVAL);
	d.size = 0;
	ck_assert_int_eq(ds_document_put(&s.w, 0, &d, &err), DS_OK);
	ck_assert_int_eq(ds_chunk_put(&s.w, 0, &c, &err), DS_EINVAL);
	ck_assert_int_eq(ds_embedding_put(&s.w, 0, &v, &err), DS_EINVAL);
	ck_assert_int_eq(ds_tokens_put(&s.w, 0, &k, &err), DS_EINVAL);
	ck_assert_int_eq(ds_hit_put(&s.w, &h, &err), DS_EINVAL);
	b = sink_close(&s);
	ds_buf_fini(&b);
}
END_TEST

START_TEST(memory_may_end_anywhere)
{
	struct ds_buf b = sample();

	for (size_t fail = 0; fail < 3; fail++) {
		struct ds_frame_reader r;
		struct ds_frame f;
		struct ds_in in;
		enum ds_status st;

		source_open(&in, b.data, b.len);
		ds_frame_reader_init(&r, &in);
		ds_alloc_fail_after(fail);
		while ((st = ds_frame_next(&r, &f, &err)) == DS_OK)
			;
		ds_alloc_fail_after(SIZE_MAX);
		ck_assert_int_eq(st, (fail == 0 ? DS_ENOMEM : DS_END));
		ds_frame_reader_fini(&r);
		ds_in_close(&in);
	}
	ds_buf_fini(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frame");
	TCase *t = tcase_create("stream");
	SRunner *runner;
	int failed;

	tcase_add_test(t, every_type_round_trips);
	tcase_add_test(t, cut_anywhere_is_truncated);
	tcase_add_test(t, any_flipped_bit_is_refused);
	tcase_add_test(t, lost_doubled_and_swapped_frames_are_refused);
	tcase_add_test(t, joined_streams_count_documents_through);
	tcase_add_loop_test(t, forged_head, 0, sizeof forgeries / sizeof *forgeries);
	tcase_add_test(t, a_hint_that_is_not_known_is_ignored);
	tcase_add_test(t, an_announced_length_takes_no_memory);
	tcase_add_test(t, a_big_frame_passes);
	tcase_add_test(t, recovery_finds_what_is_sound);
	tcase_add_test(t, the_writer_keeps_the_order);
	tcase_add_test(t, impossible_values_are_not_written);
	tcase_add_test(t, memory_may_end_anywhere);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
