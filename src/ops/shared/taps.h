/* Samples of an image as weighted sums of its elements. A position has neighbours along each axis; the
 * combinations of neighbours are its taps, each an element of the plane and the product of the weights. The
 * taps of a block of positions serve all channels: GridSample, DeformConv. */
#ifndef IFD_OPS_SHARED_TAPS_H
#define IFD_OPS_SHARED_TAPS_H

#include "kernels/sample/sample.h"
#include "ops/op.h"

enum { IFD_NEIGHBOURS = 4, IFD_TAPS_AXES = 8, IFD_TAPS = 64, IFD_TAPS_BLOCK = 64 };

/* Of a position along one axis: index (-1: outside, zero) and weight. */
typedef struct ifd_neighbours {
  int n;
  int64_t index[IFD_NEIGHBOURS];
  double weight[IFD_NEIGHBOURS];
} ifd_neighbours;

/* The sum over all taps of weight times element of the plane: the reference. */
double ifd_taps_weigh(const ifd_neighbours *at, int n_axes, const int64_t *size, const double *plane);

/* The same of linear interpolation at x, zeros outside. */
ifd_neighbours ifd_neighbours_linear(double x, int64_t size);

/* Neighbours of up to IFD_TAPS_BLOCK positions along one axis, of size below INT32_MAX. */
typedef struct ifd_taps_axis {
  int n; /* of each position */
  int64_t size;
  int32_t index[IFD_NEIGHBOURS][IFD_TAPS_BLOCK];
  double weight[IFD_NEIGHBOURS][IFD_TAPS_BLOCK];
} ifd_taps_axis;

/* Position i has these neighbours, as many as all others. */
void ifd_taps_axis_put(ifd_taps_axis *to, int i, const ifd_neighbours *at);
/* Positions [0, n) have those of ifd_neighbours_linear. */
void ifd_taps_axis_linear(ifd_taps_axis *to, const double *x, int n);

/* The taps of up to IFD_TAPS_BLOCK positions, tap by tap; then those that are inside, position by position.
 */
typedef struct ifd_taps {
  int n, n_points;
  int32_t index[IFD_TAPS][IFD_TAPS_BLOCK]; /* in the plane; -1: nothing */
  float weight[IFD_TAPS][IFD_TAPS_BLOCK];
  int32_t first[IFD_TAPS_BLOCK + 1], inside[IFD_TAPS * IFD_TAPS_BLOCK];
  float inside_weight[IFD_TAPS * IFD_TAPS_BLOCK];
} ifd_taps;

/* From the axes of n_points positions, weights times scale[i] (NULL: 1). The product of axes[].n is at most
 * IFD_TAPS, and of axes[].size below INT32_MAX. */
void ifd_taps_set(ifd_taps *t, const ifd_taps_axis *axes, int n_axes, const float *scale);
/* The samples that they are; it points into t. */
ifd_k_samples ifd_taps_samples(ifd_taps *t);

#endif
