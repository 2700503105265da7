/*
 * code.h - the bytes of a block coded, and back: one function each way for all coders
 *
 * Coders are numbered in ds-archive(5).  What is known before a block is the dictionary of its
 * segment, at both ends.
 */
#ifndef DS_ARCHIVE_CODE_H
#define DS_ARCHIVE_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum ds_coder {
	DS_CODER_STORED = 0,
	DS_CODER_ZSTD = 1,
	DS_CODER_ZSTD_DICTIONARY = 2,
	DS_CODER_STRONG = 3,
	DS_CODER_STRONG_DICTIONARY = 4,
	DS_CODER_LM = 5,
	DS_CODER_ZSTD_REFERENCES = 6,
	DS_CODER_STRONG_REFERENCES = 7,
};

struct ds_block_encoder;
struct ds_block_encoder_options {
	int level;	  /* zstd, 1..22 */
	unsigned threads; /* that code at the same time */
	int strong;	  /* the mixing coder where it is smaller: 150 MB a thread */
};

enum ds_status ds_block_encoder_new(struct ds_block_encoder **e_ret,
				    const struct ds_block_encoder_options *o, struct ds_err *err);
/* The dictionary of the next blocks, borrowed until another one or ds_block_encoder_free(); n 0:
 * none. Blocks that are coded alone may be in work meanwhile. */
enum ds_status ds_block_encoder_dictionary(struct ds_block_encoder *e, const uint8_t *text,
					   size_t n, struct ds_err *err);
/* A block to be coded, then as it is coded. */
struct ds_block_code {
	const uint8_t *bytes;
	size_t n;
	int alone; /* it is the dictionary of the blocks that follow, and is coded without */
	const uint8_t *references; /* text that it may be coded with instead */
	size_t reference_bytes;
	uint8_t coder;
	struct ds_buf code; /* empty with DS_CODER_STORED: the bytes do not get smaller */
};
/* The code of b depends on options, dictionary and bytes alone. */
enum ds_status ds_block_encode(struct ds_block_encoder *e, unsigned thread, struct ds_block_code *b,
			       struct ds_err *err);
void ds_block_encoder_free(struct ds_block_encoder *e);

/* n bytes as DS_CODER_STRONG, appended to code, and back, exactly n: without what goes before. */
enum ds_status ds_mixed_encode(const uint8_t *bytes, size_t n, struct ds_buf *code,
			       struct ds_err *err);
enum ds_status ds_mixed_decode(const uint8_t *code, size_t stored, uint8_t *bytes_ret, size_t n,
			       struct ds_err *err);

struct ds_block_decoder;
/* A block as it is stored. */
struct ds_coded {
	uint8_t coder;
	const uint8_t *code;
	size_t stored, raw;	   /* bytes of it, and what they come to */
	const uint8_t *dictionary; /* where ds_coder_needs_dictionary() */
	size_t dictionary_bytes;
	uint32_t dictionary_number; /* through the archive, from 1; 0: none */
	int alone;		    /* it is this dictionary itself */
	const uint8_t *references;  /* where ds_coder_needs_references() */
	size_t reference_bytes;
};

enum ds_status ds_block_decoder_new(struct ds_block_decoder **d_ret, struct ds_err *err);
/* DS_CODER_STRONG_REFERENCES needs both, but for the dictionary where there is none. */
int ds_coder_needs_dictionary(uint8_t coder);
int ds_coder_needs_references(uint8_t coder);
/* Exactly c->raw bytes; DS_EUNSUPPORTED, DS_EFORMAT or DS_ENOMEM otherwise. */
enum ds_status ds_block_decode(struct ds_block_decoder *d, const struct ds_coded *c,
			       uint8_t *bytes_ret, struct ds_err *err);
void ds_block_decoder_free(struct ds_block_decoder *d);

#endif
