/* Bounds of the numbers that values hold, worked out from what makes them: Relu gives no negative number,
 * Sigmoid none above 1, a product of such with positive weights no negative one again. Any number may also be
 * NaN.
 *
 * What is so of real numbers need not be so of rounded ones: a sum of products that cannot be negative comes
 * out as -1e-7 where a convolution is done by Winograd's way. Both are kept apart. */
#ifndef IFD_PASS_RANGE_H
#define IFD_PASS_RANGE_H

#include "pass/pass.h"

typedef struct ifd_range {
  double lo, hi; /* -INFINITY and INFINITY: no bound */
} ifd_range;

typedef struct ifd_bounds {
  ifd_range rounded; /* of what any runtime computes */
  ifd_range real;    /* of what it stands for: as narrow, or narrower */
} ifd_bounds;

/* The bounds of a value; of an absent one (NULL), 0. */
ifd_status ifd_rw_bounds(ifd_rewrite *rw, ifd_bounds *out, const ifd_value *value);

#endif
