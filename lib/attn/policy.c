/*
 * policy.c - the text form of attention policies: a name, and numbers after a colon
 */
#include "attn/policy.h"

#include <stdio.h>
#include <string.h>

/* Parameters have at most six digits after the point: counted in millionths they are exact, and the
 * text form gives the same number again. */
#define ONE 1000000u
#define DIGITS_MAX 9 /* before the point */

struct param {
	const char *name;
	uint64_t least, most, otherwise; /* in millionths */
	bool whole;
};

struct form {
	const char *name;
	struct param param[DS_ATTN_PARAMS]; /* up to the first without a name */
	uint32_t break_even;
};

#define COUNT(name, least, most, otherwise)                                                        \
	{                                                                                          \
		name, (uint64_t)(least)*ONE, (uint64_t)(most)*ONE, (uint64_t)(otherwise)*ONE, true \
	}
#define SHARE(name, otherwise)                                                                     \
	{                                                                                          \
		name, 1, ONE, otherwise, false                                                     \
	}
/* Tokens of a window or of a choice: no context is longer. */
#define TOKENS_MAX 16777216
/*
 * Measured, processor time of one thread, choosing from the start: SmolLM2-135M (P of 1) 1.11 of
 * dense attention's at 2,048 tokens, 1.12 at 4,096, 0.98 of it for the next 4,096; Qwen2.5-0.5B
 * (P of 8) 0.90 at 3,072 and 0.87 at 4,096, where it is 42 instead of 44 digits of needles.
 */
#define BREAK_EVEN 4096

static const struct form forms[DS_ATTN_KINDS] = {
	[DS_ATTN_DENSE] = {"dense", {{0}}},
	[DS_ATTN_EXACT] = {"exact", {{0}}},
	[DS_ATTN_WINDOW] = {"window", {COUNT("W", 1, TOKENS_MAX, 2048)}},
	[DS_ATTN_STREAM] = {"stream",
			    {COUNT("SINKS", 0, TOKENS_MAX, 64), COUNT("W", 64, TOKENS_MAX, 2048)}},
	[DS_ATTN_KEYS] = {"keys", {COUNT("W", 64, TOKENS_MAX, 512), COUNT("N", 0, 512, 32)}},
	[DS_ATTN_HYBRID] = {"hybrid", {COUNT("W", 64, TOKENS_MAX, 64), SHARE("SHARE", 100000)}},
	[DS_ATTN_HYBRID_SUM] = {"hybrid-sum",
				{COUNT("W", 64, TOKENS_MAX, 64), SHARE("SHARE", 100000)}},
	[DS_ATTN_TOPK] = {"topk", {COUNT("K", 1, TOKENS_MAX, 1024)}},
	[DS_ATTN_VSA] = {"vsa", {SHARE("COARSE", 200000), SHARE("FINE", 500000)}},
	[DS_ATTN_LSH] = {"lsh", {COUNT("ROUNDS", 1, 32, 4), COUNT("BITS", 1, 16, 8)}},
	[DS_ATTN_MASS] = {"mass",
			  {SHARE("SHARE", 200000), COUNT("P", 0, 8, 0), COUNT("S", 1, 64, 4)},
			  BREAK_EVEN},
	[DS_ATTN_AUTO] = {"auto",
			  {SHARE("MASS", 500000), COUNT("P", 0, 8, 0), COUNT("S", 1, 64, 4)},
			  BREAK_EVEN},
	[DS_ATTN_ANSWER] = {"answer", {SHARE("MASS", 750000)}, BREAK_EVEN},
};

static const char *const shapes[DS_ATTN_PARAMS + 1] = {"no numbers", "one number", "two numbers",
						       "three numbers", "four numbers"};

static size_t params_of(const struct form *form)
{
	size_t n = 0;

	while (n < DS_ATTN_PARAMS && form->param[n].name)
		n++;
	return n;
}

/* "window:W, stream:SINKS,W, ..." */
static void list_forms(char *text, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < DS_ATTN_KINDS && len < size; i++) {
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? ", " : "",
					forms[i].name);
		for (size_t p = 0; p < params_of(&forms[i]) && len < size; p++)
			len += (size_t)snprintf(text + len, size - len, "%c%s", p ? ',' : ':',
						forms[i].param[p].name);
	}
}

