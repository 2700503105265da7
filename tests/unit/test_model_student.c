/* test_model_student.c - distilling: fitting on data with a known answer, 8 bits, memory that is
 * out */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gguf/gguf_write.h"
#include "model/student.h"
#include "model/student_fit.h"

enum { EMBD = 16, FF = 16, CONTEXT = 12, VOCAB = 14, TEACHER_TENSORS = 21 };

static char dir[] = "/tmp/ds-test-student.XXXXXX";
static char teacher_path[64], student_path[64], text_path[64];

/* --- a teacher of random weights ----------------------------------------------------------- */

static const char *const words[VOCAB] = {
	"[PAD]",	   "[UNK]",	"[CLS]",     "[SEP]",	  "[MASK]",
	"\u2581[unused0]", "\u2581the", "\u2581cat", "\u2581sat", "s",
	"\u2581a",	   "a",		"t",	     "\u2581t"};

static const struct shape {
	const char *name;
	uint64_t d0, d1; /* d1 0: a vector */
} shapes[TEACHER_TENSORS] = {
	{"token_embd.weight", EMBD, VOCAB},
	{"token_types.weight", EMBD, 2},
	{"position_embd.weight", EMBD, CONTEXT},
	{"token_embd_norm.weight", EMBD, 0},
	{"token_embd_norm.bias", EMBD, 0},
	{"blk.0.attn_q.weight", EMBD, EMBD},
	{"blk.0.attn_q.bias", EMBD, 0},
	{"blk.0.attn_k.weight", EMBD, EMBD},
	{"blk.0.attn_k.bias", EMBD, 0},
	{"blk.0.attn_v.weight", EMBD, EMBD},
	{"blk.0.attn_v.bias", EMBD, 0},
	{"blk.0.attn_output.weight", EMBD, EMBD},
	{"blk.0.attn_output.bias", EMBD, 0},
	{"blk.0.attn_output_norm.weight", EMBD, 0},
	{"blk.0.attn_output_norm.bias", EMBD, 0},
	{"blk.0.ffn_up.weight", EMBD, FF},
	{"blk.0.ffn_up.bias", FF, 0},
	{"blk.0.ffn_down.weight", FF, EMBD},
	{"blk.0.ffn_down.bias", EMBD, 0},
	{"blk.0.layer_output_norm.weight", EMBD, 0},
	{"blk.0.layer_output_norm.bias", EMBD, 0},
};

static struct ds_str str(const char *s)
{
	return (struct ds_str){s, strlen(s)};
}

static void put_settings(struct ds_gguf_writer *w)
{
	static const struct {
		const char *key;
		uint32_t value;
	} row[] = {
		{"bert.block_count", 1},
		{"bert.context_length", CONTEXT},
		{"bert.embedding_length", EMBD},
		{"bert.feed_forward_length", FF},
		{"bert.attention.head_count", 4},
		{"bert.pooling_type", 1},
		{"tokenizer.ggml.padding_token_id", 0},
		{"tokenizer.ggml.unknown_token_id", 1},
		{"tokenizer.ggml.cls_token_id", 2},
		{"tokenizer.ggml.seperator_token_id", 3},
		{"tokenizer.ggml.mask_token_id", 4},
	};
	int32_t type[VOCAB];
	struct ds_str token[VOCAB];

	for (int i = 0; i < VOCAB; i++) {
		type[i] = i < 5 ? 3 : 1;
		token[i] = str(words[i]);
	}
	ck_assert_int_eq(ds_gguf_put_str(w, "general.architecture", "bert", NULL), DS_OK);
	ck_assert_int_eq(ds_gguf_put_str(w, "tokenizer.ggml.model", "bert", NULL), DS_OK);
	ck_assert_int_eq(ds_gguf_put_f32(w, "bert.attention.layer_norm_epsilon", 1e-12f, NULL),
			 DS_OK);
	ck_assert_int_eq(ds_gguf_put_strs(w, "tokenizer.ggml.tokens", token, VOCAB, NULL), DS_OK);
	ck_assert_int_eq(ds_gguf_put_i32s(w, "tokenizer.ggml.token_type", type, VOCAB, NULL),
			 DS_OK);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		ck_assert_int_eq(ds_gguf_put_u32(w, row[i].key, row[i].value, NULL), DS_OK);
}

