/* compress_plain.c - ds-compress --plain: one document in a form that zstd reads */
#include "compress.h"

#include <string.h>

#include "archive/plain.h"

static enum ds_status to_out(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	return user ? ds_out_write(user, bytes, n, err) : DS_OK;
}

static void put_stats(struct cli *cli, uint64_t text, uint64_t file)
{
	cli_stat_u64(cli, "text_bytes", text);
	cli_stat_u64(cli, "file_bytes", file);
	cli_stat_real(cli, "ratio", text ? (double)file / (double)text : 0);
	cli_note(cli, "%llu bytes of text, %llu of the file", (unsigned long long)text,
		 (unsigned long long)file);
}

static enum ds_status make_plain(struct cli *cli, int level, uint32_t frame_bytes,
				 struct ds_err *err)
{
	const char *path = cli->n_operand ? cli->operand[0] : "-";
	struct ds_plain_options o = {.level = level, .frame_bytes = frame_bytes};
	uint64_t bytes, written;
	enum ds_status st;
	struct ds_out out;
	struct ds_in in;

	DS_TRY(ds_in_open(&in, path, err));
	st = ds_out_open(&out, cli->output, err);
	if (st == DS_OK) {
		st = ds_pool_new(&o.pool, cli->jobs, err);
		if (st == DS_OK)
			st = ds_plain_write(&in, &out, &o, &bytes, err);
		ds_pool_free(o.pool);
		written = out.written;
		if (st == DS_OK)
			st = ds_out_commit(&out, err);
		else
			ds_out_abort(&out);
	}
	ds_in_close(&in);
	if (st == DS_OK)
		put_stats(cli, bytes, written);
	return st;
}

static enum ds_status copy_out(struct cli *cli, struct ds_plain *p, const struct span *range,
			       struct ds_err *err)
{
	const struct span s = compress_span(*range, ds_plain_bytes(p));
	struct ds_out out;
	enum ds_status st;

	DS_TRY(ds_out_open(&out, cli->output, err));
	st = ds_plain_copy(p, s.start, s.end, to_out, &out, err);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

static enum ds_status read_plain(struct cli *cli, int mode, const struct span *range,
				 struct ds_err *err)
{
	struct ds_plain *p;
	enum ds_status st;

	DS_TRY(ds_plain_open(&p, cli->n_operand ? cli->operand[0] : "-", err));
	st = mode == 't' ? ds_plain_copy(p, 0, ds_plain_bytes(p), to_out, NULL, err)
			 : copy_out(cli, p, range, err);
	if (st == DS_OK)
		put_stats(cli, ds_plain_bytes(p), ds_plain_file_bytes(p));
	ds_plain_close(p);
	return st;
}

bool compress_is_plain(const char *path)
{
	const uint8_t *bytes;
	bool plain = false;
	struct ds_in in;
	size_t n;

	if (strcmp(path, "-") == 0 || ds_in_open(&in, path, NULL) != DS_OK)
		return false;
	if (ds_in_peek(&in, 4, &bytes, &n, NULL) == DS_OK)
		plain = ds_plain_probe(bytes, n);
	ds_in_close(&in);
	return plain;
}

void compress_plain(struct cli *cli, int mode, const struct plain_options *o)
{
	struct ds_err err;
	enum ds_status st;

	if (cli->n_operand > 1)
		cli_usage(cli, "--plain is of one document");
	if (mode && mode != 'd' && mode != 't')
		cli_usage(cli, "-%c does not go with --plain, which keeps no names", mode);
	st = mode ? read_plain(cli, mode, &o->range, &err)
		  : make_plain(cli, o->level, o->frame_bytes, &err);
	if (st != DS_OK)
		cli_error(cli, &err);
}
