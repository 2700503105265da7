/*
 * infer.h - ds-infer inside: one file a task
 */
#ifndef INFER_H
#define INFER_H

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
	const char *prompt, *document, *system;
	struct ds_reader_options reading;
	struct ds_generate_options generation; /* n_max 0: not given */
	struct ds_part stop[INFER_STOPS_MAX];
	enum ds_windows windows;
	const char *labels;
	bool no_calibrate;
	size_t points; /* 0: not given */

	enum cli_format format;
	struct ds_pool *pool;
	struct ds_model *model;
	/* opened by the task, once it is able to start */
	struct ds_out out;
	struct ds_frame_writer writer;
	uint64_t input_bytes, documents;
};

enum ds_status infer_open_output(struct infer *cmd, struct ds_err *err);
/* Commit the output, with its end frame, unless an input failed and it is a file. */
enum ds_status infer_close_output(struct infer *cmd, struct ds_err *err);

/* A document in memory. */
struct infer_text {
	const char *name; /* "" for standard input */
	size_t name_len;
	const uint8_t *bytes;
	size_t len;
};
/*
 * Every document of the inputs in order: plain files, or lines with --lines, or the documents of
 * frame streams.  What is wrong with one (DS_ELIMIT, DS_EINVAL, DS_EFORMAT from take()) is reported
 * with its name, and the others follow.
 */
enum ds_status infer_each_text(struct infer *cmd,
			       enum ds_status (*take)(void *user, const struct infer_text *text,
						      struct ds_err *err),
			       void *user, struct ds_err *err);
/* A document as frames: its beginning and text, and after what belongs to it its end. */
enum ds_status infer_begin_text(struct infer *cmd, const struct infer_text *name,
				const struct ds_part *text, uint64_t *number_ret,
				struct ds_err *err);
enum ds_status infer_end_text(struct infer *cmd, const struct ds_part *text, uint64_t number,
			      struct ds_err *err);
/* A document that is nothing but this text, as frames. */
enum ds_status infer_put_text(struct infer *cmd, const struct infer_text *name,
			      const struct ds_buf *text, struct ds_err *err);

/* The model of -m for a language-model task, with figures for --stats. */
enum ds_status infer_open_reader(struct infer *cmd, struct ds_reader *reader, struct ds_err *err);
void infer_reader_stats(struct infer *cmd, const struct ds_reader *reader);
void infer_generator_stats(struct infer *cmd, const struct ds_generator *gen);

/* Tasks: from the open model to the committed output. */
enum ds_status infer_embed(struct infer *cmd, struct ds_err *err);
enum ds_status infer_generate(struct infer *cmd, struct ds_err *err);
enum ds_status infer_score(struct infer *cmd, struct ds_err *err);
enum ds_status infer_classify(struct infer *cmd, struct ds_err *err);
enum ds_status infer_outline(struct infer *cmd, struct ds_err *err);

#endif
