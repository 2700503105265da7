/*
 * frame.h - records in pipes
 *
 * The format is specified in man/ds-frame.5.  A stream is a sequence of frames closed by an end
 * frame; streams may be concatenated.  Every frame carries checksums of its head and its payload.
 * Documents do not interleave: the frames of one lie between its DOCUMENT and its DOCUMENT_END.
 */
#ifndef DS_FRAME_FRAME_H
#define DS_FRAME_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define DS_FRAME_HEAD_BYTES 48
#define DS_FRAME_PAYLOAD_MAX ((uint64_t)1 << 30)

enum ds_frame_type {
	DS_FRAME_DOCUMENT = 1,	/* a document begins: name, size, time, mode */
	DS_FRAME_TEXT = 2,	/* bytes of the document */
	DS_FRAME_TOKENS = 3,	/* token ids with byte spans */
	DS_FRAME_CHUNK = 4,	/* a chunk: spans, overlap, boundary, its text */
	DS_FRAME_EMBEDDING = 5, /* a vector for a byte span */
	DS_FRAME_LOGPROB = 6,	/* log-probabilities of tokens */
	/* 7 is reserved for hidden states between pipeline stages */
	DS_FRAME_HIT = 8,	   /* a retrieval hit */
	DS_FRAME_DOCUMENT_END = 9, /* the document is complete: its length and hash */
	DS_FRAME_END = 10,	   /* the stream is complete: totals */
	DS_FRAME_USER = 128,	   /* 128..255: private, skipped by readers that do not know them */
};

struct ds_frame {
	uint8_t type;
	uint16_t flags;
	uint64_t document; /* number of the document, counted through all streams of the input */
	uint64_t sequence; /* number of the frame in its stream, from 0 */
	const uint8_t *payload; /* 8-aligned, valid until the next call on the reader */
	size_t payload_len;
	uint64_t offset; /* of the frame's first byte in the input, for messages */
};

/* Which document is open: the order of frames that writers keep and readers check. */
struct ds_frame_order {
	uint64_t documents; /* begun in this stream */
	bool open;	    /* the last of them has not ended */
};

/*
 * Writing.  The writer numbers frames itself and refuses (DS_EINVAL) what breaks the order above;
 * it borrows out.  A document's number is the count of those begun before it in this stream.  On
 * standard output bytes leave at ends of documents and at least every 50 ms of writing, so that
 * the next stage can work.
 */
struct ds_frame_writer {
	struct ds_out *out;
	bool jsonl; /* set it after _init: JSON lines (frame/json.h) instead of frames */
	enum ds_status (*take)(void *arg, const struct ds_frame *f, struct ds_err *err);
	void *take_arg;
	struct ds_frame_order order;
	uint64_t sequence, payload_bytes;
	int64_t flushed_ns;
	struct ds_buf scratch, line;
};
void ds_frame_writer_init(struct ds_frame_writer *w, struct ds_out *out);
/* Frames go to take() instead of an output; it judges their order itself. */
void ds_frame_writer_init_take(struct ds_frame_writer *w,
			       enum ds_status (*take)(void *arg, const struct ds_frame *f,
						      struct ds_err *err),
			       void *arg);
/* One frame whose payload is the parts one after the other. */
enum ds_status ds_frame_write(struct ds_frame_writer *w, uint8_t type, uint64_t document,
			      const struct ds_part *parts, size_t n_parts, struct ds_err *err);
/* The end frame; w can write another stream afterwards. */
enum ds_status ds_frame_write_end(struct ds_frame_writer *w, struct ds_err *err);
void ds_frame_writer_fini(struct ds_frame_writer *w);

/* Reading.  Borrows in, and takes bytes from it in advance.  Memory grows with the bytes that have
 * arrived, at most to twice the largest frame. */
struct ds_frame_reader {
	struct ds_in *in;
	struct ds_buf buf;
	size_t start;	 /* of the next frame in buf */
	uint64_t offset; /* of the next frame in the input */
	struct ds_frame_order order;
	uint64_t next_sequence, payload_bytes;
	uint64_t document_base; /* documents of the streams before this one */
	uint64_t streams;	/* end frames seen */
	uint64_t lost_frames;	/* after ds_frame_recover(), as far as the numbers tell */
	bool inside;		/* frames seen since the last end frame */
	bool spoilt;		/* the next bytes are no sound frame */
	bool damaged;		/* recovered in this stream: order and totals are not checked */
};
void ds_frame_reader_init(struct ds_frame_reader *r, struct ds_in *in);
/*
 * The next frame, end frames included (their totals are checked here).  DS_END at the end of input
 * after an end frame; DS_ETRUNCATED when input ends elsewhere; DS_EFORMAT, DS_ECORRUPT, DS_ELIMIT,
 * DS_EUNSUPPORTED with the byte offset.
 */
