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

/* Where the taps of many points are found at once: their neighbours along each axis, and the combinations of
 * these, tap by tap. An index is -1 outside, which counts for nothing. */
enum { IFD_NEIGHBOURS = 4, IFD_TAPS = 64, IFD_TAPS_BLOCK = 64 };

/* The neighbours of up to IFD_TAPS_BLOCK positions along one axis, of size below INT32_MAX. */
typedef struct ifd_k_taps_axis {
  int n; /* of each position */
  int64_t size;
  int32_t index[IFD_NEIGHBOURS][IFD_TAPS_BLOCK];
  double weight[IFD_NEIGHBOURS][IFD_TAPS_BLOCK];
} ifd_k_taps_axis;

/* The taps of up to IFD_TAPS_BLOCK points. */
typedef struct ifd_k_taps {
  int n, n_points;
  int32_t index[IFD_TAPS][IFD_TAPS_BLOCK]; /* in the plane */
  float weight[IFD_TAPS][IFD_TAPS_BLOCK];
} ifd_k_taps;

struct ifd_k_sample_table {
  /* The two neighbours of positions [0, n) under linear interpolation. Those that have none inside, and NaN,
   * have none. */
  void (*neighbours)(ifd_k_taps_axis *to, const double *x, int n);
  /* The one nearest, of two as near that at an even index */
  void (*nearest)(ifd_k_taps_axis *to, const double *x, int n);
  /* The taps of t->n_points points from their axes, weights times scale[i] (NULL: 1). The product of axes[].n
   * is at most IFD_TAPS, and of axes[].size below INT32_MAX. */
  void (*cross)(ifd_k_taps *t, const ifd_k_taps_axis *axes, int n_axes, const float *scale);
  /* As planar below, of all points of t; the same bits as of those that are inside, in the order of taps. */
  void (*taps)(const ifd_k_taps *t, const float *x, int64_t plane, int64_t channels, float *y,
               int64_t y_stride);
  /* y[c * y_stride + i] = point i in channel c < channels of planes that are `plane` floats apart */
  void (*planar)(const ifd_k_samples *s, const float *x, int64_t plane, int64_t channels, float *y,
                 int64_t y_stride);
  /* The same of the first channels <= 16 of one block [pixels, 16] */
  void (*blocked)(const ifd_k_samples *s, const float *x, int channels, float *y, int64_t y_stride);
};

#endif
