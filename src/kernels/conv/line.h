/* Convolutions lane by lane: 16 output channels, each of its own input channels, along a line of output
 * places. The chain of an output runs over those of its taps that fall inside x, channel by channel. */
#ifndef IFD_KERNELS_CONV_LINE_H
#define IFD_KERNELS_CONV_LINE_H

#include "kernels/conv/phase.h"
#include "kernels/gemm/product.h"
#ifdef IFD_ISA
#include "kernels/conv/task.h"
#endif

/* The blocks that the lanes of 16 output channels read one input channel of their groups from. */
typedef struct ifd_conv_sources {
  int n;
  bool level; /* it is one, and lanes come from their own part of it (kernels/part.h) */
  ifd_k_lanes from[16];
} ifd_conv_sources;

/* A line of x and the taps that meet it, in floats from the first line and tap. */
typedef struct ifd_conv_tap_line {
  int64_t x, w;
} ifd_conv_tap_line;

/* n_rows rows of outputs, each of n_c channels. Row r reads n_h lines in each of n_d planes, r * x_row floats
 * from where they are of row 0: of each plane those lines j that lie inside, 0 <= top + r * down + j * apart
 * < height. Output o reads columns begin + o * step + k * tap_step of them, k < n_w, that lie inside. */
typedef struct ifd_conv_line {
  const float *x, *w;
  const ifd_conv_tap_line *lines; /* [n_d][n_h] */
  int64_t n_d, n_h, n_c, n_w;
  int64_t x_c, w_c; /* floats between channels */
  int64_t n_rows, x_row;
  int64_t top, down, apart, height;
  int64_t begin, step, tap_step, width;
} ifd_conv_line;

/* The kernels made for some taps side by side, n_w and step: with several taps, their tiles may meet the ends
 * of a line. */
#define IFD_CONV_LINE_KERNELS(X) X(1, 1) X(3, 1) X(3, 2) X(5, 1) X(5, 2) X(7, 1)
static inline bool ifd_conv_line_has_ends(const ifd_k_conv_shape *s) {
#define MADE(n_w, step) || (n_w > 1 && s->kernel[IFD_K_W] == n_w && s->stride[IFD_K_W] == step)
  return s->dilation[IFD_K_W] == 1 && (false IFD_CONV_LINE_KERNELS(MADE));
#undef MADE
}

/* Depthwise: x where it lies, or, without tiles for its ends, a copy with zeros around, [tap of depth][line]
 * [column][16]: where all that a plane of outputs reads stays in L1 (then rows are all alike), or where many
 * outputs of a line meet zeros. */
typedef struct ifd_conv_padded_sizes {
  bool fits, wide;
  int64_t lines, columns, vectors;
} ifd_conv_padded_sizes;

static inline ifd_conv_padded_sizes ifd_conv_padded_sizes_of(const ifd_k_conv_shape *s) {
  enum { L1 = 512, L2 = 1 << 14, WIDE = 9 };
  int64_t n[IFD_K_DIMS];
  for (int d = 0; d < IFD_K_DIMS; d++)
    n[d] = (s->out[d] - 1) * s->stride[d] + (s->kernel[d] - 1) * s->dilation[d] + 1;
  ifd_conv_padded_sizes z = {.lines = n[IFD_K_H], .columns = n[IFD_K_W]};
  z.vectors = s->kernel[IFD_K_D] * z.lines * z.columns;
  z.fits = !s->transposed && z.vectors <= L1 && !ifd_conv_line_has_ends(s);
  z.wide = !s->transposed && !z.fits && z.vectors <= L2 && s->kernel[IFD_K_W] >= WIDE;
  return z;
}

/* Bytes of the lines of x and taps that a row of places meets. */
static inline size_t ifd_conv_tap_lines_len(const ifd_k_conv_shape *s) {
  return ifd_round_64(sizeof(ifd_conv_tap_line) * (size_t)(s->kernel[IFD_K_D] * s->kernel[IFD_K_H]));
}

/* Expanded: two blocks of some lines of what is read, in L2; `rows` rows of outputs read no more than `lines`
 * of them. */
typedef struct ifd_conv_expanded_sizes {
  int64_t rows, lines, plane; /* floats of a block */
  size_t made, product, len;  /* of scratch, in bytes: the lines and what makes them, behind lines and taps */
} ifd_conv_expanded_sizes;

enum { IFD_CONV_EXPANDED_BLOCKS = 2 };

