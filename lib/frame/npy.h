/*
 * npy.h - NumPy's .npy files of one matrix of vectors
 *
 * Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0 to 3.0.
 */
#ifndef DS_FRAME_NPY_H
#define DS_FRAME_NPY_H

#include "frame/frame.h"

struct ds_npy {
	uint64_t rows; /* 1 for an array of one dimension */
	uint32_t dims;
	uint8_t type; /* enum ds_vector_type: descr <f4, <f2 or |i1 */
};

bool ds_npy_probe(const void *bytes, size_t n);
#define DS_NPY_PROBE_BYTES 6

/* The head at the beginning of in; rows of dims values follow.  C order, one or two dimensions. */
enum ds_status ds_npy_read_head(struct ds_in *in, struct ds_npy *npy_ret, struct ds_err *err);
/* The bytes of one row. */
size_t ds_npy_row_bytes(const struct ds_npy *npy);
/* The next row; DS_ETRUNCATED when in ends before.  row: [ds_npy_row_bytes()] */
enum ds_status ds_npy_read_row(struct ds_in *in, const struct ds_npy *npy, void *row,
			       struct ds_err *err);
/* After the last row: input must end here. */
enum ds_status ds_npy_read_end(struct ds_in *in, struct ds_err *err);

/* A head of always this size. */
#define DS_NPY_HEAD_BYTES 128
void ds_npy_make_head(const struct ds_npy *npy, uint8_t head_ret[DS_NPY_HEAD_BYTES]);

#endif
