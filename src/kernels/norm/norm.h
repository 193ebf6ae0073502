/* Normalizations of FLOAT data. Statistics of a row are two passes in the order of kernels/fold.h: the mean,
 * then the mean square of what differs from it; each row depends on itself alone. y may be x. scale and bias
 * may be NULL: 1, 0. */
#ifndef IFD_KERNELS_NORM_NORM_H
#define IFD_KERNELS_NORM_NORM_H

#include <stdbool.h>
#include <stddef.h>

/* LRN: the region of a channel are so many before and after it. */
typedef struct ifd_k_lrn {
  size_t channels, plane, before, after;
  float alpha, beta, bias; /* alpha: of one channel of the region */
} ifd_k_lrn;

struct ifd_k_norm_table {
  /* LayerNormalization of rows of n > 0 elements: (x - mean) / sqrt(variance + epsilon) * scale[i] + bias[i].
   * mean and inv_std_dev get a number for each row; NULL: not wanted. */
  void (*layer)(const float *x, size_t n_rows, size_t n, const float *scale, const float *bias, float epsilon,
                float *y, float *mean, float *inv_std_dev);
  /* RMSNormalization: x / sqrt(mean of x^2 + epsilon) * scale[i] */
  void (*rms)(const float *x, size_t n_rows, size_t n, const float *scale, float epsilon, float *y);
  /* One group of GroupNormalization, one channel of InstanceNormalization: `channels` planes of `plane`
   * elements share mean and variance; plane c takes scale[c * step] and bias[c * step]. */
  void (*group)(const float *x, size_t channels, size_t plane, const float *scale, const float *bias,
                size_t step, float epsilon, float *y);
  /* Groups side by side of a blocked sample, [ceil(channels / 16)][plane][16], of in_group channels each; the
   * first begins at a block. in_part channels share a scale and a bias. Lanes beyond the channels become
   * zeros. Room for 32 floats of each block. */
  void (*group_blocked)(const float *x, size_t channels, size_t plane, size_t in_group, const float *scale,
                        const float *bias, size_t in_part, float epsilon, float *y, float *room);
  /* y = x * factor + shift, then Relu if asked: BatchNormalization with given statistics. affine_planes: one
   * factor for each plane. affine_rows: one for each element of a row (channels last; or [pixels, 16] of one
   * block of channels). */
  void (*affine_planes)(const float *x, size_t n_planes, size_t plane, const float *factor,
                        const float *shift, bool relu, float *y);
  void (*affine_rows)(const float *x, size_t n_rows, size_t n, const float *factor, const float *shift,
                      bool relu, float *y);
  /* Channels [from, to) of a sample [channels][plane]: x / (bias + alpha * squares of the region)^beta */
  void (*lrn)(const ifd_k_lrn *p, const float *x, size_t from, size_t to, float *y);
  /* Blocks [from, to) of a sample [ceil(channels / 16)][plane][16]; before and after are at most 15 */
  void (*lrn_blocked)(const ifd_k_lrn *p, const float *x, size_t from, size_t to, float *y);
};

#endif
