/* words_record.c - the index of words of a segment */
#include "archive/archive.h"
#include "archive/record.h"
#include "search/words.h"

_Static_assert(DS_ARCHIVE_WORDS == DS_RECORD_WORDS, "the record type is part of the format");

static enum ds_status add(void *user, const uint8_t *text, size_t n, struct ds_err *err)
{
	return ds_words_add(user, text, n, err);
}

static enum ds_status finish(void *user, struct ds_buf *raw, struct ds_err *err)
{
	struct ds_words_builder *b = user;

	return b->n_passages ? ds_words_write(b, raw, err) : DS_OK;
}

struct ds_archive_indexer ds_archive_words_indexer(struct ds_words_builder *builder)
{
	return (struct ds_archive_indexer){
		.type = DS_RECORD_WORDS, .user = builder, .add = add, .finish = finish};
}
