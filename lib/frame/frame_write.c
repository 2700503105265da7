/* frame_write.c - one frame after the other onto an output */
#include "frame/frame.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "frame/frame_layout.h"
#include "frame/json.h"

#define FLUSH_NS 50000000

const uint8_t ds_frame_magic[4] = {0xF7, 'D', 'S', 'F'};

bool ds_frame_probe(const void *bytes, size_t n)
{
	return n > 0 && memcmp(bytes, ds_frame_magic, n < 4 ? n : 4) == 0;
}

const char *ds_frame_type_name(uint8_t type)
{
	static const char *const names[] = {
		[DS_FRAME_DOCUMENT] = "document",
		[DS_FRAME_TEXT] = "text",
		[DS_FRAME_TOKENS] = "tokens",
		[DS_FRAME_CHUNK] = "chunk",
		[DS_FRAME_EMBEDDING] = "embedding",
		[DS_FRAME_LOGPROB] = "logprob",
		[DS_FRAME_HIT] = "hit",
		[DS_FRAME_DOCUMENT_END] = "document_end",
		[DS_FRAME_END] = "end",
	};

	if (type >= DS_FRAME_USER)
		return "user";
	return type < sizeof names / sizeof *names ? names[type] : NULL;
}

bool ds_frame_in_document(uint8_t type)
{
	return type < DS_FRAME_USER && type != DS_FRAME_HIT && type != DS_FRAME_END;
}

const char *ds_frame_order_take(struct ds_frame_order *order, uint8_t type, uint64_t document)
{
	if (type >= DS_FRAME_USER)
		return NULL;
	if (!ds_frame_in_document(type)) {
		if (order->open)
			return "inside a document that has not ended";
		return document == 0 ? NULL : "with a document number, which must be 0";
	}
	if (type == DS_FRAME_DOCUMENT) {
		if (order->open)
			return "before the end of the document before it";
		if (document != order->documents)
			return "that is not numbered next";
		order->documents++;
		order->open = true;
		return NULL;
	}
	if (!order->open)
		return "outside of a document";
	if (document != order->documents - 1)
		return "of a document that is not open";
	if (type == DS_FRAME_DOCUMENT_END)
		order->open = false;
	return NULL;
}

void ds_frame_writer_init(struct ds_frame_writer *w, struct ds_out *out)
{
	*w = (struct ds_frame_writer){.out = out};
}

void ds_frame_writer_init_take(struct ds_frame_writer *w,
			       enum ds_status (*take)(void *arg, const struct ds_frame *f,
						      struct ds_err *err),
			       void *arg)
{
	*w = (struct ds_frame_writer){.take = take, .take_arg = arg};
}

void ds_frame_writer_fini(struct ds_frame_writer *w)
{
	ds_buf_fini(&w->line);
	ds_buf_fini(&w->scratch);
	w->out = NULL;
}

/* The payload behind room for the head, and its padding, in w->scratch. */
static enum ds_status gather(struct ds_frame_writer *w, const struct ds_part *parts, size_t n_parts,
			     size_t *len_ret, struct ds_err *err)
{
	static const uint8_t zero[8];
	uint64_t len = 0;

	for (size_t i = 0; i < n_parts; i++) {
		len += parts[i].len;
		if (parts[i].len > DS_FRAME_PAYLOAD_MAX || len > DS_FRAME_PAYLOAD_MAX)
			return ds_fail(err, DS_ELIMIT,
				       "a frame's payload is larger than %" PRIu64 " bytes",
				       DS_FRAME_PAYLOAD_MAX);
	}
	w->scratch.len = 0;
	DS_TRY(ds_buf_reserve(&w->scratch, DS_FRAME_HEAD_BYTES + (size_t)len + 7, err));
	w->scratch.len = DS_FRAME_HEAD_BYTES;
	for (size_t i = 0; i < n_parts; i++)
		DS_TRY(ds_buf_append(&w->scratch, parts[i].bytes, parts[i].len, err));
	*len_ret = (size_t)len;
	return ds_buf_append(&w->scratch, zero, ds_frame_padding(len), err);
}

