/* ids.c - numbers that somebody expects, coded by that and by what was learnt of those before */
#include "mix/ids.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mix/tables.h"

/* Contexts are the last 0 to 3 ids; matches are found by the last 2 to 4. */
#define CONTEXTS 4
#define MATCH_MIN 2
#define MATCH_MAX 4
#define MATCH_ORDERS (MATCH_MAX - MATCH_MIN + 1)
#define LENGTH_MAX 32
#define BUCKETS 11
/* What is expected; each context's chance and how sure it is; the match. */
#define INPUTS (1 + 2 * CONTEXTS + 1)
/* Weights are chosen by match, longest context known, and how sure the expectation is. */
#define SETS (4 * 4 * 4)
#define SLOT_BITS_MIN 14
#define SLOT_BITS_MAX 24
#define NO_ID UINT32_MAX
#define WEIGHT_MAX (1 << 24)

/* A chance of a bit in a context. */
struct slot {
	uint16_t p; /* of a one, in 1/65536 */
	uint8_t n;  /* bits seen, 255 at most */
	uint8_t check;
};

struct weights {
	int32_t w[INPUTS]; /* in 1/65536 */
};

struct ds_mix_ids {
	const struct ds_mix_tables *tables;
	uint32_t n_ids;
	unsigned bits, slot_bits, place_bits;
	size_t cap; /* ids of a lane */
	struct slot *slot;
	struct weights *by_set, *by_level; /* [bits][SETS], [bits] */
	uint16_t (*match)[BUCKETS];	   /* [bits]: that what is expected of a match comes */
	uint32_t *id, *n;		   /* [lanes][cap], [lanes] */
	uint32_t *place;		   /* [MATCH_ORDERS][2^place_bits]: of an id; 0: none */
	uint32_t rate[256];		   /* of a chance that has seen so many bits, in 1/65536 */
};

/* One id on its way. */
struct turn {
	struct ds_mix_ids *m;
	uint64_t context[MATCH_MAX + 1];
	uint32_t expected; /* by a match; NO_ID: by none */
	unsigned length;   /* its bucket, 0: no match */
	/* a bit of it */
	struct slot *slot[CONTEXTS];
	struct weights *set, *level;
	uint16_t *match; /* NULL: it says nothing of this bit */
	unsigned match_bit;
	int32_t input[INPUTS];
	uint32_t p;
};

/* floor(256 ln(m / 1024)) for m from 1024 to 2047 */
static uint8_t ln_table[1024];

static void make_ln(void)
{
	/* e^(1/256) times 2^60, and its powers */
	const uint64_t step = UINT64_C(1157433911791679357);
	uint64_t power = step;
	unsigned x = 0;

	for (uint64_t i = 0; i < 1024; i++) {
		while (power <= (1024 + i) << 50) {
			power = (uint64_t)((unsigned __int128)power * step >> 60);
			x++;
		}
		ln_table[i] = (uint8_t)x;
	}
}

/* 256 ln(x), about */
static int32_t ln256(uint32_t x)
{
	const int e = 31 - __builtin_clz(x);
	const uint32_t m = e >= 10 ? x >> (e - 10) : x << (10 - e);

	return (e * 45426 + 128) / 256 + ln_table[m - 1024];
}

static unsigned bits_of(uint64_t n)
{
	unsigned bits = 1;

	while (bits < 40 && (UINT64_C(1) << bits) < n)
		bits++;
	return bits;
}

static unsigned between(unsigned x, unsigned low, unsigned high)
{
	return x < low ? low : x > high ? high : x;
}

static void begin_weights(struct ds_mix_ids *m)
{
	for (size_t i = 0; i < m->bits * (size_t)SETS; i++)
		m->by_set[i].w[0] = 65536;
	for (unsigned i = 0; i < m->bits; i++)
		for (unsigned k = 0; k < BUCKETS; k++)
			m->match[i][k] = 45875;
	for (uint32_t i = 0; i < 256; i++)
		m->rate[i] = 131072 / (2 * i + 3);
	for (size_t i = 0; i < (size_t)1 << m->slot_bits; i++)
		m->slot[i].p = 32768;
}

