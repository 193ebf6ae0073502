/* Axes in another order: how an operator works on reordered images.
 *
 * A value v that is kept reordered is kept as v' with v = Transpose(v', perm): axis i of v is axis at[i] of
 * v'. A node can often do its work on v' as well: an elementwise one as it is, Concat along another axis, Pad
 * with its pads in another order. A reordering states what each of a node's inputs and outputs becomes
 * then. */
#ifndef IFD_PASS_ORDER_H
#define IFD_PASS_ORDER_H

#include "pass/pass.h"

typedef struct ifd_order {
  int rank; /* 0: left as it is */
  int8_t at[IFD_MAX_RANK];
} ifd_order;

bool ifd_order_equal(const ifd_order *a, const ifd_order *b);
bool ifd_order_is_identity(const ifd_order *o);
ifd_order ifd_order_inverse(const ifd_order *o);
/* The order of a Transpose node: output axis i is input axis at[i]. False when its rank is not known. */
bool ifd_order_of(ifd_rewrite *rw, const ifd_node *transpose, ifd_order *out);
/* A Transpose of x: staged, not yet placed. */
ifd_status ifd_order_transpose(ifd_rewrite *rw, ifd_node **out, ifd_value *x, const ifd_order *o);
typedef struct ifd_reordering {
  const ifd_node *node;
  ifd_order *in, *out; /* of each input and output; rank 0: as it is */
  ifd_order x;         /* of the main input, in whose axes the operator's own axes count */
} ifd_reordering;

/* What node's inputs and outputs become when its input (or output) `slot` is reordered by o; false when it
 * cannot work so. Constants among the inputs stay rank 0: the node is built with reordered ones. */
ifd_status ifd_reordering_find(ifd_rewrite *rw, ifd_reordering *out, const ifd_node *node, bool is_output,
                               int slot, const ifd_order *o, bool *found);
/* The node that works so, on these inputs (reordered where in[] says so; others as they are now). Staged. */
ifd_status ifd_reordering_build(ifd_rewrite *rw, ifd_node **out, const ifd_reordering *r,
                                ifd_value *const *inputs);

#endif
