/* Operands of one element type. Operators that move elements without looking at them copy bytes, so their
 * inputs must have the type of their output; in a float64 run constants are FLOAT where computed values are
 * DOUBLE. */
#ifndef IFD_OPS_SHARED_OPERAND_H
#define IFD_OPS_SHARED_OPERAND_H

#include "ops/op.h"

/* Tensor input i with elements of `dtype`: the input itself, or its cast in scratch. */
ifd_status ifd_eval_as(ifd_eval *x, const ifd_tensor **out, int i, ifd_dtype dtype);
/* Output i = the elements of a constant (splat and packed ones too), cast if the output's type is wider. */
ifd_status ifd_eval_constant(ifd_eval *x, int i, const ifd_tensor *constant);

#endif
