/* How far outputs of a model in float are from those in double, for a certificate. */
#ifndef IFD_VERIFY_EVIDENCE_H
#define IFD_VERIFY_EVIDENCE_H

#include "tensor/tensor.h"

#include <jansson.h>

/* The worst of an output over all runs. relative and ulp are of elements of some size: at least a thousandth
 * of the largest in the output, since of what should be 0 any error is infinitely much. */
typedef struct ifd_deviation {
  double absolute; /* largest |x - y| */
  double relative; /* largest |x - y| / |y| */
  double ulp;      /* largest |x - y|, in the spacing of x's type at y */
} ifd_deviation;

typedef struct ifd_evidence {
  int64_t n; /* elements compared */
  ifd_deviation original, optimized;
} ifd_evidence;

/* Takes in one more output: x, and y, which is x's tensor in double, or in x's own type. */
void ifd_deviation_add(ifd_deviation *worst, const ifd_datum *x, const ifd_datum *y);
json_t *ifd_deviation_json(const ifd_deviation *d);

#endif