enum ds_status ds_mix_ids_new(struct ds_mix_ids **m_ret, uint32_t n_ids, size_t lanes, size_t n,
			      struct ds_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct ds_mix_ids *m = ds_alloc_zero(1, sizeof *m);

	if (!m)
		return ds_fail_nomem(err, sizeof *m);
	pthread_once(&once, make_ln);
	m->tables = ds_mix_tables();
	m->n_ids = n_ids;
	m->bits = bits_of(n_ids);
	m->slot_bits = between(bits_of(lanes * n) + 4, SLOT_BITS_MIN, SLOT_BITS_MAX);
	m->place_bits = m->slot_bits - 4;
	m->cap = n;
	m->slot = ds_alloc_zero((size_t)1 << m->slot_bits, sizeof *m->slot);
	m->by_set = ds_alloc_zero((size_t)m->bits * SETS, sizeof *m->by_set);
	m->by_level = ds_alloc_zero(m->bits, sizeof *m->by_level);
	m->match = ds_alloc_zero(m->bits, sizeof *m->match);
	m->id = ds_alloc_zero(lanes * n, sizeof *m->id);
	m->n = ds_alloc_zero(lanes, sizeof *m->n);
	m->place = ds_alloc_zero((size_t)MATCH_ORDERS << m->place_bits, sizeof *m->place);
	if (!m->slot || !m->by_set || !m->by_level || !m->match || !m->id || !m->n || !m->place) {
		const size_t bytes = sizeof *m->slot << m->slot_bits;

		ds_mix_ids_free(m);
		return ds_fail_nomem(err, bytes);
	}
	begin_weights(m);
	*m_ret = m;
	return DS_OK;
}

void ds_mix_ids_free(struct ds_mix_ids *m)
{
	if (!m)
		return;
	free(m->slot);
	free(m->by_set);
	free(m->by_level);
	free(m->match);
	free(m->id);
	free(m->n);
	free(m->place);
	free(m);
}

/* Groups are the leaves of a tree of sums: node i has nodes 2 i and 2 i + 1. */
static size_t groups_of(uint32_t n_ids)
{
	const unsigned bits = bits_of(n_ids);

	return bits > 6 ? (size_t)1 << (bits - 6) : 1;
}

size_t ds_mix_ids_sums(uint32_t n_ids)
{
	return 2 * groups_of(n_ids);
}

