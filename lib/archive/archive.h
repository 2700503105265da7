/*
 * archive.h - documents in a searchable, randomly readable, checksummed file
 *
 * The format is specified in man/ds-archive.5.  Writing streams: documents are given as bytes, or
 * as chunks with their embeddings, in order; memory does not grow with the collection.  Reading
 * borrows from a map.  A passage is a chunk as the archive keeps it: a byte span of its document.
 */
#ifndef DS_ARCHIVE_ARCHIVE_H
#define DS_ARCHIVE_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/pool.h"
#include "frame/frame.h"
#include "seal/seal.h"

struct ds_archive_writer;
struct ds_archive;

#define DS_ARCHIVE_LEVEL_DEFAULT 19
#define DS_ARCHIVE_LEVEL_MAX 22
#define DS_ARCHIVE_BLOCK_DEFAULT ((uint32_t)256 << 10)
#define DS_ARCHIVE_BLOCK_MIN ((uint32_t)16 << 10)
#define DS_ARCHIVE_BLOCK_MAX ((uint32_t)16 << 20)
#define DS_ARCHIVE_SEGMENT_DEFAULT ((size_t)64 << 20)
#define DS_ARCHIVE_LM_BLOCK_DEFAULT ((uint32_t)16 << 10)
#define DS_ARCHIVE_LM_CONTEXT_MIN 192
#define DS_ARCHIVE_LM_CONTEXT_DEFAULT 1024
#define DS_ARCHIVE_DIMS_MAX 65536
#define DS_ARCHIVE_BITS_DEFAULT 1
#define DS_ARCHIVE_LM_BITS_DEFAULT 4
#define DS_ARCHIVE_CODERS 16

struct ds_archive_options {
	int level;	      /* zstd, 1..22 */
	int strong;	      /* the mixing coder where it is smaller */
	uint32_t block_bytes; /* uncompressed size of a block: random access reads one */
	size_t segment_bytes; /* text that is looked through for what is alike; 0: the default */
	uint64_t model;	      /* ds_model_id() of the embeddings, 0: none */
	uint32_t dims;
	unsigned bits; /* of a dimension of them, 1..4; 0: as in the old archive, or the default */
	struct ds_pool *pool; /* borrowed; NULL: one thread.  The bytes do not depend on it */
	int words;	      /* index the words of passages */
	int replace;	      /* a document takes the place of one that has its name */
	/* The file of the language model that text is coded by where that is smaller, borrowed;
	 * NULL: none.  Text then lies in the order it came. */
	const char *lm;
	uint32_t lm_context; /* tokens that it looks back, a multiple of 64 */
	const char *lm_old;  /* the one that the archive added to was coded by, borrowed, or NULL */
	/* What opens the archives that are read, borrowed; a new archive is sealed by it if sealed
	 * is set, one that is added to as it was. */
	const struct ds_secret *secret;
	int sealed;
};

/* A new archive at path ("-": standard output). */
enum ds_status ds_archive_create(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err);
/* An archive like path with documents added (written beside it and renamed; the old one is intact
 * until ds_archive_commit()).  DS_EINVAL when its embeddings are of another model. */
enum ds_status ds_archive_append(struct ds_archive_writer **w_ret, const char *path,
				 const struct ds_archive_options *options, struct ds_err *err);
/* The model that the embeddings of the next chunks are of; all of an archive are of one model. */
enum ds_status ds_archive_embeddings(struct ds_archive_writer *w, uint64_t model, uint32_t dims,
				     struct ds_err *err);
/* A document begins; its chunks or bytes follow in order, then its end.  DS_EINVAL when the archive
 * has a document of this name, and it is not to be replaced. */
enum ds_status ds_archive_document(struct ds_archive_writer *w, const struct ds_document *d,
				   struct ds_err *err);
/* A chunk: it begins at or before the end of the bytes given so far, and what it repeats of them
 * must be equal.  vector: [dims] f32, normalised.  It becomes a passage when it has a vector, or
 * when the archive has words and no embeddings; else its bytes are taken alone. */
