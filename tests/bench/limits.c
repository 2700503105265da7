/*
 * limits.c - what this machine can do at most, and how near the kernels of matrices come
 *
 *	limits [-j N] [-f]	one JSON object a line; -f: fewer shapes
 *	limits [-j N] -r FILE	only how fast FILE is read, mapped and in the page cache
 *
 * Peaks are loops of independent instructions on registers: 64 int8 products of vpdpbusd (VNNI),
 * vpmaddubsw + vpmaddwd + vpaddd (AVX2), both counted as two operations a product.  Bandwidth is
 * that of summing a buffer far beyond the caches, each thread its own part: the best round, and the
 * median of all, which is what can be read for long while others use the memory too.  The kernels
 * are those that DS_CPU chooses.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gguf/types.h"
#include "kern/linear.h"

enum {
	PEAK_STEPS = 4 << 20,
	PEAK_REPEATS = 200,
	REPEATS = 9,
	FILE_REPEATS = 41,
	ROWS = 1536,
	TOKENS = 512
};
#define READ_BYTES ((size_t)256 << 20)
#define MATVEC_BYTES ((size_t)1 << 28)

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "limits: %s\n", what);
	exit(1);
}

#define VNNI(r) "vpdpbusd %%zmm31, %%zmm31, %%zmm" #r "\n\t"
#define AVX2(r, t)                                                                                 \
	"vpmaddubsw %%ymm15, %%ymm15, %%ymm" #t "\n\t"                                             \
	"vpmaddwd %%ymm14, %%ymm" #t ", %%ymm" #t "\n\t"                                           \
	"vpaddd %%ymm" #t ", %%ymm" #r ", %%ymm" #r "\n\t"

/* Registers keep what they hold: no value makes these instructions slower. */
static void peak_vnni(void *arg, size_t index, unsigned thread)
{
	size_t n = PEAK_STEPS / 12;

	(void)arg, (void)index, (void)thread;
	__asm__ volatile("1:\n\t" VNNI(16) VNNI(17) VNNI(18) VNNI(19) VNNI(20) VNNI(21) VNNI(22)
				 VNNI(23) VNNI(24) VNNI(25) VNNI(26) VNNI(27) "dec %0\n\tjnz 1b"
			 : "+r"(n)::"cc");
}

__attribute__((target("avx2"))) static void peak_avx2(void *arg, size_t index, unsigned thread)
{
	size_t n = PEAK_STEPS / 6;

	(void)arg, (void)index, (void)thread;
	__asm__ volatile("1:\n\t" AVX2(0, 6) AVX2(1, 7) AVX2(2, 8) AVX2(3, 9) AVX2(4, 10)
				 AVX2(5, 11) "dec %0\n\tjnz 1b\n\tvzeroupper"
			 : "+r"(n)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
}

struct reading {
	const char *bytes;
	size_t part;
};

__attribute__((target("avx2"))) static void read_part(void *arg, size_t index, unsigned thread)
{
	const struct reading *r = arg;
	const char *at = r->bytes + index * r->part, *end = at + r->part;
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;

	(void)thread;
	for (; at < end; at += 128) {
		a = _mm256_add_epi64(a, _mm256_load_si256((const void *)at));
		b = _mm256_add_epi64(b, _mm256_load_si256((const void *)(at + 32)));
		c = _mm256_add_epi64(c, _mm256_load_si256((const void *)(at + 64)));
		d = _mm256_add_epi64(d, _mm256_load_si256((const void *)(at + 96)));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	__asm__ volatile("" ::"x"(a));
}

struct times {
	double least, median;
};

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Times of a parallel region, once a thread; at most PEAK_REPEATS of them. */
static struct times measure(struct ds_pool *pool, void (*item)(void *, size_t, unsigned), void *arg,
			    size_t repeats)
{
	double took[PEAK_REPEATS];

	for (size_t i = 0; i < repeats; i++) {
		double start = seconds();

		ds_pool_run(pool, ds_pool_threads(pool), item, arg);
		took[i] = seconds() - start;
	}
	qsort(took, repeats, sizeof *took, compare);
	return (struct times){took[0], took[repeats / 2]};
}

static double fastest(struct ds_pool *pool, void (*item)(void *, size_t, unsigned), void *arg)
{
	return measure(pool, item, arg, PEAK_REPEATS).least;
}

/* Members of a JSON object: GB/s of the best round, and for long. */
static void print_reading(struct ds_pool *pool, struct reading *r, size_t repeats)
{
	double gb = 1e-9 * (double)(r->part * ds_pool_threads(pool));
	struct times t;

	measure(pool, read_part, r, 1);
	t = measure(pool, read_part, r, repeats);
	printf("\"read_gb_s\":%.1f,\"sustained_gb_s\":%.1f", gb / t.least, gb / t.median);
}

/* A model's file as decoding reads it: mapped, all of it, again and again. */
static void read_file(struct ds_pool *pool, const char *path)
{
	unsigned threads = ds_pool_threads(pool);
	int fd = open(path, O_RDONLY);
	struct stat st;
	struct reading r;
	void *map;

	if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)4096 * threads)
		die("cannot read the file, or it is too small");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("cannot map the file");
	r = (struct reading){map, (size_t)st.st_size / threads / 4096 * 4096};
	printf("{");
	print_reading(pool, &r, FILE_REPEATS);
	printf(",\"threads\":%u}\n", threads);
	munmap(map, (size_t)st.st_size);
	close(fd);
}

