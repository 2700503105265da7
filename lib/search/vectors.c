/* vectors.c - cosines of a query with stored vectors */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "search/search.h"

static void score_codes(const struct ds_vectors *v, const struct ds_kern *kern,
			const struct ds_scan *scan, float unit, float *score, uint8_t *spare)
{
	const size_t row_bytes = scan->planes * scan->bytes;
	const uint8_t *block = v->rows;

	for (size_t i = 0; i < v->n; i += DS_SCAN_ROWS) {
		size_t m = v->n - i < DS_SCAN_ROWS ? v->n - i : DS_SCAN_ROWS;
		int32_t sum[DS_SCAN_ROWS];

		if (m < DS_SCAN_ROWS) { /* the last block is narrower */
			for (size_t j = 0; j < row_bytes; j++)
				memcpy(spare + j * DS_SCAN_ROWS, block + j * m, m);
			block = spare;
		}
		kern->scan(scan, block, sum);
		for (size_t r = 0; r < m; r++)
			score[i + r] = (float)sum[r] *
				       (unit * ds_f16_to_f32(ds_get_u16(v->scale + 2 * (i + r))));
		block += row_bytes * DS_SCAN_ROWS;
	}
}

enum ds_status ds_vectors_score(const struct ds_vectors *v, const struct ds_kern *kern,
				const float *query, float *score, struct ds_err *err)
{
	struct ds_scan scan = {.bytes = ((size_t)v->dims + 7) / 8, .planes = v->bits};
	float *rotated;
	uint8_t *table, *spare;

	if (!v->bits) {
		for (size_t i = 0; i < v->n; i++)
			score[i] = kern->dot((const float *)v->rows + i * v->dims, query, v->dims);
		return DS_OK;
	}
	rotated = ds_alloc(v->dims, sizeof *rotated);
	table = ds_alloc(scan.bytes, 64);
	spare = ds_alloc_zero(scan.bytes * scan.planes, DS_SCAN_ROWS);
	if (rotated && table && spare) {
		float unit;

		memcpy(rotated, query, v->dims * sizeof *rotated);
		ds_code_rotate(rotated, v->dims);
		unit = ds_code_table(rotated, v->dims, table);
		scan.table = table;
		score_codes(v, kern, &scan, unit, score, spare);
	}
	free(rotated);
	free(spare);
	if (!table || !rotated || !spare) {
		free(table);
		return ds_fail_nomem(err, scan.bytes * (64 + scan.planes * DS_SCAN_ROWS));
	}
	free(table);
	return DS_OK;
}
