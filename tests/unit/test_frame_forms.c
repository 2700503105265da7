/* test_frame_forms.c - other forms of frames: JSON lines, .npy heads, documents joined from chunks
 */
#include <check.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "frame/base64.h"
#include "frame/frame.h"
#include "frame/join.h"
#include "frame/json.h"
#include "frame/npy.h"

static struct ds_err err;

static void source_open(struct ds_in *in, const void *bytes, size_t n)
{
	int fd;

	ck_assert_int_eq(ds_spill_open(&fd, &err), DS_OK);
	ck_assert_int_eq(ds_pwrite_all(fd, bytes, n, 0, &err), DS_OK);
	*in = (struct ds_in){.fd = fd, .name = "memory"};
}

/* A frame as its line, and what it was. */
struct shown {
	struct ds_buf line, payload;
	uint8_t type;
	uint64_t document;
};

static enum ds_status show(void *arg, const struct ds_frame *f, struct ds_err *e)
{
	struct shown *s = arg;

	s->line.len = s->payload.len = 0;
	s->type = f->type;
	s->document = f->document;
	DS_TRY(ds_buf_append(&s->payload, f->payload, f->payload_len, e));
	return ds_frame_json_put(f, &s->line, e);
}

/* Read one line; the frame it makes goes to s. */
static enum ds_status read_line(const void *line, size_t n, struct shown *s)
{
	struct ds_frame_writer w;
	struct ds_json_reader r;
	enum ds_status st;
	struct ds_in in;

	source_open(&in, line, n);
	ds_frame_writer_init_take(&w, show, s);
	ds_json_reader_init(&r, &in);
	st = ds_json_next(&r, &w, &err);
	ds_json_reader_fini(&r);
	ds_frame_writer_fini(&w);
	ds_in_close(&in);
	return st;
}

static void shown_fini(struct shown *s)
{
	ds_buf_fini(&s->line);
	ds_buf_fini(&s->payload);
}

/* The line of a frame gives the same payload and the same line. */
static void check_round_trip(struct shown *first)
{
	struct shown second = {0};

	ck_assert_msg(read_line(first->line.data, first->line.len, &second) == DS_OK, "%s: %.*s",
		      err.message, (int)first->line.len, (char *)first->line.data);
	ck_assert_int_eq(first->type, second.type);
	ck_assert_uint_eq(first->document, second.document);
	ck_assert_uint_eq(first->payload.len, second.payload.len);
	ck_assert_mem_eq(first->payload.data, second.payload.data, first->payload.len);
	ck_assert_uint_eq(first->line.len, second.line.len);
	ck_assert_mem_eq(first->line.data, second.line.data, first->line.len);
	shown_fini(&second);
}

static uint32_t rng = 1;

static uint32_t next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng;
}

START_TEST(floats_of_any_bits_survive_json)
{
	struct shown s = {0};
	struct ds_frame_writer w;

	setlocale(LC_ALL, "de_DE.UTF-8");
	ds_frame_writer_init_take(&w, show, &s);
	for (int i = 0; i < 300; i++) {
		uint32_t bits[64];
		struct ds_embedding_frame e = {.dims = 64, .scale = 1, .data = bits};

		for (int j = 0; j < 64; j++) {
			float f;

			bits[j] = j % 4 ? next() : next() & 0x807FFFFF; /* subnormals too */
			memcpy(&f, &bits[j], 4);
			if (!isfinite(f))
				bits[j] &= 0xBF7FFFFF;
		}
		ck_assert_int_eq(ds_embedding_put(&w, 3, &e, &err), DS_OK);
		check_round_trip(&s);
	}
	shown_fini(&s);
	ds_frame_writer_fini(&w);
}
END_TEST

START_TEST(every_half_survives_json)
{
	struct shown s = {0};
	struct ds_frame_writer w;
	uint16_t *half = ds_alloc(65536, sizeof *half);
	struct ds_embedding_frame e = {.type = DS_VECTOR_F16, .scale = 1, .data = half};

	for (uint32_t i = 0; i < 65536; i++)
		if ((i & 0x7C00) != 0x7C00)
			half[e.dims++] = (uint16_t)i;
	ds_frame_writer_init_take(&w, show, &s);
	ck_assert_int_eq(ds_embedding_put(&w, 0, &e, &err), DS_OK);
	check_round_trip(&s);
	shown_fini(&s);
	ds_frame_writer_fini(&w);
	free(half);
}
END_TEST

