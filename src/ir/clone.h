/* Deep copies: of a model, of a graph's nodes into a node list (to inline a function or branch).
 * Nodes and values are copied; what is immutable (constants' data, attribute payloads, types, origins, texts)
 * is borrowed from the source, which must live longer when it is another model. */
#ifndef IFD_IR_CLONE_H
#define IFD_IR_CLONE_H

#include "ir/ir.h"

/* Dims of the source mean the same in the copy. Values that nothing lists any more are left out. */
ifd_status ifd_model_clone(ifd_error *err, ifd_model **out, const ifd_model *model, ifd_budget *budget);

/* Copies the nodes of `body` before `before` in `into` (names made unique), with body inputs mapped to
 * `inputs` (NULL: absent); gives the values that the body's outputs became. References to function attributes
 * (`ref`) are replaced from `attrs` (n_attrs, the caller's), then from the function's defaults, or dropped.
 * Values of outer graphs stay shared. Copies keep the opset, schema and op of the body's nodes: who writes
 * the model must see whether they mean the same at the opset that `into` imports. */
ifd_status ifd_graph_inline(ifd_error *err, ifd_graph *into, ifd_node *before, const ifd_graph *body,
                            ifd_value **inputs, ifd_value **outputs, const ifd_attr *attrs, int n_attrs);

#endif
