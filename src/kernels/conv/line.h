/* Convolutions lane by lane: 16 output channels, each of its own input channels, along a line of output
 * places. The chain of an output runs over those of its taps that fall inside x, channel by channel. */
#ifndef IFD_KERNELS_CONV_LINE_H
#define IFD_KERNELS_CONV_LINE_H

#include "kernels/conv/phase.h"
#ifdef IFD_ISA
#include "kernels/conv/task.h"
#endif

/* Output o reads columns begin + o * step + k * tap_step, k < n_w, of n_c × n_d × n_h lines; distances are in
 * floats. */
typedef struct ifd_conv_line {
  const float *x, *w; /* column 0 of the first line; its first tap */
  int64_t n_c, n_d, n_h, n_w;
  int64_t x_c, x_d, x_h, w_c, w_d, w_h;
  int64_t begin, step, tap_step, width;
} ifd_conv_line;

/* Groups that share lanes: so many input channels of each, `rows` lines of outputs, are in hand at once. */
typedef struct ifd_conv_grouped_sizes {
  int64_t channels, x_channel; /* floats of one, all lines that the outputs read */
  int64_t room;                /* of all; more rows never need less */
} ifd_conv_grouped_sizes;

/* As many channels as leave their lines in L2. */
static inline ifd_conv_grouped_sizes ifd_conv_grouped_sizes_of(const ifd_k_conv_shape *s, int64_t rows) {
  enum { VECTORS = 1 << 13 };
  int64_t lines =
      ifd_min_i64(s->in[IFD_K_H], rows * s->stride[IFD_K_H] + s->kernel[IFD_K_H] * s->dilation[IFD_K_H]);
  int64_t planes = ifd_min_i64(s->in[IFD_K_D], s->kernel[IFD_K_D] * s->dilation[IFD_K_D]);
  int64_t columns = s->transposed ? s->out[IFD_K_W] / s->stride[IFD_K_W] + 1
                                  : (s->out[IFD_K_W] - 1) * s->stride[IFD_K_W] + 1;
  columns += (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W];
  int64_t pixels = planes * lines * columns, c = s->c / s->groups;
  return (ifd_conv_grouped_sizes){.channels = ifd_max_i64(1, ifd_min_i64(c, VECTORS / pixels)),
                                  .x_channel = pixels * 16,
                                  .room = ifd_max_i64(pixels, ifd_min_i64(c * pixels, VECTORS)) * 16};
}

#ifdef IFD_ISA
/* Where the sums go, and where they begin. */
typedef struct ifd_conv_sink {
  const float *init;    /* for place 0; NULL: 0. It may be y. */
  ifd_conv_fused fused; /* where it fits, the sums are finished */
  float *y;             /* for place 0 */
  const float *other;
} ifd_conv_sink;

/* Places [o, end) of a line. */
typedef void (*ifd_conv_line_kernel)(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to);
ifd_conv_line_kernel IFD_K(ifd_conv_line_find)(const ifd_conv_line *l);

/* Taps [*first, *first + count) of a dimension that place o meets inside x. */
IFD_INLINE int64_t ifd_conv_taps_inside(const ifd_conv_axis *a, int64_t size, int64_t o, int64_t *first) {
  int64_t i = a->begin + o * a->step, step = a->tap_step;
  *first = 0;
  if (a->n_taps == 0) return 0;
  if (step < 0) i = size - 1 - i, step = -step;
  *first = i < 0 ? ifd_min_i64(a->n_taps, ifd_ceil_div(-i, step)) : 0;
  int64_t end = i < size ? ifd_min_i64(a->n_taps, (size - 1 - i) / step + 1) : 0;
  return ifd_max_i64(0, end - *first);
}

#endif
#endif
