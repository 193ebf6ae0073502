/* Mean and variance of many values, in double, gathered piece by piece. */
#ifndef IFD_RECALIBRATE_MOMENTS_H
#define IFD_RECALIBRATE_MOMENTS_H

#include "tensor/tensor.h"

typedef struct ifd_moments {
  double n, mean;
  double m2; /* sum of squared deviations from the mean */
} ifd_moments;

/* Both sets of values together (Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for
 * Computing Sample Variances, 1979). */
void ifd_moments_merge(ifd_moments *into, const ifd_moments *more);
/* Adds x, seen as [batch, features, plane], to the moments of each feature; x is dense and of a float
 * type. */
void ifd_moments_add(ifd_moments *moments, const ifd_tensor *x, int64_t features, int64_t plane);
/* Of the population (divided by n), or of a sample (by n - 1). */
double ifd_moments_variance(const ifd_moments *moments, bool sample);

#endif
