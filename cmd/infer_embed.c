/*
 * infer_embed.c - ds-infer -t embed: a vector for every chunk or text
 *
 * Frames: everything passes through, and an embedding follows each chunk.  Plain files: each is one
 * text, or one a line.  Chunks are collected into batches for the thread pool; order is kept and
 * memory does not grow with the input.
 */
#define XXH_STATIC_LINKING_ONLY /* the hash state lives on the stack */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/decimal.h"
#include "frame/json.h"
#include "infer.h"
#include "quant/quant.h"

/* A batch ends at so many texts or bytes. */
#define BATCH_TEXTS 256
#define BATCH_BYTES ((size_t)1 << 20)
/* or when a frame arrives so long after the batch before: a slow producer's chunks do not wait. */
#define BATCH_SECONDS 0.2

/* A frame of the batch; parts of bytes are offsets into it until the batch is written. */
struct pending {
	uint8_t type;
	uint64_t user;	/* document number of a user frame */
	size_t at, len; /* in bytes: payload, name of a document, text of a chunk */
	union {
		struct ds_document document;
		struct ds_document_end end;
		struct ds_chunk_frame chunk;
	};
};

struct embed {
	struct infer *cmd;
	struct ds_embedder *emb;
	struct ds_session_options reading; /* of language models */
	uint64_t documents;		   /* begun in the output */
	struct ds_buf name;		   /* of the document being written */
	/* the batch */
	struct pending *queue;
	size_t n_queue, cap_queue, n_texts;
	double flushed; /* time of the batch before */
	struct ds_buf bytes;
	size_t texts_max;      /* of a batch */
	struct ds_part *texts; /* [BATCH_TEXTS] */
	float *vectors;	       /* [BATCH_TEXTS][dims] */
	void *values;	       /* [dims] one vector as it is written */
	float *floats;	       /* [dims] */
	struct ds_buf line;
	uint64_t n_embedded;
	double seconds; /* of embedding */
};

/* One vector as --type says, into in->values. */
static void convert(struct embed *in, const float *vector, struct ds_embedding_frame *e)
{
	uint32_t dims = ds_model_dims(in->cmd->model);
	float max = 0;

	e->dims = dims;
	e->type = (uint8_t)in->cmd->type;
	e->scale = 1;
	e->data = in->values;
	for (uint32_t i = 0; i < dims; i++)
		max = vector[i] > max ? vector[i] : -vector[i] > max ? -vector[i] : max;
	e->normalised = max > 0;
	if (in->cmd->type == DS_VECTOR_F32) {
		memcpy(in->values, vector, dims * sizeof *vector);
	} else if (in->cmd->type == DS_VECTOR_F16) {
		for (uint32_t i = 0; i < dims; i++)
			((uint16_t *)in->values)[i] = ds_f32_to_f16(vector[i]);
	} else {
		float inverse = max > 0 ? 127 / max : 0;

		e->scale = max > 0 ? max / 127 : 1;
		for (uint32_t i = 0; i < dims; i++)
			((int8_t *)in->values)[i] = (int8_t)__builtin_rintf(vector[i] * inverse);
	}
}

static enum ds_status write_line(struct embed *in, const struct ds_embedding_frame *e,
				 struct ds_err *err)
{
	const char *between = in->cmd->format == CLI_JSONL ? "," : " ";
	char text[80];
	int n;

	in->line.len = 0;
	if (in->cmd->format == CLI_JSONL) {
		DS_TRY(ds_buf_append(&in->line, "{", 1, err));
		DS_TRY(ds_json_string("doc", in->name.data, in->name.len, &in->line, err));
		n = snprintf(text, sizeof text, ",\"start\":%llu,\"end\":%llu,\"embedding\":[",
			     (unsigned long long)e->start, (unsigned long long)e->end);
		DS_TRY(ds_buf_append(&in->line, text, (size_t)n, err));
	}
	/* as a reader of the frame gets them */
	ds_embedding_f32(e, in->floats);
	for (uint32_t i = 0; i < e->dims; i++) {
		if (i)
			DS_TRY(ds_buf_append(&in->line, between, 1, err));
		DS_TRY(ds_buf_append(&in->line, text, ds_f32_text(in->floats[i], text), err));
	}
	if (in->cmd->format == CLI_JSONL)
		DS_TRY(ds_buf_append(&in->line, "]}", 2, err));
	DS_TRY(ds_buf_append(&in->line, "\n", 1, err));
	return ds_out_write(&in->cmd->out, in->line.data, in->line.len, err);
}