static void peaks(struct ds_pool *pool)
{
	unsigned threads = ds_pool_threads(pool);
	struct reading r = {aligned_alloc(4096, READ_BYTES), READ_BYTES / threads / 4096 * 4096};

	if (!r.bytes)
		die("out of memory");
	memset((char *)r.bytes, 1, READ_BYTES);
	printf("{");
	print_reading(pool, &r, PEAK_REPEATS);
	if (__builtin_cpu_supports("avx2"))
		printf(",\"avx2_gop_s\":%.0f",
		       64e-9 * PEAK_STEPS * threads / fastest(pool, peak_avx2, NULL));
	if (__builtin_cpu_supports("avx512vnni"))
		printf(",\"vnni_gop_s\":%.0f",
		       128e-9 * PEAK_STEPS * threads / fastest(pool, peak_vnni, NULL));
	printf(",\"threads\":%u}\n", threads);
	free((char *)r.bytes);
}

/* Blocks of bytes whose scales, wherever they lie, are finite. */
static void fill(uint8_t *bytes, size_t n)
{
	uint32_t state = 1;

	for (size_t i = 0; i < n; i++) {
		state = state * 1664525 + 1013904223;
		bytes[i] = (state >> 24) & 0x3b;
	}
}

struct bench {
	const struct ds_kern *kern;
	struct ds_pool *pool;
	struct ds_linear *lin;
	struct ds_act *act;
	float *y;
	struct ds_err err;
};

static void try(struct bench *b, enum ds_status st)
{
	if (st != DS_OK)
		die(b->err.message);
}

/* A matrix times n tokens: the least time. */
static double product(struct bench *b, const struct ds_matrix *w, size_t n)
{
	struct ds_product p = {.w = w, .y = b->y, .ld = w->n};
	double least = 1e9;

	ds_act_begin(b->act, n, w->k);
	for (size_t i = 0; i < n; i++) {
		float *x = ds_act_row(b->act, i);

		for (size_t j = 0; j < w->k; j++)
			x[j] = (float)((i * 7 + j * 13) % 255) - 127;
		ds_act_round(b->kern, b->act, i);
	}
	for (int i = 0; i < REPEATS + (n < 64) * 20; i++) {
		double start = seconds(), took;

		ds_linear_run(b->lin, &p, 1, b->act);
		took = seconds() - start;
		least = took < least ? took : least;
	}
	return least;
}

