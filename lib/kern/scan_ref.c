/* scan_ref.c - blocks of few bits in plain C */
#include <string.h>

#include "kern/scan.h"
#include "kern/tables.h"

void ds_scan_ref(const struct ds_scan *s, const uint8_t *block, int32_t out[DS_SCAN_ROWS])
{
	memset(out, 0, DS_SCAN_ROWS * sizeof *out);
	for (unsigned p = 0; p < s->planes; p++) {
		const uint8_t *table = s->table;

		for (size_t j = 0; j < s->bytes; j++, table += 64, block += DS_SCAN_ROWS)
			for (size_t r = 0; r < DS_SCAN_ROWS; r++)
				out[r] += (table[block[r] & 15] +
					   table[32 + (block[r] >> 4)] - 256) * (1 << p);
	}
}