static enum ds_status write_embedding(struct embed *in, const struct ds_chunk_frame *c,
				      const float *vector, struct ds_err *err)
{
	struct ds_embedding_frame e = {.index = c->index,
				       .start = c->start,
				       .end = c->end,
				       .model = ds_model_id(in->cmd->model)};

	convert(in, vector, &e);
	if (in->cmd->format != CLI_FRAMES)
		return write_line(in, &e, err);
	return ds_embedding_put(&in->cmd->writer, in->documents - 1, &e, err);
}

static enum ds_status write_frame(struct embed *in, struct pending *p, struct ds_err *err)
{
	const uint8_t *bytes = in->bytes.data + p->at;
	struct ds_part part = {bytes, p->len};

	switch (p->type) {
	case DS_FRAME_DOCUMENT:
		in->documents++;
		in->name.len = 0;
		DS_TRY(ds_buf_append(&in->name, bytes, p->len, err));
		p->document.name = (const char *)bytes;
		if (in->cmd->format != CLI_FRAMES)
			return DS_OK;
		return ds_document_put(&in->cmd->writer, in->documents - 1, &p->document, err);
	case DS_FRAME_CHUNK:
		p->chunk.text = bytes;
		if (in->cmd->format != CLI_FRAMES)
			return DS_OK;
		return ds_chunk_put(&in->cmd->writer, in->documents - 1, &p->chunk, err);
	case DS_FRAME_DOCUMENT_END:
		if (in->cmd->format != CLI_FRAMES)
			return DS_OK;
		return ds_document_end_put(&in->cmd->writer, in->documents - 1, &p->end, err);
	case DS_FRAME_HIT:
		return ds_frame_write(&in->cmd->writer, p->type, 0, &part, 1, err);
	default:
		return ds_frame_write(&in->cmd->writer, p->type,
				      p->type >= DS_FRAME_USER ? p->user : in->documents - 1, &part,
				      1, err);
	}
}

/* What is embedded of a chunk: with --lines the line without its end. */
static struct ds_part text_of(const struct embed *in, const struct pending *p)
{
	const uint8_t *bytes = in->bytes.data + p->at;
	size_t n = p->len;

	if (in->cmd->lines && p->chunk.boundary == DS_CUT_LINE && n && bytes[n - 1] == '\n')
		n--;
	return (struct ds_part){bytes, n};
}

/* Embed the chunks of the batch and write it. */
static enum ds_status flush(struct embed *in, struct ds_err *err)
{
	uint32_t dims = ds_model_dims(in->cmd->model);
	size_t text = 0;
	double start;

	for (size_t i = 0; i < in->n_queue; i++)
		if (in->queue[i].type == DS_FRAME_CHUNK)
			in->texts[text++] = text_of(in, &in->queue[i]);
	start = cli_seconds();
	DS_TRY(ds_embed(in->emb, in->texts, text, in->vectors, err));
	in->seconds += cli_seconds() - start;
	in->n_embedded += text;
	text = 0;
	for (size_t i = 0; i < in->n_queue; i++) {
		struct pending *p = &in->queue[i];

		DS_TRY(write_frame(in, p, err));
		if (p->type == DS_FRAME_CHUNK)
			DS_TRY(write_embedding(in, &p->chunk, in->vectors + text++ * dims, err));
	}
	in->n_queue = in->n_texts = in->bytes.len = 0;
	in->flushed = cli_seconds();
	cli_progress(&in->cmd->cli, "embedding", in->cmd->input_bytes, 0);
	return DS_OK;
}

/* Put a frame into the batch with bytes of its own. */
static enum ds_status queue(struct embed *in, struct pending p, const void *bytes, size_t n,
			    struct ds_err *err)
{
	if (n > in->cmd->text_max && in->cmd->memory)
		return ds_fail(err, DS_ELIMIT, "a chunk is longer than %zu bytes",
			       in->cmd->text_max);
	DS_TRY(ds_grow(&in->queue, &in->cap_queue, in->n_queue + 1, sizeof *in->queue, err));
	p.at = in->bytes.len;
	p.len = n;
	DS_TRY(ds_buf_append(&in->bytes, bytes, n, err));
	in->queue[in->n_queue++] = p;
	in->n_texts += p.type == DS_FRAME_CHUNK;
	if (in->n_texts == in->texts_max || in->bytes.len >= BATCH_BYTES ||
	    (in->n_texts && cli_seconds() - in->flushed > BATCH_SECONDS))
		return flush(in, err);
	return DS_OK;
}

