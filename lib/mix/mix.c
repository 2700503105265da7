/* mix.c - models of the mixing coder: their memory, what they begin with, and how they return to it
 */
#include "mix/mix.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "config.h"
#include "mix/model.h"

/* Bytes between two looks at memory and at the end of the code */
#define SLICE 4096

static const struct ds_mix_kern *const kerns[] = {
	&ds_mix_ref,
#if DS_X86
	&ds_mix_avx2,
#endif
};

size_t ds_mix_kerns(const struct ds_mix_kern *const **kerns_ret)
{
	size_t n = sizeof kerns / sizeof *kerns, level = ds_cpu_level();

	*kerns_ret = kerns;
	return level + 1 < n ? level + 1 : n;
}

static size_t n_lines(const struct ds_mix *m)
{
	return (size_t)1 << m->line_bits;
}

static size_t n_places(const struct ds_mix *m)
{
	return (size_t)1 << m->place_bits;
}

/* p in 1/2^20 */
static uint32_t chance(const struct ds_mix_tables *t, uint32_t p)
{
	return p << 12 | ((uint32_t)t->stretch[p >> 8] & 0xFFF);
}

static void begin_state(struct ds_mix_state *s, const struct ds_mix_tables *t)
{
	for (int i = 0; i < N_CHANCE; i++)
		for (uint32_t j = 0; j < 256; j++) {
			uint32_t n0 = t->zeros[j], n1 = t->ones[j], p;

			if (i < N_CONTEXT)
				p = ((2 * n1 + 1) << 20) / (2 * (n0 + n1) + 2);
			else if (i == N_CHANCE - 1 || j < 2)
				p = 1 << 19;
			else
				p = j & 1 ? 3 << 18 : 1 << 18;
			s->chance[i][j] = chance(t, p);
		}
	for (int i = 0; i < N_SET; i++)
		for (int j = 0; j < SET_ROWS; j++)
			for (int k = 0; k < N_INPUT; k++)
				s->weight[i][j][k] = 16384 / 8;
	for (int i = 0; i < 256; i++)
		for (int k = 0; k < N_SET; k++)
			s->final[i][k] = (1 << 28) / N_SET;
	for (int i = 0; i < 1 << 16; i++)
		for (int k = 0; k <= APM_STEPS; k++) {
			int x = k * 256 - 2816;

			x = x < -DS_MIX_LOGIT_MAX ? -DS_MIX_LOGIT_MAX : x;
			x = x > DS_MIX_LOGIT_MAX ? DS_MIX_LOGIT_MAX : x;
			s->apm1[i][k] = s->apm2[i][k] = t->squash[x + DS_MIX_LOGIT_MAX];
		}
}

/* As ds_alloc_large(), from the beginning of a cache line on; *owner_ret is what is freed. */
static void *alloc_at_line(size_t n, size_t size, void **owner_ret)
{
	void *p = ds_alloc_large(n + LINE_BYTES / size + 1, size);

	*owner_ret = p;
	return p ? (void *)(((uintptr_t)p + LINE_BYTES - 1) & ~(uintptr_t)(LINE_BYTES - 1)) : NULL;
}

static enum ds_status alloc_tables(struct ds_mix *m, struct ds_err *err)
{
	m->now = alloc_at_line(1, sizeof *m->now, &m->owner[0]);
	m->lines = alloc_at_line(n_lines(m), LINE_BYTES, &m->owner[1]);
	m->place[0] = alloc_at_line(n_places(m) * N_MATCH, sizeof *m->place[0], &m->owner[2]);
	if (!m->now || !m->lines || !m->place[0])
		return ds_fail_nomem(err, n_lines(m) * LINE_BYTES);
	for (int i = 1; i < N_MATCH; i++)
		m->place[i] = m->place[i - 1] + n_places(m);
	return DS_OK;
}

static enum ds_status alloc_model(struct ds_mix **mix_ret, const struct ds_mix_kern *kern,
				  unsigned bits, struct ds_err *err)
{
	struct ds_mix *m = ds_alloc_zero(1, sizeof *m);

	*mix_ret = NULL;
	if (!m)
		return ds_fail_nomem(err, sizeof *m);
	m->tables = ds_mix_tables();
	m->kern = kern;
	m->line_bits = bits - 6;
	m->place_bits = bits - 5;
	enum ds_status status = alloc_tables(m, err);

	if (status != DS_OK)
		ds_mix_free(m);
	else
		*mix_ret = m;
	return status;
}

