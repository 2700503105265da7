/* chat.c - turns rendered by the template of a family, and their tokens */
#include "task/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/chat_families.h"

/* --- which template ------------------------------------------------------------------------ */

static bool fits(const struct ds_chat_family *f, const char *text, size_t n)
{
	for (size_t i = 0; i < DS_CHAT_MARKS && f->mark[i]; i++)
		if (!memmem(text, n, f->mark[i], strlen(f->mark[i])))
			return false;
	return true;
}

/* "chatml, gemma, ..."; a name that has two rows is listed once. */
static const char *names(char *list, size_t size)
{
	size_t len = 0;

	list[0] = '\0';
	for (const struct ds_chat_family *f = ds_chat_families; f->name && len < size; f++)
		if (f == ds_chat_families || strcmp(f->name, f[-1].name) != 0)
			len += (size_t)snprintf(list + len, size - len, "%s%s", len ? ", " : "",
						f->name);
	return list;
}

enum ds_status ds_chat_find(struct ds_chat *chat_ret, const char *name, const char *text, size_t n,
			    struct ds_err *err)
{
	const struct ds_chat_family *f = ds_chat_families;
	char list[400];

	*chat_ret = (struct ds_chat){.bos = text && memmem(text, n, "bos_token", 9)};
	if (name) {
		while (f->name && strcmp(f->name, name) != 0)
			f++;
		if (!f->name)
			return ds_fail(err, DS_EINVAL, "no chat template '%s', expected one of: %s",
				       name, names(list, sizeof list));
	} else {
		while (text && f->name && !fits(f, text, n))
			f++;
		if (!text || !f->name)
			return ds_fail(err, DS_EUNSUPPORTED,
				       "the model's chat template is %s: --raw, or --template with "
				       "one of: %s",
				       text ? "not known" : "missing", names(list, sizeof list));
	}
	chat_ret->family = f;
	return DS_OK;
}

const char *ds_chat_name(const struct ds_chat *chat)
{
	return chat->family ? chat->family->name : "raw";
}

/* --- rendering ----------------------------------------------------------------------------- */

static enum ds_status put(struct ds_chat_parts *p, enum ds_chat_kind kind, const void *bytes,
			  size_t n, struct ds_err *err)
{
	if (n == 0)
		return DS_OK;
	DS_TRY(ds_grow(&p->part, &p->cap, p->n + 1, sizeof *p->part, err));
	DS_TRY(ds_buf_append(&p->bytes, bytes, n, err));
	p->part[p->n++] = (struct ds_chat_part){kind, p->bytes.len};
	return DS_OK;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct ds_part trimmed(struct ds_part text)
{
	const uint8_t *p = text.bytes;
	size_t n = text.len;

	while (n && is_space(p[n - 1]))
		n--;
	while (n && is_space(*p)) {
		p++;
		n--;
	}
	return (struct ds_part){p, n};
}

/* Texts with an empty line between. */
static enum ds_status put_texts(struct ds_chat_parts *p, const struct ds_chat_family *f,
				const struct ds_part *text, size_t n, struct ds_err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct ds_part t = f->trim ? trimmed(text[i]) : text[i];

		if (i)
			DS_TRY(put(p, DS_CHAT_LITERAL, "\n\n", 2, err));
		if (!text[i].bytes)
			p->open = p->n;
		DS_TRY(put(p, DS_CHAT_TEXT, t.bytes, t.len, err));
	}
	return DS_OK;
}

static enum ds_status put_pattern(struct ds_chat_parts *p, const struct ds_chat_family *f,
				  const char *pattern, const struct ds_part *text, size_t n,
				  struct ds_err *err)
{
	while (*pattern) {
		size_t len = strcspn(pattern, "{%");

		DS_TRY(put(p, DS_CHAT_LITERAL, pattern, len, err));
		pattern += len;
		if (*pattern == '{') {
			len = strcspn(pattern, "}");
			DS_TRY(put(p, DS_CHAT_SPECIAL, pattern + 1, len - 1, err));
			pattern += len + 1;
		} else if (*pattern == '%') {
			DS_TRY(put_texts(p, f, text, n, err));
			pattern++;
		}
	}
	return DS_OK;
}

