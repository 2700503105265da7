/* cut.c - text in pieces that are the same wherever the same text stands */
#include "archive/cut.h"

/* No end before PIECE_MIN; the hash is over the WINDOW bytes before the end.  Of ends of paragraphs
 * one in 4 is taken, of lines one in 64, elsewhere one in 16384: 4 KB in the mean of prose. */
#define PIECE_MIN ((size_t)2048)
#define WINDOW 64

size_t ds_cut(const uint8_t *text, size_t n)
{
	size_t end = n < DS_PIECE_BYTES_MAX ? n : DS_PIECE_BYTES_MAX;
	uint64_t h = 0;

	if (n <= PIECE_MIN)
		return n;
	for (size_t i = PIECE_MIN - WINDOW; i < end; i++) {
		unsigned shift = 64 - 14;

		/* each byte is shifted out after WINDOW others */
		h = (h << 1) + (text[i] + 1) * 0x9E3779B97F4A7C15u;
		if (i < PIECE_MIN)
			continue;
		if (text[i] == '\n')
			shift = text[i - 1] == '\n' ? 64 - 2 : 64 - 6;
		if (h >> shift == 0)
			return i + 1;
	}
	return end;
}
