/* lm_blocks.c - blocks coded by a language model, in an archive that is written or read */
#include "archive/lm_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "archive/lm_code.h"
#include "archive/reader.h"
#include "base/cursor.h"

#define NAME_MAX_BYTES 255
#define LM_VERSION 2
/* Blocks that are decoded together: as many as advance together, found among so many uses. */
#define AHEAD_BLOCKS 64
#define AHEAD_BYTES ((size_t)1 << 20)
#define AHEAD_USES 65536

struct ds_lm_blocks {
	struct ds_model *model;
	struct ds_pool *pool, *own_pool;
	struct ds_model_file file;
	struct ds_lm_code *code; /* NULL until it is needed, for this context */
	uint32_t context;
};

/* What a segment says of its model. */
struct model_name {
	struct ds_model_file file;
	uint32_t context;
	char name[NAME_MAX_BYTES + 1];
};

static int can_look_back(const struct ds_model *model, uint32_t context)
{
	return context % 64 == 0 && context >= DS_ARCHIVE_LM_CONTEXT_MIN &&
	       context <= ds_model_context(model);
}

static enum ds_status open_model(struct ds_lm_blocks *l, const struct ds_lm_options *o,
				 struct ds_err *err)
{
	DS_TRY(ds_model_open(&l->model, o->path, err));
	if (!ds_model_is_lm(l->model))
		return ds_fail_at(err, DS_EINVAL, o->path, DS_NO_OFFSET,
				  "no language model (%s): it cannot code text",
				  ds_model_describe(l->model));
	l->context = o->context;
	if (o->context && !can_look_back(l->model, o->context))
		return ds_fail_at(err, DS_EINVAL, o->path, DS_NO_OFFSET,
				  "%u tokens to look back; multiples of 64 from %u to %u are "
				  "possible",
				  o->context, DS_ARCHIVE_LM_CONTEXT_MIN,
				  ds_model_context(l->model));
	l->pool = o->pool;
	if (!l->pool)
		DS_TRY(ds_pool_new(&l->own_pool, o->threads, err));
	if (!l->pool)
		l->pool = l->own_pool;
	return ds_model_file(l->model, &l->file, err);
}

enum ds_status ds_lm_blocks_new(struct ds_lm_blocks **l_ret, const struct ds_lm_options *o,
				struct ds_err *err)
{
	struct ds_lm_blocks *l = ds_alloc_zero(1, sizeof *l);
	enum ds_status st;

	if (!l)
		return ds_fail_nomem(err, sizeof *l);
	st = open_model(l, o, err);
	if (st != DS_OK)
		ds_lm_blocks_free(l);
	else
		*l_ret = l;
	return st;
}

void ds_lm_blocks_free(struct ds_lm_blocks *l)
{
	if (!l)
		return;
	ds_lm_code_free(l->code);
	ds_model_close(l->model);
	ds_pool_free(l->own_pool);
	free(l);
}

static enum ds_status use_context(struct ds_lm_blocks *l, uint32_t context, struct ds_err *err)
{
	const struct ds_lm_code_rule rule = {.context = context};

	if (l->code && l->context == context)
		return DS_OK;
	ds_lm_code_free(l->code);
	l->code = NULL;
	l->context = context;
	return ds_lm_code_new(&l->code, l->model, l->pool, &rule, err);
}

enum ds_status ds_lm_blocks_put(const struct ds_lm_blocks *l, struct ds_buf *raw,
				struct ds_err *err)
{
	size_t n = strlen(l->file.name);
	uint8_t head[24] = {LM_VERSION};

	ds_put_u32(head + 4, l->context);
	ds_put_u64(head + 8, l->file.hash);
	ds_put_u64(head + 16, l->file.bytes);
	DS_TRY(ds_buf_append(raw, head, sizeof head, err));
	return ds_buf_append(raw, l->file.name, n < NAME_MAX_BYTES ? n : NAME_MAX_BYTES, err);
}

/* Bytes that no coder of text makes smaller are not tried. */
static int is_text(const struct ds_block_code *b)
{
	return b->coder != DS_CODER_STORED && !memchr(b->bytes, 0, b->n);
}

enum ds_status ds_lm_blocks_encode(struct ds_lm_blocks *l, struct ds_block_code **code, size_t n,
				   struct ds_err *err)
{
	struct ds_lm_job *job = ds_alloc_zero(n, sizeof *job);
	struct ds_buf *buf = ds_alloc_zero(n, sizeof *buf);
	enum ds_status st =
		job && buf ? use_context(l, l->context, err) : ds_fail_nomem(err, n * sizeof *job);
	size_t jobs = 0;

