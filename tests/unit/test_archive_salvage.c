/*
 * test_archive_salvage.c - truncations and changed bytes: each is noticed, and what does not depend
 * on them comes back
 *
 * DS_SALVAGE_TRIALS: how many, 10000 for the whole of it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/reader.h"

#define PATH "test_archive_salvage.dsz"
#define NEW "test_archive_salvage.new.dsz"
#define HURT "test_archive_salvage.hurt.dsz"

static const struct ds_archive_options plain = {
	.level = 1,
	.block_bytes = 16384,
	.segment_bytes = 700000,
	.words = 1,
};

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (random_state >> 33) % n;
}

static void add_document(struct ds_archive_writer *w, const char *name, const uint8_t *bytes,
			 size_t n)
{
	const struct ds_document d = {.name = name, .name_len = strlen(name), .mode = 0644};
	struct ds_err err;

	ck_assert_msg(ds_archive_document(w, &d, &err) == DS_OK, "%s", err.message);
	for (size_t at = 0; at < n; at += 3000) {
		struct ds_chunk_frame c = {.start = at, .end = at + 3000, .text = bytes + at};

		c.end = c.end < n ? c.end : n;
		ck_assert_int_eq(ds_archive_chunk(w, &c, NULL, &err), DS_OK);
	}
	ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
}

/* Documents that share text with earlier ones, some over several segments, with a dictionary. */
static void make_archive(void)
{
	const size_t n = 60000;
	uint8_t *base = malloc(6 * n), *text = malloc(6 * n);
	struct ds_archive_writer *w;
	struct ds_err err;
	char name[32];

	random_state = 7;
	for (size_t i = 0; i < 6 * n; i++)
		base[i] = (uint8_t)(below(30) ? 'a' + below(26) : '\n');
	ck_assert_int_eq(ds_archive_create(&w, PATH, &plain, &err), DS_OK);
	for (unsigned i = 0; i < 48; i++) {
		size_t from = below(5 * n), size = i % 8 == 3 ? 5 * n : 1000 + below(n);

		if (from + size > 6 * n)
			from = 6 * n - size;
		memcpy(text, base + from, size);
		for (size_t k = below(700); k < size; k += 1 + below(5000))
			text[k] = '#';
		snprintf(name, sizeof name, "folder/%u", i);
		add_document(w, name, text, i == 5 ? 0 : size);
	}
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	free(base);
	free(text);
}

/* What is done to a file: it is cut, or some bytes are changed. */
struct harm {
	uint64_t len, at[4];
	int n;
};

static int is_hurt(const struct harm *h, uint64_t from, uint64_t end)
{
	if (end > h->len)
		return 1;
	for (int i = 0; i < h->n; i++)
		if (h->at[i] >= from && h->at[i] < end)
			return 1;
	return 0;
}

static int record_is_hurt(const struct ds_archive *a, const struct harm *h, uint64_t offset)
{
	struct ds_record r;

	ck_assert_int_eq(ds_record_get(&a->map, offset, a->map.len, &r, NULL), DS_OK);
	return is_hurt(h, offset, r.end);
}

static size_t segment_of(const struct ds_archive *a, uint64_t block)
{
	size_t s = 0;

	while (s + 1 < a->n_segments && a->segment[s + 1].first_block <= block)
		s++;
	return s;
}

/* What is left by the layout of the whole archive a. */
struct left {
	const struct ds_archive *a;
	const struct harm *h;
	uint8_t *block, *segment; /* 1: whole; of segments, their documents */
	int directory, tables;	  /* whole; tables: of all records but those of text */
};

static int block_is_left(const struct left *l, uint64_t index, size_t from)
{
	const struct ds_archive *a = l->a;
	const struct ds_block *b = &a->block[index];
	const size_t s = segment_of(a, index);

	if (!l->block[index] || !l->segment[s])
		return 0;
	if (!l->directory && !l->tables && s != from) /* numbers of pieces may be lost */
		return 0;
	if (b->dictionary && record_is_hurt(a, l->h, a->dictionary[b->dictionary - 1].offset))
		return 0;
	for (uint32_t i = 0; i < b->references; i++)
		if (!block_is_left(l, a->piece[a->reference[b->first_reference + i]].block, s))
			return 0;
	return 1;
}

static void find_left(struct left *l)
{
	const struct ds_archive *a = l->a;

	l->block = calloc(a->n_blocks, 1);
	l->segment = calloc(a->n_segments, 1);
	l->tables = 1;
	l->directory = !is_hurt(l->h, a->directory_offset, a->map.len) && l->h->len == a->map.len;
	for (size_t i = 0; i < a->n_blocks; i++)
		l->block[i] = !record_is_hurt(a, l->h, a->block[i].offset);
	for (size_t s = 0; s < a->n_segments; s++) {
		const struct ds_segment_row *row = &a->segment[s].row;

		l->segment[s] = !record_is_hurt(a, l->h, row->record[0].offset);
		for (uint32_t i = 0; i < row->n_records; i++)
			if (row->record[i].offset < l->h->len)
				l->tables &= !record_is_hurt(a, l->h, row->record[i].offset);
	}
}

