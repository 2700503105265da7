/* cat_source.c - frames, JSON lines, .npy and plain files as frames */
#include "cat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "archive/archive.h"
#include "base/cursor.h"
#include "base/utf8.h"
#include "frame/json.h"

#define TEXT_BYTES 65536

/* Whether n bytes begin with {" or {}, with blanks between: braces begin many other things. */
static bool is_json(const uint8_t *p, size_t n)
{
	size_t i = 1;

	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	return n > 0 && p[0] == '{' && i < n && (p[i] == '"' || p[i] == '}');
}

enum ds_status cat_probe(struct ds_in *in, enum cat_kind *kind_ret, struct ds_err *err)
{
	const uint8_t *p;
	bool frames;
	size_t n;

	DS_TRY(ds_frame_detect(in, &frames, err));
	*kind_ret = frames ? CAT_IN_FRAMES : CAT_IN_TEXT;
	/* no more than needed, for the writer may be waiting for us */
	DS_TRY(ds_in_peek(in, 1, &p, &n, err));
	if (frames || n == 0 || !memchr("\x93\xd5G{", p[0], 4))
		return DS_OK;
	DS_TRY(ds_in_peek(in, 8, &p, &n, err));
	if (ds_npy_probe(p, n))
		*kind_ret = CAT_IN_NPY;
	else if (n >= 4 && memcmp(p, "GGUF", 4) == 0)
		*kind_ret = CAT_IN_GGUF;
	else if (ds_archive_probe(p, n))
		*kind_ret = CAT_IN_ARCHIVE;
	else if (is_json(p, n))
		*kind_ret = CAT_IN_JSONL;
	return DS_OK;
}

/* Report damage and go to the next sound frame; DS_END when there is none. */
static enum ds_status pass_damage(struct cli *cli, struct ds_frame_reader *r, struct ds_err *err)
{
	uint64_t lost;
	enum ds_status st;

	cli_error(cli, err);
	st = ds_frame_recover(r, &lost, err);
	if (st == DS_OK || st == DS_END)
		cli_warn(cli, "%s: %" PRIu64 " bytes were passed over%s", r->in->name, lost,
			 st == DS_END ? ", nothing sound follows" : "");
	return st;
}

static enum ds_status source_frames(struct cli *cli, struct ds_in *in, bool recover,
				    struct cat_sink *s, struct ds_err *err)
{
	struct ds_frame_reader r;
	struct ds_frame f;
	enum ds_status st;

	ds_frame_reader_init(&r, in);
	s->lenient = s->join.lenient = recover;
	for (;;) {
		st = ds_frame_next(&r, &f, err);
		if (st == DS_OK) {
			st = cat_sink_take(s, &f, err);
			cli_progress(cli, in->name, r.offset, 0);
			if (st == DS_OK)
				continue;
			break;
		}
		if (st == DS_END || st == DS_EIO || st == DS_ENOMEM || !recover)
			break;
		st = pass_damage(cli, &r, err);
		if (st != DS_OK)
			break;
	}
	if (r.lost_frames)
		cli_warn(cli, "%s: at least %" PRIu64 " frames were lost", in->name, r.lost_frames);
	ds_frame_reader_fini(&r);
	return st == DS_END ? DS_OK : st;
}

/* Counts the frames of JSON lines, for the totals of their end lines. */
struct json_taker {
	struct cat_sink *sink;
	uint64_t frames, documents;
};

static enum ds_status take_json(void *arg, const struct ds_frame *f, struct ds_err *err)
{
	struct json_taker *t = arg;
	uint64_t frames, documents;

	if (f->type != DS_FRAME_END) {
		t->frames++;
		t->documents += f->type == DS_FRAME_DOCUMENT;
		return cat_sink_take(t->sink, f, err);
	}
	frames = ds_get_u64(f->payload);
	documents = ds_get_u64(f->payload + 16);
	if (frames != t->frames || documents != t->documents)
		return ds_fail(err, DS_ECORRUPT,
			       "the end tells of %" PRIu64 " frames and %" PRIu64
			       " documents, %" PRIu64 " and %" PRIu64 " came",
			       frames, documents, t->frames, t->documents);
	*t = (struct json_taker){.sink = t->sink};
	return cat_sink_end_input(t->sink, err);
}

