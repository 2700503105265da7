/*
 * scan.h - a query times blocks of 32 rows of few bits, four dimensions at a look-up
 *
 * A row has planes of bytes, a bit a dimension, and lies among 31 others: byte j of all rows, then
 * byte j + 1.  Each half byte chooses one of 16 sums that a query has made of its four dimensions.
 * All is integers: every instruction set gives the same.
 */
#ifndef DS_KERN_SCAN_H
#define DS_KERN_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define DS_SCAN_ROWS 32

struct ds_scan {
	size_t bytes;	/* of a plane */
	unsigned planes; /* plane p counts 2^p */
	/* [2 * bytes][32]: sums + 128, from -127 to 127, of the low and the high half of each byte;
	 * those of 16 values twice over */
	const uint8_t *table;
};

/* out[r]: the sums that row r of a block chooses, each times that of its plane. */
typedef void ds_scan_fn(const struct ds_scan *s, const uint8_t *block,
			int32_t out[DS_SCAN_ROWS]);

#endif
