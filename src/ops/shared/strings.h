/* String outputs. The bytes of a string tensor's elements live in the tensor's own buffer, after the
 * elements, so an operator that makes strings (or moves them) copies their bytes there: an output that
 * pointed into an input would outlive it. */
#ifndef IFD_OPS_SHARED_STRINGS_H
#define IFD_OPS_SHARED_STRINGS_H

#include "ops/op.h"

/* Output i: a string tensor of `shape` with copies of as many strings; `strings` may lie anywhere (scratch,
 * inputs). */
ifd_status ifd_eval_strings(ifd_eval *x, int i, const ifd_shape *shape, const ifd_str *strings);

#endif