static enum ds_status render_raw(const struct ds_turn *turn, struct ds_chat_parts *parts,
				 struct ds_err *err)
{
	if (turn->system && turn->system->len)
		return ds_fail(err, DS_EINVAL, "a system message needs a chat template");
	for (size_t i = 0; i < turn->n_text; i++) {
		if (!turn->text[i].bytes && i + 1 < turn->n_text)
			parts->open = parts->n;
		DS_TRY(put(parts, i + 1 < turn->n_text ? DS_CHAT_TEXT : DS_CHAT_RAW,
			   turn->text[i].bytes, turn->text[i].len, err));
	}
	return DS_OK;
}

enum ds_status ds_chat_render(const struct ds_chat *chat, const struct ds_turn *turn,
			      struct ds_chat_parts *parts, struct ds_err *err)
{
	const struct ds_chat_family *f = chat->family;
	struct ds_part system = {"", 0};

	parts->n = parts->bytes.len = 0;
	parts->open = DS_CHAT_CLOSED;
	if (!f)
		return render_raw(turn, parts, err);
	if (turn->system)
		system = *turn->system;
	else if (f->system_default)
		system = (struct ds_part){f->system_default, strlen(f->system_default)};
	DS_TRY(put_pattern(parts, f, f->head, NULL, 0, err));
	if (system.len)
		DS_TRY(put_pattern(parts, f, f->system, &system, 1, err));
	return put_pattern(parts, f, f->user, turn->text, turn->n_text, err);
}

void ds_chat_parts_fini(struct ds_chat_parts *parts)
{
	free(parts->part);
	ds_buf_fini(&parts->bytes);
	*parts = (struct ds_chat_parts){0};
}

/* --- tokens -------------------------------------------------------------------------------- */

struct encoding {
	const struct ds_chat *chat;
	const struct ds_chat_parts *parts;
	const struct ds_tokenizer *tok;
	struct ds_encoder *enc;
	struct ds_tokens *tokens;
	struct ds_part guard[DS_CHAT_GUARDS];
	size_t n_guard;
	size_t n;     /* parts to encode */
	bool open;    /* more text follows them */
	size_t begin; /* of the text not yet encoded */
	bool behind;  /* a special token, with nothing but white space since */
};

static uint32_t find_special(const struct ds_tokenizer *tok, const void *bytes, size_t n)
{
	if (n == 3 && memcmp(bytes, "eos", 3) == 0)
		return ds_tokenizer_special(tok, DS_EOS);
	return ds_tokenizer_find(tok, bytes, n);
}

static enum ds_status push(struct encoding *e, uint32_t id, struct ds_err *err)
{
	struct ds_tokens *t = e->tokens;

	DS_TRY(ds_grow(&t->id, &t->cap_id, t->n + 1, sizeof *t->id, err));
	DS_TRY(ds_grow(&t->end, &t->cap_end, t->n + 1, sizeof *t->end, err));
	t->id[t->n] = id;
	t->end[t->n++] = 0;
	return DS_OK;
}

/* Some files have their turn tokens as ordinary ones, which encoding finds in any text. */
static enum ds_status add_guard(struct encoding *e, struct ds_part mark, uint32_t id,
				struct ds_err *err)
{
	size_t n = e->tokens->n;
	bool ordinary;

	for (size_t i = 0; i < e->n_guard; i++)
		if (e->guard[i].len == mark.len &&
		    memcmp(e->guard[i].bytes, mark.bytes, mark.len) == 0)
			return DS_OK;
	DS_TRY(ds_encode(e->enc, mark.bytes, mark.len, 0, e->tokens, err));
	ordinary = e->tokens->n == n + 1 && e->tokens->id[n] == id;
	e->tokens->n = n;
	if (ordinary && e->n_guard < DS_CHAT_GUARDS)
		e->guard[e->n_guard++] = mark;
	return DS_OK;
}

static bool guarded_at(const struct encoding *e, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < e->n_guard; i++)
		if (e->guard[i].len <= n && memcmp(p, e->guard[i].bytes, e->guard[i].len) == 0)
			return true;
	return false;
}

/* Encode bytes [begin, end), cut behind the first byte of what spells a guarded token. */
static enum ds_status flush(struct encoding *e, size_t end, unsigned flags, struct ds_err *err)
{
	const uint8_t *bytes = e->parts->bytes.data;
	size_t begin = e->begin;

