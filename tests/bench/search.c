/*
 * search.c - how long archives are searched, and what is found of what there is
 *
 *	search codes N DIMS BITS
 *	search archive ARCHIVE FRAMES QUERIES [MODEL]
 *
 * One JSON object a line, seconds of one thread.  The first scans N random codes with every kernel
 * table of this machine.  The second has the same chunks as an archive and as frames with f32
 * embeddings, and a query a line: recall@10 against all cosines in f32, of the ten best by codes,
 * of what the best 40, 100 and 500 by codes hold, and of ds-grep's ten; the same of words, against
 * exact BM25 of all passages.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive/archive.h"
#include "base/cursor.h"
#include "find/find.h"
#include "frame/frame.h"

#define TOP 10

static struct ds_err err;

static void must(enum ds_status st)
{
	if (st == DS_OK)
		return;
	fprintf(stderr, "search: %s: %s\n", err.path, err.message);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *room(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p) {
		fprintf(stderr, "search: out of memory\n");
		exit(1);
	}
	return p;
}

static void codes(uint32_t n, uint32_t dims, unsigned bits)
{
	size_t row = ds_code_row_bytes(bits, dims);
	uint8_t *rows = room(n, row), *scale = room(n, 2);
	struct ds_vectors v = {.bits = bits, .dims = dims, .n = n, .scale = scale, .rows = rows};
	float *query = room(dims, sizeof *query), *score = room(n, sizeof *score);
	const struct ds_kern *const *tables;
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < n * row; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		rows[i] = (uint8_t)(x >> 56);
	}
	for (size_t i = 0; i < n; i++)
		ds_put_u16(scale + 2 * i, 0x2C00);
	for (uint32_t i = 0; i < dims; i++)
		query[i] = (float)((int)(i * 7919 % 101) - 50);
	for (size_t t = 0; t < ds_kern_all(&tables); t++) {
		double best = 1e9;

		for (int round = 0; round < 5; round++) {
			double start = seconds();

			must(ds_vectors_score(&v, tables[t], query, score, &err));
			start = seconds() - start;
			best = start < best ? start : best;
		}
		printf("{\"codes\": %u, \"dims\": %u, \"bits\": %u, \"kernels\": \"%s\", \"ms\": "
		       "%.2f}\n", n, dims, bits, tables[t]->name, 1e3 * best);
	}
	free(rows);
	free(scale);
	free(query);
	free(score);
}

/* The f32 embeddings of a stream, in order. */
static float *read_vectors(const char *path, uint32_t dims, size_t *n_ret)
{
	struct ds_frame_reader reader;
	struct ds_embedding_frame e;
	struct ds_frame frame;
	float *vector = NULL;
	size_t n = 0, cap = 0;
	enum ds_status st;
	struct ds_in in;

	must(ds_in_open(&in, path, &err));
	ds_frame_reader_init(&reader, &in);
	while ((st = ds_frame_next(&reader, &frame, &err)) == DS_OK) {
		if (frame.type != DS_FRAME_EMBEDDING)
			continue;
		must(ds_embedding_get(&frame, &e, &err));
		if (e.dims != dims) {
			fprintf(stderr, "search: %s: embeddings of another model\n", path);
			exit(1);
		}
		must(ds_grow(&vector, &cap, (n + 1) * dims, sizeof *vector, &err));
		ds_embedding_f32(&e, vector + n++ * dims);
	}
	if (st != DS_END)
		must(st);
	ds_frame_reader_fini(&reader);
	ds_in_close(&in);
	*n_ret = n;
	return vector;
}

/* The passages with the highest scores, best first. */
static void best_of(const float *score, size_t n, size_t k, size_t *best)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		size_t at = found < k ? found++ : k;

		if (at == k && !(score[i] > score[best[k - 1]]))
			continue;
		at = at == k ? k - 1 : at;
		for (; at > 0 && score[i] > score[best[at - 1]]; at--)
			best[at] = best[at - 1];
		best[at] = i;
	}
}