static enum ds_status source_json(struct cli *cli, struct ds_in *in, struct cat_sink *s,
				  struct ds_err *err)
{
	struct json_taker taker = {.sink = s};
	struct ds_frame_writer w;
	struct ds_json_reader r;
	enum ds_status st;

	ds_frame_writer_init_take(&w, take_json, &taker);
	ds_json_reader_init(&r, in);
	s->lenient = s->join.lenient = false;
	while ((st = ds_json_next(&r, &w, err)) == DS_OK)
		cli_progress(cli, in->name, r.offset, 0);
	if (st == DS_END && r.announced)
		st = ds_fail_at(err, DS_ETRUNCATED, in->name, r.offset,
				"input ends without an end line; its writer did not finish");
	ds_json_reader_fini(&r);
	ds_frame_writer_fini(&w);
	return st == DS_END ? DS_OK : st;
}

/* What a document frame says of the input. */
static struct ds_document describe(const struct ds_in *in, bool is_text)
{
	struct ds_document d = {.name = "", .size = DS_SIZE_UNKNOWN};

	if (in->fd > 2) {
		d.name = in->name;
		d.name_len = strlen(in->name);
	}
	ds_document_stat(&d, in->fd);
	if (!is_text)
		d.size = DS_SIZE_UNKNOWN;
	return d;
}

static enum ds_status npy_rows(struct ds_in *in, const struct ds_npy *npy,
			       struct ds_frame_writer *w, struct ds_err *err)
{
	struct ds_embedding_frame e = {.dims = npy->dims, .type = npy->type, .scale = 1};
	enum ds_status st = DS_OK;
	uint8_t *row = ds_alloc(ds_npy_row_bytes(npy), 1);

	if (!row)
		return ds_fail_nomem(err, ds_npy_row_bytes(npy));
	e.data = row;
	for (; e.index < npy->rows && st == DS_OK; e.index++) {
		st = ds_npy_read_row(in, npy, row, err);
		if (st == DS_OK)
			st = ds_embedding_put(w, 0, &e, err);
	}
	free(row);
	return st == DS_OK ? ds_npy_read_end(in, err) : st;
}

static enum ds_status source_npy(struct ds_in *in, struct ds_frame_writer *w, struct ds_err *err)
{
	struct ds_document d = describe(in, false);
	struct ds_document_end e = {.size = DS_SIZE_UNKNOWN};
	struct ds_npy npy;

	DS_TRY(ds_npy_read_head(in, &npy, err));
	DS_TRY(ds_document_put(w, 0, &d, err));
	DS_TRY(npy_rows(in, &npy, w, err));
	return ds_document_end_put(w, 0, &e, err);
}

/* A document's bytes on their way into text frames. */
struct pieces {
	struct ds_frame_writer *w;
	uint64_t document, start; /* start: of held in the document */
	XXH3_state_t *hash;	  /* of the document */
	struct ds_buf held;	  /* a character is not cut, for then it would be no text in JSON */
};

static enum ds_status begin_pieces(struct pieces *p_ret, struct ds_frame_writer *w,
				   struct ds_err *err)
{
	*p_ret = (struct pieces){.w = w, .hash = XXH3_createState()};
	if (!p_ret->hash)
		return ds_fail(err, DS_ENOMEM, "out of memory: no state for a hash");
	XXH3_64bits_reset(p_ret->hash);
	return DS_OK;
}

static void end_pieces(struct pieces *p)
{
	ds_buf_fini(&p->held);
	XXH3_freeState(p->hash);
}

static enum ds_status put_held(struct pieces *p, size_t n, struct ds_err *err)
{
	struct ds_text t = {p->start, p->held.data, n};

	if (n == 0)
		return DS_OK;
	DS_TRY(ds_text_put(p->w, p->document, &t, err));
	p->start += n;
	ds_buf_consume(&p->held, n);
	return DS_OK;
}

static enum ds_status put_piece(void *pieces, const void *bytes, size_t n, struct ds_err *err)
{
	struct pieces *p = pieces;

	XXH3_64bits_update(p->hash, bytes, n);
	DS_TRY(ds_buf_append(&p->held, bytes, n, err));
	return put_held(p, ds_utf8_whole(p->held.data, p->held.len), err);
}

static enum ds_status text_pieces(struct cli *cli, struct ds_in *in, struct pieces *p,
				  struct ds_err *err)
{
	struct ds_document_end e;
	uint8_t bytes[TEXT_BYTES];
	size_t got;

