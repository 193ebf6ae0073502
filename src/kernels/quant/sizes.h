/* Sizes that the planner and the kernels of integer products agree on. */
#ifndef IFD_KERNELS_QUANT_SIZES_H
#define IFD_KERNELS_QUANT_SIZES_H

#include "base/checked.h"
#include "kernels/quant/quant.h"

enum { IFD_QUANT_TILE = 16 }; /* rows of an AMX tile */

/* Quads of a packed column: whole tiles of 16. */
static inline int64_t ifd_quant_quads(int64_t k) { return ifd_ceil_div(k, 64) * 16; }

/* A block of rows that are packed together: they stay in L1 while B passes from L2, or in L2 where B does not
 * stay there. */
typedef struct ifd_quant_sizes {
  int64_t rows, stride;
  size_t a_len, len; /* bytes of packed rows, with the sums behind them */
} ifd_quant_sizes;

static inline ifd_quant_sizes ifd_quant_sizes_of(int64_t m, int64_t n, int64_t k) {
  enum { L1 = 3 << 13, L2 = 1 << 18, NEAR = 1 << 19, LEAST = 32, ROUND = 64 };
  ifd_quant_sizes z = {.stride = ifd_ceil_div(k, ROUND) * ROUND};
  int64_t bytes = n * z.stride <= NEAR ? L1 : L2;
  if (z.stride == 0) z.stride = ROUND;
  z.rows = ifd_min_i64(m, ifd_max_i64(LEAST, bytes / z.stride / LEAST * LEAST));
  z.a_len = (size_t)(ifd_max_i64(z.rows, IFD_QUANT_TILE) * z.stride);
  z.len = z.a_len + (sizeof(int32_t) * (size_t)z.rows + ROUND) / ROUND * ROUND;
  return z;
}

/* What a line of depthwise outputs needs: weights of 16 channels as int32, lines of the last channels, where
 * lines are (two words each). */
typedef struct ifd_quant_depthwise_sizes {
  int64_t taps;
  size_t weights, copies, len; /* bytes */
} ifd_quant_depthwise_sizes;

static inline ifd_quant_depthwise_sizes ifd_quant_depthwise_sizes_of(const ifd_k_conv_shape *s) {
  int64_t lines = s->kernel[IFD_K_D] * s->kernel[IFD_K_H];
  ifd_quant_depthwise_sizes z = {.taps = lines * s->kernel[IFD_K_W]};
  z.weights = (size_t)z.taps * 64;
  z.copies = (size_t)(lines * s->in[IFD_K_W]) * 16;
  z.len = z.weights + z.copies + (size_t)lines * 16;
  return z;
}

#endif