static enum ds_status count(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	(void)bytes;
	(void)err;
	*(uint64_t *)user += n;
	return DS_OK;
}

static void tell(void *user, const struct ds_err *damage)
{
	ck_assert(damage->message[0]);
	++*(unsigned *)user;
}

/* The extent of the damaged archive that is extent e of segment s. */
static const struct ds_extent_entry *find_extent(struct ds_archive *hurt, const struct left *l,
						 size_t s, uint64_t e)
{
	const uint64_t documents = l->a->segment[s].row.record[0].offset;

	for (size_t i = 0; i < hurt->n_segments; i++) {
		const struct ds_segment_entry *seg = &hurt->segment[i];

		if (seg->row.n_records && seg->row.record[0].offset == documents) {
			ck_assert_uint_eq(seg->extents, l->a->segment[s].extents);
			return &hurt->extent[seg->first_extent + e];
		}
	}
	ck_abort_msg("a segment is not found");
	return NULL;
}

static uint64_t chunks, chunks_left;

/* Each use of a piece that must be there has its bytes. */
static void ck_extent(struct ds_archive *a, struct ds_archive *hurt, const struct left *l, size_t s,
		      uint64_t index)
{
	const struct ds_extent_entry *e = &a->extent[a->segment[s].first_extent + index], *f;
	const uint8_t *one, *other;
	struct ds_err err;

	chunks += e->pieces;
	if (!l->segment[s])
		return;
	f = find_extent(hurt, l, s, index);
	ck_assert_uint_eq(f->pieces, e->pieces);
	for (uint32_t i = 0; i < e->pieces; i++) {
		const struct ds_stored_piece *p = &a->piece[a->use[e->first_use + i].piece];
		const struct ds_stored_piece *q = &hurt->piece[hurt->use[f->first_use + i].piece];

		if (!block_is_left(l, p->block, s))
			continue;
		ck_assert_uint_eq(p->length, q->length);
		ck_assert_int_eq(ds_block_load(a, p->block, &one, &err), DS_OK);
		ck_assert_msg(ds_block_load(hurt, q->block, &other, &err) == DS_OK, "%s",
			      err.message);
		ck_assert(memcmp(one + p->offset, other + q->offset, p->length) == 0);
		chunks_left++;
	}
}

/* Documents that are said to be whole are, and are as many as must be. */
/* An archive of what is whole. */
static void ck_new(struct ds_archive *hurt, const uint8_t *lost)
{
	struct ds_archive *new;
	struct ds_err err;
	uint64_t n = 0;

	for (uint64_t i = 0; i < hurt->n_members; i++)
		n += !lost[i];
	ck_assert_msg(ds_archive_remove(hurt, NEW, lost, &plain, NULL, &err) == DS_OK, "%s",
		      err.message);
	ck_assert_msg(ds_archive_open(&new, NEW, NULL, &err) == DS_OK, "%s", err.message);
	ck_assert_uint_eq(ds_archive_members(new), n);
	ck_assert_msg(ds_archive_test(new, &err) == DS_OK, "%s", err.message);
	ds_archive_close(new);
	unlink(NEW);
}

static void ck_documents(struct ds_archive *a, struct ds_archive *hurt, const struct left *l)
{
	uint8_t *lost = calloc(hurt->n_members + 1, 1);
	unsigned told = 0;
	const struct ds_salvage s = {tell, &told};

	for (uint64_t i = 0; i < hurt->n_members; i++) {
		const struct ds_archive_member *m = &hurt->member[i].m;
		uint64_t bytes = 0, other;
		struct ds_rest rest = {.write = count, .user = &bytes};
		struct ds_err err;

		told = 0;
		ck_assert_int_eq(ds_archive_copy_rest(hurt, i, &s, &rest, &err), DS_OK);
		ck_assert_uint_eq(bytes, m->document.size);
		ck_assert_int_eq(rest.whole, told == 0);
		lost[i] = !rest.whole;
		if (!rest.whole)
			continue;
		ck_assert_int_eq(
			ds_archive_find(a, m->document.name, m->document.name_len, &other, &err),
			DS_OK);
		ck_assert_uint_eq(bytes, a->member[other].m.document.size);
	}
	for (size_t i = 0; i < a->n_segments; i++)
		for (uint64_t e = 0; e < a->segment[i].extents; e++)
			ck_extent(a, hurt, l, i, e);
	if (below(3) == 0)
		ck_new(hurt, lost);
	free(lost);
}

