/* cat_inspect.c - ds-cat -i: what a file holds */
#include "cat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/archive.h"
#include "frame/json.h"
#include "gguf/gguf.h"
#include "gguf/types.h"

static void frame_rows(const struct cat_counts *c)
{
	uint64_t frames = 0, bytes = 0, user_frames = 0, user_bytes = 0;

	printf("  %-12s %12s %14s\n", "type", "frames", "payload bytes");
	for (unsigned type = 0; type < 256; type++) {
		frames += c->frames[type];
		bytes += c->bytes[type];
		if (type >= DS_FRAME_USER) {
			user_frames += c->frames[type];
			user_bytes += c->bytes[type];
		} else if (c->frames[type]) {
			printf("  %-12s %12" PRIu64 " %14" PRIu64 "\n",
			       ds_frame_type_name((uint8_t)type), c->frames[type], c->bytes[type]);
		}
	}
	if (user_frames)
		printf("  %-12s %12" PRIu64 " %14" PRIu64 "\n", "user", user_frames, user_bytes);
	printf("  %-12s %12" PRIu64 " %14" PRIu64 "\n", "all", frames, bytes);
}

static void frame_facts(const struct cat_counts *c)
{
	if (c->text_bytes)
		printf("  text of the documents: %" PRIu64 " bytes\n", c->text_bytes);
	if (c->frames[DS_FRAME_CHUNK] || c->frames[DS_FRAME_TOKENS])
		printf("  vocabulary: %016" PRIx64 "\n", c->vocabulary);
	if (c->frames[DS_FRAME_CHUNK])
		printf("  largest chunk: %" PRIu64 " tokens\n", c->tokens_max);
	if (c->dims && c->mixed)
		printf("  embeddings: of several kinds or models\n");
	else if (c->dims)
		printf("  embeddings: %" PRIu64 " dims, %s, model %016" PRIx64 "\n", c->dims,
		       ds_vector_names[c->vector_type], c->model);
}

/* Anything that becomes frames is counted as such. */
static enum ds_status inspect_frames(struct cli *cli, struct ds_in *in, enum cat_kind kind,
				     bool recover, struct ds_err *err)
{
	static const char *const names[] = {
		[CAT_IN_FRAMES] = "frames",
		[CAT_IN_JSONL] = "JSON lines",
		[CAT_IN_NPY] = "npy",
		[CAT_IN_TEXT] = "plain bytes",
	};
	struct cat_sink sink;
	enum ds_status st;

	DS_TRY(cat_sink_open(&sink, CAT_COUNT, NULL, err));
	st = cat_source(cli, in, kind, recover, &sink, err);
	printf("%s: %s", in->name, names[kind]);
	if (kind == CAT_IN_TEXT)
		printf(", %" PRIu64 " bytes\n", sink.counts.text_bytes);
	else if (kind == CAT_IN_NPY)
		printf(", %" PRIu64 " x %" PRIu64 " %s\n", sink.counts.frames[DS_FRAME_EMBEDDING],
		       sink.counts.dims, ds_vector_names[sink.counts.vector_type]);
	else
		printf(", %" PRIu64 " documents%s\n", sink.documents,
		       st == DS_OK ? "" : ", damaged");
	if (kind == CAT_IN_FRAMES || kind == CAT_IN_JSONL) {
		frame_rows(&sink.counts);
		frame_facts(&sink.counts);
	}
	cat_sink_close(&sink);
	return st;
}

#define GGUF_TYPES_MAX 64

static const char *type_name(uint32_t type)
{
	const struct ds_ggml_type *t = ds_ggml_type(type);

	return t ? t->name : "unknown";
}

static void gguf_tensor_table(const struct ds_gguf *g)
{
	uint64_t tensors[GGUF_TYPES_MAX] = {0}, values[GGUF_TYPES_MAX] = {0},
		 bytes[GGUF_TYPES_MAX] = {0};

	for (size_t i = 0; i < g->n_tensor; i++) {
		const struct ds_gguf_tensor *t = &g->tensor[i];
		unsigned type = t->type < GGUF_TYPES_MAX ? t->type : GGUF_TYPES_MAX - 1;

		tensors[type]++;
		values[type] += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
		bytes[type] += t->bytes;
	}
	printf("  %-8s %8s %14s %14s\n", "type", "tensors", "values", "bytes");
	for (uint32_t type = 0; type < GGUF_TYPES_MAX; type++)
		if (tensors[type])
			printf("  %-8s %8" PRIu64 " %14" PRIu64 " %14" PRIu64 "\n", type_name(type),
			       tensors[type], values[type], bytes[type]);
}

