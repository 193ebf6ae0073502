/* Winograd's algorithm in integers, exact: kernels of 3×3 taps, tiles of 2 or 4 outputs along an axis.
 *
 * Along an axis of 2 or 4 outputs the points' weights are whole numbers, what the sums become is 2, or 24,
 * 12, 6 and 6 times the outputs. All of it is done modulo 2^32, where 3 has an inverse; powers of two are
 * shifted out, so outputs must fit in so many bits less. */
#ifndef IFD_KERNELS_QUANT_WINOGRAD_H
#define IFD_KERNELS_QUANT_WINOGRAD_H

#include "kernels/quant/sizes.h"

enum { IFD_QUANT_TAPS = 3, IFD_QUANT_MOST_OUTPUTS = 4, IFD_QUANT_MOST_POINTS = 6 };

static inline int64_t ifd_quant_points(const int64_t outputs[2]) {
  return (outputs[0] + IFD_QUANT_TAPS - 1) * (outputs[1] + IFD_QUANT_TAPS - 1);
}

/* Bits that outputs are shifted by, at most, along an axis of so many. */
static inline int ifd_quant_shifts(int64_t outputs) { return outputs == 4 ? 3 : 1; }

/* Packed weights of 16 columns: [point][pair of channels][16][2], 16-bit. */
static inline int64_t ifd_quant_pairs(int64_t c) { return ifd_ceil_div(c, 2); }
static inline size_t ifd_quant_points_len(const int64_t outputs[2], int64_t c) {
  return (size_t)(ifd_quant_points(outputs) * ifd_quant_pairs(c)) * 16 * 2 * sizeof(int16_t);
}

/* Those of 16 columns each, [begin, end), and their sums: of ifd_k_quant_pack_b, whose weights are taps side
 * by side or channels. */
void ifd_quant_pack_points(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *from, int64_t begin,
                           int64_t end);

/* A block of tiles, whose points stay in L2 while weights pass: points of inputs, [point][tile][channel], and
 * sums, [point][tile][16]; a pixel of padding. */
typedef struct ifd_quant_winograd_sizes {
  int64_t block, channels, plane; /* plane: words from a point to the next */
  size_t sums, fill, spare, len;  /* behind the points of inputs; spare: for 16 outputs */
} ifd_quant_winograd_sizes;

static inline ifd_quant_winograd_sizes ifd_quant_winograd_sizes_of(const ifd_k_quant_winograd *w,
                                                                   int64_t tiles) {
  enum { WORDS = 16, LEAST = 6, PAD = 32, NEAR = 3 << 17 };
  const int64_t points = ifd_quant_points(w->outputs);
  ifd_quant_winograd_sizes z = {.channels = ifd_ceil_div(w->c, WORDS) * WORDS};
  const int64_t fit = NEAR / (points * (z.channels * 2 + 64)) / LEAST * LEAST,
                most = ifd_min_i64(tiles, ifd_max_i64(fit, LEAST));
  z.block = ifd_ceil_div(tiles, ifd_ceil_div(tiles, most));
  z.plane = most * z.channels + PAD; /* not in the same lines of L1 */
  z.sums = ifd_quant_whole((size_t)(points * z.plane) * sizeof(int16_t));
  z.fill = z.sums + (size_t)(points * most) * 64;
  z.spare = z.fill + ifd_quant_whole((size_t)z.channels);
  z.len = z.spare + 64;
  return z;
}

#endif
