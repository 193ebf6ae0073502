/* How the samples of a batch pass through an operator.
 *
 * A tensor whose first dimension is a multiple of n lies in n equal parts, one for each sample. An operator
 * passes samples when part i of each output depends on nothing but part i of some inputs and all of the
 * others, and when those parts alone, as tensors of a smaller first dimension, give the same. Samples may
 * then go through it a few at a time.
 *
 * A row says so by .batch, a function that gives the roles of the inputs, or NULL where samples do not pass:
 * a letter for each input, the last one for all that follow.
 *   p  in parts
 *   w  whole
 *   b  as it broadcasts: in parts where its first dimension is the result's, whole otherwise
 *   s  the same beside the scores of an attention
 *   m  a factor of a matrix product
 * Elementwise operators are "b" without saying so, but for those of before opset 7 whose operands lie along
 * axes of an attribute's choice. */
#ifndef IFD_OPS_SHARED_BATCH_H
#define IFD_OPS_SHARED_BATCH_H

#include "ops/op.h"

static inline const ifd_tensor *ifd_batch_in(const ifd_batch *b, int i) {
  return i < b->node->n_inputs ? b->in[i] : NULL;
}
/* 0 where input i is absent. */
static inline int ifd_batch_rank(const ifd_batch *b, int i) {
  const ifd_tensor *t = ifd_batch_in(b, i);
  return t ? t->shape.rank : 0;
}

/* ---- for rows to name ---- */

const char *ifd_batch_each(const ifd_batch *b);  /* "p": all inputs in parts */
const char *ifd_batch_first(const ifd_batch *b); /* "pw": the first in parts, others whole */
/* "pw" unless the axis is the first one, for those whose attribute axis is 0 or the last if it is not
 * given. */
const char *ifd_batch_inner_axis(const ifd_batch *b);
const char *ifd_batch_last_axis(const ifd_batch *b);

/* ---- for their functions ---- */

/* Whether an axis of input 0 is the first. */
bool ifd_batch_is_first(const ifd_batch *b, int64_t axis);
/* Whether the attribute axis, or what it is otherwise, is not the first of input 0. */
bool ifd_batch_axis_is_inner(const ifd_batch *b, int64_t otherwise);
/* Whether the axes of the attribute, or else of input i, are known, some, and none of them the first. */
bool ifd_batch_axes_are_inner(const ifd_batch *b, int i);

/* ---- for the plan ---- */

typedef enum ifd_role { IFD_ROLE_WHOLE, IFD_ROLE_PARTS } ifd_role;

/* Whether the node passes n samples, n >= 2: then what it reads of each input is in roles. What is not known
 * to pass does not. */
bool ifd_batch_passes(const ifd_batch *b, int64_t n, ifd_role *roles);

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