static const struct form *find_form(const char *name, size_t len)
{
	for (size_t i = 0; i < DS_ATTN_KINDS; i++)
		if (strlen(forms[i].name) == len && memcmp(forms[i].name, name, len) == 0)
			return &forms[i];
	return NULL;
}

/* A number without sign, in millionths; false when the text is none. */
static bool read_number(const char *text, size_t len, uint64_t *millionths_ret)
{
	uint64_t value = 0, unit = ONE;
	size_t i = 0;

	for (; i < len && text[i] >= '0' && text[i] <= '9' && i < DIGITS_MAX; i++)
		value = value * 10 + (uint64_t)(text[i] - '0') * ONE;
	if (i == 0)
		return false;
	if (i < len && text[i] == '.')
		for (i++; i < len && text[i] >= '0' && text[i] <= '9' && unit > 1; i++) {
			unit /= 10;
			value += (uint64_t)(text[i] - '0') * unit;
		}
	*millionths_ret = value;
	return i == len && text[len - 1] != '.';
}

static void put_number(uint64_t millionths, char text[24])
{
	int len = snprintf(text, 24, "%llu.%06llu", (unsigned long long)(millionths / ONE),
			   (unsigned long long)(millionths % ONE));

	while (text[len - 1] == '0')
		len--;
	text[text[len - 1] == '.' ? len - 1 : len] = '\0';
}

/* What is quoted of a text in a message. */
static int quoted(size_t len)
{
	return len < 40 ? (int)len : 40;
}

static enum ds_status read_param(const struct form *form, const struct param *param,
				 const char *text, size_t len, double *value_ret,
				 struct ds_err *err)
{
	char least[24], most[24];
	uint64_t value;

	if (!read_number(text, len, &value) || value < param->least || value > param->most ||
	    (param->whole && value % ONE)) {
		put_number(param->least, least);
		put_number(param->most, most);
		return ds_fail(err, DS_EINVAL, "%s: %s is a %s from %s to %s, not '%.*s'",
			       form->name, param->name, param->whole ? "whole number" : "number",
			       least, most, quoted(len), text);
	}
	*value_ret = (double)value / ONE;
	return DS_OK;
}

static enum ds_status read_params(const struct form *form, const char *text,
				  double param[DS_ATTN_PARAMS], struct ds_err *err)
{
	size_t n = params_of(form), i = 0;

	for (;; i++, text++) {
		size_t len = strcspn(text, ",");

		if (i == n)
			return ds_fail(err, DS_EINVAL, "%s takes %s, not '%.*s' too", form->name,
				       shapes[n], quoted(strlen(text)), text);
		DS_TRY(read_param(form, &form->param[i], text, len, &param[i], err));
		text += len;
		if (!*text)
			return DS_OK;
	}
}

enum ds_status ds_attn_policy_parse(struct ds_attn_policy *policy_ret, const char *text,
				    struct ds_err *err)
{
	size_t len = strcspn(text, ":");
	const struct form *form = find_form(text, len);
	struct ds_attn_policy policy = {0};
	char expected[256];

	if (!form) {
		list_forms(expected, sizeof expected);
		return ds_fail(err, DS_EINVAL, "'%.*s' is no attention policy: %s", quoted(len),
			       text, expected);
	}
	policy.kind = (enum ds_attn_kind)(form - forms);
	policy.break_even = form->break_even;
	for (size_t i = 0; i < params_of(form); i++)
		policy.param[i] = (double)form->param[i].otherwise / ONE;
	if (text[len])
		DS_TRY(read_params(form, text + len + 1, policy.param, err));
	*policy_ret = policy;
	return DS_OK;
}

void ds_attn_policy_text(const struct ds_attn_policy *policy, char *text, size_t size)
{
	const struct form *form = &forms[policy->kind];
	size_t len = (size_t)snprintf(text, size, "%s", form->name);

	for (size_t i = 0; i < params_of(form) && len < size; i++) {
		char number[24];

		put_number((uint64_t)(policy->param[i] * ONE + 0.5), number);
		len += (size_t)snprintf(text + len, size - len, "%c%s", i ? ',' : ':', number);
	}
}