static inline ifd_conv_expanded_sizes ifd_conv_expanded_sizes_of(const ifd_k_conv_shape *s) {
  enum { FLOATS = 1 << 15 };
  int64_t line = s->in[IFD_K_W] * 16, reach = (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1;
  int64_t more = ifd_max_i64(0, FLOATS / line - reach) / s->stride[IFD_K_H];
  ifd_conv_expanded_sizes z = {.rows = ifd_min_i64(s->out[IFD_K_H], more + 1)};
  z.lines = ifd_min_i64(s->in[IFD_K_H], (z.rows - 1) * s->stride[IFD_K_H] + reach);
  z.plane = z.lines * line;
  z.made = ifd_conv_tap_lines_len(s);
  z.product = z.made + sizeof(float) * IFD_CONV_EXPANDED_BLOCKS * (size_t)z.plane;
  z.len = z.product + ifd_product_scratch_of(z.lines * s->in[IFD_K_W], IFD_CONV_EXPANDED_BLOCKS * 16,
                                             s->before, ifd_ceil_div(s->before, 16), IFD_K_B_PACKED, false)
                          .len;
  return z;
}

/* Groups that share lanes: strips of at most 14 places of a line. What a place reads is kept in L1, spread
 * over the lanes, [channel][tap of depth][slot][column][16]: of the channels so many at once, of the lines
 * those that one row of places reads, each in the slot that its number gives. */
typedef struct ifd_conv_spread_sizes {
  int64_t slots, columns, channels;
  int64_t line, channel; /* floats */
} ifd_conv_spread_sizes;

enum { IFD_CONV_STRIP = 14 };

static inline ifd_conv_spread_sizes ifd_conv_spread_sizes_of(const ifd_k_conv_shape *s) {
  enum { VECTORS = 512 };
  int64_t c = s->c / s->groups, step = s->transposed ? 1 : s->stride[IFD_K_W];
  ifd_conv_spread_sizes z = {
      .slots = ifd_min_i64(s->in[IFD_K_H], (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1),
      .columns = (ifd_min_i64(s->out[IFD_K_W], IFD_CONV_STRIP) - 1) * step +
                 (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W] + 1};
  int64_t vectors = s->kernel[IFD_K_D] * z.slots * z.columns;
  z.channels = ifd_ceil_div(c, ifd_ceil_div(c, ifd_max_i64(1, VECTORS / vectors)));
  z.line = z.columns * 16, z.channel = vectors * 16;
  return z;
}

/* Where a task has what, in bytes: lines of x and taps that a row of places meets; where the lanes of each
 * channel come from; which line each slot has; the slots; sums that wait for further channels. */
typedef struct ifd_conv_spread_scratch {
  size_t lanes, held, x, sums, len;
} ifd_conv_spread_scratch;

static inline ifd_conv_spread_scratch ifd_conv_spread_scratch_of(const ifd_k_conv_shape *s, int64_t rows) {
  const ifd_conv_spread_sizes z = ifd_conv_spread_sizes_of(s);
  int64_t c = s->c / s->groups;
  ifd_conv_spread_scratch m = {.lanes = ifd_conv_tap_lines_len(s)};
  m.held = m.lanes + ifd_round_64(sizeof(ifd_conv_sources) * (size_t)c);
  m.x = m.held + ifd_round_64(sizeof(int64_t) * (size_t)(s->kernel[IFD_K_D] * z.slots));
  m.sums = m.x + sizeof(float) * (size_t)(z.channels * z.channel);
  m.len = m.sums + (z.channels < c ? sizeof(float) * 16 * (size_t)(rows * IFD_CONV_STRIP) : 0);
  return m;
}

#ifdef IFD_ISA
/* Rows [r0, r1) of a block of a depthwise convolution of two axes at most, read where `x` has the block's
 * lines from `first` on: all that these rows meet. Room for ifd_conv_tap_lines_len bytes. */
void IFD_K(ifd_conv_depthwise_rows)(const ifd_conv_task *t, const float *x, int64_t first, int64_t block,
                                    int64_t r0, int64_t r1, void *room);

/* Where the sums go, and where they begin. */
typedef struct ifd_conv_sink {
  const float *init;    /* for place 0, of one row; NULL: 0. It may be y. */
  ifd_conv_fused fused; /* where it fits or waits, the sums are finished */
  float *y;             /* for place 0 */
  const float *other;
  int64_t y_row; /* floats between rows of both */
} ifd_conv_sink;

/* Places [o, end) of each row. */
typedef void (*ifd_conv_line_kernel)(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to);
ifd_conv_line_kernel IFD_K(ifd_conv_line_find)(const ifd_conv_line *l);

/* Taps [*first, *first + count) of a dimension that place o meets inside x. */
IFD_INLINE int64_t ifd_conv_taps_inside(const ifd_conv_axis *a, int64_t size, int64_t o, int64_t *first) {
  int64_t i = a->begin + o * a->step, step = a->tap_step, reach = (a->n_taps - 1) * step;
  *first = 0;
  if (a->n_taps == 0) return 0;
  if (i + ifd_min_i64(0, reach) >= 0 && i + ifd_max_i64(0, reach) < size) return a->n_taps;
  if (step < 0) i = size - 1 - i, step = -step;
  *first = i < 0 ? ifd_min_i64(a->n_taps, ifd_ceil_div(-i, step)) : 0;
  int64_t end = i < size ? ifd_min_i64(a->n_taps, (size - 1 - i) / step + 1) : 0;
  return ifd_max_i64(0, end - *first);
}

#endif
#endif
