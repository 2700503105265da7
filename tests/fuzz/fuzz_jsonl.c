/* fuzz_jsonl.c - JSON lines: a frame that a line gives has a line that gives the same frame */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fd_of_line = -1, fd_of_input = -1;
static struct ds_buf again;

static void open_bytes(int *fd, struct ds_in *in, const void *bytes, size_t n)
{
	struct ds_err err;

	if (*fd < 0 && ds_spill_open(fd, &err) != DS_OK)
		abort();
	if (ftruncate(*fd, 0) != 0 || ds_pwrite_all(*fd, bytes, n, 0, &err) != DS_OK)
		abort();
	(void)lseek(*fd, 0, SEEK_SET);
	*in = (struct ds_in){.fd = *fd, .name = "fuzz"};
}

static enum ds_status take_again(void *arg, const struct ds_frame *f, struct ds_err *err)
{
	const struct ds_frame *first = arg;

	assert(f->type == first->type && f->payload_len == first->payload_len);
	assert(f->document == first->document || f->type == DS_FRAME_END);
	assert(f->type == DS_FRAME_END || memcmp(f->payload, first->payload, f->payload_len) == 0);
	again.len = 0;
	return ds_frame_json_put(f, &again, err);
}

static enum ds_status take(void *arg, const struct ds_frame *f, struct ds_err *err)
{
	struct ds_frame first = *f;
	struct ds_frame_writer w;
	struct ds_json_reader r;
	struct ds_buf line = {0};
	struct ds_in in;

	(void)arg;
	if (ds_frame_json_put(f, &line, err) != DS_OK)
		abort();
	open_bytes(&fd_of_line, &in, line.data, line.len);
	ds_frame_writer_init_take(&w, take_again, &first);
	ds_json_reader_init(&r, &in);
	if (ds_json_next(&r, &w, err) != DS_OK)
		abort();
	assert(again.len == line.len && memcmp(again.data, line.data, line.len) == 0);
	ds_json_reader_fini(&r);
	ds_frame_writer_fini(&w);
	ds_buf_fini(&line);
	return DS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ds_frame_writer w;
	struct ds_json_reader r;
	struct ds_err err;
	struct ds_in in;

	open_bytes(&fd_of_input, &in, data, size);
	ds_frame_writer_init_take(&w, take, NULL);
	ds_json_reader_init(&r, &in);
	/* a bad line ends a tool; here the next one has its turn */
	while (ds_json_next(&r, &w, &err) != DS_END)
		;
	ds_json_reader_fini(&r);
	ds_frame_writer_fini(&w);
	ds_buf_fini(&again);
	return 0;
}
