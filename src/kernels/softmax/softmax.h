/* Softmax and LogSoftmax of FLOAT data along one axis. Rows (the axis is contiguous) are reduced in the order
 * of kernels/fold.h, columns in the order of the index; each row or column depends on itself alone. y may be
 * x. As the ONNX formulas have it, a row with a NaN or +Inf, or of -Inf alone, is NaN. */
#ifndef IFD_KERNELS_SOFTMAX_SOFTMAX_H
#define IFD_KERNELS_SOFTMAX_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/epilogue.h"

struct ifd_k_softmax_table {
  /* Rows of n elements, x_stride and y_stride floats apart: y = softmax(scale * x + mask), or its logarithm.
   * scale 1 and mask NULL leave x as it is; mask rows are mask_stride floats apart (0: one for all). */
  void (*rows)(bool log, const float *x, size_t x_stride, float scale, const float *mask, size_t mask_stride,
               float *y, size_t y_stride, size_t n_rows, size_t n);
  /* Column j: elements x[i * stride + j], i < n; y likewise */
  void (*columns)(bool log, const float *x, float *y, size_t stride, size_t n, size_t n_columns);
  /* Rows of scores to weights in place: exp(scale * x + mask - the row's greatest), without the division by
   * their sum, whose reciprocal goes to factors. Vectors of 16 elements are vs apart, rows rs. scale > 0. A
   * row of -Inf alone gives zeros and a factor of 0 where `blind`, else NaN;
   * where the factor is NaN, the weights may be anything. */
  void (*weights)(float *x, size_t rs, size_t vs, float scale, const float *mask, size_t mask_stride,
                  bool blind, float *factors, size_t n_rows, size_t n);
  /* y = softmax(scale * x + mask) as operators of a 16-bit float have it, each of whose results is rounded:
   * product, sum, difference to the greatest, exponential, sum, quotient. Exponentials below the least normal
   * float are 0. Rows and vectors of x and y as above; y may be x. */
  void (*rounded)(ifd_k_act rounding, const float *x, float *y, size_t rs, size_t vs, float scale,
                  const float *mask, size_t mask_stride, size_t n_rows, size_t n);
  /* Rows of n times their factors. */
  void (*scale_rows)(float *y, size_t stride, const float *factors, size_t n_rows, size_t n);
};

#endif
