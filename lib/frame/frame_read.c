/* frame_read.c - frames from an untrusted input: nothing is believed before its hash is checked */
#include "frame/frame.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "frame/frame_layout.h"

#define READ_BYTES ((size_t)65536)

struct head {
	uint8_t type;
	uint16_t flags;
	uint64_t document, sequence, len, payload_hash;
};

enum ds_status ds_frame_detect(struct ds_in *in, bool *frames_ret, struct ds_err *err)
{
	const uint8_t *first;
	struct stat st;
	size_t n;

	DS_TRY(ds_in_peek(in, 1, &first, &n, err));
	if (n == 0 && fstat(in->fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return ds_fail_at(err, DS_ETRUNCATED, in->name, DS_NO_OFFSET,
				  "input is empty; its writer did not begin");
	if (n && first[0] == ds_frame_magic[0])
		DS_TRY(ds_in_peek(in, DS_FRAME_PROBE_BYTES, &first, &n, err));
	*frames_ret = ds_frame_probe(first, n);
	return DS_OK;
}

void ds_frame_reader_init(struct ds_frame_reader *r, struct ds_in *in)
{
	*r = (struct ds_frame_reader){.in = in, .offset = in->offset};
}

void ds_frame_reader_fini(struct ds_frame_reader *r)
{
	ds_buf_fini(&r->buf);
	r->in = NULL;
}

static size_t have(const struct ds_frame_reader *r)
{
	return r->buf.len - r->start;
}

static void to_front(struct ds_frame_reader *r)
{
	ds_buf_consume(&r->buf, r->start);
	r->start = 0;
}

/* At least want bytes from r->start on; DS_END when input ends before.  The buffer grows to twice
 * what is there, whatever is wanted. */
static enum ds_status fill(struct ds_frame_reader *r, size_t want, struct ds_err *err)
{
	if (have(r) < want)
		to_front(r);
	while (have(r) < want) {
		size_t got;

		if (r->buf.cap == r->buf.len)
			DS_TRY(ds_buf_reserve(&r->buf, have(r) > READ_BYTES ? have(r) : READ_BYTES,
					      err));
		DS_TRY(ds_in_read(r->in, r->buf.data + r->buf.len, r->buf.cap - r->buf.len, &got,
				  err));
		if (got == 0)
			return DS_END;
		r->buf.len += got;
	}
	return DS_OK;
}

static enum ds_status bad(struct ds_frame_reader *r, struct ds_err *err, enum ds_status status,
			  unsigned at, const char *what)
{
	r->spoilt = true;
	return ds_fail_at(err, status, r->in->name, r->offset + at, "%s", what);
}

static enum ds_status ends_within(struct ds_frame_reader *r, struct ds_err *err, const char *what,
				  uint64_t of)
{
	r->spoilt = true;
	return ds_fail_at(err, DS_ETRUNCATED, r->in->name, r->offset + have(r),
			  "input ends within %s: %zu of %" PRIu64
			  " bytes; its writer did not finish",
			  what, have(r), of);
}

static enum ds_status ends(struct ds_frame_reader *r, struct ds_err *err)
{
	if (have(r))
		return ends_within(r, err, "the head of a frame", DS_FRAME_HEAD_BYTES);
	if (r->inside || r->streams == 0)
		return bad(r, err, DS_ETRUNCATED, 0,
			   r->inside ? "input ends without an end frame; its writer did not finish"
				     : "input is empty, frames were expected");
	return DS_END;
}

/* Everything in a head that can be checked without knowing what came before. */
static enum ds_status check_head(struct ds_frame_reader *r, struct head *h, struct ds_err *err)
{
	const uint8_t *p = r->buf.data + r->start;

	if (memcmp(p, ds_frame_magic, sizeof ds_frame_magic) != 0)
		return bad(r, err, DS_EFORMAT, 0,
			   r->offset ? "no frame begins here, where the one before ended"
				     : "not a frame stream");
	if (p[DS_HEAD_VERSION] != DS_FRAME_VERSION) {
		r->spoilt = true;
		return ds_fail_at(err, DS_EUNSUPPORTED, r->in->name, r->offset + DS_HEAD_VERSION,
				  "frame format version %u, only %u is supported",
				  p[DS_HEAD_VERSION], DS_FRAME_VERSION);
	}
	if (ds_get_u64(p + DS_HEAD_HASH) != XXH3_64bits(p, DS_HEAD_HASH))
		return bad(r, err, DS_ECORRUPT, 0,
			   "the head of this frame is damaged: its checksum does not match");
	h->type = p[DS_HEAD_TYPE];
	h->flags = ds_get_u16(p + DS_HEAD_FLAGS);
	h->document = ds_get_u64(p + DS_HEAD_DOCUMENT);
	h->sequence = ds_get_u64(p + DS_HEAD_SEQUENCE);
	h->len = ds_get_u64(p + DS_HEAD_LENGTH);
	h->payload_hash = ds_get_u64(p + DS_HEAD_PAYLOAD_HASH);
	if (h->document > DS_FRAME_COUNT_MAX || h->sequence > DS_FRAME_COUNT_MAX)
		return bad(r, err, DS_EFORMAT, DS_HEAD_DOCUMENT, "a number of 2^63 or more");
	if (!ds_frame_type_name(h->type)) {
		r->spoilt = true;
		return ds_fail_at(err, DS_EUNSUPPORTED, r->in->name, r->offset + DS_HEAD_TYPE,
				  "frame type %u is not known to this version", h->type);
	}
	if (h->flags >> 8)
		return bad(r, err, DS_EUNSUPPORTED, DS_HEAD_FLAGS,
			   "frame flags that this version does not know");
	if (h->len > DS_FRAME_PAYLOAD_MAX) {
		r->spoilt = true;
		return ds_fail_at(err, DS_ELIMIT, r->in->name, r->offset + DS_HEAD_LENGTH,
				  "a payload of %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
				  h->len, DS_FRAME_PAYLOAD_MAX);
	}
	return DS_OK;
}

static enum ds_status check_payload(struct ds_frame_reader *r, const struct head *h,
				    struct ds_err *err)
{
	const uint8_t *p = r->buf.data + r->start + DS_FRAME_HEAD_BYTES;

	if (XXH3_64bits(p, (size_t)h->len) != h->payload_hash)
		return bad(r, err, DS_ECORRUPT, DS_FRAME_HEAD_BYTES,
			   "the payload of this frame is damaged: its checksum does not match");
	for (size_t i = 0; i < ds_frame_padding(h->len); i++)
		if (p[h->len + i])
			return bad(r, err, DS_ECORRUPT,
				   DS_FRAME_HEAD_BYTES + (unsigned)(h->len + i),
				   "the padding of this frame is not zero");
	return DS_OK;
}

static enum ds_status check_totals(struct ds_frame_reader *r, const struct head *h,
				   struct ds_err *err)
{
	const uint8_t *p = r->buf.data + r->start + DS_FRAME_HEAD_BYTES;
	uint64_t at = r->offset + DS_FRAME_HEAD_BYTES;

	if (h->len != DS_FRAME_END_BYTES)
		return ds_fail_at(err, DS_EFORMAT, r->in->name, r->offset + DS_HEAD_LENGTH,
				  "an end frame of %" PRIu64 " bytes, %d were expected", h->len,
				  DS_FRAME_END_BYTES);
	if (ds_get_u64(p) != r->next_sequence)
		return ds_fail_at(err, DS_ECORRUPT, r->in->name, at,
				  "the end frame tells of %" PRIu64 " frames, %" PRIu64 " came",
				  ds_get_u64(p), r->next_sequence);
	if (ds_get_u64(p + 8) != r->payload_bytes)
		return ds_fail_at(err, DS_ECORRUPT, r->in->name, at + 8,
				  "the end frame tells of %" PRIu64 " payload bytes, %" PRIu64
				  " came",
				  ds_get_u64(p + 8), r->payload_bytes);
	if (ds_get_u64(p + 16) != r->order.documents)
		return ds_fail_at(err, DS_ECORRUPT, r->in->name, at + 16,
				  "the end frame tells of %" PRIu64 " documents, %" PRIu64 " came",
				  ds_get_u64(p + 16), r->order.documents);
	return DS_OK;
}

/* Sequence, documents and totals: what a sound frame may still be wrong in. */
static enum ds_status check_order(struct ds_frame_reader *r, const struct head *h,
				  struct ds_err *err)
{
	struct ds_frame_order order = r->order;
	const char *wrong;

	if (h->sequence != r->next_sequence)
		return ds_fail_at(err, DS_ECORRUPT, r->in->name, r->offset + DS_HEAD_SEQUENCE,
				  "frame %" PRIu64 " comes where frame %" PRIu64 " was expected",
				  h->sequence, r->next_sequence);
	wrong = ds_frame_order_take(&order, h->type, h->document);
	if (wrong)
		return ds_fail_at(err, DS_EFORMAT, r->in->name, r->offset, "a %s frame %s",
				  ds_frame_type_name(h->type), wrong);
	if (h->type == DS_FRAME_END)
		DS_TRY(check_totals(r, h, err));
	r->order = order;
	return DS_OK;
}

/* After recovery the numbers of the frame are taken as they are. */
static void adopt_order(struct ds_frame_reader *r, const struct head *h)
{
	if (h->sequence < r->next_sequence) { /* the end frame was lost */
		r->document_base += r->order.documents;
		r->order.documents = 0;
		r->next_sequence = 0;
	}
	r->lost_frames += h->sequence - r->next_sequence;
	r->next_sequence = h->sequence;
	if (ds_frame_in_document(h->type)) {
		if (h->document >= r->order.documents)
			r->order.documents = h->document + 1;
		r->order.open = h->type != DS_FRAME_DOCUMENT_END;
	}
}

static void end_stream(struct ds_frame_reader *r)
{
	r->document_base += r->order.documents;
	r->order = (struct ds_frame_order){0};
	r->next_sequence = 0;
	r->payload_bytes = 0;
	r->inside = r->damaged = false;
	r->streams++;
}

enum ds_status ds_frame_next(struct ds_frame_reader *r, struct ds_frame *frame_ret,
			     struct ds_err *err)
{
	enum ds_status st = fill(r, DS_FRAME_HEAD_BYTES, err);
	struct head h;
	size_t whole;

	if (st != DS_OK)
		return st == DS_END ? ends(r, err) : st;
	DS_TRY(check_head(r, &h, err));
	whole = DS_FRAME_HEAD_BYTES + (size_t)h.len + ds_frame_padding(h.len);
	st = fill(r, whole, err);
	if (st == DS_END)
		return ends_within(r, err, "a frame", whole);
	DS_TRY(st);
	if (r->start % 8) /* a recovered stream need not be aligned, payloads are */
		to_front(r);
	DS_TRY(check_payload(r, &h, err));
	if (r->damaged)
		adopt_order(r, &h);
	else
		DS_TRY(check_order(r, &h, err));
	*frame_ret = (struct ds_frame){
		.type = h.type,
		.flags = h.flags,
		.document = h.document + (ds_frame_in_document(h.type) ? r->document_base : 0),
		.sequence = h.sequence,
		.payload = r->buf.data + r->start + DS_FRAME_HEAD_BYTES,
		.payload_len = (size_t)h.len,
		.offset = r->offset,
	};
	r->start += whole;
	r->offset += whole;
	r->next_sequence++;
	r->payload_bytes += h.len;
	r->inside = true;
	if (h.type == DS_FRAME_END)
		end_stream(r);
	return DS_OK;
}

enum ds_status ds_frame_recover(struct ds_frame_reader *r, uint64_t *lost_ret, struct ds_err *err)
{
	size_t skip = r->spoilt;

	*lost_ret = 0;
	r->damaged = r->inside = true;
	for (;;) {
		const uint8_t *p, *at;
		enum ds_status st;
		struct head h;

		skip = skip < have(r) ? skip : have(r);
		r->start += skip;
		r->offset += skip;
		*lost_ret += skip;
		st = fill(r, DS_FRAME_HEAD_BYTES, err);
		if (st == DS_END) {
			*lost_ret += have(r);
			r->offset += have(r);
			r->start = r->buf.len;
		}
		DS_TRY(st);
		r->spoilt = false;
		if (check_head(r, &h, NULL) == DS_OK)
			return DS_OK;
		p = r->buf.data + r->start;
		at = memchr(p + 1, ds_frame_magic[0], have(r) - 1);
		skip = at ? (size_t)(at - p) : have(r);
	}
}
