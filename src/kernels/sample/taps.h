/* The part of the sample table that taps.c holds. */
#ifndef IFD_KERNELS_SAMPLE_TAPS_H
#define IFD_KERNELS_SAMPLE_TAPS_H

#include "kernels/sample/sample.h"
#include "kernels/simd.h"

void IFD_K(ifd_sample_neighbours)(ifd_k_taps_axis *to, const double *x, int n);
void IFD_K(ifd_sample_nearest)(ifd_k_taps_axis *to, const double *x, int n);
void IFD_K(ifd_sample_cross)(ifd_k_taps *t, const ifd_k_taps_axis *axes, int n_axes, const float *scale);
void IFD_K(ifd_sample_taps)(const ifd_k_taps *t, const float *x, int64_t plane, int64_t channels, float *y,
                            int64_t y_stride);

#endif
