/*
 * normal.h - normalisation with a way back to the original bytes (internal to lib/token)
 *
 * The steps of a tokenizer.json's "normalizer", applied in order.  Text that they leave as it is -
 * almost all - is recognised by a scan and not copied.  Bytes that are not UTF-8 stay as they are.
 */
#ifndef DS_TOKEN_NORMAL_H
#define DS_TOKEN_NORMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "gguf/gguf.h"

enum ds_norm_kind {
	DS_NORM_NFC,
	DS_NORM_NFD,
	DS_NORM_NFKC,
	DS_NORM_NFKD,
	DS_NORM_LOWER,
	DS_NORM_ACCENTS, /* drop combining marks */
	DS_NORM_REPLACE, /* a by b */
	DS_NORM_PREPEND, /* b before a text that is not empty, as the flags say */
	DS_NORM_STRIP,	 /* white space at the ends */
};

struct ds_norm_step {
	enum ds_norm_kind kind;
	struct ds_str a, b;
	bool left, right;      /* DS_NORM_STRIP: at which ends */
	bool unless, at_start; /* DS_NORM_PREPEND: not twice; only where the document begins */
};

#define DS_NORM_STEPS_MAX 8
struct ds_norm {
	struct ds_norm_step step[DS_NORM_STEPS_MAX];
	size_t n;
};

/* One stretch of normalised bytes and the original bytes it stands for. */
struct ds_norm_run {
	size_t end, origin_end; /* of the stretch, in either */
	bool same;		/* byte for byte the same */
};

struct ds_norm_map {
	struct ds_norm_run *run;
	size_t n, cap;
};

/* Scratch of one encoder; text borrowed from it is valid until the next call. */
struct ds_normed {
	struct ds_buf buf[2];
	struct ds_norm_map map[DS_NORM_STEPS_MAX];
	size_t n_map; /* 0: the text is as it was */
	const uint8_t *text;
	size_t len;
};

/* What stands before a text. */
enum ds_text_place { DS_TEXT_START, DS_TEXT_AFTER_TOKEN, DS_TEXT_CONTINUES };

enum ds_status ds_norm_run(const struct ds_norm *norm, const struct ds_part *text,
			   enum ds_text_place place, struct ds_normed *out, struct ds_err *err);
/* Turn ends in the normalised text, never descending, into ends in the original. */
void ds_norm_ends(const struct ds_normed *normed, uint64_t *end, size_t n, uint64_t base);
void ds_normed_fini(struct ds_normed *normed);
/* Whether text can be cut at p (0 < p < n) and its parts normalised apart. */
bool ds_norm_may_cut(const struct ds_norm *norm, const uint8_t *text, size_t n, size_t p);

/* Canonical combining class and full canonical decomposition as of Unicode 9.0, which is what
 * Hugging Face's normalisers go by; the number of code points in out. */
#define DS_NORM_PARTS_MAX 8
int ds_norm_combining(uint32_t cp);
unsigned ds_norm_decompose(uint32_t cp, uint32_t out[DS_NORM_PARTS_MAX]);

#endif
