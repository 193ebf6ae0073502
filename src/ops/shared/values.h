/* Whole tensors as doubles, in and out: what a reference evaluation is written over when it is more than one
 * element at a time. Loading is exact for every type but the 64-bit integers; storing rounds once. */
#ifndef IFD_OPS_SHARED_VALUES_H
#define IFD_OPS_SHARED_VALUES_H

#include "ops/op.h"

/* Element type, and shape, of input i, which must be present. */
static inline ifd_dtype ifd_eval_dtype(const ifd_eval *x, int i) { return ifd_eval_in(x, i)->dtype; }
static inline const ifd_shape *ifd_eval_shape(const ifd_eval *x, int i) { return &ifd_eval_in(x, i)->shape; }

/* Elements of input i as doubles in scratch; NULL where the input is absent. */
ifd_status ifd_eval_find_f64(ifd_eval *x, const double **out, int i);
/* The same, of a tensor that must have n elements: BAD_INPUT, saying `what` (a parameter's name),
 * otherwise. */
ifd_status ifd_eval_find_f64_n(ifd_eval *x, const double **out, int i, int64_t n, const char *what);
/* n zeroed doubles in scratch. */
ifd_status ifd_eval_zeros(ifd_eval *x, double **out, int64_t n);
/* Output i of element type `dtype` (DOUBLE for FLOAT under float64) from doubles; nothing when nobody wants
 * it. */
ifd_status ifd_eval_put_f64(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape,
                            const double *values);
/* The same from integers, which wrap to the width of an integer type. */
ifd_status ifd_eval_put_i64(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape,
                            const int64_t *values);
/* The same for int32, from sums of whole numbers. */
ifd_status ifd_eval_put_sums(ifd_eval *x, int i, const ifd_shape *shape, const double *sums);

/* x rounded to the float type t: what a specification's cast between two steps does. */
double ifd_round_to(ifd_dtype t, double x);

#endif