enum ds_status ds_mix_new(struct ds_mix **mix_ret, unsigned bits, struct ds_err *err)
{
	const size_t n = sizeof kerns / sizeof *kerns;
	enum ds_cpu_level level;

	if (bits < DS_MIX_BITS_MIN || bits > DS_MIX_BITS_MAX)
		return ds_fail(err, DS_EINVAL, "a model of 2^%u bytes: expected 2^%d to 2^%d", bits,
			       DS_MIX_BITS_MIN, DS_MIX_BITS_MAX);
	DS_TRY(ds_cpu_choose(&level, err));
	DS_TRY(alloc_model(mix_ret, kerns[level < n ? level : n - 1], bits, err));
	struct ds_mix *m = *mix_ret;

	memset(m->now, 0, sizeof *m->now);
	memset(m->lines, 0, n_lines(m) * LINE_BYTES);
	memset(m->place[0], 0, n_places(m) * N_MATCH * sizeof *m->place[0]);
	begin_state(m->now, m->tables);
	return DS_OK;
}

size_t ds_mix_memory(const struct ds_mix *m)
{
	return sizeof *m + n_lines(m) * LINE_BYTES + N_MATCH * n_places(m) * sizeof(uint32_t) +
	       m->cap + sizeof *m->now * (m->kept ? 2 : 1) + (m->logged ? n_lines(m) / 8 : 0) +
	       m->cap_log * (sizeof *m->log + sizeof *m->log_line);
}

void ds_mix_free(struct ds_mix *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < sizeof m->owner / sizeof *m->owner; i++)
		free(m->owner[i]);
	free(m->kept);
	free(m->text);
	free(m->logged);
	free(m->log);
	free(m->log_line);
	free(m);
}

/* Room for n more bytes of text and all lines that they can change. */
static enum ds_status reserve(struct ds_mix *m, size_t n, struct ds_err *err)
{
	size_t lines = n_lines(m) - m->n_log;

	DS_TRY(ds_grow(&m->text, &m->cap, m->len + n + 1, 1, err));
	if (!m->logged)
		return DS_OK;
	if (n < lines / (2 * N_CONTEXT))
		lines = 2 * N_CONTEXT * n;
	lines += m->n_log;
	if (lines <= m->cap_log)
		return DS_OK;
	struct log_entry *log = ds_resize(m->log, lines, sizeof *log);

	if (!log)
		return ds_fail_nomem(err, lines * sizeof *log);
	m->log = log;
	uint32_t *index = ds_resize(m->log_line, lines, sizeof *index);

	if (!index)
		return ds_fail_nomem(err, lines * sizeof *index);
	m->log_line = index;
	m->cap_log = lines;
	return DS_OK;
}

static enum ds_status check_prime(const struct ds_mix *m, size_t n, struct ds_err *err)
{
	if (n > DS_MIX_PRIME_MAX - m->len)
		return ds_fail(err, DS_ELIMIT, "more than %zu bytes to prime a model with",
			       DS_MIX_PRIME_MAX);
	return DS_OK;
}

enum ds_status ds_mix_prime(struct ds_mix *m, const void *bytes, size_t n, struct ds_err *err)
{
	DS_TRY(check_prime(m, n, err));
	DS_TRY(reserve(m, n, err));
	m->kern->learn(m, bytes, n);
	return DS_OK;
}

enum ds_status ds_mix_freeze(struct ds_mix *m, struct ds_err *err)
{
	if (m->kept)
		return DS_OK;
	struct ds_mix_state *kept = ds_alloc(1, sizeof *kept);
	uint64_t *logged = ds_alloc_zero((n_lines(m) + 63) / 64, sizeof *logged);

	if (!kept || !logged) {
		free(kept);
		free(logged);
		return ds_fail_nomem(err, sizeof *kept);
	}
	memcpy(kept, m->now, sizeof *kept);
	m->kept = kept;
	m->logged = logged;
	m->frozen_len = m->len;
	return DS_OK;
}

