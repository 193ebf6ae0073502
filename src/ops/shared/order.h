/* Order among elements of any type: each becomes an int64 key that compares as the element does, and sorting
 * is done on keys and indices. Numbers ascend, -0 equals 0, every NaN is one value above all others (NumPy's
 * order); complex numbers compare by real, then by imaginary part; strings by their bytes. */
#ifndef IFD_OPS_SHARED_ORDER_H
#define IFD_OPS_SHARED_ORDER_H

#include "ops/op.h"

#include <string.h>

/* The key of a floating-point number: its bits are ordered as sign and magnitude. */
static inline int64_t ifd_order_key(double x) {
  int64_t bits;
  x += 0.0; /* -0 becomes 0 */
  memcpy(&bits, &x, sizeof bits);
  bits = bits < 0 ? INT64_MIN - bits : bits;
  return x != x ? INT64_MAX : bits;
}
/* The keys of n numbers (any type but strings and complex) at p. */
void ifd_order_number_keys(ifd_dtype dtype, const void *p, int64_t *keys, int64_t n);
/* The keys of all elements of t, in arena. */
ifd_status ifd_order_keys(ifd_error *err, int64_t **out, ifd_arena *arena, const ifd_tensor *t);
/* Sorts n indices, stable: less than zero where item a comes before b. */
ifd_status ifd_order_sort(ifd_error *err, int64_t *indices, int64_t n, ifd_arena *arena,
                          int (*compare)(const void *context, int64_t a, int64_t b), const void *context);

#endif
