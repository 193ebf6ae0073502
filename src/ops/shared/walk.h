/* The strided walk that generic operators are loops over: the elements of a shape in row-major order, seen by
 * several operands at once, each with strides of its own (0 where it is broadcast). Dimensions that all
 * operands step through evenly are merged first, so that what remains is rows: `n` elements along which
 * operand k starts at element offset[k] and advances by step[k].
 *
 *   ifd_walk w = ifd_walk_over(&shape);
 *   ifd_walk_add(&w, strides);                operand 0, 1, …
 *   while (ifd_walk_next(&w)) … w.n, w.offset[k], w.step[k]
 *
 * A shape without elements has no rows; a scalar has one of one element. Nothing is allocated. */
#ifndef IFD_OPS_SHARED_WALK_H
#define IFD_OPS_SHARED_WALK_H

#include "tensor/tensor.h"

enum { IFD_WALK_OPERANDS = 8 };

typedef struct ifd_walk {
  int64_t n; /* of the row */
  int64_t offset[IFD_WALK_OPERANDS];
  int64_t step[IFD_WALK_OPERANDS];
  /* private */
  ifd_shape shape;
  int n_operands;
  bool started;
  int64_t stride[IFD_WALK_OPERANDS][IFD_MAX_RANK];
  int64_t at[IFD_MAX_RANK];
} ifd_walk;

ifd_walk ifd_walk_over(const ifd_shape *shape);
/* Another operand (at most IFD_WALK_OPERANDS): a stride in elements for each dimension of the shape. */
void ifd_walk_add(ifd_walk *w, const int64_t *strides);
/* An operand of shape `s`, broadcast to the walked shape (it must fit). */
void ifd_walk_add_shape(ifd_walk *w, const ifd_shape *s);
/* The first, then each next row; false at the end. */
bool ifd_walk_next(ifd_walk *w);

#endif
