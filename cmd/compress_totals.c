/* compress_totals.c - ds-compress: what is told of archives made or read */
#include "compress.h"

#include <stdio.h>

static double ratio(const struct ds_archive_totals *t)
{
	return t->text_bytes ? (double)t->file_bytes / (double)t->text_bytes : 0;
}

void compress_put_stats(struct compress *z)
{
	const struct ds_archive_totals *t = &z->totals;
	struct cli *cli = &z->cli;

	cli_stat_u64(cli, "input_bytes", z->input_bytes);
	cli_stat_u64(cli, "text_bytes", t->text_bytes);
	if (!z->mode)
		cli_stat_u64(cli, "output_bytes", t->file_bytes);
	cli_stat_u64(cli, "index_bytes", t->vector_bytes + t->word_bytes + t->passage_bytes);
	cli_stat_u64(cli, "duplicate_bytes", t->text_bytes - t->stored_text);
	cli_stat_u64(cli, "dictionary_text_bytes", t->dictionary_text);
	cli_stat_u64(cli, "dictionary_bytes", t->dictionary_bytes);
	for (unsigned i = 0; i < DS_ARCHIVE_CODERS; i++) {
		char key[64];

		if (!ds_archive_coder(i))
			continue;
		snprintf(key, sizeof key, "%s_bytes", ds_archive_coder(i));
		cli_stat_u64(cli, key, t->coder_bytes[i]);
	}
	cli_stat_real(cli, "ratio", ratio(t));
	cli_stat_u64(cli, "documents", t->documents);
	cli_stat_u64(cli, "chunks", t->passages);
	cli_stat_u64(cli, "threads", z->threads);
}

void compress_tell_totals(struct compress *z, const struct ds_archive_totals *t, uint64_t input)
{
	struct ds_archive_totals *sum = &z->totals;

	z->input_bytes += input;
	sum->documents += t->documents;
	sum->text_bytes += t->text_bytes;
	sum->passages += t->passages;
	sum->file_bytes += t->file_bytes;
	sum->vector_bytes += t->vector_bytes;
	sum->word_bytes += t->word_bytes;
	sum->passage_bytes += t->passage_bytes;
	sum->stored_text += t->stored_text;
	sum->dictionary_text += t->dictionary_text;
	sum->dictionary_bytes += t->dictionary_bytes;
	for (unsigned i = 0; i < DS_ARCHIVE_CODERS; i++)
		sum->coder_bytes[i] += t->coder_bytes[i];
	cli_note(&z->cli,
		 "%llu documents, %llu bytes -> %llu (%.2f %%): text %llu, embeddings %llu, words "
		 "%llu",
		 (unsigned long long)t->documents, (unsigned long long)t->text_bytes,
		 (unsigned long long)t->file_bytes, 100 * ratio(t),
		 (unsigned long long)(t->block_bytes + t->dictionary_bytes),
		 (unsigned long long)t->vector_bytes, (unsigned long long)t->word_bytes);
}
