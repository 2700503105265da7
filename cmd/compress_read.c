/* compress_read.c - ds-compress -d, -x, -l, -t: documents of an archive */
#include "compress.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive/extract.h"

/* Bytes read at a time for --range. */
#define RANGE_PART ((uint64_t)16 << 20)

/* Whether a member is one of the names: a path, a folder above it, or a pattern. */
static bool is_wanted(const char *member, char **names, int n, bool *used)
{
	bool wanted = n == 0;

	for (int i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		bool hit;

		while (len > 1 && names[i][len - 1] == '/')
			len--;
		hit = (strncmp(member, names[i], len) == 0 &&
		       (member[len] == '\0' || member[len] == '/')) ||
		      fnmatch(names[i], member, FNM_LEADING_DIR) == 0;
		used[i] |= hit;
		wanted |= hit;
	}
	return wanted;
}

/* Set chosen[] for the members that the names are of; every name must be of one. */
enum ds_status compress_choose(const struct ds_archive *a, const char *path, char **names, int n,
			       uint8_t **chosen_ret, struct ds_err *err)
{
	uint64_t members = ds_archive_members(a);
	bool *used = calloc((size_t)n + 1, sizeof *used);
	uint8_t *chosen = calloc(members + 1, 1);
	enum ds_status st = used && chosen ? DS_OK : ds_fail_nomem(err, members);
	struct ds_archive_member m;

	for (uint64_t i = 0; st == DS_OK && i < members; i++) {
		st = ds_archive_member(a, i, &m, err);
		if (st == DS_OK)
			chosen[i] = is_wanted(m.document.name, names, n, used);
	}
	for (int i = 0; st == DS_OK && i < n; i++)
		if (!used[i])
			st = ds_fail_at(err, DS_EINVAL, path, DS_NO_OFFSET,
					"no document '%s' in it", names[i]);
	free(used);
	if (st != DS_OK)
		free(chosen);
	else
		*chosen_ret = chosen;
	return st;
}

/* The language model of what is read. */
const char *compress_lm(const struct compress *z)
{
	const char *path = z->archive.lm ? z->archive.lm : getenv("DS_LM");

	return path && *path ? path : NULL;
}

static enum ds_status to_stdout(void *user, const void *bytes, size_t n, struct ds_err *err)
{
	return ds_out_write(user, bytes, n, err);
}

static void print_text(const struct compress *z, const struct ds_archive_member *m,
		       uint64_t unpacked)
{
	const struct ds_document *d = &m->document;
	const char *name = d->name_len ? d->name : "(stdin)";
	time_t seconds = (time_t)(d->mtime_ns / 1000000000);
	char when[32] = "-";
	struct tm tm;

	if (d->mtime_ns && gmtime_r(&seconds, &tm))
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (z->cli.verbose)
		printf("%04o %s ", d->mode, when);
	printf("%12llu %8llu %8llu %s\n", (unsigned long long)d->size,
	       (unsigned long long)m->chunks, (unsigned long long)unpacked, name);
}

static void print_json(const struct ds_archive_member *m, uint64_t unpacked)
{
	const struct ds_document *d = &m->document;
	json_t *name = json_stringn(d->name, d->name_len);
	json_t *o;
	char *line;

	o = json_pack("{so,sI,sI,sI,sI,si}", "name", name ? name : json_null(), "size",
		      (json_int_t)d->size, "chunks", (json_int_t)m->chunks, "unpacked",
		      (json_int_t)unpacked, "mtime_ns", (json_int_t)d->mtime_ns, "mode",
		      (int)d->mode);
	line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (line)
		puts(line);
	free(line);
	json_decref(o);
}

void compress_tell_damage(void *user, const struct ds_err *damage)
{
	struct compress *z = user;

	cli_error(&z->cli, damage);
}

/* The bytes of --range of a member. */
static enum ds_status copy_range(const struct compress *z, struct ds_archive *a, uint64_t index,
				 void *out, struct ds_err *err)
{
	struct ds_archive_member m;
	struct ds_buf text = {0};
	enum ds_status st;
	uint64_t at, end;

	DS_TRY(ds_archive_member(a, index, &m, err));
	at = compress_span(z->range, m.document.size).start;
	end = compress_span(z->range, m.document.size).end;
	do {
		uint64_t n = end - at < RANGE_PART ? end - at : RANGE_PART;

		text.len = 0;
		st = ds_archive_read(a, index, at, at + n, &text, err);
		if (st == DS_OK)
			st = ds_out_write(out, text.data, text.len, err);
		at += n;
	} while (st == DS_OK && at < end);
	ds_buf_fini(&text);
	return st;
}