START_TEST(scores_survive_json)
{
	static const double scores[] = {0,	 -0.0,	       0.1,	1.0 / 3,
					DBL_MAX, DBL_TRUE_MIN, -1e-300, 1e16};
	struct shown s = {0};
	struct ds_frame_writer w;

	ds_frame_writer_init_take(&w, show, &s);
	for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
		struct ds_hit_frame h = {.score = scores[i], .name = "n", .name_len = 1};

		h.text = (const uint8_t *)"";
		ck_assert_int_eq(ds_hit_put(&w, &h, &err), DS_OK);
		check_round_trip(&s);
	}
	shown_fini(&s);
	ds_frame_writer_fini(&w);
}
END_TEST

START_TEST(any_bytes_survive_json)
{
	struct shown s = {0};
	struct ds_frame_writer w;
	uint8_t bytes[256];

	ds_frame_writer_init_take(&w, show, &s);
	for (int i = 0; i < 2000; i++) {
		struct ds_text t = {.bytes = bytes, .len = next() % sizeof bytes};

		for (size_t j = 0; j < t.len; j++) /* ASCII with its controls, or anything */
			bytes[j] = (uint8_t)(i % 2 ? next() & 0x7F : next());
		ck_assert_int_eq(ds_text_put(&w, 1, &t, &err), DS_OK);
		ck_assert_ptr_null(memchr(s.line.data, '\n', s.line.len - 1));
		check_round_trip(&s);
	}
	shown_fini(&s);
	ds_frame_writer_fini(&w);
}
END_TEST

/* Lines that are refused, and a part of the reason. */
static const struct {
	const char *line, *reason;
} bad_lines[] = {
	{"[]", "a JSON object"},
	{"{}", "\"type\""},
	{"{\"type\":1}", "\"type\""},
	{"{\"type\":\"vector\"}", "\"type\""},
	{"{\"text\":\"\\ud800\"}", "line 1"},
	{"{\"text\":\"\xff\"}", "line 1"},
	{"{\"text\":\"a\",\"text\":\"b\"}", "duplicate"},
	{"{\"text\":1}", "\"text\""},
	{"{\"text\":\"a\"", "line 1"},
	{"{\"text\":\"a\"} x", "line 1"},
	{"{\"text\":\"a\",\"doc\":-1}", "\"doc\""},
	{"{\"text\":\"a\",\"doc\":1e3}", "\"doc\""},
	{"{\"text\":\"a\",\"doc\":9223372036854775808}", "line 1"},
	{"{\"type\":\"text\",\"text_base64\":\"YQ\"}", "base64"},
	{"{\"type\":\"text\",\"text_base64\":\"YQ=a\"}", "base64"},
	{"{\"type\":\"text\",\"text_base64\":\"YR==\"}", "base64"},
	{"{\"type\":\"text\",\"text_base64\":\"Y\\n==\"}", "base64"},
	{"{\"type\":\"document\",\"name\":\"a\\u0000\"}", "NUL"},
	{"{\"type\":\"document\",\"mode\":4096}", "\"mode\""},
	{"{\"type\":\"document_end\",\"hash\":\"0\"}", "\"hash\""},
	{"{\"type\":\"document_end\",\"hash\":\"0000000000000001\"}",
	 ""}, /* of unknown size: see below */
	{"{\"type\":\"tokens\",\"ids\":[1]}", "\"ends\""},
	{"{\"type\":\"tokens\",\"ids\":[1],\"ends\":[1,2]}", "\"ends\""},
	{"{\"type\":\"tokens\",\"ids\":[1,2],\"ends\":[2,1]}", "descend"},
	{"{\"type\":\"tokens\",\"ids\":[4294967296],\"ends\":[1]}", "\"ids\""},
	{"{\"type\":\"logprob\",\"ids\":[1],\"ends\":[1],\"logprobs\":[1e39]}", "\"logprobs\""},
	{"{\"type\":\"chunk\",\"boundary\":\"x\"}", "\"boundary\""},
	{"{\"type\":\"chunk\",\"start\":1,\"end\":0}", "span"},
	{"{\"type\":\"chunk\",\"overlap_bytes\":1}", "chunk"},
	{"{\"embedding\":[]}", "\"embedding\""},
	{"{\"embedding\":[null]}", "\"embedding\""},
	{"{\"embedding\":[1e39]}", "\"embedding\""},
	{"{\"embedding\":[1e9],\"dtype\":\"f16\"}", "finite"},
	{"{\"embedding\":[128],\"dtype\":\"i8\"}", "\"embedding\""},
	{"{\"embedding\":[1],\"scale\":2}", "scale"},
	{"{\"embedding\":[1],\"normalised\":1}", "\"normalised\""},
	{"{\"type\":\"hit\"}", "\"score\""},
	{"{\"type\":\"user\",\"code\":127}", "\"code\""},
};