static enum ds_status take_frame(struct embed *in, const struct ds_frame *f, struct ds_err *err)
{
	struct pending p = {.type = f->type, .user = f->document};

	switch (f->type) {
	case DS_FRAME_END:
	case DS_FRAME_EMBEDDING: /* replaced by ours */
		return DS_OK;
	case DS_FRAME_DOCUMENT:
		DS_TRY(ds_document_get(f, &p.document, err));
		return queue(in, p, p.document.name, p.document.name_len, err);
	case DS_FRAME_CHUNK:
		DS_TRY(ds_chunk_get(f, &p.chunk, err));
		return queue(in, p, p.chunk.text, p.chunk.end - p.chunk.start, err);
	case DS_FRAME_DOCUMENT_END:
		DS_TRY(ds_document_end_get(f, &p.end, err));
		return queue(in, p, "", 0, err);
	default:
		if (in->cmd->format != CLI_FRAMES)
			return DS_OK;
		return queue(in, p, f->payload, f->payload_len, err);
	}
}

static enum ds_status embed_frames(struct embed *in, struct ds_in *input, struct ds_err *err)
{
	struct ds_frame_reader reader;
	struct ds_frame frame;
	enum ds_status st;

	ds_frame_reader_init(&reader, input);
	while ((st = ds_frame_next(&reader, &frame, err)) == DS_OK) {
		in->cmd->input_bytes += frame.payload_len;
		st = take_frame(in, &frame, err);
		if (st != DS_OK)
			break;
	}
	ds_frame_reader_fini(&reader);
	return st == DS_END ? DS_OK : st;
}

/* A plain text as a document of chunks that cover it. */
struct plain {
	struct embed *in;
	uint64_t index, start;
	XXH3_state_t hash;
};

static enum ds_status plain_chunk(struct plain *plain, const uint8_t *bytes, size_t n,
				  enum ds_boundary_kind boundary, struct ds_err *err)
{
	struct pending p = {.type = DS_FRAME_CHUNK,
			    .chunk = {.index = plain->index++,
				      .start = plain->start,
				      .end = plain->start + n,
				      .boundary = (uint8_t)boundary}};

	plain->start += n;
	plain->in->cmd->input_bytes += n;
	XXH3_64bits_update(&plain->hash, bytes, n);
	return queue(plain->in, p, bytes, n, err);
}

/* Take the whole lines out of buf. */
static enum ds_status plain_lines(struct plain *plain, struct ds_buf *buf, struct ds_err *err)
{
	size_t done = 0;
	const uint8_t *end;

	while (done < buf->len && (end = memchr(buf->data + done, '\n', buf->len - done))) {
		size_t n = (size_t)(end - buf->data) + 1 - done;

		DS_TRY(plain_chunk(plain, buf->data + done, n, DS_CUT_LINE, err));
		done += n;
	}
	ds_buf_consume(buf, done);
	return DS_OK;
}

static enum ds_status plain_read(struct plain *plain, struct ds_in *input, struct ds_buf *buf,
				 struct ds_err *err)
{
	size_t got;

	do {
		DS_TRY(ds_buf_reserve(buf, 65536, err));
		DS_TRY(ds_in_read(input, buf->data + buf->len, 65536, &got, err));
		buf->len += got;
		if (plain->in->cmd->lines)
			DS_TRY(plain_lines(plain, buf, err));
		if (buf->len > plain->in->cmd->text_max)
			return ds_fail_at(err, DS_ELIMIT, input->name, plain->start,
					  "a text is longer than %zu bytes (ds-chunk cuts it)",
					  plain->in->cmd->text_max);
	} while (got);
	if (buf->len || !plain->in->cmd->lines)
		return plain_chunk(plain, buf->data, buf->len, DS_CUT_END, err);
	return DS_OK;
}

