/* Samples of an image as weighted sums of its elements. A position has neighbours along each axis; the
 * combinations of neighbours are its taps, each an element of the plane and the product of the weights. The
 * taps of a block of positions serve all channels: GridSample, DeformConv. */
#ifndef IFD_OPS_SHARED_TAPS_H
#define IFD_OPS_SHARED_TAPS_H

#include "kernels/sample/sample.h"
#include "ops/op.h"

enum { IFD_TAPS_AXES = 8 };

/* Of a position along one axis: index (-1: outside, zero) and weight. */
typedef struct ifd_neighbours {
  int n;
  int64_t index[IFD_NEIGHBOURS];
  double weight[IFD_NEIGHBOURS];
} ifd_neighbours;

/* The reference: the taps of a position that are inside, of which there are at most as many as combinations;
 * gives their number. */
int64_t ifd_taps_find(const ifd_neighbours *at, int n_axes, const int64_t *size, int64_t *index,
                      double *weight);
/* The sum of weights times elements of the plane. */
double ifd_taps_sum(const int64_t *index, const double *weight, int64_t n, const double *plane);

/* The same of linear interpolation at x, zeros outside. */
ifd_neighbours ifd_neighbours_linear(double x, int64_t size);

/* Position i has these neighbours, as many as all others. */
void ifd_taps_axis_put(ifd_k_taps_axis *to, int i, const ifd_neighbours *at);

/* The taps that are inside, point by point. */
typedef struct ifd_taps_inside {
  int32_t first[IFD_TAPS_BLOCK + 1], index[IFD_TAPS * IFD_TAPS_BLOCK];
  float weight[IFD_TAPS * IFD_TAPS_BLOCK];
} ifd_taps_inside;
/* Of a worker. */
typedef struct ifd_taps_scratch {
  ifd_k_taps taps;
  ifd_taps_inside inside;
} ifd_taps_scratch;

/* The samples that the taps are; it points into `inside`. */
ifd_k_samples ifd_taps_samples(const ifd_k_taps *t, ifd_taps_inside *inside);

#endif