static size_t common(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
	size_t n = 0;

	for (size_t i = 0; i < n_a; i++)
		for (size_t k = 0; k < n_b; k++)
			n += a[i] == b[k];
	return n;
}

enum { CODES_10, CODES_40, CODES_100, CODES_500, MEANING, WORDS, TRUE_TEN, TRUE_WORDS, COUNTS };
static const size_t depth[4] = {10, 40, 100, 500};

struct bench {
	struct ds_model *model;
	struct ds_embedder *embedder;
	struct ds_archive *archive;
	struct ds_find *meaning, *words, *exact_words;
	const struct ds_kern *kern;
	uint32_t dims;
	float *vector, *score;
	size_t n, count[COUNTS], queries;
	double exact_seconds, scan_seconds, find_seconds[2];
};

static struct ds_find *open_find(struct bench *b, const char *path, enum ds_search_mode mode)
{
	struct ds_find_options o = {.mode = mode, .model = b->model, .passage_tokens = 512};
	struct ds_find *find;

	must(ds_find_new(&find, &o, &err));
	must(ds_find_add(find, path, &err));
	return find;
}

/* Scores of all passages by their codes. */
static void score_codes(struct bench *b, const float *query)
{
	size_t at = 0;

	for (uint32_t s = 0; s < ds_archive_segments(b->archive); s++) {
		struct ds_archive_vectors a;
		struct ds_vectors v;

		must(ds_archive_vectors(b->archive, s, &a, &err));
		v = (struct ds_vectors){.bits = a.bits, .dims = a.dims, .n = a.n,
					.scale = a.scale, .rows = a.rows};
		if (at + v.n <= b->n)
			must(ds_vectors_score(&v, b->kern, query, b->score + at, &err));
		at += v.n;
	}
	if (at != b->n) {
		fprintf(stderr, "search: %zu embeddings in the archive, %zu in the frames\n", at,
			b->n);
		exit(1);
	}
}

/* Which of the hits lie in the passages of the archive that best has. */
static size_t hits_in(struct bench *b, const struct ds_find_hits *hits, const size_t *best)
{
	size_t n = 0;

	for (size_t i = 0; i < TOP && i < b->n; i++) {
		struct ds_archive_passage p;
		struct ds_archive_member m;

		must(ds_archive_passage(b->archive, best[i], &p, &err));
		must(ds_archive_member(b->archive, p.member, &m, &err));
		for (size_t k = 0; k < hits->n; k++)
			if (hits->hit[k].start >= p.start && hits->hit[k].start < p.end &&
			    hits->hit[k].name_len == m.document.name_len &&
			    memcmp(hits->hit[k].name, m.document.name, m.document.name_len) == 0) {
				n++;
				break;
			}
	}
	return n;
}

static void by_meaning(struct bench *b, const char *query, const float *vector)
{
	size_t truth[TOP], found[500];
	struct ds_find_hits hits;
	double start = seconds();

	for (size_t i = 0; i < b->n; i++)
		b->score[i] = b->kern->dot(b->vector + i * b->dims, vector, b->dims);
	b->exact_seconds += seconds() - start;
	best_of(b->score, b->n, TOP, truth);
	start = seconds();
	score_codes(b, vector);
	b->scan_seconds += seconds() - start;
	for (int i = 0; i < 4; i++) {
		size_t k = depth[i] < b->n ? depth[i] : b->n;

		best_of(b->score, b->n, k, found);
		b->count[CODES_10 + i] += common(truth, TOP, found, k);
	}
	start = seconds();
	must(ds_find_query(b->meaning, query, TOP, &hits, &err));
	b->find_seconds[0] += seconds() - start;
	b->count[MEANING] += hits_in(b, &hits, truth);
	b->count[TRUE_TEN] += TOP;
	ds_find_hits_fini(&hits);
}