enum ds_status ds_mix_copy(struct ds_mix **copy_ret, const struct ds_mix *m, struct ds_err *err)
{
	DS_TRY(alloc_model(copy_ret, m->kern, m->line_bits + 6, err));
	struct ds_mix *copy = *copy_ret;
	enum ds_status status = reserve(copy, m->frozen_len, err);

	memcpy(copy->now, m->kept ? m->kept : m->now, sizeof *copy->now);
	memcpy(copy->lines, m->lines, n_lines(m) * LINE_BYTES);
	memcpy(copy->place[0], m->place[0], n_places(m) * N_MATCH * sizeof *m->place[0]);
	if (status == DS_OK) {
		memcpy(copy->text, m->text, m->frozen_len);
		copy->len = m->frozen_len;
		status = ds_mix_freeze(copy, err);
	}
	if (status != DS_OK) {
		ds_mix_free(copy);
		*copy_ret = NULL;
	}
	return status;
}

static void undo(struct ds_mix *m)
{
	for (size_t i = 0; i < m->n_log; i++) {
		memcpy(m->lines + (size_t)m->log_line[i] * LINE_BYTES, m->log[i].line, LINE_BYTES);
		m->logged[m->log_line[i] >> 6] = 0;
	}
	m->n_log = 0;
	m->len = m->frozen_len;
	memcpy(m->now, m->kept, sizeof *m->now);
}

static enum ds_status encode(struct ds_mix *m, const uint8_t *bytes, size_t n, struct ds_buf *code,
			     struct ds_err *err)
{
	struct ds_arith_enc enc;

	ds_arith_enc_init(&enc, code);
	for (size_t i = 0, part; i < n; i += part) {
		part = n - i < SLICE ? n - i : SLICE;
		DS_TRY(reserve(m, part, err));
		DS_TRY(ds_arith_enc_reserve(&enc, 8 * part, err));
		m->kern->encode(m, bytes + i, part, &enc);
	}
	return ds_arith_enc_finish(&enc, err);
}

enum ds_status ds_mix_prime_encode(struct ds_mix *m, const void *bytes, size_t n,
				   struct ds_buf *code, struct ds_err *err)
{
	DS_TRY(check_prime(m, n, err));
	return encode(m, bytes, n, code, err);
}

enum ds_status ds_mix_encode(struct ds_mix *m, const void *bytes, size_t n, struct ds_buf *code,
			     struct ds_err *err)
{
	if (n > DS_MIX_BLOCK_MAX)
		return ds_fail(err, DS_ELIMIT, "a block of %zu bytes: expected at most %zu", n,
			       DS_MIX_BLOCK_MAX);
	DS_TRY(ds_mix_freeze(m, err));
	enum ds_status status = encode(m, bytes, n, code, err);

	undo(m);
	return status;
}

/* What to decode. */
struct code {
	const void *bytes;
	size_t n;
};

static enum ds_status decode(struct ds_mix *m, struct code code, uint8_t *bytes, size_t n,
			     struct ds_err *err)
{
	struct ds_arith_dec dec;

	ds_arith_dec_init(&dec, code.bytes, code.n);
	for (size_t i = 0, part; i < n && !ds_arith_dec_starved(&dec); i += part) {
		part = n - i < SLICE ? n - i : SLICE;
		DS_TRY(reserve(m, part, err));
		m->kern->decode(m, bytes + i, part, &dec);
	}
	return ds_arith_dec_finish(&dec, err);
}

enum ds_status ds_mix_prime_decode(struct ds_mix *m, const void *code, size_t n_code, void *bytes,
				   size_t n, struct ds_err *err)
{
	DS_TRY(check_prime(m, n, err));
	return decode(m, (struct code){code, n_code}, bytes, n, err);
}

enum ds_status ds_mix_decode(struct ds_mix *m, const void *code, size_t n_code, void *bytes,
			     size_t n, struct ds_err *err)
{
	if (n > DS_MIX_BLOCK_MAX)
		return ds_fail(err, DS_ELIMIT, "a block of %zu bytes: expected at most %zu", n,
			       DS_MIX_BLOCK_MAX);
	DS_TRY(ds_mix_freeze(m, err));
	enum ds_status status = decode(m, (struct code){code, n_code}, bytes, n, err);

	undo(m);
	return status;
}
