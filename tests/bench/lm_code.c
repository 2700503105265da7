/*
 * lm_code.c - text coded by a language model: bits a character, and how fast
 *
 *	lm_code MODEL TEXT BLOCK_BYTES CONTEXT [THREADS]	one JSON object
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive/lm_code.h"
#include "base/io.h"

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(enum ds_status st, const struct ds_err *err)
{
	if (st == DS_OK)
		return;
	fprintf(stderr, "lm_code: %s\n", err->message);
	exit(1);
}

int main(int argc, char **argv)
{
	struct ds_lm_code_rule rule = {.context = argc > 4 ? (uint32_t)atoi(argv[4]) : 1024};
	size_t block = argc > 3 ? (size_t)atol(argv[3]) : 65536, n, bytes = 0, chars = 0, unfit = 0;
	struct ds_pool *pool;
	struct ds_model *model;
	struct ds_lm_code *code;
	struct ds_lm_job *job;
	struct ds_buf *packed;
	struct ds_map map;
	struct ds_err err;
	uint8_t *back;
	double t[3];

	if (argc < 3) {
		fprintf(stderr, "usage: lm_code MODEL TEXT BLOCK_BYTES CONTEXT [THREADS]\n");
		return 2;
	}
	check(ds_pool_new(&pool, argc > 5 ? (unsigned)atoi(argv[5]) : 0, &err), &err);
	check(ds_model_open(&model, argv[1], &err), &err);
	check(ds_map_open(&map, argv[2], &err), &err);
	check(ds_lm_code_new(&code, model, pool, &rule, &err), &err);
	n = (map.len + block - 1) / block;
	job = calloc(n, sizeof *job);
	packed = calloc(n, sizeof *packed);
	back = malloc(map.len);
	for (size_t i = 0; i < n; i++) {
		size_t left = map.len - i * block;

		job[i] = (struct ds_lm_job){.bytes = (uint8_t *)map.data + i * block,
					    .n = left < block ? left : block,
					    .code = &packed[i]};
	}
	t[0] = seconds();
	check(ds_lm_encode(code, job, n, &err), &err);
	t[1] = seconds();
	for (size_t i = 0; i < n; i++) {
		bytes += packed[i].len;
		unfit += job[i].unfit;
		job[i].bytes = back + i * block;
	}
	check(ds_lm_decode(code, job, n, &err), &err);
	t[2] = seconds();
	for (size_t i = 0; i < map.len; i++)
		chars += (map.data[i] & 0xC0) != 0x80;
	printf("{\"bytes\":%zu,\"code\":%zu,\"bits_per_char\":%.4f,\"unfit\":%zu,\"same\":%s,"
	       "\"encode_kb_s\":%.2f,\"decode_kb_s\":%.2f}\n",
	       map.len, bytes, 8.0 * (double)bytes / (double)chars, unfit,
	       memcmp(back, map.data, map.len) ? "false" : "true",
	       (double)map.len / (t[1] - t[0]) / 1e3, (double)map.len / (t[2] - t[1]) / 1e3);
	return 0;
}
