/*
 * frame_layout.h - what writer and reader share of man/ds-frame.5: the head and the order of frames
 */
#ifndef DS_FRAME_LAYOUT_H
#define DS_FRAME_LAYOUT_H

#include "frame/frame.h"

/* Offsets in the head. */
enum {
	DS_HEAD_VERSION = 4,
	DS_HEAD_TYPE = 5,
	DS_HEAD_FLAGS = 6,
	DS_HEAD_DOCUMENT = 8,
	DS_HEAD_SEQUENCE = 16,
	DS_HEAD_LENGTH = 24,
	DS_HEAD_PAYLOAD_HASH = 32,
	DS_HEAD_HASH = 40,
};

#define DS_FRAME_VERSION 1
#define DS_FRAME_END_BYTES 24
extern const uint8_t ds_frame_magic[4];

static inline size_t ds_frame_padding(uint64_t payload_len)
{
	return (size_t)(-payload_len & 7);
}

/* Whether frames of this type lie inside a document. */
bool ds_frame_in_document(uint8_t type);
/* Let the order take a frame: NULL, or what is wrong with it there. */
const char *ds_frame_order_take(struct ds_frame_order *order, uint8_t type, uint64_t document);

#endif