START_TEST(bad_line)
{
	const char *line = bad_lines[_i].line;
	struct shown s = {0};
	enum ds_status st = read_line(line, strlen(line), &s);

	if (strstr(line, "0001")) {
		ck_assert_int_eq(st, DS_EINVAL);
	} else {
		ck_assert_msg(st == DS_EFORMAT || st == DS_EINVAL, "%s: status %d", line, st);
		ck_assert_msg(strstr(err.message, bad_lines[_i].reason) != NULL, "%s: %s", line,
			      err.message);
	}
	ck_assert_str_eq(err.path, "memory");
	ck_assert_ptr_null(strchr(err.message, '\n'));
	shown_fini(&s);
}
END_TEST

START_TEST(blank_lines_and_a_missing_last_newline)
{
	static const char text[] = "\n \r\n{\"text\":\"a\"}\r\n\n{\"text\":\"b\"}";
	struct shown s = {0};
	struct ds_frame_writer w;
	struct ds_json_reader r;
	struct ds_in in;

	source_open(&in, text, sizeof text - 1);
	ds_frame_writer_init_take(&w, show, &s);
	ds_json_reader_init(&r, &in);
	ck_assert_int_eq(ds_json_next(&r, &w, &err), DS_OK);
	ck_assert_uint_eq(r.line, 3);
	ck_assert_int_eq(ds_json_next(&r, &w, &err), DS_OK);
	ck_assert_uint_eq(r.line, 5);
	ck_assert_int_eq(ds_json_next(&r, &w, &err), DS_END);
	ds_json_reader_fini(&r);
	ds_frame_writer_fini(&w);
	ds_in_close(&in);
	shown_fini(&s);
}
END_TEST

/* RFC 4648, section 10. */
static const char *const base64[][2] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

START_TEST(base64_vector)
{
	const char *plain = base64[_i][0], *coded = base64[_i][1];
	struct ds_buf b = {0};

	ck_assert_int_eq(ds_base64_put(plain, strlen(plain), &b, &err), DS_OK);
	ck_assert_uint_eq(b.len, strlen(coded));
	if (b.len)
		ck_assert_mem_eq(b.data, coded, b.len);
	b.len = 0;
	ck_assert_int_eq(ds_base64_get(coded, strlen(coded), &b, &err), DS_OK);
	ck_assert_uint_eq(b.len, strlen(plain));
	if (b.len)
		ck_assert_mem_eq(b.data, plain, b.len);
	ds_buf_fini(&b);
}
END_TEST