static void try_harm(struct ds_archive *a, const struct harm *h)
{
	struct left l = {.a = a, .h = h};
	uint8_t *bytes = malloc(a->map.len);
	struct ds_archive *hurt;
	enum ds_status st;
	unsigned told = 0;
	const struct ds_salvage s = {tell, &told};
	struct ds_err err;
	FILE *f = fopen(HURT, "wb");

	memcpy(bytes, a->map.data, a->map.len);
	for (int i = 0; i < h->n; i++)
		bytes[h->at[i]] ^= (uint8_t)(1 + below(255));
	ck_assert_uint_eq(fwrite(bytes, 1, h->len, f), h->len);
	fclose(f);
	free(bytes);
	st = ds_archive_open(&hurt, HURT, NULL, &err);
	if (st == DS_OK) {
		ck_assert_int_ne(ds_archive_test(hurt, &err), DS_OK);
		ck_assert(err.message[0]);
		ds_archive_close(hurt);
	}
	find_left(&l);
	st = ds_archive_salvage(&hurt, HURT, NULL, &s, &err);
	if (st == DS_OK) {
		ck_documents(a, hurt, &l);
		ds_archive_close(hurt);
	} else {
		for (size_t i = 0; i < a->n_segments; i++)
			ck_assert(!l.segment[i]);
	}
	free(l.block);
	free(l.segment);
}

START_TEST(test_what_is_undamaged_comes_back)
{
	const char *text = getenv("DS_SALVAGE_TRIALS");
	const int trials = text ? atoi(text) : 150;
	struct ds_archive *a;
	struct ds_err err;

	make_archive();
	ck_assert_int_eq(ds_archive_open(&a, PATH, NULL, &err), DS_OK);
	ck_assert_uint_ge(a->n_segments, 4);
	ck_assert_uint_ge(a->n_dictionaries, 1);
	ck_assert_uint_ge(a->n_references, 1);
	for (int i = 0; i < trials; i++) {
		struct harm h = {.len = a->map.len};

		random_state = (uint64_t)i * 1000003 + 1;
		below(2);
		if (i % 3 == 0)
			h.len = below(a->map.len);
		h.n = i % 3 ? 1 + (int)below(4) * (i % 3 == 2) : (int)(i / 3 % 2);
		for (int k = 0; k < h.n; k++)
			h.at[k] = h.len ? below(h.len) : 0;
		h.n = h.len ? h.n : 0;
		/* half of the single ones are where it matters most: after the text */
		if (i % 6 == 1) {
			const struct ds_segment_row *row = &a->segment[below(a->n_segments)].row;

			h.at[0] = row->record[below(row->n_records)].offset + below(60);
		}
		try_harm(a, &h);
	}
	if (text)
		printf("%d archives: of %llu chunks %llu had to come back\n", trials,
		       (unsigned long long)chunks, (unsigned long long)chunks_left);
	ck_assert_uint_gt(chunks_left, chunks / 4);
	ds_archive_close(a);
	unlink(PATH);
	unlink(HURT);
}
END_TEST

/* All that is left of a file, read. */
static enum ds_status salvage_all(struct ds_err *err)
{
	unsigned told = 0;
	const struct ds_salvage s = {tell, &told};
	enum ds_status st = DS_OK;
	struct ds_archive *a;

	DS_TRY(ds_archive_salvage(&a, HURT, NULL, &s, err));
	for (uint64_t i = 0; st == DS_OK && i < a->n_members && i < 3; i++) {
		uint64_t bytes = 0;
		struct ds_rest rest = {.write = count, .user = &bytes};

		st = ds_archive_copy_rest(a, i, &s, &rest, err);
	}
	ds_archive_close(a);
	return st;
}

START_TEST(test_memory_runs_out)
{
	struct ds_buf file = {0};
	struct ds_err err;
	FILE *f;

	make_archive();
	ck_assert_int_eq(ds_read_all(PATH, 1 << 24, &file, &err), DS_OK);
	f = fopen(HURT, "wb");
	ck_assert_uint_eq(fwrite(file.data, 1, file.len - 40, f), file.len - 40);
	fclose(f);
	ds_buf_fini(&file);
	for (size_t n = 0;; n++) {
		enum ds_status st;

		err.message[0] = '\0';
		ds_alloc_fail_after(n);
		st = salvage_all(&err);
		ds_alloc_fail_after(SIZE_MAX);
		if (st == DS_OK)
			break;
		ck_assert_int_eq(st, DS_ENOMEM);
		ck_assert(err.message[0]);
		ck_assert_uint_lt(n, 1000);
	}
	unlink(PATH);
	unlink(HURT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive_salvage");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, test_what_is_undamaged_comes_back);
	tcase_add_test(tc, test_memory_runs_out);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