/* Do with one member what the mode says. */
static enum ds_status use_member(struct compress *z, struct ds_archive *a, uint64_t index,
				 void *target, struct ds_err *err)
{
	const struct ds_salvage salvage = {compress_tell_damage, z};
	struct ds_archive_member m;
	struct ds_rest rest = {.write = to_stdout, .user = target};
	uint64_t unpacked;

	DS_TRY(ds_archive_member(a, index, &m, err));
	if (z->mode == 'd' && z->salvage)
		return ds_archive_copy_rest(a, index, &salvage, &rest, err);
	if (z->mode == 'd' && compress_has_range(z))
		return copy_range(z, a, index, target, err);
	if (z->mode == 'd')
		return ds_archive_copy(a, index, to_stdout, target, err);
	if (z->mode == 'x' && z->salvage)
		return ds_extract_rest(target, a, index, &salvage, err);
	if (z->mode == 'x') {
		cli_note(&z->cli, "%s", m.document.name);
		return ds_extract_member(target, a, index, err);
	}
	DS_TRY(ds_archive_unpacked(a, index, &unpacked, err));
	if (z->cli.format == CLI_JSONL)
		print_json(&m, unpacked);
	else
		print_text(z, &m, unpacked);
	return DS_OK;
}

/* The members that the operands after the archive name. */
static enum ds_status use_members(struct compress *z, struct ds_archive *a, void *target,
				  struct ds_err *err)
{
	char **names = z->cli.operand + 1;
	enum ds_status st = DS_OK;
	uint8_t *chosen;

	DS_TRY(compress_choose(a, z->cli.operand[0], names, z->cli.n_operand - 1, &chosen, err));
	ds_archive_plan(a, chosen);
	for (uint64_t i = 0; st == DS_OK && i < ds_archive_members(a); i++) {
		st = chosen[i] ? use_member(z, a, i, target, err) : DS_OK;
		if (st == DS_OK || z->mode != 'x')
			continue;
		cli_error(&z->cli, err); /* the others may be sound */
		st = DS_OK;
	}
	ds_archive_plan(a, NULL);
	free(chosen);
	return st;
}

static enum ds_status decompress(struct compress *z, struct ds_archive *a, struct ds_err *err)
{
	struct ds_out out;
	enum ds_status st;

	if (z->cli.n_operand == 1 && ds_archive_members(a) != 1)
		return ds_fail_at(err, DS_EINVAL, z->cli.operand[0], DS_NO_OFFSET,
				  "holds %llu documents: name those to write, or extract with -x",
				  (unsigned long long)ds_archive_members(a));
	DS_TRY(ds_out_open(&out, z->cli.output, err));
	st = use_members(z, a, &out, err);
	if (st == DS_OK)
		return ds_out_commit(&out, err);
	ds_out_abort(&out);
	return st;
}

static enum ds_status extract(struct compress *z, struct ds_archive *a, struct ds_err *err)
{
	struct ds_extract x;
	enum ds_status st;

	DS_TRY(ds_extract_open(&x, z->folder, z->force, err));
	st = use_members(z, a, &x, err);
	ds_extract_close(&x);
	return st;
}

enum ds_status compress_read(struct compress *z, const char *path, struct ds_err *err)
{
	const struct ds_salvage salvage = {compress_tell_damage, z};
	struct ds_archive_totals totals;
	struct ds_archive *a;
	enum ds_status st;

	if (z->salvage)
		DS_TRY(ds_archive_salvage(&a, path, z->cli.secret, &salvage, err));
	else
		DS_TRY(ds_archive_open(&a, path, z->cli.secret, err));
	ds_archive_set_lm(a, compress_lm(z), z->cli.jobs);
	ds_archive_totals(a, &totals);
	switch (z->mode) {
	case 'd':
		st = decompress(z, a, err);
		break;
	case 'x':
		st = extract(z, a, err);
		break;
	case 'l':
		st = use_members(z, a, NULL, err);
		break;
	default:
		st = ds_archive_test(a, err);
	}
	ds_archive_close(a);
	if (st == DS_OK)
		compress_tell_totals(z, &totals, totals.file_bytes);
	return st;
}
