/*
 * infer.h - ds-infer inside: one file a task
 */
#ifndef INFER_H
#define INFER_H

#include "attn/profile.h"
#include "cli.h"
#include "frame/frame.h"
#include "model/lm.h"
#include "model/model.h"
#include "task/generate.h"
#include "task/score.h"

/* A plain text is held in memory whole. */
#define INFER_TEXT_BYTES_MAX ((size_t)256 << 20)
#define INFER_STOPS_MAX 32
#define INFER_TOKENS_DEFAULT 512

struct infer;
struct infer_task {
	const char *name;
	enum ds_status (*run)(struct infer *cmd, struct ds_err *err);
};

struct infer_lora {
	const char *path;
	float scale;
};

/* --skip-layers */
#define INFER_LAYERS_MAX 1024
struct infer_skip {
	size_t n_auto; /* so many, chosen for each document; or 0 */
	bool listed[INFER_LAYERS_MAX];
	uint32_t layer[INFER_LAYERS_MAX]; /* [n] left out now, ascending */
	size_t n;
	bool told; /* what it costs */
};

struct infer {
	struct cli cli;
	const struct infer_task *task;
	bool lines;		  /* a text of a plain input is a line */
	enum ds_vector_type type; /* of embeddings */
	enum ds_pooling pooling;  /* DS_POOL_OTHER: as the model's file says */
	/* of language models */
	struct infer_lora lora[DS_LORA_MAX];
	size_t n_lora;
	float lora_scale; /* of the next ones */
	struct infer_skip skip;
	const char *prompt, *document, *system;
	struct ds_reader_options reading;
	struct ds_attn_policy attn;	       /* of reading, when given */
	const char *profile_path;	       /* of --attn @FILE, or NULL */
	struct ds_attn_profile profile;	       /* then: what it holds */
	double require_mass;		       /* 0: none */
	struct ds_carry carry;		       /* of reading, when given */
	struct ds_generate_options generation; /* n_max 0: not given */
	struct ds_part stop[INFER_STOPS_MAX];
	enum ds_windows windows;
	const char *labels;
	bool no_calibrate;
	size_t points; /* 0: not given */

	uint64_t memory; /* bytes at most; 0: not given */
	size_t text_max; /* bytes of a text in memory */

	enum cli_format format;
	struct ds_pool *pool;
	struct ds_model *model;
	/* opened by the task, once it is able to start */
	struct ds_out out;
	struct ds_frame_writer writer;
	uint64_t number; /* of the document frame written last */
	uint64_t input_bytes, documents;
};

enum ds_status infer_open_output(struct infer *cmd, struct ds_err *err);
/* Commit the output, with its end frame, unless an input failed and it is a file. */
enum ds_status infer_close_output(struct infer *cmd, struct ds_err *err);

struct infer_name {
	const char *name; /* "" for standard input */
	size_t name_len;
};
/* What takes documents as they come. */
struct infer_sink {
	enum ds_status (*begin)(void *user, const struct infer_name *name, struct ds_err *err);
	enum ds_status (*more)(void *user, const uint8_t *bytes, size_t n, struct ds_err *err);
	/* Nothing more has come yet; or NULL. */
	enum ds_status (*idle)(void *user, struct ds_err *err);
	enum ds_status (*end)(void *user, struct ds_err *err);
	void *user;
};
/*
 * Every document of the inputs in order: plain files, or lines with --lines, or the documents of
 * frame streams.  What is wrong with one (DS_ELIMIT, DS_EINVAL, DS_EFORMAT from the sink) is
 * reported with its name, what is left of it passed over, and the others follow.
 */
enum ds_status infer_each_document(struct infer *cmd, const struct infer_sink *sink,
				   struct ds_err *err);

/* --memory: sizes of the session to come (cmd->reading), and of texts in memory, such that the
 * process stays within it.  DS_ELIMIT when that cannot be. */
enum ds_status infer_fit_memory(struct infer *cmd, struct ds_err *err);
/* More are not used with --memory: sizes, and so results, are the same for all numbers. */
#define INFER_MEMORY_THREADS 16

/* Append to a text that is held in memory; DS_EIO when it becomes too long for that. */
enum ds_status infer_hold(struct infer *cmd, struct ds_buf *text, const void *bytes, size_t n,
			  struct ds_err *err);
/* A document in memory. */
struct infer_text {
	struct infer_name name;
	const uint8_t *bytes;
	size_t len;
};
/* The turn that a document will be a text of: what stands before it.  NULL: nothing is read ahead.
 */
struct infer_ahead {
	struct ds_reader *reader;
	struct ds_turn turn;
};
/* The bytes of an input that is a text of a turn, read ahead as they come. */
enum ds_status infer_read_ahead(struct infer *cmd, const struct infer_ahead *ahead,
				const char *path, struct ds_buf *text, struct ds_err *err);
/* Every document, whole. */
enum ds_status infer_each_text(struct infer *cmd, const struct infer_ahead *ahead,
			       enum ds_status (*take)(void *user, const struct infer_text *text,
						      struct ds_err *err),
			       void *user, struct ds_err *err);
/* The beginning of a document as frames, with the number cmd->number. */
enum ds_status infer_begin_text(struct infer *cmd, const struct infer_name *name, uint64_t size,
				struct ds_err *err);
/* A document that is nothing but this text, as frames. */
enum ds_status infer_put_text(struct infer *cmd, const struct infer_name *name,
			      const struct ds_buf *text, struct ds_err *err);

/* The model of -m for a language-model task, with figures for --stats. */
enum ds_status infer_open_reader(struct infer *cmd, struct ds_reader *reader, struct ds_err *err);
void infer_session_stats(struct infer *cmd, const struct ds_session *session);
void infer_reader_stats(struct infer *cmd, const struct ds_reader *reader);
void infer_generator_stats(struct infer *cmd, const struct ds_generator *gen);

/* --skip-layers: the option; whether infer_skip() has to see the beginning of the next document;
 * what it does then, before that is read.  changed: other layers are left out than before. */
void infer_parse_skip(struct infer *cmd, const char *arg);
bool infer_skips(const struct infer *cmd);
enum ds_status infer_skip(struct infer *cmd, struct ds_reader *reader, const struct ds_part *text,
			  bool *changed_ret, struct ds_err *err);

/* For documents that come piece by piece: their beginning, held back until infer_skip() has seen
 * it.
 */
struct infer_beginning {
	bool held;
	struct ds_buf bytes;
};
void infer_skip_begin(const struct infer *cmd, struct infer_beginning *beginning);
/* *text_io: what has come; then what may be read now, perhaps nothing. */
enum ds_status infer_skip_more(struct infer *cmd, struct ds_reader *reader,
			       struct infer_beginning *beginning, struct ds_part *text_io,
			       struct ds_err *err);
enum ds_status infer_skip_end(struct infer *cmd, struct ds_reader *reader,
			      struct infer_beginning *beginning, struct ds_part *text_ret,
			      struct ds_err *err);

/* Tasks: from the open model to the committed output. */
enum ds_status infer_embed(struct infer *cmd, struct ds_err *err);
enum ds_status infer_generate(struct infer *cmd, struct ds_err *err);
enum ds_status infer_score(struct infer *cmd, struct ds_err *err);
enum ds_status infer_classify(struct infer *cmd, struct ds_err *err);
enum ds_status infer_outline(struct infer *cmd, struct ds_err *err);
/* Usage error for --labels that are empty, twice there or too many. */
void infer_check_labels(const struct infer *cmd);

#endif
