/* scan_avx2.c - blocks of few bits with vpshufb: 32 look-ups an instruction */
#include "config.h"
#if DS_X86
#include <immintrin.h>
#include <string.h>

#include "kern/scan.h"
#include "kern/tables.h"

/* Sums of bytes in 16 bits: of 256 look-ups, at most 65280, 128 too much each. */
#define STEP_BYTES 128

/* all: sums of pairs of rows as 16-bit numbers; odd: of their high bytes. */
struct sums {
	__m256i all, odd;
};

static inline void look_up(struct sums *s, const uint8_t *table, __m256i index)
{
	__m256i v = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)table), index);

	s->all = _mm256_add_epi16(s->all, v);
	s->odd = _mm256_add_epi16(s->odd, _mm256_srli_epi16(v, 8));
}

static void flush(const struct sums *s, size_t look_ups, unsigned plane, int32_t *out)
{
	uint16_t even[16], odd[16];

	_mm256_storeu_si256((__m256i *)even,
			    _mm256_sub_epi16(s->all, _mm256_slli_epi16(s->odd, 8)));
	_mm256_storeu_si256((__m256i *)odd, s->odd);
	for (size_t i = 0; i < 16; i++) {
		out[2 * i] += (even[i] - 128 * (int32_t)look_ups) * (1 << plane);
		out[2 * i + 1] += (odd[i] - 128 * (int32_t)look_ups) * (1 << plane);
	}
}

void ds_scan_avx2(const struct ds_scan *s, const uint8_t *block, int32_t out[DS_SCAN_ROWS])
{
	const __m256i half = _mm256_set1_epi8(15);

	memset(out, 0, DS_SCAN_ROWS * sizeof *out);
	for (unsigned p = 0; p < s->planes; p++) {
		const uint8_t *table = s->table;

		for (size_t first = 0; first < s->bytes; first += STEP_BYTES) {
			size_t n = s->bytes - first < STEP_BYTES ? s->bytes - first : STEP_BYTES;
			struct sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};

			for (size_t j = 0; j < n; j++, table += 64, block += DS_SCAN_ROWS) {
				__m256i x = _mm256_loadu_si256((const __m256i *)block);

				look_up(&sums, table, _mm256_and_si256(x, half));
				look_up(&sums, table + 32,
					_mm256_and_si256(_mm256_srli_epi16(x, 4), half));
			}
			flush(&sums, 2 * n, p, out);
		}
	}
}
#else
typedef int ds_scan_avx2_unused;
#endif
