/*
 * json.h - frames as JSON lines and back, without loss
 *
 * One object a line; "type" is the frame's, "doc" its document.  The keys are described in
 * man/ds-cat.1.  Bytes that are not valid UTF-8 stand in base64 under a key with the suffix
 * "_base64"; identities and hashes are strings of 16 hexadecimal digits.
 */
#ifndef DS_FRAME_JSON_H
#define DS_FRAME_JSON_H

#include "frame/frame.h"

/* Append the line of a frame, with its newline. */
enum ds_status ds_frame_json_put(const struct ds_frame *f, struct ds_buf *line, struct ds_err *err);

/* Append "name":"bytes", or "name_base64":"..." when they are not UTF-8; a comma first, unless it
 * is the first of its object. */
enum ds_status ds_json_string(const char *name, const void *bytes, size_t n, struct ds_buf *json,
			      struct ds_err *err);

/* Names of enum ds_boundary_kind and enum ds_vector_type, as the lines have them. */
extern const char *const ds_boundary_names[DS_CUT_KINDS];
extern const char *const ds_vector_names[3];

/* Reading lines.  Borrows in. */
#define DS_JSON_LINE_MAX ((size_t)1 << 30)
struct ds_json_reader {
	struct ds_in *in;
	struct ds_buf buf;
	size_t start;	 /* of the next line in buf */
	uint64_t offset; /* of the next line in the input */
	uint64_t line;	 /* number of the last line read, from 1 */
	bool ended;	 /* in has no more bytes */
	bool announced;	 /* document lines since the last end line: another must follow */
	/* lines whose "doc" is a name instead of a number: one document while the name is the same
	 */
	bool named;
	struct ds_buf name;
	uint64_t named_doc;
};
void ds_json_reader_init(struct ds_json_reader *r, struct ds_in *in);
/*
 * The next line that is not blank, written to w as the frame it describes; w takes them
 * (ds_frame_writer_init_take()): a line's document need not be in order.  Lines of "end" are frames
 * of 24 bytes whose totals the taker may check.  DS_END at the end of input.
 */
enum ds_status ds_json_next(struct ds_json_reader *r, struct ds_frame_writer *w,
			    struct ds_err *err);
void ds_json_reader_fini(struct ds_json_reader *r);

#endif