	for (size_t i = 0; st == DS_OK && i < n; i++)
		if (is_text(code[i])) {
			code[jobs] = code[i];
			job[jobs] =
				(struct ds_lm_job){.bytes = (uint8_t *)(uintptr_t)code[i]->bytes,
						   .n = code[i]->n,
						   .code = &buf[jobs]};
			jobs++;
		}
	if (st == DS_OK)
		st = ds_lm_encode(l->code, job, jobs, err);
	for (size_t i = 0; st == DS_OK && i < jobs; i++) {
		struct ds_buf other = code[i]->code;

		if (job[i].unfit || buf[i].len >= other.len)
			continue;
		code[i]->code = buf[i];
		code[i]->coder = DS_CODER_LM;
		buf[i] = other;
	}
	for (size_t i = 0; buf && i < n; i++)
		ds_buf_fini(&buf[i]);
	free(buf);
	free(job);
	return st;
}

static size_t segment_of_block(const struct ds_archive *a, uint64_t block)
{
	size_t low = 0, high = a->n_segments;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (a->segment[mid].first_block <= block)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static enum ds_status bad_name(const struct ds_archive *a, const struct ds_record *r,
			       struct ds_err *err)
{
	return ds_fail_at(err, DS_EFORMAT, a->map.path, r->offset,
			  "a record that names no language model");
}

/* The model of segment s. */
static enum ds_status read_name(const struct ds_archive *a, size_t s, struct model_name *m,
				struct ds_err *err)
{
	struct ds_buf raw = {0};
	enum ds_status st;
	struct ds_record r;
	size_t n;
	int found;

	DS_TRY(ds_segment_record(a, s, DS_RECORD_LM, &r, &found, err));
	if (!found)
		return ds_fail_at(err, DS_EFORMAT, a->map.path, a->segment[s].row.blocks_offset,
				  "a segment does not name the language model of its blocks");
	st = ds_record_unpack(&a->map, a->seal, &r, &raw, err);
	n = raw.len - 24;
	if (st == DS_OK && (raw.len < 24 || n > NAME_MAX_BYTES || raw.data[0] != LM_VERSION ||
			    memchr(raw.data + 24, 0, n)))
		st = bad_name(a, &r, err);
	if (st == DS_OK) {
		m->context = ds_get_u32(raw.data + 4);
		m->file.hash = ds_get_u64(raw.data + 8);
		m->file.bytes = ds_get_u64(raw.data + 16);
		memcpy(m->name, raw.data + 24, n);
		m->name[n] = '\0';
		m->file.name = m->name;
	}
	ds_buf_fini(&raw);
	return st;
}

struct ds_lm_identity ds_lm_blocks_identity(const struct ds_lm_blocks *l)
{
	return (struct ds_lm_identity){l->file.hash, l->file.bytes};
}

enum ds_status ds_lm_one(const struct ds_archive *a, struct ds_lm_identity *known_io,
			 struct ds_err *err)
{
	for (size_t s = 0; s < a->n_segments; s++) {
		struct model_name m;
		struct ds_record r;
		int found;

		DS_TRY(ds_segment_record(a, s, DS_RECORD_LM, &r, &found, err));
		if (!found)
			continue;
		DS_TRY(read_name(a, s, &m, err));
		if (!known_io->bytes)
			*known_io = (struct ds_lm_identity){m.file.hash, m.file.bytes};
		if (m.file.hash != known_io->hash || m.file.bytes != known_io->bytes)
			return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
					  "its text is coded by the language model %s (XXH3 "
					  "%016llx), other text by another one (%016llx): an "
					  "archive has one",
					  m.name, (unsigned long long)m.file.hash,
					  (unsigned long long)known_io->hash);
	}
	return DS_OK;
}

/* That the model at hand is the one of segment s. */
static enum ds_status check_model(struct ds_archive *a, size_t s, struct ds_err *err)
{
	const struct ds_lm_options o = {.path = a->lm_path, .threads = a->lm_threads};
	struct ds_lm_blocks *l;
	struct model_name m;

	DS_TRY(read_name(a, s, &m, err));
	if (!o.path)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "its text is coded by the language model %s (XXH3 %016llx, %llu "
				  "bytes), which is needed to read it: --lm or DS_LM names it",
				  m.name, (unsigned long long)m.file.hash,
				  (unsigned long long)m.file.bytes);
	if (!a->lm)
		DS_TRY(ds_lm_blocks_new(&a->lm, &o, err));
	l = a->lm;
	if (m.file.hash != l->file.hash || m.file.bytes != l->file.bytes)
		return ds_fail_at(err, DS_EINVAL, a->map.path, DS_NO_OFFSET,
				  "its text is coded by the language model %s (XXH3 %016llx); %s "
				  "is another one (%016llx)",
				  m.name, (unsigned long long)m.file.hash, l->file.name,
				  (unsigned long long)l->file.hash);
	if (!can_look_back(l->model, m.context))
		return ds_fail_at(err, DS_EFORMAT, a->map.path, a->segment[s].row.blocks_offset,
				  "a language model that looks back %u tokens, of %u that it can",
				  m.context, ds_model_context(l->model));
	return use_context(l, m.context, err);
}

