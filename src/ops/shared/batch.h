/* How the samples of a batch pass through an operator.
 *
 * A tensor whose first dimension is a multiple of n lies in n equal parts, one for each sample. An operator
 * passes samples when part i of each output depends on nothing but part i of some inputs and all of the
 * others, and when those parts alone, as tensors of a smaller first dimension, give the same. Samples may
 * then go through it a few at a time. */
#ifndef IFD_OPS_SHARED_BATCH_H
#define IFD_OPS_SHARED_BATCH_H

#include "ops/op.h"

typedef enum ifd_role { IFD_ROLE_WHOLE, IFD_ROLE_PARTS } ifd_role;

/* Whether the node passes n samples, n >= 2: then what it reads of each input is in roles. in and out as
 * ifd_lower has them; what is not known to pass does not. */
bool ifd_batch_passes(const ifd_node *node, const ifd_tensor *const *in, const ifd_tensor *const *out,
                      int64_t n, ifd_role *roles);

/* Whether a shape falls into n parts, and the shape of `few` of them. */
static inline bool ifd_batch_divides(const ifd_shape *s, int64_t n) {
  return s->rank > 0 && s->dim[0] > 0 && s->dim[0] % n == 0;
}
static inline ifd_shape ifd_batch_part(const ifd_shape *s, int64_t n, int64_t few) {
  ifd_shape part = *s;
  part.dim[0] = s->dim[0] / n * few;
  return part;
}

#endif