static void gguf_text(const struct ds_gguf *g, const char *key, const char *label)
{
	struct ds_str s;

	if (ds_gguf_str(g, key, &s, NULL) == DS_OK && s.len < 200)
		printf(", %s %.*s", label, (int)s.len, s.s);
}

static enum ds_status inspect_gguf(const char *path, bool verbose, struct ds_err *err)
{
	struct ds_gguf g;

	DS_TRY(ds_gguf_open(&g, path, err));
	printf("%s: GGUF version %" PRIu32, path, g.version);
	gguf_text(&g, "general.architecture", "architecture");
	gguf_text(&g, "general.name", "name");
	printf(", %zu bytes, %zu keys, %zu tensors\n", g.map.len, g.n_kv, g.n_tensor);
	gguf_tensor_table(&g);
	for (size_t i = 0; verbose && i < g.n_kv; i++)
		printf("  key %.*s\n", (int)g.kv[i].key.len, g.kv[i].key.s);
	for (size_t i = 0; verbose && i < g.n_tensor; i++) {
		const struct ds_gguf_tensor *t = &g.tensor[i];

		printf("  tensor %.*s %s", (int)t->name.len, t->name.s, type_name(t->type));
		for (uint32_t d = 0; d < t->n_dims; d++)
			printf("%c%" PRIu64, d ? 'x' : ' ', t->dim[d]);
		printf("\n");
	}
	ds_gguf_close(&g);
	return DS_OK;
}

static void archive_part(const char *name, uint64_t bytes)
{
	printf("  %-12s %14" PRIu64 "\n", name, bytes);
}

static enum ds_status archive_members(struct ds_archive *a, struct ds_err *err)
{
	for (uint64_t i = 0; i < ds_archive_members(a); i++) {
		struct ds_archive_member m;

		DS_TRY(ds_archive_member(a, i, &m, err));
		printf("  document %14" PRIu64 " bytes %8" PRIu64 " passages  ", m.document.size,
		       m.chunks);
		fwrite(m.document.name, 1, m.document.name_len, stdout);
		printf("\n");
	}
	return DS_OK;
}

static enum ds_status inspect_archive(const struct cli *cli, const char *path, struct ds_err *err)
{
	struct ds_archive_totals t;
	enum ds_status st = DS_OK;
	struct ds_archive *a;

	DS_TRY(ds_archive_open(&a, path, cli->secret, err));
	ds_archive_totals(a, &t);
	printf("%s: %sarchive, %" PRIu64 " documents, %" PRIu64 " bytes of %" PRIu64 "\n", path,
	       ds_archive_is_sealed(a) ? "encrypted " : "", t.documents, t.file_bytes,
	       t.text_bytes);
	printf("  %-12s %14s\n", "part", "bytes");
	archive_part("text", t.block_bytes);
	archive_part("dictionaries", t.dictionary_bytes);
	archive_part("vectors", t.vector_bytes);
	archive_part("words", t.word_bytes);
	archive_part("passages", t.passage_bytes);
	printf("  passages: %" PRIu64 "\n", t.passages);
	if (ds_archive_model(a))
		printf("  embeddings: %" PRIu32 " dims, model %016" PRIx64 "\n", ds_archive_dims(a),
		       ds_archive_model(a));
	if (cli->verbose)
		st = archive_members(a, err);
	ds_archive_close(a);
	return st;
}

static enum ds_status inspect_mapped(const struct cli *cli, const struct ds_in *in,
				     enum cat_kind kind, struct ds_err *err)
{
	const char *path;

	DS_TRY(cat_mapped_path(in, &path, err));
	return kind == CAT_IN_GGUF ? inspect_gguf(path, cli->verbose, err)
				   : inspect_archive(cli, path, err);
}

void cat_inspect(struct cli *cli, const char *path, bool recover)
{
	enum ds_status st;
	enum cat_kind kind;
	struct ds_err err;
	struct ds_in in;

	st = ds_in_open(&in, path, &err);
	if (st == DS_OK) {
		st = cat_probe(&in, &kind, &err);
		if (st == DS_OK && (kind == CAT_IN_GGUF || kind == CAT_IN_ARCHIVE))
			st = inspect_mapped(cli, &in, kind, &err);
		else if (st == DS_OK)
			st = inspect_frames(cli, &in, kind, recover, &err);
		ds_in_close(&in);
	}
	if (st != DS_OK)
		cli_error(cli, &err);
}