	e->begin = end;
	if (e->n_guard && !(flags & DS_ENCODE_SPECIAL))
		for (size_t p = begin; p < end; p++)
			if (guarded_at(e, bytes + p, end - p)) {
				DS_TRY(ds_encode(e->enc, bytes + begin, p + 1 - begin, flags,
						 e->tokens, err));
				begin = p + 1;
				flags |= DS_ENCODE_CONTINUE;
			}
	if (begin == end)
		return DS_OK;
	return ds_encode(e->enc, bytes + begin, end - begin, flags, e->tokens, err);
}

static enum ds_status encode_parts(struct encoding *e, struct ds_err *err)
{
	const struct ds_chat_parts *parts = e->parts;
	bool swallow = e->chat->family && e->chat->family->swallow;
	size_t from = 0;

	for (size_t i = 0; i < e->n; from = parts->part[i++].end) {
		const uint8_t *bytes = parts->bytes.data + from;
		size_t end = parts->part[i].end;
		uint32_t id = DS_NO_TOKEN;

		if (parts->part[i].kind == DS_CHAT_SPECIAL)
			id = find_special(e->tok, bytes, end - from);
		if (id != DS_NO_TOKEN) {
			DS_TRY(flush(e, from, 0, err));
			DS_TRY(push(e, id, err));
			e->begin = end;
			e->behind = true;
		} else if (parts->part[i].kind == DS_CHAT_RAW) {
			unsigned more = from > 0 ? DS_ENCODE_CONTINUE : 0;

			DS_TRY(flush(e, from, 0, err));
			DS_TRY(flush(e, end, DS_ENCODE_SPECIAL | more, err));
		} else if (e->behind && swallow) {
			while (e->begin < end && is_space(parts->bytes.data[e->begin]))
				e->begin++;
			e->behind = e->begin == end;
		} else {
			e->behind = false;
		}
	}
	return e->open ? DS_OK : flush(e, from, 0, err);
}

static enum ds_status add_guards(struct encoding *e, struct ds_err *err)
{
	size_t from = 0;

	for (size_t i = 0; i < e->parts->n; from = e->parts->part[i++].end) {
		struct ds_part mark = {e->parts->bytes.data + from, e->parts->part[i].end - from};
		uint32_t id;

		if (e->parts->part[i].kind != DS_CHAT_SPECIAL)
			continue;
		id = ds_tokenizer_find(e->tok, mark.bytes, mark.len);
		if (id != DS_NO_TOKEN)
			DS_TRY(add_guard(e, mark, id, err));
	}
	return DS_OK;
}

static enum ds_status encode(struct encoding *e, struct ds_err *err)
{
	struct ds_tokens *tokens = e->tokens;
	uint32_t bos = ds_tokenizer_special(e->tok, DS_BOS);
	size_t begin = tokens->n, n;
	struct ds_affix affix;

	ds_tokenizer_affix(e->tok, &affix);
	for (size_t i = 0; i < affix.n_prefix; i++)
		DS_TRY(push(e, affix.prefix[i], err));
	if (affix.n_prefix == 0 && e->chat->bos && bos != DS_NO_TOKEN)
		DS_TRY(push(e, bos, err));
	n = tokens->n;
	DS_TRY(add_guards(e, err));
	DS_TRY(encode_parts(e, err));
	/* a raw prompt that spells its BOS */
	if (n == begin + 1 && tokens->n > n && tokens->id[begin] == bos && tokens->id[n] == bos)
		memmove(tokens->id + begin, tokens->id + n, (tokens->n-- - n) * sizeof *tokens->id);
	return DS_OK;
}

enum ds_status ds_chat_encode(const struct ds_chat *chat, const struct ds_chat_parts *parts,
			      const struct ds_tokenizer *tok, struct ds_encoder *enc,
			      struct ds_tokens *tokens, struct ds_err *err)
{
	struct encoding e = {.chat = chat,
			     .parts = parts,
			     .tok = tok,
			     .enc = enc,
			     .tokens = tokens,
			     .n = parts->n};

	return encode(&e, err);
}

/* --- a turn that is still coming ----------------------------------------------------------- */

