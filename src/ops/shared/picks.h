/* Lowering outputs whose element [i, j, …] is the input's element [index 0 [i], index 1 [j], …], or a value
 * where an index is -1: Resize to the nearest, Pad. Rows are written once, from first to last. */
#ifndef IFD_OPS_SHARED_PICKS_H
#define IFD_OPS_SHARED_PICKS_H

#include "ops/op.h"

/* Output 0 from input 0, which has the shape `in` and elements of `size` bytes; index[a] has an entry for
 * each place along axis a of the output, and lives as long as the plan. `value` is one element; NULL is zero.
 * Nothing is empty. */
ifd_status ifd_lower_picks(ifd_lower *x, const ifd_shape *in, size_t size, const int64_t *const *index,
                           const void *value);

#endif
