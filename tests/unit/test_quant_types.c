/* test_quant_types.c - weight types against values worked out from their layouts, half precision */
#include <check.h>
#include <math.h>
#include <string.h>

#include "gguf/types.h"
#include "quant/quant.h"

/* Little-endian half of 0.5, 0.25, 2. */
#define HALF 0x00, 0x38
#define QUARTER 0x00, 0x34
#define TWO 0x00, 0x40

enum {
	F32 = 0,
	F16 = 1,
	Q4_0,
	Q4_1,
	Q5_0 = 6,
	Q5_1,
	Q8_0,
	Q4_K = 12,
	Q5_K,
	Q6_K,
	I8 = 24,
	BF16 = 30
};

/* A block, and the values expected at some of its places. */
static const struct {
	uint32_t type;
	uint8_t block[210];
	struct {
		unsigned at;
		float value;
	} expect[6];
} cases[] = {
	{F16, {TWO}, {{0, 2}}},
	{BF16, {0x40, 0xC0}, {{0, -3}}},
	{I8, {0x80}, {{0, -128}}},
	{Q8_0, {HALF, 1, 0xFF, [33] = 127}, {{0, 0.5f}, {1, -0.5f}, {2, 0}, {31, 63.5f}}},
	{Q4_0, {HALF, 0xF1, [17] = 0x0F}, {{0, -3.5f}, {16, 3.5f}, {15, 3.5f}, {31, -4}}},
	{Q4_1, {HALF, TWO, 0xF1, [19] = 0x20}, {{0, 2.5f}, {16, 9.5f}, {15, 2}, {31, 3}}},
	/* fifth bits of values 0 and 31 */
	{Q5_0,
	 {HALF, 1, 0, 0, 0x80, 0x31, [21] = 0xF0},
	 {{0, 0.5f}, {16, -6.5f}, {15, -8}, {31, 7.5f}}},
	{Q5_1,
	 {HALF, TWO, 1, 0, 0, 0x80, 0x31, [23] = 0xF0},
	 {{0, 10.5f}, {16, 3.5f}, {15, 2}, {31, 17.5f}}},
	/* scale 3, minimum 5 of sub-block 0; 0x21 | 1 << 4 = 33.., of 4: low nibbles of byte 8 and
	 * top bits of bytes 0 and 4 */
	{Q4_K,
	 {HALF, QUARTER, 0x43, [8] = 0x85, [12] = 0x27, [16] = 0x94, [80] = 0x6C},
	 {{0, 0.5f * 3 * 4 - 0.25f * 5}, {1, -1.25f}, {32, 0}, {128, 0.5f * 23 * 12 - 0.25f * 34}}},
	{Q5_K,
	 {HALF, QUARTER, 0x43, [8] = 0x85, [12] = 0x27, [16] = 0x11, [48] = 0x94, [112] = 0x6C},
	 {{0, 0.5f * 3 * 20 - 0.25f * 5}, {1, -1.25f}, {128, 0.5f * 23 * 28 - 0.25f * 34}}},
	{Q6_K,
	 {[0] = 0x5A, [128] = 0xE4, [192] = 2, [194] = 3, [196] = 4, [198] = 0xFF, [208] = HALF},
	 {{0, 0.5f * 2 * (10 - 32)},
	  {32, 0.5f * 3 * (16 - 32)},
	  {64, 0.5f * 4 * (5 + 32 - 32)},
	  {96, 0.5f * -1 * (48 - 32)}}},
};

START_TEST(test_layouts)
{
	const struct ds_ggml_type *type = ds_ggml_type(cases[_i].type);
	float out[256];

	ck_assert_ptr_nonnull(type);
	ck_assert_ptr_nonnull(ds_quant_decoder(cases[_i].type));
	ds_quant_decoder(cases[_i].type)(cases[_i].block, out, type->block_values);
	for (unsigned i = 0; i < 6; i++)
		if (i == 0 || cases[_i].expect[i].at) {
			float want = cases[_i].expect[i].value, got = out[cases[_i].expect[i].at];

			ck_assert_msg(got == want, "%s: value %u is %g, expected %g", type->name,
				      cases[_i].expect[i].at, (double)got, (double)want);
		}
}
END_TEST

START_TEST(test_unknown_types)
{
	static const uint32_t types[] = {4, 5, 9, 10, 16, 26, 31, 36, 39, 1000, UINT32_MAX};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		ck_assert_ptr_null(ds_quant_decoder(types[i]));
}
END_TEST

START_TEST(test_every_half)
{
	for (uint32_t h = 0; h < 65536; h++) {
		float f = ds_f16_to_f32((uint16_t)h);
		uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
		double want = exponent ? ldexp(1024 + mantissa, (int)exponent - 25)
				       : ldexp(mantissa, -24);

		if (exponent == 31) {
			ck_assert(mantissa ? isnan(f) : isinf(f));
			continue;
		}
		ck_assert((double)f == (h & 0x8000 ? -want : want));
		ck_assert_uint_eq(ds_f32_to_f16(f), h);
	}
}
END_TEST

START_TEST(test_rounding_to_half)
{
	/* midway goes to the even one, a little more goes up */
	for (uint32_t h = 0; h < 0x7BFF; h++) {
		float low = ds_f16_to_f32((uint16_t)h), high = ds_f16_to_f32((uint16_t)(h + 1));
		float middle = low + (high - low) / 2;

		ck_assert_uint_eq(ds_f32_to_f16(middle), h + (h & 1));
		ck_assert_uint_eq(ds_f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
		ck_assert_uint_eq(ds_f32_to_f16(-nextafterf(middle, 0)), 0x8000 | h);
	}
	ck_assert_uint_eq(ds_f32_to_f16(65519.996f), 0x7BFF);
	ck_assert_uint_eq(ds_f32_to_f16(65520), 0x7C00);
	ck_assert_uint_eq(ds_f32_to_f16(-1e30f), 0xFC00);
	ck_assert_uint_eq(ds_f32_to_f16(1e-30f), 0);
	ck_assert(isnan(ds_f16_to_f32(ds_f32_to_f16(NAN))));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quant_types");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_layouts, 0, (int)(sizeof cases / sizeof *cases));
	tcase_add_test(tc, test_unknown_types);
	tcase_add_test(tc, test_every_half);
	tcase_add_test(tc, test_rounding_to_half);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
