/* npy.c - heads of .npy files: a Python dictionary of three known keys, parsed by hand */
#include "frame/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"

#define HEAD_MAX 65536 /* NumPy itself writes 118 bytes for such arrays */

static const uint8_t magic[DS_NPY_PROBE_BYTES] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
static const char *const descr[] = {"<f4", "<f2", "|i1"};
static const uint8_t item_bytes[] = {4, 2, 1};

bool ds_npy_probe(const void *bytes, size_t n)
{
	return n >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

size_t ds_npy_row_bytes(const struct ds_npy *npy)
{
	return (size_t)npy->dims * item_bytes[npy->type];
}

/* The dictionary's text, read from left to right. */
struct dict {
	const char *s, *begin, *end;
	struct ds_in *in;
	uint64_t base; /* offset of begin in the file */
	struct ds_err *err;
};

static enum ds_status unexpected(const struct dict *d, const char *what)
{
	return ds_fail_at(d->err, DS_EFORMAT, d->in->name, d->base + (uint64_t)(d->s - d->begin),
			  "npy head: %s was expected", what);
}

static void space(struct dict *d)
{
	while (d->s < d->end && (*d->s == ' ' || *d->s == '\n' || *d->s == '\t'))
		d->s++;
}

static bool take(struct dict *d, const char *word)
{
	size_t n = strlen(word);

	space(d);
	if ((size_t)(d->end - d->s) < n || memcmp(d->s, word, n) != 0)
		return false;
	d->s += n;
	return true;
}

/* A quoted word of at most 31 characters. */
static enum ds_status quoted(struct dict *d, char word[32])
{
	const char *begin, *close;
	char quote;

	space(d);
	if (d->s == d->end || (*d->s != '\'' && *d->s != '"'))
		return unexpected(d, "a quoted word");
	quote = *d->s;
	begin = d->s + 1;
	close = memchr(begin, quote, (size_t)(d->end - begin));
	if (!close || close - begin > 31)
		return unexpected(d, "a short quoted word");
	memcpy(word, begin, (size_t)(close - begin));
	word[close - begin] = '\0';
	d->s = close + 1;
	return DS_OK;
}

static enum ds_status number(struct dict *d, uint64_t *value_ret)
{
	const char *begin;

	space(d);
	begin = d->s;
	*value_ret = 0;
	while (d->s < d->end && *d->s >= '0' && *d->s <= '9') {
		if (*value_ret > (uint64_t)DS_FRAME_COUNT_MAX / 10 - 1)
			return unexpected(d, "a smaller number");
		*value_ret = *value_ret * 10 + (uint64_t)(*d->s++ - '0');
	}
	return d->s == begin ? unexpected(d, "a number") : DS_OK;
}

static enum ds_status shape(struct dict *d, struct ds_npy *npy)
{
	uint64_t n[2], dims;
	unsigned count = 0;

	if (!take(d, "("))
		return unexpected(d, "'('");
	while (!take(d, ")")) {
		if (count == 2)
			return unexpected(d, "a shape of one or two dimensions");
		DS_TRY(number(d, &n[count++]));
		if (!take(d, ",") && (count == 1 || (space(d), d->s == d->end || *d->s != ')')))
			return unexpected(d, "',' or ')'");
	}
	if (count == 0)
		return unexpected(d, "a shape of one or two dimensions");
	npy->rows = count == 2 ? n[0] : 1;
	dims = n[count - 1];
	if (dims < 1 || dims > DS_FRAME_DIMS_MAX)
		return ds_fail_at(d->err, DS_ELIMIT, d->in->name, d->base,
				  "npy head: vectors of %" PRIu64 " values, 1 to %u are supported",
				  dims, DS_FRAME_DIMS_MAX);
	npy->dims = (uint32_t)dims;
	return DS_OK;
}

static enum ds_status type(struct dict *d, struct ds_npy *npy)
{
	char word[32];

	DS_TRY(quoted(d, word));
	for (npy->type = 0; npy->type < 3; npy->type++)
		if (strcmp(word, descr[npy->type]) == 0)
			return DS_OK;
	if (strcmp(word, "<i1") == 0 || strcmp(word, "i1") == 0) {
		npy->type = DS_VECTOR_I8;
		return DS_OK;
	}
	return ds_fail_at(d->err, DS_EUNSUPPORTED, d->in->name,
			  d->base + (uint64_t)(d->s - d->begin),
			  "npy head: values of type '%.31s'; <f4, <f2 and |i1 are supported", word);
}

/* { 'descr': '<f4', 'fortran_order': False, 'shape': (3, 384), } in any order */
static enum ds_status dictionary(struct dict *d, struct ds_npy *npy)
{
	unsigned seen = 0;
	char word[32];

	if (!take(d, "{"))
		return unexpected(d, "'{'");
	while (!take(d, "}")) {
		unsigned which;

		DS_TRY(quoted(d, word));
		which = strcmp(word, "descr") == 0	     ? 1
			: strcmp(word, "fortran_order") == 0 ? 2
			: strcmp(word, "shape") == 0	     ? 4
							     : 0;
		if (!which || seen & which)
			return unexpected(d, "'descr', 'fortran_order' and 'shape', once each,");
		seen |= which;
		if (!take(d, ":"))
			return unexpected(d, "':'");
		if (which == 1)
			DS_TRY(type(d, npy));
		else if (which == 4)
			DS_TRY(shape(d, npy));
		else if (!take(d, "False"))
			return unexpected(d, "C order ('fortran_order': False)");
		if (!take(d, ",") && (space(d), d->s == d->end || *d->s != '}'))
			return unexpected(d, "',' or '}'");
	}
	space(d);
	if (seen != 7 || d->s != d->end)
		return unexpected(d, seen == 7 ? "the end of the head" : "the missing key");
	return DS_OK;
}

static enum ds_status read_exactly(struct ds_in *in, void *bytes, size_t n, const char *what,
				   struct ds_err *err)
{
	uint8_t *p = bytes;

	while (n) {
		size_t got;

		DS_TRY(ds_in_read(in, p, n, &got, err));
		if (got == 0)
			return ds_fail_at(err, DS_ETRUNCATED, in->name, in->offset,
					  "input ends within %s: %zu more bytes were expected",
					  what, n);
		p += got;
		n -= got;
	}
	return DS_OK;
}

enum ds_status ds_npy_read_head(struct ds_in *in, struct ds_npy *npy_ret, struct ds_err *err)
{
	struct dict d = {.in = in, .base = in->offset, .err = err};
	uint64_t start = in->offset;
	struct ds_buf text = {0};
	enum ds_status st;
	uint8_t fixed[12];
	uint32_t len;

	DS_TRY(read_exactly(in, fixed, 10, "the npy head", err));
	if (!ds_npy_probe(fixed, 10))
		return ds_fail_at(err, DS_EFORMAT, in->name, start, "not an npy file");
	if (fixed[6] < 1 || fixed[6] > 3 || fixed[7] != 0)
		return ds_fail_at(err, DS_EUNSUPPORTED, in->name, start + 6,
				  "npy version %u.%u; 1.0 to 3.0 are supported", fixed[6],
				  fixed[7]);
	len = ds_get_u16(fixed + 8);
	if (fixed[6] > 1) {
		DS_TRY(read_exactly(in, fixed + 10, 2, "the npy head", err));
		len = ds_get_u32(fixed + 8);
	}
	if (len > HEAD_MAX)
		return ds_fail_at(err, DS_ELIMIT, in->name, start + 8,
				  "an npy head of %" PRIu32 " bytes, at most %d are supported", len,
				  HEAD_MAX);
	d.base = in->offset;
	DS_TRY(ds_buf_reserve(&text, (size_t)len + 1, err));
	st = read_exactly(in, text.data, len, "the npy head", err);
	d.s = d.begin = (const char *)text.data;
	d.end = d.s + len;
	if (st == DS_OK)
		st = dictionary(&d, npy_ret);
	ds_buf_fini(&text);
	return st;
}

enum ds_status ds_npy_read_row(struct ds_in *in, const struct ds_npy *npy, void *row,
			       struct ds_err *err)
{
	return read_exactly(in, row, ds_npy_row_bytes(npy), "a row", err);
}

enum ds_status ds_npy_read_end(struct ds_in *in, struct ds_err *err)
{
	uint64_t offset = in->offset;
	uint8_t byte;
	size_t got;

	DS_TRY(ds_in_read(in, &byte, 1, &got, err));
	if (got)
		return ds_fail_at(err, DS_EFORMAT, in->name, offset,
				  "bytes follow the last row, the end was expected");
	return DS_OK;
}

void ds_npy_make_head(const struct ds_npy *npy, uint8_t head_ret[DS_NPY_HEAD_BYTES])
{
	char text[DS_NPY_HEAD_BYTES];
	int n = snprintf(text, sizeof text,
			 "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu32
			 "), }",
			 descr[npy->type], npy->rows, npy->dims);

	memset(head_ret, ' ', DS_NPY_HEAD_BYTES);
	memcpy(head_ret, magic, sizeof magic);
	head_ret[6] = 1;
	head_ret[7] = 0;
	ds_put_u16(head_ret + 8, DS_NPY_HEAD_BYTES - 10);
	memcpy(head_ret + 10, text, (size_t)n);
	head_ret[DS_NPY_HEAD_BYTES - 1] = '\n';
}