static uint32_t sum_of(const uint32_t *frequency, size_t from, size_t end)
{
	uint32_t sum = 0;

	for (size_t i = from; i < end; i++)
		sum += frequency[i];
	return sum;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void ds_mix_ids_sum(const struct ds_mix_expected *x, uint32_t n_ids)
{
	const size_t groups = groups_of(n_ids);

	for (size_t g = 0; g < groups; g++)
		x->sum[groups + g] = sum_of(x->frequency, least(g * DS_MIX_GROUP, n_ids),
					    least((g + 1) * DS_MIX_GROUP, n_ids));
	for (size_t i = groups; i-- > 1;)
		x->sum[i] = x->sum[2 * i] + x->sum[2 * i + 1];
}

/* Frequencies of the ids below a node of the given level, by their next bit. */
static void split(const struct ds_mix_ids *m, const struct ds_mix_expected *x, unsigned level,
		  uint32_t node, uint32_t half[2])
{
	const unsigned below = m->bits - level;
	const size_t from = ((size_t)node << below) - ((size_t)1 << m->bits);
	const size_t middle = from + ((size_t)1 << (below - 1));

	if (below > 6) {
		half[0] = x->sum[2 * node];
		half[1] = x->sum[2 * node + 1];
		return;
	}
	half[0] = sum_of(x->frequency, least(from, m->n_ids), least(middle, m->n_ids));
	half[1] = sum_of(x->frequency, least(middle, m->n_ids),
			 least(from + ((size_t)1 << below), m->n_ids));
}

static unsigned bucket(uint32_t length)
{
	return length < 8 ? length : length < 16 ? 8 : length < LENGTH_MAX ? 9 : 10;
}

/* What came after the same ids before, of the longest of three candidates' orders that match. */
static void find_match(struct turn *t, size_t lane)
{
	struct ds_mix_ids *m = t->m;
	const uint32_t *here = m->id + lane * m->cap;
	const uint32_t n = m->n[lane];

	t->expected = NO_ID;
	t->length = 0;
	for (unsigned k = MATCH_MAX; k >= MATCH_MIN; k--) {
		uint32_t *place = m->place + ((size_t)(k - MATCH_MIN) << m->place_bits) +
				  (t->context[k] >> (64 - m->place_bits));
		const size_t other = *place ? *place / m->cap : 0;
		const uint32_t at = *place ? *place % m->cap : 0, length_max = least(n, LENGTH_MAX);
		const uint32_t *there = m->id + other * m->cap;
		uint32_t length = 0;

		if (n < k)
			continue;
		while (!t->length && at < m->n[other] && length < length_max && length < at &&
		       there[at - 1 - length] == here[n - 1 - length])
			length++;
		if (length >= MATCH_MIN) {
			t->expected = there[at];
			t->length = bucket(length);
		}
		*place = (uint32_t)(lane * m->cap + n);
	}
}

static void begin(struct turn *t, struct ds_mix_ids *m, size_t lane)
{
	const uint32_t *id = m->id + lane * m->cap;
	const size_t n = m->n[lane];

	t->m = m;
	for (uint64_t k = 0; k <= MATCH_MAX; k++) {
		t->context[k] = k;
		for (size_t i = 1; i <= k; i++)
			t->context[k] = ds_mix_hash(t->context[k], n >= i ? id[n - i] : NO_ID);
	}
	find_match(t, lane);
}

static unsigned sureness(int32_t logit)
{
	const int32_t size = logit < 0 ? -logit : logit;

	return size < 128 ? 0 : size < 384 ? 1 : size < 768 ? 2 : 3;
}

/* The inputs of contexts; the longest that is known is returned. */
static unsigned look_up(struct turn *t, uint32_t node)
{
	const struct ds_mix_ids *m = t->m;
	unsigned known = 0;

	for (unsigned k = 0; k < CONTEXTS; k++) {
		const uint64_t h = ds_mix_hash(t->context[k], (uint64_t)node * CONTEXTS + k);
		struct slot *s = &m->slot[h >> (64 - m->slot_bits)];

		if (s->check != (uint8_t)h)
			*s = (struct slot){.p = 32768, .check = (uint8_t)h};
		t->slot[k] = s;
		t->input[1 + 2 * k] = s->n ? m->tables->stretch[s->p >> 4] : 0;
		t->input[2 + 2 * k] = ((int32_t)s->p - 32768) * (s->n < 4 ? s->n : 4) / 256;
		if (s->n && k)
			known = k;
	}
	return known;
}

/* What the match says of the next bit, if the bits so far are those that it expected. */
static unsigned ask_match(struct turn *t, unsigned level, uint32_t node)
{
	const struct ds_mix_ids *m = t->m;
	const unsigned below = m->bits - level;
	int32_t logit;

	t->match = NULL;
	t->input[INPUTS - 1] = 0;
	if (t->expected == NO_ID || (t->expected >> below) + (UINT32_C(1) << level) != node)
		return 0;
	t->match = &m->match[level][t->length];
	t->match_bit = t->expected >> (below - 1) & 1;
	logit = m->tables->stretch[*t->match >> 4];
	t->input[INPUTS - 1] = t->match_bit ? logit : -logit;
	return t->length <= 3 ? 1 : t->length <= 7 ? 2 : 3;
}

/* The probability of a one: t->p. */
static void predict(struct turn *t, unsigned level, uint32_t node, const uint32_t half[2])
{
	const struct ds_mix_ids *m = t->m;
	int32_t logit = ln256(half[1]) - ln256(half[0]);
	int64_t sum = 0;
	unsigned set;

	logit = logit > DS_MIX_LOGIT_MAX ? DS_MIX_LOGIT_MAX : logit;
	logit = logit < -DS_MIX_LOGIT_MAX ? -DS_MIX_LOGIT_MAX : logit;
	t->input[0] = logit;
	set = ask_match(t, level, node) * 16 + look_up(t, node) * 4 + sureness(logit);
	t->set = &m->by_set[level * SETS + set];
	t->level = &m->by_level[level];
	for (unsigned i = 0; i < INPUTS; i++)
		sum += (int64_t)t->input[i] * (t->set->w[i] + t->level->w[i]);
	sum /= 65536;
	sum = sum > DS_MIX_LOGIT_MAX ? DS_MIX_LOGIT_MAX : sum;
	sum = sum < -DS_MIX_LOGIT_MAX ? -DS_MIX_LOGIT_MAX : sum;
	t->p = m->tables->squash[sum + DS_MIX_LOGIT_MAX];
}

/* As many of 65536 as a chance becomes that was p, by rate in 65536. */
static uint16_t moved(uint32_t p, unsigned bit, uint32_t rate)
{
	const int32_t to = bit ? 65535 : 0;
	const int32_t now = (int32_t)p + (int32_t)((to - (int32_t)p) * (int64_t)rate / 65536);

	return (uint16_t)(now < 32 ? 32 : now > 65503 ? 65503 : now);
}

static int32_t nudged(int32_t w, int32_t step)
{
	w += step;
	return w > WEIGHT_MAX ? WEIGHT_MAX : w < -WEIGHT_MAX ? -WEIGHT_MAX : w;
}

static void learn(struct turn *t, unsigned bit)
{
	const int32_t error = (bit ? 65535 : 0) - (int32_t)t->p;

	for (unsigned i = 0; i < INPUTS; i++) {
		const int32_t step = t->input[i] * error;

		t->set->w[i] = nudged(t->set->w[i], step / (1 << 17));
		t->level->w[i] = nudged(t->level->w[i], step / (1 << 18));
	}
	for (unsigned k = 0; k < CONTEXTS; k++) {
		struct slot *s = t->slot[k];

		s->p = moved(s->p, bit, t->m->rate[s->n]);
		s->n += s->n < 255;
	}
	if (t->match)
		*t->match = moved(*t->match, bit == t->match_bit, 655);
}

/* One of enc and dec is given; id is of use to enc. */
static uint32_t code(struct ds_mix_ids *m, size_t lane, const struct ds_mix_expected *x,
		     struct ds_arith_enc *enc, struct ds_arith_dec *dec, uint32_t id)
{
	struct turn t;
	uint32_t node = 1;

	begin(&t, m, lane);
	for (unsigned level = 0; level < m->bits; level++) {
		unsigned bit = enc ? id >> (m->bits - 1 - level) & 1 : 0;
		uint32_t half[2];

		split(m, x, level, node, half);
		if (half[1]) { /* else no id has a one there */
			predict(&t, level, node, half);
			if (enc)
				ds_arith_encode_bit(enc, bit, t.p);
			else
				bit = ds_arith_decode_bit(dec, t.p);
			learn(&t, bit);
		}
		node = 2 * node + bit;
	}
	id = node - (UINT32_C(1) << m->bits);
	m->id[lane * m->cap + m->n[lane]++] = id;
	return id;
}

void ds_mix_ids_encode(struct ds_mix_ids *m, size_t lane, const struct ds_mix_expected *x,
		       struct ds_arith_enc *enc, uint32_t id)
{
	code(m, lane, x, enc, NULL, id);
}

uint32_t ds_mix_ids_decode(struct ds_mix_ids *m, size_t lane, const struct ds_mix_expected *x,
			   struct ds_arith_dec *dec)
{
	return code(m, lane, x, NULL, dec, 0);
}