static void make_teacher(void)
{
	struct ds_gguf_writer w = {0};
	struct ds_out out;
	uint64_t seed = 88172645463325252u;

	ck_assert_int_eq(ds_out_open(&out, teacher_path, NULL), DS_OK);
	put_settings(&w);
	for (int i = 0; i < TEACHER_TENSORS; i++) {
		struct ds_gguf_tensor t = {.name = str(shapes[i].name),
					   .n_dims = shapes[i].d1 ? 2 : 1,
					   .dim = {shapes[i].d0, shapes[i].d1, 1, 1}};

		ck_assert_int_eq(ds_gguf_put_tensor(&w, &t, NULL), DS_OK);
	}
	ck_assert_int_eq(ds_gguf_writer_begin(&w, &out, NULL), DS_OK);
	for (int i = 0; i < TEACHER_TENSORS; i++) {
		bool gain = strstr(shapes[i].name, "norm.weight") != NULL;

		for (uint64_t k = 0; k < shapes[i].d0 * (shapes[i].d1 ? shapes[i].d1 : 1); k++) {
			float f;

			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			f = (float)(seed >> 40) / (1 << 23) - 1 + (float)gain;
			ck_assert_int_eq(ds_gguf_writer_data(&w, &f, sizeof f, NULL), DS_OK);
		}
	}
	ck_assert_int_eq(ds_gguf_writer_end(&w, NULL), DS_OK);
	ck_assert_int_eq(ds_out_commit(&out, NULL), DS_OK);
	ds_gguf_writer_fini(&w);
}

static void make_text(void)
{
	FILE *f = fopen(text_path, "w");

	ck_assert_ptr_nonnull(f);
	fputs("the cat sat\n\n  \ncats\nthe the sat a cat t a t a t a t a t\na\ntat\n", f);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	make_teacher();
	make_text();
}

/* --- the tests ----------------------------------------------------------------------------- */

START_TEST(test_corpus)
{
	struct ds_corpus c = {0};
	struct ds_tokenizer *tok;
	struct ds_err err;

	ck_assert_int_eq(ds_tokenizer_open(&tok, teacher_path, &err), DS_OK);
	ck_assert_int_eq(ds_corpus_read(&c, tok, text_path, 10, &err), DS_OK);
	/* lines without tokens are left out, long ones cut */
	ck_assert_uint_eq(c.n, 5);
	ck_assert_uint_eq(c.end[0], 3);
	ck_assert_uint_eq(c.end[1] - c.end[0], 2); /* cat ##s */
	ck_assert_uint_eq(c.end[2] - c.end[1], 10);
	ck_assert_uint_eq(ds_corpus_tokens(&c), c.end[4]);
	ds_corpus_fini(&c);
	ds_tokenizer_close(tok);
}
END_TEST

/* Rows that answer exactly exist: every line is one token, and the targets are given. */
START_TEST(test_fit_known)
{
	enum { ROWS = 12, DIMS = 6, LINES = 130 };
	static float row[ROWS * DIMS], target[LINES * DIMS];
	uint32_t row_of[ROWS + 1], id[LINES];
	size_t end[LINES];
	struct ds_corpus lines = {.id = id, .end = end, .n = LINES};
	struct ds_student student = {.n = ROWS, .dims = DIMS, .row = row};
	struct ds_student_options options = {.passes = 600};
	struct ds_student_fit fit = {.lines = &lines,
				     .target = target,
				     .teacher = target,
				     .teacher_dims = DIMS,
				     .row_of = row_of,
				     .options = &options};

	for (uint32_t i = 0; i < ROWS; i++) {
		row_of[i] = i;
		for (uint32_t j = 0; j < DIMS; j++)
			row[i * DIMS + j] = sinf((float)(i * 7 + j));
	}
	row_of[ROWS] = DS_NO_TOKEN;
	for (uint32_t i = 0; i < LINES; i++) {
		double length = 0;

		/* the last lines are of a token that is left out: they must do no harm */
		id[i] = i % (ROWS + 1);
		end[i] = i + 1;
		for (uint32_t j = 0; j < DIMS; j++) {
			target[i * DIMS + j] = cosf((float)(id[i] * 3 + j * j));
			length += (double)target[i * DIMS + j] * target[i * DIMS + j];
		}
		for (uint32_t j = 0; j < DIMS; j++)
			target[i * DIMS + j] /= (float)sqrt(length);
	}
	ck_assert_int_eq(ds_student_fit(&student, &fit, NULL), DS_OK);
	for (uint32_t i = 0; i < ROWS; i++) {
		double dot = 0, length = 0;

		for (uint32_t j = 0; j < DIMS; j++) {
			dot += (double)row[i * DIMS + j] * target[i * DIMS + j];
			length += (double)row[i * DIMS + j] * row[i * DIMS + j];
		}
		ck_assert_double_gt(dot / sqrt(length), 0.95);
	}
}
END_TEST