static void shapes(struct bench *b, const size_t *n, size_t n_n)
{
	static const size_t ks[] = {576, 640, 896, 1536, 2048, 4864};
	static const uint32_t types[] = {DS_GGML_Q8_0, DS_GGML_Q4_0, DS_GGML_Q4_1,
					 DS_GGML_Q5_0, DS_GGML_Q4_K, DS_GGML_Q6_K};

	for (size_t t = 0; t < sizeof types / sizeof *types; t++)
		for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
			const struct ds_ggml_type *type = ds_ggml_type(types[t]);
			size_t bytes = ks[i] / type->block_values * type->block_bytes * ROWS;
			uint8_t *data;
			struct ds_matrix w;

			if (ks[i] % type->block_values)
				continue;
			data = aligned_alloc(64, (bytes + 4095) / 4096 * 4096);
			if (!data)
				die("out of memory");
			fill(data, bytes);
			try(b, ds_matrix_init(&w, types[t], data, ROWS, ks[i], &b->err));
			for (size_t j = 0; j < n_n; j++) {
				double s = product(b, &w, n[j]);

				printf("{\"kernels\":\"%s\",\"type\":\"%s\",\"k\":%zu,\"n\":%zu,"
				       "\"gop_s\":%.1f,\"gb_s\":%.2f}\n",
				       b->kern->name, type->name, ks[i], n[j],
				       2e-9 * ROWS * (double)ks[i] * (double)n[j] / s,
				       1e-9 * (double)bytes / s);
				fflush(stdout);
			}
			free(data);
		}
}

/* One token, as in decoding: every type at the speed of memory, the matrix being far larger than
 * the caches. */
static void one_token(struct bench *b)
{
	static const uint32_t types[] = {DS_GGML_Q8_0, DS_GGML_Q4_0, DS_GGML_Q4_1, DS_GGML_Q5_0,
					 DS_GGML_Q5_1, DS_GGML_Q4_K, DS_GGML_Q5_K, DS_GGML_Q6_K,
					 DS_GGML_F16,  DS_GGML_BF16, DS_GGML_F32};
	enum { K = 1024 };
	uint8_t *data = aligned_alloc(4096, MATVEC_BYTES);

	if (!data)
		die("out of memory");
	fill(data, MATVEC_BYTES);
	for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
		const struct ds_ggml_type *type = ds_ggml_type(types[t]);
		size_t row = K / type->block_values * type->block_bytes;
		size_t n = MATVEC_BYTES / row;
		struct ds_matrix w;

		try(b, ds_matrix_init(&w, types[t], data, n, K, &b->err));
		printf("{\"kernels\":\"%s\",\"type\":\"%s\",\"k\":%d,\"n\":1,\"gb_s\":%.2f}\n",
		       b->kern->name, type->name, K, 1e-9 * (double)(n * row) / product(b, &w, 1));
		fflush(stdout);
	}
	free(data);
}

int main(int argc, char **argv)
{
	static const size_t n[] = {64, 512};
	struct bench b = {0};
	const char *path = NULL;
	unsigned threads = 0;
	int opt, fast = 0;

	while ((opt = getopt(argc, argv, "j:fr:")) != -1)
		switch (opt) {
		case 'j':
			threads = (unsigned)atoi(optarg);
			break;
		case 'f':
			fast = 1;
			break;
		case 'r':
			path = optarg;
			break;
		default:
			die("usage: limits [-j N] [-f | -r FILE]");
		}
	try(&b, ds_kern_choose(&b.kern, &b.err));
	try(&b, ds_pool_new(&b.pool, threads, &b.err));
	if (path) {
		read_file(b.pool, path);
		ds_pool_free(b.pool);
		return 0;
	}
	try(&b, ds_linear_new(&b.lin, b.kern, b.pool, 4864, &b.err));
	try(&b, ds_act_new(&b.act, TOKENS, 4864, &b.err));
	b.y = aligned_alloc(64, (size_t)TOKENS * ROWS * sizeof *b.y);
	if (!b.y)
		die("out of memory");
	peaks(b.pool);
	shapes(&b, n, fast ? 1 : 2);
	one_token(&b);
	free(b.y);
	ds_act_free(b.act);
	ds_linear_free(b.lin);
	ds_pool_free(b.pool);
	return 0;
}
