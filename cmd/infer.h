/*
 * infer.h - ds-infer inside: one file a task
 */
#ifndef INFER_H
#define INFER_H

#include "cli.h"
#include "frame/frame.h"
#include "model/model.h"

/* A plain text is held in memory whole. */
#define INFER_TEXT_BYTES_MAX ((size_t)256 << 20)

struct infer {
	struct cli cli;
	enum ds_status (*task)(struct infer *cmd, struct ds_err *err);
	bool lines;		  /* a text of a plain input is a line */
	enum ds_vector_type type; /* of embeddings */
	enum cli_format format;
	struct ds_pool *pool;
	struct ds_model *model;
	/* opened by the task, once it is able to start */
	struct ds_out out;
	struct ds_frame_writer writer;
	uint64_t input_bytes;
};

enum ds_status infer_open_output(struct infer *cmd, struct ds_err *err);

/* Tasks: from the open model to the committed output. */
enum ds_status infer_embed(struct infer *cmd, struct ds_err *err);

#endif