/* Dictionaries of .npy heads, and what they mean. */
static const struct {
	const char *dict;
	enum ds_status want;
	uint64_t rows;
	uint32_t dims;
	uint8_t type;
} npy_heads[] = {
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 384), }   \n", DS_OK, 3, 384, 0},
	{"{\"shape\":(3,384),\"descr\":\"<f2\",\"fortran_order\":False}", DS_OK, 3, 384, 1},
	{"{'descr': '|i1', 'fortran_order': False, 'shape': (7,)}\n", DS_OK, 1, 7, 2},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2)}", DS_OK, 0, 2, 0},
	{"{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2)}", DS_EUNSUPPORTED, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (7)}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3)}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 0)}", DS_ELIMIT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1048577)}", DS_ELIMIT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2)}", DS_EFORMAT,
	 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}", DS_EFORMAT, 0,
	 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), 'x': 1}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)} x", DS_EFORMAT, 0, 0, 0},
	{"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", DS_EFORMAT, 0, 0, 0},
	{"{'descr': '<f4", DS_EFORMAT, 0, 0, 0},
	{"", DS_EFORMAT, 0, 0, 0},
};

START_TEST(npy_head)
{
	const char *dict = npy_heads[_i].dict;
	uint32_t len = (uint32_t)strlen(dict);

	for (uint8_t version = 1; version <= 4; version++) {
		uint8_t bytes[256] = "\x93NUMPY";
		size_t at = version > 1 ? 12 : 10;
		struct ds_npy npy;
		enum ds_status st;
		struct ds_in in;

		bytes[6] = version;
		memcpy(bytes + 8, &len, at - 8);
		memcpy(bytes + at, dict, len);
		source_open(&in, bytes, at + len);
		st = ds_npy_read_head(&in, &npy, &err);
		ck_assert_int_eq(st, version > 3 ? DS_EUNSUPPORTED : npy_heads[_i].want);
		if (st == DS_OK) {
			ck_assert_uint_eq(npy.rows, npy_heads[_i].rows);
			ck_assert_uint_eq(npy.dims, npy_heads[_i].dims);
			ck_assert_uint_eq(npy.type, npy_heads[_i].type);
			ck_assert_uint_eq(in.offset, at + len);
		}
		ds_in_close(&in);
	}
}
END_TEST

START_TEST(npy_head_of_ours)
{
	struct ds_npy npy = {DS_FRAME_COUNT_MAX / 16, DS_FRAME_DIMS_MAX, DS_VECTOR_F32}, got;
	uint8_t head[DS_NPY_HEAD_BYTES];
	struct ds_in in;

	ds_npy_make_head(&npy, head);
	source_open(&in, head, sizeof head);
	ck_assert_int_eq(ds_npy_read_head(&in, &got, &err), DS_OK);
	ck_assert_uint_eq(got.rows, npy.rows);
	ck_assert_uint_eq(got.dims, npy.dims);
	ck_assert_int_eq(ds_npy_read_end(&in, &err), DS_OK);
	ds_in_close(&in);
}
END_TEST

/* Frames into a join; what it gives is compared with a text. */
struct joined {
	struct ds_join join;
	struct ds_buf text;
};

static enum ds_status take_joined(void *arg, const struct ds_frame *f, struct ds_err *e)
{
	struct joined *j = arg;
	const uint8_t *bytes;
	size_t n;

	DS_TRY(ds_join_take(&j->join, f, &bytes, &n, e));
	return ds_buf_append(&j->text, bytes, n, e);
}

START_TEST(chunks_join_to_their_document)
{
	static const char text[] = "The quick brown fox";
	struct ds_document d = {.name = ""};
	struct ds_document_end end = {sizeof text - 1, XXH3_64bits(text, sizeof text - 1)};
	struct joined j = {0};
	struct ds_frame_writer w;

	ck_assert_int_eq(ds_join_init(&j.join, &err), DS_OK);
	ds_frame_writer_init_take(&w, take_joined, &j);
	for (uint64_t overlap = 0; overlap < 6; overlap++) {
		struct ds_chunk_frame c = {0};

		j.text.len = 0;
		ck_assert_int_eq(ds_document_put(&w, 0, &d, &err), DS_OK);
		while (c.end < end.size) {
			c.end = c.start + 6 < end.size ? c.start + 6 : end.size;
			c.text = (const uint8_t *)text + c.start;
			ck_assert_int_eq(ds_chunk_put(&w, 0, &c, &err), DS_OK);
			c.start = c.end - overlap;
			c.overlap_bytes = overlap;
		}
		ck_assert_int_eq(ds_document_end_put(&w, 0, &end, &err), DS_OK);
		ck_assert_uint_eq(j.text.len, end.size);
		ck_assert_mem_eq(j.text.data, text, end.size);
	}
	ds_frame_writer_fini(&w);
	ds_join_fini(&j.join);
	ds_buf_fini(&j.text);
}
END_TEST

