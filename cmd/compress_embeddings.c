/* compress_embeddings.c - ds-compress --embeddings: embeddings made small without their texts */
#include "compress.h"

#include "archive/embeddings.h"

static void tell(struct cli *cli, const struct ds_embeddings_stats *s, uint64_t packed)
{
	cli_note(cli,
		 "%llu embeddings, %llu bytes in f32 -> %llu (%.2f %%); largest error of a "
		 "component %.3g, least cosine %.6f",
		 (unsigned long long)s->embeddings, (unsigned long long)s->values_bytes,
		 (unsigned long long)packed,
		 s->values_bytes ? 100 * (double)packed / (double)s->values_bytes : 0,
		 s->max_error, s->least_cosine);
	if (s->left_out)
		cli_note(cli, "%llu frames of text and of other kinds were left out",
			 (unsigned long long)s->left_out);
}

static void put_stats(struct cli *cli, const struct ds_embeddings_stats *s, uint64_t input,
		      uint64_t output)
{
	cli_stat_u64(cli, "input_bytes", input);
	cli_stat_u64(cli, "output_bytes", output);
	cli_stat_u64(cli, "values_bytes", s->values_bytes);
	cli_stat_u64(cli, "documents", s->documents);
	cli_stat_u64(cli, "embeddings", s->embeddings);
	cli_stat_u64(cli, "left_out", s->left_out);
	cli_stat_real(cli, "max_error", s->max_error);
	cli_stat_real(cli, "least_cosine", s->least_cosine);
}

static enum ds_status convert(struct cli *cli, int mode, unsigned bits, int level,
			      struct ds_in *in, struct ds_err *err)
{
	struct ds_embeddings_stats s;
	struct ds_out out;
	uint64_t written = 0;
	enum ds_status st;

	if (mode == 't') {
		st = ds_embeddings_unpack(in, NULL, &s, err);
	} else {
		DS_TRY(ds_out_open(&out, cli->output, err));
		st = mode ? ds_embeddings_unpack(in, &out, &s, err)
			  : ds_embeddings_pack(in, &out, bits, level, &s, err);
		written = out.written;
		if (st == DS_OK)
			st = ds_out_commit(&out, err);
		else
			ds_out_abort(&out);
	}
	if (st != DS_OK)
		return st;
	tell(cli, &s, mode ? in->offset : written);
	put_stats(cli, &s, in->offset, written);
	return DS_OK;
}

void compress_embeddings(struct cli *cli, int mode, unsigned bits, int level)
{
	struct ds_err err;
	struct ds_in in;
	enum ds_status st = ds_in_open(&in, cli->n_operand ? cli->operand[0] : "-", &err);

	if (st == DS_OK) {
		st = convert(cli, mode, bits, level, &in, &err);
		ds_in_close(&in);
	}
	if (st != DS_OK)
		cli_error(cli, &err);
}
