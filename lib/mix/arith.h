/*
 * arith.h - the arithmetic coder: bits with 16-bit and symbols with up to 24-bit probabilities
 *
 * A code is a number in [0, 1) written in bytes, most significant first; of the last 8, zeros at
 * the end are left out.  Encoder and decoder hold an interval of 64 bits: its length is at least
 * 2^48 before each step and is multiplied by the share of what is coded, rounded down.  The
 * encoder's sums carry into bytes that are already written.
 */
#ifndef DS_MIX_ARITH_H
#define DS_MIX_ARITH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

#define DS_ARITH_BITS_MAX 24

struct ds_arith_enc {
	struct ds_buf *out; /* the code is appended to it */
	size_t start;	    /* its first byte */
	uint64_t low, range;
};

struct ds_arith_dec {
	const uint8_t *next, *end;
	unsigned missing; /* bytes taken after the end, as zeros */
	uint64_t code, range;
};

void ds_arith_enc_init(struct ds_arith_enc *enc, struct ds_buf *out);
/* Room for as many more bits or symbols; call it before they are encoded. */
enum ds_status ds_arith_enc_reserve(struct ds_arith_enc *enc, size_t steps, struct ds_err *err);
/* Write what is pending; 8 bytes at most. */
enum ds_status ds_arith_enc_finish(struct ds_arith_enc *enc, struct ds_err *err);

void ds_arith_dec_init(struct ds_arith_dec *dec, const void *code, size_t len);
/* The code must end where the last symbol did: DS_ETRUNCATED or DS_EFORMAT. */
enum ds_status ds_arith_dec_finish(const struct ds_arith_dec *dec, struct ds_err *err);
/* Has far more been decoded than the code can hold? */
static inline int ds_arith_dec_starved(const struct ds_arith_dec *dec)
{
	return dec->missing > sizeof dec->code;
}

void ds_arith_carry(struct ds_arith_enc *enc);

static inline void ds_arith_shift_out(struct ds_arith_enc *enc)
{
	while (enc->range < UINT64_C(1) << 48) {
		uint8_t *p = enc->out->data + enc->out->len;

		p[0] = (uint8_t)(enc->low >> 56);
		p[1] = (uint8_t)(enc->low >> 48);
		enc->out->len += 2;
		enc->low <<= 16;
		enc->range <<= 16;
	}
}

static inline void ds_arith_add(struct ds_arith_enc *enc, uint64_t offset)
{
	enc->low += offset;
	if (enc->low < offset)
		ds_arith_carry(enc);
}

/* p1: probability of a set bit in 1/65536, 1 to 65535 */
static inline void ds_arith_encode_bit(struct ds_arith_enc *enc, unsigned bit, uint32_t p1)
{
	uint64_t ones = (enc->range >> 16) * p1;

	if (bit) {
		enc->range = ones;
	} else {
		ds_arith_add(enc, ones);
		enc->range -= ones;
	}
	ds_arith_shift_out(enc);
}

/* Symbol of frequency freq >= 1, those before it together first, all 2^bits. */
static inline void ds_arith_encode(struct ds_arith_enc *enc, uint32_t first, uint32_t freq,
				   unsigned bits)
{
	uint64_t unit = enc->range >> bits;

	ds_arith_add(enc, unit * first);
	enc->range = unit * freq;
	ds_arith_shift_out(enc);
}

static inline void ds_arith_shift_in(struct ds_arith_dec *dec)
{
	while (dec->range < UINT64_C(1) << 48) {
		for (int i = 0; i < 2; i++) {
			uint8_t byte = 0;

			if (dec->next < dec->end)
				byte = *dec->next++;
			else
				dec->missing++;
			dec->code = dec->code << 8 | byte;
		}
		dec->range <<= 16;
	}
}

static inline unsigned ds_arith_decode_bit(struct ds_arith_dec *dec, uint32_t p1)
{
	uint64_t ones = (dec->range >> 16) * p1;
	unsigned bit = dec->code < ones;

	if (bit) {
		dec->range = ones;
	} else {
		dec->code -= ones;
		dec->range -= ones;
	}
	ds_arith_shift_in(dec);
	return bit;
}

/* Where in [0, 2^bits) the code points: find the symbol that lies there, then take it. */
static inline uint32_t ds_arith_decode_point(const struct ds_arith_dec *dec, unsigned bits)
{
	uint64_t point = dec->code / (dec->range >> bits), last = (UINT64_C(1) << bits) - 1;

	return (uint32_t)(point < last ? point : last);
}

static inline void ds_arith_decode_take(struct ds_arith_dec *dec, uint32_t first, uint32_t freq,
					unsigned bits)
{
	uint64_t unit = dec->range >> bits;

	dec->code -= unit * first;
	dec->range = unit * freq;
	ds_arith_shift_in(dec);
}

#endif
