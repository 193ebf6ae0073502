/* Windows that slide over the spatial dimensions (from dimension 2 on) of an image: what kernel_shape,
 * strides, dilations, pads, auto_pad and ceil_mode mean together, for convolutions and pools of any rank.
 *
 * Tap k of window o reads image position o * stride + k * dilation - begin on each axis, or padding where
 * that is outside. A transposed convolution is the same relation with the parts exchanged: its output is the
 * image, its input the windows. An image without spatial dimensions has one axis of one element.
 *
 * Source: Conv, ConvTranspose, MaxPool, AveragePool in ONNX Operators.md. With ceil_mode a window that would
 * start in the end padding is dropped at every opset: opset 22 says so, and before it such a window would
 * have no elements. */
#ifndef IFD_OPS_SHARED_WINDOW_H
#define IFD_OPS_SHARED_WINDOW_H

#include "ops/op.h"

typedef struct ifd_window {
  int n; /* axes, at least 1 */
  int64_t image[IFD_MAX_RANK];
  int64_t windows[IFD_MAX_RANK]; /* how many */
  int64_t kernel[IFD_MAX_RANK], stride[IFD_MAX_RANK], dilation[IFD_MAX_RANK];
  int64_t begin[IFD_MAX_RANK], end[IFD_MAX_RANK]; /* padding */
} ifd_window;

/* From the node's attributes and the image's shape. Sizes of the kernel are those of `weights` from dimension
 * 2 on, or without weights attribute kernel_shape. */
ifd_status ifd_window_init(ifd_error *err, ifd_window *w, const ifd_node *node, const ifd_shape *image,
                           const ifd_shape *weights);
/* A transposed convolution's: `in` is the shape of its input, and the image is what the attributes make of
 * it. */
ifd_status ifd_window_init_transposed(ifd_error *err, ifd_window *w, const ifd_node *node,
                                      const ifd_shape *in, const ifd_shape *weights);
/* The shape of a batch of windows, or of images: n, c and the spatial dimensions of an image of this rank. */
ifd_shape ifd_window_shape(const ifd_window *w, int rank, int64_t n, int64_t c);
ifd_shape ifd_window_image_shape(const ifd_window *w, int rank, int64_t n, int64_t c);
static inline int64_t ifd_window_product(const ifd_window *w, const int64_t *sizes) {
  int64_t n = 1;
  for (int a = 0; a < w->n; a++) n *= sizes[a];
  return n;
}

/* Windows [*from, *to) of axis a whose tap k lies in the image. */
void ifd_window_reach(const ifd_window *w, int a, int64_t k, int64_t *from, int64_t *to);
static inline int64_t ifd_window_at(const ifd_window *w, int a, int64_t o, int64_t k) {
  return o * w->stride[a] + k * w->dilation[a] - w->begin[a];
}

/* The dimensions of the windows, or of a transposed convolution's output, from those of the input, in
 * symbols: rank dims with the first two left alone. kernel: rank - 2 sizes, or NULL for attribute
 * kernel_shape. */
ifd_status ifd_window_infer(ifd_infer *x, int rank, const ifd_dim *in, const ifd_dim *kernel, ifd_dim *out);
ifd_status ifd_window_infer_transposed(ifd_infer *x, int rank, const ifd_dim *in, const ifd_dim *kernel,
                                       ifd_dim *out);

/* The integer points of a box [from, to), the last axis fastest:
 *   for (bool more = ifd_box_start(&b); more; more = ifd_box_next(&b)) … b.at
 * A box of no axes has one point. */
typedef struct ifd_box {
  int n;
  int64_t from[IFD_MAX_RANK], to[IFD_MAX_RANK], at[IFD_MAX_RANK];
} ifd_box;
bool ifd_box_start(ifd_box *b);
bool ifd_box_next(ifd_box *b);
/* The box [0, size) of n axes. */
ifd_box ifd_box_of(int n, const int64_t *size);
/* The box of the taps of window o that lie in the image. */
ifd_box ifd_box_of_taps(const ifd_window *w, const int64_t *o);

/* The rows of windows, along the last axis, whose tap lies in the image: windows [window, window + n) of the
 * plane read the elements at image, image + step, … for (bool more = ifd_window_rows_start(&r, w, tap); more;
 * more = ifd_window_rows_next(&r)) … */
typedef struct ifd_window_rows {
  int64_t window, image, n, step;
  /* private */
  const ifd_window *w;
  const int64_t *tap;
  ifd_box box;
  int64_t from;
} ifd_window_rows;
bool ifd_window_rows_start(ifd_window_rows *r, const ifd_window *w, const int64_t *tap);
bool ifd_window_rows_next(ifd_window_rows *r);

/* windows[o] += weight * image[o, tap] for every window whose tap lies in the image; and the transposed,
 * image[o, tap] += weight * windows[o]. Planes are dense. */
void ifd_window_gather(const ifd_window *w, const int64_t *tap, double weight, const double *image,
                       double *windows);
void ifd_window_scatter(const ifd_window *w, const int64_t *tap, double weight, const double *windows,
                        double *image);

#endif