/* A hit counts as found that scores what the exact one at its place scores: there are equals. */
static void by_words(struct bench *b, const char *query)
{
	struct ds_find_hits exact, hits;
	double start;

	must(ds_find_query(b->exact_words, query, TOP, &exact, &err));
	start = seconds();
	must(ds_find_query(b->words, query, TOP, &hits, &err));
	b->find_seconds[1] += seconds() - start;
	for (size_t i = 0; i < hits.n && exact.n; i++)
		b->count[WORDS] += hits.hit[i].score >= exact.hit[exact.n - 1].score - 1e-5f;
	b->count[TRUE_WORDS] += exact.n;
	ds_find_hits_fini(&exact);
	ds_find_hits_fini(&hits);
}

static void print(const struct bench *b, const char *path)
{
	struct ds_archive_totals t;
	double q = (double)b->queries, ten = (double)b->count[TRUE_TEN];

	ds_archive_totals(b->archive, &t);
	printf("{\"archive\": \"%s\", \"text\": %llu, \"passages\": %llu, \"bits\": %u, "
	       "\"embeddings\": %llu, \"words\": %llu, ",
	       path, (unsigned long long)t.text_bytes, (unsigned long long)t.passages,
	       ds_archive_bits(b->archive), (unsigned long long)t.vector_bytes,
	       (unsigned long long)t.word_bytes);
	for (int i = 0; i < 4; i++)
		printf("\"codes_%zu\": %.4f, ", depth[i], (double)b->count[CODES_10 + i] / ten);
	printf("\"meaning\": %.4f, \"words_found\": %.4f, \"exact_ms\": %.3f, \"scan_ms\": %.3f, "
	       "\"meaning_ms\": %.1f, \"words_ms\": %.1f}\n",
	       (double)b->count[MEANING] / ten,
	       (double)b->count[WORDS] / (double)b->count[TRUE_WORDS], 1e3 * b->exact_seconds / q,
	       1e3 * b->scan_seconds / q, 1e3 * b->find_seconds[0] / q,
	       1e3 * b->find_seconds[1] / q);
}

static void archive(const char *path, const char *frames, const char *queries, const char *model)
{
	struct bench b = {0};
	FILE *f = fopen(queries, "r");
	char line[4096];
	float *vector;

	must(ds_model_open(&b.model, model, &err));
	must(ds_embedder_new(&b.embedder, b.model, NULL, &err));
	must(ds_kern_choose(&b.kern, &err));
	must(ds_archive_open(&b.archive, path, NULL, &err));
	b.dims = ds_model_dims(b.model);
	b.vector = read_vectors(frames, b.dims, &b.n);
	b.score = room(b.n, sizeof *b.score);
	vector = room(b.dims, sizeof *vector);
	b.meaning = open_find(&b, path, DS_SEARCH_MEANING);
	b.words = open_find(&b, path, DS_SEARCH_WORDS);
	b.exact_words = open_find(&b, frames, DS_SEARCH_WORDS);
	while (f && b.n >= TOP && fgets(line, sizeof line, f)) {
		struct ds_part part = {line, strcspn(line, "\n")};

		line[part.len] = '\0';
		must(ds_embed(b.embedder, &part, 1, vector, &err));
		by_meaning(&b, line, vector);
		by_words(&b, line);
		b.queries++;
	}
	if (b.queries)
		print(&b, path);
	if (f)
		fclose(f);
	ds_find_free(b.meaning);
	ds_find_free(b.words);
	ds_find_free(b.exact_words);
	ds_archive_close(b.archive);
	ds_embedder_free(b.embedder);
	ds_model_close(b.model);
	free(b.vector);
	free(b.score);
	free(vector);
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "codes") == 0)
		codes((uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), (unsigned)atoi(argv[4]));
	else if ((argc == 5 || argc == 6) && strcmp(argv[1], "archive") == 0)
		archive(argv[2], argv[3], argv[4], argc == 6 ? argv[5] : NULL);
	else
		fprintf(stderr, "usage: search codes N DIMS BITS\n"
				"       search archive ARCHIVE FRAMES QUERIES [MODEL]\n");
	return 0;
}
