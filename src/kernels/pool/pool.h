/* MaxPool and AveragePool of FLOAT images of one to three dimensions, any kernel, stride, dilation, padding
 * and rounding: one plane [z, y, x] at a time, or one block of sixteen channels [z, y, x, 16] (images whose
 * channels lie in blocks of 16). A window is reduced column by column: first over z and y, then over x, each
 * in the order of the index, in both layouts; every output depends on its window alone, so any split of the
 * rows gives the same bits. NaN wins in MaxPool. A whole image (GlobalAveragePool, GlobalMaxPool) is a row of
 * kernels/reduce. */
#ifndef IFD_KERNELS_POOL_POOL_H
#define IFD_KERNELS_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IFD_POOL_AXES = 3 };
/* Axes are z, y, x; an image of fewer dimensions has 1 in the first ones (kernel, stride and dilation too).
 * Tap k of window o reads position o * stride + k * dilation - begin. */
typedef struct ifd_k_pool_shape {
  int64_t image[IFD_POOL_AXES], windows[IFD_POOL_AXES];
  int64_t kernel[IFD_POOL_AXES], stride[IFD_POOL_AXES], dilation[IFD_POOL_AXES];
  int64_t begin[IFD_POOL_AXES], end[IFD_POOL_AXES]; /* padding */
  bool average;
  bool count_padding; /* AveragePool's count_include_pad */
} ifd_k_pool_shape;

struct ifd_k_pool_table {
  /* Rows [first, last) of the z * y rows of windows, of one plane (lanes 1) or one block (lanes 16): x and y
   * are its first elements. x and y do not overlap. */
  void (*rows)(const ifd_k_pool_shape *p, int lanes, const float *x, float *y, size_t first, size_t last);
  /* A tap of n windows: best[i] becomes x[i * step] and index[i] at + i * step where that is greater or NaN,
   * or index[i] is negative. */
  void (*greater_f32)(const float *x, int64_t step, int64_t n, int32_t at, float *best, int32_t *index);
  void (*greater_f64)(const double *x, int64_t step, int64_t n, int64_t at, double *best, int64_t *index);
};

#endif
