/* arith.c - the arithmetic coder: beginning, carrying and ending a code */
#include "mix/arith.h"

void ds_arith_enc_init(struct ds_arith_enc *enc, struct ds_buf *out)
{
	*enc = (struct ds_arith_enc){out, out->len, 0, UINT64_MAX};
}

enum ds_status ds_arith_enc_reserve(struct ds_arith_enc *enc, size_t steps, struct ds_err *err)
{
	if (steps > SIZE_MAX / 4 - 8)
		return ds_fail_nomem(err, SIZE_MAX);
	/* a step multiplies the interval by 2^-24 at least */
	return ds_buf_reserve(enc->out, 4 * steps + 8, err);
}

/* The number written so far is less than 1 with the carry: it stops before the first byte. */
void ds_arith_carry(struct ds_arith_enc *enc)
{
	size_t i = enc->out->len;

	while (i > enc->start && ++enc->out->data[--i] == 0)
		;
}

enum ds_status ds_arith_enc_finish(struct ds_arith_enc *enc, struct ds_err *err)
{
	struct ds_buf *out = enc->out;

	DS_TRY(ds_buf_reserve(out, 8, err));
	/* of the numbers in the interval, one that ends in as many zeros as can be: 40 at least */
	for (int zeros = 63; zeros >= 40; zeros--) {
		uint64_t mask = (UINT64_C(1) << zeros) - 1, up = -enc->low & mask;

		if (up < enc->range) {
			ds_arith_add(enc, up);
			break;
		}
	}
	for (int shift = 56; shift >= 0; shift -= 8)
		out->data[out->len++] = (uint8_t)(enc->low >> shift);
	for (int i = 0; i < 8 && out->data[out->len - 1] == 0; i++)
		out->len--;
	return DS_OK;
}

void ds_arith_dec_init(struct ds_arith_dec *dec, const void *code, size_t len)
{
	const uint8_t *bytes = code;

	*dec = (struct ds_arith_dec){bytes, len ? bytes + len : bytes, 0, 0, UINT64_MAX};
	for (int i = 0; i < 8; i++) {
		dec->code <<= 8;
		if (dec->next < dec->end)
			dec->code |= *dec->next++;
		else
			dec->missing++;
	}
}

enum ds_status ds_arith_dec_finish(const struct ds_arith_dec *dec, struct ds_err *err)
{
	if (ds_arith_dec_starved(dec))
		return ds_fail(err, DS_ETRUNCATED, "the code ends before its text does");
	if (dec->next < dec->end)
		return ds_fail(err, DS_EFORMAT, "%zu bytes of code after the end of its text",
			       (size_t)(dec->end - dec->next));
	return DS_OK;
}