enum ds_status ds_frame_next(struct ds_frame_reader *r, struct ds_frame *frame_ret,
			     struct ds_err *err);
/*
 * After ds_frame_next() failed other than by DS_EIO or DS_ENOMEM: go to the next sound head, where
 * ds_frame_next() continues.  *lost_ret is the number of bytes passed over.  DS_END: there is none.
 */
enum ds_status ds_frame_recover(struct ds_frame_reader *r, uint64_t *lost_ret, struct ds_err *err);
void ds_frame_reader_fini(struct ds_frame_reader *r);

/* Whether bytes (the first of an input, n of them) begin a frame stream.  Fewer than 4 do when they
 * begin the magic: a stream cut there is no text. */
bool ds_frame_probe(const void *bytes, size_t n);
#define DS_FRAME_PROBE_BYTES 4
/*
 * For tools that read frames from others: the same of an input, without taking bytes or waiting
 * for more of them than needed.  DS_ETRUNCATED for a pipe that ends before its first byte: that is
 * how a writer looks that was killed early, so an empty document has to be a file.
 */
enum ds_status ds_frame_detect(struct ds_in *in, bool *frames_ret, struct ds_err *err);

/* "chunk", "document_end", "user" ...; NULL for a type that does not exist. */
const char *ds_frame_type_name(uint8_t type);

/*
 * Typed payloads: _put writes one frame, _get checks and unpacks one (pointers into the payload).
 * Offsets, sizes, indices and counts are below 2^63: _put gives DS_EINVAL otherwise.  Errors of
 * _get tell the byte offset; the caller adds the input's name with ds_err_set_path().
 */
#define DS_FRAME_COUNT_MAX INT64_MAX
#define DS_FRAME_NAME_MAX 65535 /* bytes of a document's name */
#define DS_FRAME_DIMS_MAX ((uint32_t)1 << 20)

#define DS_SIZE_UNKNOWN UINT64_MAX

struct ds_document {
	const char *name; /* n bytes, no NUL inside; "" for standard input */
	size_t name_len;
	uint64_t size;	  /* bytes, or DS_SIZE_UNKNOWN */
	int64_t mtime_ns; /* since 1970, 0 when unknown */
	uint32_t mode;	  /* permission bits, 0 when unknown */
};
/* Set size, time and mode from an open file; a pipe or device leaves them as they are. */
void ds_document_stat(struct ds_document *d, int fd);
enum ds_status ds_document_put(struct ds_frame_writer *w, uint64_t document,
			       const struct ds_document *d, struct ds_err *err);
enum ds_status ds_document_get(const struct ds_frame *f, struct ds_document *d_ret,
			       struct ds_err *err);

struct ds_document_end {
	uint64_t size; /* bytes of the whole document, or DS_SIZE_UNKNOWN */
	uint64_t hash; /* XXH3-64 of all its bytes; 0 when the size is unknown */
};
enum ds_status ds_document_end_put(struct ds_frame_writer *w, uint64_t document,
				   const struct ds_document_end *d, struct ds_err *err);
enum ds_status ds_document_end_get(const struct ds_frame *f, struct ds_document_end *d_ret,
				   struct ds_err *err);

struct ds_text {
	uint64_t start; /* byte offset of bytes in the document */
	const uint8_t *bytes;
	size_t len;
};
enum ds_status ds_text_put(struct ds_frame_writer *w, uint64_t document, const struct ds_text *t,
			   struct ds_err *err);
enum ds_status ds_text_get(const struct ds_frame *f, struct ds_text *t_ret, struct ds_err *err);

struct ds_token_frame {
	uint64_t vocabulary; /* ds_tokenizer_id() of the tokenizer */
	uint64_t start;	     /* byte offset of the first token in the document */
	uint64_t first;	     /* index of the first token in the document */
	uint32_t n;
	const uint32_t *id;  /* [n] */
	const uint32_t *end; /* [n] end of each token's bytes from start; never descending */
};
enum ds_status ds_tokens_put(struct ds_frame_writer *w, uint64_t document,
			     const struct ds_token_frame *t, struct ds_err *err);