enum ds_status ds_archive_chunk(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				const float *vector, struct ds_err *err);
/* The same with an embedding that is coded already, in the archive's bits; scale: IEEE half. */
enum ds_status ds_archive_chunk_coded(struct ds_archive_writer *w, const struct ds_chunk_frame *c,
				      const uint8_t *row, uint16_t scale, struct ds_err *err);
/* Bytes that belong to no passage. */
enum ds_status ds_archive_bytes(struct ds_archive_writer *w, const void *bytes, size_t n,
				struct ds_err *err);
/* d: size and hash that the bytes given must have; NULL: they are taken as they came. */
enum ds_status ds_archive_document_end(struct ds_archive_writer *w, const struct ds_document_end *d,
				       struct ds_err *err);

struct ds_archive_totals {
	uint64_t documents, text_bytes, passages;
	uint64_t file_bytes; /* of them, in records of text (blocks, dictionaries), the next two: */
	uint64_t block_bytes, dictionary_bytes;
	uint64_t vector_bytes, word_bytes, passage_bytes; /* records of the search index */
	uint64_t stored_text; /* bytes of text in blocks and dictionaries: less than in documents */
	uint64_t dictionary_text;		 /* of these, in dictionaries */
	uint64_t coder_bytes[DS_ARCHIVE_CODERS]; /* what each coder made of stored_text */
};
/* What a coder is called; NULL: there is none of this number. */
const char *ds_archive_coder(unsigned coder);
/* What a file is to the archive: the one that it will replace, the one being written. */
enum ds_archive_file { DS_ARCHIVE_NO_FILE, DS_ARCHIVE_OLD_FILE, DS_ARCHIVE_NEW_FILE };
enum ds_archive_file ds_archive_is_output(const struct ds_archive_writer *w,
					  const struct stat *file);
/* totals_ret may be NULL.  Frees w, whatever comes. */
enum ds_status ds_archive_commit(struct ds_archive_writer *w, struct ds_archive_totals *totals_ret,
				 struct ds_err *err);
void ds_archive_abort(struct ds_archive_writer *w);

/* All of an archive, which is of the same model, after what w holds; nothing is coded anew. */
enum ds_status ds_archive_join(struct ds_archive_writer *w, const struct ds_archive *a,
			       struct ds_err *err);
/*
 * An archive like path without the members for which removed[member] is set.  Segments that hold
 * nothing of them are copied, the documents of the others are packed anew with the options' level
 * and block size; passages, embeddings and order stay.  Of a salvaged archive all that is not
 * removed has to be whole, and is packed anew.
 */
enum ds_status ds_archive_remove(struct ds_archive *a, const char *path, const uint8_t *removed,
				 const struct ds_archive_options *options,
				 struct ds_archive_totals *totals_ret, struct ds_err *err);

/* path "-": standard input, by way of a temporary file.  secret: what opens it if it is sealed,
 * NULL: nothing does; DS_EINVAL when it is of another one.  One thread uses an archive at a time.
 */
enum ds_status ds_archive_open(struct ds_archive **a_ret, const char *path,
			       const struct ds_secret *secret, struct ds_err *err);
/* What is left of a stream, by way of a temporary file; in is borrowed during the call. */
enum ds_status ds_archive_open_stream(struct ds_archive **a_ret, struct ds_in *in,
				      const struct ds_secret *secret, struct ds_err *err);
void ds_archive_close(struct ds_archive *a);

/* Is told each damage that is met. */
struct ds_salvage {
	void (*tell)(void *user, const struct ds_err *damage);
	void *user;
};
/*
 * Open what is left of a damaged archive: as its directory says, or where that is lost, as the
 * records say that are found in the file.  Members that have lost their beginning are called
 * lost+found/ and a number.  What depends on damage fails when it is read, and nothing else.
 */
enum ds_status ds_archive_salvage(struct ds_archive **a_ret, const char *path,
				  const struct ds_secret *secret, const struct ds_salvage *s,
				  struct ds_err *err);
/* Whether bytes (the first of a file, n of them) begin an archive. */
int ds_archive_probe(const void *bytes, size_t n);

/* The file of the language model that its text is coded by, borrowed, NULL: nobody knows it; opened
 * with as many threads when the first such block is read. */