	do {
		DS_TRY(ds_in_read(in, bytes, sizeof bytes, &got, err));
		DS_TRY(put_piece(p, bytes, got, err));
		cli_progress(cli, in->name, p->start, 0);
	} while (got);
	DS_TRY(put_held(p, p->held.len, err));
	e = (struct ds_document_end){p->start, XXH3_64bits_digest(p->hash)};
	return ds_document_end_put(p->w, 0, &e, err);
}

static enum ds_status source_text(struct cli *cli, struct ds_in *in, struct ds_frame_writer *w,
				  struct ds_err *err)
{
	struct ds_document d = describe(in, true);
	struct pieces p;
	enum ds_status st;

	DS_TRY(begin_pieces(&p, w, err));
	st = ds_document_put(w, 0, &d, err);
	if (st == DS_OK)
		st = text_pieces(cli, in, &p, err);
	end_pieces(&p);
	return st;
}

static enum ds_status archive_member(struct ds_archive *a, uint64_t i, struct pieces *p,
				     struct ds_err *err)
{
	struct ds_archive_member m;
	struct ds_document_end e;

	DS_TRY(ds_archive_member(a, i, &m, err));
	p->document = i;
	p->start = 0;
	p->held.len = 0;
	XXH3_64bits_reset(p->hash);
	DS_TRY(ds_document_put(p->w, i, &m.document, err));
	DS_TRY(ds_archive_copy(a, i, put_piece, p, err));
	DS_TRY(put_held(p, p->held.len, err));
	e = (struct ds_document_end){p->start, XXH3_64bits_digest(p->hash)};
	return ds_document_end_put(p->w, i, &e, err);
}

enum ds_status cat_mapped_path(const struct ds_in *in, const char **path_ret, struct ds_err *err)
{
	struct stat st;

	*path_ret = in->fd > 2 ? in->name : "/dev/stdin";
	if (fstat(in->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return ds_fail_at(err, DS_EUNSUPPORTED, in->name, DS_NO_OFFSET,
				  "models and archives are not read from a pipe, name the file");
	return DS_OK;
}

static enum ds_status source_archive(const struct cli *cli, struct ds_in *in,
				     struct ds_frame_writer *w, struct ds_err *err)
{
	struct ds_archive *a;
	struct pieces p;
	enum ds_status st;
	const char *path;

	DS_TRY(cat_mapped_path(in, &path, err));
	DS_TRY(ds_archive_open(&a, path, cli->secret, err));
	ds_archive_set_lm(a, getenv("DS_LM"), 0);
	st = begin_pieces(&p, w, err);
	for (uint64_t i = 0; st == DS_OK && i < ds_archive_members(a); i++)
		st = archive_member(a, i, &p, err);
	end_pieces(&p);
	ds_archive_close(a);
	return st;
}

static enum ds_status source_other(struct cli *cli, struct ds_in *in, enum cat_kind kind,
				   struct cat_sink *s, struct ds_err *err)
{
	struct ds_frame_writer w;
	enum ds_status st;

	s->lenient = s->join.lenient = false;
	ds_frame_writer_init_take(&w, cat_sink_take, s);
	if (kind == CAT_IN_NPY)
		st = source_npy(in, &w, err);
	else if (kind == CAT_IN_ARCHIVE)
		st = source_archive(cli, in, &w, err);
	else
		st = source_text(cli, in, &w, err);
	ds_frame_writer_fini(&w);
	return st;
}

enum ds_status cat_source(struct cli *cli, struct ds_in *in, enum cat_kind kind, bool recover,
			  struct cat_sink *s, struct ds_err *err)
{
	enum ds_status st;

	if (kind == CAT_IN_GGUF)
		return ds_fail_at(err, DS_EUNSUPPORTED, in->name, DS_NO_OFFSET,
				  "a model file; -i describes it");
	if (kind == CAT_IN_FRAMES)
		st = source_frames(cli, in, recover, s, err);
	else if (kind == CAT_IN_JSONL)
		st = source_json(cli, in, s, err);
	else
		st = source_other(cli, in, kind, s, err);
	if (st == DS_OK)
		st = cat_sink_end_input(s, err);
	if (st != DS_OK)
		ds_err_set_path(err, in->name);
	return st;
}