enum ds_status ds_tokens_get(const struct ds_frame *f, struct ds_token_frame *t_ret,
			     struct ds_err *err);

struct ds_logprob_frame {
	struct ds_token_frame tokens;
	const float *logprob; /* [n] natural logarithm; NAN where the model gives none */
};
enum ds_status ds_logprob_put(struct ds_frame_writer *w, uint64_t document,
			      const struct ds_logprob_frame *l, struct ds_err *err);
enum ds_status ds_logprob_get(const struct ds_frame *f, struct ds_logprob_frame *l_ret,
			      struct ds_err *err);

/* Kinds of boundary that end a chunk. */
enum ds_boundary_kind {
	DS_CUT_LIMIT = 0, /* the token limit, inside a sentence */
	DS_CUT_WORD,
	DS_CUT_SENTENCE,
	DS_CUT_LINE,
	DS_CUT_PARAGRAPH,
	DS_CUT_FENCE, /* the edge of a code fence */
	DS_CUT_HEADING,
	DS_CUT_SEMANTIC,
	DS_CUT_END, /* the end of the document */
	DS_CUT_KINDS
};

struct ds_chunk_frame {
	uint64_t index;		 /* of the chunk in its document, from 0 */
	uint64_t start, end;	 /* byte span in the document */
	uint64_t vocabulary;	 /* ds_tokenizer_id(), 0 when sizes are bytes */
	uint32_t tokens;	 /* counted over the chunk alone */
	uint32_t overlap_tokens; /* of them, shared with the previous chunk */
	uint64_t overlap_bytes;	 /* bytes at its start that end the previous chunk too */
	uint8_t boundary;	 /* enum ds_boundary_kind of its end */
	const uint8_t *text;	 /* end - start bytes */
};
enum ds_status ds_chunk_put(struct ds_frame_writer *w, uint64_t document,
			    const struct ds_chunk_frame *c, struct ds_err *err);
enum ds_status ds_chunk_get(const struct ds_frame *f, struct ds_chunk_frame *c_ret,
			    struct ds_err *err);

enum ds_vector_type { DS_VECTOR_F32 = 0, DS_VECTOR_F16 = 1, DS_VECTOR_I8 = 2 };

struct ds_embedding_frame {
	uint64_t index;	     /* of the chunk (or passage) in its document */
	uint64_t start, end; /* byte span in the document */
	uint64_t model;	     /* ds_model_id() of the model that made it */
	uint32_t dims;
	uint8_t type;	    /* enum ds_vector_type */
	uint8_t normalised; /* 1: Euclidean norm is 1 */
	float scale;	    /* I8: value = scale * stored; else 1 */
	const void *data;   /* [dims] */
};
enum ds_status ds_embedding_put(struct ds_frame_writer *w, uint64_t document,
				const struct ds_embedding_frame *e, struct ds_err *err);
enum ds_status ds_embedding_get(const struct ds_frame *f, struct ds_embedding_frame *e_ret,
				struct ds_err *err);

/* The components as f32, whatever the type: out [dims]. */
void ds_embedding_f32(const struct ds_embedding_frame *e, float *out);

struct ds_hit_frame {
	uint64_t start, end; /* byte span of the passage in its document */
	uint64_t line;	     /* line of start, from 1; 0 when unknown */
	double score;
	const char *name; /* of the document; name_len bytes */
	size_t name_len;
	const uint8_t *text; /* the passage; text_len bytes */
	size_t text_len;
};
enum ds_status ds_hit_put(struct ds_frame_writer *w, const struct ds_hit_frame *h,
			  struct ds_err *err);
enum ds_status ds_hit_get(const struct ds_frame *f, struct ds_hit_frame *h_ret, struct ds_err *err);

/* Any of them: what _get of the frame's type does.  Of end and user frames nothing is unpacked. */
union ds_payload {
	struct ds_document document;
	struct ds_document_end document_end;
	struct ds_text text;
	struct ds_token_frame tokens;
	struct ds_logprob_frame logprob;
	struct ds_chunk_frame chunk;
	struct ds_embedding_frame embedding;
	struct ds_hit_frame hit;
};
enum ds_status ds_payload_get(const struct ds_frame *f, union ds_payload *payload_ret,
			      struct ds_err *err);

#endif
