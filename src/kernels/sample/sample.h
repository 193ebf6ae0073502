/* Samples of FLOAT images: weighted sums of a few elements of a plane, the same ones in every channel
 * (GridSample, RoiAlign, DeformConv). A sum is one chain of fused multiply-adds from 0 in the order of its
 * taps, whether the image lies in planes or in blocks of 16 channels: both give the same bits. */
#ifndef IFD_KERNELS_SAMPLE_SAMPLE_H
#define IFD_KERNELS_SAMPLE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ifd_k_samples {
  int n;                /* points */
  const int32_t *first; /* the taps of point i are [first[i], first[i + 1]) */
  const int32_t *index; /* of a tap, in the plane; greatest: or -1, which is 0 */
  const float *weight;
  bool greatest; /* not their sum, but the greatest of weight times element, -Inf of none; NaN never is */
} ifd_k_samples;

struct ifd_k_sample_table {
  /* y[c * y_stride + i] = point i in channel c < channels of planes that are `plane` floats apart */
  void (*planar)(const ifd_k_samples *s, const float *x, int64_t plane, int64_t channels, float *y,
                 int64_t y_stride);
  /* The same of the first channels <= 16 of one block [pixels, 16] */
  void (*blocked)(const ifd_k_samples *s, const float *x, int channels, float *y, int64_t y_stride);
};

#endif
