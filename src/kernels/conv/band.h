/* x unblocked, read from a padded copy: what some lines of outputs read, every tap of every channel one step
 * of k, its place in a table. Sizes that the plan and the kernels agree on. */
#ifndef IFD_KERNELS_CONV_BAND_H
#define IFD_KERNELS_CONV_BAND_H

#include "kernels/conv/phase.h"
#include "kernels/gemm/product.h"

/* [c][tap of depth][lines][phases][pitch]: column j of a line is at [j % phases][j / phases], so that outputs
 * side by side read floats `step` apart. */
typedef struct ifd_conv_band {
  int64_t planes, lines, phases, pitch, step, taps;
} ifd_conv_band;

/* Of `rows` lines of outputs, each as if `width` long. Strides of 1 to `most_step` that are powers of two are
 * steps, others make phases. */
static inline ifd_conv_band ifd_conv_band_of(const ifd_k_conv_shape *s, int64_t rows, int64_t width,
                                             int64_t most_step) {
  int64_t stride = s->stride[IFD_K_W], reach = (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W];
  bool steps = stride <= most_step && (stride & (stride - 1)) == 0;
  ifd_conv_band b = {.planes = s->c * s->kernel[IFD_K_D],
                     .lines = (rows - 1) * s->stride[IFD_K_H] +
                              (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1,
                     .phases = steps ? 1 : stride,
                     .step = steps ? stride : 1,
                     .taps = s->c * ifd_conv_volume(s->kernel)};
  b.pitch = (width - 1) * b.step + reach / b.phases + 1;
  return b;
}

/* Outputs side by side: at most, and at least unless a line is shorter. */
enum { IFD_CONV_FIRST_TILE = 14, IFD_CONV_FIRST_LEAST = 4 };

/* The kernels' two bands: tiles of outputs by vectors of channels, and of vectors of 16 outputs. */
static inline ifd_conv_band ifd_conv_band_first(const ifd_k_conv_shape *s, int64_t rows) {
  return ifd_conv_band_of(s, rows, s->out[IFD_K_W] + IFD_CONV_FIRST_TILE, 4);
}
static inline ifd_conv_band ifd_conv_band_planar(const ifd_k_conv_shape *s, int64_t rows) {
  return ifd_conv_band_of(s, rows, ifd_ceil_div(s->out[IFD_K_W], 16) * 16, 1);
}

/* Floats of a line; bytes of scratch: the table, then the band. */
static inline int64_t ifd_conv_band_line(const ifd_conv_band *b) { return b->phases * b->pitch; }
static inline size_t ifd_conv_band_table(const ifd_conv_band *b) {
  return ifd_round_64(sizeof(int64_t) * (size_t)b->taps);
}
static inline size_t ifd_conv_band_scratch(const ifd_conv_band *b) {
  return ifd_conv_band_table(b) + sizeof(float) * (size_t)(b->planes * b->lines * ifd_conv_band_line(b));
}

#ifdef IFD_ISA
#include "kernels/conv/task.h"

/* Fills the scratch of a task, whose part is a plane of outputs in depth and whose rows are its lines: places
 * of the taps, and the copy of x. Both are returned. */
const float *IFD_K(ifd_conv_band_fill)(const ifd_conv_task *t, const ifd_conv_band *b, void *scratch,
                                       const int64_t **at);
#endif
#endif
