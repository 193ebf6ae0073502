/* What a model costs: multiply-accumulates and memory, as expressions of its free dimensions.
 *
 * Operators state their cost for shapes of numbers (ops/op.h). A node's cost as an expression follows from
 * that: it is a product of powers of the node's dimensions times a number, so asking for a few shapes gives
 * the powers and the number. */
#ifndef IFD_INSPECT_COST_H
#define IFD_INSPECT_COST_H

#include "ir/ir.h"

/* Multiply-accumulates of one evaluation; 0 for operators without any. False when shapes are not known enough
 * to say. */
bool ifd_cost_node(ifd_dims *dims, const ifd_node *node, ifd_dim *out);

typedef struct ifd_peak {
  ifd_dim bytes;        /* values that live at once where they are most */
  const ifd_node *node; /* where that is; NULL when there is no node */
  int n_unknown;        /* values whose size depends on data: not counted */
} ifd_peak;

/* The most bytes that values made by nodes of the main graph take at once, run in order; `probe` gives free
 * dimensions numbers to find where that is. Values of subgraphs are not counted. */
ifd_status ifd_cost_peak(ifd_error *err, ifd_arena *scratch, const ifd_model *model, const ifd_binding *probe,
                         ifd_peak *out);

#endif
