/* The part of the pool table that greater.c holds. */
#ifndef IFD_KERNELS_POOL_GREATER_H
#define IFD_KERNELS_POOL_GREATER_H

#include "kernels/pool/pool.h"
#include "kernels/simd.h"

void IFD_K(ifd_pool_greater_f32)(const float *x, int64_t step, int64_t n, int32_t at, float *best,
                                 int32_t *index);
void IFD_K(ifd_pool_greater_f64)(const double *x, int64_t step, int64_t n, int64_t at, double *best,
                                 int64_t *index);

#endif