START_TEST(a_join_notices_gaps_sizes_and_hashes)
{
	struct ds_document d = {.name = ""};
	struct ds_text t[] = {{0, (const uint8_t *)"abc", 3}, {4, (const uint8_t *)"e", 1}};
	struct ds_document_end wrong_size = {4, XXH3_64bits("abc", 3)}, wrong_hash = {3, 1},
			       right = {3, XXH3_64bits("abc", 3)}, unknown = {DS_SIZE_UNKNOWN, 0};
	struct joined j = {0};
	struct ds_frame_writer w;

	ck_assert_int_eq(ds_join_init(&j.join, &err), DS_OK);
	ds_frame_writer_init_take(&w, take_joined, &j);
	ck_assert_int_eq(ds_document_put(&w, 0, &d, &err), DS_OK);
	/* without any text there is nothing to compare */
	ck_assert_int_eq(ds_document_end_put(&w, 0, &wrong_size, &err), DS_OK);
	ck_assert_int_eq(ds_text_put(&w, 0, &t[0], &err), DS_OK);
	ck_assert_int_eq(ds_text_put(&w, 0, &t[1], &err), DS_EFORMAT);
	ck_assert_int_eq(ds_document_end_put(&w, 0, &wrong_size, &err), DS_ECORRUPT);
	ck_assert_int_eq(ds_document_end_put(&w, 0, &wrong_hash, &err), DS_ECORRUPT);
	ck_assert_int_eq(ds_document_end_put(&w, 0, &right, &err), DS_OK);
	ck_assert_int_eq(ds_document_end_put(&w, 0, &unknown, &err), DS_OK);
	ds_frame_writer_fini(&w);
	ds_join_fini(&j.join);
	ds_buf_fini(&j.text);
}
END_TEST

START_TEST(memory_may_end_anywhere)
{
	static const char line[] =
		"{\"type\":\"logprob\",\"ids\":[1],\"ends\":[1],\"logprobs\":[-1]}";
	struct ds_in in;

	source_open(&in, line, sizeof line - 1);
	for (size_t fail = 0, failed = 1; failed; fail++) {
		struct shown s = {0};
		struct ds_frame_writer w;
		struct ds_json_reader r;
		enum ds_status st;

		ck_assert_uint_lt(fail, 100);
		lseek(in.fd, 0, SEEK_SET);
		ds_frame_writer_init_take(&w, show, &s);
		ds_json_reader_init(&r, &in);
		ds_alloc_fail_after(fail);
		st = ds_json_next(&r, &w, &err);
		ds_alloc_fail_after(SIZE_MAX);
		failed = st != DS_OK;
		ck_assert_int_eq(st, failed ? DS_ENOMEM : DS_OK);
		ds_json_reader_fini(&r);
		ds_frame_writer_fini(&w);
		shown_fini(&s);
	}
	ds_in_close(&in);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("forms");
	TCase *t = tcase_create("forms");
	SRunner *runner;
	int failed;

	tcase_add_test(t, floats_of_any_bits_survive_json);
	tcase_add_test(t, every_half_survives_json);
	tcase_add_test(t, scores_survive_json);
	tcase_add_test(t, any_bytes_survive_json);
	tcase_add_loop_test(t, bad_line, 0, sizeof bad_lines / sizeof *bad_lines);
	tcase_add_test(t, blank_lines_and_a_missing_last_newline);
	tcase_add_loop_test(t, base64_vector, 0, sizeof base64 / sizeof *base64);
	tcase_add_loop_test(t, npy_head, 0, sizeof npy_heads / sizeof *npy_heads);
	tcase_add_test(t, npy_head_of_ours);
	tcase_add_test(t, chunks_join_to_their_document);
	tcase_add_test(t, a_join_notices_gaps_sizes_and_hashes);
	tcase_add_test(t, memory_may_end_anywhere);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