/* Blocks to be decoded together. */
struct group {
	size_t n, bytes, segment;
	uint64_t index[AHEAD_BLOCKS];
	struct ds_record record[AHEAD_BLOCKS];
	struct ds_buf plain[AHEAD_BLOCKS]; /* of sealed ones */
};

/* Another block, where it is one of this coder and not here yet. */
static void add(struct ds_archive *a, struct group *g, uint64_t index)
{
	const struct ds_segment_entry *s = &a->segment[g->segment];
	const struct ds_block *b = &a->block[index];
	struct ds_record *r = &g->record[g->n];

	if (g->n == AHEAD_BLOCKS || b->cached || (g->n && g->bytes + b->raw > AHEAD_BYTES) ||
	    index < s->first_block || index >= s->first_block + s->blocks)
		return;
	for (size_t i = 0; i < g->n; i++)
		if (g->index[i] == index)
			return;
	if (ds_block_record(a, b, r, NULL) != DS_OK || r->coder != DS_CODER_LM ||
	    (g->n && ds_record_open(&a->map, a->seal, r, &g->plain[g->n], NULL) != DS_OK))
		return;
	g->index[g->n++] = index;
	g->bytes += b->raw;
}

/* Blocks that are used next: by the document that is read, and those that are to follow. */
static void gather(struct ds_archive *a, struct group *g)
{
	uint64_t use = a->ahead.use, end = a->ahead.end, member = a->ahead.member;
	size_t seen = 0;

	while (seen < AHEAD_USES) {
		for (; use < end && seen < AHEAD_USES; use++, seen++)
			add(a, g, a->piece[a->use[use].piece].block);
		if (!a->planned)
			return;
		do
			member++;
		while (member < a->n_members && !a->planned[member]);
		if (member >= a->n_members)
			return;
		use = a->member[member].first_use;
		end = use + a->member[member].uses;
		seen++;
	}
}

/* The first block of the group has to come out of it. */
static enum ds_status decode_group(struct ds_archive *a, struct group *g, struct ds_err *err)
{
	struct ds_lm_job job[AHEAD_BLOCKS] = {0};
	struct ds_buf code[AHEAD_BLOCKS] = {0}, text[AHEAD_BLOCKS] = {0};
	enum ds_status st = DS_OK;

	for (size_t i = 0; st == DS_OK && i < g->n; i++) {
		const struct ds_record *r = &g->record[i];

		st = ds_buf_reserve(&text[i], (size_t)r->raw + 1, err);
		code[i] = (struct ds_buf){.data = (uint8_t *)(uintptr_t)r->bytes, .len = r->stored};
		job[i] = (struct ds_lm_job){.bytes = text[i].data, .n = r->raw, .code = &code[i]};
	}
	if (st == DS_OK)
		st = ds_lm_decode(a->lm->code, job, g->n, err);
	for (size_t i = g->n; st == DS_OK && i-- > 0;) { /* the first is the newest */
		text[i].len = g->record[i].raw;
		if (job[i].status == DS_OK)
			st = ds_block_keep(a, g->index[i], &text[i], err);
		else if (i == 0)
			st = ds_fail_at(err, job[i].status, a->map.path, g->record[i].offset,
					"the language model does not make %u bytes of a block",
					g->record[i].raw);
	}
	for (size_t i = 0; i < g->n; i++)
		ds_buf_fini(&text[i]);
	return st;
}

enum ds_status ds_lm_block_load(struct ds_archive *a, uint64_t index, struct ds_err *err)
{
	struct group *g = ds_alloc_zero(1, sizeof *g);
	enum ds_status st;

	if (!g)
		return ds_fail_nomem(err, sizeof *g);
	g->segment = segment_of_block(a, index);
	st = check_model(a, g->segment, err);
	if (st == DS_OK) {
		add(a, g, index);
		gather(a, g);
		st = ds_record_open(&a->map, a->seal, &g->record[0], &g->plain[0], err);
		if (st == DS_OK)
			st = decode_group(a, g, err);
	}
	for (size_t i = 0; i < AHEAD_BLOCKS; i++)
		ds_buf_fini(&g->plain[i]);
	free(g);
	return st;
}

void ds_archive_set_lm(struct ds_archive *a, const char *path, unsigned threads)
{
	ds_lm_blocks_free(a->lm);
	a->lm = NULL;
	a->lm_path = path;
	a->lm_threads = threads;
}