void ds_archive_set_lm(struct ds_archive *a, const char *path, unsigned threads);
/* The members that will be copied, those with planned[member] set, in their order, borrowed; NULL:
 * nobody knows.  What is decoded together is then decoded once. */
void ds_archive_plan(struct ds_archive *a, const uint8_t *planned);

struct ds_archive_member {
	struct ds_document document;  /* name borrowed from the archive */
	uint64_t first_chunk, chunks; /* its passages, numbered through the archive */
	int binary;		      /* no text: it has no passages */
};
int ds_archive_is_sealed(const struct ds_archive *a);
uint64_t ds_archive_members(const struct ds_archive *a);
enum ds_status ds_archive_member(const struct ds_archive *a, uint64_t index,
				 struct ds_archive_member *m_ret, struct ds_err *err);
/* The number of the member with this name; DS_EINVAL when there is none. */
enum ds_status ds_archive_find(const struct ds_archive *a, const char *name, size_t n,
			       uint64_t *index_ret, struct ds_err *err);
/* Bytes [start, end) of a member appended to buf: unpacks only the blocks they lie in. */
enum ds_status ds_archive_read(struct ds_archive *a, uint64_t member, uint64_t start, uint64_t end,
			       struct ds_buf *buf, struct ds_err *err);
/* The most bytes that are unpacked, of blocks and the dictionaries they need, to read one passage
 * of a member; any 4 KB where it has none. */
enum ds_status ds_archive_unpacked(struct ds_archive *a, uint64_t member, uint64_t *bytes_ret,
				   struct ds_err *err);
/* All bytes of a member in pieces to write(). */
typedef enum ds_status ds_write_fn(void *user, const void *bytes, size_t n, struct ds_err *err);
enum ds_status ds_archive_copy(struct ds_archive *a, uint64_t member, ds_write_fn *write,
			       void *user, struct ds_err *err);
/* The same of a salvaged archive: bytes that are lost become zeros, each run of them is told.  No
 * bytes stand for what is lost of unknown length. */
struct ds_rest {
	ds_write_fn *write;
	void *user;
	/* what comes back */
	int whole;
	uint64_t read; /* bytes that were not lost */
};
enum ds_status ds_archive_copy_rest(struct ds_archive *a, uint64_t member,
				    const struct ds_salvage *s, struct ds_rest *rest,
				    struct ds_err *err);
void ds_archive_totals(const struct ds_archive *a, struct ds_archive_totals *totals_ret);
uint64_t ds_archive_model(const struct ds_archive *a); /* 0: no embeddings */
uint32_t ds_archive_dims(const struct ds_archive *a);
unsigned ds_archive_bits(struct ds_archive *a); /* of a dimension; 0: no embeddings */

/* Searching: segments, each with its passages [first, first + n), their embeddings and words. */
struct ds_archive_segment {
	uint64_t first_passage;
	uint32_t passages;
};
uint32_t ds_archive_segments(const struct ds_archive *a);
void ds_archive_segment(const struct ds_archive *a, uint32_t index,
			struct ds_archive_segment *s_ret);

struct ds_archive_passage {
	uint64_t member, start, end;
};
enum ds_status ds_archive_passage(struct ds_archive *a, uint64_t passage,
				  struct ds_archive_passage *p_ret, struct ds_err *err);

/* The embeddings of a segment, borrowed from the archive; n is 0 when it has none. */
struct ds_archive_vectors {
	unsigned bits;
	uint32_t n, dims;
	const uint8_t *scale; /* [n] IEEE half precision, unaligned */
	const uint8_t *rows;  /* blocks of codes, search/codes.h */
};
enum ds_status ds_archive_vectors(struct ds_archive *a, uint32_t segment,
				  struct ds_archive_vectors *v_ret, struct ds_err *err);
/* The segment's index of words (search/words.h), appended to buf; nothing when it has none. */
enum ds_status ds_archive_words(struct ds_archive *a, uint32_t segment, struct ds_buf *buf,
				struct ds_err *err);

/* Every checksum of every record, every byte of every document. */
enum ds_status ds_archive_test(struct ds_archive *a, struct ds_err *err);

#endif
