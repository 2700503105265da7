/* compress_make.c - ds-compress: documents into an archive, or out of one */
#include "compress.h"

#include <stdlib.h>
#include <string.h>

#include "archive/import.h"

static void skipped(void *user, const char *path, const char *why)
{
	const struct compress *z = user;

	cli_warn(&z->cli, "%s: %s: left out", path, why);
}

static void progress(void *user, uint64_t bytes)
{
	struct compress *z = user;

	cli_progress(&z->cli, "compressing", bytes, 0);
}

static enum ds_status import(struct compress *z, struct ds_import *im, const char *path,
			     struct ds_err *err)
{
	struct ds_in in;
	enum ds_status st;

	if (strcmp(path, "-") != 0)
		return ds_import_path(im, path, err);
	DS_TRY(ds_in_open(&in, "-", err));
	st = ds_import_stream(im, &in, z->name ? z->name : "", err);
	ds_in_close(&in);
	return st;
}

static enum ds_status fill(struct compress *z, struct ds_archive_writer *w, uint64_t *input_ret,
			   struct ds_err *err)
{
	const struct ds_import_options o = {
		.writer = w,
		.index = !z->no_index,
		.model = z->cli.model,
		.pool = z->archive.pool,
		.passage_tokens = z->passage_tokens,
		.overlap_tokens = z->overlap_tokens,
		.skipped = skipped,
		.progress = progress,
		.user = z,
	};
	enum ds_status st = DS_OK;
	struct ds_import *im;

	DS_TRY(ds_import_new(&im, &o, err));
	if (z->cli.n_operand == 0)
		st = import(z, im, "-", err);
	for (int i = 0; st == DS_OK && i < z->cli.n_operand; i++)
		st = import(z, im, z->cli.operand[i], err);
	*input_ret = ds_import_bytes(im);
	ds_import_free(im);
	return st;
}

/* All of the archives given into one. */
static enum ds_status join(struct compress *z, struct ds_archive_writer *w, uint64_t *input_ret,
			   struct ds_err *err)
{
	struct ds_secret any = {0}, *secret = NULL;
	enum ds_status st = DS_OK;

	if (z->cli.secret) {
		any = *z->cli.secret;
		any.demanded = 0; /* what is not encrypted can become so */
		secret = &any;
	}
	for (int i = 0; st == DS_OK && i < z->cli.n_operand; i++) {
		struct ds_archive_totals t;
		struct ds_archive *a;

		DS_TRY(ds_archive_open(&a, z->cli.operand[i], secret, err));
		ds_archive_totals(a, &t);
		*input_ret += t.file_bytes;
		st = ds_archive_join(w, a, err);
		ds_archive_close(a);
	}
	return st;
}

enum ds_status compress_make(struct compress *z, struct ds_err *err)
{
	struct ds_archive_writer *w;
	struct ds_archive_totals totals;
	uint64_t input = 0;
	enum ds_status st;

	z->archive.words = !z->no_index;
	z->archive.replace = z->force;
	DS_TRY(ds_pool_new(&z->archive.pool, z->cli.jobs, err));
	st = (z->add ? ds_archive_append : ds_archive_create)(&w, z->cli.output, &z->archive, err);
	if (st == DS_OK) {
		st = (z->join ? join : fill)(z, w, &input, err);
		if (st != DS_OK)
			ds_archive_abort(w);
		else
			st = ds_archive_commit(w, &totals, err);
	}
	if (st == DS_OK)
		compress_tell_totals(z, &totals, input);
	z->threads = ds_pool_threads(z->archive.pool);
	ds_pool_free(z->archive.pool);
	return st;
}

static enum ds_status discard(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	(void)user;
	(void)bytes;
	(void)n;
	(void)err;
	return DS_OK;
}

/* Set lost[] for the members that are not whole, and tell what they lack. */
static enum ds_status find_lost(struct compress *z, struct ds_archive *a, uint8_t *lost,
				struct ds_err *err)
{
	const struct ds_salvage salvage = {compress_tell_damage, z};
	struct ds_rest rest = {.write = discard};

	for (uint64_t i = 0; i < ds_archive_members(a); i++) {
		DS_TRY(ds_archive_copy_rest(a, i, &salvage, &rest, err));
		lost[i] = !rest.whole;
	}
	return DS_OK;
}

enum ds_status compress_salvage(struct compress *z, struct ds_err *err)
{
	const struct ds_salvage salvage = {compress_tell_damage, z};
	struct ds_archive_totals totals;
	struct ds_archive *a;
	enum ds_status st;
	uint8_t *lost;

	DS_TRY(ds_archive_salvage(&a, z->cli.operand[0], z->cli.secret, &salvage, err));
	ds_archive_set_lm(a, compress_lm(z), z->cli.jobs);
	lost = calloc(ds_archive_members(a) + 1, 1);
	st = lost ? find_lost(z, a, lost, err) : ds_fail_nomem(err, ds_archive_members(a));
	if (st == DS_OK)
		st = ds_pool_new(&z->archive.pool, z->cli.jobs, err);
	if (st == DS_OK)
		st = ds_archive_remove(a, z->cli.output, lost, &z->archive, &totals, err);
	if (st == DS_OK) {
		compress_tell_totals(z, &totals, totals.file_bytes);
		z->threads = ds_pool_threads(z->archive.pool);
	}
	ds_pool_free(z->archive.pool);
	free(lost);
	ds_archive_close(a);
	return st;
}

enum ds_status compress_remove(struct compress *z, struct ds_err *err)
{
	struct ds_archive_totals totals;
	struct ds_archive *a;
	uint8_t *removed = NULL;
	enum ds_status st;

	DS_TRY(ds_archive_open(&a, z->cli.output, z->cli.secret, err));
	ds_archive_set_lm(a, compress_lm(z), z->cli.jobs);
	st = compress_choose(a, z->cli.output, z->cli.operand, z->cli.n_operand, &removed, err);
	if (st == DS_OK)
		st = ds_pool_new(&z->archive.pool, z->cli.jobs, err);
	if (st == DS_OK)
		st = ds_archive_remove(a, z->cli.output, removed, &z->archive, &totals, err);
	if (st == DS_OK) {
		compress_tell_totals(z, &totals, totals.file_bytes);
		z->threads = ds_pool_threads(z->archive.pool);
	}
	ds_pool_free(z->archive.pool);
	free(removed);
	ds_archive_close(a);
	return st;
}