static enum ds_status embed_plain(struct embed *in, struct ds_in *input, const char *name,
				  struct ds_err *err)
{
	struct pending p = {.type = DS_FRAME_DOCUMENT, .document = {.size = DS_SIZE_UNKNOWN}};
	struct plain plain = {.in = in};
	struct ds_buf buf = {0};
	enum ds_status st;

	XXH3_64bits_reset(&plain.hash);
	p.document.name_len = strlen(name);
	ds_document_stat(&p.document, input->fd);
	DS_TRY(queue(in, p, name, p.document.name_len, err));
	st = plain_read(&plain, input, &buf, err);
	ds_buf_fini(&buf);
	if (st != DS_OK)
		return st;
	p = (struct pending){.type = DS_FRAME_DOCUMENT_END,
			     .end = {plain.start, XXH3_64bits_digest(&plain.hash)}};
	return queue(in, p, "", 0, err);
}

static enum ds_status embed_input(void *user, struct ds_in *input, const char *path,
				  struct ds_err *err)
{
	struct embed *in = user;
	bool frames;

	input->tie = &in->cmd->out;
	in->flushed = cli_seconds();
	DS_TRY(ds_frame_detect(input, &frames, err));
	if (frames)
		return embed_frames(in, input, err);
	return embed_plain(in, input, strcmp(path, "-") == 0 ? "" : path, err);
}

static enum ds_status run(struct embed *in, struct ds_err *err)
{
	struct infer *cmd = in->cmd;

	DS_TRY(cli_each_input(&cmd->cli, embed_input, in, err));
	DS_TRY(flush(in, err));
	if (in->n_embedded == 0 && cmd->cli.status == CLI_DONE)
		cli_warn(&cmd->cli, "no chunks in the input: nothing embedded (see ds-chunk)");
	return infer_close_output(cmd, err);
}

static enum ds_status open_embed(struct embed *in, struct ds_err *err)
{
	struct infer *cmd = in->cmd;
	uint32_t dims = ds_model_dims(cmd->model);

	DS_TRY(ds_embedder_new(&in->emb, cmd->model, cmd->pool, err));
	if (ds_model_is_lm(cmd->model)) {
		if (cmd->memory)
			DS_TRY(infer_fit_memory(cmd, err));
		in->reading = (struct ds_session_options){.context = cmd->reading.context,
							  .batch = cmd->reading.batch,
							  .attn = cmd->reading.attn,
							  .n_attn = cmd->reading.n_attn};
		DS_TRY(ds_embedder_read_as(in->emb, &in->reading, err));
	}
	/* a language model takes text after text: nothing is won by waiting */
	in->texts_max = ds_model_is_lm(cmd->model) ? 1 : BATCH_TEXTS;
	in->texts = ds_alloc(BATCH_TEXTS, sizeof *in->texts);
	in->vectors = ds_alloc((size_t)BATCH_TEXTS * dims, sizeof *in->vectors);
	in->values = ds_alloc(dims, sizeof(float));
	in->floats = ds_alloc(dims, sizeof *in->floats);
	if (!in->texts || !in->vectors || !in->values || !in->floats)
		return ds_fail_nomem(err, (size_t)BATCH_TEXTS * dims * sizeof *in->vectors);
	return infer_open_output(cmd, err);
}

static void close_embed(struct embed *in)
{
	cli_stat_u64(&in->cmd->cli, "texts", in->n_embedded);
	if (in->emb)
		cli_stat_u64(&in->cmd->cli, "prompt_tokens", ds_embedder_tokens(in->emb));
	cli_stat_real(&in->cmd->cli, "prompt_seconds", in->seconds);
	if (in->emb && ds_embedder_session(in->emb))
		infer_session_stats(in->cmd, ds_embedder_session(in->emb));
	ds_embedder_free(in->emb);
	free(in->queue);
	free(in->texts);
	free(in->vectors);
	free(in->values);
	free(in->floats);
	ds_buf_fini(&in->bytes);
	ds_buf_fini(&in->line);
	ds_buf_fini(&in->name);
}

enum ds_status infer_embed(struct infer *cmd, struct ds_err *err)
{
	struct embed in = {.cmd = cmd};
	enum ds_status st = open_embed(&in, err);

	if (st == DS_OK)
		st = run(&in, err);
	close_embed(&in);
	return st;
}