START_TEST(test_round)
{
	float row[] = {0.5f, -1, 0.004f, 0, 0, 0, 3e-30f, 1e-30f, -127e-3f, 1e-3f, 0.5e-3f, 0};
	struct ds_student student = {.n = 4, .dims = 3, .row = row};
	float before[12];

	memcpy(before, row, sizeof row);
	ck_assert_int_eq(ds_student_round(&student, NULL), DS_OK);
	for (int i = 0; i < 4; i++) {
		float largest = 0;

		for (int j = 0; j < 3; j++)
			largest = fmaxf(largest, fabsf(before[i * 3 + j]));
		for (int j = 0; j < 3; j++)
			ck_assert_float_le(fabsf(row[i * 3 + j] - before[i * 3 + j]),
					   largest / 127 * 0.5001f);
	}
	/* once rounded, for good */
	memcpy(before, row, sizeof row);
	ck_assert_int_eq(ds_student_round(&student, NULL), DS_OK);
	for (int i = 0; i < 12; i++)
		ck_assert_float_le(fabsf(row[i] - before[i]), fabsf(before[i]) * 1e-6f);
}
END_TEST

static enum ds_status distill(const struct ds_student_options *o, struct ds_corpus *text,
			      struct ds_student_report *report_ret, struct ds_err *err)
{
	struct ds_model *teacher = NULL;
	struct ds_student student = {0};
	struct ds_student_options options = *o;
	struct ds_student_about about = {.name = "t"};
	struct ds_out out;
	enum ds_status st = ds_model_open(&teacher, teacher_path, err);

	options.fit = text;
	if (st == DS_OK)
		st = ds_corpus_read(text, ds_model_tokenizer(teacher), text_path, 8, err);
	if (st == DS_OK)
		st = ds_student_make(&student, teacher, NULL, &options, err);
	if (st == DS_OK)
		st = ds_student_compare(&student, teacher, NULL, text, report_ret, err);
	if (st == DS_OK)
		st = ds_out_open(&out, student_path, err);
	if (st == DS_OK) {
		st = ds_student_write(&student, &out, &about, err);
		if (st == DS_OK)
			st = ds_out_commit(&out, err);
		else
			ds_out_abort(&out);
	}
	ds_student_fini(&student);
	ds_corpus_fini(text);
	ds_model_close(teacher);
	return st;
}

START_TEST(test_written_model)
{
	struct ds_student_options options = {.dims = 15, .sif = 0, .passes = 300};
	struct ds_student_report report;
	struct ds_corpus text = {0};
	struct ds_model *student;
	struct ds_err err;

	ck_assert_msg(distill(&options, &text, &report, &err) == DS_OK, "%s", err.message);
	/* five lines, twelve rows of 15: the fit can be nearly perfect */
	ck_assert_uint_eq(report.lines, 5);
	ck_assert_double_gt(report.cosine, 0.85);
	ck_assert_int_eq(ds_model_open(&student, student_path, &err), DS_OK);
	ck_assert_uint_eq(ds_model_dims(student), 15);
	/* [unused0] is gone */
	ck_assert_uint_eq(ds_tokenizer_size(ds_model_tokenizer(student)), VOCAB - 1);
	ds_model_close(student);
	unlink(student_path);
}
END_TEST

START_TEST(test_memory_out)
{
	struct ds_student_options options = {.dims = 8, .sif = 1e-3, .passes = 1};
	struct ds_student_report report;
	struct ds_corpus text = {0};
	enum ds_status st = DS_ENOMEM;
	struct ds_err err;
	size_t n = 0;

	for (; st != DS_OK; n++) {
		ck_assert_uint_lt(n, 2000);
		ds_alloc_fail_after(n);
		st = distill(&options, &text, &report, &err);
		ck_assert(st == DS_OK || st == DS_ENOMEM);
		ck_assert_int_eq(access(student_path, F_OK) == 0, st == DS_OK);
	}
	ds_alloc_fail_after(SIZE_MAX);
	ck_assert_uint_gt(n, 40);
	unlink(student_path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("student");
	TCase *t = tcase_create("student");
	SRunner *r;
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(teacher_path, sizeof teacher_path, "%s/teacher.gguf", dir);
	snprintf(student_path, sizeof student_path, "%s/student.gguf", dir);
	snprintf(text_path, sizeof text_path, "%s/text.txt", dir);
	tcase_add_unchecked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_corpus);
	tcase_add_test(t, test_fit_known);
	tcase_add_test(t, test_round);
	tcase_add_test(t, test_written_model);
	tcase_add_test(t, test_memory_out);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	unlink(teacher_path);
	unlink(text_path);
	rmdir(dir);
	return failed != 0;
}