static enum ds_status flush_if_due(struct ds_frame_writer *w, uint8_t type, struct ds_err *err)
{
	struct timespec now;
	int64_t ns;

	if (w->take || w->out->path)
		return DS_OK;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	if (type != DS_FRAME_DOCUMENT_END && ns - w->flushed_ns < FLUSH_NS)
		return DS_OK;
	w->flushed_ns = ns;
	return ds_out_flush(w->out, err);
}

static enum ds_status emit_frame(struct ds_frame_writer *w, const struct ds_frame *f,
				 struct ds_err *err)
{
	uint8_t *head = w->scratch.data;

	memset(head, 0, DS_FRAME_HEAD_BYTES);
	memcpy(head, ds_frame_magic, sizeof ds_frame_magic);
	head[DS_HEAD_VERSION] = DS_FRAME_VERSION;
	head[DS_HEAD_TYPE] = f->type;
	ds_put_u64(head + DS_HEAD_DOCUMENT, f->document);
	ds_put_u64(head + DS_HEAD_SEQUENCE, f->sequence);
	ds_put_u64(head + DS_HEAD_LENGTH, f->payload_len);
	ds_put_u64(head + DS_HEAD_PAYLOAD_HASH, XXH3_64bits(f->payload, f->payload_len));
	ds_put_u64(head + DS_HEAD_HASH, XXH3_64bits(head, DS_HEAD_HASH));
	return ds_out_write(w->out, head, w->scratch.len, err);
}

static enum ds_status emit_line(struct ds_frame_writer *w, const struct ds_frame *f,
				struct ds_err *err)
{
	w->line.len = 0;
	DS_TRY(ds_frame_json_put(f, &w->line, err));
	return ds_out_write(w->out, w->line.data, w->line.len, err);
}

static enum ds_status emit(struct ds_frame_writer *w, const struct ds_frame *f, struct ds_err *err)
{
	if (w->take)
		return w->take(w->take_arg, f, err);
	return w->jsonl ? emit_line(w, f, err) : emit_frame(w, f, err);
}

enum ds_status ds_frame_write(struct ds_frame_writer *w, uint8_t type, uint64_t document,
			      const struct ds_part *parts, size_t n_parts, struct ds_err *err)
{
	struct ds_frame f = {.type = type, .document = document, .sequence = w->sequence};
	struct ds_frame_order order = w->order;
	const char *name = ds_frame_type_name(type), *wrong;

	if (!name)
		return ds_fail(err, DS_EINVAL, "there is no frame type %u", type);
	wrong = w->take ? NULL : ds_frame_order_take(&order, type, document);
	if (wrong)
		return ds_fail(err, DS_EINVAL, "cannot write a %s frame %s", name, wrong);
	DS_TRY(gather(w, parts, n_parts, &f.payload_len, err));
	f.payload = w->scratch.data + DS_FRAME_HEAD_BYTES;
	DS_TRY(emit(w, &f, err));
	w->order = order;
	w->sequence++;
	w->payload_bytes += f.payload_len;
	return flush_if_due(w, type, err);
}

enum ds_status ds_frame_write_end(struct ds_frame_writer *w, struct ds_err *err)
{
	uint8_t totals[DS_FRAME_END_BYTES];
	struct ds_part part = {totals, sizeof totals};

	ds_put_u64(totals, w->sequence);
	ds_put_u64(totals + 8, w->payload_bytes);
	ds_put_u64(totals + 16, w->order.documents);
	DS_TRY(ds_frame_write(w, DS_FRAME_END, 0, &part, 1, err));
	w->order = (struct ds_frame_order){0};
	w->sequence = 0;
	w->payload_bytes = 0;
	return DS_OK;
}
