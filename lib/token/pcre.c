/*
 * pcre.c - pretokenizer patterns that have no hand-written form, through PCRE2
 *
 * Patterns are Oniguruma's (Hugging Face); what differs in PCRE2 is spelled out: \s is White_Space
 * and $ ends lines.  Bytes that are not well-formed UTF-8 match nothing, so they fall in gaps.
 * The work of one search is limited, so that a hostile pattern is an error and not a hang.
 */
#include "token/pretok.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"

#define PATTERN_BYTES_MAX (1 << 20)
#define JIT_STACK_BYTES_MAX (16 << 20)
#define STEPS_MAX 50000000
#define HEAP_KIB_MAX 32768

struct ds_pcre {
	pcre2_code *code;
};

struct ds_pcre_state {
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

#define SPACES "\\x{9}-\\x{d}\\x{85}\\p{Z}"

/* \s and \S as Unicode's White_Space: PCRE2 would take U+180E in as well. */
static enum ds_status translate(struct ds_str pattern, struct ds_buf *buf, struct ds_err *err)
{
	bool in_class = false;

	for (size_t i = 0; i < pattern.len; i++) {
		const char *s = pattern.s + i;
		const char *with = NULL;

		if (*s == '\\' && i + 1 < pattern.len) {
			if (s[1] == 's')
				with = in_class ? SPACES : "[" SPACES "]";
			else if (s[1] == 'S' && !in_class)
				with = "[^" SPACES "]";
			i++;
			DS_TRY(with ? ds_buf_append(buf, with, strlen(with), err)
				    : ds_buf_append(buf, s, 2, err));
			continue;
		}
		if (*s == '[')
			in_class = true;
		else if (*s == ']')
			in_class = false;
		DS_TRY(ds_buf_append(buf, s, 1, err));
	}
	return DS_OK;
}

enum ds_status ds_pcre_compile(struct ds_pcre **pcre_ret, struct ds_str pattern,
			       struct ds_err *err)
{
	const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF |
				 PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
	struct ds_pcre *pcre;
	struct ds_buf buf = {0};
	enum ds_status status;
	PCRE2_UCHAR message[256];
	PCRE2_SIZE where;
	int number;

	*pcre_ret = NULL;
	if (pattern.len > PATTERN_BYTES_MAX)
		return ds_fail(err, DS_ELIMIT, "a pattern of %zu bytes; at most %d", pattern.len,
			       PATTERN_BYTES_MAX);
	pcre = ds_alloc_zero(1, sizeof *pcre);
	if (!pcre)
		return ds_fail_nomem(err, sizeof *pcre);
	status = translate(pattern, &buf, err);
	if (!status) {
		pcre->code = pcre2_compile(buf.data ? buf.data : (PCRE2_SPTR) "", buf.len, options,
					   &number, &where, NULL);
		if (!pcre->code) {
			pcre2_get_error_message(number, message, sizeof message);
			status = ds_fail(err, DS_EUNSUPPORTED, "pretokenizer pattern '%.*s': %s",
					 (int)(pattern.len < 80 ? pattern.len : 80), pattern.s,
					 (const char *)message);
		}
	}
	ds_buf_fini(&buf);
	if (status) {
		ds_pcre_free(pcre);
		return status;
	}
	(void)pcre2_jit_compile(pcre->code, PCRE2_JIT_COMPLETE); /* without it: slower */
	*pcre_ret = pcre;
	return DS_OK;
}

void ds_pcre_free(struct ds_pcre *pcre)
{
	if (!pcre)
		return;
	pcre2_code_free(pcre->code);
	free(pcre);
}

enum ds_status ds_pcre_state_new(struct ds_pcre_state **state_ret, struct ds_err *err)
{
	struct ds_pcre_state *state = ds_alloc_zero(1, sizeof *state);

	*state_ret = NULL;
	if (!state)
		return ds_fail_nomem(err, sizeof *state);
	state->match = pcre2_match_data_create(1, NULL);
	state->context = pcre2_match_context_create(NULL);
	state->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_BYTES_MAX, NULL);
	if (!state->match || !state->context) {
		ds_pcre_state_free(state);
		return ds_fail_nomem(err, JIT_STACK_BYTES_MAX);
	}
	pcre2_set_match_limit(state->context, STEPS_MAX);
	pcre2_set_heap_limit(state->context, HEAP_KIB_MAX);
	if (state->stack)
		pcre2_jit_stack_assign(state->context, NULL, state->stack);
	*state_ret = state;
	return DS_OK;
}

void ds_pcre_state_free(struct ds_pcre_state *state)
{
	if (!state)
		return;
	pcre2_match_data_free(state->match);
	pcre2_match_context_free(state->context);
	pcre2_jit_stack_free(state->stack);
	free(state);
}

enum ds_status ds_pcre_find(const struct ds_pcre *pcre, struct ds_pcre_state *state,
			    struct ds_span text, const uint8_t *from, struct ds_span *match_ret,
			    struct ds_err *err)
{
	size_t n = (size_t)(text.end - text.start);
	PCRE2_UCHAR message[256];
	const PCRE2_SIZE *at;
	int got = pcre2_match(pcre->code, text.start, n, (size_t)(from - text.start),
			      PCRE2_NOTEMPTY_ATSTART, state->match, state->context);

	match_ret->start = match_ret->end = NULL;
	if (got == PCRE2_ERROR_NOMATCH)
		return DS_OK;
	if (got < 0) {
		pcre2_get_error_message(got, message, sizeof message);
		return ds_fail(err, DS_ELIMIT, "the pretokenizer's pattern fails on %zu bytes: %s",
			       n, (const char *)message);
	}
	at = pcre2_get_ovector_pointer(state->match);
	match_ret->start = text.start + at[0];
	match_ret->end = text.start + at[1];
	return DS_OK;
}
