/*
 * cat.h - ds-cat inside: sources turn inputs into frames, one sink turns frames into the output
 */
#ifndef CAT_H
#define CAT_H

#include "cli.h"
#include "frame/frame.h"
#include "frame/join.h"
#include "frame/npy.h"

enum cat_form { CAT_AUTO, CAT_FRAMES, CAT_JSONL, CAT_TEXT, CAT_NPY, CAT_COUNT };

/* What -i counts. */
struct cat_counts {
	uint64_t frames[256], bytes[256];
	uint64_t text_bytes;  /* of documents */
	uint64_t dims, model; /* of the first embedding */
	uint64_t vocabulary;  /* of the first chunk or tokens */
	uint64_t tokens_max;  /* of a chunk */
	uint8_t vector_type;
	bool mixed; /* not all embeddings are alike */
};

struct cat_sink {
	enum cat_form form; /* not CAT_AUTO */
	const bool *wanted; /* [256] types to pass, or NULL for all */
	struct ds_out *out;
	struct ds_frame_writer w; /* frames and JSON lines */
	struct ds_join join;	  /* text */
	struct ds_buf line;
	struct ds_npy npy;
	int npy_fd; /* rows wait here when out cannot be patched; or -1 */
	struct cat_counts counts;
	/* documents: numbered anew, so that inputs can follow each other */
	uint64_t documents;   /* begun */
	uint64_t incoming;    /* number in its input of the open one */
	bool open, announced; /* announced: by a document frame */
	bool lenient;	      /* documents may lack their frames of beginning and end */
};

enum ds_status cat_sink_open(struct cat_sink *s, enum cat_form form, struct ds_out *out,
			     struct ds_err *err);
/* arg is the sink; end frames are not taken. */
enum ds_status cat_sink_take(void *arg, const struct ds_frame *f, struct ds_err *err);
/* An input is over: a document that was never announced ends. */
enum ds_status cat_sink_end_input(struct cat_sink *s, struct ds_err *err);
/* All inputs are over and well. */
enum ds_status cat_sink_finish(struct cat_sink *s, struct ds_err *err);
void cat_sink_close(struct cat_sink *s);

enum cat_kind { CAT_IN_FRAMES, CAT_IN_JSONL, CAT_IN_NPY, CAT_IN_TEXT, CAT_IN_GGUF, CAT_IN_ARCHIVE };
/* What the first bytes of in say. */
enum ds_status cat_probe(struct ds_in *in, enum cat_kind *kind_ret, struct ds_err *err);

/* Read all of in into the sink.  With recover damage is reported through cli and passed over. */
enum ds_status cat_source(struct cli *cli, struct ds_in *in, enum cat_kind kind, bool recover,
			  struct cat_sink *s, struct ds_err *err);

/* A path under which the file behind in can be opened again, to be mapped. */
enum ds_status cat_mapped_path(const struct ds_in *in, const char **path_ret, struct ds_err *err);

/* -i: describe a file on stdout; failures are reported through cli. */
void cat_inspect(struct cli *cli, const char *path, bool recover);

#endif