enum ds_status ds_chat_open(struct ds_chat_opening *o, const struct ds_chat *chat,
			    const struct ds_chat_parts *parts, struct ds_tokens *tokens,
			    struct ds_err *err)
{
	struct encoding e = {.chat = chat,
			     .parts = parts,
			     .tok = o->tok,
			     .enc = o->enc,
			     .tokens = tokens,
			     .n = parts->open,
			     .open = true};
	const struct ds_chat_family *f = chat->family;
	size_t end;

	ds_feed_reset(&o->feed);
	o->feed.enc = o->enc;
	o->active = parts->open != DS_CHAT_CLOSED;
	if (!o->active)
		return DS_OK;
	DS_TRY(encode(&e, err));
	o->trim = f && f->trim;
	o->trim_left = o->trim || (f && f->swallow && e.behind);
	memcpy(o->guard, e.guard, sizeof o->guard);
	o->n_guard = e.n_guard;
	o->hold = 0;
	for (size_t i = 0; i < e.n_guard; i++)
		if (e.guard[i].len > o->hold)
			o->hold = e.guard[i].len;
	end = parts->open ? parts->part[parts->open - 1].end : 0;
	return ds_feed_push(&o->feed, parts->bytes.data + e.begin, end - e.begin, err);
}

static bool spells_guard(const struct ds_chat_opening *o)
{
	const struct ds_buf *text = &o->feed.pending;

	for (size_t i = 0; i < o->n_guard; i++)
		if (memmem(text->data, text->len, o->guard[i].bytes, o->guard[i].len))
			return true;
	return false;
}

enum ds_status ds_chat_more(struct ds_chat_opening *o, const void *bytes, size_t n, bool now,
			    struct ds_tokens *tokens, struct ds_err *err)
{
	const struct ds_buf *text = &o->feed.pending;
	const uint8_t *p = bytes;
	size_t hold = o->hold, space = 0;

	if (!o->active)
		return DS_OK;
	for (; o->trim_left && n && is_space(*p); n--)
		p++;
	o->trim_left &= n == 0;
	if (n)
		DS_TRY(ds_feed_push(&o->feed, p, n, err));
	if (spells_guard(o)) {
		o->active = false;
		return DS_OK;
	}
	while (o->trim && space < text->len && is_space(text->data[text->len - 1 - space]))
		space++;
	return ds_feed_take(&o->feed, space > hold ? space : hold, now, tokens, err);
}

void ds_chat_opening_fini(struct ds_chat_opening *o)
{
	ds_feed_fini(&o->feed);
}

/* --- the end of an answer ------------------------------------------------------------------ */

/* Whether an id stands for no text: else its name is a word like others. */
static bool is_special(const struct ds_tokenizer *tok, uint32_t id)
{
	struct ds_buf buf = {0};
	bool silent = ds_decode(tok, &id, 1, 0, &buf, NULL) == DS_OK && buf.len == 0;

	ds_buf_fini(&buf);
	return silent;
}

size_t ds_chat_ends(const struct ds_chat *chat, const struct ds_tokenizer *tok,
		    uint32_t id_ret[DS_CHAT_ENDS_MAX])
{
	static const char *const ends[] = {
		"<|im_end|>", "<|eot_id|>",	      "<|eom_id|>",    "<|end|>",
		"<|eot|>",    "<end_of_turn>",	      "<|endoftext|>", "<|end_of_text|>",
		"</s>",	      "<|end_of_turn|>",      "<|EOT|>",       "<|return|>",
		"<EOT>",      "<｜end▁of▁sentence｜>"};
	const char *own = chat->family ? chat->family->end : NULL;
	uint32_t id[4 + sizeof ends / sizeof *ends];
	size_t n = 0, kept = 0;

	id[n++] = ds_tokenizer_special(tok, DS_EOS);
	id[n++] = ds_tokenizer_special(tok, DS_EOT);
	id[n++] = own ? ds_tokenizer_find(tok, own, strlen(own)) : DS_NO_TOKEN;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		uint32_t found = ds_tokenizer_find(tok, ends[i], strlen(ends[i]));

		if (found != DS_NO_TOKEN && is_special(tok, found))
			id[n++] = found;
	}
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < kept && id_ret[k] != id[i])
			k++;
		if (id[i] != DS_NO_TOKEN && k == kept)
			id_ret[kept++] = id[i];
	}
	return kept;
}
