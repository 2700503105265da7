/*
 * mix.c - the mixing coder: how small and how fast, with and without priming
 *
 *	mix BITS BLOCK_KIB DICTIONARY TEXT...	one JSON object a text
 *
 * The texts are cut into blocks, each coded alone; of long ones BLOCKS spread over them are coded.
 * Seconds are those of the thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mix/mix.h"

#define BLOCKS 32

struct file {
	uint8_t *bytes;
	size_t len;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(enum ds_status status, const struct ds_err *err)
{
	if (status == DS_OK)
		return;
	fprintf(stderr, "mix: %s\n", err->message);
	exit(1);
}

static struct file load(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct file file = {malloc(1 << 28), 0};

	if (!f || !file.bytes) {
		fprintf(stderr, "mix: %s: cannot be read\n", path);
		exit(1);
	}
	file.len = fread(file.bytes, 1, 1 << 28, f);
	fclose(f);
	return file;
}

struct sum {
	size_t raw, code;
	double encode, decode;
};

static void one_block(struct ds_mix *mix, const uint8_t *bytes, size_t n, struct sum *sum)
{
	struct ds_buf code = {0};
	struct ds_err err = {0};
	uint8_t *back = malloc(n);
	double t = seconds();

	must(ds_mix_encode(mix, bytes, n, &code, &err), &err);
	sum->encode += seconds() - t;
	t = seconds();
	must(ds_mix_decode(mix, code.data, code.len, back, n, &err), &err);
	sum->decode += seconds() - t;
	if (memcmp(back, bytes, n) != 0) {
		fprintf(stderr, "mix: other bytes came back\n");
		exit(1);
	}
	sum->raw += n;
	sum->code += code.len;
	free(back);
	ds_buf_fini(&code);
}

static void one_text(struct ds_mix *mix, const char *path, size_t block, const char *how)
{
	struct file file = load(path);
	struct sum sum = {0};
	size_t n = (file.len + block - 1) / block, step = n > BLOCKS ? n / BLOCKS : 1;

	for (size_t i = 0; i < n; i += step) {
		size_t at = i * block, len = file.len - at < block ? file.len - at : block;

		one_block(mix, file.bytes + at, len, &sum);
	}
	printf("{\"text\": \"%s\", \"model\": \"%s\", \"blocks\": %zu, \"percent\": %.2f, "
	       "\"encode_mb_s\": %.2f, \"decode_mb_s\": %.2f}\n",
	       path, how, (n + step - 1) / step, 100.0 * (double)sum.code / (double)sum.raw,
	       1e-6 * (double)sum.raw / sum.encode, 1e-6 * (double)sum.raw / sum.decode);
	free(file.bytes);
}

int main(int argc, char **argv)
{
	struct ds_err err = {0};
	struct ds_mix *fresh, *primed;
	struct file dictionary;

	if (argc < 5) {
		fprintf(stderr, "usage: mix BITS BLOCK_KIB DICTIONARY TEXT...\n");
		return 2;
	}
	unsigned bits = (unsigned)strtoul(argv[1], NULL, 10);
	size_t block = 1024 * strtoul(argv[2], NULL, 10);

	dictionary = load(argv[3]);
	must(ds_mix_new(&fresh, bits, &err), &err);
	must(ds_mix_new(&primed, bits, &err), &err);
	double t = seconds();

	must(ds_mix_prime(primed, dictionary.bytes, dictionary.len, &err), &err);
	printf("{\"dictionary\": %zu, \"prime_mb_s\": %.2f, \"memory\": %zu}\n", dictionary.len,
	       1e-6 * (double)dictionary.len / (seconds() - t), ds_mix_memory(primed));
	for (int i = 4; i < argc; i++) {
		one_text(fresh, argv[i], block, "fresh");
		one_text(primed, argv[i], block, "primed");
	}
	ds_mix_free(fresh);
	ds_mix_free(primed);
	free(dictionary.bytes);
	return 0;
}
