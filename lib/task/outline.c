/* outline.c - the points of an outline that a model has written */
#include "task/outline.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Drop white space and emphasis around a heading. */
static struct ds_part bare(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (is_blank(*p) || *p == '*'))
		p++;
	while (p < end && (is_blank(end[-1]) || end[-1] == '*'))
		end--;
	return (struct ds_part){p, (size_t)(end - p)};
}

/* The heading of a line; *item_ret: it begins as an item of a list does. */
static struct ds_part heading(const uint8_t *p, const uint8_t *end, bool *item_ret)
{
	const uint8_t *begin = p, *digits;
	bool mark = false;

	while (p < end && (is_blank(*p) || *p == '*' || *p == '#' || *p == '-'))
		mark |= !is_blank(*p++);
	*item_ret = mark && is_blank(p[-1]);
	if (*item_ret)
		begin = p;
	digits = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	if (p > digits && p < end && (*p == '.' || *p == ')' || *p == ':')) {
		*item_ret = true;
		begin = p + 1;
	}
	return bare(begin, end);
}

static size_t collect(const uint8_t *p, const uint8_t *end, bool items, struct ds_part *point,
		      size_t max)
{
	size_t n = 0;

	while (p < end && n < max) {
		const uint8_t *line_end = memchr(p, '\n', (size_t)(end - p));
		bool item;

		line_end = line_end ? line_end : end;
		point[n] = heading(p, line_end, &item);
		n += point[n].len && (item || !items);
		p = line_end + 1;
	}
	return n;
}

size_t ds_outline_points(const void *text, size_t n, struct ds_part *point, size_t max)
{
	const uint8_t *p = text;
	size_t found = collect(p, p + n, true, point, max);

	return found ? found : collect(p, p + n, false, point, max);
}
